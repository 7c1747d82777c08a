"""Writes what the ledger read, one transaction after the other; whoever waits for a commit is told here.

Rule 1: a transaction holds whole turns: the segment with what they accepted and handled, their agents' state and
        timers, dead letters, the conversations that changed, and the steps of agents' lives.
Rule 2: while one is on its way the next one fills. So many messages share one commit when there are many, and one
        message does not wait for others.
Rule 3: what cannot be written is kept and tried again. Until it is written, messages that have to be kept are refused,
        and those who wait for their commit are told that it may still come.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from math import inf

import apsw
import attrs
import trio

from caxton._fast.ledger import Batch, Ledger
from caxton._fast.scheduler import Scheduler
from caxton._fast.state import decode_changes
from caxton.core.errors import StorageFull, StoreError
from caxton.runtime.replica import AgentChange
from caxton.store import Store
from caxton.store.conversations import write_conversations
from caxton.store.dead_letters import write_dead_letters
from caxton.store.journal import write_segment
from caxton.store.lifecycle import write_event
from caxton.store.state import write_state
from caxton.store.timers import write_timers

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
LOOK_SECONDS = 1.0  # between two looks at a disk that may have become slow
STEPS = 100_000  # steps of agents' lives that wait; the oldest go first, for they are only told, never used
WINDOW = 64 << 20  # bytes of segments that a restart may have to read, while less than a quarter of them is live


@attrs.frozen
class Window:
    segment: int
    size: int
    messages: int


@attrs.define(eq=False)
class Waiting:
    sequence: int
    event: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Work:
    """What one transaction writes."""

    number: int
    batch: Batch | None
    steps: list[AgentChange]
    conversations: list[tuple[str, bytes | None]]

    def write(self, connection: apsw.Connection) -> None:
        batch = self.batch
        now = time.time_ns() // 1000
        if batch is not None:
            if batch.segment:
                write_segment(connection, batch.segment, now, batch.messages, batch.settled_below, batch.records)
            for owner, changes in _whole(batch.state):
                write_state(connection, owner, decode_changes(changes))
            write_timers(connection, batch.timers)
            if batch.dead:
                write_dead_letters(connection, batch.dead, now)
        if self.conversations:
            write_conversations(connection, self.conversations)
        for step in self.steps:
            write_event(connection, step.name, step.incarnation, step.state.value, step.reason, step.at)


def _whole(pieces: Iterable[tuple[str, bytes, bool]]) -> Iterable[tuple[str, bytes]]:
    """Changes blocks; a large one comes in pieces that follow one another."""
    parts: dict[str, list[bytes]] = {}
    for owner, piece, is_last in pieces:
        parts.setdefault(owner, []).append(piece)
        if is_last:
            yield owner, b"".join(parts.pop(owner))


class Committer:
    def __init__(self, scheduler: Scheduler, store: Store) -> None:
        self._ledger: Ledger = scheduler.ledger
        self._scheduler = scheduler
        self._store = store
        self._steps: deque[AgentChange] = deque(maxlen=STEPS)
        self._started = 0  # transactions
        self._written = 0  # number of the last one that is in the store
        self._unfinished: Work | None = None  # of the last attempt
        self._idle = trio.lowlevel.ParkingLot()
        self._readers = trio.lowlevel.ParkingLot()  # those who wait for any commit
        self._waiting: deque[Waiting] = deque()  # those who wait for their message's, in the order of acceptance
        self._window: deque[Window] = deque()  # segments from the oldest that is not settled on
        self._window_bytes = 0
        self._window_messages = 0
        self.patience: Callable[[], float] = lambda: inf  # seconds until somebody wants the records looked at again
        self.on_read: Callable[[], None] = lambda: None  # the records were looked at
        self.on_commit: Callable[[], None] = lambda: None  # mail that waited for it may leave
        self.on_written: Callable[[Batch], None] = lambda batch: None  # it is in the store: count it, tell it
        self.on_timed: Callable[[float], None] | None = None  # seconds that a transaction took
        self.failures = 0
        self.fault = ""  # why the last attempt failed; empty when it did not

    # -- what happened --

    def put_step(self, step: AgentChange) -> None:
        self._steps.append(step)
        self.look()

    def look(self) -> None:
        """The ledger may have read something."""
        self._idle.unpark_all()

    # -- into the store --

    async def run(self) -> None:
        while True:
            work = self._next()
            self.on_read()
            if work is None:
                # a turn may not have ended when it was looked at, and its end wakes nobody
                with trio.move_on_after(self.patience()):
                    await self._idle.park()
            elif not await self._write(work):
                await trio.sleep(RETRY_SECONDS)
            else:
                await self._carry()

    async def watch_store(self) -> None:
        """Refuse what has to be kept for as long as the store cannot keep it."""
        while True:
            self._set_refusing()
            fault = self._store.fault
            if fault is not None and fault.details.get("cause") == "slow":
                self._tell_failed()  # the write may last for ever; who waits for it is told what is known
            with trio.move_on_after(LOOK_SECONDS):  # a disk that is slow says nothing
                await self._store.wait_condition_changed()

    def _set_refusing(self) -> None:
        self._scheduler.set_refusing(self.condition != "ok")

    @property
    def condition(self) -> str:
        """`ok`, or why nothing new can be kept."""
        return self._store.condition if self._store.fault is not None else self.fault or "ok"

    def _next(self) -> Work | None:
        if self._unfinished is not None:
            return self._unfinished
        self._scheduler.read_records()
        batch = self._ledger.take()
        # behind the messages: a row may be ahead of what is committed with it, and never behind
        conversations = self._scheduler.tracker.collect()
        if batch is None and not self._steps and not conversations:
            return None
        self._started += 1
        steps = list(self._steps)
        self._steps.clear()
        return Work(self._started, batch, steps, conversations)

    async def _write(self, work: Work) -> bool:
        self._unfinished = work
        began = time.perf_counter()
        try:
            await self._store.write(work.write, sync=work.batch is None or work.batch.needs_sync)
        except StoreError as error:
            if not self.fault:
                log.error("nothing can be written, trying again: %s", error)  # noqa: TRY400 (no traceback)
            self.fault = str(error)
            self.failures += 1
            self._set_refusing()
            self._tell_failed()
            return False
        self._unfinished = None
        if self.on_timed is not None:
            self.on_timed(time.perf_counter() - began)
        if self.fault:
            log.info("the store is written again")
            self.fault = ""
            self._set_refusing()
        self._written = work.number
        if work.batch is not None:
            self._ledger.committed()
            if work.batch.segment:
                self.note_segment(work.batch.segment, len(work.batch.records), work.batch.messages)
            self._tell_committed()
            await trio.lowlevel.checkpoint()  # who posted is answered before the replies to it leave
            self.on_commit()
            self.on_written(work.batch)
        self._readers.unpark_all()
        return True

    def _tell_committed(self) -> None:
        waiting = self._waiting
        while waiting and self._ledger.is_committed(waiting[0].sequence):
            waiting.popleft().event.set()

    def _tell_failed(self) -> None:
        while self._waiting:
            self._waiting.popleft().event.set()
        self._readers.unpark_all()

    # -- who waits --

    async def wait_accepted(self, sequence: int) -> None:
        """Until the message that was posted last, or before it, is on the disk. Raises StorageFull when it is not."""
        if self._ledger.is_committed(sequence):
            return
        waiting = Waiting(sequence)
        self._waiting.append(waiting)
        self.look()
        await waiting.event.wait()
        if not self._ledger.is_committed(sequence):
            raise StorageFull(
                f"the message is not on the disk yet: {self.condition}",
                hint="it is kept and written when the disk works again; sent again with its message_id it counts once",
            )

    def mark(self) -> int:
        """The number of the transaction that holds, or will hold, all that was read until now."""
        return self._started + self._has_more()

    def is_written(self, mark: int) -> bool:
        return self._written >= mark

    async def wait_commit(self) -> None:
        """Until the next transaction has been written, or has failed."""
        self.look()
        await self._readers.park()

    async def wait_written(self) -> None:
        """Until everything that was handed in before is in the store. Raises StoreError when an attempt fails."""
        self._scheduler.read_records()
        wanted = self.mark()
        await trio.lowlevel.checkpoint()
        while self._written < wanted:
            self.look()
            await self._readers.park()
            if self.fault and self._written < wanted:
                raise StoreError(self.fault, hint="what is not written is kept, and tried again")

    def _has_more(self) -> bool:
        return bool(self._steps) or self._ledger.has_something

    async def finish(self) -> None:
        """Write what is left, when `run` has ended. Raises StoreError."""
        while (work := self._next()) is not None:
            if not await self._write(work):
                raise StoreError(self.fault)

    # -- the part of the log that a restart reads --

    def note_segment(self, segment: int, size: int, messages: int) -> None:
        """It was written, or recovered at the start: *size* bytes, *messages* accepted in it."""
        self._window.append(Window(segment, size, messages))
        self._window_bytes += size
        self._window_messages += messages
        while self._window and self._window[0].segment < self._ledger.oldest:
            settled = self._window.popleft()
            self._window_bytes -= settled.size
            self._window_messages -= settled.messages

    async def _carry(self) -> None:
        """Keep a restart short: what is live in the oldest segment goes into the next one."""
        if self._window_bytes < WINDOW or len(self._window) < 2:
            return
        live = self._ledger.live * self._window_bytes / max(self._window_messages, 1)
        if 4 * live > self._window_bytes:
            return
        oldest = self._window[0].segment
        try:
            records = await self._store.journal.read(oldest)
        except StoreError as error:
            log.warning("segment %d could not be carried on, trying again later: %s", oldest, error)
            return
        self._ledger.carry(oldest, records)
