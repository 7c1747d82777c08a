"""How safe a message is, as its receiver says; and what waits for one that is away."""

from pathlib import Path

import pytest

from caxton.core.errors import InvalidTransition, MailboxFull
from caxton.core.views import Receipt
from caxton.node import Node
from tests.node.opened import config, deploy, open_a_node
from tests.node.wat import message


@pytest.mark.parametrize(("delivery", "kept"), [("", True), ("durable", True), ("relaxed", True), ("volatile", False)])
async def test_the_receiver_says_what_the_message_does_not(tmp_path: Path, delivery: str, kept: bool) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", delivery=delivery)
        assert node.bus.post(message("a")).kept is kept
        assert node.bus.post(message("a", delivery="durable")).kept
        assert not node.bus.post(message("a", delivery="volatile")).kept


async def test_an_update_changes_it_and_so_does_the_node_s_default(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.enable_persistence=false") as node:
        await deploy(node, "a", replicas=2)
        assert not node.bus.post(message("a")).kept
        await node.agents.update("a", None, config("a", replicas=3, delivery="durable"))
        assert all(node.bus.post(message("a", conversation_id=str(n))).kept for n in range(30))
        await node.agents.update("a", None, config("a", replicas=3))
        assert not any(node.bus.post(message("a", conversation_id=str(n))).kept for n in range(30))


async def test_a_receipt_says_whether_somebody_is_there(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:

        def said(*receivers: str, **fields: object) -> str:
            return node.bus.post(message(list(receivers), **fields)).status

        await deploy(node, "a")
        await node.agents.attach(config("outside"))
        assert said("a") == "delivered"
        assert said("outside") == "queued"
        assert said("outside", delivery="volatile") == "queued"
        assert said("a", "outside") == "delivered"
        async with node.bus.stream("outside"):
            assert said("outside") == "delivered"
        await node.agents.stop("a", grace=1, drain=True)
        assert said("a") == "queued"
        assert said("a", "outside") == "queued"
        with pytest.raises(InvalidTransition):
            said("a", delivery="volatile")
        await node.agents.start("a")
        async with node.bus.stream("outside"):
            assert said("a", "outside") == "delivered"


async def test_so_many_wait_for_one_that_is_away_and_no_more(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.queue_size=10", "messaging.offline_queue_size=20") as node:
        await node.agents.attach(config("outside"))
        outcomes = node.bus.post_many([message("outside", n) for n in range(40)])
        taken = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
        assert {receipt.status for receipt in taken} == {"queued"}
        assert len(taken) == 30
        assert all(isinstance(outcome, MailboxFull) for outcome in outcomes[30:])
        async with node.bus.stream("outside") as session:
            seen: list[object] = []
            while len(seen) < 30:
                mail = await session.receive(100)
                session.ack([str(each.message_id) for each in mail])
                seen += [int(each.content or b"") for each in mail]
        assert seen == list(range(30))


async def taken(node: Node, receiver: str) -> int:
    """How many messages of about a kilobyte are accepted until there is no room."""
    outcomes = await node.bus.settle(node.bus.post_many([message(receiver, "x" * 1000) for _ in range(60)]))
    refused = [outcome for outcome in outcomes if not isinstance(outcome, Receipt)]
    assert all(isinstance(outcome, MailboxFull) and outcome.status == 429 for outcome in refused)
    return len(outcomes) - len(refused)


async def test_bytes_that_wait_on_the_disk_are_bounded_for_each_agent(tmp_path: Path) -> None:
    """Mail in memory is not counted; after a restart all of it waits on the disk."""
    sets = ("messaging.queue_size=10", "messaging.offline_queue_bytes=20KB")
    async with open_a_node(tmp_path, *sets) as node:
        await node.agents.attach(config("one"))
        await node.agents.attach(config("two"))
        accepted = await taken(node, "one")
        assert 10 + 14 < accepted < 10 + 20
        assert await taken(node, "one") == 0
        assert await taken(node, "two") > 0
    async with open_a_node(tmp_path, *sets) as node:
        assert await taken(node, "one") == 0
        async with node.bus.stream("one") as session:
            while accepted:
                mail = await session.receive(100)
                session.ack([str(each.message_id) for each in mail])
                accepted -= len(mail)
        assert await taken(node, "one") > 10 + 14


async def test_bytes_that_wait_on_the_disk_are_bounded_for_all_agents_together(tmp_path: Path) -> None:
    sets = ("messaging.queue_size=10", "messaging.offline_total_bytes=20KB")
    async with open_a_node(tmp_path, *sets) as node:
        await node.agents.attach(config("one"))
        await node.agents.attach(config("two"))
        assert await taken(node, "one") > 10 + 14
        assert await taken(node, "two") == 10
    async with open_a_node(tmp_path, *sets) as node:
        assert await taken(node, "two") == 0
        await node.agents.delete("one")
        assert node.scheduler.backlog_bytes < 20 << 10
        assert 0 < await taken(node, "two") < 20
