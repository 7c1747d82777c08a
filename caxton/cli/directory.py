"""`caxton capabilities …` and `caxton directory …`: who can do what."""

from typing import Any

import click

from caxton.cli.agents import complete_name
from caxton.cli.lazy import Group
from caxton.cli.options import Settings, output_option, pass_settings, print_json, print_table

CAPABILITIES = "/api/v1/capabilities"
AGENTS = "/api/v1/directory/agents"
STATUSES = ("active", "inactive", "unhealthy", "draining")
STRATEGIES = ("priority", "load_balance", "least_loaded", "fastest_response")


@click.group(cls=Group)
def capabilities() -> None:
    """See what agents can do."""


@capabilities.command("list")
@click.option("--agent", metavar="NAME", shell_complete=complete_name, help="Only those of this agent.")
@click.option("--status", type=click.Choice(STATUSES), help="Only with providers in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@output_option
@pass_settings
def list_capabilities(settings: Settings, agent: str | None, status: str | None, limit: int, output: str) -> None:
    """List capabilities and who provides them."""
    query = {"agent_id": agent, "status": status, "limit": limit}
    found = settings.client().request("GET", CAPABILITIES, what="Capabilities cannot be listed", query=query)
    if output == "json":
        print_json(found)
        return
    rows = []
    for each in found["capabilities"]:
        providers = each["providers"]
        names = ", ".join(dict.fromkeys(provider["agent_id"] for provider in providers))
        active = sum(provider["status"] == "active" for provider in providers)
        rows.append((each["capability"], f"{active}/{len(providers)}", names))
    print_table(("CAPABILITY", "ACTIVE", "AGENTS"), rows)
    if found["total"] > len(rows):
        click.echo(f"{found['total']} in all: --limit shows more", err=True)


@capabilities.command("show")
@click.argument("capability")
@click.option(
    "--strategy", type=click.Choice(STRATEGIES), default="priority", show_default=True, help="Who comes first."
)
@click.option("--version", "version", metavar="VERSION", help="Only providers of this version.")
@output_option
@pass_settings
def show_capability(settings: Settings, capability: str, strategy: str, version: str | None, output: str) -> None:
    """Show the providers of a capability, the best first."""
    query = {"routing_strategy": strategy, "version": version, "include_unhealthy": 1}
    found = settings.client().request(
        "GET", f"{CAPABILITIES}/{capability}", what=f"Capability '{capability}' cannot be shown", query=query
    )
    if output == "json":
        print_json(found)
        return
    rows = [
        (
            each["agent_id"],
            each["status"],
            each["version"],
            str(each["priority"]),
            f"{each['load_score']:.0%}",
            f"{each['response_time_avg']:.2f} ms",
            f"{each['success_rate']:.1%}",
        )
        for each in found["providers"]
    ]
    print_table(("AGENT", "STATUS", "VERSION", "PRIORITY", "LOAD", "RESPONSE", "SUCCESS"), rows)


@click.group(cls=Group)
def directory() -> None:
    """Find agents by what they say of themselves."""


@directory.command("search")
@click.option("--name", metavar="NAME", shell_complete=complete_name, help="The agent of this name.")
@click.option("--type", "types", metavar="TYPE", multiple=True, help="Has a service of this type (a capability).")
@click.option("--service", "services", metavar="NAME", multiple=True, help="Has a service of this name.")
@click.option("--protocol", "protocols", metavar="NAME", multiple=True, help="Speaks this protocol.")
@click.option("--ontology", "ontologies", metavar="NAME", multiple=True, help="Knows this ontology.")
@click.option("--language", "languages", metavar="NAME", multiple=True, help="Reads this language.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@click.option("--cursor", help="Go on where an earlier search ended (its next_cursor).")
@output_option
@pass_settings
def search(
    settings: Settings,
    name: str | None,
    types: tuple[str, ...],
    services: tuple[str, ...],
    protocols: tuple[str, ...],
    ontologies: tuple[str, ...],
    languages: tuple[str, ...],
    limit: int,
    cursor: str | None,
    output: str,
) -> None:
    """Search the directory; an agent is found when it has all that is asked for."""
    query: dict[str, Any] = {  # Any: numbers and texts
        "name": name,
        "type": types,
        "service": services,
        "protocol": protocols,
        "ontology": ontologies,
        "language": languages,
        "limit": limit,
        "cursor": cursor,
    }
    found = settings.client().request("GET", AGENTS, what="The directory cannot be searched", query=query)
    if output == "json":
        print_json(found)
        return
    rows = []
    for agent in found["agents"]:
        offered = ", ".join(service.get("type", "") for service in agent.get("services", ())) or "-"
        rows.append(
            (agent["name"], offered, ", ".join(agent.get("protocols", ())) or "-", agent.get("lease_time", "-"))
        )
    print_table(("AGENT", "SERVICES", "PROTOCOLS", "LISTED UNTIL"), rows)
    if found.get("next_cursor"):
        click.echo(f"more: --cursor {found['next_cursor']}", err=True)
