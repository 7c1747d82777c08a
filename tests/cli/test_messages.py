"""Sending and reading messages."""

from collections.abc import Callable

import pytest
from click.testing import Result

from tests.cli.conftest import FakeServer, error

Run = Callable[..., Result]
RECEIPT = {"message_id": "0190", "status": "delivered", "delivered_to": 1}


@pytest.mark.parametrize(
    ("text", "content"),
    [('{"a": [1, "ü"]}', {"a": [1, "ü"]}), ("hello there", "hello there"), ('"quoted"', "quoted"), ("17", 17)],
)
def test_content_is_json_or_a_plain_string(run: Run, api: FakeServer, text: str, content: object) -> None:
    api.answers["POST /api/v1/messages"] = RECEIPT
    result = run("message", "send", "--to", "echo", "--content", text)
    assert (result.exit_code, result.stdout) == (0, "✓ Message 0190 delivered (1 mailbox)\n")
    assert api.asked[0].json() == {"performative": "request", "receiver": "echo", "content": content}


def test_a_broken_object_is_not_taken_for_a_string(run: Run, api: FakeServer) -> None:
    result = run("message", "send", "--to", "echo", "--content", '{"a": }')
    assert result.exit_code == 1
    assert "✗ The content is not JSON" in result.stderr
    assert api.asked == []


def test_content_comes_from_standard_input(run: Run, api: FakeServer) -> None:
    api.answers["POST /api/v1/messages"] = RECEIPT
    run("message", "send", "--to", "echo", "--content", "-", stdin="[1, 2]")
    assert api.asked[0].json()["content"] == [1, 2]


def test_fields_have_the_names_of_the_message(run: Run, api: FakeServer) -> None:
    api.answers["POST /api/v1/messages"] = RECEIPT
    options = ("--to", "a", "--from", "me", "--conversation", "c", "--reply-with", "r", "--priority", "high")
    run("message", "send", *options, "--delivery", "VOLATILE")
    fields = {"sender": "me", "receiver": "a", "conversation_id": "c", "reply_with": "r", "priority": "high"}
    fields["delivery"] = "volatile"
    assert api.asked[0].json() == fields | {"performative": "request", "content": None}
    assert run("message", "send", "--to", "a", "--delivery", "safe").exit_code == 2
    assert len(api.asked) == 1


def test_waiting_prints_the_answer(run: Run, api: FakeServer) -> None:
    api.answers["POST /api/v1/messages"] = {"sender": "echo", "performative": "inform", "content": {"a": 1}}
    result = run("message", "send", "--to", "echo", "--wait", "500ms")
    assert result.stdout == '[echo] inform: {"a":1}\n'
    assert api.asked[0].query == "wait=0.5"


def test_no_answer_in_time_is_an_error(run: Run, api: FakeServer) -> None:
    api.answers["POST /api/v1/messages"] = 504, error("REPLY_TIMEOUT", "no reply within 1s")
    result = run("message", "send", "--to", "echo", "--wait", "1")
    assert result.exit_code == 1
    assert result.stderr == "✗ Message not sent: reply timeout\n  why: no reply within 1s\n"


def test_the_list_shortens_contents(run: Run, api: FakeServer) -> None:
    row = {"timestamp": "2026-01-31T12:00:00Z", "receiver": ["b", "c"], "performative": "inform"}
    api.answers["GET /api/v1/messages"] = {"messages": [row | {"content": "x" * 80}], "next_cursor": "7"}
    result = run("message", "list", "--conversation", "c1", "--limit", "1")
    assert result.stdout.splitlines()[0].split() == ["TIME", "FROM", "TO", "PERFORMATIVE", "CONTENT"]
    assert result.stdout.splitlines()[1].startswith("2026-01-31T12:00:00Z  -     b, c  inform ")
    assert result.stdout.splitlines()[1].endswith("x…")
    assert "more: --cursor 7" in result.stderr
    assert api.asked[0].query == "conversation_id=c1&limit=1"
