"""Conversations from the command line."""

import json
from collections.abc import Callable

from click.testing import Result

from tests.cli.conftest import FakeServer

Run = Callable[..., Result]
CONVERSATIONS = "/api/v1/conversations"
AT = "2026-01-31T12:00:00Z"
NET = {
    "conversation_id": "net/1",
    "protocol": "fipa-contract-net",
    "initiator": "sam",
    "is_open": True,
    "participants": 2,
    "states": {"BIDDING": 1, "REFUSED": 1},
    "started_at": AT,
    "active_at": AT,
    "messages": 4,
    "repeated": 0,
    "out_of_sequence": 1,
    "parent": "trunk",
}
WORDS = "participant pricing has not answered the CFP, 4.1 s past reply_by"
SESSION = {
    "state": "REFUSED",
    "is_final": True,
    "since": AT,
    "out_of_sequence": 0,
    "waiting": "",
    "participant": "rita",
}
DETAIL = NET | {
    "waiting": [WORDS],
    "sessions": [
        SESSION,
        SESSION | {"participant": "pricing", "state": "BIDDING", "is_final": False, "waiting": WORDS},
    ],
    "violations": [
        {
            "timestamp": AT,
            "kind": "out-of-sequence",
            "performative": "inform",
            "from": "pricing",
            "to": "sam",
            "state": "BIDDING",
            "expected": ["propose by the participant", "refuse by the participant"],
        }
    ],
    "branches": ["b1", "b2"],
    "rebuilt": True,
}
STATISTICS = {"open": 1, "ended": 2, "steps": 9, "out_of_sequence": 1, "late": 0, "timed_out": 3}


def test_conversations_are_listed_with_their_numbers(run: Run, api: FakeServer) -> None:
    api.answers[f"GET {CONVERSATIONS}"] = {"conversations": [NET], "next_cursor": "7", "statistics": STATISTICS}
    result = run("conversations", "list", "--open", "--protocol", "fipa-contract-net", "--participant", "pricing")
    assert result.stdout.splitlines()[1].split() == [
        *("net/1", "fipa-contract-net", "sam", "2", "1", "BIDDING,", "1", "REFUSED", "4", "1", AT)
    ]
    assert "1 open, 2 ended; since the start 9 messages, 1 out of sequence, 0 late, 3 timed out" in result.stdout
    assert "more: --cursor 7" in result.stderr
    assert api.asked[0].query == "protocol=fipa-contract-net&participant=pricing&limit=50&open=1"


def test_one_is_shown_with_who_is_waited_for(run: Run, api: FakeServer) -> None:
    api.answers[f"GET {CONVERSATIONS}/net/1"] = DETAIL
    lines = run("conversations", "show", "net/1").stdout.splitlines()
    assert lines[0] == "net/1: fipa-contract-net of sam, open"
    assert "made again from the messages" in lines[2]
    assert lines[3:5] == ["parent: trunk", "branches: b1, b2"]
    assert lines[7].split()[:2] == ["pricing", "BIDDING"]
    assert lines[7].endswith(WORDS)
    assert lines[8].split()[:2] == ["rita", "REFUSED"]
    assert lines[9].endswith(
        "out-of-sequence: inform of pricing to sam in BIDDING; "
        "expected propose by the participant or refuse by the participant"
    )


def test_one_is_followed(run: Run, api: FakeServer) -> None:
    api.answers[f"GET {CONVERSATIONS}/c1"] = DETAIL | {"sessions": [SESSION] * 60}
    events = [
        {"type": "message.sent", "timestamp": AT, "from": "sam", "to": ["a", "b"], "performative": "cfp"},
        {"type": "conversation.timed_out", "timestamp": AT, "from": "sam", "to": "a", "after": "NO_BID", "told": "x"},
        {"type": "system.alert", "message": "missed"},
    ]
    stream = "".join(f"id: {n}\nevent: {e['type']}\ndata: {json.dumps(e)}\n\n" for n, e in enumerate(events))
    api.answers["GET /api/v1/events"] = stream.encode()
    result = run("conversations", "show", "c1", "--follow")
    assert "… and 10 more; in all: 1 BIDDING, 1 REFUSED" in result.stdout
    assert f"{AT}  sam → a, b  cfp" in result.stdout
    assert f"{AT}  a  timed out: NO_BID x" in result.stdout
    assert "(missed)" in result.stderr
    assert "conversation_id=c1" in api.asked[0].query


def test_one_is_cancelled(run: Run, api: FakeServer) -> None:
    api.answers[f"POST {CONVERSATIONS}/c1/cancel"] = {"conversation_id": "c1", "cancel": {"a": "sent", "b": "full"}}
    result = run("conversations", "cancel", "c1", "--reason", "enough")
    assert result.stdout == "✓ cancel sent to a\n"
    assert "b: full" in result.stderr
    assert api.asked[0].query == "reason=enough"
