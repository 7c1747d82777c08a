"""Clients that wait for an answer: `client:<id>` is their address, and one port of the node serves them all.

An answer that nobody waits for any more is dropped: its client has been told that it took too long.
"""

import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import Scheduler
from caxton.bus.held import HeldMail

ADDRESS = "client:"
EVERYTHING = 2**31 - 1  # one look empties the mailbox, which is bounded; else a guest that never ends keeps us there


class Waiter:
    """One client's wait: everything sent to its address, in order."""

    def __init__(self) -> None:
        self._arrived: deque[Envelope] = deque()
        self._news = trio.Event()

    def offer(self, message: Envelope) -> None:
        self._arrived.append(message)
        self._news.set()

    async def next(self) -> Envelope:
        while not self._arrived:
            await self._news.wait()
            self._news = trio.Event()
        return self._arrived.popleft()


class Replies:
    def __init__(self, scheduler: Scheduler, mail: HeldMail) -> None:
        self._mail = mail
        self._waiters: dict[str, Waiter] = {}
        self.port = scheduler.open_port(ADDRESS, host=True)
        scheduler.never_keep(self.port)

    @contextmanager
    def open(self) -> Iterator[tuple[str, Waiter]]:
        """An address of one's own, for as long as the block lasts."""
        address = ADDRESS + uuid.uuid4().hex
        waiter = self._waiters[address] = Waiter()
        try:
            yield address, waiter
        finally:
            del self._waiters[address]

    def mail(self) -> None:
        """Hand out what has arrived."""
        for message in self._mail.receive(self.port, EVERYTHING):
            for receiver in message.receivers:
                if (waiter := self._waiters.get(receiver)) is not None:
                    waiter.offer(message)
