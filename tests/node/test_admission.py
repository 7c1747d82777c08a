"""Whether the machine has room for another agent."""

from pathlib import Path

import pytest

from caxton.core.config_keys import CpuConfig, HostConfig, MemoryConfig
from caxton.core.errors import Forbidden, ResourceLimitExceeded
from caxton.node import Node
from caxton.node.admission import Admission, Machine
from tests.node.opened import config, deploy, open_a_node
from tests.node.wat import guest

MB = 1 << 20


class Box(Machine):
    """A machine of 4 cores and 8 GB; so much of it is free."""

    def __init__(self, free: int | None = 4 << 30) -> None:
        self.free = free

    def millicores(self) -> int:
        return 4000

    def memory(self) -> int:
        return 8 << 30

    def free_memory(self) -> int | None:
        return self.free


def admission(ratio: float = 0.0, reserve: float = 0.2, memory: int = 0, free: int | None = 4 << 30) -> Admission:
    cpu = CpuConfig(reserve_system=reserve, overcommit_ratio=ratio)
    return Admission(HostConfig(cpu=cpu, memory=MemoryConfig(reserve_system=memory)), Box(free))


def test_processors_are_promised_up_to_a_bound() -> None:
    asked = admission(1.5)  # 4000m, less 20 %, times 1.5
    asked.check(3800, 1000)
    with pytest.raises(ResourceLimitExceeded) as caught:
        asked.check(3900, 1000)
    assert caught.value.message == (
        "3900m of the processors are promised to agents, and 1000m more were asked for; 4800m may be promised: 4000m, "
        "less 20% for the system, times 1.5"
    )
    admission(0.0).check(1_000_000, 1000)
    asked.check(9000, 0)  # who asks for nothing more is not refused


def test_some_memory_is_kept() -> None:
    admission(memory=500 * MB, free=501 * MB).check(0, 1)
    with pytest.raises(ResourceLimitExceeded, match="has 499MB of memory left, and 500MB are kept"):
        admission(memory=500 * MB, free=499 * MB).check(0, 1)
    assert admission().reserve() == 500 * MB
    admission(free=None).check(0, 1)  # nothing is known


def test_this_machine() -> None:
    machine = Machine()
    assert machine.millicores() >= 1
    free = machine.free_memory()
    assert free is None or 0 < free <= machine.memory()


def test_a_container_has_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from caxton.node import admission as module

    monkeypatch.setattr(module, "CGROUP", tmp_path)
    monkeypatch.setattr(module, "MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert (Machine().millicores(), Machine().memory(), Machine().free_memory()) == (500, 8 << 30, 4 << 30)
    (tmp_path / "memory.max").write_text("1073741824\n")
    (tmp_path / "memory.current").write_text("973741824\n")
    assert (Machine().memory(), Machine().free_memory()) == (1 << 30, 100_000_000)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert Machine().free_memory() == 4 << 30
    assert Machine().millicores() >= 1000


async def change(node: Node, **keys: object) -> None:
    await node.settings.set({key.replace("__", "."): value for key, value in keys.items()}, who="a test")


async def test_agents_are_refused_and_admitted_again(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "resources.cpu.overcommit_ratio=1", "resources.cpu.reserve_system=0") as node:
        node.admission.machine = Box()
        await deploy(node, "a", resources={"cpu": "900m"}, replicas=4)
        with pytest.raises(ResourceLimitExceeded, match="3600m of the processors"):
            await deploy(node, "b", resources={"cpu": "900m"})
        await deploy(node, "c", resources={"cpu": "400m"})
        with pytest.raises(ResourceLimitExceeded):
            await node.agents.update("c", None, config("c", resources={"cpu": "500m"}))
        await node.agents.update("c", None, config("c", resources={"cpu": "300m"}))
        await node.agents.delete("a")
        await deploy(node, "b", resources={"cpu": "900m"})
        await change(node, resources__cpu__reserve_system="70%")
        with pytest.raises(ResourceLimitExceeded):
            await deploy(node, "d", resources={"cpu": "100m"})
        await change(node, resources__cpu__overcommit_ratio=0)
        await deploy(node, "d", resources={"cpu": "1000m"})
        node.admission.machine = Box(free=100 * MB)
        with pytest.raises(ResourceLimitExceeded, match="100MB of memory left"):
            await deploy(node, "e")
        await change(node, resources__memory__reserve_system="50MB")
        await deploy(node, "e")
    async with open_a_node(tmp_path, "resources.cpu.overcommit_ratio=0.001") as node:
        assert {info.status for info in node.agents.list(None, 100, 0)[0]} == {"running"}


async def test_one_that_runs_is_promised_no_more_than_there_is(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "resources.cpu.overcommit_ratio=1", "resources.cpu.reserve_system=0") as node:
        node.admission.machine = Box()
        await deploy(node, "a", resources={"cpu": "900m"}, replicas=4)
        await deploy(node, "b", resources={"cpu": "100m"})
        with pytest.raises(ResourceLimitExceeded, match="3700m of the processors"):
            await node.settings.set({"resources.cpu": "600m"}, who="a test", agent="b")
        assert node.agents.get("b").resources.cpu_limit == 0.1
        node.admission.machine = Box(free=100 * MB)  # too little for somebody new
        await node.settings.set({"resources.cpu": "400m"}, who="a test", agent="b")
        assert node.agents.get("b").resources.cpu_limit == 0.4


async def test_no_other_module_for_an_agent(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "runtime.enable_hot_reload=false") as node:
        await deploy(node, "a")
        with pytest.raises(Forbidden, match="enable_hot_reload"):
            await node.agents.update("a", guest("quiet"), None)
        await node.agents.update("a", None, config("a", topics=["t"]))
        await change(node, runtime__enable_hot_reload=True)
        await node.agents.update("a", guest("quiet"), None)
