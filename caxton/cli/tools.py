"""`caxton tool …`: the tools that agents may be allowed to call."""

from typing import Any

import click

from caxton.cli.errors import Failure
from caxton.cli.lazy import Group
from caxton.cli.options import Settings, output_option, pass_settings, print_json, print_table

TOOLS = "/api/v1/tools"
LONGEST = 3600.0  # seconds: a server's own timeout is no longer


@click.group(cls=Group)
def tool() -> None:
    """See the tools that agents may be allowed to call, and try one."""


@tool.command("list")
@output_option
@pass_settings
def list_tools(settings: Settings, output: str) -> None:
    """List tool servers, whether they are connected, their tools, and open circuit breakers."""
    found = settings.client().request("GET", TOOLS, what="Tools cannot be listed")
    if output == "json":
        print_json(found)
        return
    if not found["enabled"]:
        click.echo("This server uses no tools: integrations.mcp.enabled is false.")
        return
    rows = [(each["name"], each["address"], each["state"], str(each["running"])) for each in found["servers"]]
    print_table(("SERVER", "ADDRESS", "STATE", "CALLS"), rows)
    for each in found["servers"]:
        if each["reason"]:
            click.echo(f"{each['name']}: {each['reason']}")
    tools = [one for each in found["servers"] for one in each["tools"]]
    if tools:
        click.echo()
        print_table(("TOOL", "DESCRIPTION"), [(one["name"], _first_line(one["description"])) for one in tools])
    breakers = [
        (one["agent_id"], one["server"], one["state"], str(one["failures"]), f"{one['retry_after']:g} s")
        for one in found["circuit_breakers"]
        if one["state"] != "closed"
    ]
    if breakers:
        click.echo()
        print_table(("AGENT", "SERVER", "BREAKER", "FAILURES", "NEXT CALL IN"), breakers)


@tool.command("call")
@click.argument("name", metavar="NAME")
@click.option("--arguments", metavar="JSON", default="{}", help="What the tool is given: a JSON object.")
@click.option("--timeout", type=click.FloatRange(min=0.001), help="Seconds to wait; at most the tool server's own.")
@output_option
@pass_settings
def call_tool(settings: Settings, name: str, arguments: str, timeout: float | None, output: str) -> None:
    """Call a tool, as an agent that may call all would."""
    import json

    what = f"{name} was not called"
    try:
        given = json.loads(arguments)
    except ValueError as error:
        raise Failure(what, why=f"--arguments is not JSON: {error}", fix='--arguments \'{"city": "Linz"}\'') from None
    if not isinstance(given, dict):
        raise Failure(what, why="--arguments is not a JSON object", fix='--arguments \'{"city": "Linz"}\'')
    client = settings.client()
    body: dict[str, Any] = {"arguments": given}  # Any: JSON
    if timeout is not None:
        body["timeout_ms"] = timeout * 1000
    found = client.request("POST", f"{TOOLS}/{name}", what=f"{name} failed", body=body, timeout=LONGEST)
    if output == "json":
        print_json(found)
    elif "structuredContent" in found:
        click.echo(json.dumps(found["structuredContent"], indent=2, ensure_ascii=False))
    else:
        for part in found["content"]:
            click.echo(part["text"] if part["type"] == "text" else f"({part['type']})")


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 80 else f"{line[:77]}..."
