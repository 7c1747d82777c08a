"""A disk that fails when it is told to: an apsw VFS over the real one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import apsw


class Disk(apsw.VFS):
    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.failing: set[str] = set()  # "write", "sync"
        self.is_full: Callable[[], bool] = lambda: False
        self.before_sync: Callable[[], None] = lambda: None

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "File":
        return File(self, name, flags)

    def check(self, operation: str) -> None:
        if operation in self.failing:
            raise apsw.IOError(f"the {operation} failed")


class File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.check("write")
        if self._disk.is_full():
            raise apsw.FullError("no space left")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._disk.before_sync()
        self._disk.check("sync")
        super().xSync(flags)


@contextmanager
def faulty_disk() -> Iterator[Disk]:
    disk = Disk("faulty")
    try:
        yield disk
    finally:
        disk.unregister()
