"""Bounds of the configuration, each seen from outside: set to something small, and what then happens."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.core.errors import InvalidConfig, ResourceLimitExceeded
from caxton.core.manifest import parse_agent_config
from caxton.core.views import EventFilter
from caxton.node import Node
from tests._fast.scheduling import both_kinds
from tests.node.opened import config, deploy, log, open_a_node, tell, until
from tests.node.test_directory import ask, attached, listed
from tests.node.wat import guest, message

CHATTER = Path(__file__).parent.parent / "guests" / "chatter.wat"
KEEPER = """
(module
  (import "caxton" "store_data" (func $store (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "key") (data (i32.const 16) "kept") (data (i32.const 32) "refused")
  (func (export "handle_message") (param i32 i32) (result i32)
    (if (i32.lt_s (call $store (i32.const 0) (i32.const 3) (i32.const 1024) (i32.const 3000)) (i32.const 0))
      (then (call $log (i32.const 32) (i32.const 7)))
      (else (call $log (i32.const 16) (i32.const 4))))
    (i32.const 0)))
"""


async def deploy_as_told(node: Node, name: str, wasm: bytes, **fields: Any) -> None:
    """With the server's defaults, as the API does."""
    told = parse_agent_config({"name": name, **fields}, defaults=node.limits.agent_defaults)
    await node.agents.deploy(wasm, told)


async def test_default_agent_timeout(tmp_path: Path) -> None:
    sets = ("runtime.default_agent_timeout=30ms", "messaging.retry_attempts=1")
    async with open_a_node(tmp_path, *sets) as node:
        await deploy_as_told(node, "s", guest("spin"), supervision={"max_restarts": 50})
        with node.bus.tap(100, EventFilter(types=("message.dead",))) as events:
            node.bus.post(message("s"))
            await events.receive()
        (letter,), _ = await node.dead_letters.list()
        assert letter.reason == "timeout"


@pytest.mark.slow
async def test_retry_delay(tmp_path: Path) -> None:
    sets = ("messaging.retry_attempts=2", "messaging.retry_delay=300ms")
    async with open_a_node(tmp_path, *sets) as node:
        await deploy(node, "c", guest("crash"), supervision={"max_restarts": 50})
        with node.bus.tap(100, EventFilter(types=("message.dead",))) as events:
            began = trio.current_time()
            node.bus.post(message("c"))
            await events.receive()
            assert trio.current_time() - began >= 0.1, "the delay has some chance in it"
            await node.settings.set({"messaging.retry_delay": "0s"}, who="a test")
            node.bus.post(message("c"))
            await events.receive()


async def test_dedup_size(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.dedup_size=2") as node:
        await deploy(node, "a")
        ids = [f"0190b5a0-0000-7000-8000-00000000000{n}" for n in range(3)]
        for one in ids:
            assert node.bus.post(message("a", message_id=one)).status != "duplicate"
        assert node.bus.post(message("a", message_id=ids[2])).status == "duplicate"
        assert node.bus.post(message("a", message_id=ids[0])).status != "duplicate", "the third took its place"


@both_kinds
@pytest.mark.parametrize(("quota", "said"), [("2KB", "refused"), ("4KB", "kept")])
async def test_state_quota(tmp_path: Path, quota: str, said: str) -> None:
    async with open_a_node(tmp_path, f"runtime.state_quota={quota}") as node:
        await deploy(node, "k", wat2wasm(KEEPER))
        assert await tell(node, "k", 1) == [said]


@both_kinds
async def test_log_lines_per_second(tmp_path: Path) -> None:
    sets = ("runtime.log_lines_per_second=7", "runtime.default_agent_timeout=50ms", "messaging.retry_attempts=1")
    async with open_a_node(tmp_path, *sets) as node:
        await deploy_as_told(node, "c", wat2wasm(CHATTER.read_text()), supervision={"max_restarts": 50})
        with node.bus.tap(1000, EventFilter(types=("message.dead",))) as events:
            node.bus.post(message("c"))
            await events.receive()
        await until(node, lambda: bool(log(node, "c", "out")))
        assert log(node, "c", "out") == ["again"] * 7


@pytest.mark.parametrize(
    ("key", "written", "asked", "said"),
    [
        ("runtime.max_cpu_per_agent", "500m", {"cpu": "600m"}, "requested: 600m, max: 500m"),
        ("runtime.max_memory_per_agent", "8MB", {"memory": "9MB"}, "requested: 9MB, max: 8MB"),
    ],
)
async def test_what_an_agent_may_have(tmp_path: Path, key: str, written: str, asked: dict[str, str], said: str) -> None:
    async with open_a_node(tmp_path, f"{key}={written}") as node:
        with pytest.raises(InvalidConfig, match=said):
            parse_agent_config({"name": "a", "resources": asked}, defaults=node.limits.agent_defaults)


async def test_max_agents_and_max_module_size(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "runtime.max_agents=1", "runtime.max_module_size=1KB") as node:
        with pytest.raises(ResourceLimitExceeded, match="modules may have 1024"):
            await node.agents.deploy(bytes(1025), config("large"))
        await deploy(node, "a")
        with pytest.raises(ResourceLimitExceeded):
            await deploy(node, "b")


async def test_retention_age(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.retention_age=1ms") as node, attached(node, "rita") as rita:
        for _ in range(3):
            await node.bus.settle([node.bus.post(message("rita", "x" * 4000))])
            rita.ack([str(mail.message_id) for mail in await rita.receive(10)])
        await node.bus.settle([node.bus.post(message("rita"))])
        await node.bus.settle([node.bus.post(message("rita"))])  # its segment says that the others are settled
        before = (await node.store.journal.size()).bytes
        assert before > 12_000
        await trio.sleep(0.002)  # the age itself; nothing is waited for
        await node.housekeeping.tidy()
        assert (await node.store.journal.size()).bytes < before - 8000


async def test_the_directory_s_bounds_at_once(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "directory.max_results=1") as node:
        async with attached(node, "anna", capabilities=["sums"]) as anna, attached(node, "bob", capabilities=["sums"]):
            search = {"action": "search", "description": {"services": [{"type": "sums"}]}}
            assert len((await ask(anna, "df", search))["result"]) == 1
            changes = {"directory.max_results": 5, "directory.max_lease": "2s", "directory.lease": "1s"}
            await node.settings.set(changes, who="a test")
            assert len((await ask(anna, "df", search))["result"]) == 2
            mine = {"name": "anna", "services": [{"name": "quote", "type": "pricing"}], "lease_time": 3600}
            told = await ask(anna, "df", {"action": "register", "description": mine})
            until_then = datetime.fromisoformat(told["description"]["lease_time"]).timestamp()
            assert until_then <= time.time() + 2
            assert node.directory.facilitator.limits.lease == 1.0


async def test_how_far_back_it_looks(tmp_path: Path) -> None:
    sets = ("messaging.history_messages=3", "messaging.history_bytes=1MB", "messaging.enable_persistence=false")
    async with open_a_node(tmp_path, *sets) as node:
        await node.agents.attach(config("rita"))
        for _ in range(5):
            node.bus.post(message("rita"))
        assert [record.sequence for record in node.bus.history(None, 0, 10)[0]] == [3, 4, 5]
        for _ in range(2):
            node.bus.post(message("rita", "x" * 700_000))
        assert [record.sequence for record in node.bus.history(None, 0, 10)[0]] == [7], "two are more than 1MB"


async def test_lease(tmp_path: Path) -> None:
    sets = ("directory.lease=90s", "messaging.retry_attempts=0")
    async with open_a_node(tmp_path, *sets) as node:
        began = time.time()
        await deploy(node, "frail", guest("crash"), capabilities=["sums"], restart="temporary")
        node.bus.post(message("frail"))
        await until(node, lambda: node.agents.get("frail").status == "failed")
        node.directory.clock = lambda: began + 89
        assert listed(node) == ["frail"]
        node.directory.clock = lambda: time.time() + 91
        assert listed(node) == []
