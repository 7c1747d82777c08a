"""Keys of `runtime`: sizes that the engine and the compiler are made with, each seen from outside."""

import gc
import re
import sys
from pathlib import Path

import pytest
import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.core.errors import CaxtonError, InvalidConfig, InvalidWasm, ResourceLimitExceeded
from caxton.node import Node
from caxton.node.engines import open_component_engine, open_engine
from tests._fast.components import Guest, text
from tests.core.wasm_guests import agent
from tests.node.opened import config, config_of, deploy, log, open_a_node, tell, until
from tests.node.wat import message
from tests.runtime.test_modules import heavy

MB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what a process has")

# says "grown" or "refused"
GROWS = """
(module
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1) (table $t 1 funcref)
  (data (i32.const 0) "grown") (data (i32.const 8) "refused")
  (func (export "handle_message") (param i32 i32) (result i32)
    (if (i32.eq (%s) (i32.const -1))
      (then (call $log (i32.const 8) (i32.const 7)))
      (else (call $log (i32.const 0) (i32.const 5))))
    (i32.const 0)))
"""
# writes to 8 MB of its memory
FILLS = """
(module
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 129)
  (func (export "handle_message") (param i32 i32) (result i32)
    (memory.fill (i32.const 65536) (i32.const 7) (i32.const 8388608))
    (call $log (i32.const 65536) (i32.const 1))
    (i32.const 0)))
"""
# calls itself so often, and says so
DEEPER = """
  (func $deeper (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (call $deeper (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
      (else (i32.const 0))))
"""
DEEP = f"""
(module
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1) (data (i32.const 0) "deep") {DEEPER}
  (func (export "handle_message") (param i32 i32) (result i32)
    (drop (call $deeper (i32.const 1500)))
    (call $log (i32.const 0) (i32.const 4))
    (i32.const 0)))
"""
DEEP_COMPONENT = Guest(
    "(drop (call $deeper (i32.const 8000))) (call $log.info (i32.const 0) (i32.const 4))",
    ("log.info",),
    data={0: "deep"},
    core=DEEPER,
)


def proc(name: str) -> int:
    """Of this process, in KB."""
    return int(re.search(rf"^{name}:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)[1])  # type: ignore[index]


def agent_threads() -> int:
    return [path.read_text() for path in Path("/proc/self/task").glob("*/comm")].count("caxton agents\n")


def mapped(size: int) -> int:
    """Writable mappings of this size."""
    lines = (line.split() for line in Path("/proc/self/maps").read_text().splitlines())
    ranges = (where.split("-") for where, rights, *_ in lines if rights.startswith("rw"))
    return sum(int(end, 16) - int(start, 16) == size for start, end in ranges)


async def said(node: Node, wasm: bytes, name: str = "a") -> str:
    """The first line that it writes when a message comes."""
    await deploy(node, name, wasm)
    return (await tell(node, name, 1))[0]


async def test_max_memory_per_agent(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "runtime.max_memory_per_agent=8MB") as node:
        assert await said(node, wat2wasm(GROWS % "memory.grow (i32.const 126)"), "a") == "grown"  # one for the message
        assert await said(node, wat2wasm(GROWS % "memory.grow (i32.const 127)"), "b") == "refused"


async def test_max_table_elements(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "runtime.max_table_elements=777") as node:
        assert await said(node, wat2wasm(GROWS % "table.grow $t (ref.null func) (i32.const 776)"), "a") == "grown"
        assert await said(node, wat2wasm(GROWS % "table.grow $t (ref.null func) (i32.const 777)"), "b") == "refused"
        with pytest.raises(InvalidWasm, match="778 elements; an agent may have 777"):
            await deploy(node, "c", agent(fields="(table 778 funcref)"))


async def test_max_wasm_stack(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        assert await said(node, wat2wasm(DEEP)) == "deep"
    async with open_a_node(tmp_path, "runtime.max_wasm_stack=32KB", "messaging.retry_attempts=1") as node:
        node.bus.post(message("a"))
        await until(node, lambda: log(node, "a", "system") != [])
        assert "call stack exhausted" in log(node, "a", "system")[0]


async def test_component_stack(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        assert await said(node, wat2wasm(text(DEEP_COMPONENT))) == "deep"
    async with open_a_node(tmp_path, "runtime.component_stack=64KB", "messaging.retry_attempts=1") as node:
        node.bus.post(message("a"))
        await until(node, lambda: log(node, "a", "system") != [])
        assert "call stack exhausted" in log(node, "a", "system")[0]


@linux
async def test_what_the_engine_lays_out(tmp_path: Path) -> None:
    """Stacks, address space and threads, of two nodes that want little and much."""
    sizes = []
    for reservation, stack, native in (("16MB", 448, 1), ("1GB", 832, 4)):
        gc.collect()  # engines of other tests
        before = proc("VmSize")
        sets = ("max_memory_per_agent=16MB", f"memory_reservation={reservation}", f"async_stack_size={stack}KB")
        more = (f"scheduler_threads={native}", "pool_slots=20")
        async with open_a_node(tmp_path, *(f"runtime.{each}" for each in (*sets, *more))):
            sizes.append(proc("VmSize") - before)
            while agent_threads() < native:  # each says its name when it begins
                await trio.lowlevel.checkpoint()
            assert agent_threads() == native
            assert mapped(stack << 10) >= 19  # the kernel joins neighbours
    assert sizes[0] < 2 << 20 < 19 << 20 < sizes[1]


@linux
@pytest.mark.parametrize("kept", ["8MB", "0"])
async def test_keep_resident(tmp_path: Path, kept: str) -> None:
    sets = ("runtime.max_memory_per_agent=16MB", f"runtime.keep_resident={kept}")
    async with open_a_node(tmp_path, *sets) as node:
        await said(node, wat2wasm(FILLS))
        full = proc("VmRSS")
        await node.agents.delete("a")
        given_back = full - proc("VmRSS")
        assert given_back < 3 << 10 if kept != "0" else given_back > 6 << 10


async def test_pool_slots(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "runtime.max_agents=1", "runtime.pool_slots=2") as node:
        await node.settings.set({"runtime.max_agents": 2}, who="a test")
        await deploy(node, "a", replicas=2)
        with pytest.raises(CaxtonError, match=r"pool_slots: 2 is too small for runtime\.max_agents 3"):
            await node.settings.set({"runtime.max_agents": 3}, who="a test")


async def test_who_came_before_has_room_though_there_may_be_fewer(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "runtime.max_agents=20") as node:
        await deploy(node, "a", replicas=20)
    async with open_a_node(tmp_path, "runtime.max_agents=2") as node:
        assert node.agents.get("a").replicas_ready == 20
        with pytest.raises(ResourceLimitExceeded, match="there are 20 agents, and 1 more were asked for"):
            await deploy(node, "b")


async def test_who_came_before_has_less_memory_when_there_is_less(tmp_path: Path) -> None:
    large = agent(memory='(memory (export "memory") 160)')
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", wat2wasm(GROWS % "memory.grow (i32.const 127)"), resources={"memory": "50MB"})
        await deploy(node, "b", large, resources={"memory": "50MB"})
    for reservation in ("4GB", "0"):
        sets = ("runtime.max_memory_per_agent=8MB", f"runtime.memory_reservation={reservation}")
        async with open_a_node(tmp_path, *sets) as node:
            assert await tell(node, "a", 1) == ["refused"]
            assert node.agents.get("b").status == "failed"
            assert node.agents.get("b").reason == (
                "the module starts with 10485760 bytes of memory; the agent may have 8388608"
            )
            with pytest.raises(InvalidWasm) as caught:
                await node.agents.start("b")
            assert caught.value.hint == "raise runtime.max_memory_per_agent, which is below the agent's 50MB"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("keep_resident=200MB", "200MB is more than an agent may have: runtime.max_memory_per_agent is 100MB"),
        ("memory_reservation=65GB", "is too large"),
        ("max_table_elements=0", "is too small"),
        ("max_table_elements=10000001", "is too large"),
        ("pool_slots=1000001", "is too large"),
        ("component_slots=0", "is too small"),
        ("async_stack_size=129MB", "is too large"),
    ],
)
def test_sizes_that_cannot_be_are_said_before_a_server_starts(tmp_path: Path, written: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        config_of(tmp_path, f"runtime.{written}")


def test_the_largest_sizes_that_are_allowed_make_an_engine(tmp_path: Path) -> None:
    """And the largest stacks, in which a component needs room too."""
    sets = ("max_agents=1000000", "max_memory_per_agent=64KB", "async_stack_size=128MB", "component_stack=64MB")
    config = config_of(tmp_path, *(f"runtime.{each}" for each in sets))
    assert open_engine(config, 0).pool_slots == 1_000_000
    assert open_component_engine(config).async_stack_size == 128 << 20


async def test_component_slots(tmp_path: Path) -> None:
    wasm = wat2wasm(text(Guest()))
    async with open_a_node(tmp_path, "runtime.component_slots=1") as node:
        await deploy(node, "a", wasm)
        with pytest.raises(ResourceLimitExceeded, match="limit of 1 for component instances reached") as caught:
            await deploy(node, "b", wasm)
        assert "runtime.component_slots" in caught.value.hint
        await node.agents.delete("a")
        await deploy(node, "b", wasm)


@pytest.mark.parametrize(
    ("key", "least", "what"),
    [
        ("compile_timeout", "100ms", r"longer than 0\.1 s"),
        ("compile_memory", "64MB", "more than 67108864 bytes"),
    ],
)
async def test_compiling(tmp_path: Path, key: str, least: str, what: str) -> None:
    wasm = heavy(10_000)
    async with open_a_node(tmp_path, f"runtime.{key}={least}") as node:
        with pytest.raises(ResourceLimitExceeded, match=what):
            await node.agents.deploy(wasm, config("a"))
