"""Writes what agents' turns changed to the store, in order and in batches.

Rule 1: whoever hands something in does not wait; the scheduler pauses a guest that is far ahead of this
        (scheduler.pyx MAX_PENDING).
Rule 2: what cannot be written is kept and tried again, so that a full disk loses nothing while the server lives.
"""

import logging
from collections.abc import Callable
from functools import partial

import apsw
import trio

from caxton.core.errors import StoreError
from caxton.store import Store

log = logging.getLogger(__name__)

Write = Callable[[apsw.Connection], None]

AT_ONCE = 1000  # writes of one transaction
RETRY_SECONDS = 1.0


class Recorder:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[Write] = []
        self._news = trio.Event()
        self._is_idle = trio.Event()
        self.fault = ""  # why the last attempt failed; empty when it did not

    def put(self, write: Write) -> None:
        self._waiting.append(write)
        self._news.set()

    async def run(self) -> None:
        while True:
            if not self._waiting:
                self._is_idle.set()
                await self._news.wait()
            self._is_idle = trio.Event()
            self._news = trio.Event()
            batch = self._waiting[:AT_ONCE]
            try:
                await self._store.write(partial(_write_all, batch))
            except StoreError as error:
                if not self.fault:
                    log.error("agents' state cannot be written, trying again: %s", error)  # noqa: TRY400 (no traceback)
                self.fault = str(error)
                await trio.sleep(RETRY_SECONDS)
            else:
                self.fault = ""
                del self._waiting[: len(batch)]

    async def wait_written(self) -> None:
        """Until everything that was handed in is in the store."""
        while self._waiting:
            await self._is_idle.wait()


def _write_all(writes: list[Write], connection: apsw.Connection) -> None:
    for write in writes:
        write(connection)
