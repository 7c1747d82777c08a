"""Backups: made while a server runs or of a folder at rest, checked, and put back.

A running server's database is copied by SQLite's backup interface from the writer's own connection: what is written
meanwhile goes into the copy too, and the copy is the database as it was when the last step ended. A step takes SLICE
from the writer, then others have their turn; no reader holds the WAL. The copy is in the temporary folder (temp.py).

    <data_dir>/backups/NAME.caxton-backup    what the server makes; the format is archive.py's
    <data_dir>/replaced-DATE/                what `restore` found and put aside

Rule 1: a backup is a whole one or does not exist; so is what `restore` makes of it. A restore that is cut off in the
        middle leaves a folder that no server starts with (integrity.py), and can be made again.
Rule 2: no module is removed while a backup is made (`is_busy`), so those that the copy names are there when it is done.
"""

import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar
from zlib import crc32

import apsw
import attrs
import msgspec
import trio

import caxton
from caxton.core.errors import InvalidRequest, InvalidTransition, NotFound
from caxton.core.limits import format_bytes
from caxton.store.archive import DATABASE, Facts, Manifest, read_archive, unsound, write_archive
from caxton.store.database import Database
from caxton.store.faults import explain, fault
from caxton.store.files import make_folder, sync, sync_folder
from caxton.store.integrity import check_pages, keep_wal, look
from caxton.store.lock import lock_data_dir
from caxton.store.meta import NODE_ID, mark_clean, was_clean
from caxton.store.schema import check_version, read_version
from caxton.store.temp import TempRoom
from caxton.telemetry.failpoints import failpoint

T = TypeVar("T")

SUFFIX = ".caxton-backup"
FOLDER = "backups"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SLICE = 0.005  # seconds that one step takes from the writer
STEP_PAGES = 32
# what a restored database takes the place of
REPLACED = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "local.reserve", "modules")


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """One that lies with the server."""

    name: str
    size: int
    created_at: float  # seconds since the epoch


class BackupRoom:
    def __init__(self, database: Database, data_dir: Path, temp: TempRoom) -> None:
        self._database = database
        self._data_dir = data_dir
        self._temp = temp
        self.folder = data_dir / FOLDER
        self._one_at_a_time = trio.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether one is being made."""
        return self._one_at_a_time.locked()

    async def create(self, name: str = "") -> Backup:
        """Back up the store as it is when this returns, or a little before."""
        name = name or time.strftime("caxton-%Y%m%d-%H%M%S", time.gmtime()) + SUFFIX
        path = self.path(name)
        if self.is_busy:
            raise InvalidTransition("a backup is being made", hint="wait until it is done")
        async with self._one_at_a_time:
            if path.exists():
                raise InvalidTransition(f"there is a backup named {name}", details={"name": name})
            modules = await self._database.read(_modules)
            copy, archive = await _in_thread(self._data_dir, partial(_sizes, self._data_dir, modules))
            await _in_thread(self._data_dir, partial(_check_room, self._temp.folder, copy, self._data_dir, archive))
            async with self._temp.open_folder(copy + archive, "a backup") as staging:
                await self._copy_database(staging / DATABASE)
                await _in_thread(path, partial(_pack, staging / DATABASE, self._data_dir, path))
        return await _in_thread(path, partial(_describe, path))

    async def list(self) -> Sequence[Backup]:
        """All of them, the oldest first."""

        def work() -> Sequence[Backup]:
            found = [_describe(path) for path in self.folder.glob("*") if NAME.fullmatch(path.name) and path.is_file()]
            return sorted(found, key=lambda backup: (backup.created_at, backup.name))

        return await _in_thread(self.folder, work)

    async def delete(self, name: str) -> None:
        path = self.find(name)
        await _in_thread(path, path.unlink)

    def find(self, name: str) -> Path:
        path = self.path(name)
        if not path.is_file():
            raise NotFound(f"there is no backup named {name}", details={"name": name})
        return path

    def path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise InvalidRequest(
                f"{name!r} is no name for a backup: letters, digits, '.', '_' and '-', 128 at most, no dot in front",
                details={"name": name},
            )
        return self.folder / name

    async def _copy_database(self, target: Path) -> None:
        copy = await self._database.use(lambda source: _Copy.begin(source, target))
        try:
            while True:
                if await self._database.use(lambda _: copy.step()):
                    break
                await trio.sleep(SLICE)
        finally:
            with trio.CancelScope(shield=True):  # the writer's connection must not close before the copy has
                await self._database.use(lambda _: copy.end())


@attrs.frozen
class _Copy:
    """One run of SQLite's backup interface."""

    target: apsw.Connection
    backup: apsw.Backup

    @classmethod
    def begin(cls, source: apsw.Connection, path: Path) -> "_Copy":
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        target = apsw.Connection(str(path))
        target.pragma("journal_mode", "off")  # a copy that is cut off is thrown away,
        target.pragma("synchronous", "off")  # and a whole one is synced off the writer's thread
        return cls(target, target.backup("main", source, "main"))

    def step(self) -> bool:
        """Go on for SLICE; whether it is done."""
        deadline = monotonic() + SLICE
        while not self.backup.step(STEP_PAGES):
            failpoint("backup-middle")
            if monotonic() >= deadline:
                return False
        return True

    def end(self) -> None:
        self.backup.close(force=True)
        self.target.close()


async def back_up_folder(data_dir: Path, target: Path) -> Manifest:
    """Back up a folder that no server holds, and change nothing in it. Raises DataDirLocked."""
    if not await trio.Path(data_dir).is_dir():
        raise NotFound(f"there is no data folder {data_dir}", hint="name it with CAXTON_DATA_DIR")
    async with lock_data_dir(data_dir), _staging(target.parent) as staging:

        def work() -> Manifest:
            _copy_at_rest(data_dir / DATABASE, staging / DATABASE)
            return _pack(staging / DATABASE, data_dir, target)

        return await _in_thread(target, work)


async def verify_backup(path: Path) -> Manifest:
    """Check every byte, every page and every segment of a backup. Raises StoreError."""
    beside = path.parent if os.access(path.parent, os.W_OK) else Path(tempfile.gettempdir())
    async with _staging(beside) as staging:
        return await _in_thread(path, partial(_unpack, path, staging, only_database=True))


async def restore_backup(path: Path, data_dir: Path, *, force: bool = False) -> tuple[Manifest, Path | None]:
    """Make a backup the contents of a data folder that no server holds; return where what was there has gone.

    The backup is checked first. Raises StoreError, DataDirLocked; InvalidTransition unless *force* when the folder is
    in use.
    """
    async with lock_data_dir(data_dir):
        there = [data_dir / name for name in REPLACED if (data_dir / name).exists()]
        if there and not force:
            raise InvalidTransition(
                f"{data_dir} has {', '.join(old.name for old in there)} already",
                hint="restore with --force: what is there is kept aside in a folder of its own; "
                "or name another folder with CAXTON_DATA_DIR",
            )
        async with _staging(data_dir) as staging:
            manifest = await _in_thread(path, partial(_unpack, path, staging))
            return manifest, await _in_thread(data_dir, partial(_replace, data_dir, staging, there))


def _replace(data_dir: Path, staging: Path, there: Sequence[Path]) -> Path | None:
    aside: Path | None = None
    if there:
        aside = Path(tempfile.mkdtemp(prefix=time.strftime("replaced-%Y%m%d-%H%M%S-", time.gmtime()), dir=data_dir))
        for old in there:
            old.rename(aside / old.name)
        sync_folder(data_dir)
    for name in ("modules", DATABASE):  # the database last: without it no server starts
        if (staging / name).exists():
            (staging / name).rename(data_dir / name)
            sync_folder(data_dir)
    return aside


def _copy_at_rest(source: Path, target: Path) -> None:
    found = look(source)
    if not source.exists():
        raise NotFound(f"there is nothing to back up: {source} does not exist", hint="name the folder: CAXTON_DATA_DIR")
    try:
        connection = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            keep_wal(connection, True)
            if not was_clean(connection):
                found.check_wal()
                check_pages(connection, source)
            copy = _Copy.begin(connection, target)
            try:
                copy.backup.step(-1)
            finally:
                copy.end()
        finally:
            connection.close()
            found.restore()
    except apsw.Error as error:
        raise explain(error, source) from error


def _pack(database: Path, data_dir: Path, target: Path) -> Manifest:
    """Seal the copy of the database, and make one file of it and of the modules that it names."""
    try:
        connection = apsw.Connection(str(database))
        try:
            connection.pragma("journal_mode", "delete")  # one file, without a WAL beside it
            check_version(connection, database)
            mark_clean(connection)
            facts = _facts(connection)
            modules = _modules(connection)
        finally:
            connection.close()
    except apsw.Error as error:
        raise explain(error, database) from error
    with database.open("rb") as file:
        sync(file.fileno())
    files = [(DATABASE, database)]
    for name in modules:
        if not (data_dir / name).is_file():
            raise fault("damaged", data_dir / name, "the file is missing; deploying the module again puts it back")
        files.append((name, data_dir / name))
    return write_archive(target, files, version=caxton.__version__, created_at=time.time(), facts=facts)


def _unpack(path: Path, folder: Path, *, only_database: bool = False) -> Manifest:
    """Write what is in the backup to *folder*, and check all of it."""
    manifest = read_archive(path, lambda name: None if only_database and name != DATABASE else folder / name)
    try:
        connection = apsw.Connection(str(folder / DATABASE), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            check_pages(connection, path)
            check_version(connection, path)
            if _facts(connection) != manifest.facts:
                raise unsound(path, "its database is not the one that its manifest describes")
            if missing := set(_modules(connection)) - {member.name for member in manifest.members}:
                raise unsound(path, f"{min(missing)} is missing, which an agent needs")
            segments = connection.execute("SELECT id, crc, records FROM segments") if manifest.facts.segments else ()
            for segment_id, crc, records in segments:
                if crc32(records) != crc:
                    raise unsound(path, f"segment {segment_id} of its journal is not what was written")
        finally:
            connection.close()
    except apsw.Error as error:
        raise unsound(path, str(error)) from error
    return manifest


def _facts(connection: apsw.Connection) -> Facts:
    def count(table: str) -> int:
        if not connection.table_exists(None, table):  # of an older Caxton
            return 0
        number: int = connection.execute(f"SELECT count(*) FROM {table}").get
        return number

    return Facts(
        node_id=connection.execute("SELECT value FROM meta WHERE key = ?", (NODE_ID,)).get or "",
        schema=read_version(connection),
        agents=count("agents"),
        segments=count("segments"),
        dead_letters=count("dead_letters"),
    )


def _modules(connection: apsw.Connection) -> list[str]:
    """The names, below the data folder, of the modules that agents have."""
    found = connection.execute("SELECT DISTINCT spec ->> 'module' FROM agents")
    return sorted(f"modules/{sha[:2]}/{sha}.wasm" for (sha,) in found if sha)


def _sizes(data_dir: Path, modules: Sequence[str]) -> tuple[int, int]:
    """Bytes of a copy of the database, and of the file that is made of it and the modules; each at most."""
    database = [data_dir / DATABASE, data_dir / f"{DATABASE}-wal"]
    copy = sum(path.stat().st_size for path in database if path.exists())
    return copy, copy + sum((data_dir / name).stat().st_size for name in modules if (data_dir / name).exists())


def _check_room(temp: Path, copy: int, data_dir: Path, archive: int) -> None:
    """Raise StoreError unless both fit on their disks."""
    there = next(path for path in (temp, *temp.parents) if path.exists())
    wanted = [(there, copy), (data_dir, archive)]
    if there.stat().st_dev == data_dir.stat().st_dev:
        wanted = [(data_dir, copy + archive)]
    for path, size in wanted:
        disk = os.statvfs(path)
        free = disk.f_bavail * disk.f_frsize
        if free < size:
            text = f"a backup takes up to {format_bytes(size)} there while it is made, {format_bytes(free)} are free"
            raise fault("disk_full", path, text)


def _describe(path: Path) -> Backup:
    found = path.stat()
    return Backup(name=path.name, size=found.st_size, created_at=found.st_mtime)


@asynccontextmanager
async def _staging(folder: Path) -> AsyncIterator[Path]:
    """A folder inside *folder* that is gone at the end."""

    def make() -> Path:
        make_folder(folder)
        return Path(tempfile.mkdtemp(prefix=".backup-", dir=folder))

    staging = await _in_thread(folder, make)
    try:
        yield staging
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(partial(shutil.rmtree, staging, ignore_errors=True))


async def _in_thread(path: Path, work: Callable[[], T]) -> T:
    """Run what blocks; OSError becomes a StoreError about *path*."""
    try:
        return await trio.to_thread.run_sync(work)
    except OSError as error:
        raise explain(error, path) from error
