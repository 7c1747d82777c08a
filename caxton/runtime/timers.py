"""When agents' timers are due: the machine, without a task and without a clock, and the one task that asks it.

Rule 1: times are microseconds of the wall clock, because timers outlive the process.
Rule 2: a timer that was handed out is gone from here. Whether its turn was handled is the scheduler's to say.
"""

import heapq
from collections.abc import Callable
from math import inf

import attrs
import trio

MAX_NAP = 30.0  # seconds after which the task looks at the wall clock again, for it may have been set


@attrs.define(eq=False)
class Timers:
    _due: dict[tuple[str, int], int] = attrs.field(factory=dict, init=False)
    # also holds timers that were set again or cancelled since; `_due` says what is true
    _heap: list[tuple[int, str, int]] = attrs.field(factory=list, init=False)

    def set(self, owner: str, timer_id: int, due_us: int) -> None:
        """*due_us* 0 cancels."""
        if due_us == 0:
            self._due.pop((owner, timer_id), None)
        else:
            self._due[owner, timer_id] = due_us
            heapq.heappush(self._heap, (due_us, owner, timer_id))
        if len(self._heap) > 64 + 2 * len(self._due):
            self._heap = [(due, *key) for key, due in self._due.items()]
            heapq.heapify(self._heap)

    def forget(self, owner: str) -> None:
        for key in [key for key in self._due if key[0] == owner]:
            del self._due[key]

    def next_due(self) -> float:
        """When the next timer is due, in microseconds; infinity: never."""
        while self._heap and self._due.get(self._heap[0][1:]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    def tick(self, now_us: int) -> list[tuple[str, int]]:
        """Hand out what is due, the earliest first."""
        handed = []
        while self.next_due() <= now_us:
            _, owner, timer_id = heapq.heappop(self._heap)
            del self._due[owner, timer_id]
            handed.append((owner, timer_id))
        return handed


@attrs.define(eq=False)
class TimerRounds:
    """Fires timers as they come due; `run` is a task for as long as the runtime is open."""

    _fire: Callable[[str, int], None]
    _wall_clock: Callable[[], float]
    _timers: Timers = attrs.field(factory=Timers, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    # microseconds by which this clock is ahead of the one that agents set their timers by; in tests it may be
    shift: Callable[[], int] = lambda: 0

    def set(self, owner: str, timer_id: int, due_us: int) -> None:
        self._timers.set(owner, timer_id, due_us and due_us + self.shift())
        self._changed.set()

    def forget(self, owner: str) -> None:
        self._timers.forget(owner)

    async def run(self) -> None:
        while True:
            now_us = int(self._wall_clock() * 1e6)
            for owner, timer_id in self._timers.tick(now_us):
                self._fire(owner, timer_id)
            with trio.move_on_after(min(MAX_NAP, max(0.0, (self._timers.next_due() - now_us) / 1e6))):
                await self._changed.wait()
            self._changed = trio.Event()
