"""Contract nets and auctions, as they were when they were last written down.

A record is JSON that this room does not read; who does is `caxton.core.negotiation.task`.
"""

from collections.abc import Iterable, Sequence

import apsw
import msgspec

from caxton.store.database import Database


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    created_at: float
    status: str
    is_open: bool
    record: bytes


class TaskRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_open(self) -> Sequence[bytes]:
        """The records of those that are not over, the oldest first."""
        return await self._select("WHERE is_open = 1 ORDER BY created_at, id", ())

    async def get(self, task_id: str) -> bytes | None:
        found = await self._select("WHERE id = ?", (task_id,))
        return found[0] if found else None

    async def trim(self, before: float, number: int) -> int:
        """Delete those that are over and older than *before*, or more than *number*; how many."""

        def work(connection: apsw.Connection) -> int:
            connection.execute("DELETE FROM tasks WHERE is_open = 0 AND created_at < ?", (before,))
            deleted = connection.changes()
            connection.execute(
                "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE is_open = 0 "
                "ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?)",
                (number,),
            )
            return deleted + connection.changes()

        return await self._database.write(work)

    async def write(self, rows: Sequence[TaskRow], sync: bool = True) -> None:
        await self._database.write(lambda connection: write_tasks(connection, rows), sync)

    async def list(self, status: str, limit: int, offset: int) -> tuple[Sequence[bytes], int]:
        """One page of records, the newest first, and how many there are in all; *status* empty: of any."""

        def query(connection: apsw.Connection) -> tuple[Sequence[bytes], int]:
            which, values = ("WHERE status = ?", (status,)) if status else ("", ())
            rows = connection.execute(
                f"SELECT record FROM tasks {which} ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?",
                (*values, limit, offset),
            )
            found = [record for (record,) in rows]
            total: int = connection.execute(f"SELECT count(*) FROM tasks {which}", values).get
            return found, total

        return await self._database.read(query)

    async def _select(self, which: str, bindings: tuple[str, ...]) -> Sequence[bytes]:
        def query(connection: apsw.Connection) -> list[bytes]:
            return [record for (record,) in connection.execute(f"SELECT record FROM tasks {which}", bindings)]

        return await self._database.read(query)


def write_tasks(connection: apsw.Connection, rows: Iterable[TaskRow]) -> None:
    """Part of a transaction that somebody else has opened."""
    connection.executemany(
        "INSERT INTO tasks VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "status = excluded.status, is_open = excluded.is_open, record = excluded.record",
        ((row.id, row.created_at, row.status, row.is_open, row.record) for row in rows),
    )
