"""A little of the stress (stress.py) in every run of the suite; `make sanitize` runs a minute of it, twice."""

import pytest

from tests._fast.stress import SLOTS, storm


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [1, 2], ids=["modules", "components too"])
@pytest.mark.parametrize("seed", range(2))
def test_a_storm_leaves_the_books_in_order(seed: int, kinds: int) -> None:
    sums = storm(seed, lambda number: number < 2, most_acts=1500, kinds=kinds)
    assert sums["accepted"] > 50
    assert sums["started"] > 2 * SLOTS  # in each round the pool was filled once; what follows depends on the threads
