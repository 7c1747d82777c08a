"""A little of the stress (stress.py) in every run of the suite; `make sanitize` runs a minute of it, twice."""

import pytest

from tests._fast.stress import SLOTS, storm


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_storm_leaves_the_books_in_order(seed: int) -> None:
    sums = storm(seed, lambda number: number < 2, most_acts=1500)
    assert sums["accepted"] > 50
    assert sums["started"] > 2 * SLOTS  # in each round the pool was filled once; what follows depends on the threads
