"""examples/contract-net: what its manager makes of honest and dishonest bidders, and the helpers it is written with."""

import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton.node import Node
from examples import build
from tests.examples.guest import Guest
from tests.node.opened import config, log, open_a_node, until

FOLDER = Path(build.__file__).parent / "contract-net"


def manager(*bidders: str) -> Guest:
    """It was asked by anna, and has called the bidders; what it sent is forgotten."""
    guest = Guest(FOLDER / "manager.wasm")
    guest.now = 1_795_277_507_432_782
    content = {"bidders": bidders, "task": {"kg": 3}, "wait_ms": 500}
    request = {
        "performative": "request",
        "sender": "anna",
        "content": content,
        "conversation_id": "c",
        "reply_with": "r",
    }
    assert guest.handle(request) == 0
    agreed, *calls = guest.sent
    assert agreed == {
        "performative": "agree",
        "receiver": "anna",
        "conversation_id": "c",
        "in_reply_to": "r",
        "content": {"action": {}, "condition": {}},
    }
    assert [call["receiver"] for call in calls] == list(bidders)
    assert [call["reply_with"] for call in calls] == [str(number) for number in range(len(bidders))]
    for call in calls:
        assert (call["performative"], call["protocol"], call["content"]) == ("cfp", "fipa-contract-net", {"kg": 3})
        assert (call["conversation_id"], call["reply_by"]) == ("net-1795277507432782", "2026-11-21T16:11:47.932Z")
    guest.sent.clear()
    return guest


def says(guest: Guest, sender: str, act: str, content: Any = None, in_reply_to: str = "0") -> list[tuple[str, str]]:
    """What the manager answers; Any: JSON."""
    guest.sent.clear()
    message = {"performative": act, "sender": sender, "content": content, "in_reply_to": in_reply_to}
    assert guest.handle({**message, "conversation_id": "net-1795277507432782", "reply_with": f"of-{sender}"}) == 0
    return [(sent["receiver"], sent["performative"]) for sent in guest.sent]


def test_the_cheapest_gets_the_work_and_the_asker_the_result() -> None:
    guest = manager("a", "b", "c")
    assert says(guest, "a", "propose", {"cost": 30}) == []
    assert says(guest, "b", "propose", {"cost": 2.5e1}, "1") == []
    assert says(guest, "c", "refuse", {}, "2") == [("a", "reject-proposal"), ("b", "accept-proposal")]
    assert guest.sent[1]["in_reply_to"] == "of-b"
    assert guest.sent[1]["reply_with"] == "accept-proposal-1"
    assert says(guest, "b", "inform", {"done": True}, "accept-proposal-1") == [("anna", "inform")]
    result = {"winner": "b", "cost": 25, "conversation_id": "net-1795277507432782", "result": {"done": True}}
    assert (guest.sent[0]["content"], guest.sent[0]["in_reply_to"]) == (result, "r")


def test_time_ends_the_round_and_silence_is_no_bid() -> None:
    guest = manager("a", "mute")
    says(guest, "a", "propose", {"cost": 30})
    guest.sent.clear()
    assert guest.exports["handle_timer"](guest.store, 1) == 0
    assert [sent["performative"] for sent in guest.sent] == ["accept-proposal"]
    assert "mute has not answered in time" in guest.logged


def test_lies_change_nothing_and_are_logged() -> None:
    guest = manager("a", "liar")
    assert says(guest, "liar", "inform", {"done": True}, "1") == []
    assert says(guest, "liar", "propose", {"cost": 0}, "0") == []  # for a's call
    assert says(guest, "mallory", "propose", {"cost": 0}) == []
    assert says(guest, "liar", "propose", {"cost": "nothing"}, "1") == [("liar", "reject-proposal")]
    assert says(guest, "a", "propose", {"cost": 30}) == [("a", "accept-proposal")]
    assert guest.logged == [
        "liar answers what it was not asked",
        "liar answers what it was not asked",
        "mallory was not called",
        "liar made a bid that is none",
        "a gets the work",
    ]


@pytest.mark.parametrize("cost", [-1, None, "1", True, [], {"x": 1}, "1e999"])
def test_what_is_no_cost_is_rejected(cost: Any) -> None:
    guest = manager("a", "b")
    assert says(guest, "a", "propose", {"cost": cost}) == [("a", "reject-proposal")]
    assert says(guest, "b", "refuse", {}, "1") == [("anna", "failure")]


def test_a_second_request_is_refused_and_a_slow_winner_given_up() -> None:
    guest = manager("a")
    guest.sent.clear()
    guest.handle({"performative": "request", "sender": "bob", "content": {"bidders": ["a"]}})
    assert [(sent["receiver"], sent["performative"]) for sent in guest.sent] == [("bob", "refuse")]
    says(guest, "a", "propose", {"cost": 1})
    guest.sent.clear()
    guest.exports["handle_timer"](guest.store, 2)
    assert [(sent["receiver"], sent["performative"]) for sent in guest.sent] == [("anna", "failure")]
    assert guest.handle({"performative": "request", "sender": "bob", "content": {"bidders": []}}) == 0
    assert guest.sent[-1]["content"]["reason"] == "nobody proposed"


async def deploy(node: Node, name: str, module: str = "") -> None:
    await node.agents.deploy((FOLDER / f"{module or name}.wasm").read_bytes(), config(name))


@pytest.mark.slow
async def test_the_whole_example_in_a_node(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "manager")
        bidders = [f"bidder-{number}" for number in range(1, 4)]
        for name in bidders:
            await deploy(node, name, "bidder")
        for name in ("refuser", "liar", "silent"):
            await deploy(node, name)
        called = [*bidders, "refuser", "liar", "silent", "nobody"]
        content = {"bidders": called, "task": {"kg": 3}, "wait_ms": 100}
        message = {"performative": "request", "receiver": "manager", "content": content, "reply_with": "1"}
        answer = (await node.bus.request(json.dumps(message).encode(), timeout=20)).as_dict()
        assert answer["performative"] == "inform"
        winner = answer["content"]["winner"]
        assert winner in bidders
        await until(node, lambda: log(node, winner) == ["I got the work, and do it"])
        records, _ = node.bus.history(answer["content"]["conversation_id"], 0, 1000)
        said = [(one.sender, one.performative) for one in records if one.sender not in ("manager", "ams")]
        assert sorted(said) == sorted(
            [
                *((name, "propose") for name in bidders),
                (winner, "inform"),
                ("refuser", "refuse"),
                ("liar", "inform"),
                *[("liar", "propose")] * 2,
            ]
        )
        lines = log(node, "manager")
        for line in ("liar made a bid that is none", "silent has not answered in time", f"{winner} gets the work"):
            assert line in lines
        # the platform's own manager comes to the same end
        order = {"participants": called, "strategy": "lowest_cost", "max_wait_seconds": 0.2}
        task = await node.tasks.create(json.dumps(order).encode())
        found = await node.tasks.distribute(task["task_id"], {}, wait=20)
        assert found["assigned_to"] == [winner]
        with trio.fail_after(20):
            while (found := await node.tasks.get(task["task_id"]))["status"] != "completed":
                await node.tasks.wait_changed()
        status = {one["agent_id"]: one["status"] for one in found["participants"]}
        assert {status[name] for name in bidders} == {"done", "rejected"}
        assert [status[name] for name in ("refuser", "liar", "silent", "nobody")] == [
            *("refused", "rejected", "no_bid", "failed")
        ]


@pytest.mark.slow
def test_the_script_prints_both_traces() -> None:
    script = [sys.executable, str(FOLDER / "run.py"), "--bidders", "2"]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1])}
    shown = subprocess.run(script, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout
    assert re.search(r"ms  silent ", shown) is None
    for line in (
        r"ms  liar → manager +propose +\{\"cost\":\"next to nothing\"\}",
        r"answer: inform .*\"result\": \{\"done\": true\}",
        r"ms  cnp → bidder-\d +accept-proposal",
        r"silent +1 +no bid +- +no answer in time",
        r"liar: out of sequence: propose in reply to '1', never asked",
    ):
        assert re.search(line, shown), line


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    wasm = tmp_path_factory.mktemp("probe") / "probe.wasm"
    source = Path(__file__).with_name("fipa_probe.c")
    subprocess.run([*build.COMMAND, "-Wno-unused-function", "-o", str(wasm), str(source)], check=True)
    return Guest(wasm)


@pytest.mark.slow
def test_the_helpers_make_fipas_messages(probe: Guest) -> None:
    probe.sent.clear()
    probe.now = 1_709_164_799_999_000
    fields = {"conversation_id": "c", "protocol": "p", "ontology": "o", "language": "json"}
    assert probe.handle({"performative": "cfp", "sender": "a", "reply_with": "r", **fields, "content": 7}) == 0
    acts = ["agree", "refuse", "inform", "failure", "not-understood", "propose", "accept-proposal", "reject-proposal"]
    for number, (act, sent) in enumerate(zip(acts, probe.sent, strict=False), 1):
        expected = {"performative": act, "receiver": "a", "in_reply_to": "r", **fields, "content": number}
        if act in ("propose", "accept-proposal"):
            assert sent.pop("reply_with").startswith(f"{act}-")
        assert sent == expected
    assert probe.sent[8] == {
        "performative": "cfp",
        "language": "json",
        "protocol": "fipa-contract-net",
        "receiver": "b",
        "conversation_id": "c-1",
        "reply_with": "r-1",
        "reply_by": "2024-02-28T23:59:59.999Z",
        "content": {"do": 1},
    }
    assert probe.sent[9] == {
        "performative": "query-ref",
        "language": "json",
        "protocol": "fipa-query",
        "receiver": ["x", "y"],
        "conversation_id": "c-2",
        "content": None,
    }


@pytest.mark.slow
def test_moments_and_numbers_are_written_and_read_as_they_are_elsewhere(probe: Guest) -> None:
    @settings(max_examples=200, deadline=None)
    @given(st.integers(1, int(time.time() * 3) * 1000), st.floats(0, 1e9) | st.integers(0, 10**9))
    def check(millis: int, value: float) -> None:
        probe.sent.clear()
        probe.now = millis * 1000
        probe.handle(b'{"sender":"a","content":' + json.dumps(value).encode() + b"}")
        expected = datetime.fromtimestamp(millis // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{millis % 1000:03}Z"
        assert probe.sent[8]["reply_by"] == expected
        assert probe.sent[10]["content"] == pytest.approx(value * 1000, rel=1e-9, abs=1)

    check()
    for raw, found in ((b"-3", -1), (b"1e3", 1_000_000), (b"12e-3", 12), (b'"1"', None), (b"1e999", None), (b"", None)):
        probe.handle(b'{"sender":"a","content":' + (raw or b"true") + b"}")
        assert probe.sent[-1]["content"] == found
