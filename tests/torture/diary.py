"""What the clients know: what they tried to send, what was acknowledged, what they were given.

Each client writes a line before it sends and a line after it was answered, to a file of its own process that is synced
before the message leaves. The server is never asked what it acknowledged: a server that forgot a message has forgotten
that as well.

    a FIRST COUNT    about to send these numbers
    r NUMBER...      about to send these again, with the message_id of the first time
    k FIRST COUNT    these were acknowledged
    d NUMBER...      these arrived at the agent outside
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

FACTOR = 0x9E3779B97F4A7C15
RECORD = 34  # characters of a number in a message: "#", 16 digits, ":", 16 digits


def text_of(number: int) -> str:
    """How a message carries its number, so that damage shows."""
    return f"#{number:016x}:{number * FACTOR % (1 << 64):016x}"


def number_in(content: str) -> int | None:
    """The number that `text_of` put into *content*; None when that is damaged."""
    try:
        number = int(content[1:17], 16)
    except ValueError:
        return None
    return number if content[:RECORD] == text_of(number) else None


class Diary:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.acknowledged = 0

    def close(self) -> None:
        os.close(self._descriptor)

    def attempt(self, first: int, count: int) -> None:
        """On the disk when this returns."""
        self._write(f"a {first} {count}\n")
        os.fsync(self._descriptor)

    def repeat(self, numbers: Sequence[int]) -> None:
        """On the disk when this returns."""
        self._write(f"r {' '.join(map(str, numbers))}\n")
        os.fsync(self._descriptor)

    def acknowledge(self, numbers: Sequence[int]) -> None:
        """Ascending numbers; synced with the next attempt at the latest."""
        self._write("".join(f"k {first} {count}\n" for first, count in _runs(numbers)))
        self.acknowledged += len(numbers)

    def deliver(self, numbers: Sequence[int]) -> None:
        """On the disk when this returns, so before the agent outside acknowledges."""
        self._write(f"d {' '.join(map(str, numbers))}\n")
        os.fsync(self._descriptor)

    def _write(self, lines: str) -> None:
        os.write(self._descriptor, lines.encode())


@attrs.frozen
class Known:
    """What a diary says, one byte per number."""

    attempted: bytearray
    acknowledged: bytearray
    delivered: Counter[int]
    repeated: set[int] = attrs.field(factory=set)


def read_diary(path: Path, size: int) -> Known:
    attempted, acknowledged = bytearray(size), bytearray(size)
    delivered: Counter[int] = Counter()
    repeated: set[int] = set()
    with path.open() as lines:
        for line in lines:
            kind, *words = line.split()
            if kind == "d":
                delivered.update(map(int, words))
                continue
            if kind == "r":
                repeated.update(map(int, words))
                continue
            first, count = map(int, words)
            (attempted if kind == "a" else acknowledged)[first : first + count] = b"\1" * count
    assert len(attempted) == len(acknowledged) == size
    return Known(attempted, acknowledged, delivered, repeated)


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, count)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and sum(runs[-1]) == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs
