"""Messages that were given up, over a real node: kept, told, sent again, forgotten, and bounded."""

import time
from pathlib import Path
from typing import Any

import pytest
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import EXIT_EXPIRED, EXIT_TRAP
from caxton.bus.delivery import DEAD_NUMBERS, DEAD_REASONS
from caxton.core.errors import AgentNotFound, InvalidRequest, NotFound, StoreError
from caxton.core.views import DeadLetterFilter, DeadLetterInfo, Event, EventFilter
from caxton.node import Node
from caxton.node.dead_letters import _who_missed_it
from caxton.store.dead_letters import Row, write_dead_letters
from tests.node.opened import config, deploy, open_a_node, until
from tests.node.wat import example, guest, message

ONCE = "messaging.retry_attempts=0"
FAILED = "00000000-0000-7000-8000-0000000000"


async def the_letter(node: Node, which: DeadLetterFilter | None = None) -> DeadLetterInfo:
    (letter,), total = await node.dead_letters.list(which or DeadLetterFilter())
    assert total == 1
    return letter


async def crashed(node: Node, name: str = "a", **fields: object) -> Event:
    """One message that its receiver cannot handle; the event of its end."""
    with node.bus.tap(10, EventFilter(types=("message.dead",))) as events:
        node.bus.post(message(name, {"n": 1}, sender="sam", **fields))
        return await events.receive()


def frame(number: int, **fields: object) -> bytes:
    named = {"performative": "inform", "sender": "sam", "receiver": "rita"} | fields
    return Envelope.make(content=b"%d" % number, message_id=f"{FAILED}{number:02x}", **named).to_frame()


async def put(node: Node, *rows: Row, at: float = 0) -> None:
    await node.store.write(lambda connection: write_dead_letters(connection, rows, int((at or time.time()) * 1e6)))


def test_every_reason_has_one_name() -> None:
    assert len(DEAD_NUMBERS) == len(DEAD_REASONS)


async def test_a_message_that_crashes_its_agent_is_a_dead_letter(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ONCE) as node:
        await deploy(node, "a", guest("crash"))
        event = await crashed(node, message_id=f"{FAILED}01")
        assert {key: event.data[key] for key in ("message_id", "from", "to", "reason", "attempts")} == {
            "message_id": f"{FAILED}01",
            "from": "sam",
            "to": "a",
            "reason": "agent-trapped",
            "attempts": 1,
        }
        letter = await the_letter(node, DeadLetterFilter(agent="a", reason="agent-trapped", since=event.at - 60))
        assert (letter.agent, letter.sender, letter.message_id) == ("a", "sam", f"{FAILED}01")
        assert (letter.reason, letter.attempts, letter.message) == ("agent-trapped", 1, None)
        shown = await node.dead_letters.get(letter.id)
        assert shown.message is not None
        assert Envelope.from_json(bytes(shown.message)).content == b'{"n": 1}'
        for other in (DeadLetterFilter(agent="b"), DeadLetterFilter(reason="late"), DeadLetterFilter(since=9e9)):
            assert await node.dead_letters.list(other) == ([], 0)
        figures = node.metrics_system({"messages"})["messages"]["dead_letters"]
        assert figures == {"kept": 1, "since_start": 1, "by_reason": {"agent-trapped": 1}}
    async with open_a_node(tmp_path) as node:
        assert (await the_letter(node)).message_id == f"{FAILED}01"
        await node.dead_letters.recount()
        assert node.dead_letters.figures == {"kept": 1, "since_start": 0, "by_reason": {"agent-trapped": 1}}


async def test_a_letter_that_is_sent_again_goes_and_is_the_same_message(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ONCE) as node:
        await deploy(node, "a", guest("crash"))
        await crashed(node, message_id=f"{FAILED}01")
        letter = await the_letter(node)
        await node.agents.update("a", example("echo"), None)
        sam = await node.agents.attach(config("sam"))
        assert sam.status == "running"
        receipt = await node.dead_letters.retry(letter.id)
        assert receipt.message_id == f"{FAILED}01"
        async with node.bus.stream("sam") as session:
            found = [mail for mail in await session.receive(10) if mail.performative != "failure"]
            while not found:
                found = [mail for mail in await session.receive(10) if mail.performative != "failure"]
        assert found[0].content == b'{"n": 1}'
        with pytest.raises(NotFound):
            await node.dead_letters.retry(letter.id)
        assert node.dead_letters.figures["kept"] == 0


async def test_a_letter_that_nobody_takes_stays(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await put(node, (frame(1), "rita", EXIT_TRAP, 1, ""))
        with pytest.raises(AgentNotFound):
            await node.dead_letters.retry(1)
        outcome = await node.dead_letters.retry_all()
        assert (outcome.retried, outcome.failed, list(outcome.errors)) == (0, 1, ["1"])
        assert "AGENT_NOT_FOUND" in outcome.errors["1"]
        assert (await the_letter(node)).id == 1


async def test_many_are_sent_again_and_those_that_fail_once_more_are_new_letters(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ONCE) as node:
        await deploy(node, "rita", guest("refuse"))
        await put(node, *((frame(n), "rita", EXIT_TRAP, 1, "") for n in range(1, 8)))
        await put(node, (frame(9), "other", EXIT_TRAP, 1, ""))
        outcome = await node.dead_letters.retry_all(DeadLetterFilter(agent="rita"))
        assert (outcome.retried, outcome.failed) == (7, 0)
        await until(node, lambda: node.dead_letters.since_start == 7)
        letters, total = await node.dead_letters.list(DeadLetterFilter(agent="rita"))
        assert total == 7
        assert min(letter.id for letter in letters) > 8


async def test_only_the_receiver_that_failed_gets_a_shared_message_again(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        for name in ("rita", "rob"):
            await node.agents.attach(config(name))
        shared = frame(1, receiver=["rita", "rob"])
        topic = frame(2, receiver="topic:news")
        await put(node, (shared, "rita#2", EXIT_TRAP, 1, ""), (topic, "rita", EXIT_TRAP, 1, ""))
        assert (await node.dead_letters.retry_all()).retried == 2
        async with node.bus.stream("rita") as rita:
            found = []
            while len(found) < 2:
                found += [mail.receiver for mail in await rita.receive(10)]
        assert found == ["rita", "rita"]
        async with node.bus.stream("rob") as rob:
            with trio.move_on_after(0.05) as scope:
                await rob.receive(1)
            assert scope.cancelled_caught


async def test_a_time_that_has_passed_does_not_end_it_again(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.attach(config("rita"))
        late = frame(1, expires_at="2026-01-01T00:00:00Z", reply_by="2999-01-01T00:00:00.000Z")
        await put(node, (late, "rita", EXIT_EXPIRED, 1, ""))
        await node.dead_letters.retry(1)
        async with node.bus.stream("rita") as rita:
            (mail,) = await rita.receive(1)
        assert (mail.expires_at, mail.reply_by) == (None, "2999-01-01T00:00:00.000Z")


async def test_what_is_no_message_can_be_looked_at_but_not_sent(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await put(node, (b"nonsense", "rita", 77, 1, ""))
        letter = await node.dead_letters.get(1)
        assert (letter.reason, letter.message) == ("reason-77", None)
        with pytest.raises(InvalidRequest, match="no message"):
            await node.dead_letters.retry(1)
        await node.dead_letters.remove(1)
        with pytest.raises(NotFound):
            await node.dead_letters.remove(1)


async def test_export_gives_all_of_them_and_purge_takes_them(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await put(node, *((frame(n % 200), "ab"[n % 2], EXIT_TRAP, 1, "") for n in range(450)))
        pages = [page async for page in node.dead_letters.export(DeadLetterFilter(agent="a"))]
        found = [letter for page in pages for letter in page]
        assert len(pages) == 2
        assert [letter.id for letter in found] == list(range(1, 450, 2))
        assert all(letter.message is not None for letter in found)
        assert await node.dead_letters.purge(DeadLetterFilter(agent="a")) == 225
        assert await node.dead_letters.purge() == 225
        with pytest.raises(InvalidRequest, match="boredom"):
            await node.dead_letters.purge(DeadLetterFilter(reason="boredom"))


async def test_letters_beyond_the_bounds_are_dropped_and_that_is_told(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.dead_letter_size=3", "messaging.dead_letter_age=1h") as node:
        await put(node, *((frame(n), "rita", EXIT_TRAP, 1, "") for n in range(1, 6)))
        await put(node, (frame(6), "rita", EXIT_TRAP, 1, ""), at=1000.0)
        with node.bus.tap(10, EventFilter(types=("system.alert",))) as events:
            await node.housekeeping.tidy()
            assert events.receive_nowait().data["details"] == {"dead_letters_dropped": 3}
            await node.housekeeping.tidy()
            with pytest.raises(trio.WouldBlock):
                events.receive_nowait()
        letters, total = await node.dead_letters.list()
        assert ([letter.id for letter in letters], total) == ([5, 4, 3], 3)
        assert node.dead_letters.figures["kept"] == 3


async def test_handled_messages_go_when_they_are_too_many(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.retention_size=10KB") as node:
        await node.agents.attach(config("rita"))
        async with node.bus.stream("rita") as rita:
            for _ in range(6):
                await node.bus.settle([node.bus.post(message("rita", "x" * 4000))])
                rita.ack([str(mail.message_id) for mail in await rita.receive(10)])
            await node.bus.settle([node.bus.post(message("rita"))])
            await node.bus.settle([node.bus.post(message("rita"))])  # its segment says that the others are settled
            assert (await node.store.journal.size()).bytes > 20_000
            await node.housekeeping.tidy()
            assert 0 < (await node.store.journal.size()).bytes < 10_240


async def test_a_fault_of_the_disk_is_logged_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_a_node(tmp_path) as node:
        room = node.store.dead_letters

        async def fail(*_: object) -> int:
            raise StoreError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(type(room), "trim", fail)
            await node.housekeeping.tidy()
            await node.housekeeping.tidy()
        assert caplog.text.count("the disk is full") == 1
        await node.housekeeping.tidy()


def test_a_platforms_mailbox_stands_for_its_agents():
    assert _who_missed_it("@far", ["a", "b@far", "c@far", "d@other"]) == ["b@far", "c@far"]
    assert _who_missed_it("a#2", ["a", "b"]) == "a"


async def test_of_several_receivers_only_those_who_are_nowhere_are_sent_the_letter_again(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        for name in ("sam", "rita"):
            await node.agents.attach(config(name))
        receipt = node.bus.post(message(["rita", "ghost", "phantom"], {"n": 1}, sender="sam", conversation_id="c"))
        assert (receipt.delivered_to, receipt.not_found) == (1, ("ghost", "phantom"))
        async with node.bus.stream("sam") as session:
            told: list[dict[str, Any]] = []
            while len(told) < 2:
                told += [mail.as_dict() for mail in await session.receive(10)]
        assert [each["performative"] for each in told] == ["failure", "failure"]
        reasons = [each["content"]["reason"] for each in told]
        assert [(reason["mts_error"], reason["receiver"]) for reason in reasons] == [
            ("agent-not-found", "ghost"),
            ("agent-not-found", "phantom"),
        ]
        await until(node, lambda: node.dead_letters.figures["kept"] == 1)
        letter = await the_letter(node, DeadLetterFilter(reason="agent-not-found"))
        assert letter.message_id == receipt.message_id
        state = node.bus.receipt(receipt.message_id)
        assert (state.receivers, state.failed, state.state) == (3, 2, "delivered")
        for name in ("ghost", "phantom"):
            await node.agents.attach(config(name))
        assert (await node.dead_letters.retry(letter.id)).delivered_to == 2
        assert node.scheduler.statistics(node.runtime.get("rita").replicas[0].port).received == 1
