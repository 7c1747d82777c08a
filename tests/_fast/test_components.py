"""Components on the scheduler: the same turns, limits, host calls and ends as core modules, with typed values."""

import time
from pathlib import Path
from typing import Any

import pytest

from caxton._fast import scheduler as native
from caxton._fast.envelope import Envelope
from caxton._fast.wasm import component_calls, wasi2
from caxton._fast.wasm.component import Component
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.instance import Instance
from caxton._fast.wasm.module import wat2wasm
from caxton.core import wasm_component
from caxton.core.errors import InvalidWasm
from caxton.core.wasm_component_memory import weighed
from tests._fast.components import MIB, Guest, build, engine, refuse, text
from tests._fast.scheduling import Stage, open_stage, unharmed

HANDS = "(call $int (i32.const 1))"
LONG = b"v" * 100_000
SPIN = "(loop $ever (br $ever))"


def seat(stage: Stage, guest: Guest, name: str = "guest", **limits: object) -> int:
    return stage.seat(name, build(guest), memory=MIB, **limits)  # type: ignore[arg-type]  # seat's own keywords


def answer(guest: Guest, content: object = None, **limits: object) -> str:
    """What one guest answers to one message."""
    with open_stage(threads=1) as stage:
        me = stage.host()
        seat(stage, guest, **limits)
        return str(stage.ask(me, "guest", content)["content"])


# -- turns -----------------------------------------------------------------------------------------------------------


def test_a_component_answers_again_and_again() -> None:
    count = "(global.set $turns (i32.add (global.get $turns) (i32.const 1))) (call $int (global.get $turns))"
    guest = Guest(count, core="(global $turns (mut i32) (i32.const 0))")
    with open_stage(threads=1) as stage, unharmed(stage) as me:
        seat(stage, guest)
        assert [stage.ask(me, "guest", {"n": n})["content"] for n in range(3)] == ["1", "2", "3"]


def test_an_answer_goes_to_who_asked() -> None:
    with open_stage(threads=1) as stage:
        me = stage.host()
        seat(stage, Guest(HANDS))
        got = stage.ask(me, "guest", 1, conversation_id="c", reply_with="r")
    assert (got["performative"], got["conversation_id"], got["in_reply_to"]) == ("inform", "c", "r")


def test_no_answer_is_a_turn_like_another() -> None:
    with open_stage(threads=1) as stage:
        stage.host()
        port = seat(stage, Guest("(nop)"))
        stage.send("guest")
        stage.watch(lambda: stage.scheduler.statistics(port).handled == 1)


def test_an_error_is_a_failed_message_in_the_guests_own_words() -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        port = seat(stage, Guest(refuse("no beans left, Zoë")))
        stage.send("guest")
        _, found = stage.wait_for(native.EVENT_UNDELIVERED, port)
        assert found[1] == "no beans left, Zoë"
        assert stage.scheduler.statistics(port).failed == 1


def test_what_a_failed_turn_did_is_undone() -> None:
    store = "(call $state.store (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 0x1000))"
    load = (
        "(call $state.load (i32.const 0) (i32.const 1) (i32.const 0x1000)) (call $int (i32.load8_u (i32.const 0x1004)))"
    )
    code = f"(if (global.get $again) (then {load}) (else (global.set $again (i32.const 1)) {store} {refuse()}))"
    guest = Guest(code, ("state.store", "state.load"), data={0: "kv"}, core="(global $again (mut i32) (i32.const 0))")
    with open_stage(threads=1) as stage:
        me = stage.host()
        port = seat(stage, guest)
        stage.send("guest")
        stage.wait_for(native.EVENT_UNDELIVERED, port)
        assert stage.ask(me, "guest")["content"] == "0"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("(unreachable)", "unreachable"),
        ("(drop (i32.load (i32.const -4)))", "out of bounds"),
        ("(drop (i32.div_u (i32.const 1) (local.get $i)))", "integer division by zero"),
        ("(return (i32.const 0x7fffffff))", "pointer not aligned"),
        ("(i32.store8 (i32.const 0x7f00) (i32.const 9)) (return (i32.const 0x7f00))", "discriminant"),
        (
            "(i32.store8 (i32.const 0x7f04) (i32.const 1)) (i32.store (i32.const 0x7f08) (i32.const 0x10000))"
            " (i32.store (i32.const 0x7f0c) (i32.const 0x7fffffff)) (return (i32.const 0x7f00))",
            "out of bounds",
        ),
        (
            "(i32.store8 (i32.const 0x7f04) (i32.const 1)) (i32.store (i32.const 0x7f08) (i32.const 0x7200))"
            " (i32.store8 (i32.const 0x7200) (i32.const 255)) (i32.store (i32.const 0x7f0c) (i32.const 1))"
            " (return (i32.const 0x7f00))",
            "utf-8",
        ),
    ],
)
def test_a_guest_that_traps_or_lies_ends_alone(body: str, said: str) -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        port = seat(stage, Guest(body))
        stage.send("guest")
        code, reason = stage.exit_of(port)
        assert code == native.EXIT_TRAP
        assert said in reason


def test_a_spinning_component_starves_nobody_and_is_cut_off() -> None:
    with open_stage(threads=1) as stage:
        me = stage.host()
        port = seat(stage, Guest(SPIN), "spinner", timeout=0.2)
        seat(stage, Guest(HANDS))
        stage.send("spinner")
        began = time.monotonic()
        for _ in range(5):
            stage.ask(me, "guest")
        assert not stage.of(native.EVENT_EXITED, port)
        assert time.monotonic() - began < 0.2
        assert stage.exit_of(port)[0] == native.EXIT_TIMEOUT


@pytest.mark.parametrize(
    ("exports", "code", "said"),
    [
        ({"init": "(call $status (i32.const 1))"}, native.EXIT_INIT, "m unwell"),
        ({"init": "(unreachable)"}, native.EXIT_INIT, "unreachable"),
        ({"init": SPIN + "(unreachable)"}, native.EXIT_TIMEOUT, "timeout"),
    ],
)
def test_a_failed_start_says_why(exports: dict[str, str], code: int, said: str) -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        port = seat(stage, Guest(exports=exports), ready=False, timeout=0.2)
        found, reason = stage.exit_of(port)
        assert found == code
        assert said in reason


def test_the_whole_life_of_a_component() -> None:
    guest = Guest(
        HANDS,
        ("log.info", "timers.set"),
        data={0: 'begins timer ends {"capabilities":["pricing"]}'},
        exports={
            "init": """(call $log.info (i32.const 0) (i32.const 6))
              (call $timers.set (i64.const 1000) (i32.const 0x1000)) (call $status (i32.const 0))""",
            "handle-timer": "(call $log.info (i32.const 7) (i32.const 5)) (call $status (i32.const 0))",
            "health": "(call $status (i32.const 1))",
            "get-capabilities": """(i32.store8 (i32.const 0x7000) (i32.const 1))
              (i32.store (i32.const 0x7004) (i32.const 18)) (i32.store (i32.const 0x7008) (i32.const 28))
              (i32.const 0x7000)""",
            "shutdown": "(call $log.info (i32.const 13) (i32.const 4))",
        },
    )
    with open_stage(threads=1) as stage:
        port = seat(stage, guest)
        assert stage.of(native.EVENT_STARTED, port)[0][0] == b'{"capabilities":["pricing"]}'
        timer, due = stage.wait_for(native.EVENT_TIMER, port)
        assert due > 0
        stage.scheduler.fire_timer(port, timer)
        stage.scheduler.check_health(port)
        assert stage.wait_for(native.EVENT_HEALTH, port)[0] != 0
        stage.scheduler.shutdown(port)
        assert stage.exit_of(port)[0] == native.EXIT_NORMAL
        assert stage.lines(port) == ["begins", "timer", "m unwell", "ends"]


# -- limits ----------------------------------------------------------------------------------------------------------


def test_memory_grows_to_its_limit_and_no_further() -> None:
    grow = "(call $number (i64.extend_i32_u (memory.grow (i32.const {})))) "
    guest = Guest(grow.format(8) + grow.format(64), pages=4)
    assert answer(guest) == f"4 {(1 << 32) - 1}"


def test_how_much_memory_it_has_is_told() -> None:
    again = "(core module $more (memory 2)) (core instance (instantiate $more))"
    with open_stage(threads=1) as stage:
        me = stage.host()
        wasm = weighed(wat2wasm(text(Guest("(drop (memory.grow (i32.const 3)))" + HANDS, extra=again))))
        port = stage.seat("guest", Component.compile(engine(), wasm, 2), memory=2 * MIB)
        assert stage.scheduler.statistics(port).memory_bytes == (4 + 2) << 16
        # after a turn, ten times a second
        stage.watch(lambda: stage.ask(me, "guest") and stage.scheduler.statistics(port).memory_bytes > 6 << 16)


def test_a_component_at_its_limit_leaves_the_others_theirs() -> None:
    grow = "(block $full (loop $more (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1))) (br $more)))"
    touch = """(memory.fill (i32.const 0x20000) (i32.const 7)
      (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 0x20000)))"""
    with open_stage(threads=2) as stage, unharmed(stage):
        me = stage.host()
        module = build(Guest(grow + touch + "(call $int (memory.size))"))
        for name, pages in (("small", 8), ("large", 64)):
            stage.seat(name, module, memory=pages << 16)
        for name, pages in (("small", 8), ("large", 64)) * 2:
            assert stage.ask(me, name)["content"] == str(pages)


def test_without_a_pool_the_limits_are_the_same() -> None:
    """On demand a memory moves when it grows, here while values are handed over."""
    grow = "(call $number (i64.extend_i32_u (memory.grow (i32.const {})))) "
    body = grow.format(8) + "(call $state.load-bytes (i32.const 0) (i32.const 1) (i32.const 0x1000))" + grow.format(64)
    wasm = wat2wasm(
        text(Guest(body + "(call $int (i32.load (i32.const 0x100c)))", ("state.load-bytes",), data={0: "k"}))
    )
    with open_stage(threads=1) as stage, unharmed(stage):
        me = stage.host()
        on_demand = Engine(components=True, pooling=False)
        port = stage.seat("guest", Component.compile(on_demand, weighed(wasm)), memory=16 << 16, state=((b"k", LONG),))
        assert stage.ask(me, "guest")["content"] == f"4 {(1 << 32) - 1} {len(LONG)}"
        assert stage.scheduler.statistics(port).memory_bytes >= 4 << 16
        two = text(Guest(HANDS, extra="(core module $more (memory 1)) (core instance (instantiate $more))"))
        port = stage.seat("two", Component.compile(on_demand, wat2wasm(two)), memory=MIB, ready=False)
        code, said = stage.exit_of(port)
        assert (code, "memory count too high" in said) == (native.EXIT_INIT, True)


def test_more_memory_than_it_may_have_is_a_failed_start() -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        port = seat(stage, Guest(pages=20), ready=False)
        code, reason = stage.exit_of(port)
        assert code == native.EXIT_INIT
        assert "memory" in reason


def test_a_list_that_takes_up_the_host_ends_its_guest() -> None:
    """Each byte of a list is a value of 32 bytes while it is handed over: the engine counts them."""
    guest = Guest(
        """(drop (memory.grow (i32.const 200)))
        (call $state.store-bytes (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0xc00000) (i32.const 0x1000))""",
        ("state.store-bytes",),
    )
    with open_stage(threads=1) as stage, unharmed(stage):
        port = stage.seat("guest", build(guest), memory=16 * MIB)
        stage.send("guest")
        code, reason = stage.exit_of(port)
        assert code == native.EXIT_TRAP
        assert "hostcalls" in reason


# -- host calls ------------------------------------------------------------------------------------------------------


def test_messages_are_sent_and_refused() -> None:
    guest = Guest(
        """(call $messaging.send (i32.const 0) (i32.const 41) (i32.const 0x1000))
        (call $int (i32.load8_u (i32.const 0x1000)))
        (call $messaging.send (i32.const 50) (i32.const 45) (i32.const 0x1000))
        (call $int (i32.load8_u (i32.const 0x1000))) (call $int (i32.load8_u (i32.const 0x1004)))
        (call $text (i32.load (i32.const 0x1008)) (i32.const 8))
        (call $messaging.broadcast
          (i32.const 110) (i32.const 17) (i32.const 130) (i32.const 38) (i32.const 0x1000))
        (call $int (i32.load8_u (i32.const 0x1000))) (call $int (i32.load (i32.const 0x1004)))""",
        ("messaging.send", "messaging.broadcast"),
        data={
            0: '{"performative":"inform","receiver":"me"}',
            50: '{"performative":"inform","receiver":"nobody"}',
            110: '{"agents":["me"]}',
            130: '{"performative":"inform","content":10}',
        },
    )
    with open_stage(threads=1) as stage:
        me = stage.host()
        seat(stage, guest)
        stage.send("guest", sender="me")
        got = [each.as_dict() for each in stage.receive(me, 3)]
    assert [each.get("content") for each in got] == [None, 10, "0 1 1 no agent 0 1"]


def test_state_is_kept_as_text_and_as_bytes() -> None:
    code = """
      (i32.store16 (i32.const 8) (i32.const 0xfffe))
      (call $state.store-bytes (i32.const 0) (i32.const 3) (i32.const 8) (i32.const 2) (i32.const 0x1000))
      (call $int (i32.load8_u (i32.const 0x1000)))
      (call $state.load-bytes (i32.const 0) (i32.const 3) (i32.const 0x1000))
      (call $int (i32.load8_u (i32.const 0x1004))) (call $int (i32.load (i32.const 0x100c)))
      (call $int (i32.load8_u (i32.load (i32.const 0x1008))))
      (call $state.load (i32.const 0) (i32.const 3) (i32.const 0x1000))
      (call $int (i32.load8_u (i32.const 0x1000)))
      (call $state.remove (i32.const 0) (i32.const 3) (i32.const 0x1000))
      (call $int (i32.load8_u (i32.const 0x1004)))
      (call $state.remove (i32.const 0) (i32.const 3) (i32.const 0x1000))
      (call $int (i32.load8_u (i32.const 0x1004)))
      (call $state.store (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 0x1000))
      (call $int (i32.load8_u (i32.const 0x1000))) (call $int (i32.load8_u (i32.const 0x1004)))
      (call $state.load (i32.const 4) (i32.const 4) (i32.const 0x1000))
      (call $text (i32.load (i32.const 0x1008)) (i32.load (i32.const 0x100c)))"""
    calls = tuple(f"state.{name}" for name in ("store", "load", "store-bytes", "load-bytes", "remove"))
    guest = Guest(code, calls, data={0: "key", 4: "kept"})
    # bytes that are no text are an error of load; a key of no bytes is one of store: the tenth code is invalid-argument
    assert answer(guest, state=((b"kept", b"value"),)) == "0 1 2 254 1 1 0 1 9 value"


def test_time_chance_and_timers() -> None:
    guest = Guest(
        """(call $number (call $clock.now)) (call $number (call $random.get-u64)) (call $int (call $random.get-u32))
        (call $timers.set (i64.const -1) (i32.const 0x1000)) (call $int (i32.load8_u (i32.const 0x1000)))
        (call $timers.set (i64.const 5) (i32.const 0x1000)) (call $int (i32.load (i32.const 0x1004)))
        (call $timers.cancel (i32.const 1) (i32.const 0x1000)) (call $int (i32.load8_u (i32.const 0x1000)))
        (call $timers.cancel (i32.const 0) (i32.const 0x1000)) (call $int (i32.load8_u (i32.const 0x1000)))""",
        ("clock.now", "random.get-u64", "random.get-u32", "timers.set", "timers.cancel"),
    )
    now, large, small, *rest = answer(guest).split()
    assert abs(int(now) / 1e6 - time.time()) < 60
    assert int(large) != int(small) < 1 << 32
    assert rest == ["1", "1", "0", "1"]


def test_a_sleeping_component_holds_no_thread() -> None:
    sleeper = Guest("(call $clock.sleep (i64.const 150000)) (call $int (i32.const 7))", ("clock.sleep",))
    with open_stage(threads=1) as stage:
        me = stage.host()
        seat(stage, sleeper, "sleeper")
        seat(stage, Guest(HANDS))
        began = time.monotonic()
        stage.send("sleeper")
        assert stage.ask(me, "guest")["content"] == "1"
        assert time.monotonic() - began < 0.15
        assert stage.receive(me)[0].as_dict()["content"] == "7"
        assert time.monotonic() - began >= 0.15


CALLER = Guest(
    """(call $tools.call-tool (i32.const 0) (i32.const 14) (i32.const 0x1000))
    (call $int (i32.load8_u (i32.const 0x1000)))
    (if (i32.load8_u (i32.const 0x1000))
      (then (call $int (i32.load8_u (i32.const 0x1004)))
            (call $text (i32.load (i32.const 0x1008)) (i32.load (i32.const 0x100c))))
      (else (call $text (i32.load (i32.const 0x1004)) (i32.load (i32.const 0x1008)))))""",
    ("tools.call-tool",),
    data={0: '{"tool":"sum"}'},
)


@pytest.mark.parametrize(
    ("result", "error", "content"),
    [
        (b"42", (), "0 42"),
        (b"", (), "0 "),
        ("Zoë".encode(), (), "0 Zoë"),
        (b"a\xff", (), "0 a?"),
        (b"", ("no such tool",), "1 11 no such tool"),
        (b"", ("it broke", "failed"), "1 12 it broke"),
        (b"", ("ä" * 300,), None),
    ],
)
def test_a_tool_call_waits_for_its_answer(result: bytes, error: tuple[Any, ...], content: str | None) -> None:
    with open_stage(threads=1) as stage, unharmed(stage) as me:
        port = seat(stage, CALLER)
        stage.send("guest", sender="visitor")
        call, (name, request, _) = stage.wait_for(native.EVENT_CALL, port)
        assert (name, request) == ("mcp_call", b'{"tool":"sum"}')
        stage.scheduler.complete_call(port, call, result, *error)
        got = str(stage.receive(me)[0].as_dict()["content"])
        assert got == content if content is not None else got.startswith("1 11 ")


# -- being cut off ---------------------------------------------------------------------------------------------------


POLLABLE = "(local.set $i (call $monotonic.subscribe-duration (i64.const 60000000000)))"
HERE = "(call $log.info (i32.const 0) (i32.const 0))"  # tells the test that the guest is there
FOREVER = f"{HERE} {SPIN} (unreachable)"
LOG = ("log.info",)
# where a call can be when it is cancelled
IN_FLIGHT = {
    "a tool's answer": CALLER,
    "sleep": Guest("(call $clock.sleep (i64.const 60000000))", ("clock.sleep",)),
    "block": Guest(
        POLLABLE + "(call $poll.pollable.block (local.get $i))",
        ("monotonic.subscribe-duration", "poll.[method]pollable.block"),
    ),
    "poll": Guest(
        POLLABLE
        + """(i32.store (i32.const 0) (local.get $i))
        (call $poll.poll (i32.const 0) (i32.const 1) (i32.const 0x1000))""",
        ("monotonic.subscribe-duration", "poll.poll"),
    ),
    "a loop": Guest(FOREVER, LOG),
    "its start": Guest(calls=LOG, exports={"init": FOREVER}),
    "its capabilities": Guest(calls=LOG, exports={"get-capabilities": FOREVER}),
    # the host asks for room to write to, for the message
    "its allocator": Guest(alloc=SPIN),
}
WAITS = ("a tool's answer", "sleep", "block", "poll")


def cancel(stage: Stage, ports: dict[int, str]) -> None:
    """Drop the agents as each is where its name says. A message that was not handled is the next instance's."""
    for port, where in ports.items():
        if where == "a tool's answer":
            stage.wait_for(native.EVENT_CALL, port)
        elif where in WAITS:
            stage.watch(lambda: stage.scheduler.statistics(port).state == "waiting")  # noqa: B023
        elif where == "its allocator":
            stage.wait_for(native.EVENT_STARTED, port)
            stage.watch(lambda: stage.scheduler.statistics(port).state in ("running", "queued"))  # noqa: B023
        else:
            stage.wait_for(native.EVENT_LOG, port)
        stage.scheduler.drop(port)
    for port in ports:
        assert stage.exit_of(port)[0] == native.EXIT_KILLED
    stage.events.clear()


@pytest.mark.parametrize("where", IN_FLIGHT)
def test_a_call_in_flight_is_cancelled(where: str) -> None:
    with open_stage(threads=1) as stage, unharmed(stage):
        port = stage.scheduler.open_port("guest")
        stage.send("guest")
        stage.start(port, build(IN_FLIGHT[where]), ready=False)
        cancel(stage, {port: where})


@pytest.mark.slow
def test_ten_thousand_calls_in_flight_are_cancelled() -> None:
    """An older libwasmtime panicked, and took the process with it. Agents of every kind above, all at once."""
    modules = {where: build(guest) for where, guest in IN_FLIGHT.items()}
    with open_stage(threads=2) as stage, unharmed(stage):
        waiting = {stage.scheduler.open_port(f"{where} {n}"): where for where in WAITS for n in range(10)}
        spinning = {stage.scheduler.open_port(where): where for where in modules if where not in WAITS}
        for port in (*waiting, *spinning):
            stage.send(stage.scheduler.name_of(port))
        cancelled = 0
        for round_ in range(248):
            ports = waiting | spinning if round_ % 10 == 0 else waiting  # they take their slices
            for port, where in ports.items():
                stage.start(port, modules[where], ready=False)
            cancel(stage, ports)
            cancelled += len(ports)
            if round_ == 50:
                before = resident()
        assert cancelled == 248 * 40 + 25 * 4 == 10_020
        assert stage.scheduler.totals()["agents"] == 1
        assert resident() - before < 4 * MIB  # what one call leaves behind, 8,000 times, must be below 512 bytes


# -- values are given back ------------------------------------------------------------------------------------------

POLLS = """(local.set $i (call $monotonic.subscribe-instant (i64.const 1))) (i32.store (i32.const 0) (local.get $i))
    (call $poll.poll (i32.const 0) (i32.const 1) (i32.const 0x1000)) (call $pollable.drop (local.get $i))"""
HANDED_OVER = {
    "an answer": Guest(HANDS),
    "an error": Guest(
        "(call $messaging.send (i32.const 0) (i32.const 2) (i32.const 0x1000))", ("messaging.send",), data={0: "{}"}
    ),
    "bytes": Guest(
        """(call $state.store-bytes (i32.const 0) (i32.const 3) (i32.const 8) (i32.const 20) (i32.const 0x1000))
        (call $state.load-bytes (i32.const 0) (i32.const 3) (i32.const 0x1000))""",
        ("state.store-bytes", "state.load-bytes"),
        data={0: "key"},
    ),
    "resources": Guest(POLLS, ("monotonic.subscribe-instant", "poll.poll"), ("pollable",)),
}


def resident() -> int:
    """Bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
@pytest.mark.parametrize("what", HANDED_OVER)
def test_what_is_handed_over_is_given_back(what: str) -> None:
    message = Envelope.make(performative="request", sender="me", receiver="instance", content=b'"%s"' % (b"x" * 400))
    instance = Instance(engine(), build(HANDED_OVER[what]), memory=MIB)
    instance.spawn()
    instance.time_turns(message, 2000)
    before = resident()
    instance.time_turns(message, 20_000)
    assert resident() - before < MIB  # the smallest value of a turn would be 2 MB by now


# -- what may be an agent --------------------------------------------------------------------------------------------


def refusal(wat: str) -> str:
    with pytest.raises(InvalidWasm) as caught:
        Component.compile(engine(), wat2wasm(wat))
    return f"{caught.value} {caught.value.hint}"


def test_a_component_without_the_guest_interface_is_refused() -> None:
    assert "does not export `caxton:agent/guest@1.0.0`" in refusal("(component)")
    program = """(component (core module $m (func (export "run") (result i32) (i32.const 0)))
      (core instance $i (instantiate $m)) (func $f (result (result)) (canon lift (core func $i "run")))
      (instance $r (export "run" (func $f))) (export "wasi:cli/run@0.2.0" (instance $r)))"""
    assert "a program with a main function" in refusal(program)


def test_a_function_with_other_types_is_refused_by_name() -> None:
    wat = text(Guest(calls=("clock.now",))).replace('"now" (func (result u64))', '"now" (func (result s64))')
    assert "imports `caxton:agent/clock@1.0.0#now` as () -> s64; it is () -> u64" in refusal(wat)
    wat = text(Guest()).replace("(result (result (option string) (error string)))", "(result string)")
    wat = wat.replace("(i32.const 0x7f00)) ", "(i32.const 0x7f08)) ")
    assert "exports `caxton:agent/guest@1.0.0#handle-message` as (string) -> string" in refusal(wat)


def test_what_lies_outside_is_named_and_traps() -> None:
    extra = """(import "wasi:sockets/tcp-create-socket@0.2.9" (instance $tcp (export "create" (func))))
      (import "other:thing/here" (instance (export "do" (func))))
      (import "wasi:clocks/monotonic-clock@0.2.9" (instance (export "tick" (func))))
      (core func $tcp.create (canon lower (func $tcp "create")))"""
    wat = text(Guest("(call $tcp.create)", extra=extra, drops=())).replace(
        '(with "h" (instance ))', '(with "h" (instance (export "create" (func $tcp.create))))'
    )
    wat = wat.replace('(import "m" "at"', '(import "h" "create" (func $tcp.create)) (import "m" "at"')
    component = Component.compile(engine(), wat2wasm(wat))
    assert component.outside == (
        "wasi:sockets/tcp-create-socket@0.2.9",
        "other:thing/here",
        "wasi:clocks/monotonic-clock@0.2.9#tick",
    )
    with open_stage(threads=1) as stage, unharmed(stage):
        port = stage.seat("guest", component)
        stage.send("guest")
        code, reason = stage.exit_of(port)
        assert code == native.EXIT_TRAP
        assert "wasi:sockets/tcp-create-socket@0.2.9" in reason


def test_the_tables_agree() -> None:
    listed = {f"caxton:agent/{name}#{f}" for name, functions in wasm_component.AGENT.items() for f in functions}
    assert set(component_calls.FUNCTIONS) == listed
    listed = {f"wasi:{name}#{f}" for name, functions in wasm_component.WASI.items() for f in functions}
    assert set(wasi2.FUNCTIONS) == listed
    wit = (Path(__file__).parents[2] / "wit/agent.wit").read_text()
    for functions in (*wasm_component.AGENT.values(), wasm_component.EXPORTS):
        assert all(f" {name}: func(" in wit for name in functions)
    assert [code for code in wasm_component.CODES if f"        {code}," not in wit] == []
