"""Health checks: what is asked when, and what the answers make of it."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from caxton.core.health import Health, HealthAction
from caxton.core.manifest import HealthCheck

ASK, UNWELL, WELL = HealthAction.ASK, HealthAction.UNWELL, HealthAction.WELL
CHECK = HealthCheck(initial_delay=5, interval=30, timeout=10, failure_threshold=3, success_threshold=2)


def test_an_agent_that_always_answers_stays_well() -> None:
    health = Health(CHECK, started=100.0)
    assert health.next_deadline() == 105.0
    assert health.tick(104.0) == []
    for asked in (105.0, 135.0, 165.0):
        assert health.next_deadline() == asked
        assert health.tick(asked) == [ASK]
        assert health.next_deadline() == asked + 10
        assert health.answered(True, asked + 1) == []
    assert health.is_well


def test_three_bad_answers_in_a_row_are_unwell_and_two_good_ones_well_again() -> None:
    health = Health(CHECK, started=0.0)
    now = 5.0
    reported = []
    for good in (False, False, True, False, False, False, False, True, False, True, True):
        assert health.tick(now) == [ASK]
        reported += health.answered(good, now + 1)
        now += 30
    assert reported == [UNWELL, WELL]


def test_one_that_begins_unwell_is_well_after_good_answers_and_unwell_again_after_bad_ones() -> None:
    health = Health(CHECK, started=0.0, is_well=False)
    now = 5.0
    reported = []
    for good in (True, False, True, True, False, False, False, False, False, False):
        assert health.tick(now) == [ASK]
        reported += [(now, action) for action in health.answered(good, now + 1)]
        now += 30
    assert reported == [(95.0, WELL), (185.0, UNWELL), (275.0, UNWELL)]


def test_no_answer_is_a_bad_answer_and_the_question_is_not_asked_twice() -> None:
    health = Health(CHECK, started=0.0)
    assert health.tick(5.0) == [ASK]
    assert health.tick(15.0) == []  # the first bad one
    assert health.tick(35.0) == []  # timed again, not asked again
    assert health.tick(45.0) == []
    assert health.tick(65.0) == []
    assert health.tick(75.0) == [UNWELL]
    assert health.answered(True, 80.0) == []  # late: counts for nothing
    assert health.tick(95.0) == [ASK]  # but the way is free for the next question


def test_a_late_answer_counts_for_the_question_that_is_being_timed() -> None:
    health = Health(HealthCheck(initial_delay=0, interval=5, timeout=2, failure_threshold=2), started=0.0)
    assert health.tick(0.0) == [ASK]
    assert health.tick(2.0) == []
    assert health.tick(5.0) == []
    assert health.answered(True, 6.0) == []
    assert health.tick(10.0) == [ASK]
    assert health.is_well


def test_an_interval_shorter_than_the_timeout_waits_for_the_answer() -> None:
    health = Health(HealthCheck(initial_delay=0, interval=1, timeout=10), started=0.0)
    assert health.tick(0.0) == [ASK]
    assert health.next_deadline() == 10.0
    assert health.answered(True, 3.0) == []
    assert health.next_deadline() == 3.0


def test_switched_off_it_never_asks() -> None:
    health = Health(HealthCheck(enabled=False), started=0.0)
    assert health.next_deadline() == inf
    assert health.tick(1e9) == []


CHECKS = st.builds(
    HealthCheck,
    initial_delay=st.floats(0, 100),
    interval=st.floats(0.001, 100),
    timeout=st.floats(0.001, 100),
    failure_threshold=st.integers(1, 5),
    success_threshold=st.integers(1, 5),
)


@given(CHECKS, st.lists(st.tuples(st.floats(0, 1000), st.sampled_from([None, True, False]))))
def test_after_a_tick_there_is_nothing_left_to_do_now(
    check: HealthCheck, steps: list[tuple[float, bool | None]]
) -> None:
    now = 0.0
    health = Health(check, started=now)
    open_questions = 0
    for wait, answer in steps:
        now += wait
        if answer is not None and open_questions:
            health.answered(answer, now)
            open_questions -= 1
        open_questions += health.tick(now).count(ASK)
        assert health.next_deadline() > now
        assert open_questions <= 1
