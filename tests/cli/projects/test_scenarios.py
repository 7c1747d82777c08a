"""What the words of a scenario do, each with an agent that makes them true or false."""

import os
from pathlib import Path
from typing import Any

import pytest

from caxton._fast.wasm.module import wat2wasm
from caxton.cli.projects.create import make
from caxton.cli.projects.languages import LANGUAGES
from caxton.cli.projects.project import find_project
from caxton.cli.projects.scenarios import Player, coverage, read
from caxton.testing import Stage, open_stage, virtual_time

AGENT = "asker"


def book(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "scenarios.yaml"
    path.write_text(text)
    return read(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("scenarios: [{name: a, steps: [{sned: {}}]}]", "unknown field `sned`"),
        ("scenarios: [{name: a}]", "missing required field `steps`"),
        ("scenarios: [", "expected"),
        ("{}", "missing required field `scenarios`"),
    ],
)
def test_a_word_that_is_not_known_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        book(tmp_path, text)


def echo(message: Any, agent: Any) -> Any:
    return message.reply("inform", message.content)


async def played(stage: Stage, tmp_path: Path, text: str) -> Player:
    await stage.agent(AGENT, echo)
    scenarios = book(tmp_path, f"scenarios:\n- name: it\n  steps:\n{text}")
    player = Player(stage, AGENT, scenarios.tools)
    for scenario in scenarios.scenarios:
        await player.play(scenario)
    return player


@virtual_time
async def _run(tmp_path: Path, text: str) -> Any:
    async with open_stage() as stage:
        await played(stage, tmp_path, text)
        return coverage(stage, AGENT)


def test_what_was_said_and_heard_is_counted(tmp_path: Path) -> None:
    found = _run(tmp_path, "  - {send: {protocol: fipa-request, content: 1}, expect: {content: 1}}\n  - {state: DONE}")
    assert (found.said, found.heard, list(found.protocols)) == (["inform"], ["request"], ["fipa-request"])
    assert 0 < found.protocols["fipa-request"] < 1
    assert "DONE" in found.states["fipa-request"]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("  - {send: {content: 1}, expect: {content: 2}}", "step 1: content is 1, not 2"),
        ("  - {send: {content: {a: 1}}, expect: {content: {a: 1, b: 2}}}", "step 1: content is"),
        ("  - {send: {content: 1}, expect: nothing}", "should have heard nothing"),
        ("  - {expect: {content: 1}, within: 1h}", "did not hear a message within 3600 s"),
        ("  - {expect: everything}", "not 'everything'"),
        ("  - {as: nobody, send: {}}", "'nobody' is none of the speakers"),
        ("  - {reply: {}}", "heard nothing to reply to"),
        ("  - {send: {protocol: fipa-request, content: 1}, state: FAILED}", "is DONE, not FAILED"),
        ("  - {status: failed}", "status is running, not failed"),
        ("  - {send: {performative: shout}}", "step 1: performative: the performative is missing or not one of"),
    ],
)
def test_what_is_not_as_it_should_be_is_told(tmp_path: Path, steps: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        _run(tmp_path, steps)


TOOL = '{"tool":"weather","arguments":{"city":"Linz"}}'
ASKER = f"""
(module
  (import "caxton" "mcp_call" (func $call (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "last_error" (func $error (param i32 i32) (result i32)))
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "{TOOL.replace('"', chr(92) + "22")}")
  (func (export "get_response") (param $at i32) (param $room i32) (result i32) (local $n i32)
    (local.set $n (call $call (i32.const 16) (i32.const {len(TOOL)}) (local.get $at) (local.get $room)))
    (if (i32.ge_s (local.get $n) (i32.const 0)) (then (return (local.get $n))))
    (call $log (local.get $at) (call $error (local.get $at) (local.get $room)))
    (i32.const 0))
  (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
"""

STEPS = """
scenarios:
- name: it asks the tool
  steps:
  - {send: {}, expect: {performative: inform, content: {sky: clear}}}
- name: it waits for a slow one
  steps:
  - {tools: {weather: {answer: {sky: grey}, after: 20s}}, send: {}, expect: nothing, within: 19s}
  - {expect: {content: {sky: grey}}, within: 2s}
- name: it is told what is wrong
  steps:
  - {tools: {weather: {error: no satellite}}, send: {}, log: no satellite}
tools:
  weather: {answer: {sky: clear}}
"""


@virtual_time
async def test_fake_tools_answer_late_or_not_at_all(tmp_path: Path) -> None:
    scenarios = book(tmp_path, STEPS)
    async with open_stage() as stage:
        await stage.wasm(AGENT, wat2wasm(ASKER), resources={"timeout": "5m"})
        player = Player(stage, AGENT, scenarios.tools)
        for scenario in scenarios.scenarios:
            await player.play(scenario)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("async def test_it(stage, agent):\n    assert 1 == 2\n", "    AssertionError\n    s.py:2: assert 1 == 2\n"),
        (
            "async def test_it(stage, agent):\n    stage.no()\n",
            "    AttributeError: 'Stage' object has no attribute 'no'\n",
        ),
        ("def test_it() ->:\n", "why: SyntaxError: expected ':' (s.py, line 1)"),
        ("import nothing\n", "why: ModuleNotFoundError: No module named 'nothing'\n       s.py:1: import nothing\n"),
    ],
)
def test_a_mistake_in_python_is_told_with_its_line(tmp_path: Path, run: Any, code: str, told: str) -> None:
    make(tmp_path / "hello", "hello", "bidder", LANGUAGES["c"], ())
    project = find_project(tmp_path / "hello")
    project.wasm.parent.mkdir()
    project.wasm.write_bytes(wat2wasm(ASKER))
    os.utime(project.wasm, (2e9, 2e9))  # newer than the source
    (project.folder / "tests/scenarios.yaml").unlink()
    (project.folder / "tests/s.py").write_text(code)
    said = run("test", str(project.folder))
    assert said.exit_code == 1
    assert told in said.output
