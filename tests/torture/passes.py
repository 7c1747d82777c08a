"""One scenario for each failpoint, in a process of its own: `python -m tests.torture.passes POINT FOLDER`.

It says what is known to be on the disk, line by line, and ends by SIGKILL at the point, or with 0 when it never came.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import apsw
import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.core.config import load_config
from caxton.core.manifest import parse_agent_config
from caxton.node import open_node
from caxton.store import Store, open_store
from caxton.store.journal import write_segment

OWNER = "witness"
COUNTER = """(module
  (import "caxton" "store_data" (func $store (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $n (mut i32) (i32.const 48))
  (func (export "handle_message") (param i32 i32) (result i32)
    (global.set $n (i32.add (global.get $n) (i32.const 1)))
    (i32.store8 (i32.const 8) (global.get $n))
    (call $store (i32.const 8) (i32.const 1) (i32.const 8) (i32.const 1))))"""


def say(number: int) -> None:
    os.write(1, b"%d\n" % number)


async def writes(folder: Path) -> None:
    async with open_store(folder) as store:
        for number in range(1, 6):
            await keep(store, number)


async def checkpoint(folder: Path) -> None:
    async with open_store(folder) as store:
        await keep(store, 1)
    # leaving the block checkpoints what the WAL has, page by page


async def retention(folder: Path) -> None:
    async with open_store(folder) as store:
        await keep(store, 1)
        for number in (1, 2, 3, 4):
            await store.write(
                partial(write_segment, segment_id=number, at_us=1, messages=0, settled_below=number, records=b"x")
            )
        await store.journal.delete_before(oldest_us=2, max_bytes=0)


async def backup(folder: Path) -> None:
    async with open_store(folder) as store:
        for number in range(1, 31):
            await keep(store, number)
        await store.backups.create()


async def turns(folder: Path) -> None:
    """Each message is a turn that stores one more key."""
    config = load_config(environ={"CAXTON_DATA_DIR": str(folder)}, sets=["runtime.max_agents=2"])
    async with open_node(config) as node:
        await node.agents.deploy(wat2wasm(COUNTER), parse_agent_config({"name": OWNER}))
        for number in range(1, 6):
            node.bus.post(b'{"performative":"inform","receiver":"%s","content":0}' % OWNER.encode())
            while b"%d" % number not in await node.store.state.load(OWNER):
                await node.agents.inspect(OWNER)  # which waits for a commit
            say(number)


async def keep(store: Store, number: int) -> None:
    def work(connection: apsw.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", (OWNER, b"%d" % number, b"x" * 20_000))

    await store.write(work)
    say(number)


SCENARIOS: dict[str, Callable[[Path], Awaitable[None]]] = {
    "commit-before": writes,
    "commit-after": writes,
    "checkpoint-middle": checkpoint,
    "turn-released": turns,
    "turn-recorded": turns,
    "migration-middle": writes,
    "retention-middle": retention,
    "backup-middle": backup,
}

if __name__ == "__main__":
    point, folder = sys.argv[1:]
    trio.run(SCENARIOS[point], Path(folder))
