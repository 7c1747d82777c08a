"""What outlives the process: one folder, one SQLite file in it, and the modules beside.

    <data_dir>/caxton.lock   held by the one process that uses the folder
    <data_dir>/local.db      agents, state, timers, lifecycle, segments, dead letters, conversations, tasks, directory,
                             changes of the configuration, what waits for webhooks (and -wal, -shm while open)
    <data_dir>/local.reserve held for the moment when the disk is full
    <data_dir>/modules/      the agents' code
    <data_dir>/temp/         what is only needed for a while, where no other folder is named (temp.py)
    <data_dir>/backups/      backups that this server was asked for

The rooms are thin: each has functions of a connection (`write_segment`, `write_state`, `write_timers`, `write_event`,
`write_dead_letters`, `write_conversations`) that a larger transaction can be put together from with `store.write`:
what many turns did goes in at once, whole turns only.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import apsw
import attrs
import trio

from caxton.core.errors import StoreError
from caxton.store.agents import AgentRoom
from caxton.store.backup import BackupRoom
from caxton.store.conversations import ConversationRoom
from caxton.store.database import Database, check_sqlite_version, connect, open_database
from caxton.store.dead_letters import DeadLetterRoom
from caxton.store.directory import DirectoryRoom
from caxton.store.faults import explain
from caxton.store.integrity import check_pages, keep_wal, look
from caxton.store.journal import JournalRoom
from caxton.store.lifecycle import LifecycleRoom
from caxton.store.lock import DataDirLock, lock_data_dir
from caxton.store.meta import Meta, mark_clean, mark_open, was_clean
from caxton.store.modules import ModuleRoom
from caxton.store.platforms import PlatformRoom
from caxton.store.reserve import Reserve
from caxton.store.schema import check_version, migrate
from caxton.store.settings import SettingsRoom
from caxton.store.signing_keys import SigningKeyRoom
from caxton.store.state import StateRoom
from caxton.store.tasks import TaskRoom
from caxton.store.temp import DEFAULT_FOLDER, DEFAULT_LIMIT, TempRoom, open_temp
from caxton.store.timers import TimerRoom
from caxton.store.webhooks import WebhookRoom

T = TypeVar("T")

log = logging.getLogger(__name__)


@attrs.frozen(eq=False)
class Store:
    data_dir: Path
    meta: Meta
    agents: AgentRoom
    modules: ModuleRoom
    state: StateRoom
    timers: TimerRoom
    lifecycle: LifecycleRoom
    journal: JournalRoom
    dead_letters: DeadLetterRoom
    conversations: ConversationRoom
    tasks: TaskRoom
    directory: DirectoryRoom
    settings: SettingsRoom
    backups: BackupRoom
    platforms: PlatformRoom
    signing_keys: SigningKeyRoom
    webhooks: WebhookRoom
    temp: TempRoom
    _database: Database
    _lock: DataDirLock

    async def write(self, work: Callable[[apsw.Connection], T], sync: bool = True) -> T:
        """One transaction over several rooms; see `Database.write`."""
        return await self._database.write(work, sync)

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        return await self._database.read(query)

    @property
    def fault(self) -> StoreError | None:
        """What is wrong with the disk; None when nothing is. `details["cause"]` says what kind of thing."""
        return self._database.fault

    @property
    def condition(self) -> str:
        """`ok`, or the cause and what is wrong."""
        fault = self._database.fault
        return "ok" if fault is None else f"{fault.details['cause']}: {fault}"

    async def wait_condition_changed(self) -> None:
        """Until something goes wrong with the disk, or is well again."""
        await self._database.wait_changed()

    def announce(self, address: str) -> None:
        """Say in the lock file where this server answers, for `caxton status` and whoever finds the folder locked."""
        self._lock.announce(address)


@asynccontextmanager
async def open_store(
    data_dir: Path, *, temp_dir: Path | None = None, max_temp_size: int = DEFAULT_LIMIT, vfs: str | None = None
) -> AsyncIterator[Store]:
    """Lock the folder, check and upgrade the database, and keep both until the end of the block.

    *vfs* is a registered apsw VFS; tests inject the faults of a disk with it.
    """
    check_sqlite_version()
    path = data_dir / "local.db"
    beside = ((data_dir / "modules", "??/.*"), (data_dir / "backups", ".*"), (data_dir, ".backup-*"))
    async with lock_data_dir(data_dir) as lock:
        with open_temp(temp_dir or data_dir / DEFAULT_FOLDER, max_temp_size, beside) as temp:
            reserve = Reserve(data_dir / "local.reserve")
            connection, meta = await trio.to_thread.run_sync(_prepare, path, vfs, reserve)
            async with open_database(connection, path, farewell=mark_clean, reserve=reserve, vfs=vfs) as database:
                yield Store(
                    data_dir=data_dir,
                    meta=meta,
                    agents=AgentRoom(database),
                    modules=ModuleRoom(data_dir / "modules", temp.reserve),
                    state=StateRoom(database),
                    timers=TimerRoom(database),
                    lifecycle=LifecycleRoom(database),
                    journal=JournalRoom(database),
                    dead_letters=DeadLetterRoom(database),
                    conversations=ConversationRoom(database),
                    tasks=TaskRoom(database),
                    directory=DirectoryRoom(database),
                    settings=SettingsRoom(database),
                    backups=BackupRoom(database, data_dir, temp),
                    platforms=PlatformRoom(database),
                    signing_keys=SigningKeyRoom(database),
                    webhooks=WebhookRoom(database),
                    temp=temp,
                    database=database,
                    lock=lock,
                )


def _prepare(path: Path, vfs: str | None, reserve: Reserve) -> tuple[apsw.Connection, Meta]:
    try:
        opened = _open(path, vfs)
    except StoreError as error:
        if error.details.get("cause") == "disk_full" and reserve.release():
            return _open(path, vfs)
        raise
    reserve.hold()
    return opened


def _open(path: Path, vfs: str | None) -> tuple[apsw.Connection, Meta]:
    found = look(path)
    try:
        connection = connect(path, vfs=vfs)
        try:
            keep_wal(connection, True)
            check_version(connection, path)
            clean = was_clean(connection)
            if not clean:
                log.info("%s was not closed in order: checking it", path)
                found.check_wal()
                check_pages(connection, path)
            migrate(connection)
            with connection:
                node_id, boot = mark_open(connection)
            # from here on the file itself says that it is open, so that a WAL that goes missing is missed
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            keep_wal(connection, False)
        except BaseException:
            connection.close()
            raise
    except BaseException as error:
        found.restore()
        if isinstance(error, apsw.Error | OSError):
            raise explain(error, path) from error
        raise
    return connection, Meta(node_id=node_id, boot=boot, clean_start=clean)
