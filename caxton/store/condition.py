"""Whether the disk takes what is written.

The writer's thread says what it meets (`note`, `clear`); everybody may read `fault`. A full disk first costs the
reserve, and lasts until that can be made again. Damage lasts until a person has seen to it; whatever else is wrong,
until a write succeeds.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import apsw

from caxton.core.errors import StoreError
from caxton.store.faults import cause_of, fault
from caxton.store.reserve import Reserve

PATIENCE = 10.0  # s that one transaction may take before the disk counts as slow
PASSING = frozenset({"refused"})  # what a write may do wrong by itself, on a sound disk

log = logging.getLogger(__name__)


class Condition:
    def __init__(self, path: Path, reserve: Reserve | None, tell: Callable[[], None]) -> None:
        self._path = path
        self._reserve = reserve
        self._tell = tell
        self._noted: StoreError | None = None
        if reserve is not None and not reserve.is_held:
            self._noted = fault("disk_full", path, "there is no room for the reserve")
        self.busy_since: float | None = None  # monotonic; when the transaction that runs now began

    @property
    def fault(self) -> StoreError | None:
        """What is wrong; its details name the cause."""
        noted, since = self._noted, self.busy_since
        if noted is None and since is not None and (seconds := monotonic() - since) > PATIENCE:
            return fault("slow", self._path, f"a write has waited for {seconds:.0f} s")
        return noted

    @property
    def is_sound(self) -> bool:
        return self._noted is None

    @property
    def is_damaged(self) -> bool:
        return self._noted is not None and self._noted.details["cause"] == "damaged"

    def note(self, error: BaseException, system_errno: int) -> bool:
        """What a write met. True if room has been made, so that the same write may succeed now."""
        if not isinstance(error, apsw.Error) or (cause := cause_of(error, system_errno)) in PASSING:
            return False
        made_room = False
        if cause == "disk_full" and self._reserve is not None:
            made_room = self._reserve.release()
        if not self.is_damaged and (self._noted is None or self._noted.details["cause"] != cause):
            self._noted = fault(cause, self._path, str(error))
            log.error("%s", self._noted)
            self._tell()
        return made_room

    def hold_reserve(self) -> bool:
        """Make the reserve if it is not there; whether it is."""
        return self._reserve is None or self._reserve.is_held or self._reserve.hold()

    def clear(self) -> None:
        """A write has reached the disk."""
        if self._noted is not None and not self.is_damaged and (self._reserve is None or self._reserve.is_held):
            self._noted = None
            log.info("%s is written again", self._path)
            self._tell()
