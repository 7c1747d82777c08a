"""One process per data folder."""

import errno
import os
from pathlib import Path

import pytest
from trio.testing import MockClock

from caxton.core.errors import DataDirLocked, StoreError
from caxton.store import open_store, read_holder
from tests.store.processes import child, read_line


async def test_a_second_process_is_told_who_has_the_folder_and_what_to_do(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with child("hold", tmp_path) as first:
        assert read_line(first) == "ready"
        with pytest.raises(DataDirLocked) as caught:
            async with open_store(tmp_path):
                pass
        assert str(caught.value) == (
            f"the data folder {tmp_path} is in use by process {first.pid} (serving http://127.0.0.1:8080)"
        )
        assert "hypercorn -w 1" in caught.value.hint
        assert "CAXTON_DATA_DIR" in caught.value.hint
        assert caught.value.details["pid"] == first.pid


async def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    with child("hold", tmp_path) as first:
        assert read_line(first) == "ready"
    async with open_store(tmp_path) as store:
        assert not store.meta.clean_start


async def test_the_own_process_is_locked_out_too(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_store(tmp_path):
        with pytest.raises(DataDirLocked, match=f"in use by process {os.getpid()}$"):
            async with open_store(tmp_path):
                pass


async def test_anybody_can_ask_who_has_the_folder(tmp_path: Path) -> None:
    assert read_holder(tmp_path) is None
    async with open_store(tmp_path) as store:
        holder = read_holder(tmp_path)
        assert holder is not None
        assert (holder.pid, holder.address) == (os.getpid(), "")
        store.announce("http://[::1]:80")
        holder = read_holder(tmp_path)
        assert holder is not None
        assert holder.address == "http://[::1]:80"
        store.announce("shorter")
        holder = read_holder(tmp_path)
        assert holder is not None
        assert holder.address == "shorter"
    assert read_holder(tmp_path) is None


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"not a number\nwhere"])
async def test_a_lock_file_that_says_nonsense_still_locks(
    tmp_path: Path, text: bytes, autojump_clock: MockClock
) -> None:
    async with open_store(tmp_path):
        (tmp_path / "caxton.lock").write_bytes(text)
        with pytest.raises(DataDirLocked, match="in use by another process"):
            async with open_store(tmp_path):
                pass


async def test_the_folder_is_made_for_this_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "where"
    async with open_store(folder):
        assert folder.stat().st_mode & 0o777 == 0o700
        for name in ("local.db", "local.db-wal", "caxton.lock"):
            assert (folder / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("folder", ["file", "file/below"])
async def test_a_file_cannot_be_the_data_folder(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=f"{tmp_path / folder} cannot be a folder: ") as caught:
        async with open_store(tmp_path / folder):
            pass
    assert "CAXTON_DATA_DIR" in caught.value.hint


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
async def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match=f"{tmp_path} cannot be written: {os.strerror(code)}") as caught:
        async with open_store(tmp_path):
            pass
    assert "mounted read-only" in caught.value.hint
