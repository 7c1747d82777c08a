"""One process per data folder.

Rule 1: the lock is `flock` on `caxton.lock`; the system releases it when the process ends, however it ends.
Rule 2: the text in the file (process id, address) says who holds it. It means nothing while nobody does.
Rule 3: the file stays. Removing it would let two processes lock two files of one name.

`fcntl.lockf` would not do: its locks vanish when any descriptor of the file is closed, and do not exclude the own
process.
"""

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import msgspec
import trio

from caxton.core.errors import DataDirLocked
from caxton.store.faults import explain
from caxton.store.files import make_folder

LOCK_FILE = "caxton.lock"
PATIENCE = 0.5  # s; outlasts `read_holder` of others, and a predecessor that is just being killed
RETRY = 0.02  # s


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The process that has a data folder; the address is empty until it serves."""

    pid: int  # 0: not known
    address: str = ""


@attrs.frozen
class DataDirLock:
    path: Path
    descriptor: int

    def announce(self, address: str) -> None:
        """Tell others where this server answers."""
        text = f"{os.getpid()}\n{address}\n".encode()
        with suppress(OSError):  # a courtesy to others; a full disk does not take it away from those who can do without
            os.pwrite(self.descriptor, text, 0)  # first, so that a reader finds two whole lines, whatever follows them
            os.ftruncate(self.descriptor, len(text))


@asynccontextmanager
async def lock_data_dir(data_dir: Path) -> AsyncIterator[DataDirLock]:
    """Make the folder if it is missing, and hold it; DataDirLocked says who else does."""
    path = data_dir / LOCK_FILE
    descriptor = _open(data_dir, path)
    try:
        await _acquire(descriptor, path)
        lock = DataDirLock(path, descriptor)
        lock.announce("")
        yield lock
    finally:
        os.close(descriptor)


def read_holder(data_dir: Path) -> Holder | None:
    """Who has the folder now; None when nobody does."""
    try:
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise explain(error, data_dir) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _parse(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _open(data_dir: Path, path: Path) -> int:
    try:
        make_folder(data_dir)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise explain(error, data_dir) from error


async def _acquire(descriptor: int, path: Path) -> None:
    deadline = trio.current_time() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if trio.current_time() >= deadline:
                raise _locked(path.parent, _parse(descriptor)) from None
        except OSError as error:  # a file system without locks
            raise explain(error, path) from error
        else:
            return
        await trio.sleep(RETRY)


def _parse(descriptor: int) -> Holder:
    pid, address, *_ = [*os.pread(descriptor, 4096, 0).decode(errors="replace").splitlines(), "", ""]
    return Holder(pid=int(pid) if pid.isdecimal() else 0, address=address)


def _locked(data_dir: Path, holder: Holder) -> DataDirLocked:
    who = f"process {holder.pid}" if holder.pid else "another process"
    if holder.address:
        who += f" (serving {holder.address})"
    return DataDirLocked(
        f"the data folder {data_dir} is in use by {who}",
        hint="one Caxton process per data folder: run one worker (`hypercorn -w 1`), stop the other server, "
        "or give this one its own folder with CAXTON_DATA_DIR",
        details={"data_dir": str(data_dir), "pid": holder.pid, "address": holder.address},
    )
