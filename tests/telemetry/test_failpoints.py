"""Every failpoint that has a name is passed, kills the process, and costs nothing that was acknowledged."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from caxton.core.errors import InvalidConfig
from caxton.store import open_store
from caxton.telemetry.failpoints import POINTS, VARIABLE, parse
from tests.torture.passes import OWNER, SCENARIOS

ROOT = Path(__file__).parents[2]


def run(point: str, folder: Path, at: int) -> tuple[int, set[bytes]]:
    """How the scenario of *point* ended, and what it had said until then."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.passes", point, str(folder)],
        cwd=ROOT,
        env={**os.environ, VARIABLE: f"{point}:{at}"},
        stdout=subprocess.PIPE,
        timeout=60,
    )
    return done.returncode, set(done.stdout.split())


def test_points_and_the_calls_that_pass_them_are_the_same() -> None:
    source = "".join(path.read_text() for path in (ROOT / "caxton").rglob("*.py"))
    passed = set(re.findall(r'\b(?:failpoint|passes_left)\("([a-z-]+)"\)', source)) | set(
        re.findall(r'^POINT = "(.*)"', source, re.M)
    )
    assert passed == set(POINTS) == set(SCENARIOS)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
async def test_the_process_dies_at_the_point_and_what_it_had_said_is_there(tmp_path: Path, point: str) -> None:
    at = 1 if point == "migration-middle" else 2
    status, said = run(point, tmp_path, at)
    assert status == -signal.SIGKILL
    async with open_store(tmp_path) as store:
        kept = set(await store.state.load(OWNER))
    assert said <= kept
    assert run(point, tmp_path / "again", 1_000_000)[0] == 0  # a pass that never comes


def test_nothing_is_armed_without_the_variable() -> None:
    assert parse("") == ("", 0)
    assert parse("commit-after:12") == ("commit-after", 12)


@pytest.mark.parametrize("text", ["commit-after", "commit-after:0", "commit-after:x", "never-heard-of:1", ":1"])
def test_a_failpoint_that_could_never_fire_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfig, match="is not NAME:N"):
        parse(text)
