"""Many agents, many ends, in any order: what must hold however it goes."""

import itertools
from functools import partial
from random import Random

import pytest
import trio
import trio.testing

from caxton.core.agent import TRANSITIONS, AgentState
from caxton.core.errors import AgentNotFound, DeploymentFailed, InvalidTransition
from caxton.runtime.replica import AgentChange
from tests._fast.scheduling import both_kinds
from tests.runtime.rig import PATIENCE, Rig, open_rig

RUNNING, STOPPED, FAILED = AgentState.RUNNING, AgentState.STOPPED, AgentState.FAILED


def check_lives(changes: list[AgentChange]) -> None:
    """Each life goes through legal steps to a final one, and the next begins after it."""
    ordered = sorted(changes, key=lambda change: (change.name, change.replica))
    for owner, steps in itertools.groupby(ordered, key=lambda change: (change.name, change.replica)):
        state, incarnation = AgentState.UNLOADED, 0
        for step in steps:
            if step.state is AgentState.LOADED:
                assert incarnation == 0 or not TRANSITIONS[state], f"{owner} began again while it was {state}"
                assert step.incarnation in (incarnation + 1, 1)  # 1: deleted in between, and deployed anew
                state, incarnation = AgentState.UNLOADED, step.incarnation
            if TRANSITIONS[state]:
                assert step.state in TRANSITIONS[state], f"{owner}: from {state} to {step}"
            else:
                # the supervisor's or an operator's word about a life that is over
                assert step.state in (STOPPED, FAILED), f"{owner}: {step}"
            state = step.state


@both_kinds
@pytest.mark.slow
async def test_all_crash_at_once_and_all_come_back_and_the_others_do_not_notice() -> None:
    async with open_rig() as rig:
        await rig.start("steady", "steady", replicas=4)
        await rig.start("crowd", "crash", replicas=40)
        for replica in rig.runtime.get("crowd").replicas:
            rig.scheduler.drop(replica.port)
        await rig.until(
            lambda: rig.runtime.get("crowd").restarts == 40 and rig.runtime.get("crowd").replicas_ready == 40
        )
        assert {change.state for change in rig.changes if change.name == "steady"}.isdisjoint({STOPPED, FAILED})
        check_lives(rig.changes)


@both_kinds
@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_whatever_operators_and_guests_do_lives_are_legal_and_the_end_is_quiet(strategy: str) -> None:
    rng = Random(strategy)
    names = ["a", "b", "c"]
    group = {"strategy": strategy, "group": "g", "max_restarts": 5}

    async def operate(rig: Rig) -> None:
        name = rng.choice(names)
        verb = rng.choice(["start", "start", "stop", "delete", "kill", "kill", "send"])
        try:
            if verb == "start":
                guest = rng.choice(["steady", "steady", "crash", "bad_init"])
                await rig.start(name, guest, replicas=rng.choice([1, 2]), supervision=group)
            elif verb == "stop":
                await rig.runtime.stop(name, grace=rng.choice([0.0, 0.05]), drain=rng.random() < 0.5)
            elif verb == "delete":
                await rig.runtime.delete(name)
            elif verb == "send":
                rig.send(name)
            else:
                rig.scheduler.drop(rng.choice(rig.runtime.get(name).replicas).port)
        except (AgentNotFound, DeploymentFailed, InvalidTransition):
            pass  # refused: that is an answer

    async def operator(rig: Rig) -> None:
        for _ in range(60):
            with trio.fail_after(20.0):
                await operate(rig)

    async with open_rig() as rig:
        async with trio.open_nursery() as operators:
            for _ in range(3):
                operators.start_soon(operator, rig)
        with trio.fail_after(20.0):
            await rig.runtime.stop_all(grace=0.1)
        # unloaded: it never had its turn in the group
        assert all(status.state in (STOPPED, FAILED, AgentState.UNLOADED) for status in rig.runtime.list())
        check_lives(rig.changes)
        assert rig.scheduler.totals()["agents"] == 0
        for status in rig.runtime.list():
            await rig.runtime.delete(status.name)
        assert rig.runtime.list() == []
        # nothing of it is left: the same names work again
        for name in names:
            assert (await rig.start(name, "steady", supervision=group)).state is RUNNING


@pytest.mark.slow
async def test_a_stop_or_deletion_that_nobody_waits_for_any_more_leaves_the_agent_in_order() -> None:
    async with open_rig() as rig:
        # the message of the instance that was stopped is for the next one, and that of the next one waits behind it
        for left, verb in enumerate((partial(rig.runtime.stop, grace=30.0), partial(rig.runtime.delete, grace=30.0))):
            port = (await rig.start("spin", "spin")).replicas[0].port
            rig.send("spin")
            with trio.fail_after(PATIENCE):
                while (found := rig.scheduler.statistics(port)).waiting + found.retrying > left:
                    await trio.lowlevel.checkpoint()  # to stop would come before a message that waits
            async with trio.open_nursery() as nursery:
                nursery.start_soon(verb, "spin")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert rig.state_of("spin") in (RUNNING, AgentState.DRAINING)
            # it is still being stopped, and a stricter order hastens it
            with trio.fail_after(5.0):
                await rig.runtime.stop("spin", grace=0.0, drain=False)
            assert rig.state_of("spin") is STOPPED
        await rig.runtime.delete("spin")
        check_lives(rig.changes)


async def test_of_two_who_delete_one_is_told_that_it_is_gone() -> None:
    async with open_rig() as rig:
        await rig.start("steady", "steady")
        outcomes = []

        async def delete() -> None:
            try:
                outcomes.append(await rig.runtime.delete("steady"))
            except AgentNotFound as error:
                outcomes.append(error.code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete)
            nursery.start_soon(delete)
        assert sorted(map(str, outcomes)) == ["AGENT_NOT_FOUND", "[]"]
