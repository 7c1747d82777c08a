"""Keys of `deployment.health_checks`, in virtual time: when agents are asked, and what their answers bring about."""

import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.testing import Stage, open_stage, virtual_time
from tests.node.wat import guest

# says "asked" to each question; once it had a message, it is ill
FRAIL = """
(module
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1) (global $ill (mut i32) (i32.const 0)) (data (i32.const 0) "asked")
  (func (export "health_check") (result i32)
    (call $log (i32.const 0) (i32.const 5))
    (global.get $ill))
  (func (export "handle_message") (param i32 i32) (result i32)
    (global.set $ill (i32.const 1))
    (i32.const 0)))
"""
KEYS = "deployment.health_checks"


def asked(stage: Stage) -> int:
    return stage.log("frail").count("asked")


def lives(stage: Stage, agent: str) -> int:
    return stage.node.runtime.get(agent).replicas[0].incarnation


@virtual_time
async def test_when_an_agent_is_asked() -> None:
    async with open_stage(f"{KEYS}.initial_delay=6s", f"{KEYS}.interval=31s") as stage:
        await stage.wasm("frail", wat2wasm(FRAIL))
        for seconds, questions in ((5.5, 0), (1, 1), (30, 1), (1, 2), (31, 3)):
            await stage.passes(seconds)
            assert asked(stage) == questions


@virtual_time
async def test_nobody_is_asked() -> None:
    async with open_stage(f"{KEYS}.enabled=false", f"{KEYS}.interval=1s") as stage:
        await stage.wasm("frail", wat2wasm(FRAIL))
        await stage.passes(60)
        assert asked(stage) == 0


@virtual_time
async def test_bad_answers_end_it_and_good_ones_make_it_healthy_again() -> None:
    sets = ("initial_delay=10s", "interval=10s", "failure_threshold=4", "success_threshold=2")
    async with open_stage(*(f"{KEYS}.{each}" for each in sets)) as stage:
        await stage.wasm("frail", wat2wasm(FRAIL))
        caller = await stage.agent("caller")
        await stage.passes(15)
        caller.send("frail", "inform", 1)
        await stage.passes(30)
        assert (asked(stage), lives(stage, "frail")) == (4, 1)  # one good answer, three bad ones
        await stage.passes(10)
        assert (asked(stage), lives(stage, "frail")) == (5, 2)
        status = stage.node.runtime.get("frail")
        assert (status.state, status.replicas_ready, status.replicas[0].healthy) == ("running", 0, False)
        await stage.passes(10)
        assert (asked(stage), stage.node.agents.get("frail").replicas_ready) == (6, 0)
        await stage.passes(10)
        assert (asked(stage), stage.node.agents.get("frail").replicas_ready) == (7, 1)


@virtual_time
async def test_no_answer_in_time_is_a_bad_one() -> None:
    sets = ("initial_delay=1s", "timeout=2s", "failure_threshold=1", "interval=1s")

    async def answers_from_the_second_life_on(_: object) -> None:
        if lives(stage, "stuck") == 1:
            await trio.sleep_forever()

    async with open_stage(*(f"{KEYS}.{each}" for each in sets)) as stage:
        stage.tool("x", answers_from_the_second_life_on)
        await stage.wasm("stuck", guest("asker"), resources={"timeout": "1h"})
        caller = await stage.agent("caller")
        caller.send("stuck", "inform", 1)
        await stage.passes(2.5)
        assert lives(stage, "stuck") == 1
        await stage.passes(1)
        assert lives(stage, "stuck") == 2
