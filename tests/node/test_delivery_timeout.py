"""An agent outside that does not acknowledge in time gets the message again, and at last it is a dead letter."""

from collections.abc import Sequence
from pathlib import Path

import trio

from caxton._fast.envelope import Envelope
from caxton.bus.streams import Session
from caxton.core.views import EventFilter
from caxton.node import Node
from tests.node.opened import config, open_a_node
from tests.node.wat import message

HOUR = "messaging.delivery_timeout=1h"  # the tests say when it has passed
TWICE = "messaging.retry_attempts=2"


def pass_time(node: Node, hours: float = 1.01) -> None:
    node.bus.streams.tick(trio.current_time() + hours * 3600)


def seen(mail: Sequence[Envelope]) -> list[tuple[bytes | None, int]]:
    return [(each.content, each.delivery_attempt) for each in mail]


async def has_nothing(session: Session) -> bool:
    with trio.move_on_after(0.02) as scope:
        await session.receive(10)
    return scope.cancelled_caught


async def test_what_is_overdue_comes_again_marked(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, HOUR, "messaging.retry_attempts=4") as node:
        await node.agents.attach(config("rita"))
        async with node.bus.stream("rita") as rita:
            node.bus.post(message("rita", 1))
            node.bus.post(message("rita", 2))
            mail: list[Envelope] = []
            while len(mail) < 2:
                mail += await rita.receive(10)
            pass_time(node, 0.5)
            assert await has_nothing(rita)
            rita.ack([str(mail[0].message_id)])
            pass_time(node)
            assert seen(await rita.receive(10)) == [(b"2", 2)]
            pass_time(node)
            pass_time(node)  # it waits to be given: that is no other delivery
            again = await rita.receive(10)
            assert seen(again) == [(b"2", 3)]
            rita.ack([str(again[0].message_id)])
            pass_time(node)
            assert await has_nothing(rita)


async def test_at_last_it_is_a_dead_letter_and_its_sender_is_told(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, HOUR, TWICE) as node:
        await node.agents.attach(config("rita"))
        await node.agents.attach(config("sam"))
        with node.bus.tap(10, EventFilter(types=("message.dead",))) as events:
            async with node.bus.stream("rita") as rita, node.bus.stream("sam") as sam:
                sam.send([message("rita", 1, reply_with="r1")])
                assert seen(await rita.receive(10)) == [(b"1", 0)]
                pass_time(node)
                assert seen(await rita.receive(10)) == [(b"1", 2)]
                pass_time(node)
                (told,) = await sam.receive(10)
                assert (told.performative, told.in_reply_to) == ("failure", "r1")
                assert b"agent-not-responding" in (told.content or b"")
                assert await has_nothing(rita)
            dead = await events.receive()
        assert (dead.data["reason"], dead.data["attempts"], dead.data["to"]) == ("agent-not-responding", 2, "rita")
        assert dead.data["detail"] == "not acknowledged within 3600 s, 2 times"
        (letter,), _ = await node.dead_letters.list()
        assert (letter.agent, letter.sender) == ("rita", "sam")
    async with open_a_node(tmp_path) as node, node.bus.stream("rita") as rita:
        assert await has_nothing(rita)


async def test_no_time_passes_while_nobody_is_attached(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, HOUR, TWICE) as node:
        await node.agents.attach(config("rita"))
        async with node.bus.stream("rita") as rita:
            node.bus.post(message("rita", 1))
            await rita.receive(10)
        pass_time(node, 10)
        async with node.bus.stream("rita") as rita:
            pass_time(node, 10)  # not given in this session yet
            assert seen(await rita.receive(10)) == [(b"1", 2)]
        async with node.bus.stream("rita") as rita:
            assert seen(await rita.receive(10)) == [(b"1", 3)]  # once more than is allowed: it is there now
            pass_time(node)
            assert await has_nothing(rita)


async def test_zero_is_never_and_a_short_time_is_kept_by_itself(tmp_path: Path) -> None:
    for given, comes_again in (("0", False), ("50ms", True)):
        folder = tmp_path / given
        async with open_a_node(folder, f"messaging.delivery_timeout={given}") as node:
            await node.agents.attach(config("rita"))
            async with node.bus.stream("rita") as rita:
                node.bus.post(message("rita", 1))
                await rita.receive(10)
                if comes_again:
                    assert seen(await rita.receive(10)) == [(b"1", 2)]
                else:
                    pass_time(node, 1000)
                    assert await has_nothing(rita)
            async with node.bus.stream("rita") as rita:
                assert seen(await rita.receive(10)) == [(b"1", 3 if comes_again else 2)]
