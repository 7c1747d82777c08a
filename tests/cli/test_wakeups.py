"""The wake-up figures of `caxton benchmark hop`: as many as were asked for, on both sides, and none of them nothing."""

from caxton._fast.wakeups import wakeups
from caxton.cli.benchmarks.wakeups import Sleeper


def test_the_machines_wake_ups_are_counted_one_by_one() -> None:
    times = wakeups(3, 100_000)
    assert len(times) == 3
    assert all(0 < ns < 10**9 for ns in times)


def test_a_rested_scheduler_handles_every_message() -> None:
    sleeper = Sleeper()
    try:
        assert 0 < sleeper.median(0.001, 5) < 10**6
        assert sleeper.scheduler.totals()["handled"] == 5
    finally:
        sleeper.scheduler.stop()
