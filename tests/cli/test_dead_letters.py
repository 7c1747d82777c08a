"""Dead letters from the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.conftest import FakeServer, error

Run = Callable[..., Result]
LETTERS = "/api/v1/dead-letters"
LETTER = {
    "id": 7,
    "message_id": "0190",
    "agent": "a",
    "sender": "",
    "reason": "agent-trapped",
    "attempts": 4,
    "detail": "x" * 80,
    "timestamp": "2026-01-31T12:00:00Z",
}


def test_the_list_is_a_table(run: Run, api: FakeServer) -> None:
    api.answers[f"GET {LETTERS}"] = {"dead_letters": [LETTER], "total": 2, "next_cursor": "7"}
    result = run("dead-letters", "list", "--agent", "a", "--reason", "agent-trapped", "--since", "1970-01-02T00:00:00Z")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["ID", "TIME", "FROM", "AGENT", "REASON", "ATTEMPTS", "DETAIL"]
    assert lines[1].split()[:6] == ["7", "2026-01-31T12:00:00Z", "-", "a", "agent-trapped", "4"]
    assert lines[1].endswith("x…")
    assert lines[-1] == "2 dead letters"
    assert "more: --cursor 7" in result.stderr
    assert api.asked[0].query == "agent=a&reason=agent-trapped&since=86400.0&limit=50"


def test_one_is_shown_with_its_message(run: Run, api: FakeServer) -> None:
    api.answers[f"GET {LETTERS}/7"] = LETTER | {"message": {"performative": "inform"}}
    result = run("dead-letters", "show", "7")
    assert "reason:      agent-trapped" in result.stdout
    assert '"performative": "inform"' in result.stdout


def test_one_or_many_are_sent_again(run: Run, api: FakeServer) -> None:
    api.answers[f"POST {LETTERS}/7/retry"] = {"message_id": "0190", "status": "delivered"}
    api.answers[f"POST {LETTERS}/retry"] = {"retried": 2, "failed": 1, "errors": {"9": "AGENT_NOT_FOUND: nobody"}}
    assert run("dead-letters", "retry", "7").stdout == "✓ Message 0190 delivered\n"
    result = run("dead-letters", "retry", "--agent", "a")
    assert (result.exit_code, result.stdout) == (1, "✓ 2 sent again\n")
    assert "9: AGENT_NOT_FOUND: nobody" in result.stderr
    assert api.asked[1].query == "agent=a"


def test_one_or_many_are_purged(run: Run, api: FakeServer) -> None:
    api.answers[f"DELETE {LETTERS}/7"] = {"id": 7, "status": "removed"}
    api.answers[f"POST {LETTERS}/purge"] = {"purged": 12}
    assert run("dead-letters", "purge", "7").stdout == "✓ Dead letter 7 purged\n"
    assert run("dead-letters", "purge", "--all").stdout == "✓ 12 purged\n"


@pytest.mark.parametrize("verb", ["retry", "purge"])
@pytest.mark.parametrize("options", [(), ("7", "--all"), ("7", "--agent", "a"), ("--all", "--agent", "a")])
def test_it_must_be_clear_which_are_meant(run: Run, api: FakeServer, verb: str, options: tuple[str, ...]) -> None:
    result = run("dead-letters", verb, *options)
    assert result.exit_code == 2
    assert "which dead letters" in result.stderr
    assert api.asked == []


def test_they_are_exported_to_a_file_or_to_standard_output(run: Run, api: FakeServer, tmp_path: Path) -> None:
    api.answers[f"GET {LETTERS}/export"] = b'{"id":1}\n{"id":2}\n'
    assert run("dead-letters", "export", "--agent", "a").stdout == '{"id":1}\n{"id":2}\n'
    assert api.asked[0].query == "agent=a"
    target = tmp_path / "letters"
    assert "2 dead letters written" in run("dead-letters", "export", str(target)).stdout
    assert target.read_bytes() == b'{"id":1}\n{"id":2}\n'
    assert run("dead-letters", "export", str(target)).exit_code == 1


def test_an_export_that_fails_leaves_no_file(run: Run, api: FakeServer, tmp_path: Path) -> None:
    api.answers[f"GET {LETTERS}/export"] = 400, error("INVALID_REQUEST", "no such reason")
    assert run("dead-letters", "export", str(tmp_path / "letters"), "--reason", "x").exit_code == 1
    assert list(tmp_path.iterdir()) == []
