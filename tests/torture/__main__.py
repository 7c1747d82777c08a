"""`python -m tests.torture quick|full|kills|cuts|simulation`: the proof that nothing acknowledged is lost.

The last line is `acknowledged N, lost L, corrupt C, duplicates D`; the exit status is 0 only when L and C are 0. It
stops by itself. What a failed run leaves behind (diary, database, the server's log) stays in the folder that it names.
"""

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from tests.torture.cuts import torture_cuts
from tests.torture.kills import Broken, Plan, torture
from tests.torture.oracle import Verdict
from tests.torture.real import open_real
from tests.torture.seeds import keep
from tests.torture.simulation import torture_simulated

SEEDS_KEPT = 5  # of one run


@attrs.frozen
class Size:
    kills: int = 0
    messages: int = 0
    cuts: int = 0
    simulations: int = 0  # seeds
    minutes: float = 60.0  # no further kills after so long


SIZES = {
    "quick": Size(kills=20, messages=100_000, cuts=200, simulations=500, minutes=3.0),
    "full": Size(kills=200, messages=1_000_000, cuts=1000, simulations=5000, minutes=90.0),
    "kills": Size(kills=20, messages=100_000),
    "cuts": Size(cuts=200),
    "simulation": Size(simulations=1000),
}


def say(text: str) -> None:
    print(text, flush=True)


def run_kills(size: Size, seed: int, settings: tuple[str, ...]) -> tuple[Verdict, bool]:
    """What was found, and whether the server behaved otherwise."""
    folder = Path(tempfile.mkdtemp(prefix="caxton-torture-"))
    say(f"kills: seed {seed}, in {folder}")
    plan = Plan(size.kills, size.messages, seed, size.minutes, settings)
    try:
        report = trio.run(torture, folder, plan, lambda text: say(f"kills: {text}"))
    except BaseException as error:
        say(f"kills: {broken(error)}; {folder} is kept")
        if broken(error) is None:
            raise
        return Verdict(), False
    for cause, times in sorted(report.deaths.items()):
        say(f"kills: {times} by {cause}")
    ready = report.ready_seconds
    say(f"kills: ready after {statistics.median(ready):.2f} s (median), {max(ready):.2f} s (longest)")
    say(f"kills: {report.unanswered} messages not answered, {report.refused} refused, {report.seconds:.0f} s")
    tell("kills", report.verdict)
    if report.verdict.is_good:
        shutil.rmtree(folder)
    else:
        say(f"kills: {folder} is kept")
    return report.verdict, True


def broken(error: BaseException) -> Broken | None:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, Broken) else None


def run_cuts(size: Size, seed: int) -> Verdict:
    say(f"power cuts: seeds from {seed}")
    began = time.monotonic()
    report = torture_cuts(size.cuts, seed)
    say(f"power cuts: {report.cuts}, {time.monotonic() - began:.0f} s; {report.windows}")
    tell("power cuts", report.verdict, report.failed, "cuts")
    return report.verdict


def run_simulations(size: Size, seed: int) -> Verdict:
    say(f"simulation: seeds {seed} to {seed + size.simulations - 1}")
    began = time.monotonic()
    report = torture_simulated(range(seed, seed + size.simulations), open_real)
    say(f"simulation: {size.simulations} runs, {time.monotonic() - began:.0f} s")
    tell("simulation", report.verdict, report.failed, "simulation")
    return report.verdict


def tell(part: str, verdict: Verdict, failed: Sequence[int] = (), file: str = "") -> None:
    for finding, times in verdict.findings.most_common(20):
        say(f"{part}: {times} x {finding}")
    for seed in failed[:SEEDS_KEPT]:
        say(f"{part}: seed {seed} failed, kept in {keep(file, seed)}")
    say(f"{part}: {verdict}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description="The proof of durable delivery.")
    parser.add_argument("what", choices=SIZES)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    for field in attrs.fields(Size):
        parser.add_argument(f"--{field.name}", type=field.type)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="configuration of the server")
    arguments = parser.parse_args()
    given = {field.name: getattr(arguments, field.name) for field in attrs.fields(Size)}
    size = attrs.evolve(SIZES[arguments.what], **{name: value for name, value in given.items() if value is not None})
    verdict, behaved = Verdict(), True
    if size.cuts:
        verdict += run_cuts(size, arguments.seed)
    if size.simulations:
        verdict += run_simulations(size, arguments.seed)
    if size.kills:
        found, behaved = run_kills(size, arguments.seed, tuple(arguments.set))
        verdict += found
    say(str(verdict))
    return 0 if verdict.is_good and behaved else 1


if __name__ == "__main__":
    sys.exit(main())
