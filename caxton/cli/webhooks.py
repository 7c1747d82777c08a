"""`caxton webhook …`: who is told what happens here, what waits for them, and what they did not take."""

from typing import Any

import click

from caxton.cli.lazy import Group
from caxton.cli.options import Settings, output_option, pass_settings, print_done, print_json, print_table, shortened

WEBHOOKS = "/api/v1/webhooks"
SHOWN = 50

endpoint_argument = click.argument("endpoint", metavar="ID")
deliveries_argument = click.argument("deliveries", nargs=-1, metavar="[DELIVERY...]")


@click.group(cls=Group)
def webhook() -> None:
    """Look at webhooks: what waits, what was not taken; and send that again."""


@webhook.command("list")
@output_option
@pass_settings
def list_webhooks(settings: Settings, output: str) -> None:
    """List the endpoints, with what waits for them and what was given up."""
    found = settings.client().request("GET", WEBHOOKS, what="Webhooks cannot be listed")
    rows = found["endpoints"]
    if output == "json":
        print_json(found)
    elif rows:
        if not found["enabled"]:
            click.echo("Webhooks are off: integrations.webhooks.enabled is false.")
        columns = ("ID", "ENDPOINT", "STATUS", "WAITING", "FAILED", "DELIVERED", "LEFT OUT", "LAST ERROR")
        print_table(columns, [_row(row) for row in rows])
    else:
        print_done("There are no webhooks")


@webhook.command()
@endpoint_argument
@click.option("--limit", type=click.IntRange(1, 1000), default=SHOWN, show_default=True, help="How many.")
@output_option
@pass_settings
def failed(settings: Settings, endpoint: str, limit: int, output: str) -> None:
    """List what the endpoint ID did not take and was given up, the newest first."""
    query = {"limit": limit}
    found = settings.client().request("GET", f"{WEBHOOKS}/{endpoint}/failed", query=query, what="No deliveries")
    if output == "json":
        print_json(found)
        return
    rows = [
        (each["delivery"], each["event"], each["at"][:19], str(each["attempts"]), shortened(each["reason"]))
        for each in found["failed"]
    ]
    if rows:
        print_table(("DELIVERY", "EVENT", "AT", "ATTEMPTS", "WHY"), rows)
    else:
        print_done("Nothing was given up")


@webhook.command()
@endpoint_argument
@deliveries_argument
@output_option
@pass_settings
def redeliver(settings: Settings, endpoint: str, deliveries: tuple[str, ...], output: str) -> None:
    """Send again what was given up: all of it, or the deliveries that are named."""
    done = _ask(settings, f"{endpoint}/redeliver", deliveries, "Nothing is sent again")
    if output == "json":
        print_json(done)
    else:
        print_done(f"{done['redelivered']} will be sent again")


@webhook.command()
@endpoint_argument
@deliveries_argument
@click.option("--waiting", is_flag=True, help="Also what waits, and was not given up.")
@output_option
@pass_settings
def purge(settings: Settings, endpoint: str, deliveries: tuple[str, ...], waiting: bool, output: str) -> None:
    """Forget what was given up: all of it, or the deliveries that are named."""
    query = {"waiting": "1" if waiting else None}
    done = _ask(settings, f"{endpoint}/purge", deliveries, "Nothing was forgotten", query)
    if output == "json":
        print_json(done)
    else:
        print_done(f"{done['purged']} forgotten")


# Any: JSON
def _ask(
    settings: Settings, path: str, deliveries: tuple[str, ...], what: str, query: dict[str, str | None] | None = None
) -> Any:
    body = {"deliveries": list(deliveries)}
    return settings.client().request("POST", f"{WEBHOOKS}/{path}", query=query, body=body, what=what)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    counts = (str(row.get(key, "-")) for key in ("waiting", "failed", "delivered", "left_out"))
    return (row["id"], row.get("url", "-"), row["status"], *counts, shortened(row.get("last_error", "")))
