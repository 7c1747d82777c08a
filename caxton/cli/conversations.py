"""`caxton conversations …`: who talks with whom, who has to answer, and what was out of order."""

import json
from typing import Any

import click

from caxton.cli.client import Client
from caxton.cli.lazy import Group
from caxton.cli.options import Settings, output_option, pass_settings, print_done, print_json, print_table

CONVERSATIONS = "/api/v1/conversations"
WHAT = "The conversation cannot be shown"
ROWS = 50  # sessions that are shown; those that are not over come first


@click.group(cls=Group)
def conversations() -> None:
    """Look at conversations, and stop them."""


@conversations.command("list")
@click.option("--protocol", help="Only of this protocol, such as fipa-contract-net.")
@click.option("--state", help="Only with a session in this state, such as BIDDING.")
@click.option("--participant", metavar="NAME", help="Only with this agent.")
@click.option("--parent", metavar="ID", help="Only branches of this conversation.")
@click.option("--open/--ended", "is_open", default=None, help="Only those that go on, or that are over.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@click.option("--cursor", help="Go on where an earlier list ended (its next_cursor).")
@output_option
@pass_settings
def list_conversations(settings: Settings, /, is_open: bool | None, output: str, **which: Any) -> None:
    """List conversations, newest first."""
    query = which | {"open": None if is_open is None else int(is_open)}
    found = settings.client().request("GET", CONVERSATIONS, what="Conversations cannot be listed", query=query)
    if output == "json":
        print_json(found)
        return
    rows = [
        (
            one["conversation_id"],
            one["protocol"],
            one["initiator"],
            str(one["participants"]),
            _states(one["states"]),
            str(one["messages"]),
            str(one["out_of_sequence"]),
            one["active_at"],
        )
        for one in found["conversations"]
    ]
    print_table(("ID", "PROTOCOL", "INITIATOR", "PEERS", "STATES", "MESSAGES", "OUT OF SEQ", "LAST"), rows)
    numbers = found["statistics"]
    click.echo(
        f"\n{numbers['open']} open, {numbers['ended']} ended; since the start {numbers['steps']} messages, "
        f"{numbers['out_of_sequence']} out of sequence, {numbers['late']} late, {numbers['timed_out']} timed out"
    )
    if found["next_cursor"]:
        click.echo(f"more: --cursor {found['next_cursor']}", err=True)


@conversations.command()
@click.argument("conversation", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is said, until Ctrl-C.")
@output_option
@pass_settings
def show(settings: Settings, conversation: str, follow: bool, output: str) -> None:
    """Show one: the state of each peer, who has to answer, and what was out of sequence."""
    client = settings.client()
    if not follow:
        _show(client, conversation, output)
        return
    query = {"types": "message.sent,conversation.*,system.*", "conversation_id": conversation}
    try:
        with client.events(what=WHAT, query=query) as events:  # first: nothing falls between the two
            _show(client, conversation, output)
            for event in events:
                _print_event(event.data, output)
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def _show(client: Client, conversation: str, output: str) -> None:
    found = client.request("GET", f"{CONVERSATIONS}/{conversation}", what=WHAT)
    if output == "json":
        print_json(found)
        return
    state = "open" if found["is_open"] else "ended"
    click.echo(f"{found['conversation_id']}: {found['protocol']} of {found['initiator']}, {state}")
    click.echo(f"{found['messages']} messages from {found['started_at']} to {found['active_at']}")
    if found["rebuilt"]:
        click.echo("it is followed no longer: this was made again from the messages that are remembered")
    for name in ("parent", "branches"):
        if found[name]:
            click.echo(f"{name}: {found[name] if isinstance(found[name], str) else ', '.join(found[name])}")
    click.echo()
    sessions = sorted(found["sessions"], key=lambda session: session["is_final"])
    rows = [
        (one["participant"], one["state"], one["since"], str(one["out_of_sequence"]), one["waiting"] or "-")
        for one in sessions[:ROWS]
    ]
    print_table(("PARTICIPANT", "STATE", "SINCE", "OUT OF SEQ", "WAITING FOR"), rows)
    if len(sessions) > ROWS:
        click.echo(f"… and {len(sessions) - ROWS} more; in all: {_states(found['states'])}")
    for one in found["violations"]:
        expected = " or ".join(one["expected"]) or "nothing"
        act = f"{one['kind']}: {one['performative']} of {one['from']} to {one['to']} in {one['state']}"
        click.echo(f"{one['timestamp']}  {act}; expected {expected}")


@conversations.command()
@click.argument("conversation", metavar="ID")
@click.option("--reason", help="What the participants are told.")
@output_option
@pass_settings
def cancel(settings: Settings, conversation: str, reason: str | None, output: str) -> None:
    """Send `cancel` in the initiator's name to every participant that is not done."""
    path = f"{CONVERSATIONS}/{conversation}/cancel"
    query = {"reason": reason}
    found = settings.client().request("POST", path, what="The conversation was not cancelled", query=query)
    if output == "json":
        print_json(found)
        return
    sent = [name for name, outcome in found["cancel"].items() if outcome == "sent"]
    print_done(f"cancel sent to {', '.join(sent) or 'nobody'}")
    for name, outcome in found["cancel"].items():
        if outcome != "sent":
            click.echo(f"  {name}: {outcome}", err=True)


def _states(states: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


# Any: an event as the server's JSON has it
def _print_event(data: dict[str, Any], output: str) -> None:
    if output == "json":
        click.echo(json.dumps(data, ensure_ascii=False))
    elif data["type"] == "message.sent":
        to = data["to"] if isinstance(data["to"], str) else ", ".join(data["to"])
        click.echo(f"{data['timestamp']}  {data['from']} → {to}  {data['performative']}")
    elif data["type"].startswith("conversation."):
        what = data["type"].removeprefix("conversation.").replace("_", " ")
        who = f"{data['from']} → {data['to']}" if data.get("performative") else data["to"]
        words = " ".join(filter(None, (what + ":", data.get("performative"), data.get("after"), data.get("told"))))
        click.secho(f"{data['timestamp']}  {who}  {words}", fg="yellow")
    else:
        click.secho(f"({data.get('message', data['type'])})", dim=True, err=True)
