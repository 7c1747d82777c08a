"""What Python counts while metrics are on: requests, commits, the loop's lag. The hot path is `_fast/meters`."""

from collections import Counter
from collections.abc import Iterable, Sequence

from caxton._fast.meters import Histogram
from caxton.core.metrics import Distribution, Point

# OpenTelemetry: every other one is _OTHER, for a client can make up as many as it likes
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})


class Requests:
    """Requests of the API by method, route and status; routes are those that the application has."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._durations: dict[tuple[str, str, int], Histogram] = {}
        self.limited: Counter[str] = Counter()  # refused for being too many, by kind

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """One has ended. *route* empty: none of ours; *status* 0: who asked left before the answer."""
        key = (method if method in METHODS else "_OTHER", route, status)
        duration = self._durations.get(key)
        if duration is None:
            duration = self._durations[key] = Histogram(self._bounds)
        duration.observe(seconds)

    def points(self) -> Iterable[Point]:
        for (method, route, status), duration in sorted(self._durations.items()):
            yield Point((method, route, str(status) if status else ""), distribution(self._bounds, duration))


def distribution(bounds: Sequence[float], histogram: Histogram) -> Distribution:
    counts, total = histogram.counts_and_sum()
    return Distribution(bounds, counts, total)
