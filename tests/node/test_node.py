"""The node as a whole: how it opens, what it says of itself, and how it ends."""

import logging
import os
from pathlib import Path

import apsw
import pytest
import trio
import trio.testing

import caxton
from caxton.core.errors import AgentAlreadyExists, CaxtonError, DataDirLocked, InvalidConfig, StoreError
from caxton.core.views import EventFilter
from caxton.node import Node, open_node
from caxton.node import committer as committing
from caxton.node import node as composition
from caxton.store import open_store
from tests.node.opened import PATIENCE, config, config_of, deploy, log, open_a_node, states, tell
from tests.node.wat import example, guest, message
from tests.store.disk import Disk, faulty_disk


async def test_a_folder_has_one_node(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        node.announce("http://127.0.0.1:1234")
        with pytest.raises(DataDirLocked, match="serving http://127"):
            async with open_node(config_of(tmp_path)):
                pass
        assert node.ready()[0]
    async with open_a_node(tmp_path):
        pass


@pytest.mark.parametrize("key", ["security.authentication", "security.authorization"])
async def test_a_protection_that_it_does_not_have_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidConfig, match=key):
        async with open_node(config_of(tmp_path, f"{key}.enabled=true")):
            pass
    assert os.listdir(tmp_path) == []


async def test_keys_that_nothing_reads_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_a_node(tmp_path, "experimental.enable_gpu_support=true"):
        pass
    assert "experimental.enable_gpu_support" in caplog.text


async def test_it_says_how_it_is(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "echo", example("echo"))
        for number in range(3):
            await node.bus.request(message("echo", number), timeout=10)
        health = node.health()
        assert (health["status"], health["version"], health["agents_count"]) == ("healthy", caxton.__version__, 1)
        assert health["uptime_seconds"] >= 0
        assert node.ready() == (True, {"ready": True, "checks": {"agents": "ok", "store": "ok"}})
        figures = node.metrics_system(set())
        assert set(figures) == {"timestamp", "agents", "messages", "resources", "performance", "conversations"}
        assert figures["agents"] == {"total": 1, "running": 1, "failed": 0}
        assert (figures["messages"]["total_processed"], figures["messages"]["queue_size"]) == (3, 0)
        assert figures["resources"]["memory_used_mb"] > 1
        assert figures["resources"]["disk_used_gb"] > 0
        performance = figures["performance"]
        assert 0 < performance["message_latency_p50"] <= performance["message_latency_p99"]
        assert performance["agent_spawn_time_ms"] > 0
        assert set(node.metrics_system({"agents", "nonsense"})) == {"timestamp", "agents"}
        assert node.limits.max_message_size == 1 << 20
    assert node.ready() == (
        False,
        {"ready": False, "checks": {"agents": node.ready()[1]["checks"]["agents"], "store": "ok"}},
    )


async def test_a_disk_that_is_full_is_told_though_nothing_is_to_be_written(tmp_path: Path) -> None:
    def fill(_: apsw.Connection) -> None:
        raise apsw.FullError("no space left")

    async with open_a_node(tmp_path) as node:
        with pytest.raises(StoreError):
            await node.store.write(fill)
        is_ready, said = node.ready()
        assert not is_ready
        assert said["checks"]["store"].startswith("disk_full: there is no room left on the disk of ")
        while not node.ready()[0]:
            await node.store.wait_condition_changed()


async def test_steps_of_agents_are_events(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        wanted = EventFilter(types=("agent.started", "agent.failed", "agent.stopped"), agents=("a",))
        with node.bus.tap(100, wanted) as events:
            await deploy(node, "a", guest("crash"))
            node.bus.post(message("a"))
            seen = [await events.receive() for _ in range(3)]
        assert [event.type for event in seen] == ["agent.started", "agent.failed", "agent.started"]
        assert (seen[1].data["restarting"], seen[2].data["incarnation"]) == (True, 2)
        assert seen[1].data["reason"] in log(node, "a", "system")[0]


@pytest.mark.slow
async def test_a_spinning_guest_leaves_time_for_the_others(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "runtime.scheduler_threads=1") as node:
        await deploy(node, "spin", guest("spin"))
        await deploy(node, "echo", example("echo"))
        node.bus.post(message("spin"))
        for number in range(20):
            answer = await node.bus.request(message("echo", number), timeout=10)
            assert answer.as_dict()["content"] == number
        assert states(node) == {"spin": "running", "echo": "running"}
        await node.agents.stop("spin", 0, False)


@pytest.mark.slow
async def test_nobody_keeps_it_from_ending(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        for name in ("stubborn", "spin", "sleeper"):
            await deploy(node, name, guest(name))
            node.bus.post_many([message(name)] * 3)
        began = trio.current_time()
    assert trio.current_time() - began < 4
    async with open_a_node(tmp_path) as node:
        assert set(states(node).values()) == {"running"}


async def test_cancelled_from_outside_it_ends_at_once_and_keeps_what_was_done(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_a_node(tmp_path) as node:
            await deploy(node, "a", guest("counter"))
            await tell(node, "a", 1)
            began = trio.current_time()
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert trio.current_time() - began < 1
    async with open_a_node(tmp_path) as node:
        assert await tell(node, "a", 1) == ["2"]


async def test_an_error_in_the_block_comes_out_and_the_folder_is_free(tmp_path: Path) -> None:
    with pytest.RaisesGroup(KeyError, allow_unwrapped=True, flatten_subgroups=True):
        async with open_a_node(tmp_path):
            raise KeyError
    async with open_a_node(tmp_path):
        pass


async def test_an_event_that_cannot_be_handled_is_one_event(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "echo", example("echo"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(node.bus, "handle", lambda *event: 1 / 0)
            node.bus.post(message("echo"), sender="client:nobody")
            while "was not handled" not in caplog.text:
                await trio.testing.wait_all_tasks_blocked()
        await deploy(node, "other")
        assert states(node) == {"echo": "running", "other": "running"}


# -- a disk that fails --


def on(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "open_store", lambda folder, **sizes: open_store(folder, vfs=disk.name, **sizes))
    monkeypatch.setattr(committing, "RETRY_SECONDS", 0.01)


async def failure(node: Node) -> None:
    with trio.fail_after(PATIENCE):
        while node.ready()[0]:
            await node.agents._committer._readers.park()


async def recovery(node: Node) -> None:
    with trio.fail_after(PATIENCE):
        while not node.ready()[0]:
            await node.agents._committer._readers.park()


async def test_what_the_disk_refuses_is_kept_and_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_disk() as disk:
        on(disk, monkeypatch)
        async with open_a_node(tmp_path) as node:
            await deploy(node, "a", guest("counter"))
            await node.agents._committer.wait_written()
            disk.failing.add("write")
            for count in range(1, 4):
                await tell(node, "a", count, delivery="volatile")  # one that has to be kept is refused
            await failure(node)
            is_ready, said = node.ready()
            assert (is_ready, "the disk" in said["checks"]["store"]) == (False, True)
            assert (await node.store.state.load("a")).get(b"count") != b"3"
            with pytest.raises(StoreError):
                await node.agents._committer.wait_written()
            disk.failing.clear()
            await recovery(node)
            await node.agents._committer.wait_written()
            assert (await node.store.state.load("a"))[b"count"] == b"3"
        async with open_a_node(tmp_path) as node:
            assert await tell(node, "a", 1) == ["4"]


async def test_verbs_that_cannot_be_kept_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_disk() as disk:
        on(disk, monkeypatch)
        async with open_a_node(tmp_path) as node:
            await deploy(node, "a", guest("counter"))
            await deploy(node, "rests")
            await node.agents.stop("rests", 0, False)
            disk.failing.add("write")
            for verb in (
                deploy(node, "b"),
                node.agents.update("a", example("echo"), None),
                node.agents.start("rests"),
                node.agents.delete("a"),
            ):
                with pytest.raises(StoreError):
                    await verb
            with pytest.raises(StoreError):
                await node.agents.stop("a", 0, False)
            assert states(node)["rests"] == "stopped"
            assert "b" not in states(node)
            assert not node.scheduler.has_address("b")
            await failure(node)
            disk.failing.clear()
            await recovery(node)
            await node.agents.delete("rests")
            await deploy(node, "b")
            assert (
                await node.agents.start("a") if states(node)["a"] == "stopped" else node.agents.get("a")
            ).version == 1
            assert await tell(node, "a", 1) == ["1"]


async def test_a_deletion_that_the_disk_refuses_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_disk() as disk:
        on(disk, monkeypatch)
        async with open_a_node(tmp_path) as node:
            await deploy(node, "a")
            await deploy(node, "other")
            await node.agents._committer.wait_written()
            disk.failing.add("write")
            with pytest.raises(StoreError):
                await node.agents.delete("a")
            assert states(node) == {"a": "failed", "other": "running"}
            assert "still in the store" in node.agents.get("a").reason
            with pytest.raises(CaxtonError):
                node.bus.post(message("a"))
            with pytest.raises(AgentAlreadyExists):
                await deploy(node, "a")
            disk.failing.clear()
            await recovery(node)
            await node.agents.delete("a")
            assert states(node) == {"other": "running"}


async def test_an_end_with_a_failing_disk_is_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with faulty_disk() as disk:
        on(disk, monkeypatch)

        def mend(record: logging.LogRecord) -> bool:
            """The disk works again when the node has given up: the database is to be closed."""
            if "are lost" in record.getMessage():
                disk.failing.clear()
            return True

        caplog.handler.addFilter(mend)
        async with open_a_node(tmp_path) as node:
            await node.agents.attach(config("outside"))
            await deploy(node, "a", guest("counter"))
            disk.failing.add("write")
            await tell(node, "a", 1)
            began = trio.current_time()
        assert trio.current_time() - began < 4
        assert "the last changes of agents' state are lost" in caplog.text
        async with open_a_node(tmp_path) as node:
            assert states(node) == {"a": "running", "outside": "running"}
