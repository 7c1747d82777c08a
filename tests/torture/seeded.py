"""Runs a Trio program so that the same seed does the same: the order of tasks, the time, everything drawn from `rng`.

Threads and sockets are not part of such a program: they would bring in an order of their own.
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import trio
import trio.testing
from trio._core import _run

T = TypeVar("T")


def run_seeded(program: Callable[[Random], Awaitable[T]], seed: int) -> T:
    """Virtual time jumps whenever every task sleeps."""
    before = _run._ALLOW_DETERMINISTIC_SCHEDULING
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # what hypothesis-trio does: tasks run in an order drawn from `_r`
    _run._r.seed(seed)
    try:
        return trio.run(program, Random(seed), clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before
