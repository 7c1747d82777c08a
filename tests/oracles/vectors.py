"""What dot, cosine and top-k are, in plain Python: the specification of `caxton/_fast/vectors`.

Rule 1: a score is the dot product of a row and the query. A block's scores are summed in float32 and may differ from
these in the last digits; sums that float32 holds exactly are equal.
Rule 2: a score that is not a number is no score: such a row is left out. Infinite ones are ranked like any other.
Rule 3: best first; of two rows with the same score the lower one.
Rule 4: a vector of zeros is like nothing: its cosine with anything is 0, and it cannot be given a length.
"""

import math
from collections.abc import Sequence

Vector = Sequence[float]


def dot(a: Vector, b: Vector) -> float:
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} dimensions, b has {len(b)}")
    return sum((x * y for x, y in zip(a, b, strict=True)), 0.0)


def cosine(a: Vector, b: Vector) -> float:
    product, lengths = dot(a, b), math.sqrt(dot(a, a)) * math.sqrt(dot(b, b))
    if lengths == 0:
        return 0.0 if product == 0 else math.nan
    value = product / lengths
    return max(-1.0, min(1.0, value)) if value == value else value


def normalised(row: Vector) -> list[float]:
    length = math.sqrt(dot(row, row))
    return [value / length for value in row] if length else list(row)


def top_k(rows: Sequence[Vector], query: Vector, k: int) -> list[tuple[int, float]]:
    if k < 0:
        raise ValueError(f"k must be 0 or more, found {k}")
    scores = [(index, dot(row, query)) for index, row in enumerate(rows)]
    numbers = [(index, score) for index, score in scores if score == score]
    return sorted(numbers, key=lambda hit: (-hit[1], hit[0]))[:k]


class Block:
    """A block is its rows; that it answers faster is not seen from outside."""

    def __init__(self, rows: Sequence[Vector], dimensions: int) -> None:
        self.rows = rows
        self.dimensions = dimensions

    def __len__(self) -> int:
        return len(self.rows)

    def top_k(self, query: Vector, k: int) -> list[tuple[int, float]]:
        return top_k(self.rows, query, k)
