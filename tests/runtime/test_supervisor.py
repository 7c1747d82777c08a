"""Agents under their supervisors, with the real scheduler and real guests."""

import time

import msgspec
import pytest
import trio

from caxton._fast.scheduler import EVENT_TIMER
from caxton.core.agent import AgentState
from caxton.core.errors import AgentAlreadyExists, AgentNotFound, DeploymentFailed, InvalidConfig, InvalidTransition
from caxton.core.manifest import AgentSpec, HealthCheck
from caxton.runtime.replica import RuntimeLimits
from tests._fast.scheduling import both_kinds
from tests.runtime.rig import Rig, a_spec, guest, open_rig

RUNNING, STOPPED, FAILED = AgentState.RUNNING, AgentState.STOPPED, AgentState.FAILED


@both_kinds
async def test_an_agent_comes_up_works_and_stops() -> None:
    async with open_rig() as rig:
        status = await rig.start("steady", "steady", capabilities=["rest"])
        assert (status.state, status.replicas_ready, status.restarts) == (RUNNING, 1, 0)
        assert rig.send("steady") == rig.send("capability:rest") == 1
        status = await rig.runtime.stop("steady")
        assert (status.state, status.reason) == (STOPPED, "")
        assert rig.scheduler.statistics(status.replicas[0].port).handled == 2
        assert rig.seen("steady") == ["loaded", "ready", "running", "draining", "stopped"]


@both_kinds
async def test_a_stopped_agent_refuses_and_a_started_one_takes_messages_again() -> None:
    async with open_rig() as rig:
        first = await rig.start("steady", "steady")
        await rig.runtime.stop("steady")
        with pytest.raises(InvalidTransition):
            rig.send("steady")
        again = await rig.start("steady", "steady")
        assert again.replicas[0].port == first.replicas[0].port
        assert again.replicas[0].incarnation == 2
        assert rig.send("steady") == 1
        with pytest.raises(InvalidTransition, match="is running"):
            await rig.start("steady", "steady")


@both_kinds
async def test_draining_handles_what_waits() -> None:
    async with open_rig() as rig:
        port = (await rig.start("steady", "steady")).replicas[0].port
        for _ in range(500):
            rig.send("steady")
        await rig.runtime.stop("steady", grace=10.0, drain=True)
        assert rig.scheduler.statistics(port).handled == 500


@both_kinds
async def test_a_crash_is_followed_by_a_new_life_and_leaves_its_sibling_alone() -> None:
    async with open_rig() as rig:
        await rig.start("steady", "steady")
        await rig.start("crash", "crash")
        rig.send("crash")
        await rig.until(lambda: rig.count("crash", RUNNING) == 2)
        assert rig.seen("crash") == ["loaded", "ready", "running", "failed", "loaded", "ready", "running"]
        failed = next(change for change in rig.changes if change.state is FAILED)
        assert failed.reason.startswith("trap: ")
        assert failed.restarting
        assert rig.runtime.get("crash").restarts == 1
        assert rig.seen("steady") == ["loaded", "ready", "running"]


@both_kinds
@pytest.mark.slow
async def test_killing_one_agent_four_times_in_a_minute_quarantines_it_and_nobody_else() -> None:
    async with open_rig() as rig:
        await rig.start("steady", "steady")
        await rig.start("victim", "steady")
        for _ in range(4):
            await rig.kill("victim")
        victim = rig.runtime.get("victim")
        assert victim.state is FAILED
        assert victim.replicas[0].quarantined
        assert victim.reason == (
            "quarantined: ended 4 times within 60 s, 3 are allowed; the last time: killed: dropped"
        )
        assert rig.count("victim", RUNNING) == 4
        with pytest.raises(InvalidTransition):
            rig.send("victim")
        assert rig.state_of("steady") is RUNNING
        assert rig.seen("steady") == ["loaded", "ready", "running"]
        # an operator forgives it
        assert (await rig.start("victim", "steady")).state is RUNNING


@both_kinds
@pytest.mark.parametrize(("restart", "lives"), [("permanent", 2), ("transient", 2), ("temporary", 1)])
async def test_the_restart_type_decides_about_a_crash(restart: str, lives: int) -> None:
    async with open_rig() as rig:
        await rig.start("agent", "steady", restart=restart)
        await rig.kill("agent")
        await rig.until(lambda: rig.count("agent", RUNNING) == lives and rig.count("agent", FAILED) == 1)
        assert rig.state_of("agent") is (RUNNING if lives == 2 else FAILED)


@both_kinds
async def test_a_guest_that_does_not_start_fails_the_deployment_and_says_why() -> None:
    async with open_rig() as rig:
        with pytest.raises(
            DeploymentFailed, match="did not start: init: the agent's init function returned an error code"
        ):
            await rig.start("bad", "bad_init")
        assert rig.state_of("bad") is FAILED
        assert not rig.runtime.get("bad").replicas[0].quarantined
        with pytest.raises(InvalidTransition):
            rig.send("bad")
        assert (await rig.start("bad", "steady")).state is RUNNING


async def test_a_replica_that_never_had_its_turn_does_not_hide_that_its_agent_failed() -> None:
    async with open_rig() as rig:
        with pytest.raises(DeploymentFailed):
            await rig.start("bad", "bad_init", replicas=2, supervision={"strategy": "one_for_all"})
        status = rig.runtime.get("bad")
        assert [replica.state.value for replica in status.replicas] == ["failed", "unloaded"]
        assert status.state is FAILED


@both_kinds
async def test_replicas_share_a_name_and_one_that_fails_takes_none_with_it() -> None:
    async with open_rig() as rig:
        status = await rig.start("worker", "steady", replicas=3)
        assert status.replicas_ready == 3
        for _ in range(30):
            assert rig.send("worker") == 1
        await rig.kill("worker")
        await rig.until(lambda: rig.runtime.get("worker").replicas_ready == 3)
        assert rig.seen("worker", 2) == ["loaded", "ready", "running"]
        handled = [rig.scheduler.statistics(replica.port).received for replica in status.replicas]
        assert sum(handled) == 30
        assert min(handled) > 0
        await rig.runtime.stop("worker")
        assert (await rig.start("worker", "steady", replicas=1)).replicas_ready == 1
        assert rig.runtime.replica_at(status.replicas[1].port) is None


@both_kinds
@pytest.mark.slow
async def test_what_waits_for_a_replica_that_is_no_more_goes_to_the_others() -> None:
    async with open_rig() as rig:
        status = await rig.start("worker", "spin", replicas=2)
        for _ in range(20):
            rig.send("worker")
        await rig.runtime.stop("worker", grace=0.0, drain=False)
        waiting = sum(rig.scheduler.statistics(replica.port).waiting for replica in status.replicas)
        assert waiting > 10
        await rig.start("worker", "steady", replicas=1)
        await rig.until(lambda: rig.scheduler.statistics(status.replicas[0].port).waiting == 0)
        assert rig.scheduler.totals()["waiting"] == 0


@both_kinds
@pytest.mark.slow
async def test_a_spinning_guest_is_dropped_when_the_grace_is_over() -> None:
    async with open_rig() as rig:
        await rig.start("spin", "spin")
        rig.send("spin")
        with trio.fail_after(5.0):
            status = await rig.runtime.stop("spin", grace=0.05)
        assert (status.state, status.reason) == (STOPPED, "dropped: it did not stop in time")


@both_kinds
@pytest.mark.slow
async def test_a_guest_that_will_not_shut_down_is_dropped() -> None:
    async with open_rig() as rig:
        await rig.start("stubborn", "stubborn")
        with trio.fail_after(5.0):
            assert (await rig.runtime.stop("stubborn", grace=0.0, drain=False)).state is STOPPED


@both_kinds
async def test_a_turn_beyond_its_timeout_ends_the_life() -> None:
    async with open_rig() as rig:
        await rig.start("spin", "spin", resources={"timeout": "20ms"})
        rig.send("spin")
        await rig.until(lambda: rig.count("spin", RUNNING) == 2)
        assert next(change for change in rig.changes if change.state is FAILED).reason.startswith("timeout: ")


@both_kinds
async def test_an_agent_that_does_not_answer_is_restarted_as_unhealthy() -> None:
    check = HealthCheck(initial_delay=0.01, interval=0.02, timeout=0.02, failure_threshold=2)
    async with open_rig(RuntimeLimits(health_check=check)) as rig:
        await rig.start("steady", "steady")
        await rig.start("spin", "spin")
        rig.send("spin")
        await rig.until(lambda: rig.count("spin", RUNNING) == 2)
        reason = next(change for change in rig.changes if change.state is FAILED).reason
        assert reason == "unhealthy: 2 health checks in a row without a good answer"
        assert rig.seen("steady") == ["loaded", "ready", "running"]


@both_kinds
async def test_state_outlives_a_crash_but_not_the_turn_that_crashed() -> None:
    async with open_rig() as rig:
        await rig.start("counter", "counter")
        for _ in range(4):
            rig.send("counter")
        await rig.until(lambda: len(rig.lines) == 3)
        # 1, 2, then the third turn traps and leaves no trace, then 3 in the next life
        assert rig.lines == [("counter", "1"), ("counter", "2"), ("counter", "3")]


@both_kinds
async def test_state_and_timers_of_an_earlier_process_are_there_again() -> None:
    async with open_rig(wall_clock=lambda: 1000.0) as rig:
        await rig.runtime.start(
            a_spec("counter"), guest("counter"), state={"counter": {b"count": b"6"}}, timers=[("counter", 7, 999)]
        )
        rig.send("counter")
        await rig.until(lambda: rig.lines == [("counter", "7")])


@both_kinds
async def test_timers_fire_when_they_are_due_and_not_before() -> None:
    now = [0.0]

    async def let_pass(rig: Rig, seconds: float, rings: int) -> None:
        now[0] = time.time() + seconds
        rig.runtime.handle((EVENT_TIMER, port, 1000, 1))  # due since 1970: it rings with those that are due now
        await rig.until(lambda: len(rig.lines) == rings)

    async with open_rig(wall_clock=lambda: now[0]) as rig:
        port = (await rig.start("alarm", "alarm")).replicas[0].port
        rig.send("alarm")
        await rig.until(lambda: len(rig.timers) == 2)
        await let_pass(rig, 1.0, rings=2)
        await let_pass(rig, 1.0, rings=3)
        await let_pass(rig, 11.0, rings=5)
        assert set(rig.lines) == {("alarm", "ring")}
        # each was said to be spent, so that it does not fire again when the server comes back
        await rig.until(lambda: len(rig.spent) == 5)
        assert sorted(rig.spent) == [(port, 1), (port, 2), (port, 1000), (port, 1000), (port, 1000)]


@both_kinds
async def test_what_a_guest_says_it_can_do_becomes_an_address() -> None:
    async with open_rig() as rig:
        status = await rig.start("skilled", "skilled", capabilities=["declared"])
        assert status.capabilities == ("declared", "search", "translate")
        assert rig.send("capability:translate") == rig.send("capability:search") == 1


@both_kinds
async def test_deleting_gives_back_what_waited_and_frees_the_name() -> None:
    async with open_rig() as rig:
        await rig.start("spin", "spin")
        for number in range(4):
            rig.send("spin", number)
        with trio.fail_after(5.0):
            left = await rig.runtime.delete("spin")
        assert [msgspec.json.decode(envelope.content) for envelope in left][-2:] == [2, 3]
        with pytest.raises(AgentNotFound):
            rig.runtime.get("spin")
        with pytest.raises(AgentNotFound):
            rig.send("spin")
        assert (await rig.start("spin", "steady")).state is RUNNING


@both_kinds
async def test_one_for_all_restarts_the_whole_group_in_order() -> None:
    async with open_rig() as rig:
        together = {"strategy": "one_for_all", "group": "pipeline"}
        for name in ("first", "second", "third"):
            await rig.start(name, "steady", supervision=together)
        rig.changes.clear()
        await rig.kill("second")
        await rig.until(lambda: rig.count("third", RUNNING) == 1)
        steps = [(change.name, change.state.value) for change in rig.changes]
        ends = [step for step in steps if step[1] in ("failed", "stopped")]
        starts = [name for name, state in steps if state == "running"]
        assert ends == [("second", "failed"), ("third", "stopped"), ("first", "stopped")]
        assert starts == ["first", "second", "third"]


@both_kinds
@pytest.mark.slow
async def test_a_group_fails_together_and_its_neighbours_do_not_notice() -> None:
    async with open_rig() as rig:
        together = {"strategy": "rest_for_one", "group": "pipeline", "max_restarts": 1}
        for name in ("first", "second"):
            await rig.start(name, "steady", supervision=together)
        await rig.start("neighbour", "steady")
        await rig.kill("first")
        await rig.until(lambda: rig.count("second", RUNNING) == 2)
        await rig.kill("first")
        await rig.until(lambda: rig.state_of("second") is FAILED)
        assert rig.runtime.get("first").reason.startswith("quarantined: ended 2 times")
        assert rig.runtime.get("second").reason.startswith("quarantined: its group failed: first ended 2 times")
        assert rig.state_of("neighbour") is RUNNING


async def test_all_agents_of_a_group_say_the_same_about_it() -> None:
    async with open_rig() as rig:
        await rig.start("first", "steady", supervision={"strategy": "one_for_all", "group": "g"})
        with pytest.raises(InvalidConfig, match="the group 'g' is one_for_all"):
            await rig.start("second", "steady", supervision={"strategy": "rest_for_one", "group": "g"})
        with pytest.raises(AgentNotFound):
            rig.runtime.get("second")


async def test_a_name_that_somebody_else_has_is_refused_and_leaves_no_trace() -> None:
    async with open_rig() as rig:
        rig.scheduler.open_port("taken", host=True)
        with pytest.raises(AgentAlreadyExists):
            await rig.start("taken", "steady")
        assert rig.runtime.list() == []


async def test_an_attached_agent_has_a_mailbox_and_no_life() -> None:
    async with open_rig() as rig:
        spec = AgentSpec(
            name="outside",
            kind="attached",
            module="",
            config=a_spec("outside", topics=["orders.*"]).config,
            created_at=0.0,
        )
        status = await rig.runtime.start(spec)
        assert (status.state, status.kind) == (RUNNING, "attached")
        assert rig.send("outside") == rig.send("topic:orders.created") == 1
        assert len(rig.scheduler.receive(status.replicas[0].port, 10)) == 2
        assert (await rig.runtime.stop("outside")).state is STOPPED
        with pytest.raises(InvalidTransition):
            rig.send("outside")
        await rig.runtime.start(spec)
        rig.send("outside")
        assert len(await rig.runtime.delete("outside")) == 1


@both_kinds
async def test_everybody_stops_when_the_node_does() -> None:
    async with open_rig() as rig:
        for name in ("a", "b"):
            await rig.start(name, "steady", supervision={"strategy": "rest_for_one", "group": "g"})
        await rig.start("c", "steady", replicas=2)
        rig.changes.clear()
        with trio.fail_after(5.0):
            await rig.runtime.stop_all(grace=1.0)
        assert {status.state for status in rig.runtime.list()} == {STOPPED}
        assert [change.name for change in rig.changes if change.state is STOPPED and change.name in "ab"] == ["b", "a"]


@both_kinds
async def test_leaving_the_room_with_agents_running_is_quick() -> None:
    with trio.fail_after(5.0):
        async with open_rig() as rig:
            await rig.start("spin", "spin")
            rig.send("spin")


@both_kinds
async def test_an_agent_that_waits_for_its_restart_can_be_stopped() -> None:
    async with open_rig() as rig:
        await rig.start("victim", "steady")
        await rig.kill("victim")
        await rig.kill("victim")  # this time there is a wait before the restart
        assert rig.runtime.get("victim").replicas[0].restarting
        status = await rig.runtime.stop("victim")
        assert (status.state, status.reason) == (STOPPED, "stopped while it waited for its restart")
        assert (await rig.start("victim", "steady")).state is RUNNING
