"""What a supervisor does when a child ends, as Erlang/OTP does it; a machine without tasks and without a clock.

One Supervisor looks after one group of children. What happened goes in by methods, what to do comes out as a list of
actions; whoever carries them out reports back with `started()` and `exited()`.

Rule 1: nothing is planned ahead. Each child has a phase (where it is) and a goal (whether it should run), and after
        every event `_advance()` derives from these what may be done now. So no order of events can leave a plan behind.
Rule 2: more than `max_restarts` ends that call for a restart, within `period`, and the supervisor gives up
        (supervisor(3): MaxR in MaxT). With one_for_one each child is counted for itself and only the offender is
        quarantined; with the other strategies the group is counted together and fails together.
        Ends with one cause count once: the attempts of one message that no instance survives make a dead letter of it,
        and are not to take the agent away from everybody else's.
Rule 3: the first restart is at once, later ones wait longer and longer (core/retry.py).
Rule 4: with one_for_all and rest_for_one children are stopped one at a time, the last started first, and started one
        at a time, the first first. With one_for_one nobody waits for anybody.
Rule 5: a step that cannot be (an end of a child that is not there) raises InvalidTransition and changes nothing.
"""

from collections import deque
from collections.abc import Iterator
from enum import Enum, StrEnum
from math import inf
from random import Random

import attrs

from caxton.core.errors import InvalidTransition
from caxton.core.retry import backoff

BACKOFF_BASE = 0.1
BACKOFF_FACTOR = 2.0
BACKOFF_CAP = 10.0


Recent = tuple[float, int]  # when, and of which cause


class RestartType(StrEnum):
    """Which ends of a child call for a restart."""

    PERMANENT = "permanent"  # every end
    TRANSIENT = "transient"  # every end that is not normal
    TEMPORARY = "temporary"  # none


class Strategy(StrEnum):
    """Who is restarted together with the child that ended."""

    ONE_FOR_ONE = "one_for_one"  # nobody else
    ONE_FOR_ALL = "one_for_all"  # all of the group
    REST_FOR_ONE = "rest_for_one"  # those of the group that were started after it


class ExitReason(StrEnum):
    NORMAL = "normal"  # it finished, or did as it was told
    TRAP = "trap"
    TIMEOUT = "timeout"
    INIT = "init"  # it did not come up
    KILLED = "killed"
    MEMORY = "memory"
    UNHEALTHY = "unhealthy"


@attrs.frozen
class Exit:
    """How a child ended."""

    reason: ExitReason
    text: str = ""
    cause: int = 0  # the same for ends that are one and the same trouble; 0: nobody knows

    @property
    def is_normal(self) -> bool:
        return self.reason is ExitReason.NORMAL

    def __str__(self) -> str:
        return f"{self.reason}: {self.text}" if self.text else str(self.reason)


@attrs.frozen
class Start:
    """Start the child; answer with started() or exited()."""

    child: str


@attrs.frozen
class Stop:
    """Stop the child; answer with exited()."""

    child: str


@attrs.frozen
class Ended:
    """The child is down by itself and stays so, as its restart type says."""

    child: str
    exit: Exit


@attrs.frozen
class Quarantined:
    """The supervisor gave the child up; an operator may start() it again."""

    child: str
    reason: str


Action = Start | Stop | Ended | Quarantined


class Phase(Enum):
    DOWN = "down"
    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"


@attrs.define(eq=False)
class Child:
    name: str
    restart: RestartType
    phase: Phase = Phase.DOWN
    wanted: bool = True  # the goal: it should run
    recycle: bool = False  # it runs, and must be stopped first to run again
    due: float = -inf  # not to be started before
    is_quarantined: bool = False
    restarts: int = 0  # since it was added
    recent: deque[Recent] = attrs.field(factory=deque)  # rule 2, with one_for_one

    @property
    def must_stop(self) -> bool:
        return self.phase in (Phase.STARTING, Phase.UP) and (self.recycle or not self.wanted)


@attrs.define(eq=False)
class Supervisor:
    """One group of children and the rules for them."""

    strategy: Strategy
    max_restarts: int
    period: float
    rng: Random
    children: dict[str, Child] = attrs.field(factory=dict, init=False)  # in the order of their start
    _recent: deque[Recent] = attrs.field(factory=deque, init=False)  # rule 2, of the group
    _touched: dict[str, Child] = attrs.field(factory=dict, init=False)  # those with something to do, now or when due

    # -- what an operator says --

    def add(self, name: str, restart: RestartType, now: float) -> list[Action]:
        """A new child, to be started after those that are there."""
        if name in self.children:
            raise InvalidTransition(f"{name} is supervised already")
        self.children[name] = self._touched[name] = Child(name, restart)
        return list(self._advance(now))

    def start(self, name: str, now: float) -> list[Action]:
        """Let the child run (again); what it did before is forgiven."""
        child = self._child(name)
        child.recent.clear()
        if child.is_quarantined:
            self._recent.clear()
            child.is_quarantined = False
        child.wanted, child.due = True, now
        # a child that is still being stopped comes up again afterwards
        return list(self._advance(now))

    def stop(self, name: str, now: float) -> list[Action]:
        """Let the child rest; nobody else is concerned."""
        self._child(name).wanted = False
        return list(self._advance(now))

    def stop_all(self, now: float) -> list[Action]:
        for child in self.children.values():
            child.wanted = False
        self._touched.update(self.children)
        return list(self._advance(now))

    def remove(self, name: str, now: float) -> list[Action]:
        """Forget a child that is down."""
        child = self._child(name)
        if child.phase is not Phase.DOWN:
            raise InvalidTransition(f"{name} is {child.phase.value}; it can be removed when it is down")
        del self.children[name]
        self._touched.pop(name, None)
        return list(self._advance(now))

    # -- what a child did --

    def started(self, name: str, now: float) -> list[Action]:
        child = self._child(name)
        if child.phase is Phase.STOPPING:
            return []  # it came up while it was told to stop; its end will follow
        if child.phase is not Phase.STARTING:
            raise InvalidTransition(f"{name} is {child.phase.value}, not starting")
        child.phase = Phase.UP
        return list(self._advance(now))

    def exited(self, name: str, exit: Exit, now: float) -> list[Action]:
        child = self._child(name)
        if child.phase is Phase.DOWN:
            raise InvalidTransition(f"{name} is down already")
        expected = child.phase is Phase.STOPPING or child.recycle
        child.phase = Phase.DOWN
        child.recycle = False
        if expected or not child.wanted:
            return list(self._advance(now))
        if child.restart is RestartType.TEMPORARY or (child.restart is RestartType.TRANSIENT and exit.is_normal):
            child.wanted = False
            return [Ended(name, exit), *self._advance(now)]
        return [*self._restart(child, exit, now), *self._advance(now)]

    # -- time --

    def next_deadline(self) -> float:
        """When tick() has something to do; infinity: never."""
        waiting = (child.due for child in self._concerned if child.wanted and self._may_start(child))
        return min(waiting, default=inf)

    def tick(self, now: float) -> list[Action]:
        return list(self._advance(now))

    # -- inside --

    def _child(self, name: str) -> Child:
        try:
            child = self._touched[name] = self.children[name]
        except KeyError:
            raise InvalidTransition(f"{name} is not supervised here") from None
        return child

    @property
    def _concerned(self) -> list[Child]:
        """Whom a change can move: all where children depend on each other, else only those that were touched."""
        return list(self.children.values()) if self._in_order else list(self._touched.values())

    @property
    def _in_order(self) -> bool:
        return self.strategy is not Strategy.ONE_FOR_ONE

    def _restart(self, child: Child, exit: Exit, now: float) -> Iterator[Action]:
        recent = self._recent if self._in_order else child.recent
        while recent and recent[0][0] < now - self.period:
            recent.popleft()
        earlier = len(recent)
        is_known = exit.cause != 0 and any(cause == exit.cause for _, cause in recent)
        if earlier >= self.max_restarts and not is_known:
            yield from self._give_up(child, exit, earlier + 1)
            return
        if not is_known:
            recent.append((now, exit.cause))
        child.restarts += 1
        wait = backoff(earlier - 1, BACKOFF_BASE, BACKOFF_FACTOR, BACKOFF_CAP, self.rng) if earlier else 0.0
        for each in self._affected(child):
            if each.wanted:
                each.due = max(each.due, now + wait)
                each.recycle = each.phase in (Phase.STARTING, Phase.UP)
                if each is not child and each.restart is RestartType.TEMPORARY:
                    each.wanted = False  # OTP: goes down with its group, and is not started again

    def _affected(self, child: Child) -> list[Child]:
        family = list(self.children.values())
        if self.strategy is Strategy.ONE_FOR_ONE:
            return [child]
        return family if self.strategy is Strategy.ONE_FOR_ALL else family[family.index(child) :]

    def _give_up(self, child: Child, exit: Exit, ends: int) -> Iterator[Action]:
        reason = f"ended {ends} times within {self.period:g} s, {self.max_restarts} are allowed; the last time: {exit}"
        for each in list(self.children.values()) if self._in_order else [child]:
            if each.wanted or each is child:
                each.wanted, each.is_quarantined = False, True
                yield Quarantined(each.name, reason if each is child else f"its group failed: {child.name} {reason}")

    def _may_start(self, child: Child) -> bool:
        """Whether only time keeps the child from being started."""
        if child.phase is not Phase.DOWN or not child.wanted:
            return False
        if not self._in_order:
            return True
        for other in self.children.values():
            if other is child:
                break
            if other.wanted and (other.phase is not Phase.UP or other.recycle):
                return False  # somebody before it is not up yet
        # one at a time: nobody is on the way down, or up
        return not any(
            other.must_stop or other.phase in (Phase.STOPPING, Phase.STARTING) for other in self.children.values()
        )

    def _advance(self, now: float) -> Iterator[Action]:
        concerned = self._concerned
        stopping = self._in_order and any(child.phase is Phase.STOPPING for child in concerned)
        for child in reversed(concerned):
            if child.must_stop and not (self._in_order and stopping):
                child.phase = Phase.STOPPING
                stopping = True
                yield Stop(child.name)
        for child in concerned:
            if child.due <= now and self._may_start(child):
                child.phase = Phase.STARTING
                child.due = -inf
                yield Start(child.name)
        self._touched = {child.name: child for child in concerned if child.wanted and child.phase is Phase.DOWN}
