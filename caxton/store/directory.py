"""What the directory keeps over a restart: what agents and operators registered, and subscriptions.

What the body says is core's (`core/directory/facilitator.py`); what agents declare is not here, they come back and say
it again.
"""

from collections.abc import Sequence

import apsw

from caxton.core.directory.facilitator import Row
from caxton.store.database import Database


class DirectoryRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[Row]:
        """All of it, in the order in which it was first written."""

        def query(connection: apsw.Connection) -> list[Row]:
            rows = connection.execute("SELECT kind, name, conversation, body FROM directory ORDER BY rowid")
            return [Row(kind=kind, name=name, conversation=where, body=body) for kind, name, where, body in rows]

        return await self._database.read(query)

    async def apply(self, rows: Sequence[Row]) -> None:
        """Write them in one transaction, in this order; one without body is taken out."""

        def work(connection: apsw.Connection) -> None:
            for row in rows:
                if row.body:
                    connection.execute(
                        "INSERT INTO directory VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
                        (row.kind, row.name, row.conversation, row.body),
                    )
                else:
                    connection.execute(
                        "DELETE FROM directory WHERE kind = ? AND name = ? AND conversation = ?",
                        (row.kind, row.name, row.conversation),
                    )

        await self._database.write(work)
