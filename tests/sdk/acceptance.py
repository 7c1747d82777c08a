"""Runs sdk/acceptance/scenarios.yaml against a real server in a process of its own.

A language's agent is a component or a module that was built from its `acceptance` example. Every scenario runs in order
on the same two agents; the first step that is not as it should be is an assertion that names scenario and step.
"""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from tests.e2e.server import Server, serve

SDK = Path(__file__).parents[2] / "sdk"
WAIT = 10


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """One message and what comes of it. Any: JSON."""

    ask: Any
    to: str = "agent"
    performative: str = "inform"
    answer: Any = msgspec.UNSET
    text: str = ""
    log: str = ""


class Scenario(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    steps: list[Step]


def scenarios() -> list[Scenario]:
    return msgspec.convert(yaml.safe_load((SDK / "acceptance/scenarios.yaml").read_text()), list[Scenario])


def accept(wasm: bytes, folder: Path) -> None:
    # Go and the interpreters bring megabytes, and the machine may be busy
    with serve(folder, "--set", "runtime.compile_timeout=120s") as server:
        server.http.timeout = 300  # an interpreter compiles for ten seconds, on a busy machine for longer
        server.deploy("agent", wasm)
        server.deploy("partner", wasm, capabilities=[])
        for scenario in scenarios():
            for number, step in enumerate(scenario.steps, 1):
                take(server, step, f"{scenario.name}, step {number}")


def take(server: Server, step: Step, where: str) -> None:
    message = {"performative": "request", "receiver": step.to, "content": step.ask}
    response = server.http.post(f"/api/v1/messages?wait={WAIT}", json=message)
    assert response.status_code == 200, f"{where}: {response.text}"
    got = response.json()
    assert got["performative"] == step.performative, f"{where}: {got}"
    if step.answer is not msgspec.UNSET:
        assert got.get("content") == step.answer, f"{where}: {got}"
    assert step.text in str(got.get("content")), f"{where}: {got}"
    if step.log:
        assert step.log in server.lines("agent"), where
