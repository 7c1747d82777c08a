"""When agents' timers are due; a machine without tasks and without a clock.

Rule 1: times are microseconds of the wall clock, because timers outlive the process.
Rule 2: a timer that was handed out is gone from here. Whether its turn was handled is the record stream's to say.
"""

import heapq
from math import inf

import attrs


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
