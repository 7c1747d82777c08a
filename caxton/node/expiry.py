"""Ends messages whose time has passed while nobody came to them: in a mailbox, or in the store.

An agent that comes to such a message ends it itself (_fast/turns). Here are those of agents that are away, or too busy.

Rule 1: each port knows when the first of its messages ends; only ports where one has are looked through.
Rule 2: looking through a backlog reads it from the disk. So it takes PART of the time at most, and a port with a long
        one is looked at less often.
"""

import logging
import time
from collections.abc import Iterable

import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import Scheduler
from caxton.bus.bus import Bus
from caxton.core.errors import CaxtonError, MailboxFull, StoreError
from caxton.store import Store

log = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between two looks
PART = 0.05  # of the time, for one port
RETRY_SECONDS = 0.1  # while the journal is behind


class Expiry:
    def __init__(self, scheduler: Scheduler, store: Store, bus: Bus) -> None:
        self._scheduler = scheduler
        self._store = store
        self._bus = bus
        self._rest: dict[int, float] = {}  # ports that are not looked through before

    async def run(self) -> None:
        while True:
            await trio.sleep(INTERVAL)
            now = trio.current_time()
            self._rest = {port: until for port, until in self._rest.items() if until > now}
            for port in self._scheduler.overdue_ports(time.time_ns() // 1000):
                if port in self._rest:
                    continue
                began = trio.current_time()
                try:
                    await self.look_through(port)
                except StoreError as error:
                    log.warning("messages that have expired cannot be looked for: %s", error)
                except CaxtonError:
                    continue  # the port was closed meanwhile
                self._rest[port] = trio.current_time() + (trio.current_time() - began) / PART

    async def look_through(self, port: int) -> None:
        """End what is over at this port."""
        scheduler, now_us = self._scheduler, time.time_ns() // 1000
        while found := scheduler.take_overdue(port, now_us):
            await self._end(port, found)
        left = 0
        for segment in scheduler.ledger.segments_of(port):
            records = await self._store.journal.read(segment)
            found, others = scheduler.take_overdue_backlog(port, segment, records, now_us)
            left += others
            await self._end(port, found)
        if scheduler.statistics(port).backlog > left:  # some is not written yet, and cannot be read
            scheduler.look_again(port, now_us + round(INTERVAL * 1e6))

    async def _end(self, port: int, found: Iterable[tuple[Envelope, int]]) -> None:
        with trio.CancelScope(shield=True):  # they are taken out, and would be lost to this life
            for message, code in found:
                while True:
                    try:
                        self._scheduler.bury(port, message, code)
                    except MailboxFull:
                        await trio.sleep(RETRY_SECONDS)
                    else:
                        break
                self._bus.ended(port, code, message)
