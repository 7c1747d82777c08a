"""What the adapters said, as a table: pure, and without knowledge of the peers.

Rule 1: whoever is asked is in the table, with figures or with the reason why there are none.
Rule 2: of several runs each figure is its own median.
Rule 3: a ratio is a peer's p50 by ours: above 1 the peer takes longer, below 1 it is ahead, and a line says so.
"""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

OURS = "Caxton"

WORKLOADS = {
    "round_trip": "Local round trip: A sends 64 bytes to B, B answers, on one machine",
    "together": "Spawn together: of 1,000 agents, actors or plugins, the time of one until all can take a message",
    "spawn": "Spawn one at a time: one agent, actor or plugin made, ready for a message",
    "instance": "Instance: the wasm sandbox alone, without address, mailbox or agent",
    "wasm_call": "Wasm call: 64 bytes handed to a guest and its function called",
}
HEADINGS = ("", "version", "p50 µs", "p99 µs", "per second", "× Caxton")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of one workload's table."""

    name: str
    workload: str
    version: str = ""
    p50: float = 0.0
    p99: float = 0.0
    per_second: float = 0.0
    reason: str = ""  # why there are no figures


def median_entry(name: str, workload: str, runs: Sequence[Mapping[str, object]]) -> Entry:
    """The entry for what an adapter printed in each of its runs."""
    p50, p99, per_second = (
        statistics.median(float(str(run[figure])) for run in runs) for figure in ("p50", "p99", "per_second")
    )
    version = str(runs[-1]["version"])
    return Entry(name=name, workload=workload, version=version, p50=p50, p99=p99, per_second=per_second)


def missing_entry(name: str, workload: str, reason: str) -> Entry:
    return Entry(name=name, workload=workload, reason=reason or "no reason given")


def ratio(entry: Entry, entries: Iterable[Entry]) -> float | None:
    """How many times as long as Caxton the entry takes; None when one of them has no figures."""
    for ours in entries:
        if ours.name == OURS and ours.workload == entry.workload and not ours.reason and not entry.reason:
            return entry.p50 / ours.p50
    return None


def plain(entries: Sequence[Entry], conditions: Sequence[str]) -> str:
    """The tables for a terminal."""
    lines = list(conditions)
    for title, rows, missing, ahead in _tables(entries):
        lines += ["", title]
        widths = [max(len(row[column]) for row in [HEADINGS, *rows]) for column in range(len(HEADINGS))]
        for row in [HEADINGS, *rows]:
            left = [row[column].ljust(widths[column]) for column in (0, 1)]
            right = [row[column].rjust(widths[column]) for column in range(2, len(row))]
            lines.append("  " + "  ".join(left + right).rstrip())
        lines += [f"  {name.ljust(widths[0])}  not measured: {reason}" for name, reason in missing]
        lines += [f"  {ahead}"] if ahead else []
    return "\n".join(lines)


def markdown(entries: Sequence[Entry], conditions: Sequence[str]) -> str:
    """The tables for docs/performance.md."""
    lines = [f"- {condition}" for condition in conditions]
    for title, rows, missing, ahead in _tables(entries):
        lines += ["", f"**{title}**", "", _row(HEADINGS), "|---|---|---:|---:|---:|---:|"]
        lines += [_row(row) for row in rows]
        lines += [_row((name, f"not measured: {reason}", "", "", "", "")) for name, reason in missing]
        lines += ["", ahead] if ahead else []
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _tables(
    entries: Sequence[Entry],
) -> Iterator[tuple[str, list[tuple[str, ...]], list[tuple[str, str]], str]]:
    """Title, rows with the fastest first, who is missing and why, and who is ahead of us, of each workload."""
    for workload, title in WORKLOADS.items():
        asked = [entry for entry in entries if entry.workload == workload]
        measured = sorted((entry for entry in asked if not entry.reason), key=lambda entry: entry.p50)
        rows: list[tuple[str, ...]] = []
        ahead: list[str] = []
        for entry in measured:
            times = ratio(entry, asked)
            rows.append(
                (
                    entry.name,
                    entry.version,
                    number(entry.p50),
                    number(entry.p99),
                    f"{entry.per_second:,.0f}",
                    "" if times is None else number(times),
                )
            )
            if times is not None and times < 1 and not entry.name.startswith(OURS):
                ahead.append(f"{entry.name} ({number(times)} of its time)")
        missing = [(entry.name, entry.reason) for entry in asked if entry.reason]
        if asked:
            yield title, rows, missing, f"Ahead of {OURS}: {', '.join(ahead)}." if ahead else ""


def number(value: float) -> str:
    """Three digits that count, and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
