"""`caxton keys …`: the public keys that signed messages are checked with."""

import click

from caxton.cli.agents import complete_name
from caxton.cli.lazy import Group
from caxton.cli.options import Settings, output_option, pass_settings, print_done, print_json, print_table

KEYS = "/api/v1/keys"


@click.group(cls=Group)
def keys() -> None:
    """Look at agents' public keys, register those of agents that sign for themselves."""


@keys.command("list")
@output_option
@pass_settings
def list_keys(settings: Settings, output: str) -> None:
    """List public keys; who holds the private one: the server, or the agent's owner."""
    found = settings.client().request("GET", KEYS, what="Keys cannot be listed")
    if output == "json":
        print_json(found)
        return
    rows = [(each["agent"], each["held_by"], each["public_key"], each["fingerprint"]) for each in found["keys"]]
    print_table(("AGENT", "HELD BY", "PUBLIC KEY", "FINGERPRINT"), rows)


@keys.command("set")
@click.argument("agent", metavar="AGENT", shell_complete=complete_name)
@click.argument("public_key", metavar="BASE64")
@output_option
@pass_settings
def set_key(settings: Settings, agent: str, public_key: str, output: str) -> None:
    """Register the Ed25519 public key of an attached agent, or of name@platform."""
    what = f"The key of {agent} cannot be registered"
    done = settings.client().request("PUT", f"{KEYS}/{agent}", what=what, body={"public_key": public_key})
    if output == "json":
        print_json(done)
    else:
        print_done(f"{agent} signs with {done['fingerprint']}.")


@keys.command("remove")
@click.argument("agent", metavar="AGENT", shell_complete=complete_name)
@output_option
@pass_settings
def remove_key(settings: Settings, agent: str, output: str) -> None:
    """Forget a registered key."""
    done = settings.client().request("DELETE", f"{KEYS}/{agent}", what=f"The key of {agent} cannot be removed")
    if output == "json":
        print_json(done)
    else:
        print_done(f"The key of {agent} is removed.")
