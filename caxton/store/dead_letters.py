"""Messages that could not be delivered, each with the reason, until somebody retries or removes them.

They are bounded in number and age; what the bounds take is counted and returned, so that it can be told. A reason is a
number here: the ledger (_fast) gives it its meaning.
"""

from collections.abc import Iterable, Sequence

import apsw
import msgspec
import trio

from caxton._fast.envelope import Envelope
from caxton.core.errors import NotFound, RejectedError
from caxton.store.database import Database
from caxton.store.journal import PAUSE

LARGEST = (1 << 31) - 1  # bytes; the configured limit held when the message was accepted
NEWEST = 1 << 62  # above every id
STEP = 500  # letters that one transaction removes

# what a turn says of a letter: the message's frame, the agent that should have had it, reason, attempts, detail
Row = tuple[bytes, str, int, int, str]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    id: int  # grows; it is the place in a listing
    message_id: str
    agent: str
    sender: str
    reason: int
    attempts: int
    detail: str
    at_us: int  # microseconds since the epoch
    frame: bytes = b""  # the message; empty in a listing


class Which(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the letters; an empty one means all."""

    agent: str | None = None
    reason: int | None = None
    before_us: int | None = None
    since_us: int | None = None

    def where(self) -> tuple[str, tuple[str | int, ...]]:
        """Conditions to follow another one, and their values."""
        chosen = [
            (condition, value)
            for condition, value in (
                ("agent =", self.agent),
                ("reason =", self.reason),
                ("at_us <", self.before_us),
                ("at_us >=", self.since_us),
            )
            if value is not None
        ]
        return "".join(f" AND {condition} ?" for condition, _ in chosen), tuple(value for _, value in chosen)


ALL = Which()
HEAD = "id, message_id, agent, sender, reason, attempts, detail, at_us"


class DeadLetterRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, which: Which = ALL, *, before: int = 0, limit: int = 100) -> Sequence[DeadLetter]:
        """The newest first, without their frames. *before* is the id where the last page ended; 0 begins."""
        where, values = which.where()
        return await self._select(HEAD, f"id < ?{where} ORDER BY id DESC LIMIT ?", (before or NEWEST, *values, limit))

    async def export(self, which: Which = ALL, *, after: int = 0, limit: int = 100) -> Sequence[DeadLetter]:
        """A page of them, the oldest first, with their frames. *after* is the id where the last page ended."""
        where, values = which.where()
        return await self._select(f"{HEAD}, frame", f"id > ?{where} ORDER BY id LIMIT ?", (after, *values, limit))

    async def get(self, letter_id: int) -> DeadLetter:
        """One, with its frame."""
        found = letter_id < NEWEST and await self._select(f"{HEAD}, frame", "id = ?", (letter_id,))
        if not found:
            raise NotFound(
                f"there is no dead letter {letter_id}",
                hint="it may have been retried, removed or expired; list them with `caxton dead-letters list`",
                details={"id": letter_id},
            )
        return found[0]

    async def count(self, which: Which = ALL) -> int:
        where, values = which.where()

        def query(connection: apsw.Connection) -> int:
            number: int = connection.execute(f"SELECT count(*) FROM dead_letters WHERE 1{where}", values).get
            return number

        return await self._database.read(query)

    async def count_by_reason(self) -> dict[int, int]:
        return await self._database.read(
            lambda connection: dict(connection.execute("SELECT reason, count(*) FROM dead_letters GROUP BY reason"))
        )

    async def remove(self, letter_ids: Sequence[int]) -> int:
        """Forget these; return how many were there."""
        return await self._database.write(lambda connection: remove_dead_letters(connection, letter_ids))

    async def purge(self, which: Which = ALL) -> int:
        """Forget all of them, in small transactions; return how many there were."""
        where, values = which.where()

        def work(connection: apsw.Connection) -> int:
            connection.execute(
                "DELETE FROM dead_letters WHERE id IN "
                f"(SELECT id FROM dead_letters WHERE 1{where} ORDER BY id LIMIT {STEP})",
                values,
            )
            return connection.changes()

        total = 0
        while number := await self._database.write(work):
            total += number
            await trio.sleep(PAUSE)
        return total

    async def trim(self, max_number: int, oldest_us: int) -> int:
        """Drop the oldest beyond *max_number*, and what is older than *oldest_us*; return how many were dropped."""
        total = 0
        while number := await self._database.write(
            lambda connection: trim_dead_letters(connection, max_number, oldest_us)
        ):
            total += number
            await trio.sleep(PAUSE)
        return total

    async def _select(self, columns: str, condition: str, values: tuple[str | int, ...]) -> Sequence[DeadLetter]:
        def query(connection: apsw.Connection) -> Sequence[DeadLetter]:
            names = columns.split(", ")
            rows = connection.execute(f"SELECT {columns} FROM dead_letters WHERE {condition}", values)
            return [DeadLetter(**dict(zip(names, row, strict=True))) for row in rows]

        return await self._database.read(query)


def write_dead_letters(connection: apsw.Connection, rows: Iterable[Row], at_us: int) -> None:
    """Part of a transaction that somebody else has opened; `trim_dead_letters` may follow in the same one."""
    for frame, agent, reason, attempts, detail in rows:
        message_id, sender = _identify(frame)
        connection.execute(
            "INSERT INTO dead_letters (message_id, agent, sender, reason, attempts, detail, at_us, frame) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (message_id, agent, sender, reason, attempts, detail, at_us, frame),
        )


def remove_dead_letters(connection: apsw.Connection, letter_ids: Iterable[int]) -> int:
    """Part of a transaction that somebody else has opened; return how many were there."""
    number = 0
    for letter_id in letter_ids:
        connection.execute("DELETE FROM dead_letters WHERE id = ?", (letter_id,))
        number += connection.changes()
    return number


def trim_dead_letters(connection: apsw.Connection, max_number: int, oldest_us: int) -> int:
    """Drop up to STEP letters that are too many or too old, the oldest first; return how many."""
    connection.execute(
        f"DELETE FROM dead_letters WHERE id IN "
        f"(SELECT id FROM dead_letters WHERE at_us < ? ORDER BY at_us LIMIT {STEP})",
        (oldest_us,),
    )
    dropped = connection.changes()
    span = "SELECT (SELECT max(id) FROM dead_letters) - (SELECT min(id) FROM dead_letters) + 1"
    if (connection.execute(span).get or 0) <= max_number:  # counting walks an index, and is seldom needed
        return dropped
    surplus = min(connection.execute("SELECT count(*) FROM dead_letters").get - max_number, STEP - dropped)
    if surplus > 0:
        connection.execute(
            "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters ORDER BY id LIMIT ?)", (surplus,)
        )
        dropped += connection.changes()
    return dropped


def _identify(frame: bytes) -> tuple[str, str]:
    """The message's id and sender. A frame that cannot be read is kept all the same: a letter is never lost."""
    try:
        message = Envelope.from_frame(frame, max_size=LARGEST)
    except RejectedError:
        return "", ""
    return message.message_id or "", message.sender or ""
