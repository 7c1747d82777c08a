"""What became of each agent, and why: one event per change of state, the last KEEP per agent."""

import apsw
import msgspec

from caxton.store.database import Database

KEEP = 200


class LifecycleEvent(msgspec.Struct, frozen=True, kw_only=True):
    agent: str
    number: int  # 1, 2, 3, ... per agent; a gap at the front is what retention took
    incarnation: int
    state: str
    reason: str
    at: float  # seconds since the epoch


class LifecycleRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, agent: str, incarnation: int, state: str, reason: str, at: float) -> None:
        await self._database.write(lambda connection: write_event(connection, agent, incarnation, state, reason, at))

    async def recent(self, agent: str, limit: int = KEEP) -> list[LifecycleEvent]:
        """The last *limit* events, the newest first."""

        def query(connection: apsw.Connection) -> list[LifecycleEvent]:
            rows = connection.execute(
                "SELECT number, incarnation, state, reason, at FROM lifecycle "
                "WHERE agent = ? ORDER BY number DESC LIMIT ?",
                (agent, limit),
            )
            return [
                LifecycleEvent(agent=agent, number=number, incarnation=incarnation, state=state, reason=reason, at=at)
                for number, incarnation, state, reason, at in rows
            ]

        return await self._database.read(query)


def write_event(connection: apsw.Connection, agent: str, incarnation: int, state: str, reason: str, at: float) -> None:
    """Part of a transaction that somebody else has opened."""
    number = connection.execute(
        "INSERT INTO lifecycle SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5 FROM lifecycle WHERE agent = ?1 "
        "RETURNING number",
        (agent, incarnation, state, reason, at),
    ).get
    connection.execute("DELETE FROM lifecycle WHERE agent = ? AND number <= ?", (agent, number - KEEP))
