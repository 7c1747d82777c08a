"""The supervisor: a table of small stories, random steps, then a model of the world that it commands."""

from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from caxton.core.errors import InvalidTransition
from caxton.core.supervision import (
    Action,
    Ended,
    Exit,
    ExitReason,
    Phase,
    Quarantined,
    RestartType,
    Start,
    Stop,
    Strategy,
    Supervisor,
)

PERMANENT, TRANSIENT, TEMPORARY = RestartType
ONE_FOR_ONE, ONE_FOR_ALL, REST_FOR_ONE = Strategy
NORMAL = Exit(ExitReason.NORMAL)
TRAP = Exit(ExitReason.TRAP, "unreachable")


def a_supervisor(strategy: Strategy = ONE_FOR_ONE, max_restarts: int = 3, period: float = 60.0) -> Supervisor:
    return Supervisor(strategy, max_restarts, period, Random(1))


def a_family(strategy: Strategy, names: str = "abc", **options: float) -> Supervisor:
    """Children that are all up at time 0."""
    supervisor = a_supervisor(strategy, **options)  # type: ignore[arg-type]  # max_restarts is an int wherever it is given
    for name in names:
        supervisor.add(name, PERMANENT, 0.0)
        supervisor.started(name, 0.0)
    return supervisor


# restart type, how it ended, whether it is restarted
RESTARTS = [
    (PERMANENT, NORMAL, True),
    (PERMANENT, TRAP, True),
    (TRANSIENT, NORMAL, False),
    (TRANSIENT, TRAP, True),
    (TEMPORARY, NORMAL, False),
    (TEMPORARY, TRAP, False),
]


@pytest.mark.parametrize(("restart", "exit", "again"), RESTARTS)
@pytest.mark.parametrize("strategy", Strategy)
def test_which_ends_call_for_a_restart(strategy: Strategy, restart: RestartType, exit: Exit, again: bool) -> None:
    supervisor = a_supervisor(strategy)
    assert supervisor.add("a", restart, 0.0) == [Start("a")]
    supervisor.started("a", 0.0)
    assert supervisor.exited("a", exit, 1.0) == [Start("a") if again else Ended("a", exit)]


def test_the_fourth_end_within_a_minute_quarantines_the_child_and_nobody_else() -> None:
    supervisor = a_family(ONE_FOR_ONE, "ab")
    now = 0.0
    for _ in range(3):
        now += 1.0
        supervisor.exited("a", TRAP, now)
        now = max(now, supervisor.next_deadline()) if supervisor.next_deadline() < inf else now
        supervisor.tick(now)
        assert supervisor.children["a"].phase is Phase.STARTING
        supervisor.started("a", now)
    (action,) = supervisor.exited("a", TRAP, now)
    assert isinstance(action, Quarantined)
    assert action.child == "a"
    assert action.reason == "ended 4 times within 60 s, 3 are allowed; the last time: trap: unreachable"
    assert supervisor.next_deadline() == inf
    assert supervisor.children["b"].phase is Phase.UP
    assert not supervisor.children["b"].is_quarantined


@pytest.mark.parametrize("strategy", Strategy)
def test_ends_with_one_cause_count_once(strategy: Strategy) -> None:
    supervisor = a_family(strategy, "a", max_restarts=2)
    now = 0.0
    for cause in (7, 7, 7, 8, 8, 7):
        assert supervisor.children["a"].phase is Phase.UP
        supervisor.exited("a", Exit(ExitReason.TRAP, cause=cause), now)
        now = supervisor.next_deadline() if supervisor.next_deadline() < inf else now
        supervisor.tick(now)
        supervisor.started("a", now)
    assert supervisor.children["a"].restarts == 6
    (action,) = supervisor.exited("a", Exit(ExitReason.TRAP, cause=9), now)
    assert isinstance(action, Quarantined)


def test_ends_without_a_cause_count_each() -> None:
    supervisor = a_family(ONE_FOR_ONE, "a", max_restarts=1)
    assert supervisor.exited("a", TRAP, 0.0) == [Start("a")]
    supervisor.started("a", 0.0)
    assert isinstance(supervisor.exited("a", TRAP, 1.0)[0], Quarantined)


def test_what_lies_further_back_than_the_period_is_forgotten() -> None:
    supervisor = a_family(ONE_FOR_ONE, "a", max_restarts=1, period=10.0)
    assert supervisor.exited("a", TRAP, 0.0) == [Start("a")]
    supervisor.started("a", 0.0)
    assert supervisor.exited("a", TRAP, 10.5) == [Start("a")]
    supervisor.started("a", 10.5)
    # a whole period back still counts
    assert isinstance(supervisor.exited("a", TRAP, 20.5)[0], Quarantined)


def test_no_restarts_allowed() -> None:
    supervisor = a_family(ONE_FOR_ONE, "a", max_restarts=0)
    assert isinstance(supervisor.exited("a", TRAP, 0.0)[0], Quarantined)


def test_the_first_restart_is_at_once_and_later_ones_wait_longer() -> None:
    supervisor = a_family(ONE_FOR_ONE, "a", max_restarts=10)
    assert supervisor.exited("a", TRAP, 0.0) == [Start("a")]
    waits = []
    for _ in range(6):
        supervisor.started("a", 0.0)
        assert supervisor.exited("a", TRAP, 0.0) == []
        waits.append(supervisor.next_deadline())
        assert supervisor.tick(supervisor.next_deadline() - 0.001) == []
        assert supervisor.tick(supervisor.next_deadline()) == [Start("a")]
    for nth, wait in enumerate(waits):
        assert 0.05 * 2**nth <= wait <= 0.1 * 2**nth


def test_one_for_all_stops_in_reverse_and_starts_in_order_one_at_a_time() -> None:
    supervisor = a_family(ONE_FOR_ALL)
    assert supervisor.exited("b", TRAP, 1.0) == [Stop("c")]
    assert supervisor.exited("c", NORMAL, 1.1) == [Stop("a")]
    assert supervisor.exited("a", NORMAL, 1.2) == [Start("a")]
    assert supervisor.started("a", 1.3) == [Start("b")]
    assert supervisor.started("b", 1.4) == [Start("c")]
    assert supervisor.started("c", 1.5) == []
    assert [child.restarts for child in supervisor.children.values()] == [0, 1, 0]


def test_rest_for_one_leaves_those_before_alone() -> None:
    supervisor = a_family(REST_FOR_ONE, "abcd")
    assert supervisor.exited("b", TRAP, 1.0) == [Stop("d")]
    assert supervisor.exited("d", NORMAL, 1.1) == [Stop("c")]
    assert supervisor.exited("c", NORMAL, 1.2) == [Start("b")]
    assert supervisor.started("b", 1.3) == [Start("c")]
    assert supervisor.started("c", 1.3) == [Start("d")]
    assert supervisor.children["a"].phase is Phase.UP


@pytest.mark.parametrize("strategy", [ONE_FOR_ALL, REST_FOR_ONE])
def test_a_group_counts_together_and_fails_together(strategy: Strategy) -> None:
    supervisor = a_family(strategy, "ab", max_restarts=1)
    assert supervisor.exited("b", TRAP, 1.0)[-1] in (Stop("a"), Start("b"))
    if strategy is ONE_FOR_ALL:
        supervisor.exited("a", NORMAL, 1.0)
        supervisor.started("a", 1.0)
    supervisor.started("b", 1.0)
    actions = supervisor.exited("a", TRAP, 2.0)
    assert [(type(action), action.child) for action in actions] == [(Quarantined, "a"), (Quarantined, "b"), (Stop, "b")]
    assert supervisor.exited("b", NORMAL, 2.1) == []
    assert supervisor.next_deadline() == inf


def test_a_temporary_sibling_goes_down_with_its_group_and_stays_down() -> None:
    supervisor = a_family(ONE_FOR_ALL, "a")
    supervisor.add("t", TEMPORARY, 0.0)
    supervisor.started("t", 0.0)
    assert supervisor.exited("a", TRAP, 1.0) == [Stop("t")]
    assert supervisor.exited("t", NORMAL, 1.0) == [Start("a")]
    assert supervisor.started("a", 1.0) == []


def test_a_child_that_is_told_to_rest_is_not_restarted_and_can_be_started_again() -> None:
    supervisor = a_family(ONE_FOR_ALL)
    assert supervisor.stop("b", 1.0) == [Stop("b")]
    assert supervisor.exited("b", TRAP, 1.0) == []
    assert supervisor.start("b", 2.0) == [Start("b")]


def test_a_child_that_is_wanted_again_while_it_is_being_stopped_comes_back() -> None:
    supervisor = a_family(ONE_FOR_ONE, "a")
    assert supervisor.stop("a", 1.0) == [Stop("a")]
    assert supervisor.start("a", 1.1) == []
    assert supervisor.exited("a", NORMAL, 1.2) == [Start("a")]


def test_starting_a_quarantined_child_forgives_it() -> None:
    supervisor = a_family(ONE_FOR_ONE, "a", max_restarts=1)
    supervisor.exited("a", TRAP, 0.0)
    supervisor.started("a", 0.0)
    assert isinstance(supervisor.exited("a", TRAP, 0.0)[0], Quarantined)
    assert supervisor.start("a", 1.0) == [Start("a")]
    supervisor.started("a", 1.0)
    assert supervisor.exited("a", TRAP, 1.0) == [Start("a")]


def test_everybody_is_stopped_in_reverse_order() -> None:
    supervisor = a_family(REST_FOR_ONE)
    assert supervisor.stop_all(1.0) == [Stop("c")]
    assert supervisor.exited("c", NORMAL, 1.0) == [Stop("b")]
    assert supervisor.exited("b", NORMAL, 1.0) == [Stop("a")]
    assert a_family(ONE_FOR_ONE).stop_all(1.0) == [Stop("c"), Stop("b"), Stop("a")]


def test_what_comes_up_too_late_is_ignored() -> None:
    supervisor = a_supervisor()
    supervisor.add("a", PERMANENT, 0.0)
    assert supervisor.stop("a", 0.0) == [Stop("a")]
    assert supervisor.started("a", 0.1) == []
    assert supervisor.exited("a", NORMAL, 0.2) == []
    assert supervisor.remove("a", 0.3) == []
    assert supervisor.children == {}


ILLEGAL = [
    ("an unknown child", lambda s: s.started("x", 0.0)),
    ("an unknown child", lambda s: s.exited("x", TRAP, 0.0)),
    ("an unknown child", lambda s: s.stop("x", 0.0)),
    ("an unknown child", lambda s: s.start("x", 0.0)),
    ("the same name twice", lambda s: s.add("a", PERMANENT, 0.0)),
    ("it is up already", lambda s: s.started("a", 0.0)),
    ("it is up", lambda s: s.remove("a", 0.0)),
    ("it is down already", lambda s: s.exited("down", TRAP, 0.0)),
]


@pytest.mark.parametrize(("why", "step"), ILLEGAL)
def test_a_step_that_cannot_be(why: str, step: object) -> None:
    supervisor = a_family(ONE_FOR_ONE, ["a", "down"])  # type: ignore[arg-type]  # any iterable of names will do
    supervisor.stop("down", 0.0)
    supervisor.exited("down", NORMAL, 0.0)
    before = snapshot(supervisor)
    with pytest.raises(InvalidTransition):
        step(supervisor)  # type: ignore[operator]  # lambdas, typed by nothing
    assert snapshot(supervisor) == before, why


def snapshot(supervisor: Supervisor) -> object:
    return [
        (child.name, child.phase, child.wanted, child.recycle, child.due, child.is_quarantined, list(child.recent))
        for child in supervisor.children.values()
    ]


NAMES = st.sampled_from("abcd")
STEPS = st.one_of(
    st.tuples(st.just("add"), NAMES, st.sampled_from(RestartType)),
    st.tuples(st.sampled_from(["started", "start", "stop", "remove", "tick"]), NAMES, st.none()),
    st.tuples(st.just("exited"), NAMES, st.sampled_from([NORMAL, TRAP])),
)


@given(st.sampled_from(Strategy), st.lists(st.tuples(st.floats(0, 30), STEPS), max_size=40))
def test_any_order_of_events_leaves_nothing_due_and_an_illegal_one_changes_nothing(
    strategy: Strategy, steps: list[tuple[float, tuple[str, str, object]]]
) -> None:
    supervisor = a_supervisor(strategy)
    now = 0.0
    for wait, (verb, name, argument) in steps:
        now += wait
        before = snapshot(supervisor)
        try:
            if verb == "tick":
                supervisor.tick(now)
                assert supervisor.next_deadline() > now
            elif argument is None:
                getattr(supervisor, verb)(name, now)
            else:
                getattr(supervisor, verb)(name, argument, now)
        except InvalidTransition:
            assert snapshot(supervisor) == before


class World(RuleBasedStateMachine):
    """Children that come up, fall over and obey, late and in any order; and what a supervisor may never do to them."""

    @initialize(strategy=st.sampled_from(Strategy), max_restarts=st.integers(0, 3), seed=st.integers(0, 3))
    def begin(self, strategy: Strategy, max_restarts: int, seed: int) -> None:
        self.now = 0.0
        self.supervisor = Supervisor(strategy, max_restarts, 60.0, Random(seed))
        self.phases: dict[str, str] = {}
        self.gone: set[str] = set()  # quarantined, or ended for good
        self.crashes: dict[str, list[float]] = {}

    @property
    def in_order(self) -> bool:
        return self.supervisor.strategy is not ONE_FOR_ONE

    def carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            phase = self.phases[action.child]
            match action:
                case Start():
                    assert phase == "down"
                    assert action.child not in self.gone
                    if self.in_order:
                        assert not {"starting", "stopping"} & set(self.phases.values())
                    self.phases[action.child] = "starting"
                case Stop():
                    assert phase in ("starting", "up")
                    if self.in_order:
                        assert "stopping" not in self.phases.values()
                    self.phases[action.child] = "stopping"
                case Quarantined() | Ended():
                    self.gone.add(action.child)

    def pick(self, data: st.DataObject, *phases: str) -> str | None:
        names = sorted(name for name, phase in self.phases.items() if phase in phases)
        return data.draw(st.sampled_from(names)) if names else None

    @rule(name=NAMES, restart=st.sampled_from(RestartType))
    def add(self, name: str, restart: RestartType) -> None:
        if name not in self.phases:
            self.phases[name] = "down"
            self.carry_out(self.supervisor.add(name, restart, self.now))

    @rule(data=st.data())
    def comes_up(self, data: st.DataObject) -> None:
        if name := self.pick(data, "starting"):
            self.phases[name] = "up"
            self.carry_out(self.supervisor.started(name, self.now))

    @rule(data=st.data(), exit=st.sampled_from([NORMAL, TRAP]))
    def falls_over(self, data: st.DataObject, exit: Exit) -> None:
        if name := self.pick(data, "starting", "up"):
            self.phases[name] = "down"
            self.carry_out(self.supervisor.exited(name, exit, self.now))

    @rule(data=st.data(), exit=st.sampled_from([NORMAL, TRAP]))
    def obeys(self, data: st.DataObject, exit: Exit) -> None:
        if name := self.pick(data, "stopping"):
            self.phases[name] = "down"
            self.carry_out(self.supervisor.exited(name, exit, self.now))

    @rule(data=st.data())
    def is_stopped(self, data: st.DataObject) -> None:
        if name := self.pick(data, "down", "starting", "up", "stopping"):
            self.carry_out(self.supervisor.stop(name, self.now))

    @rule(data=st.data())
    def is_started_again(self, data: st.DataObject) -> None:
        if name := self.pick(data, "down", "starting", "up", "stopping"):
            self.gone.discard(name)
            self.carry_out(self.supervisor.start(name, self.now))

    @rule(data=st.data())
    def is_removed(self, data: st.DataObject) -> None:
        if name := self.pick(data, "down"):
            del self.phases[name]
            self.gone.discard(name)
            self.carry_out(self.supervisor.remove(name, self.now))

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(self.supervisor.tick(self.now))
        assert self.supervisor.next_deadline() > self.now

    @rule()
    def all_is_well_in_the_end(self) -> None:
        """When children do as they are told, those that are wanted are up after a while, and the others are down."""
        for _ in range(100):
            if name := next((name for name, phase in self.phases.items() if phase == "stopping"), None):
                self.phases[name] = "down"
                self.carry_out(self.supervisor.exited(name, NORMAL, self.now))
            elif name := next((name for name, phase in self.phases.items() if phase == "starting"), None):
                self.phases[name] = "up"
                self.carry_out(self.supervisor.started(name, self.now))
            elif self.supervisor.next_deadline() < inf:
                self.now = self.supervisor.next_deadline()
                self.carry_out(self.supervisor.tick(self.now))
            else:
                break
        for name, child in self.supervisor.children.items():
            assert self.phases[name] == ("up" if child.wanted else "down")

    @invariant()
    def the_supervisor_knows_where_everybody_is(self) -> None:
        for name, phase in getattr(self, "phases", {}).items():
            child = self.supervisor.children[name]
            assert child.phase.value == phase
            assert not (child.is_quarantined and child.wanted)


World.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTheWorld = pytest.mark.slow(World.TestCase)
