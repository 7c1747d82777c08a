"""The main job in a process of its own: crashing and spinning agents, a kill without warning, an orderly end."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.server import Server, serve
from tests.node.wat import example, guest

pytestmark = pytest.mark.slow


def until(happened: Callable[[], bool]) -> None:
    """Ask the server again and again; the test's time limit ends it."""
    while not happened():
        pass


def count(server: Server, expected: int) -> None:
    """One message more for the counter, which then writes this number."""
    assert server.tell("counter") in (200, 201, 202)
    until(lambda: server.lines("counter")[-1:] == [str(expected)])


def test_a_kill_without_warning_costs_no_agent_and_no_state(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        server.deploy("counter", guest("counter"), capabilities=["counting"])
        server.deploy("resting", guest("quiet"))
        assert server.http.post("/api/v1/agents/resting/stop", json={"grace_period_seconds": 0}).status_code == 200
        for number in (1, 2, 3):
            count(server, number)
        server.deploy("last", example("echo"))  # when it is in the store, the third turn is as well
        server.process.send_signal(signal.SIGKILL)
        assert server.process.wait(10) == -signal.SIGKILL
    with serve(tmp_path) as server:
        agents = server.http.get("/api/v1/agents").json()["agents"]
        assert {agent["name"]: agent["status"] for agent in agents} == {
            "counter": "running",
            "last": "running",
            "resting": "stopped",
        }
        count(server, 4)
        assert server.ask("last", "still there")["content"] == "still there"
        server.process.send_signal(signal.SIGKILL)
    with serve(tmp_path) as server:
        assert server.agent("counter")["status"] == "running"


def test_one_agent_is_quarantined_another_spins_and_the_rest_work(tmp_path: Path) -> None:
    with serve(tmp_path, "--set", "messaging.retry_attempts=1") as server:
        for name in ("crash", "spin", "crash2"):
            server.deploy(name, guest(name.rstrip("2")))
        for name in ("echo", "echo2"):
            server.deploy(name, example("echo"))
        assert server.tell("spin") < 300
        for crash in range(1, 5):
            until(lambda: server.agent("crash")["status"] == "running")
            failure = server.ask("crash", crash)
            assert (failure["performative"], failure["sender"]) == ("failure", "ams")
        until(lambda: server.agent("crash")["status"] == "failed")
        assert "quarantined" in server.agent("crash")["reason"]
        assert server.tell("crash") == 200  # it waits for the agent
        for number in range(20):
            for name in ("echo", "echo2"):
                assert server.ask(name, number)["content"] == number
        figures = server.http.get("/api/v1/metrics/system").json()["agents"]
        assert figures == {"total": 5, "running": 4, "failed": 1}
        assert (server.http.get("/ready").status_code, server.agent("spin")["status"]) == (200, "running")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert time.monotonic() - began < 5
    with serve(tmp_path) as server:
        # a new server gives it another chance, and the message that waited crashes it again
        until(lambda: server.agent("crash")["status"] == "running")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        server.deploy("counter", guest("counter"))
        server.deploy("stubborn", guest("stubborn"))
        count(server, 1)
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(5) in (0, 1, 130)
    with serve(tmp_path) as server:
        count(server, 2)
