"""A scheduler, a runtime over it, and somebody who hands events over; guests by the name of their .wat."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import attrs
import trio

from caxton._fast.scheduler import EVENT_LOG, EVENT_TIMER, Scheduler
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module
from caxton.core.agent import AgentState
from caxton.core.manifest import AgentSpec, parse_agent_config
from caxton.runtime.replica import AgentChange, AgentStatus, RuntimeLimits
from caxton.runtime.supervisor import Runtime, open_runtime
from tests._fast import wrapping
from tests._fast.scheduling import compiled

GUESTS = Path(__file__).parent / "guests"
PATIENCE = 20.0  # of a test; what it waits for takes milliseconds


@cache
def engine() -> Engine:
    return Engine(pool_slots=64)


def guest(name: str) -> Module:
    return compiled((GUESTS / f"{name}.wat").read_text(), None if wrapping.chosen else engine())


def a_spec(name: str, **config: Any) -> AgentSpec:
    parsed = parse_agent_config({"name": name, **config})
    return AgentSpec(name=name, kind="wasm", module="00" * 32, config=parsed, created_at=0.0)


@attrs.define(eq=False)
class Rig:
    scheduler: Scheduler
    changes: list[AgentChange] = attrs.field(factory=list)
    lines: list[tuple[str, str]] = attrs.field(factory=list)
    timers: list[tuple[int, int]] = attrs.field(factory=list)  # port and id of each that was set
    spent: list[tuple[int, int]] = attrs.field(factory=list)  # and of each whose turn took effect, or was cancelled
    runtime: Runtime = attrs.field(init=False)
    _news: trio.Event = attrs.field(factory=trio.Event)

    async def dispatch(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.scheduler.wake_fd)
            for event in self.scheduler.drain():
                kind, port, a, b = event
                if kind == EVENT_LOG and (replica := self.runtime.replica_at(port)):
                    self.lines.append((replica[2], b[0]))
                if kind == EVENT_TIMER:
                    (self.timers if b else self.spent).append((port, a))
                self.runtime.handle(event)
            self.tell()

    def tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def note(self, change: AgentChange) -> None:
        self.changes.append(change)
        self.tell()

    async def until(self, happened: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not happened():
                await self._news.wait()

    async def start(self, name: str, wat: str, **config: Any) -> AgentStatus:
        with trio.fail_after(PATIENCE):
            return await self.runtime.start(a_spec(name, **config), guest(wat))

    def send(self, name: str, content: object = "hello") -> int:
        """One message to an agent; how many mailboxes it came into."""
        message = {"performative": "inform", "sender": "test", "receiver": name, "content": content}
        return self.scheduler.submit(json.dumps(message).encode()).delivered_to

    def state_of(self, name: str) -> AgentState:
        return self.runtime.get(name).state

    def seen(self, name: str, replica: int = 1) -> list[str]:
        """The states that a replica went through."""
        return [change.state.value for change in self.changes if (change.name, change.replica) == (name, replica)]

    def count(self, name: str, state: AgentState) -> int:
        return Counter(self.seen(name))[state.value]

    async def kill(self, name: str) -> None:
        """Drop the instance of the first replica as it runs, and wait until its supervisor has heard of it."""
        await self.until(lambda: self.state_of(name) is AgentState.RUNNING)
        ends = self.count(name, AgentState.FAILED)
        self.scheduler.drop(self.runtime.get(name).replicas[0].port)
        await self.until(lambda: self.count(name, AgentState.FAILED) > ends)


@asynccontextmanager
async def open_rig(
    limits: RuntimeLimits | None = None,
    *,
    wall_clock: Callable[[], float] | None = None,
    on_change: Callable[[AgentChange], None] | None = None,
) -> AsyncIterator[Rig]:
    scheduler = Scheduler(engine(), threads=2)
    scheduler.start()
    rig = Rig(scheduler)
    options: Mapping[str, Any] = {"wall_clock": wall_clock} if wall_clock else {}
    try:
        async with open_runtime(
            scheduler, on_change=on_change or rig.note, limits=limits, rng=Random(1), **options
        ) as runtime:
            rig.runtime = runtime
            async with trio.open_nursery() as dispatcher:
                dispatcher.start_soon(rig.dispatch)
                yield rig
                dispatcher.cancel_scope.cancel()
    finally:
        scheduler.stop()
