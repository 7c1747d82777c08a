"""The circuit breaker, step by step, then in any order."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from caxton.core.breaker import Breaker, BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
THRESHOLD, TIMEOUT = 3, 10.0

# what happens (ok, bad and gone are a call and its end; a number is time that passes) and what the breaker is then
CASES = [
    ("", CLOSED),
    ("bad bad", CLOSED),
    ("bad bad bad", OPEN),
    ("bad bad ok bad bad", CLOSED),
    ("gone gone gone gone", CLOSED),
    ("bad gone bad gone bad", OPEN),
    ("bad bad bad 9.9", OPEN),
    ("bad bad bad 10 begin", HALF_OPEN),
    ("bad bad bad 10 ok", CLOSED),
    ("bad bad bad 10 ok bad bad", CLOSED),
    ("bad bad bad 10 bad", OPEN),
    ("bad bad bad 10 bad 9.9", OPEN),
    ("bad bad bad 10 bad 10 ok", CLOSED),
    ("bad bad bad 10 gone", OPEN),
    ("bad bad bad 10 gone ok", CLOSED),
]


@pytest.mark.parametrize(("story", "expected"), CASES, ids=[story or "nothing" for story, _ in CASES])
def test_a_story(story: str, expected: BreakerState) -> None:
    breaker, now = Breaker(), 100.0
    for step in story.split():
        if step[0].isdigit():
            now += float(step)
            continue
        call = breaker.take(now, TIMEOUT)
        if step == "ok":
            breaker.succeeded(call)
        elif step == "bad":
            breaker.failed(call, now, THRESHOLD)
        elif step == "gone":
            breaker.dropped(call)
    assert breaker.state is expected


def test_it_says_when_it_opened_and_when_it_closed_and_how_long_to_wait() -> None:
    breaker = Breaker()
    assert [breaker.failed(breaker.take(0, TIMEOUT), 0, THRESHOLD) for _ in range(3)] == [False, False, True]
    assert (breaker.wait(4, TIMEOUT), breaker.wait(4, 5.0), breaker.wait(4, 3.0)) == (6, 1, 0)
    trial = breaker.take(10, TIMEOUT)
    assert breaker.wait(10, TIMEOUT) == TIMEOUT
    assert not breaker.failed(trial, 12, THRESHOLD)  # it was open before
    assert breaker.wait(12, TIMEOUT) == TIMEOUT
    assert breaker.succeeded(breaker.take(22, TIMEOUT))
    assert not breaker.succeeded(breaker.take(22, TIMEOUT))
    with pytest.raises(AssertionError, match="open"):
        [breaker.failed(breaker.take(22, TIMEOUT), 22, THRESHOLD) for _ in range(4)]


class AnyOrder(RuleBasedStateMachine):
    """Calls overlap, and end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now = Breaker(), 0.0
        self.calls: list[tuple[int, bool]] = []  # under way, and whether each is the trial

    @rule(seconds=st.floats(0, 15))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def begin(self) -> None:
        before = self.breaker.state
        if self.breaker.wait(self.now, TIMEOUT):
            assert before is not CLOSED
            return
        call = self.breaker.take(self.now, TIMEOUT)
        assert before is not HALF_OPEN
        assert before is CLOSED or self.now - self.breaker.opened_at >= TIMEOUT
        self.calls.append((call, before is OPEN))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), how=st.sampled_from(["ok", "bad", "gone"]))
    def end(self, data: st.DataObject, how: str) -> None:
        call, is_trial = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before = self.breaker.state
        if how == "ok":
            assert self.breaker.succeeded(call) is (is_trial and before is HALF_OPEN)
        elif how == "bad":
            opened = self.breaker.failed(call, self.now, THRESHOLD)
            assert opened is (before is CLOSED and self.breaker.state is OPEN)
        else:
            self.breaker.dropped(call)
        if before is not CLOSED and not is_trial:
            assert self.breaker.state is before  # it began in better days
        if is_trial and before is HALF_OPEN:
            assert self.breaker.state is (CLOSED if how == "ok" else OPEN)

    @invariant()
    def half_open_is_one_trial_under_way(self) -> None:
        trials = sum(is_trial for _, is_trial in self.calls)
        assert trials == (self.breaker.state is HALF_OPEN)

    @invariant()
    def it_waits_no_longer_than_the_timeout(self) -> None:
        assert 0 <= self.breaker.wait(self.now, TIMEOUT) <= TIMEOUT
        assert self.breaker.state is not CLOSED or self.breaker.failures < THRESHOLD


TestAnyOrder = AnyOrder.TestCase
