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
from functools import partial
from typing import TYPE_CHECKING, Any

from caxton._fast.vectors import Block, normalise, top_k
from caxton.cli.benchmarks import Result

if TYPE_CHECKING:
    Floats = array[float]

DIMENSIONS = 256
# rows, how many are asked for, rounds, and how often each query in a round
MANY = (100_000, 10, 11, 1)
FEW = (512, 3, 101, 25)

QUERIES = 8  # in turns: how many rows are in question depends on the query

Search = Callable[[Any], object]


def measure() -> Result:
    rng = random.Random(1)
    pool = array("f", (rng.gauss(0, 1) for _ in range(1 << 20)))
    figures: dict[str, object] = {"dimensions": DIMENSIONS}
    baseline: dict[str, object] = {}
    ratios: dict[str, object] = {}
    for name, (count, k, rounds, times) in (("100k", MANY), ("512", FEW)):
        rows = _rows(rng, pool, count)
        queries = [_rows(rng, pool, 1) for _ in range(QUERIES)]
        began = time.perf_counter()
        block = Block(rows, DIMENSIONS)
        figures[f"block_{name}_prepare_ms"] = (time.perf_counter() - began) * 1000
        ours: dict[str, Search] = {"block": partial(block.top_k, k=k), "scan": partial(top_k, rows, k=k)}
        theirs, their_queries = _baselines(rows, queries, k)
        if "python" in theirs:
            rounds, times = 3, 1
        both = [(search, queries) for search in ours.values()] + [(search, their_queries) for search in theirs.values()]
        taken = dict(zip([*ours, *theirs], _medians(both, rounds, times), strict=True))
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


def _medians(searches: list[tuple[Search, list[Any]]], rounds: int, times: int) -> list[float]:
    """Microseconds of each, the median of rounds that alternate between them; in a round each query *times* times."""
    taken: list[list[float]] = [[] for _ in searches]
    for _ in range(rounds):
        for (search, queries), values in zip(searches, taken, strict=True):
            began = time.perf_counter()
            for _ in range(times):
                for query in queries:
                    search(query)
            values.append((time.perf_counter() - began) / times / len(queries) * 1e6)
    return [statistics.median(values) for values in taken]


# Any: NumPy is no dependency
def _baselines(rows: "Floats", queries: "list[Floats]", k: int) -> tuple[dict[str, Search], list[Any]]:
    numpy: Any
    try:
        import numpy
    except ImportError:
        return {"python": partial(_plain, rows, k=k)}, queries[:1]
    block = numpy.array(rows).reshape(-1, DIMENSIONS)

    def best(query: Any) -> Any:
        return numpy.argpartition(block.dot(query), -k)[-k:]

    def same_answer(query: Any) -> object:
        scores = block.dot(query)
        found = numpy.argpartition(scores, -k)[-k:]
        found = found[numpy.argsort(-scores[found])]
        return list(zip(found.tolist(), scores[found].tolist(), strict=True))

    return {"numpy": best, "numpy_same_answer": same_answer}, [numpy.array(query) for query in queries]


def _plain(rows: "Floats", query: "Floats", k: int) -> list[tuple[float, int]]:
    """What was asked for, in Python."""
    starts = range(0, len(rows), DIMENSIONS)
    scores = (sum(map(operator.mul, rows[start : start + DIMENSIONS], query)) for start in starts)
    return heapq.nlargest(k, ((score, -index) for index, score in enumerate(scores)))
