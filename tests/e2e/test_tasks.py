"""Tasks, the server killed in the middle of them: nobody is called twice, no bid is lost, all of them end."""

import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from examples import build
from tests.e2e.server import Server, serve

pytestmark = pytest.mark.slow

FOLDER = Path(build.__file__).parent / "contract-net"
NUMBER = 8
TASKS = "/api/v1/tasks"


def task(server: Server, task_id: str) -> Any:
    return server.http.get(f"{TASKS}/{task_id}").json()


def test_a_kill_in_the_middle_of_rounds_costs_nothing(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        for name in ("bidder", "refuser"):
            server.deploy(name, (FOLDER / f"{name}.wasm").read_bytes())
        order = {"participants": ["bidder", "refuser"], "max_wait_seconds": 60}
        ids = []
        until = time.monotonic() + 30
        for _ in range(NUMBER):
            ids.append(server.http.post(TASKS, json=order).json()["task_id"])
            assert server.http.post(f"{TASKS}/{ids[-1]}/distribute?wait=0").status_code == 200  # and it is on the disk
        while not all(task(server, each)["proposals_received"] for each in ids[: NUMBER // 2]):
            assert time.monotonic() < until, [task(server, each) for each in ids]
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
    with serve(tmp_path) as server:
        until = time.monotonic() + 30
        while any(task(server, each)["status"] in ("created", "calling", "in_progress") for each in ids):
            assert time.monotonic() < until, [task(server, each) for each in ids]
        for each in ids:
            found = task(server, each)
            assert (found["status"], found["assigned_to"], found["notes"]) == ("completed", "bidder", []), found
            assert [one["status"] for one in found["participants"]] == ["done", "refused"]
            said = server.http.get("/api/v1/messages", params={"conversation_id": each, "limit": 100}).json()[
                "messages"
            ]
            calls = Counter(one["message_id"] for one in said if one["performative"] == "cfp")
            assert set(calls.values()) <= {1}
            assert len(calls) <= 2
