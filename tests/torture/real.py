"""The real delivery machine for the simulation: router, ledger, committer, bus, streams; no threads, no sockets.

The scheduler is never started, so no turn runs and everything happens in Trio's order; agents are all outside.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any

import msgspec
import trio

from caxton._fast.scheduler import EVENT_REFILL, Scheduler
from caxton._fast.wasm.engine import Engine
from caxton.bus.bus import Bus
from caxton.bus.known import Known
from caxton.core.errors import CaxtonError
from caxton.node.backlog import Refills, recover
from caxton.node.committer import Committer
from caxton.store import Store

QUEUE = 50  # messages in a mailbox: few, so that the rest of a queue waits in the store
boots = count(1)
engine = Engine(pool_slots=1)  # it runs nothing


class Real:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def post(self, message: dict[str, object]) -> None:
        (outcome,) = await self._bus.settle([self._bus.post(msgspec.json.encode(message))])
        if isinstance(outcome, CaxtonError):
            raise outcome

    def stream(self, name: str) -> AbstractAsyncContextManager[Any]:
        return self._bus.stream(name)


@asynccontextmanager
async def open_real(store: Store, names: Sequence[str]) -> AsyncIterator[Real]:
    """What `open_node` puts together, as far as messages are concerned."""
    scheduler = Scheduler(engine, threads=1, max_message_size=1 << 16, boot=next(boots), delivery=1)
    try:
        committer = Committer(scheduler, store)
        known = Known(600, 10_000)
        await recover(store, scheduler, committer, known)
        bus = Bus(scheduler, max_message_size=1 << 16, committed=committer.wait_accepted, known=known)
        refills = Refills(scheduler, store)
        committer.on_commit = bus.committed
        committer.on_written = lambda _: refills.committed()
        committer.is_waited_for = lambda: bus.mail.is_holding
        bus.mail.on_hold = committer.look
        for name in names:
            port = scheduler.open_port(name, host=True, queue_size=QUEUE)
            scheduler.keep_port(port, name)
            bus.streams.adopt(name, port)

        async def pump() -> None:
            while True:
                await trio.lowlevel.wait_readable(scheduler.wake_fd)
                for kind, port, a, b in scheduler.drain():
                    if kind == EVENT_REFILL:
                        refills.put(port)
                    else:
                        assert bus.handle(kind, port, a, b), kind
                committer.look()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump)
            nursery.start_soon(committer.run)
            nursery.start_soon(refills.run)
            yield Real(bus)
            nursery.cancel_scope.cancel()
    finally:
        scheduler.stop()
