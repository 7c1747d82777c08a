"""Start `child.py`, and talk to it through its stdout."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def child(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The process, killed at the end of the block at the latest."""
    command = [sys.executable, "-m", "tests.store.child", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")
