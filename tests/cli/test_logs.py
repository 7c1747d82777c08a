"""Reading and following what agents write."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from caxton.cli.errors import Failure
from caxton.cli.logs import parse_since
from tests.cli.conftest import FakeServer

Run = Callable[..., Result]
PAST = {"agent": "ping", "stream": "out", "text": "Sending ping to pong", "timestamp": "2026-01-31T12:00:00Z"}


def event(number: int, agent: str, text: str, at: str) -> bytes:
    data = {"type": "agent.log", "agent_id": agent, "stream": "out", "text": text, "timestamp": at}
    return f"id: {number}\nevent: agent.log\ndata: {json.dumps(data)}\n\n".encode()


def test_the_past_is_printed_as_agent_and_text(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/logs"] = {"lines": [PAST]}
    result = run("logs", "--agents", "ping,pong", "--since", "1h")
    assert (result.exit_code, result.stdout) == (0, "[ping] Sending ping to pong\n")
    assert api.asked[0].query.startswith("agents=ping%2Cpong&since=")


def test_following_prints_each_line_once(run: Run, api: FakeServer) -> None:
    again = event(1, "ping", PAST["text"], PAST["timestamp"])
    left_out = b'event: system.alert\ndata: {"type": "system.alert", "message": "7 events were left out"}\n\n'
    new = event(2, "pong", "Received ping, sending pong back", "2026-01-31T12:00:01Z")
    api.answers["GET /api/v1/logs"] = {"lines": [PAST]}
    api.answers["GET /api/v1/events"] = 200, b"retry: 2000\n\n: heartbeat\n\n" + again + left_out + new
    result = run("logs", "--follow")
    assert result.stdout == "[ping] Sending ping to pong\n[pong] Received ping, sending pong back\n"
    assert api.asked[0].query == "types=agent.log"
    assert result.exit_code == 1
    assert result.stderr.startswith("(7 events were left out)\n✗ The server ended the stream\n")


def test_no_past_is_not_asked_for(run: Run, api: FakeServer) -> None:
    assert run("logs", "--lines", "0").exit_code == 0
    assert api.asked == []


def test_json_is_one_object_a_line(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/logs"] = {"lines": [PAST, PAST]}
    assert [json.loads(line) for line in run("logs", "-o", "json").stdout.splitlines()] == [PAST, PAST]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 910.0), ("5m", 700.0), ("1970-01-01T00:01:00Z", 60.0), ("1970-01-01T01:01:00+01:00", 60.0)],
)
def test_since_is_an_age_or_a_date(text: str, expected: float) -> None:
    assert parse_since(text, 1000.0) == expected


def test_since_refuses_what_is_neither() -> None:
    with pytest.raises(Failure, match="'yesterday' is no time"):
        parse_since("yesterday", 0.0)
