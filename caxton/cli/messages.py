"""`caxton message …`: say something to an agent, and read what was said."""

import json
from typing import Any

import click

from caxton.cli.lazy import Group
from caxton.cli.options import (
    Settings,
    delivery_option,
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

MESSAGES = "/api/v1/messages"


@click.group(cls=Group)
def message() -> None:
    """Send and read messages."""


@message.command()
@click.option(
    "--to",
    "receiver",
    required=True,
    metavar="ADDRESS",
    help="Agent, topic:NAME, capability:NAME or broadcast://GROUP.",
)
@click.option(
    "--performative", default="request", show_default=True, help="The FIPA act, such as request or query-ref."
)
@click.option(
    "--content",
    default="null",
    metavar="JSON",
    help="JSON, or text that is sent as a JSON string; - reads standard input.",
)
@click.option("--from", "sender", metavar="NAME", help="The sender's name.")
@click.option("--conversation", "conversation_id", metavar="ID", help="The conversation it belongs to.")
@click.option("--reply-with", metavar="ID", help="What the answer shall carry as in_reply_to.")
@click.option("--in-reply-to", metavar="ID", help="The reply_with of the message that this answers.")
@click.option("--protocol", help="The interaction protocol, such as fipa-request.")
@click.option("--ontology", help="The ontology of the content.")
@click.option("--language", help="The language of the content.")
@click.option(
    "--priority", type=click.Choice(["low", "normal", "high", "critical"]), help="Which queue of the mailbox."
)
@delivery_option("How safe it is once it is accepted.")
@duration_option("--wait", help="Wait this long for the answer, and print it.")
@output_option
@pass_settings
def send(settings: Settings, /, content: str, wait: float | None, output: str, **fields: str | None) -> None:
    """Send one message."""
    what = "Message not sent"
    body = {key: value for key, value in fields.items() if value is not None} | {
        "content": read_value(content, "The content")
    }
    query = {"wait": f"{wait:g}"} if wait is not None else {}
    with progress(f"Waiting for {fields['receiver']}"):
        found = settings.client().request("POST", MESSAGES, what=what, body=body, query=query, timeout=(wait or 0) + 30)
    if output == "json":
        print_json(found)
    elif wait is None:
        count = found.get("delivered_to", 1)
        places = "1 mailbox" if count == 1 else f"{count} mailboxes"
        print_done(f"Message {found['message_id']} {found['status']} ({places})")
    else:
        click.echo(f"[{found.get('sender', '?')}] {found['performative']}: {_compact(found.get('content'))}")


@message.command("list")
@click.option("--conversation", "conversation_id", metavar="ID", help="Only this conversation.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@click.option("--cursor", help="Go on where an earlier list ended (its next_cursor).")
@output_option
@pass_settings
def list_messages(settings: Settings, conversation_id: str | None, limit: int, cursor: str | None, output: str) -> None:
    """List messages the server still remembers, oldest first."""
    query = {"conversation_id": conversation_id, "limit": limit, "cursor": cursor}
    found = settings.client().request("GET", MESSAGES, what="Messages cannot be listed", query=query)
    if output == "json":
        print_json(found)
        return
    rows = []
    for item in found["messages"]:
        to = item["receiver"] if isinstance(item["receiver"], str) else ", ".join(item["receiver"])
        text = _compact(item.get("content"))
        rows.append((str(item["timestamp"]), item.get("sender") or "-", to, item["performative"], shortened(text)))
    print_table(("TIME", "FROM", "TO", "PERFORMATIVE", "CONTENT"), rows)
    if found.get("next_cursor"):
        click.echo(f"\nmore: --cursor {found['next_cursor']}", err=True)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
