"""The native retries beside their twin in a list."""

import itertools
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from caxton._fast.envelope import Envelope
from caxton._fast.retries import Retries
from tests.oracles import retries as oracle

CONVERSATIONS = [None, "a", "b", "c"]

both = pytest.mark.parametrize("make", [Retries, oracle.Retries], ids=["native", "twin"])
Made = type[Retries] | type[oracle.Retries]


def message(number: int, conversation: str | None = None, end: int | None = None) -> Envelope:
    about = {"conversation_id": conversation} if conversation else {}
    if end is not None:
        about["expires_at"] = f"2020-01-01T00:00:{end:02}Z"
    return Envelope.make(performative="inform", receiver="a", content=b"%d" % number, **about)


def number_of(envelope: Envelope | None) -> int:
    assert envelope is not None
    assert envelope.content is not None
    return int(envelope.content)


class Beside(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.native, self.twin = Retries(), oracle.Retries()
        self.numbers = itertools.count()

    @rule(conversation=st.sampled_from(CONVERSATIONS), due=st.integers(0, 50), end=st.none() | st.integers(0, 59))
    def put(self, conversation: str | None, due: int, end: int | None) -> None:
        envelope = message(next(self.numbers), conversation, end)
        self.native.put(envelope, due)
        self.twin.put(envelope, due)

    @rule(conversation=st.sampled_from(CONVERSATIONS), times=st.integers(1, 4), end=st.none() | st.integers(0, 59))
    def hold(self, conversation: str | None, times: int, end: int | None) -> None:
        for _ in range(times):
            envelope = message(next(self.numbers), conversation, end)
            assert self.native.hold(envelope) == self.twin.hold(envelope)

    @rule(now=st.integers(0, 60), again=st.none() | st.integers(0, 60))
    def take(self, now: int, again: int | None) -> None:
        envelope = self.twin.take(now)
        assert self.native.take(now) == envelope
        if envelope is not None and again is not None:
            self.native.put(envelope, again)
            self.twin.put(envelope, again)

    @rule(now=st.integers(0, 59), most=st.integers(0, 3))
    def take_over(self, now: int, most: int) -> None:
        at = message(0, end=now).expires_at_us
        assert self.native.take_over(at, most) == self.twin.take_over(at, most)

    @invariant()
    def shows_the_same(self) -> None:
        if hasattr(self, "native"):
            assert (len(self.native), self.native.due()) == (len(self.twin), self.twin.due())

    def teardown(self) -> None:
        if hasattr(self, "native"):
            while len(self.twin):
                assert self.native.take(1000) == self.twin.take(1000)
            assert self.native.take(1000) is None
            assert self.native.due() is None


Beside.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@pytest.mark.slow
class TestBeside(Beside.TestCase):  # type: ignore[valid-type, misc]  # a class that Hypothesis makes
    pass


@both
@pytest.mark.parametrize("seed", range(5))
def test_a_conversation_keeps_its_order_and_nothing_is_lost(make: Made, seed: int) -> None:
    """As a port does: what is due, else the next of the mailbox, unless it has to wait behind another."""
    rng = random.Random(seed)
    retries = make()
    mailbox = [message(number, rng.choice(CONVERSATIONS)) for number in range(300)]
    handled: dict[str | None, list[int]] = {}
    now = 0
    while mailbox or len(retries):
        now += rng.randrange(3)
        envelope = retries.take(now)
        while envelope is None and mailbox:
            envelope = mailbox.pop(0)
            if retries.hold(envelope):
                envelope = None
        if envelope is None:
            due = retries.due()
            assert due is not None
            assert due > now
            now = due
        elif rng.random() < 0.4:
            retries.put(envelope, now + rng.randrange(20))
        else:
            handled.setdefault(envelope.conversation_id, []).append(number_of(envelope))
    assert sorted(itertools.chain(*handled.values())) == list(range(300))
    for conversation in CONVERSATIONS[1:]:
        assert handled[conversation] == sorted(handled[conversation])


@both
def test_nobody_goes_before_the_due_time(make: Made) -> None:
    retries = make()
    retries.put(message(1), 10)
    assert retries.take(9) is None
    assert number_of(retries.take(10)) == 1
    assert (retries.take(99), retries.due()) == (None, None)


@both
def test_who_was_held_is_due_when_the_one_before_has_gone(make: Made) -> None:
    retries = make()
    retries.put(message(1, "a"), 10)
    assert [retries.hold(message(2, "a")), retries.hold(message(3, "b")), retries.hold(message(4))] == [
        True,
        False,
        False,
    ]
    assert (retries.take(5), retries.due()) == (None, 10)
    assert number_of(retries.take(10)) == 1
    assert retries.due() == 0
    assert number_of(retries.take(0)) == 2


@both
@pytest.mark.parametrize(("length", "number"), [(10, 1000), (1 << 19, 32)])
def test_it_is_full_by_number_and_by_bytes(make: Made, length: int, number: int) -> None:
    envelope = Envelope.make(performative="inform", receiver="a", content=b'"%s"' % (b"x" * length))
    retries = make()
    for _ in range(number):
        assert not retries.is_full
        retries.put(envelope, 5)
    assert retries.is_full
    retries.take(5)
    assert not retries.is_full


def test_retries_that_are_thrown_away_release_what_waits() -> None:
    envelope = message(1, "a")
    for _ in range(100):
        retries = Retries()
        retries.put(envelope, 5)
        assert retries.hold(envelope)
        del retries
    assert number_of(envelope) == 1


@both
def test_the_next_of_a_conversation_leads_when_the_first_has_ended(make: Made) -> None:
    retries = make()
    retries.put(message(1, "a", end=1), 1000)
    assert retries.hold(message(2, "a"))
    found, end = retries.take_over(message(0, end=2).expires_at_us)
    assert ([number_of(each) for each in found], end, retries.due()) == ([1], 0, 0)
    assert number_of(retries.take(0)) == 2
