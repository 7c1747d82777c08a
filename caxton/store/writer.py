"""The one thread that writes to the database, and the group commit.

Rule 1: a write is a function of the connection. It may run twice (see below), so it changes nothing but the database.
Rule 2: writes that queue up while a transaction runs share the next one; each caller resumes after its COMMIT.
Rule 3: what one write raises undoes that write only and rises in its caller. When SQLite gives up the whole transaction
        (disk full, I/O error), every write of it runs again in a transaction of its own, and has its own answer.
        A full disk costs the reserve first (condition.py), and they run again together.
Rule 4: checkpoints are made here, after the callers of a transaction have been answered. Two connections that write and
        checkpoint at the same moment are what SQLite got wrong before 3.51.3. A checkpoint holds up the next
        transaction, so it is small (steps of 1 MB instead of 4 brought the 99th percentile of a commit from 8 to
        3 ms at 120 MB/s, and cost no throughput), is made sooner when nobody writes, and waits for readers no
        longer than RESTART_TIMEOUT.
Rule 5: a transaction is on the disk when its callers resume, unless all of them are relaxed (`sync=False`). A relaxed
        one is safe from a crash of the process at once, and from a power cut with the next that is not, or with the
        next checkpoint; it is never there in part.
Rule 6: while something is wrong with the disk a probe writes a page every PROBE seconds, so that the end of the fault
        is noticed also when nobody writes.
Rule 7: the queue holds at most QUEUE writes; the next caller waits.

Once its write is queued, a caller that is cancelled waits for the commit all the same: it knows what is on the disk.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

import apsw
import attrs
import outcome
import trio

from caxton.core.errors import ShuttingDown
from caxton.store.condition import Condition
from caxton.store.faults import explain
from caxton.store.integrity import keep_wal
from caxton.store.reserve import Reserve
from caxton.telemetry.failpoints import failpoint

T = TypeVar("T")
Work = Callable[[apsw.Connection], T]

QUEUE = 1024
BATCH = 256  # writes in one transaction
CHECKPOINT_PAGES = 250  # WAL pages between checkpoints: 1 MB
IDLE_PAGES = CHECKPOINT_PAGES // 4  # enough for a checkpoint when nobody has written for IDLE
IDLE = 0.05  # s
RESTART_PAGES = 16_000  # 64 MB: readers have kept the WAL from starting over: wait for them, a little
RESTART_TIMEOUT = 100  # ms
PROBE = 1.0  # s
BUSY_TIMEOUT = 1000  # ms; for other programs (the sqlite3 shell)
CLOSE_TIMEOUT = 30  # s

GIVING_UP = (apsw.FullError, apsw.IOError)  # SQLite may, or may not, have ended the transaction

log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Job:
    """A write, and who waits for it; Any is what the write returns."""

    work: Work[Any]
    sync: bool
    alone: bool  # between transactions, not in one
    task: trio.lowlevel.Task | None = None  # None: nobody waits
    answer: outcome.Outcome[Any] = attrs.field(init=False)


class Writer:
    """Owned by `open_database`, which starts it and waits for its end."""

    def __init__(
        self, connection: apsw.Connection, path: Path, farewell: Work[None] | None, reserve: Reserve | None
    ) -> None:
        self._connection = connection
        self._path = path
        self._farewell = farewell
        self._queue: SimpleQueue[Job | None] = SimpleQueue()  # None: no more will come
        self._slots = trio.Semaphore(QUEUE)
        self._closing = False
        self._sync = True  # what `connect` chose
        self._wal_pages = 0
        self._checkpoint_at = CHECKPOINT_PAGES
        self._checkpointed = 0  # WAL pages when the last one was made
        self._token = trio.lowlevel.current_trio_token()
        self._watchers = trio.lowlevel.ParkingLot()
        self.condition = Condition(path, reserve, self._tell)
        self._probe_at = monotonic()
        # daemon: if Trio itself crashes nobody is left to end this thread, and the process must not wait for it
        self._thread = threading.Thread(target=self._run, name="caxton-store-writer", daemon=True)
        connection.set_wal_hook(self._on_commit)
        self._thread.start()

    async def write(self, work: Work[T], sync: bool = True) -> T:
        return await self._ask(work, sync=sync, alone=False)

    async def use(self, work: Work[T]) -> T:
        """Run *work* on the thread between two transactions; it must not take long."""
        return await self._ask(work, sync=False, alone=True)

    async def _ask(self, work: Work[T], *, sync: bool, alone: bool) -> T:
        async with self._slots:
            if self._closing:
                raise ShuttingDown("the store is closed", hint="open it again before writing")
            self._queue.put(Job(work, sync, alone, trio.lowlevel.current_task()))
            # Any: the answer of *work*, which is a T
            result: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
            return result

    async def wait_changed(self) -> None:
        """Until something goes wrong with the disk, or is well again. A disk that becomes slow is not announced."""
        await self._watchers.park()

    async def close(self) -> None:
        """Finish what is queued, write the farewell, close the connection and end the thread."""
        self._closing = True
        self._queue.put(None)
        # `join` dates it, not a cancel scope: a disk works in real time, also where a test's clock does not
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join, CLOSE_TIMEOUT)
        if self._thread.is_alive():
            log.error("the disk of %s has not answered for %d s: not waiting for it", self._path, CLOSE_TIMEOUT)

    # -- on the thread --

    def _run(self) -> None:
        while jobs := self._next_jobs():
            self.condition.busy_since = monotonic()
            if together := [job for job in jobs if not job.alone]:
                self._commit(together)
                self._token.run_sync_soon(_answer, together)
            for job in jobs:
                if job.alone:
                    job.answer = self._outcome(outcome.capture(job.work, self._connection))
                    self._token.run_sync_soon(_answer, [job])
            if self._wal_pages >= self._checkpoint_at:
                self._checkpoint()
            if not self.condition.is_sound and monotonic() >= self._probe_at:
                self._probe()
            self.condition.busy_since = None
        try:
            try:
                if self._farewell and not self.condition.is_damaged:
                    self._farewell(self._connection)
                elif self._farewell:
                    keep_wal(self._connection, True)
            except apsw.Error:
                keep_wal(self._connection, True)
                raise
            finally:
                self._connection.close()  # the last one to close checkpoints, and removes the WAL unless it is kept
        except apsw.Error as error:  # what was committed is safe, and whoever opens the file next will notice
            log.warning("%s could not be closed in order: %s", self._path, error)

    def _next_jobs(self) -> list[Job]:
        """Wait for a write, and take what came with it; empty when the store closes."""
        jobs: list[Job] = []
        job = self._wait()
        while job is not None:
            jobs.append(job)
            if len(jobs) == BATCH:
                break
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
        else:
            if jobs:
                self._queue.put(None)  # nothing is queued after it: come back for it
        return jobs

    def _wait(self) -> Job | None:
        """The next write, whenever it comes."""
        while True:
            is_sound = self.condition.is_sound
            is_long = self._wal_pages - self._checkpointed >= IDLE_PAGES
            if is_sound and not is_long:
                return self._queue.get()
            try:
                return self._queue.get(timeout=IDLE if is_sound else PROBE)
            except Empty:
                if is_sound:
                    self._checkpoint()
                else:
                    self._probe()

    def _commit(self, jobs: Sequence[Job]) -> None:
        try:
            self._transact(jobs)
        except BaseException as error:  # a caller waits for each of these jobs: whatever happened must reach it
            system_errno = self._connection.system_errno
            with suppress(apsw.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            if self.condition.note(error, system_errno):
                self._commit(jobs)
            elif len(jobs) == 1:
                jobs[0].answer = self._outcome(outcome.Error(error))
            else:
                for job in jobs:
                    self._commit([job])

    def _transact(self, jobs: Sequence[Job]) -> None:
        connection = self._connection
        self._set_sync(any(job.sync for job in jobs))
        connection.execute("BEGIN IMMEDIATE")
        if len(jobs) == 1:  # what it raises undoes the transaction
            jobs[0].answer = outcome.Value(jobs[0].work(connection))
        else:
            for job in jobs:
                self._step(job)
        failpoint("commit-before")
        connection.execute("COMMIT")
        failpoint("commit-after")
        if self._sync and not self.condition.is_sound:
            self.condition.clear()

    def _step(self, job: Job) -> None:
        """One write among others."""
        connection = self._connection
        connection.execute("SAVEPOINT job")
        job.answer = outcome.capture(job.work, connection)
        if isinstance(job.answer, outcome.Error):
            if not connection.in_transaction or isinstance(job.answer.error, GIVING_UP):
                raise job.answer.error
            connection.execute("ROLLBACK TO job")
            job.answer = self._outcome(job.answer)
        connection.execute("RELEASE job")

    def _set_sync(self, sync: bool) -> None:
        if sync != self._sync:
            self._connection.execute(f"PRAGMA synchronous = {'full' if sync else 'normal'}")
            self._sync = sync

    # Any: what the job returns
    def _outcome(self, found: outcome.Outcome[Any]) -> outcome.Outcome[Any]:
        """The same, with SQLite's errors said in our words."""
        if isinstance(found, outcome.Error) and isinstance(found.error, apsw.Error):
            return outcome.Error(explain(found.error, self._path, self._connection.system_errno))
        return found

    def _on_commit(self, connection: apsw.Connection, schema: str, pages: int) -> int:
        if pages <= self._wal_pages:  # the WAL has started over: a commit adds a page at least
            self._checkpoint_at = CHECKPOINT_PAGES
            self._checkpointed = 0
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        if self._wal_pages < RESTART_PAGES:
            mode, pause = apsw.SQLITE_CHECKPOINT_PASSIVE, CHECKPOINT_PAGES
        else:
            mode, pause = apsw.SQLITE_CHECKPOINT_RESTART, RESTART_PAGES
        self._checkpoint_at = self._wal_pages + pause
        self._checkpointed = self._wal_pages
        self._connection.set_busy_timeout(RESTART_TIMEOUT)
        try:
            self._connection.wal_checkpoint(mode=mode)
        except apsw.BusyError:  # a reader that takes long; it does not stop the writes
            log.info("%s is being read for long: its WAL has %d pages", self._path, self._wal_pages)
        except apsw.Error as error:  # nothing is lost: the WAL keeps what was committed, and the next round tries again
            log.warning("checkpoint of %s failed: %s", self._path, error)
            self.condition.note(error, self._connection.system_errno)
        finally:
            self._connection.set_busy_timeout(BUSY_TIMEOUT)

    def _probe(self) -> None:
        """Whether the disk is well again: whether there is room for the reserve, and whether a write succeeds."""
        self._probe_at = monotonic() + PROBE
        if self.condition.hold_reserve():
            self._commit([Job(_write_a_page, True, False)])
            if self.condition.is_sound:
                self._checkpoint()  # if it was that which failed, it says so again

    def _tell(self) -> None:
        with suppress(trio.RunFinishedError):  # Trio itself has crashed: nobody is left to be told
            self._token.run_sync_soon(self._watchers.unpark_all)


def _write_a_page(connection: apsw.Connection) -> None:
    connection.pragma("user_version", connection.pragma("user_version"))


def _answer(jobs: Sequence[Job]) -> None:
    for job in jobs:
        assert job.task is not None
        trio.lowlevel.reschedule(job.task, job.answer)
