"""One SQLite file: a connection that writes, a few that read, and how they are set up.

It does not know what is in the file; `schema.py` and the rooms do. Writes go through `writer.py`. Reads see every write
that has returned, and never wait for one (WAL).
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import apsw
import trio

from caxton.core.errors import ShuttingDown, StoreError
from caxton.store.failing import failing_vfs
from caxton.store.faults import explain
from caxton.store.integrity import keep_wal
from caxton.store.reserve import Reserve
from caxton.store.writer import BUSY_TIMEOUT, Work, Writer

T = TypeVar("T")

SQLITE_MINIMUM = (3, 51, 3)  # older ones can corrupt a WAL that is reset while another connection writes
READERS = 2
CACHE = 16 << 20  # bytes of pages; a transaction that does not fit writes its pages twice
WAL_KEEP = 16 << 20  # bytes; a WAL that grew larger is cut back when it starts over


class Database:
    def __init__(self, writer: Writer, readers: list[apsw.Connection], path: Path) -> None:
        self._writer = writer
        self._idle_readers = readers
        self._reading = trio.CapacityLimiter(len(readers))
        self.path = path

    @property
    def fault(self) -> StoreError | None:
        """What is wrong with the disk; None when nothing is."""
        return self._writer.condition.fault

    async def wait_changed(self) -> None:
        """Until `fault` comes, goes or has another cause."""
        await self._writer.wait_changed()

    async def write(self, work: Work[T], sync: bool = True) -> T:
        """Run *work* in a transaction on the writer's thread; return its result when that is on the disk.

        *work* shares the transaction with others and may run twice; what it raises undoes its own changes only.
        Without *sync* it returns when the process may crash; a power cut may still undo it (writer.py, rule 5).
        """
        return await self._writer.write(work, sync)

    async def use(self, work: Work[T]) -> T:
        """Run *work* with the writer's connection, between two transactions: it must not take long."""
        return await self._writer.use(work)

    async def read(self, query: Work[T]) -> T:
        """Run *query* on a connection that cannot write.

        It returns values, not a cursor: the connection goes on to the next query.
        """
        return await trio.to_thread.run_sync(self._query, query, limiter=self._reading)

    def _query(self, query: Work[T]) -> T:
        try:
            connection = self._idle_readers.pop()
        except IndexError:
            raise ShuttingDown("the store is closed", hint="open it again before reading") from None
        try:
            return query(connection)
        except apsw.Error as error:
            raise explain(error, self.path) from error
        finally:
            self._idle_readers.append(connection)


def check_sqlite_version(version: str | None = None) -> None:
    version = version or apsw.sqlite_lib_version()
    if tuple(map(int, version.split("."))) < SQLITE_MINIMUM:
        minimum = ".".join(map(str, SQLITE_MINIMUM))
        raise StoreError(
            f"apsw brings SQLite {version}; Caxton needs {minimum} or newer, because older ones can corrupt a database",
            hint='upgrade it: pip install --upgrade "apsw>=3.53"',
            details={"found": version, "minimum": minimum},
        )


def connect(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """The connection that writes: WAL, and a COMMIT that returns when the disk has it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives the WAL the mode of the database
    connection = apsw.Connection(str(path), vfs=vfs or failing_vfs())
    try:
        keep_wal(connection, True)
        connection.set_busy_timeout(BUSY_TIMEOUT)
        if connection.pragma("page_count") == 0:  # the only moment to choose it: space goes back in small steps
            connection.pragma("auto_vacuum", 2)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("fullfsync", 1)  # macOS: fsync stops at the drive's cache
        connection.pragma("checkpoint_fullfsync", 1)
        connection.pragma("foreign_keys", 1)
        connection.pragma("cache_size", -(CACHE >> 10))  # negative: KiB
        connection.pragma("journal_size_limit", WAL_KEEP)
        keep_wal(connection, False)
    except apsw.Error:
        connection.close()
        raise
    return connection


@asynccontextmanager
async def open_database(
    connection: apsw.Connection,
    path: Path,
    *,
    farewell: Work[None] | None = None,
    reserve: Reserve | None = None,
    vfs: str | None = None,
) -> AsyncIterator[Database]:
    """Own *connection*, which came from `connect`, from here to the end of the block; *farewell* is the last write."""
    writer = Writer(connection, path, farewell, reserve)
    readers: list[apsw.Connection] = []
    try:
        for _ in range(READERS):
            readers.append(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs))
            readers[-1].set_busy_timeout(BUSY_TIMEOUT)
        yield Database(writer, readers, path)
    finally:
        while readers:
            readers.pop().close()
        await writer.close()
