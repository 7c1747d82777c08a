"""Where the threads' time goes: in samples, not in seconds."""

import gc

import pytest

from caxton._fast import scheduler as native
from caxton._fast.profile import ACTIVITIES, Profile
from caxton.cli.benchmarks.hop import Pairs
from caxton.core.errors import InvalidTransition
from tests._fast.scheduling import both_kinds, compiled, open_stage, sender_guest

# two host functions, one of each kind, and then never back
CALLS_AND_SPINS = """
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (import "caxton" "sleep_micros" (func $sleep (param i64)))
  (memory (export "memory") 1)
  (func (export "handle_message") (param i32 i32) (result i32)
    (drop (call $send (i32.const -1) (i32.const 100)))
    (call $sleep (i64.const 0))
    (drop (call $send (i32.const -1) (i32.const 100)))
    (loop $ever (br $ever)) (i32.const 0)))
"""

# waits for 200 ms
SLEEPS = """
(module
  (import "caxton" "sleep_micros" (func $sleep (param i64)))
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "handle_message") (param i32 i32) (result i32)
    (call $sleep (i64.const 200000)) (call $log (i32.const 0) (i32.const 1)) (i32.const 0)))
"""


def samples(profile: Profile, name: str) -> dict[str, int]:
    found = [counts for _, port_name, _, counts in profile.ports if port_name == name]
    return dict(zip(ACTIVITIES, map(sum, zip(*found, strict=True)), strict=True))


def threads(profile: Profile) -> dict[str, int]:
    return dict(zip(ACTIVITIES, map(sum, zip(*profile.threads, strict=True)), strict=True))


@both_kinds
@pytest.mark.parametrize("text", [None, CALLS_AND_SPINS], ids=["spins", "calls and spins"])
def test_a_guest_that_spins_is_at_work_as_a_guest(text: str | None) -> None:
    # one slice is as long as the turn: at the next one everything would be told anew
    with open_stage(threads=1, slice_us=150_000) as stage:
        port = stage.seat("busy", compiled(text) if text else "spin", timeout=0.1)
        stage.scheduler.start_profile()
        stage.send("busy")
        assert stage.exit_of(port)[0] == native.EXIT_TIMEOUT
        profile = stage.scheduler.stop_profile()
        busy = samples(profile, "busy")
        assert profile.looks > 5
        assert busy["guest"] >= 0.9 * sum(busy.values())
        assert busy["guest"] >= 0.5 * profile.looks  # of the one thread
        assert profile.messages == 1
        assert [(name, handled) for _, name, handled, _ in profile.ports if name] == [("busy", 1)]


@both_kinds
def test_a_guest_that_waits_leaves_its_thread_idle() -> None:
    with open_stage(threads=2) as stage:
        port = stage.seat("sleeper", compiled(SLEEPS))
        stage.scheduler.start_profile()
        stage.send("sleeper")
        stage.wait_for(native.EVENT_LOG, port)
        profile = stage.scheduler.stop_profile()
        assert profile.looks > 5
        assert threads(profile)["idle"] >= 0.9 * 2 * profile.looks
        assert [sum(counts) for counts in profile.threads] == [profile.looks] * 2


def test_what_a_relay_sends_is_envelope_and_router() -> None:
    with open_stage(threads=1) as stage:
        for name, other in (("here", "there"), ("there", "here")):
            stage.seat(name, sender_guest(other, content="x" * 400))
        stage.scheduler.start_profile()
        stage.send("here")
        stage.watch(lambda: stage.scheduler.totals()["handled"] >= 100_000, within=30)
        profile = stage.scheduler.stop_profile()
        for name in ("here", "there"):
            spent = samples(profile, name)
            assert spent["envelope"] > 0
            assert spent["guest"] > 0
        everything = threads(profile)
        assert everything["router"] + everything["journal"] > 0
        assert everything["envelope"] + everything["router"] > 0.05 * sum(everything.values())
        assert profile.messages >= 100_000
        assert sum(handled for _, _, handled, _ in profile.ports) == profile.messages


@pytest.mark.slow
def test_every_sample_of_many_agents_is_kept() -> None:
    pairs = Pairs(100, 2)
    pairs.start(50)
    for seconds in (0.3, 1.0, 3.0, 10.0):  # on a machine that has time for us, the first is enough
        pairs.scheduler.start_profile()
        pairs.rate(seconds)
        profile = pairs.scheduler.stop_profile()
        if len(profile.ports) > 60:
            break
    pairs.scheduler.stop()
    assert len(profile.ports) > 60
    assert len({port for port, *_ in profile.ports}) == len(profile.ports)
    busy = sum(map(sum, profile.threads)) - sum(counts[0] for counts in profile.threads)
    assert sum(sum(counts) for *_, counts in profile.ports) == busy


def test_an_agent_that_is_gone_has_no_name_but_its_samples() -> None:
    with open_stage(threads=1) as stage:
        port = stage.seat("busy", "spin", timeout=0.1)
        stage.scheduler.start_profile()
        stage.send("busy")
        stage.exit_of(port)
        stage.scheduler.close_port(port)
        profile = stage.scheduler.stop_profile()
        ((name, handled, counts),) = [found for at, *found in profile.ports if at == port]
        assert (name, handled) == ("", 0)
        assert sum(counts) > 0


def test_there_is_one_profile_at_a_time() -> None:
    with open_stage() as stage:
        with pytest.raises(InvalidTransition, match="no profile runs"):
            stage.scheduler.stop_profile()
        stage.scheduler.start_profile()
        with pytest.raises(InvalidTransition, match="a profile runs already"):
            stage.scheduler.start_profile()
        stage.scheduler.stop_profile()
        stage.scheduler.start_profile()
        assert stage.scheduler.stop_profile().messages == 0


def test_a_scheduler_that_stops_ends_its_profile() -> None:
    with open_stage() as stage:
        stage.scheduler.start_profile()
        stage.scheduler.stop()
        assert stage.scheduler.stop_profile().seconds < 60
        with pytest.raises(InvalidTransition, match="has stopped"):
            stage.scheduler.start_profile()


def test_a_scheduler_that_is_forgotten_takes_its_profile_along() -> None:
    with open_stage() as stage:
        stage.scheduler.start_profile()
        del stage.scheduler
        gc.collect()
        stage.scheduler = native.Scheduler(stage.engine, threads=1)  # for the stage's end
