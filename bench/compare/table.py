"""Two revisions' counts as a table, and whether one of them is too much: pure.

Rule 1: whatever either revision was asked is in the table, with counts or with the reason why there are none.
Rule 2: what grew beyond the limit fails, and so does what no longer runs; what is new cannot.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HEADINGS = ("", "base", "head", "change")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Instructions of one operation on both; a string is the reason why there are none."""

    name: str
    base: float | str
    head: float | str
    limit: float  # growth that is still allowed: 0.1 is a tenth

    @property
    def change(self) -> float | None:
        """Growth as a share; None when it cannot be said."""
        if isinstance(self.base, str) or isinstance(self.head, str):
            return None
        return self.head / self.base - 1

    @property
    def failed(self) -> bool:
        if isinstance(self.base, str):
            return False
        return isinstance(self.head, str) or self.head > self.base * (1 + self.limit)


def rows(base: Mapping[str, float | str], head: Mapping[str, float | str], limit: float) -> list[Row]:
    absent = "not counted"
    names = [*head, *(name for name in base if name not in head)]
    return [Row(name=name, base=base.get(name, absent), head=head.get(name, absent), limit=limit) for name in names]


def text(compared: list[Row]) -> str:
    """The table for a terminal."""
    cells = [HEADINGS, *(_cells(row) for row in compared)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    lines = []
    for row in cells:
        right = [row[column].rjust(widths[column]) for column in range(1, len(row))]
        lines.append("  ".join([row[0].ljust(widths[0]), *right]).rstrip())
    return "\n".join([*lines, *_reasons(compared)])


def _cells(row: Row) -> tuple[str, ...]:
    change = "" if row.change is None else f"{row.change:+.1%}"
    return row.name, _count(row.base), _count(row.head), change


def _count(value: float | str) -> str:
    return "-" if isinstance(value, str) else f"{value:,.0f}"


def _reasons(compared: list[Row]) -> Iterator[str]:
    for row in compared:
        for side, value in (("base", row.base), ("head", row.head)):
            if isinstance(value, str):
                yield f"{row.name} on {side}: {value}"
