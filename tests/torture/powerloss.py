"""A disk whose power can be cut: an apsw VFS that knows which writes were synced.

Rule 1: what was synced stays. Of each write after the last sync of its file, every sector of 512 bytes is on the disk
        or is not; a later version of a sector may be there without an earlier one, and without its neighbours.
Rule 2: names and deletions are durable with the next sync of the folder: SQLite makes one with the first sync of a new
        journal or WAL, and with a deletion that asks for it.
Rule 3: after the cut every operation fails. `images` is what somebody finds who turns the power on again.
Rule 4: which operation is cut, and what stays, comes from one generator: the same seed finds the same disk.

Real files lie under it, for locks and shared memory; they are not synced, because the machine itself stays up.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import apsw
import attrs

SECTOR = 512
KEPT = (0.0, 0.0, 0.1, 0.5, 0.9, 1.0, 1.0)  # share of the unsynced sectors that stay, one for each cut
SHORTENED = 0.3  # of files that grew: the new length is not on the disk


@attrs.define(eq=False)
class Medium:
    """One file: what is on the platter, and what was written since."""

    durable: bytearray = attrs.field(factory=bytearray)
    current: bytearray = attrs.field(factory=bytearray)
    pending: list[tuple[int, bytes | None]] = attrs.field(factory=list)  # (offset, data), or (size, None): truncated
    is_named: bool = False  # its name is durable

    def write(self, offset: int, data: bytes) -> None:
        self.pending.append((offset, data))
        _put(self.current, offset, data)

    def truncate(self, size: int) -> None:
        self.pending.append((size, None))
        del self.current[size:]

    def sync(self) -> None:
        self.durable = bytearray(self.current)
        self.pending.clear()

    def after_the_cut(self, rng: Random, kept: float) -> bytes:
        found, written = bytearray(self.durable), bytearray(self.durable)
        for offset, data in self.pending:
            if data is None:
                del written[offset:]
                if rng.random() < kept:
                    del found[offset:]
                continue
            _put(written, offset, data)
            for sector in range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1):
                if rng.random() < kept:
                    start = sector * SECTOR
                    _put(found, start, written[start : start + SECTOR])
        if len(found) > len(self.durable) and rng.random() < SHORTENED:
            del found[rng.randint(len(self.durable), len(found)) :]
        return bytes(found)


class Disk(apsw.VFS):
    def __init__(self, name: str, rng: Random, cut_at: int) -> None:
        """The power goes at operation number *cut_at*; 0: only when `cut` is called."""
        super().__init__(name, "")
        self.name = name
        self.operations = 0
        self.images: dict[str, bytes] | None = None  # by file name, once the power is off
        self.is_lying = False  # a sync says that it is done, and is not
        self._rng = rng
        self._cut_at = cut_at
        self._media: dict[str, Medium] = {}
        self._deleted: dict[str, Medium] = {}  # their deletion is not durable

    def load(self, folder: Path) -> None:
        """What lies in *folder* is on the platter."""
        for path in folder.glob("local.db*"):
            if not path.name.endswith("-shm"):
                self._media[path.name] = medium = Medium(current=bytearray(path.read_bytes()))
                medium.sync()
        self.sync_folder()

    def cut(self) -> None:
        """Now."""
        kept = self._rng.choice(KEPT)
        self.images = {}
        for name, medium in sorted({**self._deleted, **self._media}.items()):
            if name in self._media and not medium.is_named and self._rng.random() >= kept:
                continue
            if name not in self._media and self._rng.random() < kept:
                continue  # the deletion is durable after all
            self.images[name] = medium.after_the_cut(self._rng, kept)

    # -- for SQLite --

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        if text is None:  # a temporary file; nobody looks for it after a cut
            return apsw.VFSFile("", name, flags)
        self.check()
        key = Path(text).name
        file = _File(self, self._media.setdefault(key, Medium()), name, flags)
        self._deleted.pop(key, None)
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        medium = self._media.pop(Path(filename).name, None)
        if medium is not None and medium.is_named:
            self._deleted[Path(filename).name] = medium
        self.step()
        if syncdir:
            self.sync_folder()

    def sync_folder(self) -> None:
        self._deleted.clear()
        for medium in self._media.values():
            medium.is_named = True

    def check(self) -> None:
        if self.images is not None:
            raise apsw.IOError("the power is off")

    def step(self) -> None:
        """One operation more; it may be the one that the power goes in."""
        self.check()
        self.operations += 1
        if self.operations == self._cut_at:
            self.cut()
            self.check()


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, medium: Medium, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._medium = medium
        self._is_log = bool(flags[0] & (apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL))

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.check()
        self._medium.write(offset, bytes(data))
        self._disk.step()
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._disk.check()
        self._medium.truncate(size)
        self._disk.step()
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self._disk.step()  # cut here, it has not happened
        if self._disk.is_lying:
            return
        self._medium.sync()
        if not self._medium.is_named and self._is_log:
            self._disk.sync_folder()


@contextmanager
def powered(name: str, rng: Random, cut_at: int) -> Iterator[Disk]:
    """The VFS called *name*, for the block."""
    disk = Disk(name, rng, cut_at)
    try:
        yield disk
    finally:
        disk.unregister()


def _put(target: bytearray, offset: int, data: Sequence[int]) -> None:
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data
