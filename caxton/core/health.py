"""Whether an agent is well, by asking it again and again; a machine without tasks and without a clock.

Rule 1: the first question comes `initial_delay` after the start, the next ones every `interval`.
Rule 2: no answer within `timeout` is a bad answer. A question that is still open is not asked again, it is only timed
        again: a stuck agent does not find a pile of them.
Rule 3: `failure_threshold` bad answers in a row are UNWELL, also of one that is unwell; `success_threshold` good ones
        make it well.
Rule 4: the machine only reports; that an unwell instance is dropped and restarted, and that the next one is unwell
        until it has shown the opposite, is the supervisor's business.
"""

from enum import StrEnum
from math import inf

import attrs

from caxton.core.manifest import HealthCheck


class HealthAction(StrEnum):
    ASK = "ask"  # ask the agent now
    UNWELL = "unwell"  # too many bad answers in a row
    WELL = "well"  # it was unwell and is well again


@attrs.define
class Health:
    """The health of one instance since *started*."""

    config: HealthCheck
    started: float
    is_well: bool = True
    _streak: int = 0  # good answers in a row; below 0: bad ones
    _ask_at: float = attrs.field(init=False)
    _timeout_at: float = inf
    _is_open: bool = False  # a question was asked and not answered

    @_ask_at.default
    def _first(self) -> float:
        return self.started + self.config.initial_delay if self.config.enabled else inf

    def next_deadline(self) -> float:
        """When tick() has something to do; infinity: never."""
        return min(self._ask_at, self._timeout_at)

    def tick(self, now: float) -> list[HealthAction]:
        actions: list[HealthAction] = []
        if now >= self._timeout_at:
            self._timeout_at = inf
            actions += self._count(good=False)
        # while an answer is awaited the next question waits too, also where interval < timeout
        if now >= self._ask_at and self._timeout_at == inf:
            if not self._is_open:
                self._is_open = True
                actions.append(HealthAction.ASK)
            self._timeout_at = now + self.config.timeout
            self._ask_at = max(now + self.config.interval, self._timeout_at)
        return actions

    def answered(self, good: bool, now: float) -> list[HealthAction]:
        """The agent answered. An answer that nobody waits for counts for nothing, but lets the next question out."""
        awaited = self._timeout_at != inf
        self._is_open = False
        if not awaited:
            return []
        # the next question was put off to the end of this wait, which is now over
        asked = self._timeout_at - self.config.timeout
        self._timeout_at = inf
        self._ask_at = max(asked + self.config.interval, now)
        return self._count(good)

    def _count(self, good: bool) -> list[HealthAction]:
        self._streak = max(self._streak, 0) + 1 if good else min(self._streak, 0) - 1
        if good and not self.is_well and self._streak >= self.config.success_threshold:
            self.is_well = True
            return [HealthAction.WELL]
        if not good and -self._streak >= self.config.failure_threshold:
            self.is_well, self._streak = False, 0
            return [HealthAction.UNWELL]
        return []
