"""Caxton and its peers in one run: installs them, measures one after the other, prints the table.

    python -m bench.peers.run [--markdown] [--only erlang,pykka] [--runs 3] [--scale 0.1] [--no-install] [--with-ray]

Rule 1: peers live in build/peers/venv; neither the product nor its environment ever sees them.
Rule 2: every measurement is a process of its own, and nothing runs beside it.
Rule 3: what cannot be installed or run is in the table with the reason.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers.table import WORKLOADS, Entry, markdown, median_entry, missing_entry, plain

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "peers"
INSTALLING = 600  # seconds for one peer
MEASURING = 60  # seconds for one run
ADDRESS = re.compile(r"\w+://\S+|(?<!\w)/\w[^\s:'\"]*")  # of the net or of this machine's files


@dataclass(frozen=True, kw_only=True)
class Run:
    """One line of one table: what the adapter is asked, and how often it does it."""

    workload: str
    count: int
    asked: str = ""  # the adapter's own name of the workload, when it is another
    suffix: str = ""  # to the name of the peer

    @property
    def argument(self) -> str:
        return self.asked or self.workload


@dataclass(frozen=True, kw_only=True)
class Peer:
    name: str
    adapter: str
    runs: Sequence[Run]
    pip: Sequence[str] = ()
    program: str = ""  # what must be there, and the Debian package that has it
    package: str = ""
    optional: bool = False
    own: bool = field(default=False)  # runs in our environment


# Counts are such that one measurement takes at most about two seconds.
PEERS = (
    Peer(
        name="Caxton",
        adapter="caxton_peer",
        own=True,
        runs=(
            Run(workload="round_trip", count=200_000),
            Run(workload="together", count=40),
            Run(workload="together", count=15, asked="in_new_pool", suffix=", pool never used"),
            Run(workload="together", count=8, asked="supervised_together", suffix=", supervised"),
            Run(workload="spawn", count=5000),
            Run(workload="spawn", count=5000, asked="ahead", suffix=", not awaited"),
            Run(workload="spawn", count=2000, asked="supervised", suffix=", supervised"),
            Run(workload="instance", count=20_000),
            Run(workload="wasm_call", count=200_000),
        ),
    ),
    Peer(
        name="Erlang/OTP",
        adapter="erlang_peer",
        program="erlc",
        package="erlang-base",
        runs=(
            Run(workload="round_trip", count=500_000),
            Run(workload="together", count=500),
            Run(workload="spawn", count=100_000),
        ),
    ),
    Peer(
        name="Pykka",
        adapter="pykka_peer",
        pip=("pykka",),
        runs=(
            Run(workload="round_trip", count=20_000),
            Run(workload="together", count=8),
            Run(workload="spawn", count=1000),
        ),
    ),
    Peer(
        name="xoscar",
        adapter="xoscar_peer",
        pip=("xoscar", "uvloop"),
        runs=(
            Run(workload="round_trip", count=50_000, suffix=", local reference"),
            Run(workload="round_trip", count=20_000, asked="by_message", suffix=", by message"),
            Run(workload="together", count=10),
            Run(workload="spawn", count=10_000),
        ),
    ),
    Peer(
        name="Thespian",
        adapter="thespian_peer",
        pip=("thespian",),
        runs=(
            Run(workload="round_trip", count=50_000),
            Run(workload="together", count=20),
            Run(workload="spawn", count=5000),
        ),
    ),
    Peer(
        name="autogen-core",
        adapter="autogen_peer",
        pip=("autogen-core",),
        runs=(
            Run(workload="round_trip", count=5000),
            Run(workload="together", count=10),
            Run(workload="spawn", count=10_000),
        ),
    ),
    Peer(
        name="SPADE",
        adapter="spade_peer",
        pip=("spade", "greenlet"),
        runs=(
            Run(workload="round_trip", count=10_000),
            Run(workload="together", count=5, suffix=", 20 of them"),
            Run(workload="spawn", count=10),
        ),
    ),
    Peer(
        name="Extism",
        adapter="extism_peer",
        pip=("extism",),
        runs=(
            Run(workload="together", count=10),
            Run(workload="together", count=10, asked="called", suffix=", with first call"),
            Run(workload="spawn", count=2000),
            Run(workload="spawn", count=1000, asked="from_bytes", suffix=", from bytes"),
            Run(workload="instance", count=2000, suffix=", with first call"),
            Run(workload="wasm_call", count=50_000),
        ),
    ),
    Peer(
        name="wasmtime-py",
        adapter="wasmtime_peer",
        pip=("wasmtime",),
        runs=(
            Run(workload="together", count=20),
            Run(workload="spawn", count=20_000),
            Run(workload="instance", count=20_000, asked="spawn"),
            Run(workload="wasm_call", count=50_000),
        ),
    ),
    Peer(
        name="Ray",
        adapter="ray_peer",
        pip=("ray",),
        optional=True,
        runs=(
            Run(workload="round_trip", count=1000),
            Run(workload="together", count=5, suffix=", 8 of them"),
            Run(workload="spawn", count=5),
        ),
    ),
)


class MissingPeer(Exception):
    """A peer cannot be installed or run; the text is the reason, in one line."""


def main() -> None:
    options = _options()
    chosen = [peer for peer in PEERS if peer.own or _is_chosen(peer, options.only)]
    conditions = list(machine(datetime.date.today(), options.runs, options.scale))
    entries: list[Entry] = []
    for peer in chosen:
        _say(peer.name)
        if reason := why_not(peer, options):
            entries += [missing_entry(peer.name + run.suffix, run.workload, reason) for run in peer.runs]
            continue
        for run in peer.runs:
            _say(f"{peer.name}{run.suffix}: {run.workload}")
            entries.append(measure(peer, run, options.runs, options.scale))
    _say("")
    entries.sort(key=lambda entry: list(WORKLOADS).index(entry.workload))
    print((markdown if options.markdown else plain)(entries, conditions))


def why_not(peer: Peer, options: argparse.Namespace) -> str:
    """Why the peer cannot be measured, after trying to install it; empty when it can."""
    if peer.optional and not options.with_ray:
        return "optional, and large; asked for with --with-ray"
    if options.install:
        try:
            install(peer)
        except MissingPeer as why:
            return str(why)
    return ""


def measure(peer: Peer, run: Run, runs: int, scale: float) -> Entry:
    name = peer.name + run.suffix
    try:
        said = [_measure_once(peer, run, max(5, int(run.count * scale))) for _ in range(runs)]
    except MissingPeer as why:
        return missing_entry(name, run.workload, str(why))
    return median_entry(name, run.workload, said)


def _measure_once(peer: Peer, run: Run, count: int) -> Mapping[str, object]:
    python = sys.executable if peer.own or peer.program else str(_python())
    done = _run([python, "-m", f"bench.peers.{peer.adapter}", run.argument, str(count)], MEASURING)
    try:
        said = json.loads(done.splitlines()[-1])
    except (IndexError, ValueError):
        raise MissingPeer(f"the adapter printed no figures but {done[-80:]!r}") from None
    assert isinstance(said, dict)
    return said


def install(peer: Peer) -> None:
    """Raise MissingPeer when it cannot be."""
    if peer.program and not shutil.which(peer.program):
        if os.getuid() != 0 or not shutil.which("apt-get"):
            raise MissingPeer(f"{peer.program} is not there; install it (Debian: apt-get install {peer.package})")
        _run(["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", peer.package], INSTALLING)
    if peer.pip:
        if not _python().exists():
            venv.create(BUILT / "venv", with_pip=True)
        _run([str(_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.pip], INSTALLING)


def _run(command: Sequence[str], seconds: float) -> str:
    """What the command printed; MissingPeer with its last line of complaint when it failed.

    Peers have processes of their own, which would outlive an adapter that is killed, and hold its pipes open: the
    command gets a session of its own, and the whole of it is ended.
    """
    try:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise MissingPeer(f"{Path(command[0]).name} does not run: {error.strerror}") from None
    with child:
        try:
            printed, complained = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise MissingPeer(f"took longer than {seconds:g} s") from None
        finally:
            with suppress(ProcessLookupError, PermissionError):  # the whole of it has ended already
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode:
        raise MissingPeer(complaint(complained or printed) or f"ended with status {child.returncode}")
    return printed


def complaint(text: str) -> str:
    """The line that says most: the last error, else the last line; without addresses, which say more than is asked."""
    lines = [ADDRESS.sub("…", line).strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or [""])[-1][:160]


def machine(today: datetime.date, runs: int, scale: float) -> Iterator[str]:
    """What the figures hold for."""
    yield f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, {today.isoformat()}"
    yield f"Python {platform.python_version()}; 64-byte payload, warm-up, median of {runs} runs, one at a time"
    if scale < 1:
        yield f"shortened to {scale:g} of the usual counts: good for a look, not for a comparison"
    load = os.getloadavg()[0]
    if load > 0.5:
        yield f"the machine was not idle: load average {load:.1f} at the start"


def _processor() -> str:
    """Linux names it in /proc; elsewhere `platform` has to do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _python() -> Path:
    return BUILT / "venv" / "bin" / "python"


def _is_chosen(peer: Peer, only: str) -> bool:
    """Whether one of the comma-separated *only* begins its name."""
    return not only or any(peer.name.lower().startswith(name.strip().lower()) for name in only.split(","))


def _say(text: str) -> None:
    """Progress, for whoever waits; never part of the table."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.peers.run", description="Compare Caxton with its peers in one run.")
    parser.add_argument("--markdown", action="store_true", help="the table for docs/performance.md")
    parser.add_argument("--only", default="", help="beginnings of peers' names, with commas; Caxton is always measured")
    parser.add_argument("--runs", type=int, default=3, help="runs of each measurement; the median counts")
    parser.add_argument("--scale", type=float, default=1.0, help="of the usual counts: 0.1 for a quick look")
    parser.add_argument("--with-ray", action="store_true", help="install and measure Ray too")
    parser.add_argument("--no-install", dest="install", action="store_false", help="take the peers as they are")
    return parser.parse_args()


if __name__ == "__main__":
    main()
