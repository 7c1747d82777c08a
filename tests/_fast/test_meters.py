"""Histograms, held against plain numbers; and what the records are counted into."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton._fast import scheduler as native
from caxton._fast.meters import MOST_BOUNDS, Histogram, Meters
from caxton.core.errors import AgentNotFound, InvalidMessage
from caxton.core.performatives import ACT_CODES
from tests._fast.scheduling import Stage, guest, open_stage
from tests.oracles.meters import Histogram as Plain

BOUNDS = (1e-6, 1e-3, 1.0)
NANOSECONDS = st.integers(-(10**6), 10**12) | st.integers(0, 50).map(lambda bit: 1 << bit)


@given(
    bounds=st.lists(st.integers(1, 10**12) | st.integers(0, 50).map(lambda bit: 1 << bit), min_size=1, max_size=20),
    values=st.lists(NANOSECONDS, max_size=50),
    near=st.lists(st.integers(-1, 1), max_size=20),
)
@settings(deadline=None)
def test_a_value_is_in_the_first_bucket_that_it_fits(bounds: list[int], values: list[int], near: list[int]) -> None:
    seconds = [ns / 1e9 for ns in sorted(set(bounds))]
    native, plain = Histogram(seconds), Plain(seconds)
    for ns in values + [bound + offset for bound, offset in zip(plain.bounds, near, strict=False)]:
        if round(ns / 1e9 * 1e9) != ns:
            continue  # seconds cannot say it
        native.observe(ns / 1e9)
        plain.observe_ns(ns)
    assert native.counts_and_sum() == (plain.counts, plain.sum_ns / 1e9)


def test_the_most_bounds_and_what_exceeds_them_all() -> None:
    histogram = Histogram([n / 10 for n in range(1, MOST_BOUNDS + 1)])
    histogram.observe(1e300)
    histogram.observe(float("nan"))  # of no clock; it harms nobody
    counts, _ = histogram.counts_and_sum()
    assert (len(counts), sum(counts)) == (MOST_BOUNDS + 1, 2)


@pytest.mark.parametrize("bounds", [(), (0.0,), (-1.0, 1.0), (2.0, 1.0), (1.0, 1.0), tuple(range(1, MOST_BOUNDS + 2))])
def test_bounds_that_are_none(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="each larger"):
        Histogram(bounds)


def metered(stage: Stage, series: int = 3) -> Meters:
    meters = stage.scheduler.records.meters = Meters(BOUNDS, series)
    return meters


def test_turns_and_messages_are_counted_from_the_records() -> None:
    with open_stage(retry_attempts=0) as stage:
        meters = metered(stage)
        quiet = stage.seat("quiet", guest("quiet"))
        crash = stage.seat("crash", guest("crash", HOW="unreachable"))
        for _ in range(5):
            stage.send("quiet")
        stage.send("crash", performative="inform")
        stage.watch(lambda: sum(meters.ended().get((0, n), 0) for n in range(16)) == 6)
        assert meters.ended()[0, 0] == 5
        assert meters.ended()[0, native.EXIT_TRAP] == 1
        assert meters.ended()[1, 0] == 2, "and two began"
        assert meters.accepted_by_act() == {(True, ACT_CODES["request"]): 5, (True, ACT_CODES["inform"]): 1}
        for histogram in (meters.waits, meters.turns):
            counts, total = histogram.counts_and_sum()
            assert sum(counts) == 6
            assert total > 0
        assert meters.turns.counts_and_sum()[1] == pytest.approx(
            (stage.scheduler.statistics(quiet).turns_ns + stage.scheduler.statistics(crash).turns_ns) / 1e9
        )


def test_ports_add_up_to_their_series() -> None:
    with open_stage() as stage:
        meters = metered(stage)
        one, two = stage.seat("one", guest("quiet")), stage.seat("two", guest("quiet"))
        meters.assign(one, 1)
        for name in ("one", "one", "two"):
            stage.send(name)
        stage.watch(lambda: meters.ended().get((0, 0)) == 3)
        router = stage.scheduler.router
        sums, _ = meters.gather(router, [one, two, 999])
        assert [row[:2] for row in sums] == [(1, 0), (2, 0), (0, 0)]
        assert meters.gather(router, [one, two])[0] == sums, "what was gathered is not added again"
        meters.assign(two, 2)
        stage.send("two")
        stage.watch(lambda: meters.ended().get((0, 0)) == 4)
        sums, _ = meters.gather(router, [one, two])
        assert [row[0] for row in sums] == [1, 2, 1], "what was counted before stays where it was"
        meters.clear(1)
        assert meters.gather(router, [one])[0][1][:3] == (0, 0, 0)
        with pytest.raises(ValueError, match="no series 3"):
            meters.assign(one, 3)


def test_what_waits_and_the_longest_mailbox() -> None:
    with open_stage() as stage:
        meters = metered(stage)
        away = stage.scheduler.open_port("away", host=True)
        for _ in range(3):
            stage.send("away")
        sums, longest = meters.gather(stage.scheduler.router, [away])
        assert (sums[0][3], longest) == (3, 3)


def test_without_meters_nothing_is_counted() -> None:
    with open_stage() as stage:
        assert stage.scheduler.records.meters is None
        meters = metered(stage)
        stage.scheduler.records.meters = None
        stage.seat("quiet", guest("quiet"))
        stage.send("quiet")
        stage.watch(lambda: stage.scheduler.totals()["handled"] == 1)
        assert (meters.ended(), meters.accepted_by_act()) == ({}, {})


def test_why_messages_were_refused() -> None:
    with open_stage() as stage:
        with pytest.raises(InvalidMessage):
            stage.scheduler.submit(b"{")
        with pytest.raises(AgentNotFound):
            stage.send("nobody")
        assert stage.scheduler.refusals() == {native.SEND_INVALID: 1, native.SEND_NO_RECEIVER: 1}


def test_series_have_a_bound() -> None:
    for wrong in (0, 20_000):
        with pytest.raises(ValueError, match="series"):
            Meters(BOUNDS, wrong)
