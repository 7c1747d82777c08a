"""The life of an agent on the native threads, and the life of the threads."""

# Over 500 lines, just: an agent's life from birth to end, in that order.

import gc
import json
import os
import subprocess
import sys
import time
import weakref

import pytest

from caxton._fast import scheduler as native
from caxton._fast.scheduler import Scheduler
from caxton.core.errors import AgentAlreadyExists, AgentNotFound, InvalidConfig, InvalidTransition
from tests._fast.probe import Probe, poke, probe, step
from tests._fast.scheduling import (
    DEADLINE,
    GUESTS,
    Stage,
    both_kinds,
    compiled_anew,
    engine,
    guest,
    open_stage,
    sender_guest,
    smallest_engine,
    unharmed,
)

HOUR = 3_600_000_000


def contents(mail: list) -> list:
    return [message.as_dict()["content"] for message in mail]


# -- birth -----------------------------------------------------------------------------------------------------------


@both_kinds
def test_an_agent_is_initialised_before_it_starts_and_says_what_it_can() -> None:
    with open_stage() as stage:
        port = stage.seat("life", "life")
        assert stage.lines(port) == ["initialize", "init"]
        ((capabilities, spawn_ns),) = stage.of(native.EVENT_STARTED, port)
        assert json.loads(capabilities) == {"capabilities": ["pricing"]}
        assert 0 < spawn_ns < 5e9


@both_kinds
@pytest.mark.parametrize(
    ("name", "reason", "text"),
    [
        ("init_fails", native.EXIT_INIT, "init function returned an error code"),
        ("init_says_why", native.EXIT_INIT, "no licence for Zoë"),
        ("init_traps", native.EXIT_INIT, "unreachable"),
        ("start_traps", native.EXIT_INIT, "unreachable"),
        ("init_spins", native.EXIT_TIMEOUT, "timeout"),
    ],
)
def test_an_agent_that_cannot_start_says_why(name: str, reason: int, text: str) -> None:
    with open_stage() as stage, unharmed(stage):
        port = stage.seat("broken", name, timeout=0.05, ready=False)
        exit_reason, said = stage.exit_of(port)
        assert exit_reason == reason
        assert text in said
        assert not stage.of(native.EVENT_STARTED, port)


@pytest.mark.parametrize("length", [-1, 1 << 16 | 1, 0x7FFFFFFF, -0x80000000])
def test_capabilities_beyond_their_buffer_are_not_read(length: int) -> None:
    with open_stage() as stage, unharmed(stage):
        port = stage.seat("liar", guest("capabilities_lie", LENGTH=length), ready=False)
        assert stage.exit_of(port) == (
            native.EXIT_INIT,
            "get_capabilities returned a length that is not inside its buffer",
        )


@both_kinds
def test_an_agent_whose_memory_is_beyond_its_limit_does_not_start() -> None:
    with open_stage() as stage, unharmed(stage):
        port = stage.seat("large", "mirror", memory=1 << 16, ready=False)
        reason, text = stage.exit_of(port)
        assert reason == native.EXIT_INIT
        assert "memory" in text


@both_kinds
def test_the_time_to_start_counts_from_the_first_instruction() -> None:
    with open_stage(threads=1, slice_us=200_000) as stage:
        stage.seat("busy", "busy_then_asleep")
        late = stage.scheduler.open_port("late")
        stage.send("busy")
        stage.start(late, "init_spins", timeout=0.001, ready=False)  # waits for its turn longer than that
        stage.wait_for(native.EVENT_LOG)
        prompt = stage.seat("prompt", "life", timeout=0.001)
        assert not stage.of(native.EVENT_EXITED, prompt)


def test_a_name_is_taken_once() -> None:
    with open_stage() as stage:
        port = stage.scheduler.open_port("a")
        with pytest.raises(AgentAlreadyExists):
            stage.scheduler.open_port("a")
        assert stage.scheduler.name_of(port) == "a"
        assert stage.scheduler.has_address("a")
        stage.scheduler.close_port(port)
        assert stage.scheduler.name_of(port) == ""
        assert not stage.scheduler.has_address("a")
        with pytest.raises(AgentNotFound):
            stage.scheduler.shutdown(port)


def test_mail_of_an_agent_is_not_for_python_and_a_host_port_has_no_instance() -> None:
    with open_stage() as stage:
        port = stage.seat("a", "quiet")
        with pytest.raises(InvalidTransition, match="agent's"):
            stage.scheduler.receive(port, 1)
        with pytest.raises(InvalidTransition, match="host port"):
            stage.start(stage.host(), "quiet")


def test_what_is_for_instances_is_no_mail_of_a_host_port() -> None:
    with open_stage() as stage:
        port = stage.host()
        stage.scheduler.fire_timer(port, 1)
        stage.scheduler.check_health(port)
        stage.scheduler.shutdown(port)
        stage.send("me", "mail")
        assert contents(stage.scheduler.receive(port, 9)) == ["mail"]


def test_a_port_has_one_instance_at_a_time() -> None:
    with open_stage() as stage:
        port = stage.seat("a", "quiet")
        with pytest.raises(InvalidTransition, match="has an instance already"):
            stage.start(port, "quiet")


# -- the end ---------------------------------------------------------------------------------------------------------


@both_kinds
def test_shutdown_calls_the_guest_and_keeps_the_mailbox() -> None:
    with open_stage() as stage:
        port = stage.seat("life", "life")
        stage.scheduler.shutdown(port)
        assert stage.exit_of(port) == (native.EXIT_NORMAL, "")
        assert stage.lines(port)[-1] == "shutdown"
        stage.send("life")
        assert stage.scheduler.statistics(port).waiting == 1
        stage.start(port, "life")
        stage.until(lambda: stage.lines(port)[-1] == "message")


@both_kinds
def test_a_shutdown_that_comes_too_late_does_not_stop_the_next_instance() -> None:
    with open_stage() as stage:
        port = stage.seat("life", "life")
        stage.scheduler.drop(port)
        stage.exit_of(port)
        stage.scheduler.shutdown(port)
        stage.start(port, "life")
        stage.send("life")
        stage.until(lambda: "message" in stage.lines(port))
        assert len(stage.of(native.EVENT_EXITED, port)) == 1


@both_kinds
def test_an_idle_agent_is_dropped() -> None:
    with open_stage() as stage:
        port = stage.seat("a", "quiet")
        stage.scheduler.drop(port)
        assert stage.exit_of(port) == (native.EXIT_KILLED, "dropped")
        stage.scheduler.drop(port)
        stage.settle()
        assert len(stage.of(native.EVENT_EXITED, port)) == 1


@both_kinds
def test_a_spinning_agent_is_dropped_inside_its_turn_and_its_message_is_for_the_next_instance() -> None:
    with open_stage() as stage, unharmed(stage):
        probe = Probe(stage)
        probe.post(poke(0, "here"), step("console_log", 0, 4), step("spin"))
        stage.wait_for(native.EVENT_LOG, probe.port)
        stage.scheduler.drop(probe.port)
        stage.until(lambda: stage.of(native.EVENT_EXITED, probe.port), within=2)
        assert stage.exit_of(probe.port)[0] == native.EXIT_KILLED
        assert stage.scheduler.statistics(probe.port).retrying == 1
        stage.start(probe.port, "life")
        stage.until(lambda: stage.lines(probe.port)[-1] == "message")
        stage.watch(lambda: stage.scheduler.statistics(probe.port).handled == 1)
        figures = stage.scheduler.statistics(probe.port)
        assert (figures.failed, figures.retrying, figures.waiting) == (1, 0, 0)
        assert not stage.of(native.EVENT_UNDELIVERED, probe.port)


@both_kinds
def test_the_message_of_an_agent_that_is_taken_away_inside_its_turn_is_reported() -> None:
    with open_stage() as stage:
        probe = Probe(stage)
        probe.post(poke(0, "here"), step("console_log", 0, 4), step("spin"))
        stage.wait_for(native.EVENT_LOG, probe.port)
        assert stage.scheduler.close_port(probe.port) == []
        code, (message, text) = stage.wait_for(native.EVENT_UNDELIVERED)
        assert (code, text, message.receiver) == (native.EXIT_KILLED, "dropped", "probe")


@both_kinds
def test_a_closed_port_gives_back_the_message_that_was_for_the_next_instance() -> None:
    with open_stage() as stage:
        port = stage.seat("spin", "spin")
        for number in range(3):
            stage.send("spin", number)
        stage.watch(lambda: stage.scheduler.statistics(port).waiting == 2)
        stage.scheduler.drop(port)
        stage.exit_of(port)
        assert contents(stage.scheduler.close_port(port)) == [0, 1, 2]
        assert not stage.of(native.EVENT_UNDELIVERED)


@both_kinds
@pytest.mark.parametrize("waits", [step("sleep_micros", HOUR), step("mcp_call", 0, 2, 0, 0)], ids=["sleep", "call"])
def test_a_suspended_agent_is_dropped(waits: str) -> None:
    with open_stage() as stage:
        probe = Probe(stage)
        probe.post(poke(0, "{}"), waits)
        stage.watch(lambda: stage.scheduler.statistics(probe.port).state == "waiting")
        stage.scheduler.drop(probe.port)
        stage.until(lambda: stage.of(native.EVENT_EXITED, probe.port), within=2)
        assert stage.exit_of(probe.port)[0] == native.EXIT_KILLED


@both_kinds
def test_an_agent_that_goes_to_sleep_while_it_is_dropped_does_not_sleep_on() -> None:
    with open_stage(slice_us=2_000_000) as stage:
        port = stage.seat("busy", "busy_then_asleep")
        stage.send("busy")
        stage.wait_for(native.EVENT_LOG, port)
        stage.scheduler.drop(port)  # it computes, in one slice, and then sleeps
        stage.until(lambda: stage.of(native.EVENT_EXITED, port), within=3)
        assert stage.exit_of(port)[0] == native.EXIT_KILLED


@both_kinds
def test_a_restart_behind_the_same_port_keeps_the_mailbox_and_its_order() -> None:
    with open_stage() as stage:
        me = stage.host()
        port = stage.seat("mirror", "mirror")
        stage.scheduler.shutdown(port)
        stage.exit_of(port)
        tokens = [f"#{i:016x}" for i in range(300)]
        for token in tokens:
            stage.send("mirror", token)
        stage.start(port, "mirror")
        assert contents(stage.receive(me, len(tokens))) == tokens


@both_kinds
def test_a_crash_takes_one_message_and_leaves_the_rest() -> None:
    with open_stage(threads=1) as stage:
        me = stage.host()
        port = stage.seat("probe", "quiet")
        stage.scheduler.shutdown(port)
        stage.exit_of(port)
        stage.send("probe", "no script")  # runs into the end of memory, looking for one
        stage.send("probe", f"#{'0' * 15}1")
        other = Probe(stage, "other")
        stage.start(port, probe())
        assert stage.exit_of(port, 2)[0] == native.EXIT_TRAP
        code, (message, _) = stage.wait_for(native.EVENT_UNDELIVERED, port)
        assert (code, message.as_dict()["content"]) == (native.EXIT_TRAP, "no script")
        stage.start(port, "mirror")
        assert contents(stage.receive(me)) == [f"#{'0' * 15}1"]
        assert other.do() == []


def test_a_closed_port_gives_back_what_waited() -> None:
    with open_stage() as stage:
        port = stage.scheduler.open_port("away")
        for i in range(5):
            stage.send("away", i)
        stage.scheduler.fire_timer(port, 1)
        assert contents(stage.scheduler.close_port(port)) == [0, 1, 2, 3, 4]
        with pytest.raises(AgentNotFound):
            stage.send("away")


@both_kinds
def test_a_port_that_drains_handles_what_waits_and_takes_no_more() -> None:
    with open_stage() as stage:
        me = stage.host()
        port = stage.seat("mirror", "mirror")
        for i in range(50):
            stage.send("mirror", f"#{i:016x}")
        stage.scheduler.drain_port(port)
        with pytest.raises(InvalidTransition):
            stage.send("mirror", "#")
        stage.wait_for(native.EVENT_DRAINED, port)
        assert len(stage.receive(me, 50)) == 50
        assert stage.scheduler.statistics(port).state == "idle"
        stage.scheduler.set_accepting(port, True)
        assert stage.ask(me, "mirror", f"#{'f' * 16}")["content"] == f"#{'f' * 16}"
        assert len(stage.of(native.EVENT_DRAINED, port)) == 1


def test_an_idle_port_drains_at_once() -> None:
    with open_stage() as stage:
        ports = [stage.seat("a", "quiet"), stage.scheduler.open_port("b")]
        stage.settle()
        for port in ports:
            stage.scheduler.drain_port(port)
            stage.wait_for(native.EVENT_DRAINED, port)


@both_kinds
def test_a_healthy_agent_says_so_and_a_dead_one_says_nothing() -> None:
    with open_stage() as stage:
        port = stage.seat("a", "quiet")
        stage.scheduler.check_health(port)
        assert stage.wait_for(native.EVENT_HEALTH, port) == (0, None)
        stage.scheduler.drop(port)
        stage.exit_of(port)
        stage.scheduler.check_health(port)
        stage.start(port, "quiet")
        stage.settle()
        assert len(stage.of(native.EVENT_HEALTH, port)) == 1


@both_kinds
def test_a_slot_of_the_pool_is_free_when_its_agent_has_left() -> None:
    pool = smallest_engine()
    module = compiled_anew((GUESTS / "quiet.wat").read_text(), pool)
    with open_stage(on=pool) as stage:
        port = stage.seat("a", module)
        for i in range(1, 200):
            stage.scheduler.drop(port)
            stage.exit_of(port, i)
            stage.start(port, module)
        assert {reason for reason, _ in stage.of(native.EVENT_EXITED, port)} == {native.EXIT_KILLED}


# -- the threads -----------------------------------------------------------------------------------------------------


def busy_stage() -> Stage:
    """Spinners, sleepers, callers, and mail for all of them."""
    stage = Stage(threads=2)
    stage.scheduler.start()
    for i in range(4):
        stage.seat(f"spin{i}", "spin")
        probe = Probe(stage, f"asleep{i}")
        for _ in range(3):
            stage.send(f"spin{i}")
            probe.post(step("sleep_micros", HOUR))
        Probe(stage, f"calls{i}").post(poke(0, "{}"), step("mcp_call", 0, 2, 16, 16))
    return stage


@both_kinds
def test_stop_ends_everything_at_once() -> None:
    stage = busy_stage()
    stage.wait_for(native.EVENT_CALL, count=4)
    began = time.monotonic()
    stage.scheduler.stop()
    assert time.monotonic() - began < 1
    stage.scheduler.stop()
    stage.scheduler.drain()


@pytest.mark.slow
def test_schedulers_come_and_go_and_leave_nothing_behind() -> None:
    def held() -> tuple[int, int]:
        tasks = "/proc/self/task"
        return len(os.listdir("/dev/fd")), len(os.listdir(tasks)) if os.path.isdir(tasks) else 0

    open_stage_once()
    gc.collect()  # what a test before this one left behind is not to go meanwhile
    before = held()
    for _ in range(200):
        open_stage_once()
    gc.collect()
    end = time.monotonic() + 2
    while held() != before:  # a thread that was joined is listed a moment longer
        assert time.monotonic() < end, (held(), before)


def open_stage_once() -> None:
    with open_stage(history_messages=10, history_bytes=4096, journal_bytes=1 << 16, max_message_size=4096) as stage:
        stage.seat("spin", "spin", ready=False)
        stage.send("spin")
        stage.seat("mirror", "mirror")
        stage.send("spin")


@both_kinds
def test_an_agent_of_a_port_that_was_closed_last_is_freed_by_stop() -> None:
    pool = smallest_engine()
    module = compiled_anew((GUESTS / "spin.wat").read_text(), pool)
    for _ in range(20):
        with open_stage(on=pool) as stage:
            port = stage.seat("a", module)
            stage.send("a")
            stage.scheduler.close_port(port)


@both_kinds
def test_a_module_is_given_back_when_no_agent_needs_it() -> None:
    pool = smallest_engine()
    with open_stage(on=pool) as stage:
        module = compiled_anew((GUESTS / "spin.wat").read_text(), pool)
        port = stage.seat("a", module)
        gone = weakref.ref(module)
        del module
        stage.send("a")
        stage.scheduler.close_port(port)
        stage.watch(lambda: gone() is None, within=2)


def test_a_scheduler_starts_once_and_starts_no_agent_when_it_has_stopped() -> None:
    with open_stage() as stage:
        with pytest.raises(InvalidTransition):
            stage.scheduler.start()
    port = stage.scheduler.open_port("late")
    with pytest.raises(InvalidTransition):
        stage.start(port, "quiet", ready=False)


@pytest.mark.parametrize(
    "options",
    [{"threads": -1}, {"threads": 5000}, {"slice_us": 0}, {"max_message_size": 0}, {"max_message_size": 1 << 31}],
)
def test_figures_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidConfig, match=next(iter(options))):
        Scheduler(engine(), **options)


def test_a_scheduler_that_cannot_be_made_closes_no_descriptor_of_others() -> None:
    keep = os.dup(0)
    try:
        with pytest.raises(TypeError):
            Scheduler(None)  # type: ignore[arg-type]
        os.fstat(0)
    finally:
        os.dup2(keep, 0)
        os.close(keep)


NO_THREADS = """
import resource
from caxton._fast.scheduler import Scheduler
from caxton._fast.wasm.engine import Engine
from caxton.core.errors import ResourceLimitExceeded
scheduler = Scheduler(Engine(pooling=False), threads=1000, journal_bytes=1, max_message_size=1000)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), used + (64 << 20)))
try:
    scheduler.start()
except ResourceLimitExceeded as error:
    print(error.hint)
scheduler.stop()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_threads_that_cannot_be_started_are_an_error_and_no_crash() -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", NO_THREADS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (outcome.returncode, outcome.stdout.strip()) == (0, "raise the limit of processes (ulimit -u)"), (
        outcome.stderr
    )


@both_kinds
def test_what_a_full_journal_had_no_room_for_is_read_after_the_end() -> None:
    with open_stage(journal_bytes=1, max_message_size=1000) as stage:
        me = stage.host()
        stage.seat("flood", sender_guest("me", 3000))
        stage.send("flood")
        end = time.monotonic() + DEADLINE
        while not stage.scheduler.receive(me, 1):  # then it has begun to send, and nobody has read the journal
            assert time.monotonic() < end
        stage.scheduler.stop()
        totals = stage.scheduler.totals()
        assert (totals["accepted"], totals["handled"]) == (3001, 1)
        assert len(stage.scheduler.receive(me, 3000)) == 2999


def test_a_journal_smaller_than_a_message_does_not_stop_the_traffic() -> None:
    with open_stage(journal_bytes=1, max_message_size=100_000) as stage:
        me = stage.host()
        stage.seat("mirror", "mirror")
        assert stage.ask(me, "mirror", f"#{'a' * 16}" + "x" * 50_000)["content"] == f"#{'a' * 16}"


@both_kinds
def test_an_idle_scheduler_burns_no_time() -> None:
    with open_stage() as stage:
        for i in range(50):
            stage.seat(f"a{i}", "mirror")
        Probe(stage).post(step("sleep_micros", HOUR))
        stage.settle()
        before, began = time.process_time(), time.monotonic()
        while time.monotonic() - began < 0.4:
            stage.pump(0.4 - (time.monotonic() - began))
        assert time.process_time() - before < 0.02


# -- the CPU budget --------------------------------------------------------------------------------------------------


def share_of_a_core(millicores: int, seconds: float) -> float:
    """What a spinning agent takes; less when the machine is busy with other things."""
    with open_stage(threads=1) as stage:
        stage.seat("spin", "spin", cpu_millicores=millicores)
        before, began = time.process_time(), time.monotonic()
        stage.send("spin")
        while time.monotonic() - began < seconds:
            stage.pump(seconds - (time.monotonic() - began))
        return (time.process_time() - before) / (time.monotonic() - began)


@pytest.mark.slow
def test_a_spinning_agent_gets_its_share_of_a_core() -> None:
    tenth = share_of_a_core(100, 1.0)
    assert 0.002 < tenth < 0.18
    assert share_of_a_core(1000, 0.3) > 2 * tenth
    assert share_of_a_core(0, 0.3) > 2 * tenth


@both_kinds
def test_an_agent_over_its_budget_is_dropped_and_shut_down_without_waiting_for_it() -> None:
    with open_stage() as stage:
        port = stage.seat("spin", "spin", cpu_millicores=1)
        stage.send("spin")
        stage.watch(lambda: stage.scheduler.statistics(port).state == "waiting")
        stage.scheduler.drop(port)
        stage.until(lambda: stage.of(native.EVENT_EXITED, port), within=1)
