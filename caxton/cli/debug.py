"""`caxton debug profile`: where the time of a server's scheduler threads goes."""

from collections.abc import Sequence
from typing import Any

import click

from caxton.cli.lazy import Group
from caxton.cli.options import Settings, output_option, pass_settings, print_json, print_table
from caxton.cli.progress import progress

GRACE = 30.0  # seconds that the answer may take beyond the profile
SHOWN = ("guest", "envelope", "router", "journal")
OTHER = ("host", "instance", "scheduler")


@click.group(cls=Group)
def debug() -> None:
    """Look into a server that is slow."""


@debug.command()
@click.option(
    "--seconds", type=click.FloatRange(1, 300), default=10, show_default=True, help="How long to watch the server."
)
@click.option(
    "--top",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="How many agents have a row of their own.",
)
@output_option
@pass_settings
def profile(settings: Settings, seconds: float, top: int, output: str) -> None:
    """Show where the scheduler threads' time goes, for each agent and thread.

    The server counts about a thousand times a second what each thread does; that costs it next to nothing. GUEST is the
    agent's own code, ENVELOPE reading and writing messages, ROUTER finding receivers and filling mailboxes, JOURNAL
    recording (and waiting until there is room for it), OTHER all else: queues, state, timers, logs, starting instances.
    """
    with progress(f"Watching for {seconds:g} s"):
        found = settings.client().request(
            "GET",
            "/api/v1/debug/profile",
            what="The server cannot be profiled",
            query={"seconds": seconds, "top": top},
            timeout=seconds + GRACE,
        )
    if output == "json":
        print_json(found)
        return
    threads = found["threads"]
    watched = (
        f"{found['seconds']:.1f} s, {_several(len(threads), 'scheduler thread')}, {found['samples']:,} samples of each"
    )
    click.echo(f"{watched}; in % of their time\n")
    _print_numbers(
        ("AGENT", "SHARE", *(name.upper() for name in SHOWN), "OTHER", "MESSAGES", "µs/MESSAGE"),
        [_agent(row, row["agent_id"]) for row in found["agents"]]
        + ([_agent(found["others"], f"({_several(found['others_count'], 'other')})")] if found["others_count"] else [])
        + [_agent(found["unattributed"], "(no agent)"), _agent(found["total"], "total")],
    )
    click.echo()
    _print_numbers(
        ("THREAD", "IDLE", *(name.upper() for name in SHOWN), "OTHER"),
        [(str(thread["thread"]), _percent(thread["idle"]), *_shares(thread)) for thread in threads]
        + [("all", _percent(found["idle"]), *_shares(found["total"]))],
    )
    click.echo(f"\nThe Python thread (API, supervision, store) used {_percent(found['python_thread'])} % of one core.")


# Any: rows of the answer
def _agent(row: dict[str, Any], name: str) -> Sequence[str]:
    each = row["us_per_message"]
    return (
        name,
        _percent(row["share"]),
        *_shares(row),
        f"{row['messages']:,}",
        "-" if each is None else f"{each:,.0f}" if each >= 100 else f"{each:.3g}",
    )


def _shares(row: dict[str, Any]) -> Sequence[str]:
    return [*(_percent(row[name]) for name in SHOWN), _percent(sum(row[name] for name in OTHER))]


def _percent(value: float) -> str:
    return f"{value:.1f}"


def _several(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _print_numbers(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose columns but the first are numbers, with their units one below the other."""
    widths = [0, *(max(len(row[index]) for row in (columns, *rows)) for index in range(1, len(columns)))]
    columns, *rows = ([cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in (columns, *rows))
    print_table(columns, rows)
