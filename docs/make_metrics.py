"""Writes the table of docs/metrics.md from the catalogue of metrics (`caxton/core/metrics.py`).

`python docs/make_metrics.py` writes; with `--check` it only says whether something is to be written, and leaves with 1.
The text of the page outside the two marks is written by hand.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from caxton.core.metrics import CATALOGUE

PAGE = Path(__file__).parent / "metrics.md"
MARKS = ("<!-- metrics begin: docs/make_metrics.py writes this -->", "<!-- metrics end -->")


def rows() -> Iterator[str]:
    yield "| Prometheus | OpenTelemetry | kind, unit | labels | what it is |"
    yield "|---|---|---|---|---|"
    for metric in CATALOGUE.values():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        kind = f"{metric.kind}, {metric.unit}"
        yield f"| `{metric.exposed}` | `{metric.name}` | {kind} | {labels} | {metric.meaning} |"


def wanted() -> str:
    """The page with its table as it should be."""
    before, found, rest = PAGE.read_text().partition(MARKS[0])
    _, closed, after = rest.partition(MARKS[1])
    if not found or not closed:
        raise SystemExit(f"{PAGE}: the marks {MARKS[0]!r} and {MARKS[1]!r} are missing")
    table = "\n".join(rows())
    return f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{after}"


def main() -> None:
    if PAGE.read_text() == wanted():
        return
    if "--check" in sys.argv:
        raise SystemExit("metrics.md is older than the catalogue: run `python docs/make_metrics.py`")
    PAGE.write_text(wanted())
    print("wrote metrics.md")


if __name__ == "__main__":
    main()
