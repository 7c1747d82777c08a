"""`caxton logs`: what agents wrote, up to now and, with --follow, from now on.

Rule 1: the stream is opened before the past is asked for, so nothing falls between the two; a line that both hold is
        printed once.
Rule 2: a server that goes away ends the command with its error; Ctrl-C ends it well.
"""

import json
import time
from typing import Any

import click

from caxton.cli.agents import complete_name
from caxton.cli.client import Client
from caxton.cli.errors import USAGE, Failure
from caxton.cli.options import Settings, output_option, pass_settings

WHAT = "Logs cannot be read"
COLOURS = ("cyan", "magenta", "yellow", "blue", "green")


@click.command()
@click.option("--agents", "--agent", metavar="A,B", shell_complete=complete_name, help="Only these agents.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option(
    "--since", metavar="TIME", help="Only lines newer than this: 30s, 5m, 1h, or a date like 2026-01-31T12:00:00Z."
)
@click.option(
    "-n", "--lines", type=click.IntRange(0, 10_000), default=100, show_default=True, help="How many past lines at most."
)
@output_option
@pass_settings
def logs(settings: Settings, agents: str | None, follow: bool, since: str | None, lines: int, output: str) -> None:
    """Show what agents wrote, as `[agent] text`; with `--output json` one JSON object a line."""
    client = settings.client()
    query = {"agents": agents, "since": parse_since(since, time.time()) if since else None, "limit": lines}
    try:
        if not follow:
            for line in _past(client, query):
                _print(line, output)
            return
        with client.events(what=WHAT, query={"types": "agent.log", "agents": agents}) as events:
            seen = set()
            for line in _past(client, query):
                seen.add(_identity(line))
                _print(line, output)
            for event in events:
                if event.type != "agent.log":
                    click.secho(f"({event.data.get('message', event.type)})", dim=True, err=True)
                elif _identity(event.data) not in seen:
                    _print(event.data, output)
    except KeyboardInterrupt:
        raise SystemExit(0) from None
    raise Failure("The server ended the stream", fix="look at the server: `caxton server status`")


def parse_since(text: str, now: float) -> float:
    """Seconds since the epoch of `5m` (ago) or of an ISO 8601 date. Raises Failure."""
    from datetime import datetime

    from caxton.core.limits import parse_duration

    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        fix = "write 30s, 5m, 1h, or 2026-01-31T12:00:00Z"
        raise Failure(
            f"'{text}' is no time", why="--since takes a length of time or a date", fix=fix, code=USAGE
        ) from None


# Any: a log line as the server's JSON has it
def _past(client: Client, query: dict[str, Any]) -> list[dict[str, Any]]:
    if not query["limit"]:
        return []
    found = client.request("GET", "/api/v1/logs", what=WHAT, query=query)
    lines: list[dict[str, Any]] = found["lines"]
    return lines


def _identity(line: dict[str, Any]) -> tuple[Any, ...]:
    return _agent(line), line["timestamp"], line["text"]


def _agent(line: dict[str, Any]) -> str:
    return str(line["agent_id"] if "agent_id" in line else line["agent"])  # an event, or a line of the past


def _print(line: dict[str, Any], output: str) -> None:
    if output == "json":
        click.echo(json.dumps(line, ensure_ascii=False))
        return
    name = _agent(line)
    label = click.style(f"[{name}]", fg=COLOURS[sum(name.encode()) % len(COLOURS)])
    text = str(line["text"])
    click.echo(f"{label} {click.style(text, fg='red') if line.get('stream') == 'err' else text}")
