"""A log's file that does not grow without bound: full, it is renamed, and another is begun.

Rule 1: writing a line does no more than write, and rename now and then; what takes time (compressing) is `tidy`, which
        somebody else's thread runs.
Rule 2: a file that cannot be renamed is written on. A log that is too long is better than none.
Rule 3: only files that have our names are ever deleted: the log's name and a time.
Rule 4: others may move, empty or delete the file: what is written goes to the file of this name, from the next round of
        `tidy` on at the latest. How long it is says the file, not what we remember.
Rule 5: a line that a full disk takes in part, or not at all, is lost and counted; the next begins on a line of its own.
"""

import errno
import gzip
import logging
import os
import re
import shutil
import stat
import threading
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from caxton.core.config_logging import LoggingConfig

STAMP = "%Y%m%d-%H%M%S-%f"
BACKUP = re.compile(r"\.\d{8}-\d{6}-\d{6}(\.gz)?")
PART = re.compile(r"\.\d{8}-\d{6}-\d{6}\.part")
NEWLINE = ord("\n")


log = logging.getLogger(__name__)


class LogFile:
    """What a `logging.StreamHandler` needs of a stream."""

    def __init__(self, path: Path, limits: LoggingConfig) -> None:
        """Raises OSError when the file cannot be written to."""
        self.path = path
        self.limits = limits
        self._lock = threading.Lock()
        self._file = self._size = -1
        self._torn = False  # the last line has no end
        self._lost = 0  # lines, since the last time that it was told
        self._why = ""
        self._open()

    def write(self, text: str) -> int:
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            most = self.limits.max_file_size
            if most and self._size and self._size + len(data) > most:
                self._size = os.fstat(self._file).st_size  # somebody may have emptied it
                if self._size and self._size + len(data) > most:
                    self._rotate()
            try:
                self._put(b"\n" + data if self._torn else data)
            except OSError as error:
                self._lost += 1
                self._why = error.strerror or str(error)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        with self._lock:
            os.close(self._file)
            self._file = -1

    def reopen(self) -> None:
        """Go on in the file of this name, which another program may have put in the place of ours. Raises OSError."""
        with self._lock:
            try:
                there = os.stat(self.path)
            except OSError:
                there = None
            own = os.fstat(self._file)
            if there is None or (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
                self._open()

    def tidy(self, now: float) -> None:
        """Compress, and delete what is too old or too many; this may take seconds. Raises nothing."""
        for step in (self.reopen, partial(self._expire, now), self._prune, self._sweep, self._compress):
            with suppress(OSError):  # a full disk, or somebody else tidies as well: the next round is soon
                step()
        if lost := self._lost:
            log.warning("%d lines of the log could not be written: %s", lost, self._why)
            with self._lock:
                self._lost = lost if self._lost > lost else 0  # this line may be lost as well

    def backups(self) -> list[Path]:
        """Files before this one, the oldest first."""
        return self._named(BACKUP)

    # -- inside --

    def _named(self, ending: re.Pattern[str]) -> list[Path]:
        name = self.path.name
        found = [path for path in self.path.parent.iterdir() if path.name.startswith(name)]
        return sorted(path for path in found if ending.fullmatch(path.name[len(name) :]))

    def _open(self) -> None:
        # not blocking: a named pipe that nobody reads is refused below instead of waited for
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        file = os.open(self.path, flags, 0o640)
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            os.close(file)
            raise OSError(errno.EINVAL, "it is no file; for a standard stream say output: stdout or stderr")
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._size = status.st_size
        self._torn = False

    def _put(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            done = os.write(self._file, left)
            self._size += done
            self._torn = left[done - 1] != NEWLINE if done else self._torn
            left = left[done:]

    def _rotate(self) -> None:
        backup = self.path.with_name(f"{self.path.name}.{datetime.now(UTC).strftime(STAMP)}")
        try:
            if not backup.exists():
                with suppress(FileNotFoundError):  # somebody has moved or deleted it: another is begun all the same
                    os.rename(self.path, backup)
            self._open()
            self._prune()
        except OSError:
            self._size = 0  # not with every line: when as much again has been written

    def _expire(self, now: float) -> None:
        limits = self.limits
        for path in self.backups():
            if limits.max_age and now - path.stat().st_mtime > limits.max_age:
                path.unlink(missing_ok=True)

    def _prune(self) -> None:
        backups = self.backups()
        for path in backups[: max(0, len(backups) - self.limits.max_backups)]:
            path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """What a process left that ended while it compressed."""
        for path in self._named(PART):
            path.unlink(missing_ok=True)

    def _compress(self) -> None:
        if self.limits.compress:
            for path in self.backups():
                if path.suffix != ".gz":
                    _compress(path)


def _compress(path: Path) -> None:
    """It has its name only when it is whole; what a full disk cuts off is gone again."""
    part = path.with_name(f"{path.name}.part")
    times = path.stat()
    try:
        with (
            path.open("rb") as plain,
            os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file,
            gzip.GzipFile(path.name, "wb", 6, file, times.st_mtime) as packed,
        ):
            shutil.copyfileobj(plain, packed, 1 << 20)
        os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.chmod(part, times.st_mode & 0o777)
        os.rename(part, path.with_name(f"{path.name}.gz"))
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)
