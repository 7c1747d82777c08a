"""`hypercorn caxton.app:app` as an operator types it, with either worker: real processes over the real node."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.api.serving import request_to
from tests.api.test_end_to_end import ECHO

pytestmark = pytest.mark.slow


@contextmanager
def hypercorn(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "hypercorn", *options, "-b", "127.0.0.1:0", "caxton.app:app"]
    environment = {**os.environ, "CAXTON_DATA_DIR": str(folder)}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # hypercorn's worker too, which does not end with its master


def lines_until(process: subprocess.Popen[str], wanted: str) -> tuple[str, re.Match[str] | None]:
    """What the process says up to the line that holds *wanted*, or to its end."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if match := re.search(wanted, line):
            return said, match
    return said, None


@pytest.mark.parametrize("worker", ["trio", "asyncio"])
def test_it_serves_and_stops(tmp_path: Path, worker: str):
    options = ("-k", "trio") if worker == "trio" else ()
    with hypercorn(tmp_path, *options) as process:
        said, match = lines_until(process, r"Running on (http://\S+)")
        assert match is not None, said
        assert ("hypercorn -k trio caxton.app:app" in said) is (worker == "asyncio")
        with httpx.Client(base_url=match[1], timeout=20) as http:
            assert http.get("/health").json()["status"] == "healthy"
            deployed = http.post("/api/v1/agents", files={"wasm": ECHO}, data={"config": json.dumps({"name": "echo"})})
            assert deployed.status_code == 201
            assert http.post("/api/v1/messages?wait=10", json=request_to("echo", 3)).json()["content"] == 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert "Traceback" not in lines_until(process, "never")[0]


@pytest.mark.parametrize("worker", ["trio", "asyncio"])
def test_a_second_server_on_the_same_folder_says_why_it_cannot(tmp_path: Path, worker: str):
    with hypercorn(tmp_path, "-k", "trio") as first:
        lines_until(first, "Running on")
        with hypercorn(tmp_path, "-w", "0", "-k", worker) as second:  # -w 0: no master process that hides the exit code
            said, match = lines_until(second, r"LifespanFailureError: .*in use by process")
            assert match is not None, said
            assert second.wait(10) != 0
