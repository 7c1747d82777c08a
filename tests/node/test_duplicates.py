"""A message that is sent again with its id is delivered once, also when the server was restarted in between."""

from pathlib import Path

import pytest
import trio

from caxton.bus.streams import Session
from caxton.core.errors import AgentNotFound, InvalidTransition
from caxton.core.views import Receipt
from caxton.node import Node
from tests.api.serving import open_server, request_to
from tests.node.opened import config, deploy, open_a_node
from tests.node.wat import example, message

ID = "00000000-0000-7000-8000-00000000000{}"


def sent(node: Node, number: int, *, content: object = None, **fields: object) -> Receipt:
    return node.bus.post(message("rita", content, message_id=ID.format(number), **fields))


async def received(session: Session, count: int) -> list[object]:
    found: list[object] = []
    while len(found) < count:
        mail = await session.receive(100)
        session.ack([str(each.message_id) for each in mail])
        found += [each.as_dict()["content"] for each in mail]
    return found


async def test_the_second_one_has_the_first_one_s_receipt(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, open_server(node=node) as server:
        await node.agents.attach(config("rita"))
        first = sent(node, 1, content="first")
        second = sent(node, 1, content="second")
        assert (second.status, second.message_id, second.sequence) == ("duplicate", ID.format(1), first.sequence)
        assert (first.status, sent(node, 2, content="other").status) == ("queued", "queued")
        answer = (
            await server.http.post("/api/v1/messages", json=request_to("rita", 1, message_id=ID.format(1)))
        ).json()
        assert (answer["status"], answer["message_id"], answer["delivered_to"]) == ("duplicate", ID.format(1), 1)
        async with node.bus.stream("rita") as rita:
            sent(node, 3, content="last")
            assert await received(rita, 3) == ["first", "other", "last"]
            assert sent(node, 3).status == "duplicate"
            _, again = rita.send([message("rita", 1, message_id=ID.format(4))] * 2)
            assert isinstance(again, Receipt)
            assert again.status == "duplicate"
            assert await received(rita, 1) == [1]


async def test_a_repeat_is_answered_when_the_first_is_on_the_disk(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.attach(config("rita"))
        first, second = sent(node, 1), sent(node, 1)
        assert not node.scheduler.ledger.is_committed(second.sequence)
        (outcome,) = await node.bus.settle([second])
        assert outcome is second
        assert node.scheduler.ledger.is_committed(first.sequence)


async def test_what_was_refused_is_not_known(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        with pytest.raises(AgentNotFound):
            sent(node, 1)
        await node.agents.attach(config("rita"))
        assert sent(node, 1).status == "queued"


async def test_ids_are_known_after_a_restart_whether_handled_or_not(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.attach(config("rita"))
        async with node.bus.stream("rita") as rita:
            await node.bus.settle([sent(node, 1, content=1)])
            assert await received(rita, 1) == [1]
            await node.bus.settle([sent(node, 2, content=2)])
            assert await received(rita, 1) == [2]
        await node.bus.settle([sent(node, 3, content=3)])
        sent(node, 4, delivery="volatile")
    async with open_a_node(tmp_path) as node:
        assert [sent(node, number, content="again").status for number in (1, 2, 3)] == ["duplicate"] * 3
        assert sent(node, 4, content=4).status == "queued"  # it went with the process
        async with node.bus.stream("rita") as rita:
            assert await received(rita, 2) == [3, 4]
    async with open_a_node(tmp_path, "messaging.dedup_window=0") as node:
        async with node.bus.stream("rita") as rita:
            assert sent(node, 1, content="again").status == "delivered"
            assert sent(node, 1, content="again").status == "delivered"
            assert await received(rita, 2) == ["again"] * 2


async def test_who_waits_for_an_answer_is_told_that_it_was_given(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "rita", example("echo"))
        again = message("rita", 1, message_id=ID.format(1))
        assert (await node.bus.request(again, timeout=10)).content == b"1"
        with pytest.raises(InvalidTransition, match="accepted before"), trio.fail_after(5):
            await node.bus.request(again, timeout=10)
