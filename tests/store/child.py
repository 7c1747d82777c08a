"""A process of its own for the tests to lock out, or to kill: `python -m tests.store.child COMMAND FOLDER [ROUND]`.

Each line on stdout is one atomic write to the pipe, made after what it reports.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import trio

from caxton.store import Store, open_store
from tests.store.specs import make_spec

WRITERS = 8


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def hold(folder: Path) -> None:
    """Keep the folder until killed."""
    async with open_store(folder) as store:
        store.announce("http://127.0.0.1:8080")
        say("ready")
        await trio.sleep_forever()


async def write(folder: Path, round_: str) -> None:
    """Write without end, and say what is known to be on the disk."""
    say("opening")
    async with open_store(folder) as store, trio.open_nursery() as nursery:
        for number in range(WRITERS):
            nursery.start_soon(write_one, store, f"{round_}-{number}")


async def write_one(store: Store, name: str) -> None:
    await store.agents.put(make_spec(name))
    say("agent", name)
    for i in count(1):
        await store.state.apply(name, [(b"counter", b"%d" % i), (b"%d" % i, b"x" * 100)])
        say("state", name, i)
        if i % 8 == 0:
            await store.timers.set(name, i, i)
            say("timer", name, i)
            await store.lifecycle.append(name, i, "running", "", 0.0)
            say("lifecycle", name, i)
        if i % 64 == 0:
            say("module", name, await store.modules.put(f"{name} {i}".encode() * 100))


COMMANDS: dict[str, Callable[..., Awaitable[None]]] = {"hold": hold, "write": write}

if __name__ == "__main__":
    command, folder, *rest = sys.argv[1:]
    trio.run(COMMANDS[command], Path(folder), *rest)
