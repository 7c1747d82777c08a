"""`caxton deploy` and `caxton agent …`: what an operator does with agents.

An agent's configuration is only read and merged here; what it means is checked by the server, which knows
its own limits.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from caxton.cli.client import Client, multipart
from caxton.cli.errors import ERROR, Failure
from caxton.cli.lazy import Group, Place
from caxton.cli.options import (
    Settings,
    age,
    delivery_option,
    duration_option,
    output_option,
    pass_settings,
    print_done,
    print_json,
    print_table,
)
from caxton.cli.progress import progress
from caxton.core.errors import CaxtonError

AGENTS = "/api/v1/agents"
PAGE = 500
POLL = 0.05  # seconds between two looks at an agent that is starting
COMPILING = 300.0  # seconds that a deployment may take


def complete_name(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of agents for the shell; silence when no server answers at once."""
    given = ctx.find_root().params  # while completing, click calls no command, so there are no Settings yet
    settings = Settings(config=given["config"], profile=given["profile"], sets=given["sets"], server=given["server"])
    try:
        found = Client(settings.url(), timeout=0.5).request("GET", AGENTS, what="", query={"limit": PAGE})
    except (Failure, CaxtonError):
        return []
    return [item["name"] for item in found["agents"] if item["name"].startswith(incomplete)]


name_argument = click.argument("name", shell_complete=complete_name)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--name", help="The agent's name; the file's name without .wasm when neither this nor the config says.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Agent configuration (YAML, TOML, JSON).",
)
@click.option("--replicas", type=click.IntRange(min=1), help="How many instances share the name.")
@click.option("--memory", metavar="SIZE", help="Memory limit of one instance, such as 50MB.")
@click.option("--cpu", metavar="SHARE", help="Processor share of one instance, such as 500m.")
@click.option("--timeout", metavar="TIME", help="Limit of one message's handling, such as 10s.")
@delivery_option("How safe messages to it are that do not say so themselves.")
@duration_option("--wait", default="30s", help="How long to wait until it is healthy; 0 does not wait.")
@click.option("--embed-secrets", is_flag=True, help="Send values of ${secret:...}, and keep them with the agent.")
@output_option
@pass_settings
def deploy(
    settings: Settings,
    file: Path | None,
    name: str | None,
    config_file: Path | None,
    replicas: int | None,
    memory: str | None,
    cpu: str | None,
    timeout: str | None,
    delivery: str | None,
    wait: float,
    embed_secrets: bool,
    output: str,
) -> None:
    """Deploy the WebAssembly module or component FILE as an agent, and wait until it is healthy.

    Without FILE it is what `caxton build` made of the project here, with its agent.yaml.
    """
    what = "Deployment failed"
    config = _read_config(config_file) if config_file else {}
    if file is None:
        file, own = _built()
        config = {**own, **config}
    if not embed_secrets and (places := list(_secrets_in(config))):
        raise Failure(
            f"{what}: the configuration of the agent has secrets in it",
            why=f"{', '.join(places)}: the value would be sent to the server and kept with the agent, for everybody to "
            "read who may look at it",
            fix=(
                "let the server have it, as `security.secrets.agents.NAME`, and write `valueFrom: {secretRef: NAME}`",
                "or do it all the same: `caxton deploy --embed-secrets`",
            ),
        )
    given = {"memory": memory, "cpu": cpu, "timeout": timeout}
    limits = {key: value for key, value in given.items() if value is not None}
    if limits:
        resources = config.get("resources")
        config["resources"] = {**resources, **limits} if isinstance(resources, dict) else limits
    if replicas is not None:
        config["replicas"] = replicas
    if delivery is not None:
        config["delivery"] = delivery
    config["name"] = name = name or config.get("name") or file.stem
    client = settings.client()
    with progress(f"Deploying {name}"):
        found = _upload(client, file, config, what)
        if wait:
            found = _wait_healthy(client, found["agent_id"], wait, what)
    if output == "json":
        print_json(found)
    else:
        print_done(f"Agent '{name}' deployed" + (" and healthy" if wait else ""))
        if outside := found.get("unavailable_imports"):
            print("  it imports what agents do not have, and calling it ends the instance:")
            print("".join(f"    {name}\n" for name in outside), end="")


# Any: YAML
def _built() -> tuple[Path, dict[str, Any]]:
    """The .wasm of the project here, and its configuration."""
    from caxton.cli.projects.project import find_project

    project = find_project(Path())
    if not project.wasm.exists():
        raise Failure("Nothing to deploy", why=f"{project.wasm} is not there", fix="build it: `caxton build`")
    return project.wasm, dict(project.config)


def _read_config(path: Path) -> dict[str, Any]:
    from caxton.core.config import read_table
    from caxton.secrets import fetch

    return read_table(path, os.environ, fetch)


def _secrets_in(value: Any, place: str = "") -> Iterator[str]:
    """Where the configuration holds what was fetched."""
    from caxton.core.secrets import SecretText
    from caxton.core.settings import join

    if isinstance(value, dict):
        for key, item in value.items():
            yield from _secrets_in(item, join(place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _secrets_in(item, f"{place}[{index}]")
    elif isinstance(value, SecretText):
        yield place


def _upload(client: Client, file: Path, config: dict[str, Any], what: str) -> Any:
    import json

    form = multipart(
        {
            "config": (json.dumps(config, default=str).encode(), "", "application/json"),
            "wasm": (file.read_bytes(), file.name, "application/wasm"),
        }
    )
    # a component is an interpreter, which compiles for some ten seconds the first time
    return client.request("POST", AGENTS, what=what, content=form, timeout=max(client.timeout, COMPILING))


def _wait_healthy(client: Client, name: str, wait: float, what: str) -> Any:
    deadline = time.monotonic() + wait
    while True:
        found = client.request("GET", f"{AGENTS}/{name}", what=what)
        ready, replicas = found["replicas_ready"], found["replicas"]
        if found["status"] == "running" and ready >= replicas:
            return found
        if found["status"] in ("failed", "stopped"):
            why = found["reason"] or f"the agent is {found['status']}"
            fix = (f"read its log: `caxton logs --agents {name}`", f"then remove it: `caxton agent delete {name}`")
            raise Failure(f"{what}: agent '{name}' did not start", why=why, fix=fix)
        if time.monotonic() > deadline:
            why = f"{ready} of {replicas} instances are healthy after {wait:g} s; the agent is {found['status']}"
            raise Failure(f"{what}: agent '{name}' is not healthy", why=why, fix="wait longer with --wait TIME")
        time.sleep(POLL)


CREATE = Place("caxton.cli.projects.create:create", "Make a project for an agent.")


@click.group(cls=Group, lazy={"create": CREATE})
def agent() -> None:
    """Create, list, inspect, start, stop and delete agents."""


agent.add_command(deploy)


@agent.command("list")
@click.option("--status", help="Only agents in this state, such as running or failed.")
@output_option
@pass_settings
def list_agents(settings: Settings, status: str | None, output: str) -> None:
    """List all agents."""
    client = settings.client()
    agents: list[dict[str, Any]] = []
    offset: int | None = 0
    while offset is not None:
        query = {"status": status, "limit": PAGE, "offset": offset}
        page = client.request("GET", AGENTS, what="Agents cannot be listed", query=query)
        agents += page["agents"]
        offset = page["next_offset"]
    if output == "json":
        print_json({"agents": agents, "total": len(agents)})
        return
    rows = []
    for item in agents:
        metrics = item["metrics"]
        up = age(metrics["uptime_seconds"]) if item["status"] in ("running", "draining") else "-"
        processed = f"{metrics['messages_processed']:,}"
        rows.append((item["agent_id"], item["name"], item["status"].capitalize(), up, processed))
    print_table(("AGENT ID", "NAME", "STATUS", "UPTIME", "MESSAGES"), rows)
    click.echo(f"\n{_summary([item['status'] for item in agents])}")


@agent.command()
@name_argument
@output_option
@pass_settings
def status(settings: Settings, name: str, output: str) -> None:
    """Say how an agent is; the exit code is 1 when it failed."""
    found = settings.client().request("GET", f"{AGENTS}/{name}", what=f"No status of '{name}'")
    if output == "json":
        print_json(found)
    else:
        instances = f"({found['replicas_ready']}/{found['replicas']} instances healthy)"
        mark = {"running": click.style("✓", fg="green"), "failed": click.style("✗", fg="red")}.get(found["status"], "●")
        click.echo(f"{mark} {found['status'].capitalize()} {instances}")
        if found["reason"]:
            click.echo(f"  why: {found['reason']}")
        for breaker in found.get("circuit_breakers", ()):
            if breaker["state"] != "closed":
                wait = f"next call in {breaker['retry_after']:g} s"
                click.echo(f"  circuit breaker of {breaker['server']}: {breaker['state']}, {wait}")
    if found["status"] == "failed":
        raise SystemExit(ERROR)


@agent.command()
@name_argument
@output_option
@pass_settings
def inspect(settings: Settings, name: str, output: str) -> None:
    """Show everything the server knows of an agent."""
    found = settings.client().request("GET", f"{AGENTS}/{name}/inspect", what=f"'{name}' cannot be inspected")
    if output == "json":
        print_json(found)
    else:
        _print_tree(found)


@agent.command()
@name_argument
@duration_option("--grace", default="30s", help="How long a running message may take to end.")
@click.option("--drain/--no-drain", default=True, show_default=True, help="Handle what waits in the mailbox first.")
@output_option
@pass_settings
def stop(settings: Settings, name: str, grace: float, drain: bool, output: str) -> None:
    """Stop an agent; its mailbox is closed, its state is kept."""
    body = {"grace_period_seconds": grace, "drain_messages": drain}
    _act(settings, name, "stop", output, body, wait=grace)


@agent.command()
@name_argument
@output_option
@pass_settings
def start(settings: Settings, name: str, output: str) -> None:
    """Start a stopped or failed agent again."""
    _act(settings, name, "start", output)


@agent.command()
@name_argument
@output_option
@pass_settings
def delete(settings: Settings, name: str, output: str) -> None:
    """Remove an agent, its mailbox and its state."""
    _act(settings, name, "delete", output)


def _act(settings: Settings, name: str, action: str, output: str, body: Any = None, wait: float = 30) -> None:
    """Ask for one change of one agent, and say what became of it. Any: JSON."""
    method, path = ("DELETE", f"{AGENTS}/{name}") if action == "delete" else ("POST", f"{AGENTS}/{name}/{action}")
    what = f"Agent '{name}' did not {action}"
    with progress(f"{action.capitalize()} {name}"):
        found = settings.client().request(method, path, what=what, body=body, timeout=wait + 30)
    if output == "json":
        print_json(found)
    else:
        print_done(f"Agent '{name}' {found['status']}")


def _summary(states: list[str]) -> str:
    """`3 agents (2 running, 1 failed)`."""
    order = sorted(set(states), key=lambda state: (state != "running", state))
    detail = ", ".join(f"{states.count(state)} {state}" for state in order)
    return f"{len(states)} agent{'' if len(states) == 1 else 's'}" + (f" ({detail})" if detail else "")


# Any: JSON of any shape, printed as an indented tree
def _print_tree(value: Any, indent: int = 0) -> None:
    pairs = value.items() if isinstance(value, dict) else ((f"[{index}]", item) for index, item in enumerate(value))
    for key, item in pairs:
        if isinstance(item, dict | list) and item:
            click.echo(f"{' ' * indent}{key}:")
            _print_tree(item, indent + 2)
        else:
            shown = "-" if item in (None, "", [], {}) else item
            click.echo(f"{' ' * indent}{key}: {shown}")
