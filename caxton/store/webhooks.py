"""What is to be told to other servers and was not taken yet, and what was given up; by endpoint, in order.

An endpoint is an id here (`core/webhooks.py`). What was taken is deleted: how many there were is not known here.
"""

from collections.abc import Sequence

import apsw
import msgspec

from caxton.store.database import Database

INSERT = (
    "INSERT INTO webhook_deliveries (endpoint, delivery, event, at, attempts, next_at, gave_up, reason, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# all that an endpoint has, or some of it by what receivers know it by
AGAIN = (
    "INSERT INTO webhook_deliveries (endpoint, delivery, event, at, attempts, next_at, gave_up, reason, body) "
    "SELECT endpoint, delivery, event, at, 0, 0, NULL, reason, body FROM webhook_deliveries "
    "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
)


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one endpoint."""

    id: int = 0  # grows: the order; 0 is not in the store
    endpoint: str
    delivery: str  # what receivers know it by, of all attempts
    event: str
    at: float  # seconds since the epoch, as the next two
    attempts: int = 0
    next_at: float = 0.0  # not before
    gave_up: float | None = None  # None: it waits
    reason: str = ""  # of the last attempt
    body: bytes = b""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt came to."""

    id: int
    is_taken: bool = False
    attempts: int = 0
    next_at: float = 0.0
    gave_up: float | None = None
    reason: str = ""

    @property
    def is_final(self) -> bool:
        return self.is_taken or self.gave_up is not None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    waiting: int = 0
    failed: int = 0


COLUMNS = ", ".join(Delivery.__struct_fields__)


class WebhookRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def counts(self) -> dict[str, Counts]:
        """By endpoint, of those that have something."""

        def query(connection: apsw.Connection) -> dict[str, Counts]:
            rows = connection.execute(
                "SELECT endpoint, count(*) - count(gave_up), count(gave_up) FROM webhook_deliveries GROUP BY endpoint"
            )
            return {endpoint: Counts(waiting=waiting, failed=failed) for endpoint, waiting, failed in rows}

        return await self._database.read(query)

    async def waiting(self, endpoint: str, after: int, limit: int) -> list[Delivery]:
        """What waits behind *after*, the oldest first."""
        return await self._select("gave_up IS NULL AND id > ? ORDER BY id LIMIT ?", (endpoint, after, limit))

    async def failed(self, endpoint: str, before: int, limit: int) -> list[Delivery]:
        """What was given up, the newest first, from before *before* on; 0 begins."""
        condition = "gave_up IS NOT NULL AND id < ? ORDER BY id DESC LIMIT ?"
        return await self._select(condition, (endpoint, before or 1 << 62, limit))

    async def add(self, rows: Sequence[Delivery]) -> None:
        def work(connection: apsw.Connection) -> None:
            connection.executemany(INSERT, (msgspec.structs.astuple(row)[1:] for row in rows))

        await self._database.write(work)

    async def settle(self, outcomes: Sequence[Outcome], keep: int) -> None:
        """Note what attempts came to; of what was given up *keep* stay for each endpoint, the oldest go.

        A power cut may undo it: then it is sent once more.
        """

        def work(connection: apsw.Connection) -> None:
            for one in outcomes:
                if one.is_taken:
                    connection.execute("DELETE FROM webhook_deliveries WHERE id = ?", (one.id,))
                    continue
                endpoint = connection.execute(
                    "UPDATE webhook_deliveries SET attempts = ?, next_at = ?, gave_up = ?, reason = ? WHERE id = ? "
                    "RETURNING endpoint",
                    (one.attempts, one.next_at, one.gave_up, one.reason, one.id),
                ).get
                if one.gave_up is not None:
                    connection.execute(
                        "DELETE FROM webhook_deliveries WHERE id IN (SELECT id FROM webhook_deliveries "
                        "WHERE endpoint = ? AND gave_up IS NOT NULL ORDER BY gave_up DESC LIMIT -1 OFFSET ?)",
                        (endpoint, keep),
                    )

        await self._database.write(work, sync=False)

    async def again(self, endpoint: str, deliveries: Sequence[str], limit: int) -> int:
        """Let what was given up wait once more, behind what waits; all of it when none is named. How many."""

        def work(connection: apsw.Connection) -> int:
            which, named = _named(deliveries)
            ids = [
                number
                for (number,) in connection.execute(
                    f"SELECT id FROM webhook_deliveries WHERE endpoint = ? AND gave_up IS NOT NULL{which} "
                    "ORDER BY id LIMIT ?",
                    (endpoint, *named, limit),
                )
            ]
            chosen = msgspec.json.encode(ids).decode()
            connection.execute(AGAIN, (chosen,))
            connection.execute("DELETE FROM webhook_deliveries WHERE id IN (SELECT value FROM json_each(?))", (chosen,))
            return len(ids)

        return await self._database.write(work)

    async def purge(self, endpoint: str, deliveries: Sequence[str], *, waiting: bool) -> int:
        """Forget what was given up, and what waits as well; all of it when none is named. How many."""

        def work(connection: apsw.Connection) -> int:
            which, named = _named(deliveries)
            state = "" if waiting else " AND gave_up IS NOT NULL"
            connection.execute(f"DELETE FROM webhook_deliveries WHERE endpoint = ?{state}{which}", (endpoint, *named))
            return connection.changes()

        return await self._database.write(work)

    async def trim(self, before: float, served: Sequence[str]) -> int:
        """Forget what was given up before then, and what is older and waits for others than *served*. How many."""

        def work(connection: apsw.Connection) -> int:
            connection.execute("DELETE FROM webhook_deliveries WHERE gave_up < ?", (before,))
            number = connection.changes()
            connection.execute(
                "DELETE FROM webhook_deliveries WHERE gave_up IS NULL AND at < ? "
                "AND endpoint NOT IN (SELECT value FROM json_each(?))",
                (before, msgspec.json.encode(served).decode()),
            )
            return number + connection.changes()

        return await self._database.write(work, sync=False)

    async def _select(self, condition: str, values: tuple[str | int, ...]) -> list[Delivery]:
        def query(connection: apsw.Connection) -> list[Delivery]:
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM webhook_deliveries WHERE endpoint = ? AND {condition}", values
            )
            return [Delivery(**dict(zip(Delivery.__struct_fields__, row, strict=True))) for row in rows]

        return await self._database.read(query)


def _named(deliveries: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """A further condition, and its values."""
    if not deliveries:
        return "", ()
    return " AND delivery IN (SELECT value FROM json_each(?))", (msgspec.json.encode(deliveries).decode(),)
