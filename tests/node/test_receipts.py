"""What became of a message: asked for by its id, and told to the session that sent it."""

from pathlib import Path

import pytest
import trio

from caxton.bus.streams import Session
from caxton.core.errors import InvalidRequest, NotFound
from caxton.core.views import EventFilter, Receipt
from caxton.node import Node
from tests.api.serving import code_of, open_server
from tests.node.opened import config, deploy, open_a_node
from tests.node.wat import example, guest, message

ONCE = "messaging.retry_attempts=0"
UNKNOWN = "00000000-0000-7000-8000-000000000001"


def state(node: Node, receipt: Receipt) -> str:
    return node.bus.receipt(receipt.message_id).state


async def take(session: Session) -> None:
    session.ack([str(mail.message_id) for mail in await session.receive(10)])


async def test_it_says_where_a_message_is(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.queue_size=10") as node:
        await node.agents.attach(config("rita"))
        posted = [node.bus.post(message("rita", n)) for n in range(12)]
        assert [state(node, receipt) for receipt in posted] == ["delivered"] * 10 + ["accepted"] * 2
        async with node.bus.stream("rita") as rita:
            mail = await rita.receive(1)
            assert state(node, posted[0]) == "delivered"
            rita.ack([str(mail[0].message_id)])
            found = node.bus.receipt(posted[0].message_id)
            assert (found.state, found.receivers, found.handled, found.failed) == ("handled", 1, 1, 0)
            assert posted[0].accepted_at - 1 < found.accepted_at <= found.changed_at + 0.01
            while any(state(node, receipt) != "handled" for receipt in posted):
                await take(rita)
        for bad, error in ((UNKNOWN, NotFound), ("x", InvalidRequest)):
            with pytest.raises(error):
                node.bus.receipt(bad)


async def test_of_several_receivers_all_count(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ONCE) as node:
        await node.agents.attach(config("rita"))
        await deploy(node, "grim", guest("refuse"))
        with node.bus.tap(10, EventFilter(types=("message.dead",))) as events:
            receipt = node.bus.post(message(["rita", "grim"]))
            await events.receive()
        found = node.bus.receipt(receipt.message_id)
        assert (found.state, found.receivers, found.handled, found.failed) == ("delivered", 2, 0, 1)
        async with node.bus.stream("rita") as rita:
            await take(rita)
        found = node.bus.receipt(receipt.message_id)
        assert (found.state, found.handled, found.failed, found.reason) == ("failed", 1, 1, "agent-refused")


@pytest.mark.parametrize("delivery", ["durable", "volatile"])
async def test_a_sender_is_told_when_all_is_over(tmp_path: Path, delivery: str) -> None:
    async with open_a_node(tmp_path, ONCE) as node:
        await node.agents.attach(config("sam"))
        await deploy(node, "good", guest("quiet"))
        await deploy(node, "grim", guest("refuse"))
        async with node.bus.stream("sam", receipts=True) as sam:
            good, grim, nobody = sam.send([message(name, delivery=delivery) for name in ("good", "grim", "nobody")])
            assert isinstance(good, Receipt)
            assert isinstance(grim, Receipt)
            assert not isinstance(nobody, Receipt)
            with trio.fail_after(10):
                told = {each.message_id: each for each in [await sam.receipt(), await sam.receipt()]}
            assert told[good.message_id].state == "handled"
            assert (told[grim.message_id].state, told[grim.message_id].reason) == ("failed", "agent-refused")
            assert not node.bus.receipts.is_watching
            sam.send([message("sam")])
            assert node.bus.receipts.is_watching
        assert not node.bus.receipts.is_watching


async def test_receipts_outlive_the_server_with_their_messages(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.attach(config("rita"))
        receipts = [node.bus.post(message("rita", n)) for n in range(2)]
        async with node.bus.stream("rita") as rita:
            rita.ack([str(mail.message_id) for mail in await rita.receive(1)])
        await node.bus.settle(receipts)
    async with open_a_node(tmp_path) as node:
        assert [state(node, receipt) for receipt in receipts] == ["handled", "accepted"]
        async with node.bus.stream("rita") as rita:
            mail = await rita.receive(1)
            assert state(node, receipts[1]) == "delivered"
            rita.ack([str(mail[0].message_id)])
            assert state(node, receipts[1]) == "handled"


async def test_over_rest_and_websocket(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, open_server(node=node) as server:
        await deploy(node, "echo", example("echo"))
        async with server.websocket("/api/v1/agents/sam/stream?create=1&receipts=1") as socket:
            await socket.send_message(message("echo", 1, message_id=UNKNOWN).decode())
            seen = [await socket.get_message() for _ in range(3)]  # the receipts, the answer, and what became of it
        (told,) = [text for text in seen if '"type":"receipt"' in text]
        assert f'"message_id":"{UNKNOWN}","state":"handled"' in told
        found = (await server.http.get(f"/api/v1/messages/{UNKNOWN}/receipt")).json()
        assert (found["state"], found["receivers"], "reason" in found) == ("handled", 1, False)
        assert code_of(await server.http.get("/api/v1/messages/x/receipt")) == (400, "INVALID_REQUEST")
