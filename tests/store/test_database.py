"""The writer's thread: group commit, one answer per caller, and disks that fail."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest
import trio
import trio.testing

from caxton.core.errors import ShuttingDown, StoreError
from caxton.store.database import Database, check_sqlite_version, connect, open_database
from caxton.store.writer import QUEUE, Work
from tests.store.disk import Disk, faulty_disk


@asynccontextmanager
async def open_numbers(folder: Path, disk: Disk | None = None) -> AsyncIterator[Database]:
    """A database with one table: n (number INTEGER, padding BLOB)."""
    vfs = disk.name if disk else None
    path = folder / "numbers.db"
    async with open_database(connect(path, vfs=vfs), path, vfs=vfs) as database:
        await database.write(lambda c: c.execute("CREATE TABLE n (number INTEGER PRIMARY KEY, padding BLOB)") and None)
        yield database


def insert(number: int, size: int = 0) -> Work[None]:
    def work(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO n VALUES (?, zeroblob(?))", (number, size))

    return work


async def numbers(database: Database) -> list[int]:
    return await database.read(lambda c: [n for (n,) in c.execute("SELECT number FROM n ORDER BY number")])


@asynccontextmanager
async def busy_writer(database: Database) -> AsyncIterator[None]:
    """The writer sits in a transaction until the block ends; what is written inside queues up for the next one."""
    running, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def work(_: apsw.Connection) -> None:
        token.run_sync_soon(running.set)
        go_on.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, work)
        await running.wait()
        try:
            yield
        finally:
            go_on.set()


async def outcomes(database: Database, works: list[Work[None]]) -> list[BaseException | None]:
    """Write all of *works* in one group commit; None where it went well."""
    errors: list[BaseException | None] = [None] * len(works)

    async def write(index: int) -> None:
        try:
            await database.write(works[index])
        except Exception as error:
            errors[index] = error

    async with trio.open_nursery() as nursery, busy_writer(database):
        for index in range(len(works)):
            nursery.start_soon(write, index)
        await trio.testing.wait_all_tasks_blocked()
    return errors


async def test_a_read_sees_what_was_written(tmp_path: Path) -> None:
    async with open_numbers(tmp_path) as database:
        await database.write(insert(1))
        assert await numbers(database) == [1]


async def test_a_write_returns_what_its_function_returns(tmp_path: Path) -> None:
    async with open_numbers(tmp_path) as database:
        assert await database.write(lambda c: c.execute("INSERT INTO n VALUES (7, NULL) RETURNING number").get) == 7


async def test_queued_writes_share_one_transaction(tmp_path: Path) -> None:
    commits = 0

    def note() -> bool:
        nonlocal commits
        commits += 1
        return False

    async with open_numbers(tmp_path) as database:
        await database.write(lambda c: c.set_commit_hook(note))
        commits = 0
        assert await outcomes(database, [insert(n) for n in range(20)]) == [None] * 20
        assert await numbers(database) == list(range(20))
    assert commits == 2  # what kept the writer busy, and all the rest


async def test_a_failing_write_undoes_itself_only(tmp_path: Path) -> None:
    def fail(connection: apsw.Connection) -> None:
        insert(2)(connection)
        raise LookupError("not today")

    async with open_numbers(tmp_path) as database:
        errors = await outcomes(database, [insert(1), fail, insert(3)])
        assert [type(error) for error in errors] == [type(None), LookupError, type(None)]
        assert await numbers(database) == [1, 3]


async def test_an_error_of_sqlite_becomes_a_store_error(tmp_path: Path) -> None:
    async with open_numbers(tmp_path) as database:
        with pytest.raises(StoreError, match=r"numbers\.db cannot be used: .*no such table: nowhere"):
            await database.write(lambda c: c.execute("DELETE FROM nowhere") and None)


async def test_even_an_exit_is_the_callers(tmp_path: Path) -> None:
    def leave(_: apsw.Connection) -> None:
        raise SystemExit(3)

    async with open_numbers(tmp_path) as database:
        with pytest.raises(SystemExit):
            await database.write(leave)
        await database.write(insert(1))


async def test_a_full_disk_is_an_error_for_who_needs_room_and_nobody_else(tmp_path: Path) -> None:
    async with open_numbers(tmp_path) as database:
        await database.write(lambda c: c.pragma("max_page_count", c.pragma("page_count") + 2))
        small, large, other = await outcomes(database, [insert(1), insert(2, 1 << 20), insert(3)])
        assert small is None
        assert other is None
        assert isinstance(large, StoreError)
        assert large.details["cause"] == "disk_full"
        assert "free some space" in large.hint
        assert await numbers(database) == [1, 3]

        await database.write(lambda c: c.pragma("max_page_count", 1 << 20))
        await database.write(insert(2, 1 << 20))
        assert await numbers(database) == [1, 2, 3]


@pytest.mark.parametrize("operation", ["write", "sync"])
async def test_after_a_failure_of_the_disk_writes_go_on(tmp_path: Path, operation: str) -> None:
    with faulty_disk() as disk:
        async with open_numbers(tmp_path, disk) as database:
            await database.write(insert(1))
            disk.failing.add(operation)
            errors = await outcomes(database, [insert(2), insert(3)])
            assert [isinstance(error, StoreError) and error.details["cause"] for error in errors] == ["io_error"] * 2
            assert await numbers(database) == [1]
            disk.failing.clear()
            await database.write(insert(4))
            assert await numbers(database) == [1, 4]


async def test_a_cancelled_caller_waits_for_its_commit(tmp_path: Path) -> None:
    scope = trio.CancelScope()
    returned = False

    async def write() -> None:
        nonlocal returned
        with scope:
            await database.write(insert(1))
            returned = True

    async with open_numbers(tmp_path) as database:
        async with trio.open_nursery() as nursery, busy_writer(database):
            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert not returned
        assert returned
        assert await numbers(database) == [1]


async def test_more_writers_than_the_queue_holds_all_get_their_turn(tmp_path: Path) -> None:
    count = QUEUE + 50
    async with open_numbers(tmp_path) as database:
        assert await outcomes(database, [insert(n) for n in range(count)]) == [None] * count
        assert len(await numbers(database)) == count


async def test_a_closed_database_refuses(tmp_path: Path) -> None:
    async with open_numbers(tmp_path) as database:
        pass
    with pytest.raises(ShuttingDown):
        await database.write(insert(1))
    with pytest.raises(ShuttingDown):
        await numbers(database)


async def test_closing_finishes_what_is_queued(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        async with open_numbers(tmp_path) as database:
            for n in range(300):
                nursery.start_soon(database.write, insert(n))
            await trio.testing.wait_all_tasks_blocked()
    async with open_database(connect(database.path), database.path) as database:
        assert len(await numbers(database)) == 300


async def test_a_query_cannot_write(tmp_path: Path) -> None:
    async with open_numbers(tmp_path) as database:
        with pytest.raises(StoreError, match="readonly"):
            await database.read(insert(1))


async def test_the_wal_stays_small(tmp_path: Path) -> None:
    async with open_numbers(tmp_path) as database:
        for n in range(400):
            await database.write(insert(n, 100_000))
        wal = tmp_path / "numbers.db-wal"
        assert wal.stat().st_size < 8 << 20
    assert not wal.exists()


async def test_a_reader_that_takes_long_keeps_the_wal_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caxton.store.writer.CHECKPOINT_PAGES", 20)
    monkeypatch.setattr("caxton.store.writer.RESTART_PAGES", 100)
    monkeypatch.setattr("caxton.store.writer.RESTART_TIMEOUT", 1)
    reading, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def query(connection: apsw.Connection) -> int:
        with connection:  # one snapshot
            first: int = connection.execute("SELECT count(*) FROM n").get
            token.run_sync_soon(reading.set)
            go_on.wait()
            return first + connection.execute("SELECT count(*) FROM n").get

    async def read() -> None:
        counted.append(await database.read(query))

    counted: list[int] = []
    wal = tmp_path / "numbers.db-wal"
    async with open_numbers(tmp_path) as database, trio.open_nursery() as nursery:
        await database.write(insert(0))
        nursery.start_soon(read)
        await reading.wait()
        for n in range(1, 30):
            await database.write(insert(n, 40_000))
        held = wal.stat().st_size
        assert held > 29 * 40_000
        go_on.set()
        while not counted:
            await trio.testing.wait_all_tasks_blocked()
        assert counted == [2]
        for n in range(30, 80):
            await database.write(insert(n, 40_000))
        assert wal.stat().st_size < held * 2  # it has started over


async def test_a_wal_is_checkpointed_when_nobody_writes(tmp_path: Path) -> None:
    async with open_numbers(tmp_path) as database:
        size = (tmp_path / "numbers.db").stat().st_size
        await database.write(insert(1, 600_000))  # less than CHECKPOINT_PAGES
        while (tmp_path / "numbers.db").stat().st_size < size + 600_000:
            await trio.lowlevel.checkpoint()


async def test_what_runs_between_transactions_is_in_none(tmp_path: Path) -> None:
    async with open_numbers(tmp_path) as database:
        assert await database.write(lambda c: c.in_transaction) is True
        assert await database.use(lambda c: c.in_transaction) is False
        with pytest.raises(StoreError, match="no such table: nowhere"):
            await database.use(lambda c: c.execute("DELETE FROM nowhere") and None)


async def test_a_commit_is_on_the_disk_and_readers_do_not_wait(tmp_path: Path) -> None:
    async with open_numbers(tmp_path) as database:
        found = await database.write(
            lambda c: [c.pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys")]
        )
        assert found == ["wal", 2, 1]


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.9.99"])
def test_an_old_sqlite_is_refused(version: str) -> None:
    with pytest.raises(StoreError, match=rf"SQLite {version}; Caxton needs 3\.51\.3") as caught:
        check_sqlite_version(version)
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize("version", ["3.51.3", "3.53.0", "4.0.0"])
def test_a_sound_sqlite_is_accepted(version: str) -> None:
    check_sqlite_version(version)


async def synchronous(database: Database, *, sync: list[bool]) -> list[int]:
    """The level that writes of one transaction run at, each with or without *sync*."""
    levels: list[int] = []

    async def write(one: bool) -> None:
        levels.append(await database.write(lambda c: int(c.pragma("synchronous")), one))

    async with trio.open_nursery() as nursery, busy_writer(database):
        for one in sync:
            nursery.start_soon(write, one)
        await trio.testing.wait_all_tasks_blocked()
    return levels


async def test_a_transaction_of_relaxed_writes_only_is_not_synced(tmp_path: Path) -> None:
    full, normal = 2, 1
    async with open_numbers(tmp_path) as database:
        assert await synchronous(database, sync=[False, False]) == [normal, normal]
        assert await synchronous(database, sync=[False, True, False]) == [full] * 3
        assert await synchronous(database, sync=[False]) == [normal]
        assert await synchronous(database, sync=[True]) == [full]


@pytest.mark.parametrize("sync", [False, True])
async def test_only_a_relaxed_write_can_do_without_the_disks_sync(tmp_path: Path, sync: bool) -> None:
    with faulty_disk() as disk:
        async with open_numbers(tmp_path, disk) as database:
            disk.failing.add("sync")
            if sync:
                with pytest.raises(StoreError):
                    await database.write(insert(1), sync)
            else:
                await database.write(insert(1), sync)
            disk.failing.clear()
            assert await numbers(database) == ([] if sync else [1])
