"""One MCP server: connected, its tools listed, and connected again when it is gone.

    connecting ──► connected ──► failing ──► connected ──► …

Rule 1: `run` makes connections, and nobody else does. A call that finds its connection gone tells it, and fails.
Rule 2: tools are listed anew when the server says so, and every LOOK_AGAIN: who does not say so is found out, and
        whether it still answers.
Rule 3: mcp is imported when a server is: it belongs to the extra `caxton[mcp]`.
Rule 4: a server that asks back (sampling, elicitation, roots) is told that nobody answers: an agent is no person.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, Literal, cast

import attrs
import msgspec
import trio

import caxton
from caxton.core.config_mcp import McpServer
from caxton.core.errors import ToolFailed, ToolServerFailed, ToolUnavailable
from caxton.core.retry import backoff
from caxton.core.tools import words_of
from caxton.tools.transport import Said, open_http, open_program

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client.session import IncomingMessage

COMING_UP = 30.0  # seconds for a connection and its first list of tools
LOOK_AGAIN = 30.0  # seconds between two lists of tools
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds before a new connection
STEADY = 60.0  # a connection that held so long was no failure
CLOSED = "Connection closed"  # the SDK's word for it
EVENT = 8  # times the largest answer: it may be there as text and as structured content, and escaped
WORDS = 1000  # characters of what a server says of an error

Emit = Callable[[str, dict[str, Any]], None]  # an event: its type, and its members as JSON
State = Literal["connecting", "connected", "failing"]

log = logging.getLogger(__name__)


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str
    input_schema: dict[str, Any]  # Any: JSON Schema


@attrs.define(eq=False)
class Server:
    config: McpServer
    max_result_size: int
    _emit: Emit
    state: State = "connecting"
    why: str = ""  # it is not connected
    since: float = attrs.field(factory=time.time)
    connections: int = 0
    protocol: str = ""
    tools: Mapping[str, Tool] = attrs.field(factory=dict)
    running: int = 0  # calls
    settled: trio.Event = attrs.field(factory=trio.Event)  # it is connected, or failing
    _client: "Client | None" = None
    _slots: trio.Semaphore = attrs.field(init=False)
    _news: trio.Event = attrs.field(factory=trio.Event)
    _is_gone: bool = False
    _rng: Random = attrs.field(factory=Random)

    @_slots.default
    def _as_many_as_configured(self) -> trio.Semaphore:
        return trio.Semaphore(self.config.max_concurrent)

    # -- the connection --

    async def run(self) -> None:
        """For as long as the node is open."""
        attempt = 0
        while True:
            began, connections, said = trio.current_time(), self.connections, Said()
            why = "it closed the connection"
            try:
                await self._stay_connected(said)
            except* Exception as errors:
                # whatever a server does is its state, and no end of the node
                why = _reason(errors)
            self._to("failing", f"{why}: {said.words}" if said.words else why)
            if self.connections > connections and trio.current_time() - began > STEADY:
                attempt = 0
            await trio.sleep(backoff(attempt, FIRST_WAIT, 2.0, LONGEST_WAIT, self._rng))
            attempt += 1

    async def _stay_connected(self, said: Said) -> None:
        from mcp import Client
        from mcp_types import Implementation

        self._is_gone = False
        transport = (
            open_program(self.config, said, self.gone)
            if self.config.command
            else open_http(self.config, said, EVENT * self.max_result_size)
        )
        with trio.fail_after(COMING_UP) as patience:
            us = Implementation(name="caxton", version=caxton.__version__)
            async with Client(transport, message_handler=self._heard, client_info=us) as client:
                await self._list(client)
                patience.deadline = inf
                said.words = ""
                self.protocol = client.protocol_version
                self.connections += 1
                async with self._offered(client):
                    await self._watch(client)

    @asynccontextmanager
    async def _offered(self, client: "Client") -> AsyncIterator[None]:
        """Calls may be made meanwhile."""
        async with trio.open_nursery() as listening:
            listening.start_soon(self._listen, client)
            self._client = client
            self._to("connected", "")
            try:
                yield
            finally:
                self._client = None
                listening.cancel_scope.cancel()

    async def _watch(self, client: "Client") -> None:
        """Until the server is gone."""
        while not self._is_gone:
            with trio.move_on_after(LOOK_AGAIN):
                await self._news.wait()
            self._news = trio.Event()
            if not self._is_gone:
                with trio.fail_after(COMING_UP):
                    await self._list(client)

    async def _list(self, client: "Client") -> None:
        found: dict[str, Tool] = {}
        cursor: str | None = None
        while True:
            page = await client.list_tools(cursor=cursor, cache_mode="refresh")
            for tool in page.tools:
                if not self.config.capabilities or any(
                    fnmatchcase(tool.name, pattern) for pattern in self.config.capabilities
                ):
                    found[tool.name] = Tool(
                        name=tool.name, description=tool.description or "", input_schema=tool.input_schema
                    )
            cursor = page.next_cursor
            if cursor is None:
                break
        before, self.tools = self.tools, found
        if self.state != "connecting" and before.keys() != found.keys():
            log.info("the tool server %s has other tools: %s", self.config.name, ", ".join(sorted(found)) or "none")
            data = {"added": sorted(found.keys() - before), "removed": sorted(before.keys() - found)}
            self._emit("tool.list_changed", {"server": self.config.name, **data})

    async def _heard(self, message: "IncomingMessage") -> None:
        from mcp_types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self._news.set()
        await trio.lowlevel.checkpoint()

    async def _listen(self, client: "Client") -> None:
        """What `_heard` is to servers before 2026."""
        from mcp import MCPError
        from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost

        while True:
            try:
                async with client.listen(tools_list_changed=True) as changes:
                    async for _ in changes:
                        self._news.set()
            except ListenNotSupportedError:
                return
            except (MCPError, SubscriptionLost) as error:
                log.debug("%s: no news of its tools: %s", self.config.name, error)
            await trio.sleep(LOOK_AGAIN)

    def gone(self) -> None:
        """Somebody found the connection closed."""
        self._is_gone = True
        self._news.set()

    def _to(self, state: State, why: str) -> None:
        if (state, why) != (self.state, self.why):
            self.state, self.why, self.since = state, why, time.time()
            if state == "connected":
                log.info("the tool server %s is connected", self.config.name)
                self._emit("tool.server_connected", {"server": self.config.name})
            else:
                log.warning("the tool server %s is not connected: %s", self.config.name, why)
                self._emit("tool.server_failed", {"server": self.config.name, "reason": why})
        self.settled.set()

    # -- calls --

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """One of the calls that may be made at a time."""
        async with self._slots:
            self.running += 1
            try:
                yield
            finally:
                self.running -= 1

    def check_connected(self) -> None:
        if self._client is None:
            unsaid = "it has not answered yet" if self.state == "connecting" else "it was a moment ago"
            raise ToolUnavailable(
                f"the tool server {self.config.name!r} is not connected: {self.why or unsaid}",
                hint="caxton tool list",
            )

    # Any: JSON
    async def call(self, tool: str, arguments: dict[str, Any], meta: Mapping[str, str]) -> dict[str, Any]:
        """MCP's result. Raises ToolFailed, ToolServerFailed, ToolUnavailable.

        Cancelled, it tells the server so.
        """
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED, INVALID_PARAMS, METHOD_NOT_FOUND, RequestParamsMeta

        self.check_connected()
        assert self._client is not None
        name = f"{self.config.name}.{tool}"
        try:
            # the SDK's type names one key, and MCP allows any
            answer = await self._client.call_tool(tool, arguments, meta=cast("RequestParamsMeta", meta) or None)
        except MCPError as error:
            words = error.message[:WORDS]
            if (error.code, words) == (CONNECTION_CLOSED, CLOSED):  # the code alone may speak of one request
                self.gone()
            elif error.code in (INVALID_PARAMS, METHOD_NOT_FOUND):
                raise ToolFailed(f"{name}: {words}") from None
            raise ToolServerFailed(f"{name}: {words}") from error
        except (ValueError, RuntimeError) as error:
            # of the SDK: not what the protocol says, or not what the tool's own output schema says
            raise ToolServerFailed(f"{name}: its answer is wrong: {str(error)[:WORDS]}") from error
        result: dict[str, Any] = answer.model_dump(by_alias=True, mode="json", exclude_none=True)
        if answer.is_error:
            raise ToolFailed(f"{name}: {words_of(result)[:WORDS] or 'it failed, and does not say why'}")
        return result


def _reason(error: BaseException) -> str:
    """What the first error of a group says."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, trio.TooSlowError):
        return f"no answer within {COMING_UP:g} s"
    return str(error)[:WORDS] or type(error).__name__
