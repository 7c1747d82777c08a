"""The wait before the next attempt."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.core.retry import backoff


@given(
    st.integers(0, 10_000), st.floats(0, 100), st.floats(1, 10), st.floats(0, 1000), st.randoms(use_true_random=False)
)
def test_it_lies_in_the_upper_half_of_what_has_grown(
    attempt: int, base: float, factor: float, cap: float, rng: Random
) -> None:
    wait = backoff(attempt, base, factor, cap, rng)
    assert 0 <= wait <= cap
    if attempt < 50:
        longest = min(cap, base * factor**attempt)
        assert longest / 2 <= wait <= longest


def test_it_grows() -> None:
    waits = [backoff(attempt, 1.0, 4.0, 1e9, Random(1)) for attempt in range(10)]
    assert waits == sorted(waits)


def test_what_failed_together_comes_back_apart() -> None:
    rng = Random(7)
    assert len({backoff(3, 0.1, 2.0, 10.0, rng) for _ in range(100)}) == 100


@pytest.mark.parametrize("case", [(-1, 1.0, 2.0, 1.0), (0, -1.0, 2.0, 1.0), (0, 1.0, 0.5, 1.0), (0, 1.0, 2.0, -1.0)])
def test_what_makes_no_sense(case: tuple[int, float, float, float]) -> None:
    with pytest.raises(ValueError, match="or more"):
        backoff(*case, Random(1))
