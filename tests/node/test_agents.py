"""Agents as an operator handles them, over the real rooms: what works, what is refused, what is left behind."""

from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.core.errors import (
    AgentAlreadyExists,
    AgentNotFound,
    CaxtonError,
    DeploymentFailed,
    InvalidRequest,
    InvalidTransition,
    InvalidWasm,
    ResourceLimitExceeded,
)
from caxton.node import Node
from tests._fast import wrapping
from tests._fast.components import Guest, text
from tests._fast.scheduling import both_kinds
from tests._fast.wasi_outside import OUTSIDE, declared
from tests.bus.desk import receive
from tests.node.opened import config, deploy, log, open_a_node, states, tell, until
from tests.node.wat import example, guest, message


async def rows_of(node: Node, name: str) -> int:
    """What the store holds that the next agent of the name would find."""
    await node.agents._committer.wait_written()
    return len(await node.store.state.load(name)) + len(await node.store.timers.load(name))


# -- deployment --


async def test_an_agent_is_deployed_looked_at_and_deleted(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        info = await deploy(node, "a", example("echo"), replicas=2, capabilities=["echoing"], resources={"cpu": "500m"})
        assert (info.name, info.status, info.version, info.replicas_ready, info.kind) == ("a", "running", 1, 2, "wasm")
        assert info.capabilities == ("echoing",)
        assert info.resources.cpu_limit == 0.5
        answer = await node.bus.request(message("capability:echoing", 1), timeout=10)
        assert answer.sender == "a"
        looked = await node.agents.inspect("a")
        assert [replica["state"] for replica in looked["replicas"]] == ["running", "running"]
        assert sorted(replica["counters"]["handled"] for replica in looked["replicas"]) == [0, 1]
        assert set(looked["replicas"][0]["addresses"]) == {"a", "capability:echoing"}
        assert (looked["desired"], looked["config"]["replicas"]) == ("running", 2)
        info = node.agents.get("a")
        assert (info.metrics.messages_processed, info.metrics.restarts) == (1, 0)
        assert info.metrics.average_latency_ms > 0
        assert info.resources.memory_used > 0
        assert (await node.agents.delete("a")).status == "removed"
        assert states(node) == {}
        assert await node.store.lifecycle.recent("a") == []
        for gone in (node.agents.get, lambda name: node.bus.post(message(name))):
            with pytest.raises(AgentNotFound):
                gone("a")
        assert await rows_of(node, "a") == 0
        lives = [event for event in node.bus.events_since(0) if event.type.startswith("agent.")]
        assert [event.type for event in lives if event.data["agent_id"] == "a" and event.type != "agent.log"] == [
            *["agent.started"] * 2,
            "agent.deployed",
            *["agent.stopped"] * 2,
            "agent.removed",
        ]


async def test_the_list_has_pages_and_a_filter(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        for name in ("c", "a", "b", "d"):
            await deploy(node, name)
        await node.agents.stop("b", 0, False)
        page, total = node.agents.list(None, 2, 1)
        assert ([info.name for info in page], total) == (["b", "c"], 4)
        page, total = node.agents.list("running", 2, 2)
        assert ([info.name for info in page], total) == (["d"], 3)
        assert node.agents.list(None, 2, 99) == ([], 4)
        assert [info.name for info in node.agents.list("stopped", 10, 0)[0]] == ["b"]


async def test_a_name_is_deployed_once_however_many_try(tmp_path: Path) -> None:
    outcomes: list[str] = []

    async def attempt(node: Node) -> None:
        try:
            outcomes.append((await deploy(node, "a")).status)
        except AgentAlreadyExists:
            outcomes.append("refused")

    async with open_a_node(tmp_path) as node:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(attempt, node)
        assert sorted(outcomes) == ["refused"] * 4 + ["running"]
        with pytest.raises(AgentAlreadyExists):
            await node.agents.attach(config("a"))


@pytest.mark.parametrize(
    ("wasm", "error"),
    [
        (b"", InvalidWasm),
        (b"\0asm\1\0\0\0", InvalidWasm),
        (guest("quiet")[:40], InvalidWasm),
        (guest("stillborn"), DeploymentFailed),
    ],
)
async def test_a_deployment_that_fails_leaves_nothing_behind(
    tmp_path: Path, wasm: bytes, error: type[CaxtonError]
) -> None:
    async with open_a_node(tmp_path) as node:
        with pytest.raises(error):
            await deploy(node, "a", wasm)
        assert (states(node), node.agents._locks) == ({}, {})
        assert not node.scheduler.has_address("a")
        assert await rows_of(node, "a") == 0
        assert list((tmp_path / "modules").rglob("*.wasm")) == []
        assert (await deploy(node, "a", guest("counter"))).status == "running"
        assert await tell(node, "a", 1) == ["1"]
    async with open_a_node(tmp_path) as node:
        assert await tell(node, "a", 1) == ["2"]


async def test_a_deployment_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deploy, node, "a", guest("slow_start"))
            await until(node, lambda: log(node, "a") == ["starting"])
            nursery.cancel_scope.cancel()
        assert (states(node), node.agents._locks, node.agents._arriving) == ({}, {}, 0)
        assert await rows_of(node, "a") == 0
        assert (await deploy(node, "a")).status == "running"


async def test_what_reached_an_agent_that_did_not_come_up_goes_back(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.attach(config("outside"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deploy, node, "a", guest("slow_start"))
            await until(node, lambda: log(node, "a") == ["starting"])
            node.bus.post(message("a"), sender="outside")
            nursery.cancel_scope.cancel()
        async with node.bus.stream("outside") as session:
            (failure,) = await session.receive(10)
            assert failure.performative == "failure"


async def test_max_agents_counts_replicas_and_those_on_their_way(tmp_path: Path) -> None:
    refused: list[str] = []

    async def attempt(node: Node, name: str) -> None:
        try:
            await deploy(node, name)
        except ResourceLimitExceeded:
            refused.append(name)

    async with open_a_node(tmp_path, "runtime.max_agents=4") as node:
        with pytest.raises(ResourceLimitExceeded, match="limit is 4"):
            await deploy(node, "many", replicas=5)
        await deploy(node, "two", replicas=2)
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(attempt, node, name)
        assert len(refused) == 1
        with pytest.raises(ResourceLimitExceeded):
            await node.agents.attach(config("outside"))
        with pytest.raises(ResourceLimitExceeded):
            await node.agents.update("two", None, config("two", replicas=3))
        await node.agents.update("two", None, config("two", replicas=1))
        await deploy(node, refused[0])
        assert len(states(node)) == 4


async def test_replicas_share_a_name(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", replicas=3)
        node.bus.post_many([message("a", number, conversation_id=f"c{number}") for number in range(30)])
        handled = [replica["counters"]["received"] for replica in (await node.agents.inspect("a"))["replicas"]]
        assert sum(handled) == 30
        assert all(handled)
        for _ in range(10):
            node.bus.post(message("a", conversation_id="c0"))
        again = [replica["counters"]["received"] for replica in (await node.agents.inspect("a"))["replicas"]]
        assert sorted(now - before for before, now in zip(handled, again, strict=True)) == [0, 0, 10]


# -- stop and start --


@both_kinds
async def test_what_comes_for_a_stopped_agent_waits_until_it_is_started(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("counter"))
        assert await tell(node, "a", 1) == ["1"]
        assert (await node.agents.stop("a", 10, True)).status == "stopped"
        node.bus.post(message("a"))
        with pytest.raises(InvalidTransition):
            node.bus.post(message("a", delivery="volatile"))
        assert (await node.agents.stop("a", 10, True)).status == "stopped"
        assert log(node, "a", "out") == ["1"]
        assert (await node.agents.start("a")).status == "running"
        assert await tell(node, "a", 3) == ["1", "2", "3"]
        with pytest.raises(InvalidTransition):
            await node.agents.start("a")
        assert states(node) == {"a": "running"}


@pytest.mark.slow
async def test_stopping_has_a_grace(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("sleeper"))
        assert await tell(node, "a", 1) == ["began"]
        assert (await node.agents.stop("a", 0.01, True)).status == "stopped"


async def test_an_attached_agent_stops_and_starts(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        info = await node.agents.attach(config("outside", replicas=3))
        assert (info.kind, info.status, info.replicas) == ("attached", "running", 1)
        node.bus.post(message("outside", 1))
        await node.agents.stop("outside", 0, False)
        node.bus.post(message("outside", 2))
        with pytest.raises(InvalidTransition):
            node.bus.post(message("outside", delivery="volatile"))
        await node.agents.start("outside")
        async with node.bus.stream("outside") as session:
            assert await receive(session, 2) == [1, 2]


async def test_verbs_for_nobody_say_so(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        for verb in (
            node.agents.start("nobody"),
            node.agents.stop("nobody", 0, False),
            node.agents.delete("nobody"),
            node.agents.update("nobody", None, config("nobody")),
            node.agents.inspect("nobody"),
        ):
            with pytest.raises(AgentNotFound):
                await verb
        assert node.agents._locks == {}


@pytest.mark.slow
async def test_a_stop_whose_caller_has_gone_is_a_stop(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("sleeper"))
        await tell(node, "a", 1)
        with trio.move_on_after(0.01):
            await node.agents.stop("a", 0.05, True)
        assert (await node.agents.inspect("a"))["desired"] == "stopped"
        await until(node, lambda: states(node) == {"a": "stopped"})
    async with open_a_node(tmp_path) as node:
        assert states(node) == {"a": "stopped"}


# -- update --


@both_kinds
async def test_an_update_keeps_state_and_mail(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("counter"))
        await tell(node, "a", 1)
        info = await node.agents.update("a", None, config("a", capabilities=["counting"], replicas=2))
        assert (info.version, info.capabilities, info.replicas_ready) == (2, ("counting",), 2)
        info = await node.agents.update("a", None, config("a"))
        assert (info.version, info.replicas_ready) == (3, 1)
        assert await tell(node, "a", 2) == ["1", "2"]
        assert not node.scheduler.has_address("capability:counting")


async def test_an_update_may_make_a_component_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("counter"))
        await tell(node, "a", 1)
        for count in (2, 3):
            monkeypatch.setattr(wrapping, "chosen", count == 2)
            assert (await node.agents.update("a", guest("counter"), None)).version == count
            assert await tell(node, "a", count) == [str(each) for each in range(1, count + 1)]


@both_kinds
async def test_an_update_starts_what_was_stopped(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        await node.agents.stop("a", 0, False)
        assert (await node.agents.update("a", example("echo"), None)).status == "running"
        assert (await node.bus.request(message("a", 1), timeout=10)).sender == "a"


@both_kinds
async def test_a_version_that_does_not_start_gives_way_to_the_old_one(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        before = await deploy(node, "a", guest("counter"))
        await tell(node, "a", 1)
        with pytest.raises(DeploymentFailed):
            await node.agents.update("a", guest("stillborn"), config("a", capabilities=["more"]))
        after = node.agents.get("a")
        assert (after.status, after.version, after.module) == ("running", 1, before.module)
        assert after.capabilities == ()
        assert await tell(node, "a", 2) == ["1", "2"]
        with pytest.raises(InvalidWasm):
            await node.agents.update("a", b"\0asm\1\0\0\0", None)
        assert states(node) == {"a": "running"}
    async with open_a_node(tmp_path) as node:
        assert await tell(node, "a", 1) == ["3"]


@both_kinds
async def test_a_stopped_agent_is_stopped_again_when_its_update_fails(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        await node.agents.stop("a", 0, False)
        with pytest.raises(DeploymentFailed):
            await node.agents.update("a", guest("stillborn"), None)
        assert states(node) == {"a": "stopped"}
        assert (await node.agents.start("a")).status == "running"


@both_kinds
async def test_an_update_whose_caller_has_gone_is_undone(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        before = await deploy(node, "a", guest("counter"))
        await tell(node, "a", 1)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.agents.update, "a", guest("slow_start"), None)
                await until(node, lambda: states(node)["a"] not in ("running", "draining", "stopped"))
                scope.cancel()
        after = node.agents.get("a")
        assert (after.status, after.version, after.module) == ("running", 1, before.module)
        assert await tell(node, "a", 3) == ["1", "starting", "2"]


async def test_an_attached_agent_gets_no_module(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.attach(config("outside"))
        with pytest.raises(InvalidRequest, match="attached"):
            await node.agents.update("outside", guest("quiet"), None)
        info = await node.agents.update("outside", None, config("other", topics=["x"]))
        assert (info.name, info.version) == ("outside", 2)
        assert node.bus.post(message("topic:x")).delivered_to == 1
        async with node.bus.stream("outside") as session:
            assert len(await session.receive(10)) == 1


# -- delete --


async def test_what_waited_for_a_deleted_agent_goes_back(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        for name in ("outside", "me"):
            await node.agents.attach(config(name))
        node.bus.post(message("outside", 1), sender="me")
        async with node.bus.stream("outside") as session:
            assert len(await session.receive(10)) == 1  # and does not acknowledge it
            node.bus.post(message("outside", 2), sender="me")
            await node.agents.delete("outside")
            with pytest.raises(AgentNotFound):
                await session.receive(10)
        async with node.bus.stream("me") as session:
            failures = [mail.as_dict() for mail in await session.receive(10)]
        assert [failure["content"]["reason"]["mts_error"] for failure in failures] == ["agent-not-found"] * 2


async def test_others_are_listed_while_one_is_deleted(tmp_path: Path) -> None:
    seen: list[str] = []

    async def look(node: Node) -> None:
        while "a" in (found := states(node)):
            assert (found["b"], node.agents.get("a").status) == ("running", found["a"])
            seen.append(found["a"])
            with suppress(AgentNotFound):  # it may be gone before the answer is complete
                await node.agents.inspect("a")

    async with open_a_node(tmp_path) as node:
        for name in ("a", "b"):
            await deploy(node, name)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, node)
            await node.agents.delete("a")
        assert "draining" in seen
        assert states(node) == {"b": "running"}


async def test_verbs_for_one_agent_come_one_after_the_other(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(node.agents.update, "a", None, config("a", metadata={"n": number}))
        assert node.agents.get("a").version == 4
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.agents.delete, "a")
            await trio.lowlevel.checkpoint()
            with pytest.raises(AgentAlreadyExists):
                await deploy(node, "a")
        assert (await deploy(node, "a")).version == 1
        assert node.agents._locks == {}


# -- guests that misbehave --


def more_lines(node: Node, than: int) -> bool:
    return len(log(node, "bad", "system")) > than


@both_kinds
@pytest.mark.slow
async def test_an_agent_that_crashes_too_often_is_quarantined_and_nobody_else(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        for name in ("good", "bad", "worse"):
            await deploy(node, name, guest("crash") if name != "good" else example("echo"))
        for _ in range(4):
            await until(node, lambda: states(node)["bad"] == "running")
            crashes = len(log(node, "bad", "system"))
            node.bus.post(message("bad"))
            await until(node, partial(more_lines, node, crashes))
        await until(node, lambda: states(node)["bad"] == "failed")
        info = node.agents.get("bad")
        assert ("quarantined" in info.reason, info.metrics.messages_failed) == (True, 4)
        assert states(node) == {"good": "running", "bad": "failed", "worse": "running"}
        assert (await node.bus.request(message("good", 1), timeout=10)).as_dict()["content"] == 1
        with pytest.raises(InvalidTransition):
            node.bus.post(message("bad", delivery="volatile"))
        assert node.metrics_system({"agents"})["agents"] == {"total": 3, "running": 2, "failed": 1}
        assert (await node.agents.start("bad")).status == "running"


@both_kinds
async def test_a_guest_that_asks_for_a_tool_of_a_server_without_is_told_so(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", guest("asker"))
        node.bus.post(message("a"))
        await until(node, lambda: log(node, "a", "err") != [])
        assert log(node, "a", "err") == ["this server has no tools: integrations.mcp.enabled is false"]


async def test_a_component_lives_like_a_module(tmp_path: Path) -> None:
    wasm = wat2wasm(text(Guest("(call $log.info (i32.const 0) (i32.const 5))", ("log.info",), data={0: "hello"})))
    async with open_a_node(tmp_path) as node:
        info = await deploy(node, "a", wasm)
        assert (info.status, info.unavailable_imports) == ("running", ())
        assert await tell(node, "a", 1) == ["hello"]
        assert node.agents.get("a").resources.memory_used == 4 << 16
    async with open_a_node(tmp_path) as node:
        assert await tell(node, "a", 1) == ["hello"]


async def test_what_a_component_imports_in_vain_is_said_and_refused_when_asked(tmp_path: Path) -> None:
    wasm = wat2wasm(text(Guest(extra="".join(declared(name, OUTSIDE[name]) for name in OUTSIDE))))
    async with open_a_node(tmp_path) as node:
        assert (await deploy(node, "a", wasm)).unavailable_imports == tuple(OUTSIDE)
        with pytest.raises(InvalidWasm, match="which agents do not have") as refused:
            await deploy(node, "b", wasm, imports="strict")
        assert [name for name in OUTSIDE if f"`{name}`" not in str(refused.value)] == []
        assert states(node) == {"a": "running"}
    async with open_a_node(tmp_path / "strict", "runtime.component_imports=strict") as node:
        with pytest.raises(InvalidWasm, match="wasi:sockets/tcp"):
            await deploy(node, "a", wasm)
        assert (await deploy(node, "a", wasm, imports="trap")).status == "running"
