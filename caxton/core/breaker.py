"""A circuit breaker: who fails again and again is left alone for a while, then tried once.

    closed ── threshold failures in a row ──► open ── timeout, then a call ──► half-open ── success ──► closed
                                                ▲                                  │
                                                └─────────── failure ──────────────┘

Rule 1: `take` before a call gives a number; exactly one of `succeeded`, `failed` and `dropped` gives it back.
Rule 2: half-open is one call. When it is dropped, because its caller has gone, the next one is the trial.
Rule 3: a call that began before the last step says nothing about how things are now, and changes nothing.
Rule 4: threshold and timeout are arguments, so that a change of them holds at once.
"""

from enum import StrEnum

import attrs


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@attrs.define(eq=False)
class Breaker:
    state: BreakerState = BreakerState.CLOSED
    failures: int = 0  # in a row
    opened_at: float = 0.0
    _steps: int = 0

    def wait(self, now: float, timeout: float) -> float:
        """Seconds until a call may be made; 0: now."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        if self.state is BreakerState.HALF_OPEN:
            return timeout  # if the trial fails now
        return max(0.0, timeout - (now - self.opened_at))

    def take(self, now: float, timeout: float) -> int:
        """A call is under way: its number."""
        assert self.wait(now, timeout) == 0, "the breaker is open"
        if self.state is BreakerState.OPEN:
            self._to(BreakerState.HALF_OPEN)
        return self._steps

    def succeeded(self, call: int) -> bool:
        """Whether this closed it."""
        if call != self._steps:
            return False
        self.failures = 0
        if self.state is BreakerState.CLOSED:
            return False
        self._to(BreakerState.CLOSED)
        return True

    def failed(self, call: int, now: float, threshold: int) -> bool:
        """Whether this opened it; after a trial it is open as it was."""
        if call != self._steps:
            return False
        self.failures += 1
        was_closed = self.state is BreakerState.CLOSED
        if was_closed and self.failures < threshold:
            return False
        self.opened_at = now
        self._to(BreakerState.OPEN)
        return was_closed

    def dropped(self, call: int) -> None:
        if call == self._steps and self.state is BreakerState.HALF_OPEN:
            self._to(BreakerState.OPEN)  # since as long as before: the next call may try

    def _to(self, state: BreakerState) -> None:
        self.state = state
        self._steps += 1
