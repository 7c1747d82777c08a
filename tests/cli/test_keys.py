"""Public keys from the command line."""

from collections.abc import Callable

from click.testing import Result

from tests.cli.conftest import FakeServer

Run = Callable[..., Result]
KEY = {"agent": "echo", "algorithm": "ed25519", "public_key": "AAAA", "fingerprint": "SHA256:x", "held_by": "server"}


def test_keys_are_listed_registered_and_removed(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/keys"] = {"platform": "shop", "keys": [KEY]}
    api.answers["PUT /api/v1/keys/echo"] = KEY
    api.answers["DELETE /api/v1/keys/echo"] = {"agent": "echo", "status": "removed"}
    assert run("keys", "list").stdout.splitlines()[1].split() == ["echo", "server", "AAAA", "SHA256:x"]
    assert run("keys", "set", "echo", "AAAA").stdout == "✓ echo signs with SHA256:x.\n"
    assert api.asked[-1].json() == {"public_key": "AAAA"}
    assert run("keys", "remove", "echo").stdout == "✓ The key of echo is removed.\n"
