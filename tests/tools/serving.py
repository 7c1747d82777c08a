"""An MCP server over real HTTP on this machine, and a desk that calls it."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from mcp.server import MCPServer

from caxton.core.config_mcp import McpConfig, McpServer
from caxton.tools import Desk, open_tools

PATIENCE = 20.0


@asynccontextmanager
async def open_http(server: MCPServer, *, is_old: bool = False, port: int = 0) -> AsyncIterator[str]:
    """The server's URL. An old one knows nothing of the protocol since 2026."""
    app = server.streamable_http_app()

    async def old(scope: Any, receive: Any, send: Any) -> None:
        if dict(scope.get("headers", ())).get(b"mcp-protocol-version", b"") >= b"2026":
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body"})
        else:
            await app(scope, receive, send)

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.graceful_timeout = config.shutdown_timeout = 0.1
        config.errorlog = config.accesslog = None
        ended = trio.Event()
        async with trio.open_nursery() as nursery:
            url = await nursery.start(_serve, old if is_old else app, config, ended)
            yield f"{url}/mcp"
            ended.set()


async def _serve(app: Any, config: Config, ended: trio.Event, *, task_status: trio.TaskStatus[str]) -> None:
    started: trio.TaskStatus[list[str]] = _First(task_status)  # type: ignore[assignment]
    await serve(app, config, shutdown_trigger=ended.wait, task_status=started, mode="asgi")


class _First:
    """hypercorn tells all its addresses."""

    def __init__(self, task_status: trio.TaskStatus[str]) -> None:
        self._task_status = task_status

    def started(self, addresses: list[str]) -> None:
        self._task_status.started(addresses[0])


class Notes:
    """What happened, in order: what a tool notes, or the events of a desk."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._more = trio.Event()

    def put(self, *what: Any) -> None:
        self.all.append(what[0] if len(what) == 1 else what)
        self._more.set()

    async def wait(self, number: int) -> list[Any]:
        with trio.fail_after(PATIENCE):
            while len(self.all) < number:
                self._more = trio.Event()
                await self._more.wait()
        return self.all

    async def next(self, name: str) -> dict[str, Any]:
        """The next event of this type from here on: its members."""
        seen = len(self.all)
        while True:
            await self.wait(seen + 1)
            if self.all[seen][0] == name:
                data: dict[str, Any] = self.all[seen][1]
                return data
            seen += 1


@asynccontextmanager
async def open_desk(*servers: McpServer, **keys: Any) -> AsyncIterator[tuple[Desk, Notes]]:
    """The desk, and the events that it emits."""
    events = Notes()
    with trio.fail_after(PATIENCE):
        async with open_tools(McpConfig(enabled=True, servers=servers, **keys), events.put) as desk:
            yield desk, events
