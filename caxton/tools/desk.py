"""Where calls of tools come in: who may, how many at a time, whether there is sense in it; then the call.

    a guest's request ─► name and permission ─► breaker ─► its turn ─► breaker, again ─► server ─► answer

Rule 1: every call is answered once, whatever happens; a call whose guest has gone is cancelled, at the server too.
Rule 2: there is a circuit breaker for each agent and server: an agent that asks too much of a server takes it away from
        nobody else. What counts is a server that does not answer; a tool that says no has answered.
Rule 3: the time of a call is the server's `timeout`, or less when the request says so; waiting for its turn is in it,
        and in the request's also for a server that comes up.
Rule 4: what an agent may do is asked for each call, so that a change holds for the next.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from math import inf
from typing import Any, Literal

import attrs
import msgspec
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import Scheduler
from caxton.core.breaker import Breaker
from caxton.core.config_mcp import McpConfig
from caxton.core.errors import (
    CaxtonError,
    InvalidConfig,
    InvalidRequest,
    NotFound,
    ToolFailed,
    ToolServerFailed,
    ToolUnavailable,
)
from caxton.core.manifest import AgentConfig, CircuitBreaker
from caxton.core.tools import ToolRequest, answer_of, check_allowed, decode_request, find_tool, forbidden
from caxton.core.views import BreakerInfo, ToolInfo, ToolServerInfo
from caxton.tools.server import Emit, Server

SDK = "2."  # the major version of mcp that this is written for
GOES_ALONG = ("traceparent", "tracestate", "conversation_id")  # of the message that the guest handles

log = logging.getLogger(__name__)

NameOf = Callable[[int], str]  # of the agent behind a port; empty: nobody's
ConfigOf = Callable[[str], AgentConfig | None]
Code = Literal["unavailable", "failed", "invalid-argument"]


@asynccontextmanager
async def open_tools(config: McpConfig, emit: Emit) -> AsyncIterator["Desk"]:
    """Connections are made meanwhile: a call waits for the first attempt. Whoever enables it has asked `check_sdk`."""
    async with trio.open_nursery() as connections, trio.open_nursery() as calls:
        servers = config.servers if config.enabled else ()
        desk = Desk(config, {one.name: Server(one, config.max_result_size, emit) for one in servers}, emit, calls)
        for server in desk.servers.values():
            connections.start_soon(server.run)
        yield desk
        calls.cancel_scope.cancel()
        connections.cancel_scope.cancel()


def check_sdk() -> None:
    """Raises InvalidConfig."""
    try:
        found = version("mcp")
    except PackageNotFoundError:
        found = ""
    if not found.startswith(SDK):
        what = f"mcp {found} is installed, and {SDK}x is needed" if found else "the MCP client is not installed"
        raise InvalidConfig(f"integrations.mcp.enabled: {what}", hint="pip install 'caxton[mcp]'")


@attrs.define(eq=False)
class Caller:
    """What is held of one agent."""

    name: str
    slots: trio.CapacityLimiter
    breakers: dict[str, Breaker] = attrs.field(factory=dict)  # by server


@attrs.define(eq=False)
class Desk:
    config: McpConfig
    servers: Mapping[str, Server]
    _emit: Emit
    _calls: trio.Nursery
    name_of: NameOf = lambda port: ""
    config_of: ConfigOf = lambda name: None
    _callers: dict[str, Caller] = attrs.field(factory=dict)
    _running: dict[int, trio.CancelScope] = attrs.field(factory=dict)  # by port: a guest waits for one call at a time

    # -- guests --

    def answer_call(self, scheduler: Scheduler, port: int, call: int, request: bytes, message: Envelope | None) -> None:
        """Begin what will answer EVENT_CALL of `mcp_call`."""
        self.drop(port)
        scope = self._running[port] = trio.CancelScope()
        self._calls.start_soon(self._answer, scope, scheduler, port, call, request, message)

    def drop(self, port: int) -> None:
        """The guest behind the port is gone: nobody waits for its call."""
        if (scope := self._running.pop(port, None)) is not None:
            scope.cancel()

    async def _answer(
        self,
        scope: trio.CancelScope,
        scheduler: Scheduler,
        port: int,
        call: int,
        request: bytes,
        message: Envelope | None,
    ) -> None:
        result, error = b"", ""
        code: Code = "unavailable"
        with scope:
            try:
                result = await self._for_guest(port, request, message)
            except CaxtonError as failure:
                error, code = told(failure)
            except Exception as failure:
                # the guest must not wait for ever for a mistake of ours
                log.exception("a call of a tool went wrong")
                error, code = f"internal error: {type(failure).__name__}", "failed"
        if self._running.get(port) is scope:
            del self._running[port]
        if not scope.cancelled_caught:
            scheduler.complete_call(port, call, result, error, code)

    async def _for_guest(self, port: int, text: bytes, message: Envelope | None) -> bytes:
        request = decode_request(text)
        name = self.name_of(port)
        if (agent := self.config_of(name)) is None:
            raise ToolUnavailable("the agent is being deleted")
        if not self.config.enabled:
            raise ToolUnavailable("this server has no tools: integrations.mcp.enabled is false")
        if not agent.tools:
            raise forbidden(name, (), request.tool)  # and it is not told what there is
        caller = self._callers.get(name)
        if caller is None:
            caller = self._callers[name] = Caller(name, trio.CapacityLimiter(self.config.max_concurrent_per_agent))
        meta = {"caxton/agent": name}
        for key in GOES_ALONG if message is not None else ():
            if value := getattr(message, key):
                meta[key if key.startswith("trace") else f"caxton/{key}"] = value
        return await self._call(caller, agent.tools, self._limits(name), request, meta)

    # -- operators --

    # Any: JSON
    async def call(self, name: str, arguments: dict[str, Any], timeout_ms: float = 0) -> Any:
        """Call a tool for somebody who may call any, past the breakers: MCP's content and structured content."""
        request = ToolRequest(tool=name, arguments=arguments, timeout_ms=timeout_ms, full=True)
        nobody = Caller("", trio.CapacityLimiter(1))
        return msgspec.json.decode(await self._call(nobody, None, CircuitBreaker(), request, {}))

    @property
    def is_enabled(self) -> bool:
        return self.config.enabled

    def list(self) -> tuple[list[ToolServerInfo], list[BreakerInfo]]:
        """The servers with their tools, and the breakers of all agents."""
        breakers = [one for name in sorted(self._callers) for one in self.breakers(name)]
        return [_shown(server) for server in self.servers.values()], breakers

    def breakers(self, agent: str) -> Sequence[BreakerInfo]:
        """Of the servers that the agent has called."""
        caller, timeout = self._callers.get(agent), self._limits(agent).timeout
        now = trio.current_time()
        return [
            BreakerInfo(
                agent_id=agent,
                server=name,
                state=breaker.state.value,
                failures=breaker.failures,
                retry_after=round(breaker.wait(now, timeout), 3),
            )
            for name, breaker in sorted(caller.breakers.items() if caller else ())
        ]

    def change(self, config: McpConfig) -> None:
        """Other limits; the servers stay as they are."""
        self.config = config
        for caller in self._callers.values():
            caller.slots.total_tokens = config.max_concurrent_per_agent
        for server in self.servers.values():
            server.max_result_size = config.max_result_size

    def forget(self, agent: str) -> None:
        """It was deleted."""
        self._callers.pop(agent, None)

    # -- a call --

    async def _call(
        self,
        caller: Caller,
        allowed: Sequence[str] | None,  # None: all
        limits: CircuitBreaker,
        request: ToolRequest,
        meta: Mapping[str, str],
    ) -> bytes:
        deadline = trio.current_time() + (request.timeout_ms / 1000 or inf)
        server, tool = await self._find(request.tool, deadline)
        deadline = min(deadline, trio.current_time() + server.config.timeout)
        if allowed is not None:
            check_allowed(caller.name, allowed, server.config.name, tool, self._offers())
        server.check_connected()
        breaker = caller.breakers.setdefault(server.config.name, Breaker())
        async with AsyncExitStack() as turn:
            _check_closed(breaker, server, limits)
            with trio.move_on_at(deadline) as waiting:
                await turn.enter_async_context(caller.slots)
                await turn.enter_async_context(server.slot())
            if waiting.cancelled_caught:
                raise ToolUnavailable(f"{request.tool}: too many calls at a time; its turn did not come in time")
            _check_closed(breaker, server, limits)  # it may have opened meanwhile
            number = breaker.take(trio.current_time(), limits.timeout)
            try:
                result = await _ask(server, tool, request, meta, deadline)
            except ToolServerFailed as error:
                if breaker.failed(number, trio.current_time(), limits.threshold):
                    self._opened(caller.name, server.config.name, breaker, limits, error)
                raise
            except ToolFailed:
                self._worked(caller.name, server.config.name, breaker, number)
                raise
            except BaseException:
                breaker.dropped(number)
                raise
            self._worked(caller.name, server.config.name, breaker, number)
        answer, most = msgspec.json.encode(answer_of(result, request.full)), self.config.max_result_size
        if len(answer) > most:
            raise ToolFailed(
                f"{request.tool}: its answer has {len(answer)} bytes, and {most} are the most",
                hint="raise integrations.mcp.max_result_size",
            )
        return answer

    async def _find(self, asked: str, deadline: float) -> tuple[Server, str]:
        """The tool of this name, once it is known who has it."""
        named = self.servers.get(asked.partition(".")[0]) if "." in asked else None
        with trio.move_on_at(deadline):
            for server in [named] if named else self.servers.values():
                await server.settled.wait()
        if named is not None and not named.tools:
            named.check_connected()
        try:
            name, tool = find_tool(asked, self._offers())
        except NotFound as error:
            away = [name for name, server in self.servers.items() if server.state != "connected"]
            error.hint = f"not connected: {', '.join(away)}" if away else "caxton tool list"
            raise
        return self.servers[name], tool

    def _limits(self, agent: str) -> CircuitBreaker:
        config = self.config_of(agent)
        return (config.circuit_breaker if config else None) or self.config.circuit_breaker

    def _offers(self) -> Mapping[str, Mapping[str, object]]:
        return {name: server.tools for name, server in self.servers.items()}

    def _worked(self, agent: str, server: str, breaker: Breaker, number: int) -> None:
        if breaker.succeeded(number):
            log.info("the circuit breaker of agent %s and the tool server %s has closed", agent, server)
            self._emit("tool.breaker_closed", {"agent_id": agent, "server": server})

    def _opened(
        self, agent: str, server: str, breaker: Breaker, limits: CircuitBreaker, error: ToolServerFailed
    ) -> None:
        log.warning("the circuit breaker of agent %s and the tool server %s has opened: %s", agent, server, error)
        data = {"failures": breaker.failures, "retry_after": limits.timeout, "reason": error.message}
        self._emit("tool.breaker_opened", {"agent_id": agent, "server": server, **data})


async def _ask(
    server: Server, tool: str, request: ToolRequest, meta: Mapping[str, str], deadline: float
) -> Mapping[str, Any]:
    left = deadline - trio.current_time()
    with trio.move_on_at(deadline):
        return await server.call(tool, request.arguments or {}, meta)
    raise ToolServerFailed(f"{request.tool}: no answer within {left:.3g} s")


def _check_closed(breaker: Breaker, server: Server, limits: CircuitBreaker) -> None:
    if wait := breaker.wait(trio.current_time(), limits.timeout):
        calls = "1 call" if breaker.failures == 1 else f"{breaker.failures} calls"
        raise ToolUnavailable(
            f"the circuit breaker of the tool server {server.config.name!r} is {breaker.state.value}: "
            f"{calls} in a row failed; try again in {wait:.1f} s"
        )


def told(error: CaxtonError) -> tuple[str, Code]:
    """What a guest is told of an error; the first 240 bytes are what it can read."""
    text = error.message + (f"; {error.hint}" if error.hint else "")
    if isinstance(error, InvalidRequest):
        return text, "invalid-argument"
    return text, "failed" if isinstance(error, ToolFailed | ToolServerFailed) else "unavailable"


def _shown(server: Server) -> ToolServerInfo:
    name, config = server.config.name, server.config
    return ToolServerInfo(
        name=name,
        address=config.url or config.command,
        state=server.state,
        reason=server.why,
        since=server.since,
        connections=server.connections,
        protocol=server.protocol,
        running=server.running,
        tools=tuple(
            ToolInfo(name=f"{name}.{tool.name}", description=tool.description, input_schema=tool.input_schema)
            for tool in server.tools.values()
        ),
    )
