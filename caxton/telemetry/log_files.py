"""A log's file that does not grow without bound: full, it is renamed, and another is begun.

Rule 1: writing a line does no more than write, and rename now and then; what takes time (compressing) is `tidy`, which
        somebody else's thread runs.
Rule 2: a file that cannot be renamed is written on. A log that is too long is better than none.
Rule 3: only files that have our names are ever deleted: the log's name and a time.
"""

import gzip
import os
import re
import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path

from caxton.core.config_logging import LoggingConfig

STAMP = "%Y%m%d-%H%M%S-%f"
BACKUP = re.compile(r"\.\d{8}-\d{6}-\d{6}(\.gz)?")


class LogFile:
    """What a `logging.StreamHandler` needs of a stream."""

    def __init__(self, path: Path, limits: LoggingConfig) -> None:
        """Raises OSError when the file cannot be written to."""
        self.path = path
        self.limits = limits
        self._lock = threading.Lock()
        self._file = self._size = -1
        self._open()

    def write(self, text: str) -> int:
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            most = self.limits.max_file_size
            if most and self._size and self._size + len(data) > most:
                self._rotate()
            self._size += len(data)
            left = memoryview(data)
            while left:
                left = left[os.write(self._file, left) :]
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
        """Go on in the file of this name, which another program may have put in the place of ours."""
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
        limits = self.limits
        try:
            self.reopen()
            for path in self.backups():
                if limits.max_age and now - path.stat().st_mtime > limits.max_age:
                    path.unlink(missing_ok=True)
            self._prune()
            if limits.compress:
                for path in self.backups():
                    if path.suffix != ".gz":
                        _compress(path)
        except OSError:
            pass  # a full disk, or somebody else tidies as well: the next round is soon

    def backups(self) -> list[Path]:
        """Files before this one, the oldest first."""
        name = self.path.name
        found = [path for path in self.path.parent.iterdir() if path.name.startswith(name)]
        return sorted(path for path in found if BACKUP.fullmatch(path.name[len(name) :]))

    def _open(self) -> None:
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._size = os.fstat(file).st_size

    def _rotate(self) -> None:
        backup = self.path.with_name(f"{self.path.name}.{datetime.now(UTC).strftime(STAMP)}")
        try:
            if not backup.exists():
                os.rename(self.path, backup)
            self._open()
            self._prune()
        except OSError:
            self._size = 0  # not with every line: when as much again has been written

    def _prune(self) -> None:
        backups = self.backups()
        for path in backups[: max(0, len(backups) - self.limits.max_backups)]:
            path.unlink(missing_ok=True)


def _compress(path: Path) -> None:
    """It has its name only when it is whole."""
    part = path.with_name(f"{path.name}.part")
    times = path.stat()
    with path.open("rb") as plain, gzip.open(part, "wb", compresslevel=6) as packed:
        shutil.copyfileobj(plain, packed, 1 << 20)
    os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.chmod(part, times.st_mode & 0o777)
    os.rename(part, path.with_name(f"{path.name}.gz"))
    path.unlink(missing_ok=True)
