"""A stage: a real server without network and disk to speak of, with agents in Python or WebAssembly, in virtual time.

Rule 1: what runs is the product (node, router, scheduler, bus); a Python agent is an attached agent whose handler is a
        function.
Rule 2: time is a `trio.testing.MockClock` that runs as usual and is put forward by `passes` and `expect`, in steps no
        larger than to what is due next, and only when nothing is left to do: an hour takes as long as its events.
Rule 3: what agents do at native speed reads the real clock (`current_timestamp`, `expires_at`, `reply_by` of messages
        that wait in a mailbox); timers that agents set, leases and everything in Python follow virtual time.
"""

import functools
import inspect
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import attrs
import msgspec
import trio
import trio.testing

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import Scheduler
from caxton.bus.streams import Session
from caxton.core.agent import AgentState
from caxton.core.config import load_config
from caxton.core.errors import CaxtonError
from caxton.core.manifest import parse_agent_config
from caxton.core.protocols import find
from caxton.node import Node, open_node
from caxton.testing.messages import Message, Say
from caxton.testing.transcript import Conversation, Coverage, replay

T = TypeVar("T")

CUSHION = 0.001  # real seconds in which no task has anything to do
STEPS = 50  # of a time that passes, at most
SLEEP = 0.05  # real seconds after which a guest that waits is one that sleeps; runtimes wait for moments of their own
PATIENCE = 30.0  # real seconds for the world to come to rest
HISTORY = 1000  # messages of one look

FOR_EVER = float("inf")
Tool = Callable[[Any], Any]  # Any: JSON; it may be async

Answer = Say | Iterable[Say] | None
Handler = Callable[[Message, "Actor"], Answer | Awaitable[Answer]]


class ToolCall(msgspec.Struct):
    """What a guest asks for. Any: JSON."""

    tool: str = ""
    arguments: Any = None
    timeout_ms: float = 0


def run(test: Callable[..., Awaitable[T]], *arguments: Any) -> T:  # Any: the test's own
    """Run an async function in virtual time."""

    async def body() -> T:
        return await test(*arguments)

    try:
        return trio.run(body, clock=trio.testing.MockClock(rate=1.0))
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


def virtual_time(test: Callable[..., Awaitable[T]]) -> Callable[..., T]:
    """Make an async test one that any runner can call."""

    @functools.wraps(test)
    def called(*arguments: Any, **named: Any) -> T:  # Any: the test's own
        return run(functools.partial(test, *arguments, **named))

    return called


@attrs.define(eq=False)
class Actor:
    """An agent in Python. Without a handler it only listens: the test speaks for it."""

    name: str
    _stage: "Stage"
    _session: Session
    _handler: Handler | None
    heard: list[Message] = attrs.field(factory=list)
    _unread: list[Message] = attrs.field(factory=list)

    # Any: JSON, here and below
    def send(self, receiver: str | list[str], performative: str, content: Any = None, **fields: Any) -> str:
        """Send a message; its id. Raises what the server says of it."""
        return self.say(Say({"performative": performative, "receiver": receiver, "content": content, **fields}))

    def say(self, said: Say) -> str:
        (outcome,) = self._session.send([msgspec.json.encode(said.fields)])
        if isinstance(outcome, CaxtonError):
            raise outcome
        return outcome.message_id

    def say_fields(self, fields: dict[str, Any]) -> str:
        """Send a message that is given as its fields."""
        return self.say(Say(fields))

    def reply(self, message: Message, performative: str, content: Any = None, **fields: Any) -> str:
        return self.say(message.reply(performative, content, **fields))

    async def expect(
        self,
        performative: str = "",
        *,
        sender: str = "",
        conversation_id: str = "",
        where: Callable[[Message], bool] = lambda message: True,
        within: float = 5.0,
    ) -> Message:
        """The first message not expected before that is like this; AssertionError when none comes in virtual time."""
        wanted = {"performative": performative, "sender": sender, "conversation_id": conversation_id}
        wanted = {key: value for key, value in wanted.items() if value}

        def take() -> Message | None:
            for message in self._unread:
                if all(getattr(message, key) == value for key, value in wanted.items()) and where(message):
                    self._unread.remove(message)
                    return message
            return None

        found = await self._stage.wait_for(take, within)
        if found is None:
            asked = ", ".join(f"{key}={value!r}" for key, value in wanted.items()) or "a message"
            had = "".join(f"\n  {message}" for message in self.heard) or "\n  nothing"
            raise AssertionError(f"{self.name} did not hear {asked} within {within:g} s; it has heard:{had}")
        return found

    async def expect_nothing(self, within: float = 5.0) -> None:
        """No message that was not expected before, in this time."""
        found = await self._stage.wait_for(lambda: self._unread[0] if self._unread else None, within)
        if found is not None:
            raise AssertionError(f"{self.name} should have heard nothing, and heard {found}")

    async def listen(self) -> None:
        """Take what comes, for as long as the stage is open."""
        async with trio.open_nursery() as handlers:
            while True:
                for envelope in await self._session.receive(64):
                    handlers.start_soon(self._handle, envelope)

    async def _handle(self, envelope: Envelope) -> None:
        message = Message.of(envelope)
        self.heard.append(message)
        self._session.ack([message.message_id])  # now: a handler may take longer than messaging.delivery_timeout
        try:
            if self._handler is None:
                self._unread.append(message)
                answers: Answer = None
            else:
                result = self._handler(message, self)
                answers = await result if inspect.isawaitable(result) else result
            for said in (answers,) if isinstance(answers, Say) else answers or ():
                self.say(said)
        except Exception as error:
            # it must reach the test, not end the server's tasks in the middle of something
            error.add_note(f"in the handler of {self.name!r}, over {message}")
            self._stage.errors.append(error)


@attrs.define(eq=False)
class Stage:
    """Everything that a test says and sees."""

    node: Node
    _actors: trio.Nursery
    _clock: trio.testing.MockClock
    _ahead: list[tuple[float, float]] = attrs.field(
        factory=lambda: [(0.0, 0.0)]
    )  # real time, and how much virtual is ahead from then
    _by_name: dict[str, Actor] = attrs.field(factory=dict)
    errors: list[Exception] = attrs.field(factory=list)
    _tools: dict[str, Tool] = attrs.field(factory=dict)
    _calling: set[int] = attrs.field(factory=set)  # ports whose guest waits for a fake tool

    # -- given --

    async def agent(self, name: str, handler: Handler | None = None, **config: Any) -> Actor:  # Any: see AgentConfig
        """An agent in Python: *handler* takes a message and the agent, and gives its answers."""
        await self.node.agents.attach(parse_agent_config({"name": name, **config}))
        actor: Actor = await self._actors.start(self._attend, name, handler)
        return actor

    async def _attend(
        self, name: str, handler: Handler | None, *, task_status: trio.TaskStatus[Actor] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with self.node.bus.stream(name) as session:
            actor = self._by_name[name] = Actor(name, self, session, handler)
            task_status.started(actor)
            await actor.listen()

    async def wasm(self, name: str, module: bytes | str | Path, **config: Any) -> None:
        """An agent in WebAssembly, from a file or its bytes."""
        data = module if isinstance(module, bytes) else await trio.Path(module).read_bytes()
        await self.node.agents.deploy(data, parse_agent_config({"name": name, **config}))

    def tool(self, name: str, answer: Tool) -> None:
        """A fake tool: *answer* takes the arguments and gives JSON, or raises what the agent is told. It may sleep."""
        self._tools[name] = answer

    def answer_call(
        self, scheduler: Scheduler, port: int, call: int, name: str, request: bytes, message: Envelope | None
    ) -> None:
        """In place of the server's: what guests call goes to the fakes."""
        try:
            asked = msgspec.json.decode(request, type=ToolCall)
        except msgspec.DecodeError as error:
            scheduler.complete_call(port, call, b"", f"not a call of a tool: {error}", "invalid-argument")
            return
        tool = self._tools.get(asked.tool) if name == "mcp_call" else None
        if tool is None:
            known = ", ".join(sorted(self._tools)) or "none"
            what = (
                f"there is no tool {asked.tool!r}; this stage has {known}" if name == "mcp_call" else f"no {name} here"
            )
            scheduler.complete_call(port, call, b"", what)
            return
        self._calling.add(port)
        self._actors.start_soon(self._answer, scheduler, port, call, tool, asked)

    async def _answer(self, scheduler: Scheduler, port: int, call: int, tool: Tool, asked: "ToolCall") -> None:
        result, error = b"", ""
        limit = asked.timeout_ms / 1000 if asked.timeout_ms else FOR_EVER
        try:
            with trio.move_on_after(limit) as scope:
                found = tool(asked.arguments)
                result = msgspec.json.encode(await found if inspect.isawaitable(found) else found)
            if scope.cancelled_caught:
                error = f"the tool {asked.tool!r} did not answer within {limit:g} s"
        except Exception as failed:  # a fake fails on purpose: the agent is told
            error = str(failed) or type(failed).__name__
        self._calling.discard(port)
        scheduler.complete_call(port, call, result, error, "failed")

    # -- when --

    async def restart(self, agent: str) -> None:
        """The agent's instance is gone with all that it held in memory, and another one is up."""
        await self.node.agents.stop(agent, grace=0.0, drain=False)
        await self.node.agents.start(agent)

    async def passes(self, seconds: float) -> None:
        """So much time goes by, and what is due in it happens."""
        await self.wait_for(lambda: None, seconds)

    async def settle(self) -> None:
        """Until nothing is left to do but wait for time to pass, or for a message."""
        end = time.monotonic() + PATIENCE
        waits_until = time.monotonic() + SLEEP
        before: tuple[int, ...] = ()
        while True:
            await trio.testing.wait_all_tasks_blocked(CUSHION)
            # who waits for the disk waits for no time: behind this, what was to be written before is written
            await self.node.store.write(lambda connection: None, sync=False)
            self._raise_errors()
            is_busy = self._is_busy()  # first: a turn that ends now shows in the totals
            totals = self.node.scheduler.totals()
            now = (totals["accepted"], totals["turns"], totals["waiting"], self._handled())
            if not self._is_waiting():
                waits_until = time.monotonic() + SLEEP
            elif time.monotonic() < waits_until:
                is_busy = True
            if now == before and totals["waiting"] == 0 and not is_busy:
                return
            before = now
            if time.monotonic() > end:
                raise AssertionError(f"the agents do not come to rest: {totals}")

    def _handled(self) -> int:
        return sum(len(actor.heard) for actor in self._by_name.values())

    def _is_waiting(self) -> bool:
        """Whether a guest waits in the middle of a turn, and not for a fake tool."""
        ports = [replica.port for status in self.node.runtime.list() for replica in status.replicas]
        return any(
            self.node.scheduler.statistics(port).state == "waiting" for port in ports if port not in self._calling
        )

    def _is_busy(self) -> bool:
        """Whether an agent has a turn, or will have one without anybody doing anything."""
        for status in self.node.runtime.list():
            for replica in status.replicas:
                counters = self.node.scheduler.statistics(replica.port)
                if counters.state in ("queued", "running") or counters.retrying:
                    return True
                if replica.state is AgentState.READY and not replica.restarting:
                    return True  # it starts
        return False

    async def wait_for(self, found: Callable[[], T | None], within: float) -> T | None:
        """What *found* gives, as soon as it gives something; None when the time is over."""
        end = trio.current_time() + within
        while True:
            await self.settle()
            if (result := found()) is not None:
                return result
            left = end - trio.current_time()
            if left <= 0:
                return None
            due = trio.lowlevel.current_statistics().seconds_to_next_deadline
            self._jump(min(left, max(due, within / STEPS)))

    def _jump(self, seconds: float) -> None:
        self._clock.jump(seconds)
        self._ahead.append((time.time(), self._ahead[-1][1] + seconds))

    # -- then --

    def now(self) -> float:
        """Seconds since the epoch, in virtual time."""
        return time.time() + self._ahead[-1][1]

    def moment(self, seconds: float = 0.0) -> str:
        """A moment to come, as `reply_by` and leases have it."""
        at = datetime.fromtimestamp(self.now() + seconds, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def messages(self, conversation_id: str | None = None) -> list[Message]:
        """All that were accepted, oldest first."""
        return [Message.of(envelope) for _, envelope in self._history(conversation_id)]

    def conversation(self, conversation_id: str) -> Conversation:
        """How far it has come, by the table of its protocol."""
        said = self._history(conversation_id)
        if not said:
            raise AssertionError(f"nothing was said in the conversation {conversation_id!r}")
        return replay(conversation_id, said, self.now())

    def coverage(self, protocol: str) -> Coverage:
        """Which rows of the protocol's table the conversations of this test have used."""
        table = find(protocol)
        if table is None:
            raise ValueError(f"{protocol!r} is none of FIPA's protocols")
        names = dict.fromkeys(
            envelope.conversation_id for _, envelope in self._history(None) if envelope.conversation_id
        )
        moves = {move for name in names if (held := self.conversation(name)).protocol is table for move in held.moves}
        return Coverage(table, frozenset(moves))

    def status(self, agent: str) -> str:
        """`running`, `failed`, ..."""
        return self.node.agents.get(agent).status

    def log(self, agent: str) -> list[str]:
        """What an agent wrote."""
        return [line.text for line in self.node.agents.logs([agent], None, 10_000) if line.stream != "system"]

    def _history(self, conversation_id: str | None) -> list[tuple[float, Envelope]]:
        found: list[tuple[float, Envelope]] = []
        after = 0
        while True:
            page, after = self.node.scheduler.history(conversation_id, after, HISTORY)
            found += [(self._virtual(envelope.accepted_us / 1e6), envelope) for _, envelope in page]
            if len(page) < HISTORY:
                return found

    def _virtual(self, real: float) -> float:
        """What virtual time it was."""
        return real + next(ahead for since, ahead in reversed(self._ahead) if since <= real)

    def _raise_errors(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    def ahead_us(self) -> int:
        return int(self._ahead[-1][1] * 1e6)


@asynccontextmanager
async def open_stage(*settings: str, modules: Path | None = None) -> AsyncIterator[Stage]:
    """A stage. *settings* are keys of the configuration: `"messaging.queue_size=10"`.

    *modules* is a folder that keeps compiled modules for the next stage: an interpreter takes ten seconds.
    """
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, trio.testing.MockClock):
        raise TypeError("a stage needs virtual time: run the test with caxton.testing.run or @virtual_time")
    if clock.rate == 0.0:
        clock.rate = 1.0  # the server's own short waits go on by themselves
    with tempfile.TemporaryDirectory(prefix="caxton-stage-") as folder:
        sets = [
            "messaging.enable_persistence=false",
            "messaging.retry_delay=10ms",
            "runtime.max_agents=1000",
            *settings,
        ]
        config = load_config(environ={"CAXTON_DATA_DIR": folder}, sets=sets)
        clocks: list[Stage] = []
        async with (
            open_node(config, wall_clock=lambda: clocks[0].now() if clocks else time.time()) as node,
            trio.open_nursery() as actors,
        ):
            stage = Stage(node, actors, clock)
            clocks.append(stage)
            node.runtime.timers.shift = stage.ahead_us
            node.answer_call = stage.answer_call
            if modules is not None:
                _lend(modules, node.store.modules.folder)
            yield stage
            stage._raise_errors()
            actors.cancel_scope.cancel()
        if modules is not None:
            _keep(node.store.modules.folder, modules)


def _lend(kept: Path, folder: Path) -> None:
    """The compiled modules of earlier stages, by links; at its start the server takes away what no agent uses."""
    for path in kept.glob("*/*.cwasm"):
        link = folder / path.relative_to(kept)
        link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        link.symlink_to(path.resolve())


def _keep(folder: Path, kept: Path) -> None:
    for path in folder.glob("*/*.cwasm"):
        if not path.is_symlink():
            into = kept / path.relative_to(folder)
            into.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = into.with_suffix(".part")
            shutil.copyfile(path, part)
            part.replace(into)
