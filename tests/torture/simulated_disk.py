"""A store without threads, on a disk that is slow, fails, and loses power: the real rooms over a SQLite in memory.

A transaction takes virtual time, then happens at once. `cut` decides what a power cut leaves: of relaxed transactions
since the last sync any number of the last ones is gone; the one that was on its way is there or not.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import apsw
import attrs
import trio

from caxton.core.errors import StoreError
from caxton.store import AgentRoom, LifecycleRoom, Meta, StateRoom, Store, TimerRoom
from caxton.store.dead_letters import DeadLetterRoom
from caxton.store.faults import fault
from caxton.store.journal import JournalRoom
from caxton.store.schema import migrate

T = TypeVar("T")
Work = Callable[[apsw.Connection], T]

PATH = Path("simulated.db")


@attrs.define(eq=False)
class Disk:
    """What one machine's database file holds; it outlives the processes."""

    rng: Random
    delay: float = 0.001  # s, of a usual transaction
    slow_share: float = 0.02  # of the transactions take a hundred times as long
    is_failing: bool = False  # every transaction: no room left
    is_off: bool = False
    transactions: int = 0
    synced: int = 0  # of them, up to the last that was synced
    image: bytes | None = None  # of the whole database, when the power is off
    _connection: apsw.Connection = attrs.field(init=False)
    _unsynced: list[bytes] = attrs.field(factory=list)  # images before each transaction that was not synced
    _on_its_way: Work[Any] | None = None

    def __attrs_post_init__(self) -> None:
        self._connection = apsw.Connection(":memory:")
        migrate(self._connection)

    def kill(self) -> None:
        """The process dies, the machine does not: what was committed stays, synced or not."""
        self._unsynced.clear()
        self.synced = self.transactions
        self.cut()

    def cut(self) -> None:
        """The power goes."""
        assert not self.is_off
        if self._on_its_way is not None and not self.is_failing and self.rng.random() < 0.5:
            self._commit(self._on_its_way)
        elif self._unsynced and self.rng.random() < 0.7:
            self.image = self.rng.choice(self._unsynced)
        self.image = self.image or self._connection.serialize("main")
        self.is_off = True

    def turn_on(self) -> None:
        assert self.image is not None
        self._connection = apsw.Connection(":memory:")
        self._connection.deserialize("main", self.image)
        self.image, self.is_off, self.is_failing = None, False, False
        self._unsynced.clear()
        self._on_its_way = None

    async def transact(self, work: Work[T], sync: bool) -> T:
        slow = 100 if self.rng.random() < self.slow_share else 1
        self._on_its_way = work
        try:
            with trio.CancelScope(shield=True):  # as with the real one: what is on its way comes to its end
                await trio.sleep(self.rng.expovariate(1 / (self.delay * slow)))
            self.check()
            if self.is_failing:
                raise fault("disk_full", PATH, "database or disk is full")
            if not sync:
                self._unsynced.append(self._connection.serialize("main"))
            result = self._commit(work)
            if sync:
                self._unsynced.clear()
                self.synced = self.transactions
            return result
        finally:
            self._on_its_way = None

    def query(self, work: Work[T]) -> T:
        self.check()
        return work(self._connection)

    def check(self) -> None:
        if self.is_off:
            raise fault("io_error", PATH, "the power is off")

    def _commit(self, work: Work[T]) -> T:
        self.transactions += 1
        with self._connection:
            return work(self._connection)


class Database:
    """What `caxton.store.database.Database` is to the rooms."""

    def __init__(self, disk: Disk) -> None:
        self.path = PATH
        self._disk = disk
        self._turn = trio.Lock()  # one transaction at a time, in the order of the calls
        self._changed = trio.lowlevel.ParkingLot()
        self.fault: StoreError | None = None  # of the last transaction

    async def write(self, work: Work[T], sync: bool = True) -> T:
        async with self._turn:
            before = self.fault
            try:
                result = await self._disk.transact(work, sync)
            except StoreError as error:
                self.fault = error
                raise
            else:
                self.fault = None
                return result
            finally:
                if (before is None) != (self.fault is None):
                    self._changed.unpark_all()

    async def wait_changed(self) -> None:
        await self._changed.park()

    async def read(self, query: Work[T]) -> T:
        await trio.lowlevel.checkpoint()
        return self._disk.query(query)


def _meta() -> Meta:
    known: dict[str, Any] = {"node_id": "00000000-0000-4000-8000-000000000001", "clean_start": False}
    return Meta(**{field.alias: known.get(field.alias, 1) for field in attrs.fields(Meta)})


@asynccontextmanager
async def simulated_store(disk: Disk) -> AsyncIterator[Store]:
    """A `Store` whose rooms are the real ones, for one life of the machine."""
    database: Any = Database(disk)  # Any: it stands in for the one with threads
    rooms: dict[str, object] = {
        "data_dir": PATH.parent,
        "meta": _meta(),
        "agents": AgentRoom(database),
        "state": StateRoom(database),
        "timers": TimerRoom(database),
        "lifecycle": LifecycleRoom(database),
        "journal": JournalRoom(database),
        "dead_letters": DeadLetterRoom(database),
        "database": database,
    }
    # the others (modules, backups, the lock) are of files, and there are none
    others: Any = {field.alias: None for field in attrs.fields(Store)}
    yield Store(**{**others, **rooms})
