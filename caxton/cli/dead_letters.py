"""`caxton dead-letters …`: messages that were given up."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from caxton.cli.agents import complete_name
from caxton.cli.errors import USAGE, Failure
from caxton.cli.lazy import Group
from caxton.cli.logs import parse_since
from caxton.cli.options import Settings, output_option, pass_settings, print_done, print_json, print_table
from caxton.cli.progress import progress

LETTERS = "/api/v1/dead-letters"
SHOWN = 60  # characters of a detail in a table
MANY_TIMEOUT = 330.0  # seconds; the server itself ends a large request after 300

F = TypeVar("F", bound=Callable[..., Any])


@click.group("dead-letters", cls=Group)
def dead_letters() -> None:
    """Look at messages that were given up, send them again, forget them."""


def filter_options(function: F) -> F:
    """The options that choose among the letters."""
    for option in (
        click.option("--since", metavar="TIME", help="Only those newer than this: 30s, 5m, 1h, or a date."),
        click.option("--reason", metavar="NAME", help="Only those with this reason, such as agent-trapped."),
        click.option("--agent", metavar="NAME", shell_complete=complete_name, help="Only those for this agent."),
    ):
        function = option(function)
    return function


def choice_options(function: F) -> F:
    """One letter by its id, those that the options choose, or all."""
    for option in (
        output_option,
        click.option("--all", "everything", is_flag=True, help="All of them, when nothing else says which."),
        filter_options,
        click.argument("letter", metavar="[ID]", type=click.IntRange(min=1), required=False),
    ):
        function = option(function)
    return function


def _query(*, agent: str | None, reason: str | None, since: str | None) -> dict[str, object]:
    return {"agent": agent, "reason": reason, "since": parse_since(since, time.time()) if since else None}


@dead_letters.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@click.option("--cursor", help="Go on where an earlier list ended (its next_cursor).")
@output_option
@pass_settings
def list_letters(
    settings: Settings,
    agent: str | None,
    reason: str | None,
    since: str | None,
    limit: int,
    cursor: str | None,
    output: str,
) -> None:
    """List dead letters, newest first."""
    query = _query(agent=agent, reason=reason, since=since) | {"limit": limit, "cursor": cursor}
    found = settings.client().request("GET", LETTERS, what="Dead letters cannot be listed", query=query)
    if output == "json":
        print_json(found)
        return
    rows = []
    for letter in found["dead_letters"]:
        detail = letter["detail"] if len(letter["detail"]) <= SHOWN else f"{letter['detail'][: SHOWN - 1]}…"
        people = (letter["sender"] or "-", letter["agent"] or "-")
        rows.append(
            (str(letter["id"]), letter["timestamp"], *people, letter["reason"], str(letter["attempts"]), detail)
        )
    print_table(("ID", "TIME", "FROM", "AGENT", "REASON", "ATTEMPTS", "DETAIL"), rows)
    click.echo(f"\n{found['total']} dead letters" if found["total"] != 1 else "\n1 dead letter")
    if found.get("next_cursor"):
        click.echo(f"more: --cursor {found['next_cursor']}", err=True)


@dead_letters.command()
@click.argument("letter", metavar="ID", type=click.IntRange(min=1))
@output_option
@pass_settings
def show(settings: Settings, letter: int, output: str) -> None:
    """Show one dead letter with its message."""
    found = settings.client().request("GET", f"{LETTERS}/{letter}", what="The dead letter cannot be shown")
    if output == "json":
        print_json(found)
        return
    for name in ("id", "message_id", "timestamp", "sender", "agent", "reason", "attempts", "detail"):
        click.echo(f"{name + ':':12} {found[name]}".rstrip())
    click.echo()
    print_json(found.get("message"))


@dead_letters.command()
@choice_options
@pass_settings
def retry(settings: Settings, /, letter: int | None, everything: bool, output: str, **chosen: str | None) -> None:
    """Send a dead letter again, or all that the options choose."""
    what = "Nothing was sent again"
    query = _chosen(letter, everything, what, **chosen)
    client = settings.client()
    if letter is not None:
        found = client.request("POST", f"{LETTERS}/{letter}/retry", what=what)
        text = f"Message {found.get('message_id')} {found.get('status')}"
    else:
        with progress("Sending dead letters again"):
            found = client.request("POST", f"{LETTERS}/retry", what=what, query=query, timeout=MANY_TIMEOUT)
        text = f"{found['retried']} sent again"
    _say(found, text, output)
    if found.get("failed"):
        for number, error in found["errors"].items():
            click.echo(f"  {number}: {error}", err=True)
        raise Failure(f"{found['failed']} could not be sent again", fix="they are still there: look at the errors")


@dead_letters.command()
@choice_options
@pass_settings
def purge(settings: Settings, /, letter: int | None, everything: bool, output: str, **chosen: str | None) -> None:
    """Forget a dead letter, or all that the options choose."""
    what = "Nothing was purged"
    query = _chosen(letter, everything, what, **chosen)
    client = settings.client()
    if letter is not None:
        found = client.request("DELETE", f"{LETTERS}/{letter}", what=what)
        text = f"Dead letter {letter} purged"
    else:
        with progress("Purging dead letters"):
            found = client.request("POST", f"{LETTERS}/purge", what=what, query=query, timeout=MANY_TIMEOUT)
        text = f"{found['purged']} purged"
    _say(found, text, output)


@dead_letters.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@filter_options
@pass_settings
def export(settings: Settings, file: Path | None, agent: str | None, reason: str | None, since: str | None) -> None:
    """Write dead letters with their messages, one JSON object a line, to FILE or standard output, oldest first."""
    what = "Nothing was exported"
    query = _query(agent=agent, reason=reason, since=since)
    client = settings.client()
    if file is None:
        client.download(f"{LETTERS}/export", sys.stdout.buffer, what=what, query=query)
        return
    if file.exists():
        raise Failure(what, why=f"{file} exists", fix="choose another name, or remove it")
    try:
        with file.open("xb") as target, progress(f"Exporting to {file}"):
            client.download(f"{LETTERS}/export", target, what=what, query=query)
    except BaseException:
        file.unlink(missing_ok=True)  # half of it would look like all of it
        raise
    with file.open("rb") as written:
        lines = sum(1 for _ in written)
    print_done(f"{lines} dead letters written to {file}")


# Any: an answer of the server
def _say(found: Any, text: str, output: str) -> None:
    if output == "json":
        print_json(found)
    else:
        print_done(text)


def _chosen(letter: int | None, everything: bool, what: str, **chosen: str | None) -> dict[str, object]:
    """The query for those that are meant, which has to be said in one way."""
    query = _query(**chosen)
    is_filtered = any(value is not None for value in query.values())
    if (letter is not None) + is_filtered + everything != 1:
        raise Failure(
            what,
            why="it must be said which dead letters are meant, in one way",
            fix="name one by its ID, choose with --agent, --reason or --since, or say --all",
            code=USAGE,
        )
    return query
