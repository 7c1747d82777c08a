"""A scheduler on a stage: start it, seat agents, watch what happens.

Synchronous, with deadlines on `select` and no sleeps.
"""

import json
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from caxton._fast import scheduler as native
from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import Receipt, Scheduler
from caxton._fast.wasm.component import Component
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
from tests._fast import wrapping
from tests._fast.components import quoted

both_kinds = pytest.mark.usefixtures(
    "kind"
)  # a fixture of tests/conftest.py: run with core modules, then with components
GUESTS = Path(__file__).parent.parent / "guests"
DEADLINE = 5.0
Event = tuple[int, int, Any, Any]


@cache
def engine() -> Engine:
    """One for all tests: its address space costs more than its agents."""
    return Engine(pool_slots=240)


def compiled(text: str, on: Engine | None = None) -> Module:
    """A guest of ABI 1: a component around it, in the half of a test of `both_kinds` that is about those."""
    return _compiled(text, on or (wrapping.component_engine() if wrapping.chosen else engine()))


def compiled_anew(text: str, on: Engine) -> Module:
    return wrapping.wrapped(text, on) if on.components else Module.compile(on, wat2wasm(text))


_compiled = cache(compiled_anew)


def smallest_engine() -> Engine:
    """With room for one agent of the kind that the test is about."""
    return Engine(components=wrapping.chosen, pool_slots=wrapping.MEMORIES if wrapping.chosen else 1)


def guest(name: str, on: Engine | None = None, **values: str | int) -> Module:
    """The module of tests/guests/*name*.wat, with `$(NAME)` replaced."""
    text = (GUESTS / f"{name}.wat").read_text()
    for key, value in values.items():
        text = text.replace(f"$({key})", str(value))
    return compiled(text, on)


def sender_guest(receiver: str | list[str], count: int = 1, **fields: Any) -> Module:
    """Sends the same message *count* times in every turn."""
    message = json.dumps(
        {"performative": "inform", "receiver": receiver, "content": {}} | fields, separators=(",", ":")
    )
    return guest("sender", MESSAGE=quoted(message), LENGTH=len(message.encode()), COUNT=count)


class Stage:
    """A scheduler, its agents, and every event in order."""

    def __init__(self, *, threads: int = 2, on: Engine | None = None, **options: Any) -> None:
        self.engine = on if on and not on.components else engine()  # of core modules; components bring their own
        self.scheduler = Scheduler(self.engine, threads=threads, **options)
        self.events: list[Event] = []

    def seat(
        self,
        name: str,
        module: Module | str,
        *,
        memory: int = 1 << 20,
        timeout: float = 10.0,
        ready: bool = True,
        **limits: Any,
    ) -> int:
        """Open a port and start an agent behind it; waits until it has started."""
        return self.start(self.scheduler.open_port(name), module, memory=memory, timeout=timeout, ready=ready, **limits)

    def start(
        self,
        port: int,
        module: Module | str,
        *,
        memory: int = 1 << 20,
        timeout: float = 10.0,
        ready: bool = True,
        **limits: Any,
    ) -> int:
        before = len(self.of(native.EVENT_STARTED, port))
        module = guest(module) if isinstance(module, str) else module
        if isinstance(module, Component):  # the agent's is shared out among its memories
            memory *= max(module.memories, 1)
        self.scheduler.spawn(port, module, memory=memory, timeout_ns=int(timeout * 1e9), **limits)
        if ready:
            self.until(lambda: len(self.of(native.EVENT_STARTED, port)) > before)
        return port

    def host(self, name: str = "me", **bounds: int) -> int:
        return self.scheduler.open_port(name, host=True, **bounds)

    def send(self, receiver: str | list[str], content: Any = None, *, sender: str = "me", **fields: Any) -> Receipt:
        message = {"performative": "request", "receiver": receiver, "content": content} | fields
        return self.scheduler.submit(json.dumps(message).encode(), sender=sender)

    def pump(self, timeout: float) -> bool:
        """Wait for events once; False when none came."""
        if not select.select([self.scheduler.wake_fd], [], [], max(timeout, 0))[0]:
            return False
        self.events += self.scheduler.drain()
        return True

    def until(self, happened: Callable[[], Any], *, within: float = DEADLINE) -> None:
        end = time.monotonic() + within
        while not happened():
            assert self.pump(end - time.monotonic()), f"it did not happen; the last events: {self.events[-10:]}"

    def watch(self, happened: Callable[[], Any], *, within: float = DEADLINE) -> None:
        """Wait for what makes no event of its own."""
        end = time.monotonic() + within
        while not happened():
            assert time.monotonic() < end, f"it did not happen; the last events: {self.events[-10:]}"
            select.select([self.scheduler.wake_fd], [], [], 0.002)
            self.events += self.scheduler.drain()

    def settle(self) -> None:
        """Read what is left until nothing waits and nobody runs."""
        self.watch(lambda: self.scheduler.totals()["waiting"] == 0)
        while self.pump(0.02):
            pass

    def of(self, kind: int, port: int | None = None) -> list[tuple[Any, Any]]:
        return [(a, b) for found, at, a, b in self.events if found == kind and port in (None, at)]

    def wait_for(self, kind: int, port: int | None = None, count: int = 1) -> tuple[Any, Any]:
        """The *count*-th event of this kind."""
        self.until(lambda: len(self.of(kind, port)) >= count)
        return self.of(kind, port)[count - 1]

    def exit_of(self, port: int, count: int = 1) -> tuple[int, str]:
        """Reason and text of the port's *count*-th exit."""
        return self.wait_for(native.EVENT_EXITED, port, count)

    def lines(self, port: int) -> list[str]:
        return [b[0] for _, b in self.of(native.EVENT_LOG, port)]

    def receive(self, port: int, count: int = 1, *, within: float = DEADLINE) -> list[Envelope]:
        """Exactly *count* messages of a host port."""
        mail: list[Envelope] = []

        def enough() -> bool:
            mail.extend(self.scheduler.receive(port, count - len(mail)))
            return len(mail) == count

        self.until(enough, within=within)
        self.events += self.scheduler.drain()  # what happened before they were sent
        return mail

    def ask(self, port: int, receiver: str, content: Any = None, **fields: Any) -> dict[str, Any]:
        """Send from host port *port* and take the one answer."""
        self.send(receiver, content, sender=self.scheduler.name_of(port), **fields)
        return self.receive(port)[0].as_dict()


@contextmanager
def open_stage(**options: Any) -> Iterator[Stage]:
    stage = Stage(**options)
    stage.scheduler.start()
    try:
        yield stage
    finally:
        stage.scheduler.stop()


@contextmanager
def unharmed(stage: Stage) -> Iterator[int]:
    """A neighbour answers before and after; gives a host port to speak from."""
    neighbour = stage.seat("neighbour", "mirror")
    me = stage.host("visitor")
    for token in ("#before", "#after!"):
        assert stage.ask(me, "neighbour", f"{token:0<17}")["content"] == f"{token:0<17}"
        if token == "#before":
            yield me
    assert not stage.of(native.EVENT_EXITED, neighbour)
    stage.watch(lambda: stage.scheduler.statistics(neighbour).handled == 2)
