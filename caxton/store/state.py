"""The key-value state that agents keep across restarts.

The quota is the host call's business (`_fast`), which knows how much an agent has; here every change is written.
"""

from collections.abc import Iterable, Sequence

import apsw

from caxton.store.database import Database

Change = tuple[bytes, bytes | None]  # None: the key goes away


class StateRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, owner: str) -> dict[bytes, bytes]:
        def query(connection: apsw.Connection) -> dict[bytes, bytes]:
            return dict(connection.execute("SELECT key, value FROM state WHERE owner = ?", (owner,)))

        return await self._database.read(query)

    async def apply(self, owner: str, changes: Sequence[Change]) -> None:
        """Write the changes of one turn, all or none."""
        await self.apply_many([(owner, changes)])

    async def apply_many(self, batches: Sequence[tuple[str, Sequence[Change]]]) -> None:
        """Write the changes of many turns, all or none, in this order."""

        def work(connection: apsw.Connection) -> None:
            for owner, changes in batches:
                write_state(connection, owner, changes)

        await self._database.write(work)


def write_state(connection: apsw.Connection, owner: str, changes: Iterable[Change]) -> None:
    """Part of a transaction that somebody else has opened."""
    for key, value in changes:
        if value is None:
            connection.execute("DELETE FROM state WHERE owner = ? AND key = ?", (owner, key))
        else:
            connection.execute(
                "INSERT INTO state VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (owner, key, value),
            )
