"""Which agents there should be: what a server brings back when it starts."""

import apsw
import msgspec

from caxton.core.errors import AgentNotFound
from caxton.core.manifest import AgentSpec
from caxton.store.database import Database
from caxton.store.faults import fault

_decode = msgspec.json.Decoder(AgentSpec).decode
_encode = msgspec.json.Encoder().encode


class AgentRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> list[AgentSpec]:
        """All of them, by name."""

        def query(connection: apsw.Connection) -> dict[str, str]:
            return dict(connection.execute("SELECT name, spec FROM agents ORDER BY name"))

        return [self._decode(name, spec) for name, spec in (await self._database.read(query)).items()]

    async def get(self, name: str) -> AgentSpec:
        def query(connection: apsw.Connection) -> str | None:
            spec: str | None = connection.execute("SELECT spec FROM agents WHERE name = ?", (name,)).get
            return spec

        spec = await self._database.read(query)
        if spec is None:
            raise _not_found(name)
        return self._decode(name, spec)

    async def put(self, spec: AgentSpec) -> None:
        """Add the agent, or replace what is known of it."""
        await self._database.write(lambda connection: write_agent(connection, spec))

    async def delete(self, name: str) -> None:
        """Forget the agent, with the state, the timers and the lifecycle of it and its replicas.

        Call it when the agent has ended: what is written for it later stays, for the next agent of that name to find.
        """

        def work(connection: apsw.Connection) -> None:
            if connection.execute("DELETE FROM agents WHERE name = ? RETURNING name", (name,)).get is None:
                raise _not_found(name)
            for table, column in (
                ("state", "owner"),
                ("timers", "owner"),
                ("lifecycle", "agent"),
                ("signing_keys", "agent"),
            ):
                # '#' + 1 is '$': all of `name#...`, by the primary key
                connection.execute(
                    f"DELETE FROM {table} WHERE {column} = ?1 OR ({column} >= ?1 || '#' AND {column} < ?1 || '$')",
                    (name,),
                )

        await self._database.write(work)

    def _decode(self, name: str, text: str) -> AgentSpec:
        try:
            return _decode(text)
        except msgspec.MsgspecError as error:
            raise fault(
                "damaged", self._database.path, f"the record of agent {name} cannot be read: {error}"
            ) from error


def write_agent(connection: apsw.Connection, spec: AgentSpec) -> None:
    """Part of a transaction that somebody else has opened."""
    connection.execute(
        "INSERT INTO agents VALUES (?, ?) ON CONFLICT DO UPDATE SET spec = excluded.spec",
        (spec.name, _encode(spec).decode()),
    )


def _not_found(name: str) -> AgentNotFound:
    return AgentNotFound(
        f"there is no agent named {name}", hint="list the agents with `caxton agent list`", details={"agent": name}
    )
