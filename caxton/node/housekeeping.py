"""Keeps the store within its bounds: handled messages by age and size, dead letters by age and number.

When the disk is full, handled messages go before new ones are refused for long: their room is given back at once.

It works every INTERVAL, and sooner when much has been written. What it deletes goes in small steps that give way to
every other write; a fault of the disk is logged once, and the work is tried again.
"""

import logging
import time

import trio

from caxton.bus.events import EventLog
from caxton.core.config_keys import MessagingConfig
from caxton.core.errors import StoreError
from caxton.node.dead_letters import DeadLetters
from caxton.store import Store
from caxton.telemetry import logs

log = logging.getLogger(__name__)

INTERVAL = 30.0  # seconds
MUCH = 64 << 20  # bytes of segments, or an eighth of what may be kept
PAUSE = 1.0  # seconds between two rounds, however much is written


async def tidy_log_files() -> None:
    """The log's files before this one: compressed, and deleted in time; for as long as the node is open."""
    while (file := logs.output) is not None:
        await trio.to_thread.run_sync(file.tidy, time.time())
        await trio.sleep(INTERVAL)


class Housekeeping:
    def __init__(self, store: Store, letters: DeadLetters, events: EventLog, limits: MessagingConfig) -> None:
        self._store = store
        self._letters = letters
        self._events = events
        self.limits = limits
        self._bytes = 0  # of segments, since the last round
        self._dead = 0  # letters, the same
        self._busy = trio.Event()
        self._fault = ""

    def change(self, limits: MessagingConfig) -> None:
        """Other bounds, from the next round on, which is soon."""
        self.limits = limits
        self._busy.set()

    def written(self, size: int, letters: int) -> None:
        """A transaction is in the store: *size* bytes of segments, so many dead letters."""
        self._bytes += size
        self._dead += letters
        much = min(MUCH, max(self.limits.retention_size // 8, 1 << 20))
        if self._bytes > much or self._dead > self.limits.dead_letter_size // 8:
            self._busy.set()

    async def run(self) -> None:
        while True:
            self._busy = trio.Event()
            self._bytes = self._dead = 0
            await self.tidy()
            await trio.sleep(PAUSE)
            with trio.move_on_after(INTERVAL):
                await self._busy.wait()

    async def watch_disk(self) -> None:
        """Give up what is only kept for looking back, while there is no room for anything else."""
        while True:
            fault = self._store.fault
            if fault is not None and fault.details.get("cause") == "disk_full":
                await self.make_room()
            with trio.move_on_after(INTERVAL):
                await self._store.wait_condition_changed()

    async def make_room(self) -> None:
        try:
            deleted = await self._store.journal.delete_before(_us(time.time()), 0)
            if not deleted.segments:
                return
            await self._store.journal.shrink(0)
        except StoreError as error:
            log.warning("the room of handled messages cannot be given back: %s", error)
            return
        text = f"the disk is full: {deleted.bytes} bytes of handled messages were given up before their time"
        log.warning("%s", text)
        details = {"segments_deleted": deleted.segments, "bytes_deleted": deleted.bytes}
        self._events.emit("system.alert", {"severity": "warning", "message": text, "details": details})

    async def tidy(self) -> None:
        """One round."""
        limits, store = self.limits, self._store
        now = time.time()
        try:
            dropped = await store.dead_letters.trim(limits.dead_letter_size, _us(now - limits.dead_letter_age))
            if dropped:
                self._tell(dropped)
            await self._letters.recount()
            deleted = await store.journal.delete_before(_us(now - limits.retention_age), limits.retention_size)
            if deleted.segments or dropped:
                await store.journal.shrink()
        except StoreError as error:
            if str(error) != self._fault:
                self._fault = str(error)
                log.warning("what is over the limits stays for now, trying again: %s", error)
        else:
            self._fault = ""

    def _tell(self, dropped: int) -> None:
        limits = self.limits
        text = (
            f"{dropped} dead letters were dropped: more than {limits.dead_letter_size}, "
            f"or older than {limits.dead_letter_age:g} s"
        )
        log.warning("%s", text)
        details = {"dead_letters_dropped": dropped}
        self._events.emit("system.alert", {"severity": "warning", "message": text, "details": details})


def _us(at: float) -> int:
    return max(0, round(at * 1e6))
