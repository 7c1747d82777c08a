"""Other agent platforms that showed where they answer: their mail may wait longer than this process lives."""

import apsw

from caxton.store.database import Database


class PlatformRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, str]:
        """Addresses by name."""

        def query(connection: apsw.Connection) -> dict[str, str]:
            return dict(connection.execute("SELECT name, url FROM platforms"))

        return await self._database.read(query)

    async def put(self, name: str, url: str | None) -> None:
        """Remember the address; None forgets it."""

        def work(connection: apsw.Connection) -> None:
            if url is None:
                connection.execute("DELETE FROM platforms WHERE name = ?", (name,))
            else:
                connection.execute(
                    "INSERT INTO platforms VALUES (?, ?) ON CONFLICT DO UPDATE SET url = excluded.url", (name, url)
                )

        await self._database.write(work)
