"""The folder for what is only needed for a while: whose it may be, how much goes in, and who tidies up."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caxton.core.errors import InvalidConfig, StorageFull
from caxton.store.temp import TempRoom, check_folder, open_temp

KB = 1 << 10
MB = 1 << 20


@contextmanager
def a_room(folder: Path, limit: int = MB, data_dir: Path | None = None) -> Iterator[TempRoom]:
    beside = ((data_dir, "??/.*"),) if data_dir else ()
    with open_temp(folder, limit, beside) as room:
        yield room


def left_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


async def test_a_folder_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with a_room(tmp_path / "temp") as room:
        assert not (tmp_path / "temp").exists(), "not before it is needed"
        async with room.open_folder(10, "a backup") as one, room.open_folder(10, "a backup") as two:
            assert one != two
            for folder in (tmp_path / "temp", one.parent, one):
                assert folder.stat().st_mode & 0o777 == 0o700
            (one / "file").write_text("x")
        assert not one.exists()
    assert left_in(tmp_path / "temp") == []


async def test_no_more_than_its_bound(tmp_path: Path) -> None:
    with a_room(tmp_path / "temp", limit=100 * KB) as room:
        with room.reserve(60 * KB, "a module"):
            with pytest.raises(StorageFull, match="a backup needs 41KB for a while, 60KB are in use") as caught:
                async with room.open_folder(41 * KB, "a backup"):
                    pass
            assert "max_temp_size is 100KB" in caught.value.message
            assert "wait until" in caught.value.hint
            with room.reserve(40 * KB, "a module"):
                assert room.used == 100 * KB
        assert room.used == 0
        with pytest.raises(StorageFull) as caught, room.reserve(101 * KB, "a module"):
            pass
        assert "wait" not in caught.value.hint


CHILD = """
import sys
from pathlib import Path
import trio
from caxton.store.temp import open_temp
async def main():
    with open_temp(Path(sys.argv[1]), 1 << 20, ()) as room:
        async with room.open_folder(1, "a backup") as folder:
            (folder / "file").write_text("x")
            print(folder, flush=True)
            sys.stdin.read()
trio.run(main)
"""


async def test_what_a_crashed_server_left_goes_and_what_a_live_one_has_stays(tmp_path: Path) -> None:
    temp = tmp_path / "temp"
    with subprocess.Popen(  # noqa: ASYNC220 (nothing else runs here)
        [sys.executable, "-c", CHILD, temp], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        with a_room(temp) as room:
            async with room.open_folder(1, "a backup") as mine:
                room.clean()
                assert (theirs / "file").exists()
                other.kill()
                other.wait()
                room.clean()
                assert mine.exists()
        assert left_in(temp) == []


def test_a_server_tidies_up_when_it_starts(tmp_path: Path) -> None:
    (tmp_path / "temp" / "server-1-abcdefgh" / "x").mkdir(parents=True)
    with a_room(tmp_path / "temp"):
        assert left_in(tmp_path / "temp") == []


def test_only_what_is_ours_by_its_name_is_removed(tmp_path: Path) -> None:
    temp, precious = tmp_path / "temp", tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    for name in ("server-1", "letters", "server-1-abcdefghi"):
        (temp / name).mkdir(parents=True)
    (temp / "server-1-abcdefgh").symlink_to(precious)
    (temp / "server-2-abcdefgh").write_text("a file")
    before = left_in(tmp_path)
    with a_room(temp):
        assert left_in(tmp_path) == before


def test_what_is_beside_its_place_goes_at_the_start_and_when_it_is_old(tmp_path: Path) -> None:
    data, half, whole = tmp_path / "data", tmp_path / "data" / "ab" / ".new-1", tmp_path / "data" / "ab" / "ab.wasm"
    half.parent.mkdir(parents=True)
    half.write_text("x")
    whole.write_text("x")
    with a_room(tmp_path / "temp", data_dir=data) as room:
        assert left_in(data) == ["ab", "ab/ab.wasm"]
        half.write_text("x")  # is being written
        room.clean()
        assert half.exists()
        os.utime(half, (1, 1))
        room.clean()
        assert left_in(data) == ["ab", "ab/ab.wasm"]


async def test_somebody_else_tidied_up(tmp_path: Path) -> None:
    with a_room(tmp_path / "temp") as room:
        async with room.open_folder(1, "a backup") as folder:
            folder.rmdir()
            folder.parent.rmdir()
            (tmp_path / "temp").rmdir()
        async with room.open_folder(1, "a backup") as folder:
            assert folder.is_dir()


def foreign(path: Path) -> None:
    path.mkdir()
    os.chown(path, 12345, -1)


def link(path: Path) -> None:
    path.with_name("elsewhere").mkdir()
    path.symlink_to(path.with_name("elsewhere"))


def open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def below_one_of_all(path: Path) -> None:
    path.mkdir(mode=0o700)
    path.parent.chmod(0o777)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (link, "is a symbolic link"),
        (lambda path: path.write_text(""), "is not a folder"),
        (open_to_all, r"may be written to by others \(its mode is 777\)"),
        (below_one_of_all, "can be replaced by others"),
        pytest.param(
            foreign,
            "belongs to user 12345, and the server runs as root",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away"),
        ),
    ],
)
def test_a_folder_that_others_have_a_hand_in_is_refused(tmp_path: Path, make: object, why: str) -> None:
    assert callable(make)
    make(tmp_path / "temp")
    with pytest.raises(InvalidConfig, match=f"resources.disk.temp_dir: {tmp_path}/temp {why}") as caught:
        check_folder(tmp_path / "temp")
    assert "only the server's user" in caught.value.hint
    with pytest.raises(InvalidConfig), a_room(tmp_path / "temp"):
        pass


def test_in_a_shared_folder_it_may_be(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    check_folder(tmp_path / "temp")
    (tmp_path / "temp").mkdir(mode=0o755)
    check_folder(tmp_path / "temp")


def test_where_none_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "temp", tmp_path / "file" / "a" / "temp", Path("/proc/1/caxton/temp")):
        with pytest.raises(InvalidConfig, match="cannot be"):
            check_folder(folder)
