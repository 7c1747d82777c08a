"""A scheduler and the bus over it, without node, runtime and store: guests are spawned by hand, once each."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache

import attrs
import trio

from caxton._fast.scheduler import EVENT_EXITED, EVENT_STARTED, Scheduler
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module
from caxton.bus.bus import Bus
from caxton.bus.streams import Session
from caxton.core.views import Event

PATIENCE = 20.0  # of a test; what it waits for takes milliseconds
LARGEST = 10_000


@cache
def engine() -> Engine:
    return Engine(pool_slots=16)


@cache
def module(wasm: bytes) -> Module:
    return Module.compile(engine(), wasm)


@attrs.define(eq=False)
class Desk:
    scheduler: Scheduler
    bus: Bus
    happened: list[tuple[int, int]] = attrs.field(factory=list)  # kind and port of each event
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    async def pump(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.scheduler.wake_fd)
            for kind, port, a, b in self.scheduler.drain():
                self.bus.handle(kind, port, a, b)
                self.happened.append((kind, port))
            self.bus.show_messages()
            self._news.unpark_all()

    async def until(self, happened: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not happened():
                await self._news.park()

    async def seat(self, name: str, wasm: bytes, *, timeout: float = 10.0) -> int:  # noqa: ASYNC109 (the guest's)
        """A guest, up and ready."""
        port = self.scheduler.open_port(name)
        self.scheduler.spawn(port, module(wasm), memory=1 << 20, timeout_ns=int(timeout * 1e9))
        await self.until(lambda: (EVENT_STARTED, port) in self.happened or (EVENT_EXITED, port) in self.happened)
        return port

    def attach(self, name: str, *, queue_size: int = 10_000) -> int:
        """The mailbox of an agent outside."""
        port = self.scheduler.open_port(name, host=True, queue_size=queue_size)
        self.bus.streams.adopt(name, port)
        return port

    def log(self, name: str) -> list[str]:
        return [line.text for line in self.bus.logs.select([name], None, 1000)]

    def events(self, type: str) -> list[Event]:
        return [event for event in self.bus.events_since(0) if event.type == type]


async def never_asked(sequence: int) -> None:
    """Without a store nothing is kept, and nobody waits for a commit."""
    raise AssertionError(f"message {sequence} waits for the store")


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    scheduler = Scheduler(engine(), threads=2, max_message_size=LARGEST)
    scheduler.start()
    desk = Desk(scheduler, Bus(scheduler, max_message_size=LARGEST, committed=never_asked))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.pump)
            yield desk
            nursery.cancel_scope.cancel()
    finally:
        scheduler.stop()


async def receive(session: Session, count: int) -> list[object]:
    """The contents of the next *count* messages, which are acknowledged."""
    found: list[object] = []
    with trio.fail_after(PATIENCE):
        while len(found) < count:
            mail = await session.receive(count - len(found))
            session.ack([str(each.message_id) for each in mail])
            found += [each.as_dict()["content"] for each in mail]
    return found
