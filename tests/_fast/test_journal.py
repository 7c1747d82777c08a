"""The native record ring beside its twin in a list."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from caxton._fast.envelope import Envelope
from caxton._fast.journal import Ring
from tests.oracles import journal as oracle

ACCEPTED, TURN = 1, 2  # kinds of records; 0 is the ring's own

both = pytest.mark.parametrize("make", [Ring, oracle.Ring], ids=["native", "twin"])
Records = type[Ring] | type[oracle.Ring]


def message(length: int, letter: str = "x") -> Envelope:
    return Envelope.make(performative="inform", receiver="a", content=b'"%s"' % (letter.encode() * length))


class Beside(RuleBasedStateMachine):
    @initialize(capacity=st.sampled_from([1, 1024, 1025, 4096, 9000]))
    def open(self, capacity: int) -> None:
        self.native = Ring(capacity)
        self.twin = oracle.Ring(capacity)

    @rule(kind=st.sampled_from([ACCEPTED, TURN]), port=st.integers(0, 2**32 - 1), times=st.integers(1, 30))
    def append(self, kind: int, port: int, times: int) -> None:
        for _ in range(times):
            assert self.native.append(kind, port) == self.twin.append(kind, port)

    @rule(lengths=st.lists(st.integers(0, 3000), max_size=10), port=st.integers(0, 2**32 - 1))
    def append_messages(self, lengths: list[int], port: int) -> None:
        for length in lengths:
            envelope = message(length)
            assert self.native.append(ACCEPTED, port, envelope) == self.twin.append(ACCEPTED, port, envelope)

    @rule()
    def drain(self) -> None:
        assert self.native.drain() == self.twin.drain()

    @invariant()
    def shows_the_same(self) -> None:
        if hasattr(self, "twin"):
            assert (self.native.used, self.native.capacity) == (self.twin.used, self.twin.capacity)


Beside.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


@pytest.mark.slow
class TestBeside(Beside.TestCase):  # type: ignore[valid-type, misc]  # a class that Hypothesis makes
    pass


def test_twenty_thousand_random_records_come_out_as_they_went_in() -> None:
    rng = random.Random(1)
    native, twin = Ring(1 << 14), oracle.Ring(1 << 14)
    pool = [message(rng.randrange(2000), letter) for letter in "abcdefghij" for _ in range(10)]
    for number in range(20_000):
        envelope = rng.choice(pool) if rng.random() < 0.5 else None
        kind = TURN if envelope is None else ACCEPTED
        assert native.append(kind, number, envelope) == twin.append(kind, number, envelope)
        if rng.random() < 0.05:
            assert native.drain() == twin.drain()
        assert native.used == twin.used
    assert native.drain() == twin.drain()


@both
@pytest.mark.parametrize(("asked", "given"), [(0, 1024), (1024, 1024), (1025, 2048), (5000, 8192)])
def test_a_capacity_is_a_power_of_two(make: Records, asked: int, given: int) -> None:
    ring = make(asked)
    assert (ring.capacity, ring.used, ring.drain()) == (given, 0, [])


@both
def test_a_full_ring_refuses_and_loses_nothing(make: Records) -> None:
    ring = make(4096)
    accepted = []
    for number in range(1000):
        if ring.append(TURN, number):
            accepted.append((TURN, number, None))
    assert len(accepted) == 4096 // oracle.HEADER
    used = ring.used
    assert not ring.append(ACCEPTED, 1, message(1))
    assert ring.used == used
    assert ring.drain() == accepted
    assert ring.append(TURN, 7)
    assert ring.drain() == [(TURN, 7, None)]


@both
def test_a_ring_can_be_filled_to_its_last_byte(make: Records) -> None:
    ring = make(1024)
    envelope = next(e for e in map(message, range(2000)) if oracle.HEADER + e.size == 1024 - 5 * oracle.HEADER)
    for turn in range(3):
        assert all(ring.append(TURN, turn) for _ in range(5))
        assert ring.append(ACCEPTED, turn, envelope)
        assert (ring.used, ring.append(TURN, 9)) == (1024, False)
        assert ring.drain() == [(TURN, turn, None)] * 5 + [(ACCEPTED, turn, envelope)]


@both
def test_a_record_longer_than_the_ring_is_refused_for_good(make: Records) -> None:
    ring = make(1024)
    assert not ring.append(ACCEPTED, 1, message(2000))
    assert (ring.used, ring.drain()) == (0, [])
    assert ring.append(TURN, 2)


def test_a_ring_grows_with_what_it_holds_wherever_it_wraps() -> None:
    for read in range(12):
        ring = Ring(1024)
        for length in range(read):
            assert ring.append(ACCEPTED, 0, message(length))
            ring.drain()
        held = []
        for room in (1024, 4096, 5000):
            ring.grow(room)
            while ring.append(ACCEPTED, len(held), whole := message(len(held), "y")):
                held.append((ACCEPTED, len(held), whole))
        assert (ring.capacity, len(held) >= 10) == (8192, True)
        assert ring.drain() == held
        assert ring.append(TURN, 7)
        assert ring.drain() == [(TURN, 7, None)]


def test_no_record_is_torn_wherever_the_ring_wraps() -> None:
    """Every offset, a multiple of 8, before the end of the ring is one that some record begins at."""
    whole = message(300, "z")
    long = oracle.HEADER + whole.size
    begun = set()
    for length in range(0, 4096 - oracle.HEADER - message(0).size, 8):
        native, twin = Ring(4096), oracle.Ring(4096)
        first = message(length)
        for ring in (native, twin):
            assert ring.append(ACCEPTED, 1, first)
            assert ring.drain() == [(ACCEPTED, 1, first)]
        begun.add(twin.end)
        for number in range(6):
            assert native.append(ACCEPTED, number, whole) == twin.append(ACCEPTED, number, whole)
            assert native.append(TURN, number) == twin.append(TURN, number)
        drained = native.drain()
        assert drained == twin.drain()
        assert drained
        assert all(envelope.content == whole.content for _, _, envelope in drained if envelope)
    assert begun >= set(range(4096 - long // 8 * 8, 4096, 8))


@both
@pytest.mark.parametrize("letters", ["abc", "abcdefghijklmnopqrstuvwxyz" * 20])
def test_what_is_read_is_a_copy(make: Records, letters: str) -> None:
    """Records that are overwritten later do not change what was read before."""
    ring = make(4096)
    read = []
    for letter in letters:
        assert ring.append(ACCEPTED, ord(letter), message(900, letter))
        read += ring.drain()
    for letter, (kind, port, envelope) in zip(letters, read, strict=True):
        assert envelope is not None
        assert (kind, port, envelope.content) == (ACCEPTED, ord(letter), b'"%s"' % (letter.encode() * 900))


def test_a_ring_that_is_thrown_away_lets_go_of_what_it_holds() -> None:
    envelope = message(10)
    for _ in range(1000):
        ring = Ring(1 << 14)
        while ring.append(ACCEPTED, 1, envelope):
            pass
        del ring
    assert envelope.content == b'"xxxxxxxxxx"'
