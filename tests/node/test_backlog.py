"""What waits in the store when its time has passed, its bytes are damaged, or its agent is gone."""

from pathlib import Path

import pytest

from caxton.core.errors import StoreError
from caxton.core.views import DeadLetterFilter
from caxton.node import Node
from caxton.node.expiry import Expiry
from tests.node.opened import config, deploy, open_a_node, until
from tests.node.wat import guest, message

PAST, FUTURE = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
SMALL = "messaging.queue_size=10"


async def post(node: Node, *contents: object, receiver: str = "outside", **fields: object) -> None:
    posted = node.bus.post_many([message(receiver, content, sender="sam", **fields) for content in contents])
    for outcome in await node.bus.settle(posted):
        assert not isinstance(outcome, Exception), outcome


async def reasons(node: Node, number: int) -> set[str]:
    """Of the dead letters, when there are so many."""
    await until(node, lambda: node.dead_letters.figures["kept"] >= number)
    letters, total = await node.dead_letters.list(DeadLetterFilter(), limit=1000)
    assert total == number
    return {letter.reason for letter in letters}


async def received(node: Node, number: int) -> list[object]:
    """The contents of what the agent outside is given."""
    contents: list[object] = []
    async with node.bus.stream("outside") as session:
        while len(contents) < number:
            mail = await session.receive(100)
            contents += [each.as_dict()["content"] for each in mail]
            session.ack([str(each.message_id) for each in mail])
    return contents


@pytest.mark.parametrize(("field", "reason"), [("expires_at", "expired"), ("reply_by", "late")])
async def test_what_is_over_is_ended_though_nobody_comes_for_it(tmp_path: Path, field: str, reason: str) -> None:
    """In the mailbox and in the store, before and after a restart; what is between is left alone."""
    async with open_a_node(tmp_path, SMALL) as node:
        await node.agents.attach(config("outside"))
        port = node.runtime.get("outside").replicas[0].port
        for number in range(15):
            await post(node, number, **{field: FUTURE})
            await post(node, "over", **{field: PAST})
        await Expiry(node.scheduler, node.store, node.bus).look_through(port)
        assert await reasons(node, 15) == {reason}
        counters = node.scheduler.statistics(port)
        assert counters.waiting + counters.backlog == 15
        for _ in range(5):
            await post(node, "over", **{field: PAST})
    async with open_a_node(tmp_path, SMALL) as node:
        port = node.runtime.get("outside").replicas[0].port
        assert node.scheduler.overdue_ports(2**62) == [port]
        await Expiry(node.scheduler, node.store, node.bus).look_through(port)
        assert await reasons(node, 20) == {reason}
        assert await received(node, 15) == list(range(15))
        assert node.scheduler.backlog_bytes == 0


@pytest.mark.slow
async def test_it_is_looked_for_by_itself(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.attach(config("outside"))
        await post(node, 1, expires_at=PAST)
        assert await reasons(node, 1) == {"expired"}


async def test_what_is_over_is_not_given_to_an_agent_outside(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.attach(config("outside"))
        await post(node, 1, 2, expires_at=PAST)
        await post(node, 3)
        assert await received(node, 1) == [3]
        assert await reasons(node, 2) == {"expired"}


async def test_a_damaged_segment_is_given_up_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Its messages are dead letters that say so; the backlog behind it is delivered."""
    async with open_a_node(tmp_path, SMALL) as node:
        await node.agents.attach(config("outside"))
        await post(node, *range(10))
        await post(node, *range(10, 20))
        await post(node, *range(20, 30))
        broken = node.scheduler.ledger.segments_of(node.runtime.get("outside").replicas[0].port)[0]
        await node.store.write(
            lambda connection: connection.execute(
                "UPDATE segments SET records = cast(replace(records, CAST('sam' AS BLOB), CAST('Sam' AS BLOB)) AS BLOB)"
                " WHERE id = ?",
                (broken,),
            )
        )
        assert await received(node, 20) == [*range(10), *range(20, 30)]
        assert await reasons(node, 10) == {"damaged"}
        letters, _ = await node.dead_letters.list(DeadLetterFilter(), limit=1)
        assert f"segment {broken}" in letters[0].detail
        assert (await node.dead_letters.get(letters[0].id)).message is not None
        await post(node, "after")
        assert await received(node, 1) == ["after"]


async def test_mail_for_an_agent_that_is_no_more_is_given_up_at_the_next_start(tmp_path: Path) -> None:
    """The server ended between forgetting the agent and giving up what waited for it."""
    async with open_a_node(tmp_path) as node:
        await node.agents.attach(config("outside"))
        await post(node, *range(5))
        await node.store.agents.delete("outside")
    async with open_a_node(tmp_path) as node:
        assert await reasons(node, 5) == {"agent-not-found"}
        assert node.scheduler.ledger.owners_waiting() == []
        assert node.scheduler.backlog_bytes == 0


@pytest.mark.slow
async def test_messages_that_nobody_survives_become_dead_letters_and_the_agent_stays(tmp_path: Path) -> None:
    """Four of them, each with three attempts, within a minute."""
    async with open_a_node(tmp_path, "messaging.retry_delay=1ms") as node:
        await deploy(node, "a", guest("crash"))
        for number in range(3):
            await post(node, number, receiver="a")
            await until(node, lambda number=number: node.dead_letters.figures["kept"] == number + 1)  # type: ignore[misc]
        await until(node, lambda: node.agents.get("a").status == "running")
        await post(node, 3, receiver="a")
        await until(node, lambda: node.agents.get("a").status == "failed")
        assert "quarantined" in node.agents.get("a").reason


async def test_a_server_that_finds_damage_at_its_start_names_the_way_out(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.attach(config("outside"))
        await post(node, *range(10))
        await node.store.write(lambda connection: connection.execute("UPDATE segments SET records = zeroblob(100)"))
    refused = pytest.RaisesExc(StoreError, match="segment 1 of the journal", check=names_the_way_out)
    with pytest.RaisesGroup(refused, allow_unwrapped=True, flatten_subgroups=True):
        async with open_a_node(tmp_path):
            raise AssertionError("it started")


def names_the_way_out(error: StoreError) -> bool:
    return "caxton backup restore FILE --force" in error.hint and "move the data folder away" in error.hint
