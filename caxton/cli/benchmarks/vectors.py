"""The best of a block of rows by dot product, 256 dimensions in float32: ours against NumPy's `dot` + `argpartition`.

The ten best of 100,000 rows, as a memory is searched, and the three best of 512, as a message is routed. `block` is a
prepared Block, which keeps codes beside the rows; `scan` reads the rows as they come. Ours are ordered pairs of row and
score; NumPy's `argpartition` leaves the best unordered, and `same_answer` has it sort and list them as well. NumPy uses
as many threads as it likes, ours one. Medians of alternating rounds. Without NumPy the baseline is plain Python.
"""

import heapq
import operator
import random
import statistics
import time
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from caxton._fast.vectors import Block, normalise, top_k
from caxton.cli.benchmarks import Result

if TYPE_CHECKING:
    Floats = array[float]

DIMENSIONS = 256
# rows, how many are asked for, rounds, and searches in a round
MANY = (100_000, 10, 15, 2)
FEW = (512, 3, 101, 200)

Search = Callable[[], object]


def measure() -> Result:
    rng = random.Random(1)
    pool = array("f", (rng.gauss(0, 1) for _ in range(1 << 20)))
    figures: dict[str, object] = {"dimensions": DIMENSIONS}
    baseline: dict[str, object] = {}
    ratios: dict[str, object] = {}
    for name, (count, k, rounds, times) in (("100k", MANY), ("512", FEW)):
        rows, query = _rows(rng, pool, count), _rows(rng, pool, 1)
        began = time.perf_counter()
        block = Block(rows, DIMENSIONS)
        figures[f"block_{name}_prepare_ms"] = (time.perf_counter() - began) * 1000
        ours: dict[str, Search] = {
            "block": lambda block=block, query=query, k=k: block.top_k(query, k),  # type: ignore[misc]  # of lambdas
            "scan": lambda rows=rows, query=query, k=k: top_k(rows, query, k),  # type: ignore[misc]
        }
        theirs = _baselines(rows, query, k)
        taken = _medians({**ours, **theirs}, rounds, times)
        for search in ours:
            figures[f"{search}_{name}_us"] = taken[search]
        for search in theirs:
            baseline[f"{search}_{name}_us"] = taken[search]
            for our in ours:
                ratios[f"{our}_{name}_vs_{search}"] = taken[search] / taken[our]
    return {"figures": figures, "baseline": baseline, "ratios": ratios}


def _rows(rng: random.Random, pool: "Floats", count: int) -> "Floats":
    """Rows of length 1 that begin anywhere in the pool, each elsewhere."""
    rows = array("f")
    for start in rng.sample(range(len(pool) - DIMENSIONS), count):
        rows.extend(pool[start : start + DIMENSIONS])
    normalise(memoryview(rows).cast("B").cast("f", (count, DIMENSIONS)))
    return rows


def _medians(searches: dict[str, Search], rounds: int, times: int) -> dict[str, float]:
    """Microseconds of each, the median of rounds that alternate between them; Python's take one search in one round."""
    taken: dict[str, list[float]] = {name: [] for name in searches}
    for number in range(rounds):
        for name, search in searches.items():
            count = 1 if name == "python" else times
            if name == "python" and number:
                continue
            began = time.perf_counter()
            for _ in range(count):
                search()
            taken[name].append((time.perf_counter() - began) / count * 1e6)
    return {name: statistics.median(values) for name, values in taken.items()}


def _baselines(rows: "Floats", query: "Floats", k: int) -> dict[str, Search]:
    # Any: NumPy is no dependency
    numpy: Any
    try:
        import numpy
    except ImportError:
        return {"python": lambda: _plain(rows, query, k)}
    block, wanted = numpy.array(rows).reshape(-1, DIMENSIONS), numpy.array(query)

    def best() -> Any:
        return numpy.argpartition(block.dot(wanted), -k)[-k:]

    def same_answer() -> object:
        scores = block.dot(wanted)
        found = numpy.argpartition(scores, -k)[-k:]
        found = found[numpy.argsort(-scores[found])]
        return list(zip(found.tolist(), scores[found].tolist(), strict=True))

    return {"numpy": best, "numpy_same_answer": same_answer}


def _plain(rows: "Floats", query: "Floats", k: int) -> list[tuple[float, int]]:
    """What was asked for, in Python."""
    starts = range(0, len(rows), DIMENSIONS)
    scores = (sum(map(operator.mul, rows[start : start + DIMENSIONS], query)) for start in starts)
    return heapq.nlargest(k, ((score, -index) for index, score in enumerate(scores)))
