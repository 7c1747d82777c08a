"""Room on the disk that is held for the moment when there is none.

    <data_dir>/local.reserve    SIZE bytes of nothing, less on a small disk

When the disk is full the file is removed: acknowledgements and deletions still find room, while the server takes
nothing new. It is made again when there is room, and only then is the disk no longer full.
"""

import os
from contextlib import suppress
from pathlib import Path

SIZE = 8 << 20
SHARE = 8  # of a small disk it is one eighth


class Reserve:
    def __init__(self, path: Path, size: int | None = None) -> None:
        self.path = path
        self._size = size
        self.is_held = False

    def hold(self) -> bool:
        """Make the file, if it is not there; whether it is."""
        try:
            size = self._size or self._fitting()
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if not _is_whole(descriptor, size):
                    _allocate(descriptor, size)
            finally:
                os.close(descriptor)
        except OSError:
            self.release()
            return False
        self.is_held = True
        return True

    def release(self) -> bool:
        """Give the room away; whether there was any."""
        self.is_held = False
        with suppress(OSError):
            os.unlink(self.path)
            return True
        return False

    def _fitting(self) -> int:
        disk = os.statvfs(self.path.parent)
        total = disk.f_blocks * disk.f_frsize
        return min(SIZE, total // SHARE) if total else SIZE  # some file systems do not tell


def _is_whole(descriptor: int, size: int) -> bool:
    found = os.fstat(descriptor)
    return found.st_size >= size and found.st_blocks * 512 >= size


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:  # macOS
        zeros = bytes(1 << 16)
        for offset in range(0, size, len(zeros)):
            os.pwrite(descriptor, zeros, offset)
