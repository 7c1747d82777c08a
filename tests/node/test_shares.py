"""What agents may have of the processors and of memory, measured."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.core.errors import InvalidConfig
from caxton.node import oom
from tests._fast.components import Guest, text
from tests.node.opened import deploy, open_a_node
from tests.node.test_runtime_keys import linux, proc
from tests.node.wat import guest, message

SPINS = text(Guest("(loop $again (br $again))"))
MEMORY_BOMB = (Path(__file__).parent.parent / "guests" / "memory_bomb.wat").read_text()
COMPONENT_BOMB = text(
    Guest(
        """
        (loop $ever
          (local.set $i (memory.grow (i32.const 1)))
          (if (i32.ne (local.get $i) (i32.const -1))
            (then (memory.fill (i32.mul (local.get $i) (i32.const 65536)) (i32.const 7) (i32.const 65536))))
          (br $ever))
        """
    )
)


@pytest.mark.slow
async def test_guests_that_spin_have_their_share_of_a_processor(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        for name, wasm in (("module", guest("spin")), ("component", wat2wasm(SPINS))):
            await deploy(node, name, wasm, resources={"cpu": "50m", "timeout": "1h"})
            node.bus.post(message(name))
            while not node.agents.get(name).resources.cpu_used:
                await trio.lowlevel.checkpoint()
        spent, began = os.times(), time.monotonic()
        await trio.sleep(1)  # it is what is measured over
        used = sum(os.times()[:2]) - sum(spent[:2])
        assert used < 0.1 * (time.monotonic() - began) + 0.03, "a little is the server's own"
        for name in ("module", "component"):
            assert 0 < node.agents.get(name).resources.cpu_used < 0.1, "of the turn that still runs"


@linux
@pytest.mark.parametrize("wasm", [MEMORY_BOMB, COMPONENT_BOMB], ids=["module", "component"])
async def test_a_guest_that_grows_has_its_share_of_memory(tmp_path: Path, wasm: str) -> None:
    async with open_a_node(tmp_path, "messaging.retry_attempts=1") as node:
        await deploy(node, "bomb", wat2wasm(wasm), resources={"memory": "20MB", "timeout": "300ms"})
        before = most = proc("VmRSS")
        node.bus.post(message("bomb"))
        while node.agents.get("bomb").metrics.restarts == 0:
            await trio.lowlevel.checkpoint()
            most = max(most, proc("VmRSS"))
        assert 15 << 10 < most - before < 26 << 10


async def test_a_server_that_is_spared_when_memory_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score = tmp_path / "oom_score_adj"
    monkeypatch.setattr(oom, "SCORE", score)
    score.write_text("0\n")
    async with open_a_node(tmp_path / "data"):
        assert score.read_text() == "0\n"
    async with open_a_node(tmp_path / "data", "resources.memory.oom_kill_disable=true"):
        assert score.read_text() == "-1000"
    score.unlink()
    with pytest.raises(InvalidConfig, match="oom_kill_disable: the system does not permit it: No such file"):
        async with open_a_node(tmp_path / "data", "resources.memory.oom_kill_disable=true"):
            pass


# of this process: what the system says to it, and then to a compiler
CHILD = """
from caxton.core.errors import InvalidConfig
from caxton.node.oom import SCORE, spare_from_oom_killer
from caxton.runtime.compile_child import limit
try:
    spare_from_oom_killer()
    print("spared", SCORE.read_text().strip())
except InvalidConfig as error:
    print("refused", error)
limit(1 << 30, 10)
print(SCORE.read_text().strip())
"""


@linux
def test_what_the_system_says_to_it(tmp_path: Path) -> None:
    said = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout
    first, last = said.splitlines()
    assert first == "spared -1000" or ("refused" in first and "Permission denied" in first)
    assert last == "500"
