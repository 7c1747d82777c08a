"""Agents, state, timers, lifecycle and the node's id: each survives a restart."""

from pathlib import Path

import apsw
import msgspec
import pytest

from caxton.core.errors import AgentNotFound, StoreError
from caxton.core.manifest import AgentConfig, Resources
from caxton.store import Timer, open_store
from caxton.store.lifecycle import KEEP
from caxton.store.state import write_state
from caxton.store.timers import write_timers
from tests.store.specs import make_spec


async def test_agents_come_back_as_they_were(tmp_path: Path) -> None:
    config = AgentConfig(
        name="b",
        replicas=3,
        resources=Resources(memory=1 << 20, cpu=250, timeout=0.5),
        metadata={"team": ["ä", 1, None]},
    )
    specs = [make_spec("a", kind="attached", module="", desired="stopped", version=7), make_spec("b", config=config)]
    async with open_store(tmp_path) as store:
        for spec in reversed(specs):
            await store.agents.put(spec)
    async with open_store(tmp_path) as store:
        assert await store.agents.list() == specs
        assert await store.agents.get("b") == specs[1]


async def test_an_agent_is_replaced(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.agents.put(make_spec("a"))
        await store.agents.put(make_spec("a", version=2))
        assert await store.agents.list() == [make_spec("a", version=2)]


async def test_an_agent_that_is_not_there(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        for ask in (store.agents.get, store.agents.delete):
            with pytest.raises(AgentNotFound, match="no agent named ghost"):
                await ask("ghost")


async def test_a_deleted_agent_takes_what_it_owned_along_and_nothing_else(tmp_path: Path) -> None:
    owners = ["a", "a#2", "a#10", "a.b", "ab", "a-2", "b"]
    async with open_store(tmp_path) as store:
        await store.agents.put(make_spec("a"))
        for owner in owners:
            await store.state.apply(owner, [(b"k", owner.encode())])
            await store.timers.set(owner, 1, 10)
            await store.lifecycle.append(owner, 1, "running", "", 0.0)
        await store.agents.delete("a")
        left = ["a.b", "ab", "a-2", "b"]
        assert [owner for owner in owners if await store.state.load(owner)] == left
        assert [owner for owner in owners if await store.timers.load(owner)] == left
        assert [owner for owner in owners if await store.lifecycle.recent(owner)] == left


async def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.write(lambda c: c.execute("INSERT INTO agents VALUES ('odd', '{}')") and None)
        with pytest.raises(StoreError, match=r"local\.db is damaged: the record of agent odd cannot be read"):
            await store.agents.list()


async def test_state_is_per_agent_and_survives(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.state.apply("a", [(b"k", b"1"), (b"\0\xff", b""), (b"gone", b"x"), (b"gone", None)])
        await store.state.apply_many([("b", [(b"k", b"2")]), ("a", [(b"k", b"3")]), ("c", [(b"never", None)])])
    async with open_store(tmp_path) as store:
        assert await store.state.load("a") == {b"k": b"3", b"\0\xff": b""}
        assert await store.state.load("b") == {b"k": b"2"}
        assert await store.state.load("c") == {}


async def test_changes_of_state_are_all_or_none(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        with pytest.raises(StoreError):
            await store.state.apply_many([("a", [(b"k", b"1")]), ("a", [(None, b"2")])])  # type: ignore[list-item]  # a wrong key
        assert await store.state.load("a") == {}


async def test_timers_survive_until_they_are_handled(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.timers.set("a", 1, 300)
        await store.timers.set("a", 2, 100)
        await store.timers.set("b", 1, 200)
        await store.timers.apply([("a", 3, 50), ("a", 1, 400), ("b", 2, 60), ("b", 2, 0)])
        await store.timers.fired("a", 3)
        await store.timers.cancel("a", 99)
    async with open_store(tmp_path) as store:
        first, second, third = (
            Timer(agent="a", timer_id=2, due_us=100),
            Timer(agent="b", timer_id=1, due_us=200),
            Timer(agent="a", timer_id=1, due_us=400),
        )
        assert await store.timers.load_all() == [first, second, third]
        assert await store.timers.load("a") == [first, third]


async def test_the_lifecycle_is_kept_with_the_newest_first(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.lifecycle.append("a", 1, "running", "", 1.5)
        await store.lifecycle.append("b", 1, "running", "", 2.0)
        await store.lifecycle.append("a", 1, "failed", "trap: unreachable", 3.25)
    async with open_store(tmp_path) as store:
        events = await store.lifecycle.recent("a")
        assert [(e.number, e.incarnation, e.state, e.reason, e.at) for e in events] == [
            (2, 1, "failed", "trap: unreachable", 3.25),
            (1, 1, "running", "", 1.5),
        ]
        assert await store.lifecycle.recent("a", 1) == events[:1]
        assert await store.lifecycle.recent("nobody") == []


async def test_the_lifecycle_of_one_agent_is_bounded(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.lifecycle.append("quiet", 1, "running", "", 0.0)
        for number in range(KEEP + 10):
            await store.lifecycle.append("restless", number, "running", "", float(number))
        events = await store.lifecycle.recent("restless", 10 * KEEP)
        assert [event.number for event in events] == list(range(KEEP + 10, 10, -1))
        assert len(await store.lifecycle.recent("quiet")) == 1


async def test_the_node_keeps_its_id(tmp_path: Path) -> None:
    async with open_store(tmp_path / "one") as one, open_store(tmp_path / "two") as two:
        ids = one.meta.node_id, two.meta.node_id
    assert ids[0] != ids[1]
    async with open_store(tmp_path / "one") as store:
        assert store.meta.node_id == ids[0]


async def test_one_transaction_can_span_rooms(tmp_path: Path) -> None:
    def turn(connection: apsw.Connection) -> None:
        write_state(connection, "a", [(b"k", b"v")])
        write_timers(connection, [("a", 1, 10)])
        raise LookupError("the turn trapped")

    async with open_store(tmp_path) as store:
        with pytest.raises(LookupError):
            await store.write(turn)
        assert await store.state.load("a") == {}
        assert await store.timers.load("a") == []


async def test_a_spec_of_an_older_caxton_is_still_read(tmp_path: Path) -> None:
    text = '{"name":"a","kind":"wasm","module":"","config":{"name":"a"},"created_at":2}'
    async with open_store(tmp_path) as store:
        await store.write(lambda c: c.execute("INSERT INTO agents VALUES ('a', ?)", (text,)) and None)
        assert (await store.agents.get("a")).config == AgentConfig(name="a")
        assert msgspec.json.decode(text)["created_at"] == (await store.agents.get("a")).created_at
