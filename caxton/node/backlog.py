"""What waits in the store: found again at the start, brought into mailboxes that have room, given up with its agent.

A backlog is a list of places in segments (`Ledger`); this file reads the segments for it.
"""

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import SEND_NO_RECEIVER, UNSENT, Scheduler
from caxton.bus.delivery import DAMAGED
from caxton.bus.known import Known
from caxton.core.errors import CaxtonError, StoreError
from caxton.node.committer import Committer
from caxton.store import Store

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
RECOGNISED_BYTES = 64 << 20  # of segments that are read at start only for the ids of messages in them
GONE = UNSENT - SEND_NO_RECEIVER  # a dead letter's reason


async def recover(store: Store, scheduler: Scheduler, committer: Committer, known: Known) -> None:
    """At start: what was accepted and not handled waits for its agents again. StoreError: the journal is damaged.

    *known* gets the ids of what clients sent lately.
    """
    ledger = scheduler.ledger
    newest = await store.journal.newest()
    if newest is None:
        return
    ledger.begin_recovery(newest.settled_below)
    await _recognise(store, scheduler, known, newest.settled_below)
    first = newest.settled_below
    while segments := await store.journal.read_from(first):
        for segment in segments:
            ledger.recover(segment.id, segment.records)
            ledger.remember(segment.records)
            for message in ledger.ids(segment.records):
                known.recover(*message)
            committer.note_segment(segment.id, segment.size, segment.messages)
        first = segments[-1].id + 1
    waiting = ledger.recovered()
    if waiting:
        log.info("%d messages for %d agents wait since the last run", sum(waiting.values()), len(waiting))


async def _recognise(store: Store, scheduler: Scheduler, known: Known, end: int) -> None:
    """The same ids in segments below *end*, whose messages were handled."""
    if not known.is_kept:
        return
    first = await store.journal.first_since(round(known.oldest * 1e6), RECOGNISED_BYTES)
    while first and first < end and (segments := await store.journal.read_from(first)):
        for segment in segments:
            if segment.id < end:
                for message in scheduler.ledger.ids(segment.records):
                    known.recover(*message)
        first = segments[-1].id + 1


class Refills:
    """Answers EVENT_REFILL: one port after the other, a segment at a time."""

    def __init__(self, scheduler: Scheduler, store: Store) -> None:
        self._scheduler = scheduler
        self._store = store
        self._asked: deque[int] = deque()
        self._later: list[int] = []  # ports whose backlog has to be written before it can be read
        self._idle = trio.lowlevel.ParkingLot()
        self.on_closed: Callable[[int], Awaitable[None]] | None = None  # a port that is closed has a backlog
        self._last = (0, b"")  # the segment that was read last: the next port may want it too

    def put(self, port: int) -> None:
        self._asked.append(port)
        self._idle.unpark_all()

    def committed(self) -> None:
        """A transaction is in the store."""
        if wanted := [*self._later, *self._scheduler.ledger.take_late()]:
            self._asked.extend(wanted)
            self._later.clear()
            self._idle.unpark_all()

    async def run(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            while not self._asked:
                await self._idle.park()
            port = self._asked.popleft()
            try:
                if not self._scheduler.name_of(port) and self.on_closed is not None:
                    await self.on_closed(port)
                    continue
                is_waiting = await self._refill(port)
            except StoreError as error:
                log.warning("the backlog of %s cannot be read: %s", self._scheduler.name_of(port), error)
                await trio.sleep(RETRY_SECONDS)
                self._asked.append(port)
                continue
            except CaxtonError:
                continue  # the port was closed meanwhile
            if is_waiting:
                self._later.append(port)
            elif self._scheduler.refilled(port):
                self._asked.append(port)

    async def _refill(self, port: int) -> bool:
        """Whether the rest of the backlog has to be written first."""
        ledger = self._scheduler.ledger
        while segment := ledger.refill(port):
            try:
                moved = self._scheduler.refill(port, segment, await self._records(segment))
            except StoreError as error:
                moved = await self._skip(port, segment, error)
            if moved == 0:
                return False
        # the port counts what was left to the store at once, the ledger when it has read of it
        return self._scheduler.statistics(port).backlog > 0

    async def _skip(self, port: int, segment: int, error: StoreError) -> int:
        """What the disk gives back is not what was written: dead letters, so that the rest of the backlog goes on.

        Raises the error again when it is of another kind: then it is tried again.
        """
        if error.details.get("cause") != "damaged":
            raise error
        records = await self._store.journal.read_unchecked(segment)
        skipped = self._scheduler.skip_damaged(port, segment, records, DAMAGED, str(error))
        name = self._scheduler.name_of(port)
        log.error("%d messages for %s are given up, as dead letters: %s", skipped, name, error)
        return skipped

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
