"""Native vectors beside their twin in plain Python, with every build of the loops that this processor can run."""

from __future__ import annotations

import math
import random
import sys
import threading
from array import array
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton._fast import vectors
from caxton._fast.vectors import Block, cosine, dot, normalise, top_k
from tests.oracles import vectors as oracle

Hits = list[tuple[int, float]]
Rows = list[list[float]]

# sums of these are exact in float32, so that scores, ties and their order are those of the twin
EXACT = st.integers(-20, 20).map(float)
SPECIAL = st.sampled_from([math.inf, -math.inf, math.nan, 0.0, -0.0, 1.0, 2.0])
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
DIMENSIONS = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 64, 70])


@pytest.fixture(params=range(3), ids=["plain", "avx2", "avx512"])
def level(request: pytest.FixtureRequest) -> Iterator[int]:
    if vectors._use(request.param) != request.param:
        vectors._use(2)
        pytest.skip("not on this processor")
    yield request.param
    vectors._use(2)


def flat(rows: Rows) -> array[float]:
    return array("f", [value for row in rows for value in row])


def block(rows: Rows) -> memoryview:
    """The rows in two dimensions."""
    return memoryview(flat(rows)).cast("B").cast("f", (len(rows), len(rows[0])))


def vector(*values: float) -> array[float]:
    return array("f", values)


def same(one: float, other: float) -> bool:
    return one == other or (one != one and other != other)


@st.composite
def searches(draw: st.DrawFn, values: st.SearchStrategy[float]) -> tuple[Rows, list[float], int]:
    """Rows, some of them twice, a query, and k."""
    dimensions = draw(DIMENSIONS)
    row = st.lists(values, min_size=dimensions, max_size=dimensions)
    some = draw(st.lists(row, min_size=1, max_size=6))
    rows = [list(draw(st.sampled_from(some))) for _ in range(draw(st.integers(1, 80)))]
    return rows, draw(row), draw(st.integers(0, len(rows) + 2))


SEARCHES: dict[str, Callable[[Rows, list[float], int], Hits]] = {
    "rows": lambda rows, query, k: top_k(block(rows), array("f", query), k),
    "one after the other": lambda rows, query, k: top_k(flat(rows), array("f", query), k),
    "block": lambda rows, query, k: Block(block(rows), len(query)).top_k(array("f", query), k),
}


@given(searches(st.one_of(EXACT, EXACT, SPECIAL)))
def test_the_best_are_those_of_the_twin(case: tuple[Rows, list[float], int]) -> None:
    expected = oracle.top_k(*case)
    for most in range(3):
        vectors._use(most)
        for name, search in SEARCHES.items():
            assert search(*case) == expected, (most, name)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.usefixtures("level")
class TestTheBest:
    def test_are_found_among_many(self, search: Callable[[Rows, list[float], int], Hits]) -> None:
        rng = random.Random(7)
        some = [[float(rng.randint(-9, 9)) for _ in range(21)] for _ in range(400)]
        rows = [some[rng.randrange(400)] for _ in range(2500)]
        rows[1234] = [math.inf, *rows[1234][1:]]
        rows[77] = [math.nan] * 21
        rows[2049] = [1e30] * 21
        rows[2050] = [1e-30] * 21
        query = [float(rng.randint(-9, 9)) for _ in range(21)]
        for k in (1, 10, 311, 312, 2499, 9999):
            found, expected = search(rows, query, k), oracle.top_k(rows, query, k)
            assert [index for index, _ in found] == [index for index, _ in expected]
            assert [score for _, score in found] == pytest.approx([score for _, score in expected], rel=1e-6)

    def test_are_the_lower_rows_where_all_are_the_same(self, search: Callable[[Rows, list[float], int], Hits]) -> None:
        for dimensions in (1, 16, 37):
            row = [0.1 * value for value in range(1, dimensions + 1)]
            for count in (1, 3, 5, 100, 1100):
                found = search([row] * count, row, 7)
                assert [index for index, _ in found] == list(range(min(7, count)))
                assert len({score for _, score in found}) == 1

    def test_are_none_where_none_are_asked_for(self, search: Callable[[Rows, list[float], int], Hits]) -> None:
        assert search([[1.0, 2.0]], [3.0, 4.0], 0) == []

    def test_are_all_where_more_are_asked_for(self, search: Callable[[Rows, list[float], int], Hits]) -> None:
        assert search([[1.0, 2.0], [5.0, 6.0]], [3.0, 4.0], 3) == [(1, 39.0), (0, 11.0)]

    def test_are_not_fewer_than_none(self, search: Callable[[Rows, list[float], int], Hits]) -> None:
        with pytest.raises(ValueError, match="k must be 0 or more, found -1"):
            search([[1.0]], [1.0], -1)

    def test_are_the_first_where_nothing_is_like_anything(
        self, search: Callable[[Rows, list[float], int], Hits]
    ) -> None:
        assert search([[0.0, 0.0]] * 20, [1.0, 2.0], 2) == [(0, 0.0), (1, 0.0)]
        assert search([[1.0, 2.0]] * 20, [0.0, 0.0], 2) == [(0, 0.0), (1, 0.0)]


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e12, 1e-12, 1e-16, 1e15], ids=str)
@pytest.mark.usefixtures("level")
def test_a_block_finds_what_a_scan_finds_at_any_scale(scale: float) -> None:
    rng = random.Random(11)
    for dimensions in (16, 48, 250):
        rows = [[rng.gauss(0, 1) * scale for _ in range(dimensions)] for _ in range(1500)]
        # some that differ by less than a code can tell
        rows[700:740] = [[value * (1 + rng.uniform(-1e-5, 1e-5)) for value in rows[3]] for _ in range(40)]
        filled = block([row + [0.0] * (-dimensions % 16) for row in rows])
        prepared = Block(block(rows), dimensions)
        for query in (rows[3], rows[20], [rng.gauss(0, 1) for _ in range(dimensions)]):
            expected = top_k(filled, array("f", query + [0.0] * (-dimensions % 16)), 10)
            assert prepared.top_k(array("f", query), 10) == expected


@given(searches(FINITE))
def test_scores_are_near_those_of_the_twin(case: tuple[Rows, list[float], int]) -> None:
    rows, query, _ = case
    for found in (
        top_k(block(rows), array("f", query), 100),
        Block(block(rows), len(query)).top_k(array("f", query), 100),
    ):
        for index, score in found:
            sizes = sum(abs(x * y) for x, y in zip(rows[index], query, strict=True))
            if sizes < 1e38:
                assert score == pytest.approx(oracle.dot(rows[index], query), rel=0, abs=1e-5 * sizes + 1e-42)


@given(
    DIMENSIONS.flatmap(lambda n: st.tuples(*[st.lists(st.one_of(EXACT, FINITE, SPECIAL), min_size=n, max_size=n)] * 2))
)
def test_a_pair_s_products_are_those_of_the_twin(pair: tuple[list[float], list[float]]) -> None:
    a, b = pair
    product = dot(array("f", a), array("f", b))
    sizes = sum(abs(x * y) for x, y in zip(a, b, strict=True))
    if math.isfinite(sizes):
        assert product == pytest.approx(oracle.dot(a, b), rel=0, abs=1e-12 * sizes)
        angle = cosine(array("f", a), array("f", b))
        assert angle == pytest.approx(oracle.cosine(a, b), rel=0, abs=1e-9)
        assert -1 <= angle <= 1
    else:
        assert same(product, oracle.dot(a, b))


@given(st.lists(FINITE, min_size=1, max_size=40))
def test_a_normalised_vector_has_length_one(values: list[float]) -> None:
    row = array("f", values)
    normalise(row)
    if any(values):
        assert math.hypot(*row) == pytest.approx(1, abs=1e-5)
        assert list(row) == pytest.approx(oracle.normalised(values), abs=1e-6)
    else:
        assert list(row) == values


def test_rows_are_normalised_each() -> None:
    rows = flat([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0], [math.inf, 1.0]])
    normalise(memoryview(rows).cast("B").cast("f", (4, 2)))
    assert list(rows[:6]) == pytest.approx([0.6, 0.8, 0, 0, 0, -1])
    assert math.isnan(rows[6])


def test_zeros_are_like_nothing() -> None:
    assert cosine(vector(0, 0), vector(1, 2)) == 0
    assert cosine(vector(0, 0), vector(0, 0)) == 0
    assert math.isnan(cosine(vector(0, 0), vector(math.inf, 0)))
    assert math.isnan(cosine(vector(1, 0), vector(math.nan, 0)))


def test_an_empty_block_has_no_best() -> None:
    assert top_k(vector(), vector(1, 2), 5) == []
    assert top_k(vector(), vector(), 5) == []
    assert Block(vector(), 2).top_k(vector(1, 2), 5) == []
    assert len(Block(vector(), 2)) == 0
    assert dot(vector(), vector()) == 0
    assert cosine(vector(), vector()) == 0


def test_a_block_is_a_copy() -> None:
    rows = vector(1, 2, 3, 4)
    prepared = Block(rows, 2)
    rows[0] = 100
    assert prepared.top_k(vector(1, 1), 1) == [(1, 7.0)]
    assert (len(prepared), prepared.dimensions) == (2, 2)


def test_vectors_may_begin_anywhere() -> None:
    data = b"\0" + vector(1, 2, 3, 4, 5, 6).tobytes()
    rows = memoryview(data)[1:].cast("f")
    assert top_k(rows, rows[:2], 1) == Block(rows, 2).top_k(rows[:2], 1) == [(2, 17.0)]
    assert dot(rows[:2], rows[4:]) == 17
    row = memoryview(bytearray(b"\0" + vector(3, 4).tobytes()))[1:].cast("f")
    normalise(row)
    assert row.tolist() == pytest.approx([0.6, 0.8])


def test_threads_may_search_one_block() -> None:
    rng = random.Random(3)
    rows = array("f", (rng.gauss(0, 1) for _ in range(5000 * 64)))
    prepared = Block(rows, 64)
    found: list[Hits] = []
    searchers = [threading.Thread(target=lambda: found.append(prepared.top_k(rows[640:704], 5))) for _ in range(4)]
    for searcher in searchers:
        searcher.start()
    for searcher in searchers:
        searcher.join()
    assert found == [prepared.top_k(rows[640:704], 5)] * 4
    assert found[0][0][0] == 10


OTHER = ">f" if sys.byteorder == "little" else "<f"
ONE = vector(1, 2)
TWO = memoryview(vector(1, 2, 3, 4)).cast("B").cast("f", (2, 2))
THREE = memoryview(vector(1, 2, 3, 4)).cast("B").cast("f", (2, 1, 2))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: top_k([1.0], ONE, 1), TypeError, "rows must be a buffer of float32, found list; array.array"),
        (lambda: top_k(ONE, (1.0, 2.0), 1), TypeError, "query must be a buffer of float32, found tuple"),
        (lambda: dot(ONE, None), TypeError, "b must be a buffer of float32, found NoneType"),
        (lambda: top_k(array("d", [1, 2]), ONE, 1), ValueError, "rows must be float32 .* found format 'd'; convert"),
        (lambda: top_k(ONE, array("i", [1, 2]), 1), ValueError, "query must be float32 .* found format 'i'"),
        (lambda: top_k(b"12345678", ONE, 1), ValueError, r"rows must be float32 .* 'B'.* memoryview\(data\).cast"),
        (lambda: cosine(ONE, b"12345678"), ValueError, "b must be float32"),
        (lambda: top_k(ONE, TWO, 1), ValueError, "query must have one dimension, found 2"),
        (lambda: top_k(THREE, ONE, 1), ValueError, "rows must have one or two dimensions, found 3"),
        (lambda: dot(TWO, ONE), ValueError, "a must have one dimension, found 2"),
        (
            lambda: top_k(memoryview(vector(1, 2, 3))[::2], ONE, 1),
            ValueError,
            r"contiguous .* shape \[2\] .* \[8\] bytes",
        ),
        (lambda: Block(memoryview(ONE)[::-1], 2), ValueError, r"contiguous .* \[-4\] bytes; a copy would be"),
        (lambda: top_k(TWO, vector(1, 2, 3), 1), ValueError, "query has 3 dimensions, rows have 2"),
        (lambda: top_k(vector(1, 2, 3), ONE, 1), ValueError, "query has 2 dimensions, 3 values are no whole rows"),
        (lambda: top_k(ONE, vector(), 1), ValueError, "query has 0 dimensions, 2 values"),
        (lambda: dot(ONE, vector(1)), ValueError, "a has 2 dimensions, b has 1"),
        (lambda: Block(TWO, 3), ValueError, "the block has 3 dimensions, rows have 2"),
        (lambda: Block(vector(1, 2, 3), 2), ValueError, "the block has 2 dimensions, 3 values"),
        (lambda: Block(ONE, 0), ValueError, "a block has 1 to 65536 dimensions, found 0"),
        (lambda: Block(ONE, 65537), ValueError, "found 65537"),
        (lambda: Block(ONE, 2).top_k(vector(1), 1), ValueError, "query has 1 dimensions, rows have 2"),
        (lambda: normalise(memoryview(ONE).toreadonly()), ValueError, "rows must be a writable buffer"),
    ],
)
def test_what_will_not_do_is_refused_and_says_why(
    call: Callable[[], object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        call()


def test_what_numpy_holds_is_taken_as_it_is() -> None:
    numpy = pytest.importorskip("numpy")
    rng = numpy.random.default_rng(5)
    rows = rng.standard_normal((3000, 96), dtype=numpy.float32)
    query = rng.standard_normal(96, dtype=numpy.float32)
    expected = numpy.argsort(-(rows.astype("f8") @ query.astype("f8")), kind="stable")[:10].tolist()
    assert [index for index, _ in top_k(rows, query, 10)] == expected
    assert [index for index, _ in Block(rows, 96).top_k(query, 10)] == expected
    assert top_k(numpy.zeros((0, 96), "f4"), query, 3) == []
    assert top_k(numpy.zeros((3, 0), "f4"), numpy.zeros(0, "f4"), 2) == [(0, 0.0), (1, 0.0)]
    with pytest.raises(ValueError, match="contiguous row by row"):
        top_k(rows.T, rows[:, 0].copy(), 1)
    with pytest.raises(ValueError, match=r"found format '[<>]f'"):
        top_k(rows.astype(OTHER), query, 1)
