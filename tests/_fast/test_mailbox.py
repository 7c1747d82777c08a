"""The native mailbox beside its twin in deques."""

import itertools
import random
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from caxton._fast.envelope import Envelope
from caxton._fast.mailbox import Mailbox
from tests.oracles import mailbox as oracle
from tests.oracles.mailbox import FAIRNESS, PRIORITIES

TURNS = ("init", "timer", "shutdown", "capabilities", "health")

both = pytest.mark.parametrize("make", [Mailbox, oracle.Mailbox], ids=["native", "twin"])
Box = type[Mailbox] | type[oracle.Mailbox]


def message(number: int, priority: str = "normal", padding: int = 0) -> Envelope:
    return Envelope.make(
        performative="inform", receiver="a", priority=priority, content=b'[%d,"%s"]' % (number, b"x" * padding)
    )


def number_of(envelope: Envelope | None) -> int:
    assert envelope is not None
    assert envelope.content is not None
    return int(envelope.content[1:].split(b",")[0])


def all_of(box: Mailbox | oracle.Mailbox) -> list[Envelope]:
    return list(iter(box.pop, None))


class Beside(RuleBasedStateMachine):
    """Every push and pop on both; the numbers make each message another one."""

    @initialize(bound=st.sampled_from([0, 1, 2, 7, 60]), byte_bound=st.sampled_from([1, 1500, 20_000, 1 << 30]))
    def open(self, bound: int, byte_bound: int) -> None:
        self.native = Mailbox(bound, byte_bound)
        self.twin = oracle.Mailbox(bound, byte_bound)
        self.numbers = itertools.count()

    @rule(priority=st.sampled_from(PRIORITIES), padding=st.sampled_from([0, 1, 300]), times=st.integers(1, 20))
    def push(self, priority: str, padding: int, times: int) -> None:
        for _ in range(times):
            envelope = message(next(self.numbers), priority, padding)
            assert self.native.push(envelope) == self.twin.push(envelope)

    @rule(turn=st.sampled_from(TURNS))
    def ask(self, turn: str) -> None:
        envelope = Envelope.control(turn, next(self.numbers))
        assert self.native.push(envelope)
        assert self.twin.push(envelope)

    @rule(times=st.integers(1, 40))
    def pop(self, times: int) -> None:
        for _ in range(times):
            assert self.native.pop() == self.twin.pop()

    @invariant()
    def shows_the_same(self) -> None:
        assert (len(self.native), self.native.bytes) == (len(self.twin), self.twin.bytes)

    def teardown(self) -> None:
        if hasattr(self, "native"):
            assert all_of(self.native) == all_of(self.twin)


Beside.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.slow
class TestBeside(Beside.TestCase):  # type: ignore[valid-type, misc]  # a class that Hypothesis makes
    pass


def test_twenty_thousand_random_steps_stay_equal() -> None:
    rng = random.Random(1)
    native, twin = Mailbox(500, 300_000), oracle.Mailbox(500, 300_000)
    pool = [message(n, priority, n % 50) for n, priority in enumerate(PRIORITIES * 100)]
    for step in range(20_000):
        filling = step // 2000 % 2 == 0
        if rng.random() < (0.6 if filling else 0.4):
            envelope = Envelope.control("timer", step) if rng.random() < 0.02 else rng.choice(pool)
            assert native.push(envelope) == twin.push(envelope)
        else:
            assert native.pop() == twin.pop()
        assert len(native) == len(twin)
    assert all_of(native) == all_of(twin)
    assert (len(native), native.bytes) == (0, 0)


@both
def test_an_empty_mailbox_gives_nothing(make: Box) -> None:
    box = make(3)
    assert box.pop() is None
    box.push(message(1))
    assert number_of(box.pop()) == 1
    assert box.pop() is None


@both
@pytest.mark.parametrize("priority", PRIORITIES)
def test_first_in_first_out_within_one_priority(make: Box, priority: str) -> None:
    box = make(1000)
    for number in range(300):
        box.push(message(number, priority))
    assert [number_of(envelope) for envelope in all_of(box)] == list(range(300))


@both
def test_a_higher_priority_goes_first(make: Box) -> None:
    box = make(10)
    for number, priority in enumerate(["normal", "critical", "low", "high"]):
        box.push(message(number, priority))
    assert [number_of(envelope) for envelope in all_of(box)] == [1, 3, 0, 2]


@both
def test_the_lowest_lane_has_its_turn_after_so_many_were_passed(make: Box) -> None:
    box = make(1000)
    for number in range(60):
        box.push(message(number, "high"))
    for number in range(100, 103):
        box.push(message(number, "low"))
    order = [envelope.priority for envelope in all_of(box)]
    turn = ["high"] * FAIRNESS + ["low"]
    assert order == turn * 3 + ["high"] * (60 - 3 * FAIRNESS)


@both
def test_nobody_is_passed_while_one_lane_alone_waits(make: Box) -> None:
    box = make(1000)
    for number in range(FAIRNESS):
        box.push(message(number, "high"))
    for _ in range(FAIRNESS):
        box.pop()
    for number in range(FAIRNESS + 1):
        box.push(message(number, "high"))
    box.push(message(0, "low"))
    assert [envelope.priority for envelope in all_of(box)] == ["high"] * FAIRNESS + ["low", "high"]


@both
def test_nobody_between_the_highest_and_the_lowest_starves(make: Box) -> None:
    box = make(10_000)
    taken = Counter[str]()
    for priority in PRIORITIES:
        for _ in range(2000):
            box.push(message(0, priority))
    for _ in range(30 * (FAIRNESS + 1)):
        envelope = box.pop()
        assert envelope is not None
        taken[envelope.priority] += 1
    assert taken == {"low": 10, "normal": 10, "high": 10, "critical": 30 * FAIRNESS}


@both
@pytest.mark.parametrize("flood", PRIORITIES[1:])
def test_no_flood_keeps_the_lowest_out(make: Box, flood: str) -> None:
    box = make(1000)
    taken: Counter[str] = Counter()
    for _ in range(20):
        box.push(message(0, flood))
        box.push(message(0, "low"))
    for _ in range(15 * (FAIRNESS + 1)):
        envelope = box.pop()
        assert envelope is not None
        taken[envelope.priority] += 1
        box.push(message(0, envelope.priority))
    assert taken == {"low": 15, flood: 15 * FAIRNESS}


@both
def test_control_turns_go_first_and_are_never_refused(make: Box) -> None:
    box = make(2)
    assert [box.push(message(number, "critical")) for number in range(3)] == [True, True, False]
    for number in range(5000):
        assert box.push(Envelope.control("timer", number))
    assert len(box) == 2
    taken = all_of(box)
    assert [envelope.argument for envelope in taken[:5000]] == list(range(5000))
    assert [number_of(envelope) for envelope in taken[5000:]] == [0, 1]


@both
def test_a_control_turn_takes_nobodys_turn(make: Box) -> None:
    box = make(100)
    for number in range(FAIRNESS + 1):
        box.push(message(number, "high"))
    box.push(message(0, "low"))
    order = []
    for _ in range(FAIRNESS + 2):
        box.push(Envelope.control("health"))
        first, second = box.pop(), box.pop()
        assert first is not None
        assert second is not None
        assert first.kind == "health"
        order.append(second.priority)
    assert order == ["high"] * FAIRNESS + ["low", "high"]


@both
def test_a_full_mailbox_refuses_and_keeps_what_it_has(make: Box) -> None:
    box = make(3)
    assert [box.push(message(number)) for number in range(5)] == [True] * 3 + [False] * 2
    assert number_of(box.pop()) == 0
    assert box.push(message(9))
    assert [number_of(envelope) for envelope in all_of(box)] == [1, 2, 9]


@both
def test_the_bound_in_bytes_counts_whole_blocks(make: Box) -> None:
    size = message(0).size
    box = make(100, 3 * size)
    assert [box.push(message(number)) for number in range(4)] == [True] * 3 + [False]
    assert box.bytes == 3 * size
    box.pop()
    assert (box.push(message(4)), box.push(message(5))) == (True, False)


@both
def test_a_message_larger_than_the_bound_in_bytes_finds_an_empty_mailbox_open(make: Box) -> None:
    box = make(100, 10)
    assert (box.push(message(1, padding=5000)), box.push(message(2))) == (True, False)
    assert number_of(box.pop()) == 1
    assert box.bytes == 0
    assert box.push(message(2))


@both
@pytest.mark.parametrize(("bound", "byte_bound"), [(0, 1 << 30), (10, 0)])
def test_a_bound_of_nothing_takes_nothing_but_control_turns(make: Box, bound: int, byte_bound: int) -> None:
    box = make(bound, byte_bound)
    assert not box.push(message(1))
    assert box.push(Envelope.control("init"))
    assert [envelope.kind for envelope in all_of(box)] == ["init"]


@both
def test_a_burst_comes_and_goes_in_order_at_every_fill(make: Box) -> None:
    """The rings of the lanes grow, are given back and start again at whatever place their heads had."""
    box = make(10_000)
    pushed, popped = 0, 0
    for burst in (1, 3, 4, 5, 63, 64, 65, 200, 1000, 2):
        for _ in range(burst):
            box.push(message(pushed))
            pushed += 1
        for _ in range(burst // 2):
            assert number_of(box.pop()) == popped
            popped += 1
    assert [number_of(envelope) for envelope in all_of(box)] == list(range(popped, pushed))


def test_a_mailbox_that_is_thrown_away_releases_what_waits() -> None:
    envelope = message(1)
    for _ in range(100):
        box = Mailbox(1000)
        for _ in range(200):
            box.push(envelope)
        del box
    assert number_of(envelope) == 1


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(TypeError):
        Mailbox(1).push(None)  # type: ignore[arg-type]  # that is the point
