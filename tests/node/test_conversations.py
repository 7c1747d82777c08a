"""Conversations in a whole node: what is told, what time does, and what survives."""

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.wasm.module import wat2wasm
from caxton.bus.streams import Session
from caxton.core.conversations import Conversation
from caxton.core.errors import InvalidMessage
from caxton.core.views import Event, EventFilter, Receipt
from caxton.node import Node
from caxton.store import open_store
from tests.node.opened import config, deploy, log, open_a_node, until
from tests.node.wat import guest, message

EXACT = "messaging.conversations.clock_skew=0s"


def by(seconds: float) -> str:
    """A reply_by."""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def say(node: Node, act: str, sender: str, receiver: str, protocol: str = "fipa-request", **fields: Any) -> None:
    fields = {"conversation_id": "c1", **fields}
    node.bus.post(message(receiver, performative=act, protocol=f"{protocol}", **fields), sender=sender)


def conversation(node: Node, id: str = "c1") -> Conversation:
    found = node.scheduler.tracker.get(id)
    assert found is not None
    return found


def state(node: Node, id: str = "c1") -> str:
    (session,) = conversation(node, id).sessions
    return session.state


async def next_of(events: trio.MemoryReceiveChannel[Event], type: str) -> Event:
    async for event in events:
        if event.type == type:
            return event
    raise AssertionError(type)


@asynccontextmanager
async def two(folder: Path, *sets: str) -> AsyncIterator[tuple[Node, Session, Session]]:
    """A node with sam, who asks, and rita, who answers."""
    async with open_a_node(folder, *sets) as node:
        for name in ("sam", "rita"):
            if not node.scheduler.has_address(name):
                await node.agents.attach(config(name))
        async with node.bus.stream("sam") as sam, node.bus.stream("rita") as rita:
            yield node, sam, rita


async def one(session: Session) -> Envelope:
    mail: list[Envelope] = []
    while not mail:
        mail += await session.receive(1)
    return mail[0]


async def test_an_illegal_act_is_delivered_and_told(tmp_path: Path) -> None:
    async with two(tmp_path) as (node, sam, _):
        with node.bus.tap(10, EventFilter(types=("conversation.*",))) as events:
            say(node, "request", "sam", "rita")
            say(node, "propose", "rita", "sam")
            event = await next_of(events, "conversation.out_of_sequence")
        assert event.data["from"] == "rita"
        assert event.data["performative"] == "propose"
        assert event.data["state"] == "DECIDE"
        assert "agree by the participant" in event.data["told"]
        assert (await one(sam)).performative == "propose"
        assert state(node) == "DECIDE"
        (line,) = log(node, "rita", "system")[-1:]
        assert line.startswith("out of sequence: propose to sam in DECIDE of fipa-request: expected")


@pytest.mark.slow
async def test_who_does_not_bid_in_time_has_not_bid_and_is_rejected(tmp_path: Path) -> None:
    async with two(tmp_path, EXACT) as (node, sam, rita):
        with node.bus.tap(10, EventFilter(types=("conversation.*",))) as events:
            say(node, "cfp", "sam", "rita", "fipa-contract-net", reply_by=by(0.4))
            assert (await one(rita)).performative == "cfp"
            timed_out = await next_of(events, "conversation.timed_out")
            assert (timed_out.data["state"], timed_out.data["after"]) == ("BIDDING", "NO_BID")
            say(node, "propose", "rita", "sam", "fipa-contract-net", reply_with="bid", content=7)
            assert (await next_of(events, "conversation.late")).data["from"] == "rita"
        rejection = (await one(rita)).as_dict()
        assert rejection["performative"] == "reject-proposal"
        assert (rejection["sender"], rejection["in_reply_to"], rejection["content"]["reason"]) == ("ams", "bid", "late")
        # sam did not get it, and it is recorded
        say(node, "inform", "rita", "sam", protocol="none-of-them")
        assert (await one(sam)).performative == "inform"
        recorded, _ = node.bus.history("c1", 0, 10)
        assert [each.performative for each in recorded] == ["cfp", "propose", "reject-proposal", "inform"]
        assert state(node) == "NO_BID"


async def test_a_late_bid_to_several_reaches_those_for_whom_it_is_not_late(tmp_path: Path) -> None:
    async with two(tmp_path) as (node, sam, rita):
        await node.agents.attach(config("otto"))
        say(node, "cfp", "sam", "rita", "fipa-contract-net")
        later = time.monotonic_ns() + 61 * 10**9, time.time_ns() // 1000 + 61 * 10**6
        assert node.scheduler.tracker.tick_at(*later) == 1
        async with node.bus.stream("otto") as otto:
            bid = message(
                ["sam", "otto"],
                performative="propose",
                protocol="fipa-contract-net",
                conversation_id="c1",
                reply_with="bid",
            )
            (receipt,) = await node.bus.settle([node.bus.post(bid, sender="rita")])
            assert isinstance(receipt, Receipt)
            assert (await one(otto)).performative == "propose"
        assert [(await one(rita)).performative for _ in range(2)] == ["cfp", "reject-proposal"]
        say(node, "inform", "rita", "sam", protocol="none-of-them")
        assert (await one(sam)).performative == "inform"
        (session,) = conversation(node).sessions
        assert (session.state, session.out_of_sequence) == ("NO_BID", 1)
        await node.agents._committer.wait_written()
    async with two(tmp_path) as (node, sam, _):
        assert (await one(sam)).performative == "inform", "and it does not come after a restart"


async def test_the_end_is_told_to_who_watches(tmp_path: Path) -> None:
    async with two(tmp_path) as (node, _, _):
        with node.bus.tap(10, EventFilter(types=("conversation.ended",))) as events:
            say(node, "request", "sam", "rita")
            say(node, "refuse", "rita", "sam")
            assert (await next_of(events, "conversation.ended")).data["after"] == "REFUSED"


@pytest.mark.slow
async def test_promises_and_deadlines_outlive_the_server(tmp_path: Path) -> None:
    async with two(tmp_path, EXACT) as (node, _, rita):
        say(node, "request-when", "sam", "rita", "fipa-request-when", conversation_id="promise")
        say(node, "agree", "rita", "sam", "fipa-request-when", conversation_id="promise")
        say(node, "cfp", "sam", "rita", "fipa-contract-net", conversation_id="net", reply_by=by(0.5))
        say(node, "request", "sam", "rita", conversation_id="over")
        for _ in range(3):
            rita.ack([str((await one(rita)).message_id)])
        say(node, "refuse", "rita", "sam", conversation_id="over")
        await node.agents._committer.wait_written()
    async with open_store(tmp_path) as store:
        assert sorted(id for id, _ in await store.conversations.load_all()) == ["net", "promise"]
    async with two(tmp_path, EXACT) as (node, _, _):
        with node.bus.tap(10, EventFilter(types=("conversation.*",))) as events:
            if state(node, "net") == "BIDDING":
                await next_of(events, "conversation.timed_out")
        assert state(node, "net") == "NO_BID"
        assert state(node, "promise") == "ARMED"
        say(node, "inform", "rita", "sam", "fipa-request-when", conversation_id="promise")
        assert state(node, "promise") == "DONE"
        await node.agents._committer.wait_written()
    async with open_store(tmp_path) as store:
        assert await store.conversations.load_all() == []


@pytest.mark.slow
async def test_after_a_crash_a_repeated_turn_is_no_error(tmp_path: Path) -> None:
    """The row is ahead of the messages: rita's agree was seen, and is not on the disk."""
    image = tmp_path / "image"
    async with two(tmp_path / "first") as (node, _, rita):
        say(node, "request", "sam", "rita")
        await one(rita)
        await node.agents._committer.wait_written()
        shutil.copytree(tmp_path / "first", image)  # what a crash leaves
        say(node, "agree", "rita", "sam")
        await node.agents._committer.wait_written()
    (image / "caxton.lock").unlink(missing_ok=True)
    async with open_store(tmp_path / "first") as store:
        rows = await store.conversations.load_all()
    async with open_store(image) as store:
        await store.conversations.write(rows)
    async with two(image) as (node, _, rita):
        assert state(node) == "WORKING"
        assert (await one(rita)).delivery_attempt == 2
        say(node, "agree", "rita", "sam")
        say(node, "inform", "rita", "sam")
        found = conversation(node)
        assert found.sessions[0].state == "DONE"
        assert (found.repeated, found.out_of_sequence) == (1, 0)


@pytest.mark.slow
async def test_what_could_not_be_handled_ends_its_session(tmp_path: Path) -> None:
    async with two(tmp_path, "messaging.retry_attempts=1") as (node, sam, _):
        await deploy(node, "crash", guest("crash"))
        say(node, "request", "sam", "crash")
        assert (await one(sam)).performative == "failure"
        assert state(node) == "UNDELIVERED"
        assert conversation(node).out_of_sequence == 0


async def test_a_broker_is_done_when_what_it_opened_is(tmp_path: Path) -> None:
    async with two(tmp_path) as (node, _, _):
        say(node, "proxy", "sam", "rita", "fipa-brokering", conversation_id="trunk")
        say(node, "agree", "rita", "sam", "fipa-brokering", conversation_id="trunk")
        say(node, "inform", "rita", "sam", "fipa-brokering", conversation_id="trunk")
        for branch in ("b1", "b2"):
            say(node, "request", "rita", "sam", conversation_id=branch, params={"parent_conversation": "trunk"})
        with node.bus.tap(10, EventFilter(types=("conversation.ended",))) as events:
            say(node, "inform", "sam", "rita", conversation_id="b1")
            await next_of(events, "conversation.ended")
            assert state(node, "trunk") == "PROXIED"
            say(node, "inform", "sam", "rita", conversation_id="b2")
            await next_of(events, "conversation.ended")
        assert state(node, "trunk") == "DONE"


async def test_content_that_is_not_what_its_act_needs_is_told(tmp_path: Path) -> None:
    async with two(tmp_path) as (node, _, _):
        with node.bus.tap(10, EventFilter(types=("conversation.*",))) as events:
            say(node, "request", "sam", "rita", language="json", content={"what": 1})
            say(node, "refuse", "rita", "sam", language="json", content={"what": 1})
            event = await next_of(events, "conversation.shape")
        assert event.data["told"] == "the content of refuse in language json is an object with `reason`"
        assert state(node) == "REFUSED"  # and delivered


async def test_or_refused_where_that_is_wanted(tmp_path: Path) -> None:
    async with two(tmp_path, "messaging.content_shapes=refuse") as (node, _, rita):
        with pytest.raises(InvalidMessage, match="content is not what its act needs"):
            say(node, "cfp", "sam", "rita", "fipa-contract-net", language="JSON", content={"what": 1})
        say(node, "cfp", "sam", "rita", "fipa-contract-net", language="json", content={"action": 1})
        assert (await one(rita)).as_dict()["content"] == {"action": 1}
        assert node.scheduler.tracker.statistics().steps == 1


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["report", "stop"])
async def test_a_chain_of_answers_to_answers(tmp_path: Path, policy: str) -> None:
    """Two agents that answer each other for ever: told once, and stopped where that is wanted."""
    sets = (f"messaging.loops.policy={policy}", "messaging.loops.max_hops=20")
    async with open_a_node(tmp_path, *sets) as node:
        with node.bus.tap(100, EventFilter(types=("conversation.loop", "message.undelivered"))) as events:
            await deploy(node, "ping", relay("pong"))
            await deploy(node, "pong", relay("ping"))
            node.bus.post(message("ping"))
            assert (await next_of(events, "conversation.loop")).data["told"].startswith("each message was the answer")
            if policy == "stop":
                assert (await next_of(events, "message.undelivered")).data["reason"] == "too-many-hops"
            else:
                await until(node, lambda: node.scheduler.totals()["handled"] > 1000)
                with pytest.raises(trio.WouldBlock):
                    events.receive_nowait()


def relay(receiver: str, times: int = -1) -> bytes:
    """Answers every message, or the first *times*, with one for *receiver*."""
    text = f'{{"performative":"inform","receiver":"{receiver}"}}'
    data = "".join(f"\\{byte:02x}" for byte in text.encode())
    return wat2wasm(
        f'(module (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))'
        f'(memory (export "memory") 1) (data (i32.const 4096) "{data}") (global $left (mut i32) (i32.const {times}))'
        f'(func (export "handle_message") (param i32 i32) (result i32)'
        f"(if (i32.eqz (global.get $left)) (then (return (i32.const 0))))"
        f"(global.set $left (i32.sub (global.get $left) (i32.const 1)))"
        f"(drop (call $send (i32.const 4096) (i32.const {len(text)}))) (i32.const 0)))"
    )
