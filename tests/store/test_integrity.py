"""Damaged files: each is a clear error with a way out, and is left as it was; never an empty server."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from caxton.core.errors import StoreError
from caxton.store import open_store
from caxton.store.database import connect
from caxton.store.journal import write_segment
from tests.store.specs import make_spec

PAGE = 4096


async def make(folder: Path, *, clean: bool) -> Path:
    """A data folder with something in it; not *clean*: as it is found after kill -9."""
    used = folder / "used"
    crashed = folder / "crashed"
    async with open_store(used) as store:
        await store.agents.put(make_spec("kept"))
        for number in range(100):
            await store.state.apply(f"agent-{number}", [(b"key", b"x" * 3000)])
        await store.write(lambda c: write_segment(c, 1, 0, 1, 0, b"message" * 1000))
        await store.modules.put(b"\0asm\1\0\0\0")
        await store._database.use(lambda c: c.wal_checkpoint() and None)
        await store.agents.put(make_spec("in-the-wal"))
        if not clean:
            shutil.copytree(used, crashed)
    return used if clean else crashed


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // PAGE // 2 * PAGE)


def overwrite_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"my diary" * 100)


def overwrite_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // PAGE // 2 * PAGE)
        file.write(b"\x55" * 2000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def delete(path: Path) -> None:
    path.unlink()


def delete_with_wal(path: Path) -> None:
    path.unlink()
    wal(path).unlink(missing_ok=True)


def delete_wal(path: Path) -> None:
    wal(path).unlink()


def wal(path: Path) -> Path:
    return path.with_name("local.db-wal")


@pytest.mark.parametrize(
    ("clean", "damage", "said"),
    [
        (True, truncate, "is damaged: .*malformed"),
        (False, truncate, "is damaged: "),
        (True, overwrite_header, "is damaged: .*not a database"),
        (False, overwrite_header, "is damaged: .*not a database"),
        (False, overwrite_page, "is damaged: "),
        (True, empty, "it is empty, and local.reserve shows that there was one"),
        (False, empty, "it is empty, and beside it lies local.db-wal with changes to it"),
        (True, delete, "it is missing, and local.reserve shows that there was one"),
        (False, delete, "it is missing, and beside it lies local.db-wal with changes to it"),
        (False, delete_with_wal, "it is missing, and local.reserve shows that there was one"),
        (False, delete_wal, "local.db-wal, which holds the last changes, is missing"),
    ],
)
async def test_damage_is_refused_with_a_way_out_and_left_alone(
    tmp_path: Path, clean: bool, damage: Callable[[Path], None], said: str
) -> None:
    folder = await make(tmp_path, clean=clean)
    path = folder / "local.db"
    damage(path)
    before = [file.read_bytes() if file.exists() else None for file in (path, wal(path))]
    for _ in range(2):  # a refusal does not mend anything, nor hide it
        with pytest.raises(StoreError, match=said) as caught:
            async with open_store(folder):
                pass
        assert caught.value.details["cause"] == "damaged"
        assert "caxton backup restore" in caught.value.hint
    assert [file.read_bytes() if file.exists() else None for file in (path, wal(path))] == before


async def test_a_folder_of_modules_alone_is_not_begun_anew(tmp_path: Path) -> None:
    folder = await make(tmp_path, clean=True)
    for name in ("local.db", "local.reserve"):
        (folder / name).unlink()
    with pytest.raises(StoreError, match=r"it is missing, and modules/../\w+.wasm shows that there was one"):
        async with open_store(folder):
            pass


async def test_an_unclean_stop_by_itself_is_no_damage(tmp_path: Path) -> None:
    folder = await make(tmp_path, clean=False)
    (folder / "local.db-shm").unlink(missing_ok=True)  # SQLite makes it again
    async with open_store(folder) as store:
        assert not store.meta.clean_start
        assert [spec.name for spec in await store.agents.list()] == ["in-the-wal", "kept"]


async def test_a_start_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "local.db").touch()
    async with open_store(tmp_path) as store:
        assert await store.agents.list() == []


async def test_a_database_that_somebody_looked_into_after_a_crash_can_be_used(tmp_path: Path) -> None:
    folder = await make(tmp_path, clean=False)
    path = folder / "local.db"
    connect(path).close()  # as sqlite3 does it: the WAL goes into the file
    with pytest.raises(StoreError, match=r"\(touch .*local.db-wal\)"):
        async with open_store(folder):
            pass
    wal(path).touch()
    async with open_store(folder) as store:
        assert [spec.name for spec in await store.agents.list()] == ["in-the-wal", "kept"]


async def test_a_flipped_bit_in_a_segment_is_found_when_it_is_read(tmp_path: Path) -> None:
    folder = await make(tmp_path, clean=True)
    path = folder / "local.db"
    data = bytearray(path.read_bytes())
    data[data.rindex(b"message")] ^= 1
    path.write_bytes(data)
    async with open_store(folder) as store:
        for read in (store.journal.read, store.journal.read_from):
            with pytest.raises(StoreError, match="segment 1 of the journal is not what was written") as caught:
                await read(1)
            assert caught.value.details["cause"] == "damaged"
