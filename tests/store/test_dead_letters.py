"""Dead letters: kept with their reason, found by it, bounded in number and age."""

from pathlib import Path

import apsw
import pytest
from trio.testing import MockClock

from caxton._fast.envelope import Envelope
from caxton.core.errors import NotFound
from caxton.store import Store, Which, open_store
from caxton.store.dead_letters import STEP, Row, trim_dead_letters, write_dead_letters


def frame(number: int) -> bytes:
    return Envelope.make(
        performative="inform",
        sender="sam",
        receiver="rita",
        content=b"%d" % number,
        message_id=f"00000000-0000-7000-8000-{number:012x}",
    ).to_frame()


def letter(number: int, agent: str = "rita", reason: int = 1) -> Row:
    return (frame(number), agent, reason, 3, f"attempt {number}")


async def put(store: Store, *rows: Row, at: int = 0) -> None:
    await store.write(lambda connection: write_dead_letters(connection, rows, at))


async def test_a_letter_says_what_who_why_and_when(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await put(store, letter(1), at=77)
    async with open_store(tmp_path) as store:
        found = await store.dead_letters.get(1)
        assert (found.id, found.message_id) == (1, "00000000-0000-7000-8000-000000000001")
        assert (found.agent, found.sender, found.reason, found.attempts) == ("rita", "sam", 1, 3)
        assert (found.detail, found.at_us, found.frame) == ("attempt 1", 77, frame(1))


async def test_a_frame_that_cannot_be_read_is_kept_all_the_same(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await put(store, (b"no frame", "rita", 2, 0, ""))
        found = await store.dead_letters.get(1)
        assert (found.frame, found.message_id, found.sender) == (b"no frame", "", "")


async def test_a_listing_is_in_pages_with_the_newest_first(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await put(store, *(letter(n, agent="ab"[n % 2], reason=n % 3) for n in range(1, 11)))
        room = store.dead_letters
        first = await room.list(limit=4)
        assert [found.id for found in first] == [10, 9, 8, 7]
        assert [found.id for found in await room.list(before=first[-1].id, limit=4)] == [6, 5, 4, 3]
        assert all(found.frame == b"" for found in first)
        assert [found.id for found in await room.list(Which(agent="a"))] == [10, 8, 6, 4, 2]
        assert [found.id for found in await room.list(Which(agent="a", reason=1))] == [10, 4]
        assert await room.list(Which(agent="nobody")) == []


async def test_an_export_is_in_pages_with_the_oldest_first_and_whole(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await put(store, *(letter(n) for n in range(1, 6)))
        page = await store.dead_letters.export(limit=3)
        assert [(found.id, found.frame) for found in page] == [(n, frame(n)) for n in (1, 2, 3)]
        assert [found.id for found in await store.dead_letters.export(after=3, limit=3)] == [4, 5]


async def test_letters_are_counted(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        assert await store.dead_letters.count() == 0
        await put(store, *(letter(n, reason=n % 3) for n in range(10)))
        assert await store.dead_letters.count() == 10
        assert await store.dead_letters.count(Which(agent="rita", reason=2)) == 3
        assert await store.dead_letters.count_by_reason() == {0: 4, 1: 3, 2: 3}


async def test_removed_letters_are_gone_and_their_ids_are_not_used_again(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await put(store, *(letter(n) for n in range(1, 5)))
        assert await store.dead_letters.remove([2, 4, 99]) == 2
        await put(store, letter(5))
        assert [found.id for found in await store.dead_letters.list()] == [5, 3, 1]
        with pytest.raises(NotFound, match="no dead letter 4"):
            await store.dead_letters.get(4)


async def test_a_purge_takes_what_it_was_told_to(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_store(tmp_path) as store:
        await put(store, *(letter(n, agent="ab"[n % 2]) for n in range(2 * STEP + 10)), at=5)
        await put(store, letter(1, agent="a"), at=9)
        assert await store.dead_letters.purge(Which(agent="a", before_us=9)) == STEP + 5
        assert await store.dead_letters.count(Which(agent="a")) == 1
        assert await store.dead_letters.purge() == STEP + 6
        assert await store.dead_letters.count() == 0


async def test_the_oldest_go_when_there_are_too_many_and_it_is_told(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_store(tmp_path) as store:
        await put(store, *(letter(n) for n in range(1, 11)))
        assert await store.dead_letters.trim(10, 0) == 0
        await store.dead_letters.remove([1, 5])
        assert await store.dead_letters.trim(8, 0) == 0  # ids 2..10, but only eight letters
        assert await store.dead_letters.trim(3, 0) == 5
        assert [found.id for found in await store.dead_letters.list()] == [10, 9, 8]
        assert await store.dead_letters.trim(0, 0) == 3
        assert await store.dead_letters.trim(0, 0) == 0


async def test_letters_expire_and_it_is_told(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_store(tmp_path) as store:
        for at in (10, 20, 30):
            await put(store, letter(at), at=at)
        assert await store.dead_letters.trim(100, 25) == 2
        assert [found.at_us for found in await store.dead_letters.list()] == [30]


async def test_letters_and_their_bounds_can_be_one_transaction(tmp_path: Path) -> None:
    def work(connection: apsw.Connection) -> int:
        write_dead_letters(connection, [letter(n) for n in range(6)], 0)
        return trim_dead_letters(connection, 4, 0)

    async with open_store(tmp_path) as store:
        assert await store.write(work) == 2
        assert await store.write(work) == 6
        assert await store.dead_letters.count() == 4
