"""Webhooks from the command line."""

from collections.abc import Callable

from click.testing import Result

from tests.cli.conftest import FakeServer

Run = Callable[..., Result]
OPS = {
    "id": "0a1b2c3d4e5f",
    "url": "https://ops.example",
    "events": ["agent.failed"],
    "signed": True,
    "status": "retrying",
    "waiting": 3,
    "failed": 1,
    "delivered": 7,
    "left_out": 0,
    "last_error": "ops.example answered 503",
}
GONE = {"id": "ffffffffffff", "status": "removed", "waiting": 2, "failed": 0}
FAILED = {
    "delivery": "n-1-2",
    "event": "agent.failed",
    "at": "2026-11-21T17:20:00.120000Z",
    "attempts": 3,
    "reason": "ops.example answered 500",
}


def test_the_list_says_what_waits_and_what_failed(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/webhooks"] = {"enabled": True, "endpoints": [OPS, GONE]}
    lines = run("webhook", "list").stdout.splitlines()
    assert lines[1].split()[:7] == ["0a1b2c3d4e5f", "https://ops.example", "retrying", "3", "1", "7", "0"]
    assert lines[1].endswith("ops.example answered 503")
    assert lines[2].split() == ["ffffffffffff", "-", "removed", "2", "0", "-", "-"]
    api.answers["GET /api/v1/webhooks"] = {"enabled": False, "endpoints": [OPS]}
    assert "are off" in run("webhook", "list").stdout
    api.answers["GET /api/v1/webhooks"] = {"enabled": False, "endpoints": []}
    assert "There are no webhooks" in run("webhook", "list").stdout


def test_what_failed_and_that_it_is_sent_again(run: Run, api: FakeServer) -> None:
    base = "/api/v1/webhooks/0a1b2c3d4e5f"
    api.answers[f"GET {base}/failed"] = {"failed": [FAILED], "next_cursor": None}
    out = run("webhook", "failed", "0a1b2c3d4e5f", "--limit", "5").stdout
    assert out.splitlines()[1].split()[:4] == ["n-1-2", "agent.failed", "2026-11-21T17:20:00", "3"]
    assert api.asked[-1].query == "limit=5"
    api.answers[f"POST {base}/redeliver"] = {"redelivered": 1}
    assert run("webhook", "redeliver", "0a1b2c3d4e5f", "n-1-2").stdout == "✓ 1 will be sent again\n"
    assert api.asked[-1].json() == {"deliveries": ["n-1-2"]}
    api.answers[f"POST {base}/purge"] = {"purged": 4}
    assert run("webhook", "purge", "0a1b2c3d4e5f", "--waiting").stdout == "✓ 4 forgotten\n"
    assert (api.asked[-1].query, api.asked[-1].json()) == ("waiting=1", {"deliveries": []})
