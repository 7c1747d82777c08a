"""What a histogram is, in plain numbers: the specification of `caxton/_fast/meters`.

Rule 1: a value is held in nanoseconds; a negative one is 0. So is a bound.
Rule 2: it counts in the first bucket whose bound it does not exceed; in the last one, which has no bound, when it
exceeds them all.
"""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = [round(bound * 1e9) for bound in bounds]
        self.counts = [0] * (len(bounds) + 1)
        self.sum_ns = 0

    def observe_ns(self, ns: int) -> None:
        ns = max(ns, 0)
        self.counts[bisect_left(self.bounds, ns)] += 1
        self.sum_ns += ns
