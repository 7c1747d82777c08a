"""The native state beside its twin in dicts."""

import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from caxton._fast import state as native
from tests.oracles import state as oracle

QUOTA = 200
KEYS = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b"\0", b"a\0", b"long" * 8]),
    st.binary(min_size=1, max_size=2),
    st.sampled_from([b"", b"x" * 256, b"x" * 257]),
)
VALUES = st.one_of(st.sampled_from([b"", b"1", b"2", b"x" * 60, b"x" * 150, b"x" * 201]), st.binary(max_size=40))


class Beside(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.native = native.State(QUOTA)
        self.oracle = oracle.State(QUOTA)

    @rule(key=KEYS, value=VALUES)
    def store(self, key: bytes, value: bytes) -> None:
        assert self.native.store(key, value) == self.oracle.store(key, value)

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        assert self.native.delete(key) == self.oracle.delete(key)

    @rule(key=KEYS)
    def load(self, key: bytes) -> None:
        assert self.native.load(key) == self.oracle.load(key)

    @rule(key=KEYS, value=VALUES)
    def restore(self, key: bytes, value: bytes) -> None:
        assert self.native.restore(key, value) == self.oracle.restore(key, value)

    @rule()
    def commit(self) -> None:
        assert self.native.commit() == self.oracle.commit()

    @rule()
    def rollback(self) -> None:
        self.native.rollback()
        self.oracle.rollback()

    @invariant()
    def shows_the_same(self) -> None:
        assert self.native.size == self.oracle.size
        for key, value in self.oracle.seen().items():
            assert self.native.load(key) == value


@pytest.mark.slow
class TestBeside(Beside.TestCase):  # type: ignore[valid-type, misc]  # a class that Hypothesis makes
    pass


def test_ten_thousand_random_steps_over_many_keys_stay_equal() -> None:
    rng = random.Random(1)
    ours, twin = native.State(3000), oracle.State(3000)
    keys = [bytes([rng.randrange(256) for _ in range(rng.randrange(1, 12))]) for _ in range(200)]
    for _ in range(10_000):
        key = rng.choice(keys)
        step = rng.random()
        if step < 0.45:
            value = rng.randbytes(rng.randrange(30))
            assert ours.store(key, value) == twin.store(key, value)
        elif step < 0.9:
            assert ours.delete(key) == twin.delete(key)
        elif step < 0.98:
            assert ours.load(key) == twin.load(key)
        elif step < 0.99:
            assert ours.commit() == twin.commit()
        else:
            ours.rollback()
            twin.rollback()
        assert ours.size == twin.size
    assert {key: ours.load(key) for key in keys} == {key: twin.load(key) for key in keys}


def test_a_turn_reads_its_own_writes_and_a_rollback_forgets_them() -> None:
    state = native.State(100)
    state.restore(b"kept", b"old")
    state.store(b"kept", b"new")
    state.store(b"made", b"1")
    assert (state.load(b"kept"), state.load(b"made")) == (b"new", b"1")
    state.rollback()
    assert (state.load(b"kept"), state.load(b"made")) == (b"old", None)
    assert state.commit() == []


def test_a_commit_hands_out_changes_in_the_order_they_were_made() -> None:
    state = native.State(100)
    state.restore(b"gone", b"1")
    for key in (b"z", b"a", b"m"):
        state.store(key, b"v")
    state.delete(b"gone")
    assert state.commit() == [(b"z", b"v"), (b"a", b"v"), (b"m", b"v"), (b"gone", None)]


def test_what_ends_as_it_was_is_no_change() -> None:
    state = native.State(100)
    state.restore(b"a", b"1")
    state.store(b"a", b"2")
    state.store(b"a", b"1")
    state.store(b"b", b"1")
    state.delete(b"b")
    state.delete(b"a")
    state.store(b"a", b"1")
    assert state.commit() == []


def test_overwriting_at_the_quota_counts_the_pair_once() -> None:
    state = native.State(10)
    assert state.store(b"k", b"x" * 9) == native.OK
    state.commit()
    assert state.store(b"k", b"y" * 9) == native.OK
    assert state.store(b"k", b"y" * 10) == native.QUOTA
    assert state.load(b"k") == b"y" * 9


def test_who_is_over_a_lowered_quota_may_shrink_but_not_grow() -> None:
    state = native.State(10)
    state.restore(b"k", b"x" * 50)
    assert state.store(b"k", b"x" * 51) == native.QUOTA
    assert state.store(b"other", b"") == native.QUOTA
    assert state.store(b"k", b"x" * 40) == native.OK
    assert state.delete(b"k") == native.OK


@pytest.mark.parametrize(("length", "code"), [(0, native.KEY), (1, native.NOT_FOUND), (256, native.NOT_FOUND)])
def test_a_key_has_1_to_256_bytes(length: int, code: int) -> None:
    assert native.State(1000).delete(b"k" * length) == code
    assert native.State(1000).store(b"k" * 257, b"") == native.KEY


def test_a_table_that_grew_and_emptied_still_finds_what_stays() -> None:
    state = native.State(1 << 20)
    state.restore(b"stays", b"here")
    for number in range(5000):
        assert state.store(b"%d" % number, b"x") == native.OK
    state.rollback()
    assert (state.load(b"stays"), state.load(b"17"), state.size) == (b"here", None, 9)
    for number in range(5000):
        state.store(b"%d" % number, b"x")
    assert len(state.commit()) == 5000
    for number in range(5000):
        assert state.delete(b"%d" % number) == native.OK
    assert len(state.commit()) == 5000
    assert (state.load(b"stays"), state.size) == (b"here", 9)
