"""A node over a data folder, and what tests do with it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from caxton.core.config import load_config
from caxton.core.config_keys import Config
from caxton.core.manifest import AgentConfig, parse_agent_config
from caxton.core.views import AgentInfo
from caxton.node import Node, open_node
from tests.node.wat import guest, message

PATIENCE = 30.0  # of a test; what it waits for takes milliseconds


def config_of(folder: Path, *sets: str) -> Config:
    return load_config(environ={"CAXTON_DATA_DIR": str(folder)}, sets=["runtime.max_agents=16", *sets])


compiled: dict[Path, bytes] = {}  # what earlier tests compiled, so that each guest is compiled once


@asynccontextmanager
async def open_a_node(folder: Path, *sets: str) -> AsyncIterator[Node]:
    with trio.fail_after(PATIENCE):
        async with open_node(config_of(folder, *sets)) as node:
            _put_artefacts(folder)
            yield node
            _take_artefacts(folder)


def _put_artefacts(folder: Path) -> None:
    for path, artefact in compiled.items():
        if not (folder / path).exists():  # agents run out of it
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(artefact)


def _take_artefacts(folder: Path) -> None:
    for path in folder.glob("modules/*/*.cwasm"):
        compiled[path.relative_to(folder)] = path.read_bytes()


def config(name: str, **fields: Any) -> AgentConfig:
    return parse_agent_config({"name": name, **fields})


async def deploy(node: Node, name: str, wasm: bytes | None = None, **fields: Any) -> AgentInfo:
    return await node.agents.deploy(guest("quiet") if wasm is None else wasm, config(name, **fields))


async def until(node: Node, happened: Callable[[], bool]) -> None:
    """Whatever happens is an event; look again at each."""
    with node.bus.tap(10_000) as events, trio.fail_after(PATIENCE):
        while not happened():
            await events.receive()


def log(node: Node, name: str, stream: str = "") -> list[str]:
    return [line.text for line in node.agents.logs([name], None, 1000) if stream in ("", line.stream)]


def states(node: Node) -> dict[str, str]:
    return {info.name: info.status for info in node.agents.list(None, 1000, 0)[0]}


async def tell(node: Node, name: str, lines: int, **fields: object) -> list[str]:
    """One message, and what the agent has written when there are so many lines of it."""
    node.bus.post(message(name, **fields))
    await until(node, lambda: len(log(node, name, "out")) >= lines)
    return log(node, name, "out")


async def eventually(happened: Callable[[], bool | Awaitable[bool]]) -> None:
    """Until it is so, where nobody tells."""
    with trio.fail_after(PATIENCE):
        while True:
            outcome = happened()
            if outcome if isinstance(outcome, bool) else await outcome:
                return
            await trio.sleep(0.001)
