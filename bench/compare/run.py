"""The instructions of two revisions, side by side: time is too noisy for a gate, a count is nearly the same every time.

    python -m bench.compare.run BASE [--head REVISION] [--limit 0.1] [--only hop,spawn]

Rule 1: both are measured by this checkout's workloads.py; BASE, and a head that is named, in a worktree of its own
        under build/compare/trees, built there. Without a name, head is the working tree as it is built.
Rule 2: exit status 1 when a workload takes more than the limit above BASE, or has stopped to run; 2 when nothing could
        be compared.
Rule 3: what is removed is a directory that was made here, never what a link leads to, and never by git's word for it.

callgrind counts what a simple machine would execute: a valgrind without AVX-512 measures the AVX2 code of a processor
that has more, and cache misses, branches and waiting do not count at all.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.compare.table import rows, text

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "compare"
TREES = BUILT / "trees"
WORKLOADS = Path(__file__).with_name("workloads.py")
COUNTING = Path(__file__).with_name("counting.c")
COMMIT = re.compile(r"[0-9a-f]{40,64}")
NAMED = re.compile(r"^desc: Trigger: Client Request: (.+): (once|twice)$", re.MULTILINE)
SUMMARY = re.compile(r"^summary: (\d+)", re.MULTILINE)


class CannotCompare(Exception):
    """The text says why."""


def main() -> None:
    options = _options()
    try:
        ready()
        commits = [revision(name) for name in (options.base, options.head) if name]
        forget_trees(TREES, commits)
        base = tree(commits[0])
        head = tree(commits[1]) if options.head else ROOT
        names = [name.strip() for name in options.only.split(",") if name.strip()]
        counted = [count(root, side, names) for root, side in ((base, "base"), (head, "head"))]
    except CannotCompare as why:
        print(why, file=sys.stderr)
        sys.exit(2)
    compared = rows(*counted, options.limit)
    print(f"Instructions of one operation; base is {options.base}, head {options.head or 'the working tree'}.")
    print(text(compared))
    failed = [row.name for row in compared if row.failed]
    if failed:
        print(f"More than {options.limit:.0%} above {options.base}, or gone: {', '.join(failed)}.")
        sys.exit(1)


def ready() -> None:
    """Valgrind, and the small library by which Python talks to it."""
    if not shutil.which("valgrind"):
        if os.getuid() != 0 or not shutil.which("apt-get"):
            raise CannotCompare("valgrind is not there; install it (Debian: apt-get install valgrind)")
        _run(["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", "valgrind"])
    TREES.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    _run([*compiler.split(), "-O2", "-shared", "-fPIC", "-o", str(BUILT / "counting.so"), str(COUNTING)])


def revision(name: str) -> str:
    """Its whole hash."""
    return _run(["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"], f"{name} is no revision").strip()


def tree(commit: str) -> Path:
    """A worktree of the commit, built."""
    root = TREES / commit
    built = root / "build" / ".stamp-compared"
    if not built.exists():
        _say(f"building {commit[:12]}")
        if root.exists():
            shutil.rmtree(root)
        # by force, because one that was removed without git's knowledge is still in its list
        _run(["git", "worktree", "add", "--quiet", "--force", "--detach", str(root), commit])
        _run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=root)
        built.touch()
    return root


def forget_trees(trees: Path, used: Sequence[str]) -> None:
    """Remove those of older comparisons: each is some 50 MB."""
    for old in trees.iterdir():
        if COMMIT.fullmatch(old.name) and old.name not in used and not old.is_symlink():
            shutil.rmtree(old)


def count(root: Path, side: str, names: Sequence[str]) -> Mapping[str, float | str]:
    """Instructions of one operation of each workload, or why there are none."""
    _say(f"counting {side}")
    dumps = BUILT / "dumps"
    shutil.rmtree(dumps, ignore_errors=True)
    dumps.mkdir()
    # the guests' machine code is written while it runs, hence smc-check
    callgrind = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--smc-check=all-non-file"]
    callgrind.append(f"--callgrind-out-file={dumps}/counted")
    # by one path for both: its length moves everything on the heap, which is worth 2 % where bytes are searched
    here = BUILT / "measured"
    here.unlink(missing_ok=True)
    here.symlink_to(root)
    program = [sys.executable, "-P", str(WORKLOADS), str(BUILT / "counting.so"), str(here), *names]
    clean = {"PYTHONPATH": str(here), "PYTHONHASHSEED": "0"}
    try:
        said = json.loads(_run([*callgrind, *program], environment=clean).splitlines()[-1])
    finally:
        here.unlink()
    return differences(said, [path.read_text(errors="replace") for path in dumps.iterdir()])


def differences(said: Mapping[str, int | str], dumps: Sequence[str]) -> dict[str, float | str]:
    """By workload, what 2N operations took more than N, by N: the smallest of several counts is the cleanest."""
    smallest: dict[tuple[str, str], int] = {}
    for dump in dumps:
        if (named := NAMED.search(dump)) and (summary := SUMMARY.search(dump)):
            key = (named[1], named[2])
            smallest[key] = min(int(summary[1]), smallest.get(key, sys.maxsize))
    return {
        name: (smallest[name, "twice"] - smallest[name, "once"]) / times if isinstance(times, int) else times
        for name, times in said.items()
    }


def _run(
    command: Sequence[str], complaint: str = "", cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> str:
    """What the command printed."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotCompare(complaint or f"{' '.join(command[:3])} ... failed:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def _say(what: str) -> None:
    """Progress, for whoever waits."""
    print(what, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.compare.run", description="Compare two revisions' instruction counts.")
    parser.add_argument("base", help="a revision")
    parser.add_argument("--head", default="", help="another revision; without it, the working tree as it is built")
    parser.add_argument("--limit", type=float, default=0.1, help="growth that fails, as a share")
    parser.add_argument("--only", default="", help="workloads, with commas")
    return parser.parse_args()


if __name__ == "__main__":
    main()
