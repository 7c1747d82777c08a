"""Timers that agents have set and that have not been handled.

Who fires them is the runtime; a timer whose time passed while the server was down is due at once.
"""

from collections.abc import Iterable, Sequence

import apsw
import msgspec

from caxton.store.database import Database


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    agent: str  # the owner: a replica's is `name#2`
    timer_id: int
    due_us: int  # microseconds since the epoch


class TimerRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, agent: str) -> list[Timer]:
        """What is pending for one owner, the next one first."""
        return await self._select("WHERE owner = ? ORDER BY due_us, timer_id", (agent,))

    async def load_all(self) -> list[Timer]:
        return await self._select("ORDER BY due_us, owner, timer_id", ())

    async def set(self, agent: str, timer_id: int, due_us: int) -> None:
        await self.apply([(agent, timer_id, due_us)])

    async def cancel(self, agent: str, timer_id: int) -> None:
        await self.apply([(agent, timer_id, 0)])

    async def fired(self, agent: str, timer_id: int) -> None:
        """The agent has handled it. Until then it is kept, so that a crash in between fires it again."""
        await self.apply([(agent, timer_id, 0)])

    async def apply(self, changes: Sequence[tuple[str, int, int]]) -> None:
        """Write many (agent, timer id, due_us; 0 = gone) in one transaction, in this order."""
        await self._database.write(lambda connection: write_timers(connection, changes))

    async def _select(self, which: str, bindings: tuple[str, ...]) -> list[Timer]:
        def query(connection: apsw.Connection) -> list[Timer]:
            rows = connection.execute(f"SELECT owner, timer_id, due_us FROM timers {which}", bindings)
            return [Timer(agent=owner, timer_id=timer_id, due_us=due_us) for owner, timer_id, due_us in rows]

        return await self._database.read(query)


def write_timers(connection: apsw.Connection, changes: Iterable[tuple[str, int, int]]) -> None:
    """Part of a transaction that somebody else has opened."""
    for owner, timer_id, due_us in changes:
        if due_us:
            connection.execute(
                "INSERT INTO timers VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET due_us = excluded.due_us",
                (owner, timer_id, due_us),
            )
        else:
            connection.execute("DELETE FROM timers WHERE owner = ? AND timer_id = ?", (owner, timer_id))
