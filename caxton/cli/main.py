"""The command `caxton`: global options, and the table of commands.

Global options stand before the command. They say which configuration holds (`--config`, `--profile`, `--env`, `--set`)
and which server is meant (`--server`); what needs neither pays for neither.
"""

import sys

import click

from caxton import __version__
from caxton.cli.lazy import Group, Place
from caxton.cli.options import Settings, output_option, print_json

QUICK_START = """\
Quick start:

  caxton serve                                          start a server here
  caxton deploy examples/ping/ping.wasm --name ping     give it an agent
  caxton agent list                                     see what runs
  caxton logs --agents ping --follow                    watch it

`caxton --help` lists all commands."""

COMMANDS = {
    "serve": Place("caxton.cli.serve:serve", "Run a server in the foreground."),
    "server": Place("caxton.cli.serve:server", "Start, stop and look at a server."),
    "config": Place("caxton.cli.config:config", "Look at the configuration, check it and change it."),
    "deploy": Place("caxton.cli.agents:deploy", "Deploy a WebAssembly agent."),
    "agent": Place("caxton.cli.agents:agent", "List, inspect, start, stop and delete agents."),
    "build": Place("caxton.cli.projects.build:build", "Compile the agent of a project."),
    "test": Place("caxton.cli.projects.test:test", "Run the scenarios of a project."),
    "dev": Place("caxton.cli.projects.dev:dev", "A local server that follows the source of a project."),
    "message": Place("caxton.cli.messages:message", "Send and read messages."),
    "conversations": Place("caxton.cli.conversations:conversations", "Look at conversations, and stop them."),
    "tasks": Place("caxton.cli.tasks:tasks", "Give work to whoever bids best."),
    "capabilities": Place("caxton.cli.directory:capabilities", "See what agents can do."),
    "directory": Place("caxton.cli.directory:directory", "Find agents by what they say of themselves."),
    "dead-letters": Place("caxton.cli.dead_letters:dead_letters", "Handle messages that were given up."),
    "platforms": Place("caxton.cli.platforms:platforms", "Look at other FIPA platforms."),
    "webhook": Place("caxton.cli.webhooks:webhook", "Look at webhooks, and send again what they did not take."),
    "keys": Place("caxton.cli.keys:keys", "Look at and register public keys of agents."),
    "tool": Place("caxton.cli.tools:tool", "See the tools that agents may call, and try one."),
    "logs": Place("caxton.cli.logs:logs", "Show what agents wrote."),
    "debug": Place("caxton.cli.debug:debug", "Look into a server that is slow."),
    "backup": Place("caxton.cli.backup:backup", "Make, check and put back backups."),
    "completion": Place("caxton.cli.completion:completion", "Print a shell's completion script."),
    "benchmark": Place("caxton.cli.benchmark:benchmark", "Measure this machine."),
    "demo": Place("caxton.cli.demo:demo", "Two agents talk for a few seconds.", hidden=True),
}


@click.group(cls=Group, lazy=COMMANDS, invoke_without_command=True, context_settings={"max_content_width": 100})
@click.option("--config", metavar="FILE", help="Configuration file (YAML or TOML).")
@click.option(
    "--profile",
    metavar="NAME",
    help="Profile: throughput, latency, constrained, or of a file.",
)
@click.option("--env", "environment", metavar="NAME", help="Environment: a profile by another name.")
@click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="Override one configuration key; repeatable.")
@click.option("--server", metavar="URL", envvar="CAXTON_SERVER", help="The server to talk to. [env: CAXTON_SERVER]")
@click.option("--ca", metavar="FILE", envvar="CAXTON_CA", help="CA of an https server, PEM. [env: CAXTON_CA]")
@click.option(
    "--cert",
    metavar="FILE",
    envvar="CAXTON_CERT",
    help="Certificate and key to show to an https server, one PEM file. [env: CAXTON_CERT]",
)
@click.version_option(__version__, message="caxton %(version)s")
@click.pass_context
def cli(
    ctx: click.Context,
    config: str | None,
    profile: str | None,
    environment: str | None,
    sets: tuple[str, ...],
    server: str | None,
    ca: str | None,
    cert: str | None,
) -> None:
    """Caxton: a server that hosts agents and carries their messages.

    The options below stand before the command: `caxton --set server.port=9000 serve`.
    """
    ctx.obj = Settings(config=config, profile=profile or environment, sets=sets, server=server, ca=ca, cert=cert)
    if ctx.invoked_subcommand is None:
        click.echo(QUICK_START)


@cli.command()
@output_option
def version(output: str) -> None:
    """Print the version."""
    if output == "json":
        print_json({"version": __version__, "python": sys.version.split()[0]})
    else:
        click.echo(f"caxton {__version__}")


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without ✓ gets a ?, not a traceback
    cli(prog_name="caxton")


if __name__ == "__main__":
    main()
