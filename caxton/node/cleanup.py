"""What nobody needs any more goes from the disk: unfinished files of servers that crashed, modules that no agent has.

It works every `resources.disk.cleanup_interval`; when a server starts, the same is done once (store/temp.py,
Agents.restore). Messages and dead letters have bounds of their own (node/housekeeping.py), and so have the log's files.
"""

import logging
from math import inf

import trio

from caxton.core.errors import StoreError
from caxton.node.agents import Agents
from caxton.store import Store

log = logging.getLogger(__name__)


class Cleanup:
    def __init__(self, store: Store, agents: Agents, interval: float) -> None:
        self._store = store
        self._agents = agents
        self.interval = interval
        self._changed = trio.Event()

    def change(self, interval: float) -> None:
        """Another pause between two rounds, from now on; 0 is no round at all."""
        self.interval = interval
        self._changed.set()

    async def run(self) -> None:
        while True:
            self._changed = trio.Event()
            with trio.move_on_after(self.interval or inf) as pause:
                await self._changed.wait()
            if pause.cancelled_caught:
                await self.clean()

    async def clean(self) -> None:
        """One round."""
        try:
            await trio.to_thread.run_sync(self._store.temp.clean)
            await self._store.modules.prune(self._is_used)
        except (OSError, StoreError) as error:
            log.warning("what nobody needs stays on the disk for now: %s", error)

    def _is_used(self, module: str) -> bool:
        return self._agents.uses(module) or self._store.backups.is_busy
