"""What outlives the server: agents, their state, timers and life stories, and what an operator wished."""

import time
from pathlib import Path

import pytest

from caxton.core.errors import StoreError
from caxton.node import Node, open_node
from caxton.store import open_store
from tests._fast.scheduling import both_kinds
from tests.node.opened import config, config_of, deploy, log, open_a_node, states, tell, until
from tests.node.wat import example, guest, message


def module_file(folder: Path, node_module: str) -> Path:
    (path,) = folder.glob(f"modules/*/{node_module}.wasm")
    return path


@both_kinds
async def test_agents_come_back_with_their_state(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("counter"), replicas=2, capabilities=["counting"])
        await deploy(node, "echo", example("echo"))
        await node.agents.attach(config("outside"))
        before = node.agents.get("a")
        for conversation in "xy":
            for _ in range(3):
                node.bus.post(message("a", conversation_id=conversation))
        await until(node, lambda: len(log(node, "a")) == 6)
        node_id = node.health()["node_id"]
    async with open_a_node(tmp_path) as node:
        after = node.agents.get("a")
        assert states(node) == {"a": "running", "echo": "running", "outside": "running"}
        for field in ("created_at", "version", "module", "replicas", "capabilities", "kind"):
            assert getattr(after, field) == getattr(before, field)
        assert node.health()["node_id"] == node_id
        owners = [await node.store.state.load(owner) for owner in ("a", "a#2")]
        assert sorted(owner.get(b"count", b"0") for owner in owners) in ([b"3", b"3"], [b"0", b"6"])
        assert (await node.bus.request(message("echo", 1), timeout=10)).as_dict()["content"] == 1
        async with node.bus.stream("outside") as session:
            node.bus.post(message("outside", 2))
            assert [mail.as_dict()["content"] for mail in await session.receive(10)] == [2]
        story = (await node.agents.inspect("echo"))["lifecycle"]
        assert [step["state"] for step in reversed(story)] == [
            *["loaded", "ready", "running", "draining", "stopped"],
            *["loaded", "ready", "running"],
        ]


async def test_turns_that_ended_with_the_server_are_kept(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("counter"))
        node.bus.post_many([message("a")] * 5)  # they wait when the server ends, and are handled within its grace
    async with open_a_node(tmp_path) as node:
        assert await tell(node, "a", 1) == ["6"]


async def overdue(folder: Path) -> None:
    """A folder with agent a, whose timer came due while nobody was there."""
    async with open_a_node(folder) as node:
        await deploy(node, "a", guest("alarm"))
        node.bus.post(message("a"))
    async with open_store(folder) as store:
        (timer,) = await store.timers.load("a")
        assert 0 < timer.due_us - time.time() * 1e6 < 3.7e9
        await store.timers.set("a", timer.timer_id, 1)


@both_kinds
async def test_a_timer_that_came_due_while_the_server_was_down_fires(tmp_path: Path) -> None:
    await overdue(tmp_path)
    async with open_a_node(tmp_path) as node:
        await until(node, lambda: log(node, "a", "out") == ["ring"])


async def test_a_timer_that_was_handled_does_not_come_again(tmp_path: Path) -> None:
    await overdue(tmp_path)
    async with open_a_node(tmp_path) as node:
        await until(node, lambda: log(node, "a", "out") == ["ring"])
    async with open_store(tmp_path) as store:
        assert await store.timers.load_all() == []


async def test_a_timer_that_is_not_due_waits_on(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("alarm"))
        node.bus.post(message("a"))
    async with open_store(tmp_path) as store:
        timers = await store.timers.load("a")
    async with open_a_node(tmp_path) as node:
        assert await node.store.timers.load("a") == timers
        node.bus.post(message("a"))  # its next timer has a number of its own
    async with open_store(tmp_path) as store:
        assert [timer.timer_id for timer in await store.timers.load("a")] == [1, 2]


async def test_a_deleted_agent_s_timers_are_gone(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("alarm"))
        node.bus.post(message("a"))
        await node.agents.stop("a", 10, True)
        await node.agents._committer.wait_written()
        assert len(await node.store.timers.load_all()) == 1
        await node.agents.delete("a")
        assert await node.store.timers.load_all() == []


async def test_what_was_stopped_stays_stopped(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        for name in ("a", "b"):
            await deploy(node, name)
        await node.agents.attach(config("outside"))
        for name in ("a", "outside"):
            await node.agents.stop(name, 0, False)
    for _ in range(2):
        async with open_a_node(tmp_path) as node:
            assert states(node) == {"a": "stopped", "b": "running", "outside": "stopped"}
    async with open_a_node(tmp_path) as node:
        await node.agents.start("a")
        async with node.bus.stream("outside"):
            pass  # it may come and look, though nothing new is taken
    async with open_a_node(tmp_path) as node:
        assert states(node)["a"] == "running"


async def test_a_failed_agent_is_tried_again(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("crash"), supervision={"max_restarts": 0})
        node.bus.post(message("a", delivery="volatile"))  # a kept one would be there again
        await until(node, lambda: states(node)["a"] == "failed")
    async with open_a_node(tmp_path) as node:
        assert states(node) == {"a": "running"}


@both_kinds
async def test_a_replica_that_comes_again_has_its_state(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("counter"), replicas=2)
        await node.store.state.apply("a#2", [(b"count", b"7")])
        for replicas in (1, 2):
            await node.agents.update("a", None, config("a", replicas=replicas))
        node.bus.post_many([message("a", conversation_id=str(number)) for number in range(8)])
        await until(node, lambda: "8" in log(node, "a"))


# -- modules that are damaged --


async def broken(folder: Path, *, missing: bool = False) -> None:
    """A folder with agents a and b, the file of a's module damaged."""
    async with open_a_node(folder) as node:
        info = await deploy(node, "a", guest("counter"))
        await deploy(node, "b")
        await tell(node, "a", 1)
    path = module_file(folder, info.module)
    if missing:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"\0")


@both_kinds
@pytest.mark.parametrize("missing", [False, True])
async def test_a_damaged_module_keeps_its_agent_away_and_nobody_else(tmp_path: Path, missing: bool) -> None:
    await broken(tmp_path, missing=missing)
    async with open_a_node(tmp_path) as node:
        assert states(node) == {"a": "failed", "b": "running"}
        info = node.agents.get("a")
        assert "deploying the module again" in info.reason
        assert (info.replicas, info.replicas_ready) == (1, 0)
        assert (await node.agents.inspect("a"))["replicas"] == []
        assert node.metrics_system({"agents"})["agents"] == {"total": 2, "running": 1, "failed": 1}
        assert (node.health()["agents_count"], node.ready()[0]) == (2, True)
        with pytest.raises(StoreError):
            await node.agents.start("a")
        assert (await node.agents.stop("a", 0, False)).status == "failed"
        assert states(node) == {"a": "failed", "b": "running"}


async def mended(node: Node) -> None:
    info = node.agents.get("a")
    assert (info.status, info.reason) == ("running", "")
    assert await tell(node, "a", 1) == ["2"]
    assert node.metrics_system({"agents"})["agents"] == {"total": 2, "running": 2, "failed": 0}


async def test_deploying_the_module_again_mends_the_agent(tmp_path: Path) -> None:
    await broken(tmp_path)
    async with open_a_node(tmp_path) as node:
        await node.agents.update("a", guest("counter"), None)
        await mended(node)
    async with open_a_node(tmp_path) as node:
        assert await tell(node, "a", 1) == ["3"]


async def test_a_module_that_was_put_back_can_be_started(tmp_path: Path) -> None:
    await broken(tmp_path)
    async with open_a_node(tmp_path) as node:
        module_file(tmp_path, node.agents.get("a").module).write_bytes(guest("counter"))
        await node.agents.start("a")
        await mended(node)


async def test_an_update_that_does_not_start_mends_nothing(tmp_path: Path) -> None:
    await broken(tmp_path)
    async with open_a_node(tmp_path) as node:
        with pytest.raises(Exception, match="did not start"):
            await node.agents.update("a", guest("stillborn"), None)
        assert states(node) == {"a": "failed", "b": "running"}
        assert node.agents.get("a").reason
        await node.agents.update("a", guest("counter"), None)
        await mended(node)


async def test_a_broken_agent_can_be_deleted(tmp_path: Path) -> None:
    await broken(tmp_path)
    async with open_a_node(tmp_path) as node:
        await node.agents.delete("a")
        assert await node.store.state.load("a") == {}
        assert (await deploy(node, "a", guest("counter"))).status == "running"
        assert await tell(node, "a", 1) == ["1"]


def module_names(folder: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in folder.glob("modules/*/*")}


async def test_modules_that_nobody_uses_go_with_the_next_start(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        kept = await deploy(node, "a")
        await deploy(node, "b", guest("quiet", "b"))
        await node.agents.delete("b")
    async with open_node(config_of(tmp_path)):
        assert module_names(tmp_path) == {kept.module}
