"""Each key of `messaging.conversations` and `messaging.loops`, and `messaging.content_shapes`: what it does in a whole
node, and that a change while the node runs does the same at once, until it is undone.

Time is the tracker's, which is told that it is later; nothing waits.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest

from caxton.core.errors import DeliveryFailed, InvalidMessage
from caxton.core.views import EventFilter
from caxton.node import Node
from tests.node.opened import config, deploy, log, open_a_node, until
from tests.node.test_conversations import by, conversation, next_of, one, relay, say, state, two
from tests.node.wat import message

WHO = "a test"
NET = "fipa-contract-net"
COUNTED = ("conversation.*",)


async def change(node: Node, **keys: object) -> None:
    await node.settings.set({f"messaging.{key.replace('__', '.')}": value for key, value in keys.items()}, who=WHO)


async def undo(node: Node) -> None:
    await node.settings.rollback(None, who=WHO)


def at(seconds: float) -> tuple[int, int]:
    """Both clocks, so much later."""
    return time.monotonic_ns() + int(seconds * 1e9), time.time_ns() // 1000 + int(seconds * 1e6)


def reap(node: Node, seconds: float) -> None:
    while node.scheduler.tracker.reap_at(*at(seconds)):
        pass


def ids(node: Node) -> list[str]:
    """Of those that are shown, the newest first."""
    page, _ = node.conversations.page({}, is_open=None, before=0, limit=1000)
    return [found.id for found in page.conversations]


def finish(node: Node, id: str) -> None:
    say(node, "request", "sam", "rita", conversation_id=id, delivery="volatile")
    say(node, "refuse", "rita", "sam", conversation_id=id, delivery="volatile")


@asynccontextmanager
async def with_either(folder: Path, *sets: str) -> AsyncIterator[Node]:
    """A node, with sam and rita there."""
    async with two(folder, *sets) as (node, _, _):
        yield node


async def test_max_open(tmp_path: Path) -> None:
    async with with_either(tmp_path, "messaging.conversations.max_open=2") as node:
        with node.bus.tap(10, EventFilter(types=COUNTED)) as events:
            for id in ("c1", "c2", "c3"):
                say(node, "request", "sam", "rita", conversation_id=id)
            event = await next_of(events, "conversation.limit")
            assert event.data["conversation_id"] == "c3"
        assert ids(node) == ["c2", "c1"]
        assert log(node, "sam", "system")[-1].startswith("limit: request to rita")
        await change(node, conversations__max_open=3)
        say(node, "request", "sam", "rita", conversation_id="c4")
        assert ids(node) == ["c4", "c2", "c1"]
        await undo(node)
        say(node, "request", "sam", "rita", conversation_id="c5")
        assert ids(node) == ["c4", "c2", "c1"]


async def test_none_is_followed_any_more(tmp_path: Path) -> None:
    async with with_either(tmp_path) as node:
        say(node, "request", "sam", "rita")
        steps = node.scheduler.tracker.statistics().steps
        await change(node, conversations__max_open=0)
        await until(node, lambda: state(node) == "ABANDONED")
        say(node, "agree", "rita", "sam")
        assert node.scheduler.tracker.statistics().steps == steps


async def test_max_participants(tmp_path: Path) -> None:
    async with with_either(tmp_path, "messaging.conversations.max_participants=1") as node:
        for name in ("rita", "ams", "df"):
            say(node, "cfp", "sam", name, NET)
            assert conversation(node).participants == 1
        await change(node, conversations__max_participants=2)
        say(node, "cfp", "sam", "ams", NET)
        say(node, "cfp", "sam", "df", NET)
        assert conversation(node).participants == 2


@pytest.mark.parametrize("kept", [0, 3])
async def test_kept_ended(tmp_path: Path, kept: int) -> None:
    async with with_either(tmp_path, f"messaging.conversations.kept_ended={kept}") as node:
        names = [f"c{n}" for n in range(40)]
        for id in names:
            finish(node, id)
        assert ids(node) == names[::-1][:kept]
        await change(node, conversations__kept_ended=10)
        for id in names:
            finish(node, f"again-{id}")
        assert ids(node) == [f"again-{id}" for id in names[::-1][:10]]
        await undo(node)
        assert ids(node) == [f"again-{id}" for id in names[::-1][:kept]]


async def test_kept_time(tmp_path: Path) -> None:
    async with with_either(tmp_path, "messaging.conversations.kept_time=24s") as node:
        finish(node, "c1")
        node.scheduler.tracker.forget_at(at(23.0)[0])
        assert node.conversations.get("c1")[1] is False
        node.scheduler.tracker.forget_at(at(25.0)[0])
        assert node.conversations.get("c1")[1] is True, "it is made again from its messages"
        finish(node, "c2")
        await change(node, conversations__kept_time="0s")
        assert ids(node) == []


async def test_first_answer_timeout(tmp_path: Path) -> None:
    async with with_either(tmp_path, "messaging.conversations.first_answer_timeout=25s") as node:
        tracker = node.scheduler.tracker
        with node.bus.tap(10, EventFilter(types=COUNTED)) as events:
            say(node, "request", "sam", "rita", conversation_id="c1")
            await change(node, conversations__first_answer_timeout="5s")
            say(node, "request", "sam", "rita", conversation_id="c2")
            assert tracker.tick_at(*at(6.0)) == 1
            assert (state(node, "c1"), state(node, "c2")) == ("DECIDE", "TIMED_OUT")
            assert tracker.tick_at(*at(24.0)) == 0
            assert tracker.tick_at(*at(26.0)) == 1
            node.conversations.look()
            for id in ("c2", "c1"):
                event = await next_of(events, "conversation.timed_out")
                assert (event.data["conversation_id"], event.data["to"]) == (id, "rita")
        await change(node, conversations__first_answer_timeout=0)
        say(node, "request", "sam", "rita", conversation_id="c3")
        assert conversation(node, "c3").sessions[0].deadline is None


async def test_who_is_away_has_time_from_when_it_comes(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.conversations.first_answer_timeout=25s") as node:
        await two_names(node)
        tracker = node.scheduler.tracker
        say(node, "request", "sam", "rita", conversation_id="waits")
        say(node, "request", "sam", "rita", conversation_id="hurries", reply_by=by(60.0))
        assert tracker.tick_at(*at(50.0)) == 0
        reap(node, 3600.0)
        assert (state(node, "waits"), state(node, "hurries")) == ("DECIDE", "DECIDE")
        async with node.bus.stream("rita") as rita:
            await one(rita)
            await one(rita)
            assert tracker.tick_at(*at(24.0)) == 0
            assert tracker.tick_at(*at(26.0)) == 1
            assert (state(node, "waits"), state(node, "hurries")) == ("TIMED_OUT", "DECIDE")


async def test_who_was_away_over_a_restart_has_that_time_as_well(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await two_names(node)
        say(node, "request", "sam", "rita")
        await node.agents._committer.wait_written()
    async with open_a_node(tmp_path) as node:
        reap(node, 3600.0)
        assert conversation(node).sessions[0].deadline is None
        async with node.bus.stream("rita") as rita:
            await one(rita)
            assert node.scheduler.tracker.tick_at(*at(61.0)) == 1


async def two_names(node: Node) -> None:
    for name in ("sam", "rita"):
        await node.agents.attach(config(name))


async def test_clock_skew(tmp_path: Path) -> None:
    async with with_either(tmp_path, "messaging.conversations.clock_skew=4s") as node:
        for id, skew in (("c1", 4.0), ("c2", 90.0)):
            reply_by = by(30.0)
            say(node, "request", "sam", "rita", conversation_id=id, reply_by=reply_by)
            deadline = conversation(node, id).sessions[0].deadline
            assert deadline == pytest.approx(datetime.fromisoformat(reply_by).timestamp() + skew, abs=0.1)
            await change(node, conversations__clock_skew="90s")


async def test_idle_timeout(tmp_path: Path) -> None:
    async with with_either(tmp_path, "messaging.conversations.idle_timeout=27m") as node:
        say(node, "request", "sam", "rita")
        say(node, "agree", "rita", "sam")
        reap(node, 26 * 60.0)
        assert state(node, "c1") == "WORKING"
        reap(node, 28 * 60.0)
        assert state(node, "c1") == "ABANDONED"
        say(node, "request", "sam", "rita", conversation_id="c3")
        say(node, "agree", "rita", "sam", conversation_id="c3")
        await change(node, conversations__idle_timeout="1ms")
        await until(node, lambda: state(node, "c3") == "ABANDONED")


async def test_max_age(tmp_path: Path) -> None:
    async with with_either(tmp_path, "messaging.conversations.max_age=28h") as node:
        say(node, "request", "sam", "rita", reply_by=by(3 * 86_400.0))
        say(node, "subscribe", "sam", "rita", "fipa-subscribe", conversation_id="c2")
        say(node, "agree", "rita", "sam", "fipa-subscribe", conversation_id="c2")
        reap(node, 27 * 3600.0)
        assert (state(node), state(node, "c2")) == ("DECIDE", "ACTIVE")
        reap(node, 29 * 3600.0)
        assert (state(node), state(node, "c2")) == ("ABANDONED", "ABANDONED")


async def test_max_rounds(tmp_path: Path) -> None:
    async with with_either(tmp_path, "messaging.conversations.max_rounds=2") as node:
        with node.bus.tap(10, EventFilter(types=COUNTED)) as events:
            for act, sender, receiver in [("cfp", "sam", "rita"), ("propose", "rita", "sam")] * 2:
                say(node, act, sender, receiver, "fipa-iterated-contract-net")
            say(node, "cfp", "sam", "rita", "fipa-iterated-contract-net")
            assert (await next_of(events, "conversation.out_of_sequence")).data["told"] == "no further round: 2 at most"
            assert conversation(node).sessions[0].round == 2
            await change(node, conversations__max_rounds=3)
            say(node, "cfp", "sam", "rita", "fipa-iterated-contract-net")
            assert conversation(node).sessions[0].round == 3


def go_round(node: Node, times: int) -> None:
    for _ in range(times):
        for act, sender, receiver in (
            ("cfp", "sam", "rita"),
            ("propose", "rita", "sam"),
            ("reject-proposal", "sam", "rita"),
        ):
            say(node, act, sender, receiver, "fipa-auction-english", delivery="volatile")


async def test_max_repeats_and_the_policy(tmp_path: Path) -> None:
    async with with_either(tmp_path, "messaging.loops.max_repeats=1000") as node:
        with node.bus.tap(100, EventFilter(types=COUNTED)) as events:
            say(node, "inform", "sam", "rita", "fipa-auction-english")
            go_round(node, 60)
            await change(node, loops__max_repeats=5)
            go_round(node, 1)
            event = await next_of(events, "conversation.loop")
            assert event.data["told"].startswith("the same messages go to and fro")
            go_round(node, 30)
            node.conversations.look()
            assert events.statistics().current_buffer_used == 0, "it is told once"
            await change(node, loops__policy="stop")
            with pytest.raises(DeliveryFailed, match="goes round in circles"):
                go_round(node, 1)
            await undo(node)
            go_round(node, 10)


async def test_max_hops(tmp_path: Path) -> None:
    """One agent tells the next what the one before has told it, and does not answer when that fails."""
    async with two(tmp_path, "messaging.loops.max_hops=1", "messaging.loops.policy=stop") as (node, _, rita):
        for first, second in (("a1", "a2"), ("b1", "b2")):
            await deploy(node, first, relay(second, times=1))
            await deploy(node, second, relay("rita", times=1))
        with node.bus.tap(100, EventFilter(types=("message.undelivered",))) as events:
            node.bus.post(message("a1"))
            refused = (await next_of(events, "message.undelivered")).data
        assert (refused["from"], refused["to"], refused["reason"]) == ("a2", "rita", "too-many-hops")
        await change(node, loops__max_hops=2)
        node.bus.post(message("b1"))
        assert (await one(rita)).sender == "b2"


async def test_content_shapes(tmp_path: Path) -> None:
    async with with_either(tmp_path, "messaging.content_shapes=off") as node:
        wrong = {"language": "json", "content": {"what": 1}}
        with node.bus.tap(10, EventFilter(types=COUNTED)) as events:
            say(node, "cfp", "sam", "rita", NET, conversation_id="c1", **wrong)
            await change(node, content_shapes="refuse")
            with pytest.raises(InvalidMessage, match="content is not what its act needs"):
                say(node, "cfp", "sam", "rita", NET, conversation_id="c2", **wrong)
            assert (await next_of(events, "conversation.shape")).data["conversation_id"] == "c2"
            await undo(node)
            say(node, "cfp", "sam", "rita", NET, conversation_id="c3", **wrong)
            node.conversations.look()
            assert events.statistics().current_buffer_used == 0
