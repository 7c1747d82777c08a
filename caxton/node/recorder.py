"""Writes what agents' turns changed to the store, in batches.

Rule 1: whoever hands something in does not wait. What comes while a batch is written is the next batch; of one key, one
        timer only the last value is kept, so a disk that is slow or full costs the memory of the state itself.
Rule 2: a batch is one transaction with whole turns in it, so the store never holds half of a turn.
Rule 3: what cannot be written is kept and tried again, so that a full disk loses nothing while the server lives.
"""

import logging
from collections import deque
from collections.abc import Sequence

import apsw
import attrs
import trio

from caxton.core.errors import StoreError
from caxton.runtime.replica import AgentChange
from caxton.store import Store
from caxton.store.lifecycle import write_event
from caxton.store.state import Change, write_state
from caxton.store.timers import write_timers

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
STEPS = 100_000  # steps of agents' lives that one batch holds; the oldest go first, for they are only told, never used


@attrs.define(eq=False)
class Batch:
    number: int
    state: dict[tuple[str, bytes], bytes | None] = attrs.field(factory=dict)  # by owner and key
    timers: dict[tuple[str, int], int] = attrs.field(factory=dict)  # by owner and id; 0 = gone
    steps: deque[AgentChange] = attrs.field(factory=lambda: deque(maxlen=STEPS))

    def __bool__(self) -> bool:
        return bool(self.state or self.timers or self.steps)

    def follow(self, earlier: "Batch") -> None:
        """Take in a batch that could not be written; what this one says is newer."""
        self.state = earlier.state | self.state
        self.timers = earlier.timers | self.timers
        earlier.steps.extend(self.steps)
        self.steps = earlier.steps

    def write(self, connection: apsw.Connection) -> None:
        for (owner, key), value in self.state.items():
            write_state(connection, owner, [(key, value)])
        write_timers(connection, ((owner, timer_id, due_us) for (owner, timer_id), due_us in self.timers.items()))
        for step in self.steps:
            write_event(connection, step.name, step.incarnation, step.state.value, step.reason, step.at)


class Recorder:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._next = Batch(1)
        self._written = 0  # number of the last batch that is in the store
        self._idle = trio.lowlevel.ParkingLot()
        self._readers = trio.lowlevel.ParkingLot()  # those who wait for their batch
        self.fault = ""  # why the last attempt failed; empty when it did not

    # -- what happened --

    def put_state(self, owner: str, changes: Sequence[Change]) -> None:
        for key, value in changes:
            self._next.state[owner, key] = value
        self._idle.unpark_all()

    def put_timer(self, owner: str, timer_id: int, due_us: int) -> None:
        """*due_us* 0: it is cancelled or has been handled."""
        self._next.timers[owner, timer_id] = due_us
        self._idle.unpark_all()

    def put_step(self, step: AgentChange) -> None:
        self._next.steps.append(step)
        self._idle.unpark_all()

    # -- into the store --

    async def run(self) -> None:
        while True:
            while not self._next:
                await self._idle.park()
            if not await self._write():
                await trio.sleep(RETRY_SECONDS)

    async def _write(self) -> bool:
        batch = self._next
        self._next = Batch(batch.number + 1)
        try:
            await self._store.write(batch.write)
        except BaseException as error:
            self._next.follow(batch)
            if not isinstance(error, StoreError):
                raise
            if not self.fault:
                log.error("agents' state cannot be written, trying again: %s", error)  # noqa: TRY400 (no traceback)
            self.fault = str(error)
        else:
            if self.fault:
                log.info("agents' state is written again")
            self.fault = ""
            self._written = batch.number
        self._readers.unpark_all()
        return not self.fault

    async def wait_written(self) -> None:
        """Until everything that was handed in before is in the store. Raises StoreError when an attempt fails."""
        wanted = self._next.number if self._next else self._next.number - 1
        await trio.lowlevel.checkpoint()
        while self._written < wanted:
            await self._readers.park()
            if self.fault and self._written < wanted:
                raise StoreError(self.fault, hint="what is not written is kept, and tried again every second")

    async def finish(self) -> None:
        """Write what is left, when `run` has ended. Raises StoreError."""
        if self._next and not await self._write():
            raise StoreError(self.fault)
