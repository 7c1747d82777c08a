"""The best ten of rows of float32: a prepared block, a scan of rows as they come, NumPy's `dot` + `argpartition`."""

import random
from array import array

import numpy

from caxton._fast.vectors import Block, cosine, dot, normalise, top_k

K = 10


class Search:
    params = ([64, 512, 100_000], [64, 256, 384])
    param_names = ("rows", "dimensions")

    def setup(self, rows: int, dimensions: int) -> None:
        rng = numpy.random.default_rng(1)
        self.rows = rng.standard_normal((rows, dimensions), dtype=numpy.float32)
        self.query = rng.standard_normal(dimensions, dtype=numpy.float32)
        normalise(self.rows)
        self.block = Block(self.rows, dimensions)

    def time_block(self, rows: int, dimensions: int) -> None:
        self.block.top_k(self.query, K)

    def time_scan(self, rows: int, dimensions: int) -> None:
        top_k(self.rows, self.query, K)

    def time_numpy(self, rows: int, dimensions: int) -> None:
        numpy.argpartition(self.rows.dot(self.query), -K)[-K:]

    def time_prepare(self, rows: int, dimensions: int) -> None:
        Block(self.rows, dimensions)


class HowMany:
    """512 rows of 256, and how many of them are asked for; above an eighth a block scans its rows."""

    params = (1, 3, 10, 64, 65, 512)
    param_names = ("k",)

    def setup(self, k: int) -> None:
        rng = numpy.random.default_rng(2)
        self.block = Block(rng.standard_normal((512, 256), dtype=numpy.float32), 256)
        self.query = rng.standard_normal(256, dtype=numpy.float32)

    def time_block(self, k: int) -> None:
        self.block.top_k(self.query, k)


class Pair:
    def setup(self) -> None:
        rng = random.Random(3)
        self.a, self.b = (array("f", (rng.gauss(0, 1) for _ in range(256))) for _ in range(2))

    def time_dot(self) -> None:
        dot(self.a, self.b)

    def time_cosine(self) -> None:
        cosine(self.a, self.b)
