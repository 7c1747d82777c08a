"""Ed25519 keys by agent. Private ones are as readable as the database: its folder is the operator's (security.md)."""

import apsw
import attrs

from caxton.store.database import Database


@attrs.frozen
class StoredKey:
    public: bytes
    private: bytes | None = attrs.field(repr=False)  # None: its owner has it


class SigningKeyRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, StoredKey]:
        def query(connection: apsw.Connection) -> dict[str, StoredKey]:
            rows = connection.execute("SELECT agent, public, private FROM signing_keys")
            return {agent: StoredKey(public, private) for agent, public, private in rows}

        return await self._database.read(query)

    async def put(self, agent: str, key: StoredKey | None) -> None:
        """Keep the agent's key, instead of an earlier one; None forgets it."""

        def work(connection: apsw.Connection) -> None:
            connection.execute("DELETE FROM signing_keys WHERE agent = ?", (agent,))
            if key is not None:
                connection.execute("INSERT INTO signing_keys VALUES (?, ?, ?)", (agent, key.public, key.private))

        await self._database.write(work)
