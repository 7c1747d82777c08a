"""Files and folders that are on the disk when a function returns, whole or not at all.

Everything here blocks: call it through `trio.to_thread`. OSError rises to the caller, who knows what the file was for.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def make_folder(path: Path) -> None:
    """Make *path* and what is missing above it, for this user only, and see that the new names are on the disk."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


def write_file(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """What the block writes is at *path* after it: readers see the old file or the new one, and so does whoever comes
    after a power cut."""
    make_folder(path.parent)
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            sync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    full_sync = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: its fsync stops at the drive's cache
    if full_sync is not None:
        with suppress(OSError):  # some file systems do not know it
            fcntl.fcntl(descriptor, full_sync)
            return
    os.fsync(descriptor)
