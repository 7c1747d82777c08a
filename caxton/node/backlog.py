"""What waits in the store: found again at the start, brought into mailboxes that have room, given up with its agent.

A backlog is a list of places in segments (`Ledger`); this file reads the segments for it.
"""

import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence

import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import SEND_NO_RECEIVER, Scheduler
from caxton.bus.delivery import UNSENT
from caxton.core.errors import CaxtonError, StoreError
from caxton.node.committer import Committer
from caxton.store import Store

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
LOOK_SECONDS = 0.05
GONE = UNSENT - SEND_NO_RECEIVER  # a dead letter's reason


async def recover(store: Store, scheduler: Scheduler, committer: Committer, history_bytes: int) -> None:
    """At start: what was accepted and not handled waits for its agents again. StoreError: the journal is damaged."""
    ledger = scheduler.ledger
    newest = await store.journal.newest()
    if newest is None:
        return
    ledger.begin_recovery(newest.settled_below)
    first = newest.settled_below
    while segments := await store.journal.read_from(first):
        for segment in segments:
            ledger.recover(segment.id, segment.records)
            ledger.remember(segment.records)
            committer.note_segment(segment.id, segment.size, segment.messages)
        first = segments[-1].id + 1
    waiting = ledger.recovered()
    if waiting:
        log.info("%d messages for %d agents wait since the last run", sum(waiting.values()), len(waiting))


class Refills:
    """Answers EVENT_REFILL: one port after the other, a segment at a time."""

    def __init__(self, scheduler: Scheduler, store: Store, committer: Committer) -> None:
        self._scheduler = scheduler
        self._store = store
        self._committer = committer
        self._asked: deque[int] = deque()
        self._later: list[int] = []  # those whose backlog has to be written first
        self._idle = trio.lowlevel.ParkingLot()
        self._last = (0, b"")  # the segment that was read last: the next port may want it too

    def put(self, port: int) -> None:
        self._asked.append(port)
        self._idle.unpark_all()

    async def run(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()  # a segment that is at hand is read without one
            while not self._asked:
                if self._later:
                    with trio.move_on_after(LOOK_SECONDS):  # it may have been written a moment ago
                        await self._committer.wait_commit()
                    self._asked.extend(self._later)
                    self._later.clear()
                else:
                    await self._idle.park()
            await self._answer(self._asked.popleft())

    async def _answer(self, port: int) -> None:
        try:
            is_waiting = await self._refill(port)
        except StoreError as error:
            log.warning("the backlog of %s cannot be read: %s", self._scheduler.name_of(port), error)
            await trio.sleep(RETRY_SECONDS)
            self._asked.append(port)
        except CaxtonError:
            pass  # the port was closed meanwhile
        else:
            if is_waiting:
                self._later.append(port)
            elif self._scheduler.refilled(port):
                self._asked.append(port)

    async def _refill(self, port: int) -> bool:
        """Whether the rest of the backlog has to be written first."""
        ledger = self._scheduler.ledger
        while segment := ledger.refill(port):
            if self._scheduler.refill(port, segment, await self._records(segment)) == 0:
                return False
        # the port's own count: what was sent a moment ago is not in the ledger yet
        return self._scheduler.statistics(port).backlog > 0

    async def _records(self, segment: int) -> bytes:
        if self._last[0] != segment:
            self._last = (segment, await self._store.journal.read(segment))
        return self._last[1]


async def abandon(
    scheduler: Scheduler, store: Store, committer: Committer, port: int
) -> AsyncIterator[Sequence[Envelope]]:
    """The backlog of a port that is closed, for its senders; all of it are dead letters."""
    ledger = scheduler.ledger
    while ledger.backlog(port):
        segment = ledger.refill(port)
        if not segment:
            await committer.wait_written()
            continue
        messages = scheduler.take_backlog(port, segment, await store.journal.read(segment))
        for message in messages:
            scheduler.bury(port, message, GONE)
        yield messages
    ledger.forget(port)
