"""The peers' table: nobody is left out, and ratios are to Caxton in the same workload. No peer is installed or run."""

import argparse
import sys

import pytest

from bench.peers import run as peers
from bench.peers.adapter import line, timed, timed_together, warm_up
from bench.peers.table import WORKLOADS, Entry, markdown, median_entry, missing_entry, number, plain, ratio


def entry(name: str, p50: float, workload: str = "round_trip") -> Entry:
    return Entry(name=name, workload=workload, version="1", p50=p50, p99=2 * p50, per_second=1e6 / p50)


OURS = entry("Caxton", 2.0)
SLOWER = entry("Slow", 100.0)
FASTER = entry("Fast", 0.5)
ABSENT = missing_entry("Absent", "round_trip", "no wheel for this Python")
ALL = [SLOWER, OURS, ABSENT, FASTER]
PRINTERS = [plain, markdown]


def a_peer(adapter: str, **changes: object) -> peers.Peer:
    """A peer that runs in our own environment, changed as the test needs it."""
    given: dict[str, object] = {"name": "Peer", "adapter": adapter, "own": True, "runs": (A_RUN,)}
    return peers.Peer(**(given | changes))  # type: ignore[arg-type]  # each test gives fields of its own


A_RUN = peers.Run(workload="round_trip", count=10)


def test_a_ratio_says_how_many_times_as_long_as_caxton():
    assert ratio(SLOWER, ALL) == 50.0
    assert ratio(FASTER, ALL) == 0.25
    assert ratio(OURS, ALL) == 1.0


def test_there_is_no_ratio_without_figures_on_both_sides():
    assert ratio(ABSENT, ALL) is None
    assert ratio(SLOWER, [SLOWER]) is None
    assert ratio(SLOWER, [missing_entry("Caxton", "round_trip", "broken"), SLOWER]) is None
    assert ratio(SLOWER, [entry("Caxton", 2.0, "spawn"), SLOWER]) is None


@pytest.mark.parametrize("printed", PRINTERS)
def test_who_is_missing_is_in_the_table_with_the_reason(printed):
    text = printed(ALL, [])
    assert "Absent" in text
    assert "not measured: no wheel for this Python" in text


@pytest.mark.parametrize("printed", PRINTERS)
def test_a_table_in_which_everybody_is_missing(printed):
    text = printed([ABSENT, missing_entry("Caxton", "round_trip", "not built")], [])
    assert "not measured: not built" in text
    assert "Ahead" not in text


@pytest.mark.parametrize("printed", PRINTERS)
def test_the_fastest_comes_first_and_who_is_ahead_is_named(printed):
    text = printed(ALL, ["some machine"])
    assert text.index("some machine") < text.index("Fast") < text.index("Slow") < text.index("Absent")
    assert text.rstrip().endswith("Ahead of Caxton: Fast (0.25 of its time).")


def test_another_form_of_caxton_is_not_ahead_of_it():
    assert "Ahead" not in plain([OURS, entry("Caxton, bare", 1.0)], [])


def test_only_workloads_that_were_asked_have_a_table():
    text = plain([OURS], [])
    assert WORKLOADS["round_trip"] in text
    assert WORKLOADS["wasm_call"] not in text


def test_markdown_rows_have_as_many_cells_as_the_heading():
    rows = [row for row in markdown([*ALL, missing_entry("A|B", "round_trip", "why")], []).splitlines() if "|" in row]
    assert {row.replace("\\|", "").count("|") for row in rows} == {7}


def test_the_median_of_each_figure_counts():
    runs = [
        {"version": "1", "p50": 1.0, "p99": 9.0, "per_second": 100.0},
        {"version": "1", "p50": 3.0, "p99": 7.0, "per_second": 300.0},
        {"version": "1", "p50": 2.0, "p99": 8.0, "per_second": 900.0},
    ]
    assert median_entry("Peer", "spawn", runs) == Entry(
        name="Peer", workload="spawn", version="1", p50=2.0, p99=8.0, per_second=300.0
    )


@pytest.mark.parametrize(("value", "text"), [(0.123, "0.12"), (12.34, "12.3"), (104_071.4, "104,071")])
def test_numbers_have_three_digits_that_count(value, text):
    assert number(value) == text


def test_an_adapter_says_its_figures_in_microseconds():
    said = line("Peer", "1.0", "spawn", [*range(1000, 100_000, 1000), 1_000_000])
    assert said["p50"] == 51.0
    assert said["p99"] == 1000.0
    assert said["per_second"] == pytest.approx(100 * 1e9 / (sum(range(1000, 100_000, 1000)) + 1_000_000))


def test_each_operation_is_timed_and_warm_up_comes_on_top():
    assert len(timed(7, lambda: None)) == 7
    assert warm_up(1000) == 200


def test_what_is_started_together_is_timed_by_one_and_ended_before_the_next():
    alive: list[int] = []
    most: list[int] = []

    def start(size: int) -> int:
        alive.append(size)
        most.append(len(alive))
        return size

    times = timed_together(3, start, lambda size: alive.remove(size), size=10**9)
    assert times == [0, 0, 0]
    assert most == [1, 1, 1]
    assert alive == []


def test_an_adapter_that_fails_gives_its_error_as_the_reason():
    reason = peers.measure(a_peer("no_such_peer"), A_RUN, runs=1, scale=1.0).reason
    assert reason.endswith("No module named bench.peers.no_such_peer")


def test_an_adapter_that_prints_no_figures_is_named_with_what_it_printed(monkeypatch):
    monkeypatch.setattr(peers, "_run", lambda command, seconds: "hello\n")
    assert "hello" in peers.measure(a_peer("any"), A_RUN, runs=1, scale=1.0).reason


def test_a_program_that_hangs_is_given_up():
    with pytest.raises(peers.MissingPeer, match=r"took longer than 0\.1 s"):
        peers._run([sys.executable, "-c", "import threading; threading.Event().wait()"], 0.1)


@pytest.mark.slow
def test_a_hanging_program_takes_its_children_with_it():
    """A child that holds the pipes open would be waited for otherwise."""
    hang = "import threading; threading.Event().wait()"
    with pytest.raises(peers.MissingPeer, match="took longer"):
        peers._run(
            [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hang!r}])"], 0.5
        )


def test_a_program_that_is_not_there_is_a_reason_too():
    with pytest.raises(peers.MissingPeer, match="no-such-program does not run"):
        peers._run(["no-such-program"], 1.0)


def test_a_peer_that_cannot_be_installed_is_told_how(monkeypatch):
    monkeypatch.setattr(peers.os, "getuid", lambda: 1000)
    peer = a_peer("any", program="no-such-compiler", package="some-package")
    options = argparse.Namespace(with_ray=False, install=True)
    assert peers.why_not(peer, options) == (
        "no-such-compiler is not there; install it (Debian: apt-get install some-package)"
    )


def test_an_optional_peer_is_measured_only_when_asked_for():
    peer = a_peer("any", optional=True)
    assert "--with-ray" in peers.why_not(peer, argparse.Namespace(with_ray=False, install=False))
    assert peers.why_not(peer, argparse.Namespace(with_ray=True, install=False)) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("trying\nERROR: No matching distribution found for x\n", "ERROR: No matching distribution found for x"),
        ("Traceback\nImportError: no\nbye", "ImportError: no"),
        ("just this", "just this"),
        ("ERROR: cannot reach https://index.example/simple/x", "ERROR: cannot reach …"),
        ("error in /home/somebody/x.py: bad", "error in …: bad"),
        ("", ""),
    ],
)
def test_the_reason_is_one_line_without_addresses(text, reason):
    assert peers.complaint(text) == reason


def test_every_peer_has_an_adapter_and_measures_known_workloads():
    for peer in peers.PEERS:
        assert (peers.ROOT / "bench" / "peers" / f"{peer.adapter}.py").is_file()
        assert {run.workload for run in peer.runs} <= set(WORKLOADS)
        names = [(run.suffix, run.workload) for run in peer.runs]
        assert len(names) == len(set(names))
