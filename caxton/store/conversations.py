"""Conversations that are open, so that deadlines and promises outlive the process.

The rows are the tracker's; this room does not read them.
"""

from collections.abc import Iterable, Sequence

import apsw

from caxton.store.database import Database


class ConversationRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_all(self) -> Sequence[tuple[str, bytes]]:
        def query(connection: apsw.Connection) -> list[tuple[str, bytes]]:
            return list(connection.execute("SELECT id, row FROM conversations"))

        return await self._database.read(query)

    async def write(self, changes: Sequence[tuple[str, bytes | None]]) -> None:
        """Rows by the id of their conversation; None: it has ended."""
        await self._database.write(lambda connection: write_conversations(connection, changes))


def write_conversations(connection: apsw.Connection, changes: Iterable[tuple[str, bytes | None]]) -> None:
    """Part of a transaction that somebody else has opened."""
    changes = list(changes)
    connection.executemany(
        "INSERT INTO conversations VALUES (?, ?) ON CONFLICT DO UPDATE SET row = excluded.row",
        ((id, row) for id, row in changes if row is not None),
    )
    connection.executemany("DELETE FROM conversations WHERE id = ?", ((id,) for id, row in changes if row is None))
