"""Servers that are programs: started, started again, and ended in order."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from caxton.core.config_mcp import McpServer
from caxton.core.errors import ToolServerFailed, ToolUnavailable
from caxton.tools import Desk, server
from tests.tools.serving import Notes, open_desk

HERE = Path(__file__).parents[2]


@asynccontextmanager
async def open_program(notes: Path, *arguments: str, **fields: Any) -> AsyncIterator[tuple[Desk, Notes]]:
    args = ("-m", "tests.tools.mcp_server", str(notes), *arguments)
    variables = {"PYTHONPATH": str(HERE), "GIVEN": "yes"}
    server = McpServer(name="demo", command=sys.executable, args=args, env=variables, **fields)
    async with open_desk(server) as (desk, events):
        yield desk, events


def started(notes: Path) -> list[int]:
    return [int(line.split()[1]) for line in notes.read_text().splitlines() if line.startswith("started")]


def is_there(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.mark.slow
async def test_a_program_is_called_dies_comes_back_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = tmp_path / "notes"
    monkeypatch.setenv("CAXTON_SECRET", "x")
    monkeypatch.setattr(server, "FIRST_WAIT", 0.2)  # long enough to look at it meanwhile
    async with open_program(notes) as (desk, events):
        names = (await desk.call("environment", {}))["structuredContent"]["result"]
        assert "GIVEN" in names
        assert "PATH" in names
        assert "CAXTON_SECRET" not in names
        with trio.move_on_after(0.05):
            await desk.call("hangs", {})
        with pytest.raises(ToolServerFailed, match=r"demo\.dies: Connection closed"):
            await desk.call("dies", {})
        failed = await events.next("tool.server_failed")
        assert failed == {"server": "demo", "reason": "it closed the connection: out of paper"}
        with pytest.raises(ToolUnavailable, match="not connected: it closed the connection"):
            await desk.call("demo.add", {"a": 1, "b": 2})
        await events.next("tool.server_connected")
        assert (await desk.call("add", {"a": 1, "b": 2}))["structuredContent"] == {"result": 3}
        # dead though nobody calls it
        first, second = started(notes)
        assert not is_there(first)
        os.kill(second, 9)
        await events.next("tool.server_failed")
        await events.next("tool.server_connected")
        third = started(notes)[2]
    assert not is_there(third)
    # its input was closed, and it ended by itself
    assert notes.read_text().splitlines()[1:3] == ["hangs", "cancelled"]
    assert notes.read_text().splitlines()[-1] == "ended"
    assert "SIGTERM" not in notes.read_text()


# takes no notice of its input, and of SIGTERM only by noting it
MUTE = """
import os, signal, sys
notes = open(sys.argv[1], "w", buffering=1)
signal.signal(signal.SIGTERM, lambda *_: (notes.write("SIGTERM\\n"), os._exit(1)))
notes.write(f"{os.getpid()}\\n")
while True:
    signal.pause()
"""


@pytest.mark.slow
async def test_a_program_that_does_not_listen_is_ended_all_the_same(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    os.mkfifo(notes)
    async with open_desk(McpServer(name="demo", command=sys.executable, args=("-c", MUTE, str(notes)))) as (desk, _):
        written = await trio.to_thread.run_sync(open, notes)  # when the program opens it
        pid = int(await trio.to_thread.run_sync(written.readline))
        with pytest.raises(ToolUnavailable, match="is not connected: it has not answered yet"):
            await desk.call("demo.add", {}, 10)
    with written:
        assert written.read() == "SIGTERM\n"
    assert not is_there(pid)


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    async with open_desk(McpServer(name="demo", command=str(tmp_path / "nothing"))) as (desk, events):
        reason = (await events.next("tool.server_failed"))["reason"]
        assert reason.startswith("[Errno 2] No such file or directory")
        with pytest.raises(ToolUnavailable, match="No such file"):
            await desk.call("demo.add", {})


@pytest.mark.slow
async def test_a_program_that_fails_at_its_start_says_why() -> None:
    program = "import sys; sys.exit('no licence found')"
    async with open_desk(McpServer(name="demo", command=sys.executable, args=("-c", program))) as (_, events):
        reason = (await events.next("tool.server_failed"))["reason"]
        assert reason == "Connection closed: no licence found"
