"""One life of one agent instance, from its spawn to its end, as one Trio task.

Rule 1: the task is parked nearly always. What happened to the instance arrives through `up()`, `ended()` and
        `drained()`, called by whoever reads the scheduler's events, and wakes it.
Rule 2: a life ends once, with an Exit; only then may the next life of the same port be spawned.
Rule 3: a life does not decide whether it is lived again; the supervisor does (runtime/supervisor.py).
Rule 4: stopping is patient, then firm: drain until the order's deadline, then let the guest's shutdown export run,
        then drop the instance. A later order may only be stricter.
"""

from collections.abc import Callable
from math import inf

import attrs
import trio

from caxton._fast.scheduler import (
    EXIT_INIT,
    EXIT_KILLED,
    EXIT_MEMORY,
    EXIT_NORMAL,
    EXIT_TIMEOUT,
    EXIT_TRAP,
    Scheduler,
)
from caxton.core.agent import AgentState, Lifecycle
from caxton.core.errors import CaxtonError
from caxton.core.health import Health
from caxton.core.manifest import HealthCheck
from caxton.core.supervision import Exit, ExitReason

EXIT_REASONS: dict[int, ExitReason] = {
    EXIT_NORMAL: ExitReason.NORMAL,
    EXIT_TRAP: ExitReason.TRAP,
    EXIT_TIMEOUT: ExitReason.TIMEOUT,
    EXIT_INIT: ExitReason.INIT,
    EXIT_KILLED: ExitReason.KILLED,
    EXIT_MEMORY: ExitReason.MEMORY,
}

SHUTDOWN_SECONDS = 1.0  # the guest's shutdown export has at least this long, whatever the grace


@attrs.frozen
class StopOrder:
    """How to stop: until *deadline* (of Trio's clock) the agent may work, if *drain* on all that waits for it."""

    deadline: float
    drain: bool


@attrs.define(eq=False)
class Life:
    """One incarnation behind a port."""

    scheduler: Scheduler
    port: int
    health_check: HealthCheck
    report: Callable[[AgentState], None]  # told of every step but the last, which needs the supervisor's word
    answers_itself: bool = False  # the guest exports health_check
    was_unwell: bool = False  # one before it was dropped as unwell, and it has not shown yet that it is well
    health: Health | None = None  # while it runs; runtime/rounds.py
    lifecycle: Lifecycle = attrs.field(factory=Lifecycle)
    is_up: bool = False
    _exit: Exit | None = None
    _verdict: Exit | None = None  # why we dropped it, which the scheduler cannot know
    _is_drained: bool = False
    _order: StopOrder | None = None
    _has_news: bool = False
    _parked: trio.lowlevel.Task | None = None

    # -- what others tell it --

    def up(self) -> None:
        self.is_up = True
        self._tell()

    def ended(self, code: int, text: str) -> None:
        self._exit = Exit(EXIT_REASONS.get(code, ExitReason.KILLED), text, self.scheduler.crashed_on(self.port))
        self._tell()

    def drained(self) -> None:
        self._is_drained = True
        self._tell()

    def condemn(self, verdict: Exit) -> None:
        """It is unwell: it is dropped, and this is the reason that counts."""
        self._verdict = verdict
        self.scheduler.drop(self.port)

    def stop(self, order: StopOrder) -> None:
        if self._order is not None:  # rule 4
            order = StopOrder(min(order.deadline, self._order.deadline), order.drain and self._order.drain)
        self._order = order
        self._tell()

    def _tell(self) -> None:
        self._has_news = True
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None

    # -- the task --

    async def run(self, spawn: Callable[[], None]) -> Exit:
        """Live; the result says how it ended."""
        self._step(AgentState.LOADED)
        self._step(AgentState.READY)
        if self._order is not None:
            await trio.lowlevel.checkpoint()
            return Exit(ExitReason.NORMAL, "stopped before it started")
        try:
            spawn()
        except CaxtonError as error:
            await trio.lowlevel.checkpoint()
            return Exit(ExitReason.INIT, str(error))
        while not self.is_up and self._exit is None and self._order is None:
            await self._wait()
        if self.is_up and self._exit is None:
            self._step(AgentState.RUNNING)
            while self._exit is None and self._order is None:
                await self._wait()
            self.health = None
        if self._exit is None:
            await self._wind_down()
        assert self._exit is not None
        if self._verdict is not None:
            return self._verdict
        if self._order is not None and self._exit.reason is ExitReason.KILLED:
            return Exit(ExitReason.NORMAL, "dropped: it did not stop in time")
        return self._exit

    async def _wind_down(self) -> None:
        assert self._order is not None
        if self.is_up and self._order.drain:
            self._step(AgentState.DRAINING)
            self.scheduler.drain_port(self.port)
            while (
                not self._is_drained and self._exit is None and self._order.drain and await self._wait(self._deadline)
            ):
                pass
        if self.is_up and self._exit is None:
            firm = trio.current_time() + SHUTDOWN_SECONDS
            self.scheduler.shutdown(self.port)
            while self._exit is None and await self._wait(max(firm, self._deadline)):
                pass
        if self._exit is None:
            self.scheduler.drop(self.port)
        while self._exit is None:
            await self._wait()

    @property
    def _deadline(self) -> float:
        assert self._order is not None
        return self._order.deadline

    async def _wait(self, deadline: float = inf) -> bool:
        """Park until there is news; False when the deadline came first."""
        if deadline == inf:
            await self._park()
            return True
        with trio.move_on_at(deadline) as scope:
            await self._park()
        return not scope.cancelled_caught

    async def _park(self) -> None:
        """The one task of this life sleeps; a third of the time that an Event would take."""

        def unpark(_: object) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        if self._has_news:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            self._parked = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(unpark)
        self._has_news = False

    def _step(self, state: AgentState) -> None:
        self.report(self.lifecycle.to(state))
