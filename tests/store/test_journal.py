"""Segments: one row each, read from the live part on, deleted oldest first."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import apsw
import pytest
from trio.testing import MockClock

from caxton.core.errors import StoreError
from caxton.store import Store, open_store
from caxton.store.journal import JournalSize, Segment, delete_segments, shrink_file, write_segment


def segment(number: int, *, at: int = 0, below: int = 0, size: int = 100) -> Callable[[apsw.Connection], None]:
    """Segment *number*: its records are its number, over and over."""
    return lambda connection: write_segment(connection, number, at, 1, below, bytes([number]) * size)


async def fill(store: Store, last: int, *, below: int = 0, size: int = 100) -> None:
    """Segments 1..last, at 1000, 2000, ...; the last says that what is below *below* is settled."""

    def work(connection: apsw.Connection) -> None:
        for number in range(1, last + 1):
            segment(number, at=1000 * number, below=below if number == last else 0, size=size)(connection)

    await store.write(work)


async def ids(store: Store) -> list[int]:
    return [found.id for found in await store.journal.read_from(0)]


async def test_segments_survive_as_they_were(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        assert await store.journal.newest() is None
        assert await store.journal.size() == JournalSize()
        await store.write(segment(1, at=5, size=3))
        await store.write(segment(2, at=6, below=2, size=100_000), sync=False)
    async with open_store(tmp_path) as store:
        assert await store.journal.newest() == Segment(id=2, at_us=6, messages=1, settled_below=2, size=100_000)
        assert await store.journal.read(1) == b"\1\1\1"
        assert await store.journal.read_from(0) == [
            Segment(id=1, at_us=5, messages=1, settled_below=0, size=3, records=b"\1\1\1"),
            Segment(id=2, at_us=6, messages=1, settled_below=2, size=100_000, records=b"\2" * 100_000),
        ]
        assert await store.journal.size() == JournalSize(segments=2, bytes=100_003, oldest_us=5)


async def test_a_segment_is_written_once(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.write(segment(1, at=5))
        with pytest.raises(StoreError):
            await store.write(segment(1, at=6))
        assert await ids(store) == [1]


async def test_a_missing_segment_is_damage(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        with pytest.raises(StoreError, match="segment 7 of the journal is missing") as caught:
            await store.journal.read(7)
        assert caught.value.details["cause"] == "damaged"


async def test_segments_are_read_in_pages(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await fill(store, 10, size=1000)
        pages = []
        first = 3
        while page := await store.journal.read_from(first, max_bytes=2500):
            pages.append([found.id for found in page])
            first = page[-1].id + 1
        assert pages == [[3, 4, 5], [6, 7, 8], [9, 10]]


@pytest.mark.parametrize(
    ("below", "oldest", "max_bytes", "left"),
    [
        (11, 0, 10_000, range(1, 11)),  # within the limits
        (11, 4_500, 10_000, range(5, 11)),  # older than allowed
        (11, 0, 349, range(8, 11)),  # larger than allowed
        (6, 9_000, 0, range(6, 11)),  # alive, whatever the limits
        (11, 99_000, 0, [10]),  # the newest stays
        (0, 99_000, 0, range(1, 11)),
    ],
)
async def test_history_goes_oldest_first_and_what_lives_stays(
    tmp_path: Path, below: int, oldest: int, max_bytes: int, left: range, autojump_clock: MockClock
) -> None:
    async with open_store(tmp_path) as store:
        await fill(store, 10, below=below)
        deleted = await store.journal.delete_before(oldest, max_bytes)
        assert await ids(store) == list(left)
        assert deleted.segments == 10 - len(left)
        assert deleted.bytes == 100 * deleted.segments
        size = await store.journal.size()
        assert (size.segments, size.bytes) == (len(left), 100 * len(left))


async def test_deleting_gives_way_to_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step stops as soon as its time is over, and says that there is more."""
    times = count()  # a second per look; SLICE is five
    monkeypatch.setattr("caxton.store.journal.SLICE", 5)
    monkeypatch.setattr("caxton.store.journal.monotonic", lambda: next(times))
    async with open_store(tmp_path) as store:
        await fill(store, 30, below=31)
        step = await store.write(lambda connection: delete_segments(connection, 99_000, 0))
        assert step.segments == 4
        assert await ids(store) == list(range(5, 31))


async def test_the_file_shrinks_in_steps_to_what_it_may_keep(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_store(tmp_path) as store:
        await fill(store, 40, below=41, size=50_000)
        await store.journal.delete_before(99_000, 0)
        free = await store.read(lambda connection: connection.pragma("freelist_count"))
        assert free > 450
        given = await store.journal.shrink(100 * 4096)
        assert given == (free - 100) * 4096
        assert await store.read(lambda connection: connection.pragma("freelist_count")) == 100
        assert await store.journal.shrink(100 * 4096) == 0
        assert await store.journal.read(40) == b"\x28" * 50_000


async def test_shrinking_gives_way_to_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caxton.store.journal.SLICE", 0.0)
    async with open_store(tmp_path) as store:
        assert await store.write(lambda connection: shrink_file(connection, 0)) == 0
