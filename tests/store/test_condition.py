"""What the store does when the disk is full, fails or does not answer, and how it notices that all is well again."""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest
import trio
from trio.testing import MockClock

from caxton.core.errors import StoreError
from caxton.store import Store, open_store
from caxton.store.journal import delete_segments, write_segment
from caxton.store.reserve import Reserve
from tests.store.disk import faulty_disk

ROOM = 16 << 20


async def put(store: Store, value: bytes = b"v") -> None:
    await store.state.apply("a", [(b"k", value)])


async def wait_sound(store: Store) -> None:
    while store.fault is not None:
        await store.wait_condition_changed()


@pytest.fixture(autouse=True)
def _eager_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caxton.store.writer.PROBE", 0.01)


async def test_a_full_disk_costs_the_reserve_first_and_no_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = False
    hold = Reserve.hold
    monkeypatch.setattr(Reserve, "hold", lambda reserve: not full and hold(reserve))
    reserve = tmp_path / "local.reserve"
    with faulty_disk() as disk:
        async with open_store(tmp_path, vfs=disk.name) as store:
            assert store.condition == "ok"
            full = True
            disk.is_full = lambda: full and reserve.exists()
            await put(store)
            assert not reserve.exists()
            assert store.fault is not None
            assert store.fault.details["cause"] == "disk_full"
            assert store.condition.startswith("disk_full: there is no room left on the disk of ")
            assert await store.state.load("a") == {b"k": b"v"}
            full = False
            await wait_sound(store)
            assert reserve.exists()


async def test_without_a_reserve_a_full_disk_is_an_error_until_there_is_room(tmp_path: Path) -> None:
    full = True
    with faulty_disk() as disk:
        async with open_store(tmp_path, vfs=disk.name) as store:
            disk.is_full = lambda: full
            for _ in range(2):
                with pytest.raises(StoreError) as caught:
                    await put(store)
                assert caught.value.details["cause"] == "disk_full"
            full = False
            await wait_sound(store)
            await put(store)


async def test_a_disk_without_room_for_the_reserve_is_full_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_room = False
    hold = Reserve.hold
    monkeypatch.setattr(Reserve, "hold", lambda reserve: has_room and hold(reserve))
    async with open_store(tmp_path) as store:
        assert store.condition.startswith("disk_full: ")
        await put(store)
        assert store.condition.startswith("disk_full: ")  # a small write proves nothing
        has_room = True
        await wait_sound(store)


async def test_a_full_disk_does_not_stop_the_start(tmp_path: Path) -> None:
    reserve = tmp_path / "local.reserve"
    async with open_store(tmp_path) as store:
        await put(store)
    with faulty_disk() as disk:
        disk.is_full = reserve.exists
        async with open_store(tmp_path, vfs=disk.name) as store:
            assert await store.state.load("a") == {b"k": b"v"}


@pytest.mark.parametrize("operation", ["write", "sync"])
async def test_the_end_of_an_io_error_is_noticed_though_nobody_writes(tmp_path: Path, operation: str) -> None:
    with faulty_disk() as disk:
        async with open_store(tmp_path, vfs=disk.name) as store:
            disk.failing.add(operation)
            with pytest.raises(StoreError):
                await put(store)
            assert store.condition.startswith("io_error: ")
            disk.failing.clear()
            await wait_sound(store)
            assert store.condition == "ok"


async def test_a_checkpoint_that_fails_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caxton.store.writer.IDLE", 0.01)
    with faulty_disk() as disk:
        async with open_store(tmp_path, vfs=disk.name) as store:
            await put(store)  # the first in a WAL is always synced
            disk.failing.add("sync")
            # a relaxed write is not synced, so that only the checkpoint after it meets the fault
            await store.write(lambda connection: write_segment(connection, 1, 0, 1, 0, bytes(2 << 20)), sync=False)
            while store.fault is None:
                await store.wait_condition_changed()
            assert store.condition.startswith("io_error: ")
            disk.failing.clear()
            await wait_sound(store)


async def test_what_one_write_does_wrong_is_no_fault_of_the_store(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        with pytest.raises(StoreError):
            await store.write(lambda connection: connection.execute("DELETE FROM nowhere") and None)
        assert store.condition == "ok"


async def test_damage_lasts_and_the_next_start_looks_for_it(tmp_path: Path) -> None:
    def find_damage(_: apsw.Connection) -> None:
        raise apsw.CorruptError("page 7 is not what it was")

    async with open_store(tmp_path) as store:
        with pytest.raises(StoreError):
            await store.write(find_damage)
        await put(store)
        assert store.condition.startswith("damaged: ")
    async with open_store(tmp_path) as store:
        assert not store.meta.clean_start
        assert store.condition == "ok"


async def test_a_disk_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caxton.store.condition.PATIENCE", 0.01)
    syncing, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        syncing.set()
        go_on.wait()

    with faulty_disk() as disk:
        async with open_store(tmp_path, vfs=disk.name) as store, trio.open_nursery() as nursery:
            disk.before_sync = wait
            nursery.start_soon(put, store)
            await trio.to_thread.run_sync(syncing.wait)
            while (found := store.fault) is None:
                await trio.lowlevel.checkpoint()
            assert found.details["cause"] == "slow"
            assert await store.state.load("a") == {}  # readers do not wait
            disk.before_sync = lambda: None
            go_on.set()
    assert store.fault is None


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A real file system of ROOM bytes."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"caxton-test", os.fsencode(folder), b"tmpfs", 0, b"size=%d" % ROOM) != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        assert libc.umount2(os.fsencode(folder), 0) == 0, os.strerror(ctypes.get_errno())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a tmpfs takes root on Linux")
async def test_a_real_full_disk(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Fill it with others' data and with ours; finish what waits from the reserve; go on when there is room."""
    records = bytes(256 << 10)
    with small_disk(tmp_path):
        ballast = tmp_path / "ballast"
        ballast.write_bytes(bytes(4 << 20))
        async with open_store(tmp_path / "data") as store:
            last = 0
            while store.fault is None:
                number = last + 1
                await store.write(lambda c: write_segment(c, number, 0, 1, number, records))  # noqa: B023 (it is awaited)
                last = number
            assert store.condition.startswith("disk_full: ")
            assert last > 5

            await put(store, bytes(100_000))  # an agent handles what waits
            assert (await store.write(lambda c: delete_segments(c, 1, 0))).segments > 0

            with pytest.raises(StoreError) as caught:  # more than even the reserve had
                await store.state.apply("greedy", [(b"k", bytes(ROOM))])
            assert caught.value.details["cause"] == "disk_full"
            assert (await store.journal.newest()) is not None

            ballast.unlink()
            await wait_sound(store)
            await put(store, b"again")
        async with open_store(tmp_path / "data") as store:
            assert store.meta.clean_start
            assert await store.state.load("a") == {b"k": b"again"}
            newest = await store.journal.newest()
            assert newest is not None
            assert newest.id == last
            assert await store.read(lambda connection: connection.pragma("quick_check")) == "ok"


def test_a_reserve_is_room_that_is_really_there(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 1 << 20)
    assert not reserve.release()
    assert reserve.hold()
    found = reserve.path.stat()
    assert found.st_size == 1 << 20
    assert found.st_blocks * 512 >= 1 << 20
    assert reserve.is_held
    assert reserve.hold()
    assert reserve.release()
    assert not reserve.is_held
    assert not reserve.path.exists()


def test_a_reserve_with_holes_is_filled(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 1 << 20)
    with reserve.path.open("wb") as file:
        file.truncate(1 << 20)
    assert reserve.hold()
    assert reserve.path.stat().st_blocks * 512 >= 1 << 20


def test_a_reserve_that_finds_no_room_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("caxton.store.reserve._allocate", refuse)
    reserve = Reserve(tmp_path / "reserve", 1 << 20)
    assert not reserve.hold()
    assert not reserve.path.exists()
