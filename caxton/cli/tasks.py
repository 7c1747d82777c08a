"""`caxton tasks …`: give work to whoever bids best, and sell to whoever pays most."""

import json
from typing import Any

import click

from caxton.cli.errors import USAGE, Failure
from caxton.cli.lazy import Group
from caxton.cli.options import (
    Settings,
    duration_option,
    output_option,
    pass_settings,
    print_done,
    print_json,
    print_table,
    read_value,
    shortened,
)
from caxton.cli.progress import progress

TASKS = "/api/v1/tasks"
LONGEST_WAIT = 300.0  # that the server grants
PROTOCOLS = ("contract-net", "iterated-contract-net", "english-auction", "dutch-auction")
STATUSES = ("created", "calling", "in_progress", "completed", "partial", "failed", "cancelled")


@click.group(cls=Group)
def tasks() -> None:
    """Give work to whoever bids best: contract nets and auctions."""


@tasks.command()
@click.argument("name")
@click.option(
    "--to", "participants", multiple=True, metavar="ADDRESS", help="Agent, capability:NAME or broadcast://GROUP."
)
@click.option("--data", default="null", metavar="JSON", help="What is to be done; - reads standard input.")
@click.option("--description", default="", help="The same for people.")
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="contract-net", show_default=True, help="How.")
@click.option(
    "--strategy", default="best_bid", show_default=True, help="best_bid, lowest_cost, fastest, or cost=2,confidence=1."
)
@click.option("--winners", type=click.IntRange(1, 1000), help="How many get the work (1).")
@click.option("--standby", type=click.IntRange(0, 1000), help="How many of the next best are kept waiting (1).")
@click.option("--capability", "capabilities", multiple=True, metavar="NAME", help="What a participant must have.")
@duration_option("--max-wait", help="How long each round or call waits for proposals (30s).")
@duration_option("--timeout", help="How long a winner may take; it is replaced after that.")
@click.option("--price", type=float, help="Of an auction: what it begins with.")
@click.option("--step", type=float, help="Of an auction: how much each call adds or takes.")
@click.option("--reserve", type=float, help="Of an auction: below this nothing is sold.")
@click.option("--goods", type=click.IntRange(1, 1000), help="Of a Dutch auction: how many equal goods (1).")
@click.option("--no-distribute", is_flag=True, help="Only create it; distribute it later.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the award.")
@output_option
@pass_settings
def create(
    settings: Settings,
    /,
    name: str,
    participants: tuple[str, ...],
    data: str,
    protocol: str,
    strategy: str,
    capabilities: tuple[str, ...],
    max_wait: float | None,
    timeout: float | None,
    no_distribute: bool,
    no_wait: bool,
    output: str,
    **more: Any,  # as the server names them
) -> None:
    """Create a task and distribute it among the agents that are named."""
    what = "The task was not created"
    order: dict[str, Any] = {
        "name": name,
        "participants": participants,
        "data": read_value(data, "--data"),
        "protocol": protocol.replace("-", "_"),
        "strategy": _strategy(strategy),
        **({"requirements": {"capabilities": capabilities}} if capabilities else {}),
        **({"max_wait_seconds": max_wait} if max_wait is not None else {}),
        **({"timeout_seconds": timeout} if timeout is not None else {}),
        **{key: value for key, value in more.items() if value not in (None, "")},
    }
    found = settings.client().request("POST", TASKS, what=what, body=order)
    if no_distribute:
        _print_outcome(found, output)
        return
    _distribute(settings, found["task_id"], {}, no_wait, output)


@tasks.command()
@click.argument("task", metavar="ID")
@click.option("--strategy", help="Instead of the one that the task was created with.")
@duration_option("--max-wait", help="How long each round waits for proposals.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the award.")
@output_option
@pass_settings
def distribute(
    settings: Settings, task: str, strategy: str | None, max_wait: float | None, no_wait: bool, output: str
) -> None:
    """Call for proposals for a task that was only created, and award it."""
    changes = {"strategy": _strategy(strategy)} if strategy else {}
    if max_wait is not None:
        changes["max_wait_seconds"] = max_wait
    _distribute(settings, task, changes, no_wait, output)


def _distribute(settings: Settings, task: str, changes: dict[str, Any], no_wait: bool, output: str) -> None:
    query = {"wait": "0"} if no_wait else {}
    with progress("Waiting for proposals"):
        found = settings.client().request(
            "POST",
            f"{TASKS}/{task}/distribute",
            what="The task was not distributed",
            query=query,
            body=changes,
            timeout=LONGEST_WAIT + 30,
        )
    _print_outcome(found, output)
    if found["status"] == "failed":
        raise Failure("Nobody got the task", why=found["reason"], fix=f"`caxton tasks show {task}` tells who said what")


def _print_outcome(found: dict[str, Any], output: str) -> None:
    if output == "json":
        print_json(found)
        return
    assigned = ", ".join(found.get("assigned") or ())
    text = f"Task {found['task_id']} {found['status'].replace('_', ' ')}"
    if found["status"] == "failed":
        return
    print_done(f"{text}: {assigned}" if assigned else text)
    for bid in found.get("winning_bids") or ():
        numbers = ", ".join(f"{key} {value:g}" for key, value in bid.items() if isinstance(value, int | float))
        click.echo(f"  {bid['agent_id']}: {numbers}")


@tasks.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Go on where an earlier list ended.")
@output_option
@pass_settings
def list_tasks(settings: Settings, status: str | None, limit: int, offset: int, output: str) -> None:
    """List tasks, newest first."""
    query = {"status": status, "limit": limit, "offset": offset or None}
    found = settings.client().request("GET", TASKS, what="Tasks cannot be listed", query=query)
    if output == "json":
        print_json(found)
        return
    rows = [
        (
            task["task_id"],
            task["created_at"],
            task["protocol"],
            task["status"],
            ", ".join(task["assigned"]) or "-",
            shortened(task["name"]),
        )
        for task in found["tasks"]
    ]
    print_table(("ID", "CREATED", "PROTOCOL", "STATUS", "ASSIGNED TO", "NAME"), rows)
    if found["next_offset"] is not None:
        click.echo(f"\nmore: --offset {found['next_offset']}", err=True)


@tasks.command()
@click.argument("task", metavar="ID")
@output_option
@pass_settings
def show(settings: Settings, task: str, output: str) -> None:
    """Show one task: who was called, what each of them said, and what came of it."""
    found = settings.client().request("GET", f"{TASKS}/{task}", what="The task cannot be shown")
    if output == "json":
        print_json(found)
        return
    for name in ("task_id", "name", "protocol", "status", "reason", "created_at", "started_at", "ended_at"):
        if found.get(name):
            click.echo(f"{name + ':':12} {found[name]}")
    click.echo()
    rows = [
        (
            one["agent_id"],
            str(one.get("round", "-")),
            one["status"].replace("_", " "),
            ", ".join(f"{key} {value:g}" for key, value in one.get("bid", {}).items() if isinstance(value, int | float))
            or "-",
            shortened(one["reason"]),
        )
        for one in found["participants"]
    ]
    print_table(("PARTICIPANT", "ROUND", "STATUS", "BID", "REASON"), rows)
    for name, why in found["left_out"].items():
        click.echo(f"left out: {name}: {why}")
    for result in found.get("results", ()):
        click.echo(f"result of {result['agent_id']}: {shortened(json.dumps(result['content'], ensure_ascii=False))}")
    for sale in found.get("sales", ()):
        click.echo(f"sold to {sale['bidder']} for {sale['price']:g}")
    for note in found["notes"]:
        click.echo(f"{note['at']}  {note['who']}: {note['what']}")
    if found["notes_left_out"]:
        click.echo(f"… and {found['notes_left_out']} more")


@tasks.command()
@click.argument("task", metavar="ID")
@click.option("--reason", help="What the participants are told.")
@output_option
@pass_settings
def cancel(settings: Settings, task: str, reason: str | None, output: str) -> None:
    """Stop a task: those who were called or work are told."""
    query = {"reason": reason}
    found = settings.client().request("POST", f"{TASKS}/{task}/cancel", what="The task was not cancelled", query=query)
    if output == "json":
        print_json(found)
    else:
        print_done(f"Task {task} cancelled")


def _strategy(text: str) -> Any:
    """`cost=2,confidence=1` as weights; a name as it stands."""
    if "=" not in text:
        return text
    try:
        pairs = (part.partition("=") for part in text.split(","))
        return {"weighted": {name.strip(): float(weight) for name, _, weight in pairs}}
    except ValueError:
        raise Failure(
            f"'{text}' is no strategy", why="a weight is a number", fix="write cost=2,confidence=1", code=USAGE
        ) from None
