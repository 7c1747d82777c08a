"""`caxton platforms …`: other agent platforms that this server exchanges messages with."""

import click

from caxton.cli.lazy import Group
from caxton.cli.options import Settings, output_option, pass_settings, print_done, print_json, print_table

PLATFORMS = "/api/v1/platforms"


@click.group(cls=Group)
def platforms() -> None:
    """Look at other FIPA platforms (JADE and others), forget those that were learned."""


@platforms.command("list")
@output_option
@pass_settings
def list_platforms(settings: Settings, output: str) -> None:
    """List the platforms that are known, and whether they are reached."""
    found = settings.client().request("GET", PLATFORMS, what="Platforms cannot be listed")
    if output == "json":
        print_json(found)
        return
    own = found["platform"]
    click.echo(f"This platform is {own['name']} at {own['url']}.")
    rows = [
        (
            each["name"],
            each["url"],
            "learned" if each["learned"] else "listed",
            each["state"],
            str(each["sent"]),
            str(each["received"]),
            str(each["waiting"]),
        )
        for each in found["platforms"]
    ]
    print_table(("NAME", "ADDRESS", "KNOWN", "STATE", "SENT", "RECEIVED", "WAITING"), rows)


@platforms.command("forget")
@click.argument("name", metavar="NAME")
@output_option
@pass_settings
def forget_platform(settings: Settings, name: str, output: str) -> None:
    """Forget where a platform answers that was learned; the next address it shows is taken."""
    done = settings.client().request("DELETE", f"{PLATFORMS}/{name}", what=f"{name} cannot be forgotten")
    if output == "json":
        print_json(done)
    else:
        print_done(f"{name} is forgotten.")
