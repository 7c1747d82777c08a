"""Health rounds: one task that asks all lives how they are, so that ten thousand idle agents cost one timer.

Rule 1: the machine of each life (core/health.py) says when it wants to be asked; here is only the order of those times.
Rule 2: who neither works nor has anything waiting, and exports no `health_check`, is well: nothing has to run to know
        it, and an idle server stays idle.
"""

import heapq
from itertools import count
from math import inf

import attrs
import trio

from caxton._fast.scheduler import Scheduler
from caxton.core.health import Health, HealthAction
from caxton.core.supervision import Exit, ExitReason
from caxton.runtime.agent import Life


@attrs.define(eq=False)
class HealthRounds:
    _scheduler: Scheduler
    # a life whose turn has come; entries of lives that ended, or whose time has changed since, do nothing
    _heap: list[tuple[float, int, Life]] = attrs.field(factory=list, init=False)
    _numbers: "count[int]" = attrs.field(factory=count, init=False)  # lives cannot be compared
    _sooner: trio.Event = attrs.field(factory=trio.Event, init=False)

    def add(self, life: Life, now: float) -> None:
        """The life is up from now on."""
        life.health = Health(life.health_check, now, is_well=not (life.was_unwell and life.health_check.enabled))
        self._push(life)

    def answered(self, life: Life, good: bool, now: float) -> None:
        """EVENT_HEALTH."""
        if life.health is not None:
            self._act(life, life.health.answered(good, now))
            self._push(life)

    async def run(self) -> None:
        while True:
            with trio.move_on_at(self._heap[0][0] if self._heap else inf):
                await self._sooner.wait()
            self._sooner = trio.Event()
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                _, _, life = heapq.heappop(self._heap)
                if life.health is not None and life.health.next_deadline() <= now:
                    self._act(life, life.health.tick(now))
                    self._push(life)

    def _push(self, life: Life) -> None:
        assert life.health is not None
        deadline = life.health.next_deadline()
        if deadline == inf:
            return
        if not self._heap or deadline < self._heap[0][0]:
            self._sooner.set()
        heapq.heappush(self._heap, (deadline, next(self._numbers), life))

    def _act(self, life: Life, actions: list[HealthAction]) -> None:
        for action in actions:
            if action is HealthAction.ASK:
                self._ask(life)
            elif action is HealthAction.UNWELL:
                times = life.health_check.failure_threshold
                life.condemn(Exit(ExitReason.UNHEALTHY, f"{times} health checks in a row without a good answer"))
            else:
                life.was_unwell = False

    def _ask(self, life: Life) -> None:
        if life.answers_itself or self._scheduler.statistics(life.port).state != "idle":
            self._scheduler.check_health(life.port)
        else:
            assert life.health is not None
            life.health.answered(True, trio.current_time())
