"""The way to one MCP server: a program's standard streams, or HTTP.

Rule 1: nothing of our environment goes along: a program gets PATH, HOME and the like and its own `env`; HTTP looks at
        no variable for proxies, and redirects stay at the server's address (the SDK sees to it).
Rule 2: what a program writes to standard error is in our log (debug), and its last line says why when it ends.
Rule 3: leaving ends the program in MCP's order (the SDK's): standard input closed, 2 s, SIGTERM, 2 s, SIGKILL.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import attrs
import trio

from caxton.core.config_mcp import McpServer

if TYPE_CHECKING:
    import httpx2
    from mcp.client._transport import ReadStream, TransportStreams
    from mcp.shared.message import SessionMessage

    Received = SessionMessage | Exception

LINE = 8192  # bytes of a line of standard error
CONNECTING = 10.0  # seconds for a connection
SILENCE = 300.0  # seconds without a byte, beyond the longest call, after which nobody is there

log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Said:
    """What was last heard beside the protocol: why a connection ended, when the protocol does not know."""

    words: str = ""


@asynccontextmanager
async def open_program(server: McpServer, said: Said, on_end: Callable[[], None]) -> AsyncIterator["TransportStreams"]:
    """*on_end* is called when the program has closed its standard output."""
    from mcp.client.stdio import StdioServerParameters, stdio_client

    ours, theirs = os.pipe()
    parameters = StdioServerParameters(command=server.command, args=[*server.args], env=dict(server.env))
    async with trio.lowlevel.FdStream(ours) as errors, trio.open_nursery() as reading:
        with os.fdopen(theirs, "w") as errlog:
            reading.start_soon(_read_errors, server.name, errors, said)
            async with stdio_client(parameters, errlog) as (read, write):
                yield _Watched(read, on_end), write
        reading.cancel_scope.cancel()


async def _read_errors(name: str, errors: trio.lowlevel.FdStream, said: Said) -> None:
    rest = b""
    async for chunk in errors:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE:
            lines, rest = [*lines, rest], b""
        for line in lines:
            if text := line[:LINE].decode(errors="replace").strip():
                said.words = text
                log.debug("%s: %s", name, text)


class _Watched:
    """A stream that tells when it ends."""

    def __init__(self, stream: "ReadStream[Received]", on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._on_end = on_end

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> "Received":
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._on_end()
            raise

    async def receive(self) -> "Received":
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> "_Watched":
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, traceback)


@asynccontextmanager
async def open_http(server: McpServer, said: Said, event_size: int) -> AsyncIterator["TransportStreams"]:
    """*event_size*: bytes of one server-sent event at most."""
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    async def note(response: "httpx2.Response") -> None:
        if response.status_code >= 400 and response.request.method == "POST":
            said.words = f"HTTP {response.status_code} {response.reason_phrase}"

    async with httpx2.AsyncClient(
        headers=dict(server.headers),
        timeout=httpx2.Timeout(CONNECTING, read=server.timeout + SILENCE),  # who calls has a time of his own
        trust_env=False,
        event_hooks={"response": [note]},
    ) as client:
        async with streamable_http_client(server.url, http_client=client, max_sse_event_size=event_size) as streams:
            yield streams
