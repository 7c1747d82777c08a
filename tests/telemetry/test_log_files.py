"""Log files: full ones make way, old ones go, and nothing that is written is lost on the way."""

import errno
import gzip
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import caxton
from caxton.core.config import load_config
from caxton.core.config_logging import ROOMS, LoggingConfig
from caxton.core.errors import InvalidConfig
from caxton.telemetry import logs
from caxton.telemetry.log_files import LogFile

log = logging.getLogger("caxton.node.test")
LINE = "x" * 99 + "\n"


@pytest.fixture(autouse=True)
def the_log_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logs.start(LoggingConfig(output="stderr"))  # closes the file, and takes parts' levels back
    root.handlers[:], root.level = handlers, level


def settings(tmp_path: Path, **keys: object) -> LoggingConfig:
    named = {"output": "file", "file_path": str(tmp_path / "c.log"), **keys}
    return LoggingConfig(**named)  # type: ignore[arg-type]


def opened(tmp_path: Path, **keys: object) -> LogFile:
    config = settings(tmp_path, **keys)
    return LogFile(Path(config.file_path), config)


def text_of(file: LogFile) -> str:
    """All that is kept, the oldest first."""
    parts = [
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in file.backups()
    ]
    return b"".join([*parts, file.path.read_bytes()]).decode()


def test_the_log_goes_to_the_file(tmp_path: Path) -> None:
    logs.start(settings(tmp_path))
    log.info("started", extra={"agent": "ä"})
    (line,) = (tmp_path / "c.log").read_text().splitlines()
    assert msgspec.json.decode(line)["agent"] == "ä"
    assert (tmp_path / "c.log").stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_or_to_a_standard_stream(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.start(LoggingConfig(output=name, format="compact"))  # type: ignore[arg-type]
    log.info("here")
    out, err = capsys.readouterr()
    assert ("here" in out, "here" in err) == (name == "stdout", name == "stderr")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"file_path: .*none/c.log cannot be written to: No such file") as caught:
        logs.start(settings(tmp_path, file_path=str(tmp_path / "none" / "c.log")))
    assert "make its folder" in caught.value.hint


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(100, 400))
def test_a_full_file_makes_way_and_nothing_is_lost(sizes: list[int], most: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = opened(Path(folder), max_file_size=most, max_backups=1000)
        lines = [f"{number}:{'y' * size}\n" for number, size in enumerate(sizes)]
        for line in lines:
            file.write(line)
        assert text_of(file) == "".join(lines)
        for path in [file.path, *file.backups()]:
            assert path.stat().st_size <= max([most, *map(len, lines)])
        file.tidy(time.time())
        assert text_of(file) == "".join(lines)
        assert all(path.suffix == ".gz" for path in file.backups())
        file.close()


def test_so_many_are_kept(tmp_path: Path) -> None:
    (tmp_path / "c.log.mine").write_text("")  # not ours
    file = opened(tmp_path, max_file_size=250, max_backups=2)
    for _ in range(20):
        file.write(LINE)
    assert len(file.backups()) == 2
    file.limits = settings(tmp_path, max_file_size=250, max_backups=0)
    file.tidy(time.time())
    assert file.backups() == []
    assert (tmp_path / "c.log.mine").exists()
    file.close()


def test_old_ones_go_and_the_others_are_compressed(tmp_path: Path) -> None:
    file = opened(tmp_path, max_file_size=100, max_age=3600.0)
    for _ in range(3):
        file.write(LINE)
    old, young = file.backups()
    os.utime(old, (time.time() - 4000,) * 2)
    file.tidy(time.time())
    assert [path.name for path in file.backups()] == [f"{young.name}.gz"]
    file.tidy(time.time() + 4000)
    assert file.backups() == []
    file.limits = settings(tmp_path, max_file_size=100, max_age=0.0, compress=False)
    file.write(LINE)
    file.tidy(time.time() + 1e9)
    assert [path.suffix == ".gz" for path in file.backups()] == [False]
    file.close()


def test_without_a_bound_it_grows(tmp_path: Path) -> None:
    file = opened(tmp_path, max_file_size=0)
    for _ in range(50):
        file.write(LINE)
    assert file.path.stat().st_size == 5000
    file.close()
    again = opened(tmp_path, max_file_size=5050)  # it goes on where the last one ended
    again.write(LINE)
    assert len(again.backups()) == 1
    again.close()


def test_a_file_that_somebody_else_moved(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.write("before\n")
    file.path.rename(tmp_path / "elsewhere")
    file.write("still there\n")
    file.reopen()
    file.write("after\n")
    assert (tmp_path / "elsewhere").read_text() == "before\nstill there\n"
    assert file.path.read_text() == "after\n"
    file.close()


def test_a_file_that_somebody_else_emptied_is_not_full(tmp_path: Path) -> None:
    """logrotate's copytruncate."""
    file = opened(tmp_path, max_file_size=1000)
    for _ in range(9):
        file.write(LINE)
    os.truncate(file.path, 0)
    for _ in range(9):
        file.write(LINE)
    assert file.path.read_text() == LINE * 9
    assert file.backups() == []
    file.close()


def test_a_file_that_somebody_else_deleted_is_made_again(tmp_path: Path) -> None:
    file = opened(tmp_path, max_file_size=250)
    file.write(LINE)
    file.path.unlink()
    file.tidy(time.time())
    file.write("here\n")
    assert file.path.read_text() == "here\n"
    file.path.unlink()
    for _ in range(3):  # full before anybody looked
        file.write(LINE)
    assert file.path.read_text() == LINE
    assert file.backups() == []
    file.close()


def full(monkeypatch: pytest.MonkeyPatch, room: list[int]) -> None:
    """A disk with so many bytes left."""
    write = os.write

    def fails(file: int, data: memoryview) -> int:
        done = min(room[0], len(data))
        room[0] -= done
        if data and not done:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:done])

    monkeypatch.setattr(os, "write", fails)


def test_a_full_disk_costs_lines_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = opened(tmp_path, max_file_size=300, max_backups=2, compress=False)
    for number in range(6):
        file.write(f"{number}{LINE[1:]}")
    kept = text_of(file)
    with monkeypatch.context() as patch:
        room = [30]
        full(patch, room)
        for _ in range(100):
            file.write(LINE)
        assert len(file.backups()) == 2
        assert text_of(file) == kept + "x" * 30, "what was there is not thrown away for what cannot be written"
        room[0] = 10_000
        file.write("after\n")
    assert text_of(file).endswith("x" * 30 + "\nafter\n"), "on a line of its own"
    with monkeypatch.context() as patch:
        full(patch, [0])
        logs.output, handler = file, logging.StreamHandler(file)  # type: ignore[arg-type]  # of what it needs
        logging.getLogger().addHandler(handler)
        file.tidy(time.time())
        logging.getLogger().removeHandler(handler)
        logs.output = None
    caplog.clear()
    file.tidy(time.time())
    assert "100 lines of the log could not be written: No space left on device" in caplog.text
    caplog.clear()
    file.tidy(time.time())
    assert caplog.text == ""
    file.close()


def test_a_full_disk_leaves_no_half_compressed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = opened(tmp_path, max_file_size=100)
    file.write(LINE)
    file.write(LINE)
    (backup,) = file.backups()
    backup.with_name(f"{backup.name}.part").write_text("of a process that was killed")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", no)
        file.tidy(time.time())
    assert sorted(tmp_path.iterdir()) == [file.path, backup]
    file.tidy(time.time())
    assert [path.suffix for path in file.backups()] == [".gz"]
    file.close()


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.log")
    with pytest.raises(InvalidConfig, match=r"cannot be written to: (No such device|it is no file)"):
        logs.start(settings(tmp_path))
    reader = os.open(tmp_path / "c.log", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(InvalidConfig, match="it is no file; for a standard stream say output: stdout"):
        logs.start(settings(tmp_path))
    os.close(reader)


def test_threads_that_write_while_others_tidy_and_rotate(tmp_path: Path) -> None:
    """Each line whole, none lost, none twice."""
    file = opened(tmp_path, max_file_size=20_000, max_backups=10_000)
    done = threading.Event()

    def tidy() -> None:
        while not done.is_set():
            file.tidy(time.time())

    def write(thread: int) -> None:
        for number in range(1000):
            file.write(f"{thread} {number} {'z' * (number % 90)}\n")

    tidier = threading.Thread(target=tidy)
    writers = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in (tidier, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    tidier.join()
    file.tidy(time.time())
    lines = text_of(file).splitlines()
    assert sorted(lines) == sorted(f"{t} {n} {'z' * (n % 90)}" for t in range(4) for n in range(1000))
    for thread in range(4):
        numbers = [int(line.split()[1]) for line in lines if line.startswith(f"{thread} ")]
        assert numbers == sorted(numbers)
    file.close()


def test_what_cannot_be_renamed_is_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object) -> None:
        raise PermissionError

    file = opened(tmp_path, max_file_size=150)
    monkeypatch.setattr(os, "rename", no)
    for _ in range(5):
        file.write(LINE)
    assert file.path.stat().st_size == 500
    file.close()


def test_parts_have_levels_of_their_own_until_they_do_not(tmp_path: Path) -> None:
    def heard() -> list[str]:
        path = tmp_path / "c.log"
        path.write_text("")
        for name in ("caxton.node.x", "caxton.bus", "hypercorn.error"):
            logging.getLogger(name).debug("d")
            logging.getLogger(name).warning("w")
        rows = [msgspec.json.decode(line) for line in path.read_text().splitlines()]
        return [f"{row['logger']} {row['message']}" for row in rows]

    logs.start(settings(tmp_path, levels={"caxton.node": "debug", "hypercorn": "error"}))
    assert heard() == ["caxton.node.x d", "caxton.node.x w", "caxton.bus w"]
    logs.change(settings(tmp_path, levels={"caxton.bus": "debug"}, format="json"))
    assert heard() == ["caxton.node.x w", "caxton.bus d", "caxton.bus w", "hypercorn.error w"]


def test_rotation_changes_while_it_runs(tmp_path: Path) -> None:
    logs.start(settings(tmp_path))
    log.info("x")
    logs.change(settings(tmp_path, max_file_size=1))
    log.info("y")
    assert logs.output is not None
    assert len(logs.output.backups()) == 1


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ('levels={"caxton.nod": "debug"}', "there is no such part of caxton; did you mean 'node'?"),
        ('levels={"hypercon": "debug"}', "nothing logs under this name; did you mean 'hypercorn'?"),
        ('levels={"caxton.node": "loud"}', "'loud' is not one of trace, debug, info, warn, error"),
    ],
)
def test_what_cannot_be_meant(flag: str, said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_config(environ={"HOME": "/x"}, sets=[f"observability.logging.{flag}"])
    assert said in str(caught.value)


def test_the_parts_are_the_folders() -> None:
    folder = Path(caxton.__file__).parent
    there = {path.name for path in folder.iterdir() if (path / "__init__.py").exists()} - {"_fast", "testing"}
    assert there <= set(ROOMS)
