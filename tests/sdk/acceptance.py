"""Runs sdk/acceptance/scenarios.yaml against a real server in a process of its own.

A language's agent is a component or a module that was built from its `acceptance` example. Every scenario runs in order
on the same two agents; the first step that is not as it should be is an assertion that names scenario and step.

Tools are fakes on a stage: what they answer, how late, and how often they are called is the test's.
"""

from pathlib import Path
from typing import Any

import msgspec
import trio
import yaml

from caxton.testing import open_stage
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


LONG = "x" * 200_000  # more than an SDK has room for at first


async def call_tools(wasm: bytes, modules: Path) -> None:
    """The agent's `do: tool` with tools that answer, answer much, answer late, and fail."""
    calls: list[Any] = []

    def add(arguments: Any) -> Any:
        calls.append(arguments)
        return {"sum": arguments["x"] + arguments["y"]}

    def much(arguments: Any) -> Any:
        calls.append(arguments)
        return [LONG, arguments]

    def broken(arguments: Any) -> Any:
        raise RuntimeError("no satellite")

    async def late(arguments: Any) -> Any:
        await trio.sleep(20)
        return "at last"

    async with open_stage("runtime.compile_timeout=120s", modules=modules) as stage:
        await stage.wasm("agent", wasm)
        asker = await stage.agent("asker")
        for tool in (add, much, broken, late):
            stage.tool(tool.__name__, tool)

        async def ask(name: str, arguments: Any, within: float = 5) -> Any:
            asker.send("agent", "request", {"do": "tool", "name": name, "arguments": arguments})
            return (await asker.expect("inform", within=within)).content

        assert await ask("add", {"x": 1, "y": 2}) == {"answer": {"sum": 3}}
        assert await ask("much", {"a": 'Zoë "and" co'}) == {"answer": [LONG, {"a": 'Zoë "and" co'}]}
        assert calls == [{"x": 1, "y": 2}, {"a": 'Zoë "and" co'}]  # no call is made twice for want of room
        assert await ask("broken", {}) == {"error": "failed"}
        assert await ask("late", {}, within=25) == {"answer": "at last"}
