"""The log of what was accepted and handled: one row per segment.

A segment is what the ledger (_fast) read from the rings between two commits; this room does not look inside. Each row
has a checksum, so that a flipped bit is an error and not another message. Ids only grow. `settled_below` of the newest
row says where the live part begins: a restart reads from there, and nothing from there on is ever deleted. What lies
before is history, kept for an age and up to a size (`delete_before`).

Rule 1: the newest row stays, however old: the ids and the live part go on from it.
Rule 2: history goes in small transactions that give way to other writes, and the file shrinks in small steps: no write
        waits longer than SLICE for either.
Rule 3: what deleting frees is used again by the segments to come; only what exceeds SPARE goes back to the file system.
"""

from time import monotonic
from zlib import crc32

import apsw
import msgspec
import trio

from caxton.store.database import Database
from caxton.store.faults import fault
from caxton.telemetry.failpoints import failpoint

SLICE = 0.005  # seconds that one step of deleting or shrinking may take from other writes
PAUSE = 0.01  # seconds between two steps: a segment that came meanwhile goes first
PAGE_BYTES = 16 << 20  # of segments that are read at once
SPARE = 64 << 20  # bytes of free pages that the file keeps
SHRINK = 64  # pages that one call gives back


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    at_us: int  # microseconds since the epoch
    messages: int
    settled_below: int
    size: int  # bytes of the records
    records: bytes = b""  # empty where only the head was asked for


class JournalSize(msgspec.Struct, frozen=True, kw_only=True):
    segments: int = 0
    bytes: int = 0
    oldest_us: int = 0


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    segments: int = 0
    bytes: int = 0


HEAD = "id, at_us, messages, settled_below, bytes"


class JournalRoom:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self) -> Segment | None:
        """The head of the last segment; None when there never was one."""
        return await self._database.read(lambda connection: _head(connection, "ORDER BY id DESC LIMIT 1"))

    async def read(self, segment_id: int) -> bytes:
        """The records of one segment that must be there."""

        page = await self._select("id = ?", (segment_id,), 1)
        if not page:
            raise fault("damaged", self._database.path, f"segment {segment_id} of the journal is missing")
        return page[0].records

    async def read_unchecked(self, segment_id: int) -> bytes:
        """Whatever there is of a segment that `read` calls damaged."""
        found = await self._database.read(
            lambda connection: connection.execute("SELECT records FROM segments WHERE id = ?", (segment_id,)).get
        )
        return found if isinstance(found, bytes) else b""

    async def read_from(self, first: int, max_bytes: int = PAGE_BYTES) -> list[Segment]:
        """Segments from id *first* on, in order: at least one if there is one, no more once *max_bytes* are reached."""

        return await self._select("id >= ? ORDER BY id", (first,), max_bytes)

    async def first_since(self, oldest_us: int, max_bytes: int) -> int:
        """The id of the oldest segment that was written since, as far back as *max_bytes* reach; 0: there is none."""

        def query(connection: apsw.Connection) -> int:
            first = size = 0
            for segment_id, at_us, segment_bytes in connection.execute(
                "SELECT id, at_us, bytes FROM segments ORDER BY id DESC"
            ):
                size += segment_bytes
                if at_us < oldest_us or size > max_bytes:
                    break
                first = segment_id
            return first

        return await self._database.read(query)

    async def size(self) -> JournalSize:
        return await self._database.read(journal_size)

    async def delete_before(self, oldest_us: int, max_bytes: int) -> Deleted:
        """Delete history that is older than *oldest_us*, or more than *max_bytes* in all, the oldest first."""
        segments = freed = 0
        while True:
            step = await self._database.write(
                lambda connection: delete_segments(connection, oldest_us, max_bytes), sync=False
            )
            if not step.segments:
                return Deleted(segments=segments, bytes=freed)
            segments += step.segments
            freed += step.bytes
            await trio.sleep(PAUSE)

    async def shrink(self, spare: int = SPARE) -> int:
        """Give free pages beyond *spare* bytes back to the file system; return how many bytes that were."""
        pages = 0
        while step := await self._database.write(lambda connection: shrink_file(connection, spare), sync=False):
            pages += step
            await trio.sleep(PAUSE)
        return pages * await self._database.read(lambda connection: int(connection.pragma("page_size")))

    async def _select(self, condition: str, values: tuple[int, ...], max_bytes: int) -> list[Segment]:
        def query(connection: apsw.Connection) -> list[Segment]:
            found: list[Segment] = []
            left = max_bytes
            for *head, crc, records in connection.execute(
                f"SELECT {HEAD}, crc, records FROM segments WHERE {condition}", values
            ):
                if crc32(records) != crc:
                    raise fault(
                        "damaged", self._database.path, f"segment {head[0]} of the journal is not what was written"
                    )
                found.append(_segment((*head, records)))
                left -= len(records)
                if left <= 0:
                    break
            return found

        return await self._database.read(query)


def write_segment(
    connection: apsw.Connection, segment_id: int, at_us: int, messages: int, settled_below: int, records: bytes
) -> None:
    """Part of a transaction that somebody else has opened."""
    connection.execute(
        "INSERT INTO segments SELECT ?1, ?2, ?3, ?4, ?5, ?6, "
        "coalesce((SELECT ends_at FROM segments ORDER BY id DESC LIMIT 1), 0) + ?5, ?7",
        (segment_id, at_us, messages, settled_below, len(records), crc32(records), records),
    )


def delete_segments(connection: apsw.Connection, oldest_us: int, max_bytes: int) -> Deleted:
    """Delete what `JournalRoom.delete_before` describes, for about SLICE; part of a transaction of somebody else."""
    newest = connection.execute("SELECT id, settled_below, ends_at FROM segments ORDER BY id DESC LIMIT 1").get
    if newest is None:
        return Deleted()
    newest_id, settled_below, end = newest
    deadline = monotonic() + SLICE
    segments = freed = 0
    while monotonic() < deadline:
        row = connection.execute(
            "SELECT id, bytes FROM segments WHERE id = (SELECT min(id) FROM segments) "
            "AND id < ? AND (at_us < ? OR ? - ends_at + bytes > ?)",
            (min(settled_below, newest_id), oldest_us, end, max_bytes),
        ).get
        if row is None:
            break
        connection.execute("DELETE FROM segments WHERE id = ?", (row[0],))
        failpoint("retention-middle")
        segments += 1
        freed += row[1]
    return Deleted(segments=segments, bytes=freed)


def shrink_file(connection: apsw.Connection, spare: int) -> int:
    """Give back free pages for about SLICE; return how many."""
    surplus = connection.pragma("freelist_count") - spare // connection.pragma("page_size")
    deadline = monotonic() + SLICE
    given = 0
    while given < surplus and monotonic() < deadline:
        step = min(SHRINK, surplus - given)
        connection.execute(f"PRAGMA incremental_vacuum({step})").fetchall()  # it works while it is read
        given += step
    return given


def journal_size(connection: apsw.Connection) -> JournalSize:
    row = connection.execute(
        "SELECT last.id - first.id + 1, last.ends_at - first.ends_at + first.bytes, first.at_us "
        "FROM segments AS first, segments AS last "
        "WHERE first.id = (SELECT min(id) FROM segments) AND last.id = (SELECT max(id) FROM segments)"
    ).get
    return JournalSize() if row is None else JournalSize(segments=row[0], bytes=row[1], oldest_us=row[2])


def _head(connection: apsw.Connection, which: str) -> Segment | None:
    row = connection.execute(f"SELECT {HEAD} FROM segments {which}").get
    return None if row is None else _segment((*row, b""))


def _segment(row: tuple[int, int, int, int, int, bytes]) -> Segment:
    segment_id, at_us, messages, settled_below, size, records = row
    return Segment(
        id=segment_id, at_us=at_us, messages=messages, settled_below=settled_below, size=size, records=records
    )
