"""What is only needed for a while: a folder for it, a bound on all of it, and an end to what a crash has left behind.

    <temp_dir>/server-PID-XXXXXXXX/        of one server, made when it is first needed; who holds its lock lives
    <data_dir>/modules/ab/.…, backups/.…   what becomes a file by a rename is written beside it, for a rename works only
                                           within one file system; it is counted and cleaned like the rest

Rule 1: nobody but the user of the server may write where it writes: a folder of others, or one that others can take the
        place of, is refused. So a shared `/tmp/caxton` invites nobody to lay links there.
Rule 2: whoever makes or removes a server's folder holds the lock of them all: between its making and its lock it looks
        like one of a dead server.
Rule 3: only folders that are named as above are removed; others may have something in there too.

What is not async blocks: call it through `trio.to_thread`, or where a few system calls do no harm.
"""

import fcntl
import logging
import os
import pwd
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import attrs
import trio

from caxton.core.errors import InvalidConfig, StorageFull
from caxton.core.limits import format_bytes
from caxton.store.faults import explain
from caxton.store.files import make_folder

log = logging.getLogger(__name__)

OWN = re.compile(r"server-[0-9]+-\w{8}")
STALE = 3600.0  # seconds that nothing was written to what lies beside its place, while a server runs
DEFAULT_LIMIT = 10 << 30
DEFAULT_FOLDER = "temp"  # of the data folder


@attrs.define(eq=False)
class TempRoom:
    """Of one server. Any thread may use it."""

    folder: Path
    limit: int  # bytes
    beside: Sequence[tuple[Path, str]] = ()  # folder and pattern of what is written beside its place
    used: int = 0
    _own: Path | None = None
    _descriptor: int = -1
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    @contextmanager
    def reserve(self, size: int, what: str) -> Iterator[None]:
        """So much is written for a while. Raises StorageFull when it is too much, together with the rest."""
        with self._lock:
            if self.used + size > self.limit:
                raise StorageFull(
                    f"{what} needs {_rough(size)} for a while, {_rough(self.used)} are in use, and "
                    f"resources.disk.max_temp_size is {format_bytes(self.limit)}",
                    hint="raise resources.disk.max_temp_size"
                    + ("" if size > self.limit else ", or wait until what is under way is done"),
                    details={"asked": size, "used": self.used, "limit": self.limit},
                )
            self.used += size
        try:
            yield
        finally:
            with self._lock:
                self.used -= size

    @asynccontextmanager
    async def open_folder(self, size: int, what: str) -> AsyncIterator[Path]:
        """A folder for so many bytes, empty, that is gone at the end. StorageFull, StoreError."""
        with self.reserve(size, what):
            try:
                made = Path(await trio.to_thread.run_sync(lambda: tempfile.mkdtemp(dir=self._make())))
            except OSError as error:
                raise explain(error, self.folder) from error
            try:
                yield made
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(partial(shutil.rmtree, made, ignore_errors=True))

    def clean(self, older_than: float = STALE) -> None:
        """Remove what servers that are no more have left; beside its place, what was not written to for so long."""
        for folder, pattern in self.beside:
            for path in folder.glob(pattern):
                with suppress(OSError):
                    if path.lstat().st_mtime <= time.time() - older_than:
                        _remove(path)
        with suppress(FileNotFoundError), _all_locked(self.folder):
            for path in self.folder.iterdir():
                if path != self._own and OWN.fullmatch(path.name) and _is_dead(path):
                    _remove(path)

    def close(self) -> None:
        with self._lock:
            if self._own is not None:
                with suppress(OSError), _all_locked(self.folder):
                    shutil.rmtree(self._own, ignore_errors=True)
                os.close(self._descriptor)
                self._own, self._descriptor = None, -1

    def _make(self) -> Path:
        """Not before it is needed: a server starts though its disk is full."""
        with self._lock:
            if self._own is None or not self._own.is_dir():
                if self._own is not None:  # somebody tidied up after us
                    os.close(self._descriptor)
                make_folder(self.folder)
                check_folder(self.folder)
                with _all_locked(self.folder):
                    self._own = Path(tempfile.mkdtemp(prefix=f"server-{os.getpid()}-", dir=self.folder))
                    self._descriptor = os.open(self._own, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._own


@contextmanager
def open_temp(folder: Path, limit: int, beside: Sequence[tuple[Path, str]]) -> Iterator[TempRoom]:
    """Clean up after servers that crashed, and then whatever this one needs. Raises InvalidConfig: see Rule 1."""
    check_folder(folder)
    room = TempRoom(folder.absolute(), limit, beside)
    try:
        room.clean(older_than=0)
    except OSError as error:
        log.warning("what is left in %s could not be removed: %s", folder, error)
    try:
        yield room
    finally:
        room.close()


def check_folder(folder: Path) -> None:
    """Raise InvalidConfig unless it is ours alone, or is not there yet and can be."""
    try:
        found = folder.lstat()
        above = folder.absolute().parent.stat()
    except FileNotFoundError:
        there = next(path for path in folder.absolute().parents if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise _unfit(folder, f"cannot be made: {there} does not allow it") from None
        return
    except OSError as error:
        raise _unfit(folder, f"cannot be looked at: {error.strerror}") from None
    if stat.S_ISLNK(found.st_mode):
        raise _unfit(folder, "is a symbolic link; name the folder itself")
    if not stat.S_ISDIR(found.st_mode):
        raise _unfit(folder, "is not a folder")
    if found.st_uid != os.geteuid():
        raise _unfit(folder, f"belongs to {_user(found.st_uid)}, and the server runs as {_user(os.geteuid())}")
    if found.st_mode & 0o022:
        raise _unfit(folder, f"may be written to by others (its mode is {stat.S_IMODE(found.st_mode):o}): chmod 700")
    if above.st_mode & 0o002 and not above.st_mode & stat.S_ISVTX:
        raise _unfit(folder, f"can be replaced by others: anybody may write to {folder.absolute().parent}")


def _unfit(folder: Path, why: str) -> InvalidConfig:
    return InvalidConfig(
        f"resources.disk.temp_dir: {folder} {why}",
        hint="choose a folder that only the server's user can write to; left out, it is in the data folder",
    )


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


@contextmanager
def _all_locked(folder: Path) -> Iterator[None]:
    """Rule 2. It is held for moments only."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_dead(folder: Path) -> bool:
    """Whether nobody holds its lock; a file system without locks says nothing."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # a file, a link, one of somebody else: not ours
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove(path: Path) -> None:
    log.info("removing %s, which an earlier server has left unfinished", path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _rough(size: int) -> str:
    """To be read: 3 MB rather than 3145729B."""
    for unit, power in (("GB", 30), ("MB", 20), ("KB", 10)):
        if size >= 10 << power or (size >= 1 << power and size % (1 << power) == 0):
            return f"{size >> power}{unit}"
    return f"{size}B"
