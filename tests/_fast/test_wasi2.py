"""WASI 0.2 for components: what there is does what it says, and there are no files, sockets or processes.

docs/security.md names this file: CONFORMS is what an agent is given, every function at least once, DENIED what ends an
instance, and OUTSIDE (wasi_outside.py) what no agent has.
"""

import re
import time
from pathlib import Path

import pytest

from caxton._fast import scheduler as native
from caxton._fast.wasm.component import Component
from caxton._fast.wasm.module import wat2wasm
from caxton.core.wasm_component import WASI
from tests._fast.components import CORE, DECLARED, MIB, Guest, build, engine
from tests._fast.scheduling import open_stage, unharmed
from tests._fast.wasi_outside import OUTSIDE, OUTSIDE_FUNCTIONS, calling, plain

OUT = "i32.const 0x1000"
BYTE, WORD, LONG = "i32.load8_u", "i32.load", "i64.load"
RANDOM = "chance.get-random-bytes"
WRITE = "streams.[method]output-stream.blocking-write-and-flush"
READ = "streams.[method]input-stream.read"


def at(load: str, offset: int) -> str:
    put = "number" if load == LONG else "int"
    return f"(call ${put} ({load} (i32.const {0x1000 + offset})))"


def write(text: str, where: int, call: str = "blocking-write-and-flush") -> str:
    return (
        f"(call $streams.output-stream.{call} (local.get $i) (i32.const {where}) (i32.const {len(text)}) ({OUT}))"
        f"{at(BYTE, 0)}"
    )


DURATION = "(local.set $i (call $monotonic.subscribe-duration (i64.const {})))"
INSTANT = "(local.set $i (call $monotonic.subscribe-instant (i64.const 1)))"
READY = "(call $int (call $poll.pollable.ready (local.get $i)))"
BLOCK = "(call $poll.pollable.block (local.get $i))"
POLLABLES = ("poll.[method]pollable.ready", "poll.[method]pollable.block", "poll.poll")
TIMES = ("monotonic.now", "monotonic.resolution", "monotonic.subscribe-instant", "monotonic.subscribe-duration")
CLOCK = (*POLLABLES, *TIMES)
OUTPUT = (
    *tuple(name for name in CORE if name.startswith("streams.[method]output")),
    "stdout.get-stdout",
    "stderr.get-stderr",
)
INPUT = (*tuple(name for name in CORE if name.startswith("streams.[method]input")), "stdin.get-stdin", *POLLABLES)

# name -> (what the guest does, the functions that it calls, its answer)
CONFORMS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "a past instant is ready": (INSTANT + READY, CLOCK, "1"),
    "a duration is ready when it is over, not before": (
        DURATION.format(10_000_000) + READY + BLOCK + READY,
        CLOCK,
        "0 1",
    ),
    "no duration is over at once": (DURATION.format(0) + READY + BLOCK + READY, CLOCK, "1 1"),
    "for ever is not over": (DURATION.format(-1) + READY, CLOCK, "0"),
    "poll tells who is due": (
        DURATION.format("60000000000")
        + "(i32.store (i32.const 0) (local.get $i))"
        + DURATION.format("5000000")
        + "(i32.store (i32.const 4) (local.get $i))"
        + INSTANT
        + "(i32.store (i32.const 8) (local.get $i))"
        + f"(call $poll.poll (i32.const 0) (i32.const 2) ({OUT})) {at(WORD, 4)}"
        f"(call $int (i32.load (i32.load ({OUT}))))"
        f"(call $poll.poll (i32.const 0) (i32.const 3) ({OUT})) {at(WORD, 4)}"
        f"(call $int (i32.load offset=4 (i32.load ({OUT}))))",
        CLOCK,
        "1 1 2 2",
    ),
    "a dropped pollable makes room for others": (
        "(loop $more"
        + DURATION.format(1)
        + """(call $pollable.drop (local.get $i))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $j) (i32.const 5000)))) (call $int (local.get $j))""",
        CLOCK,
        "5000",
    ),
    "the monotonic clock goes on": (
        "(local.set $t (call $monotonic.now))"
        + DURATION.format(2_000_000)
        + BLOCK
        + "(call $int (i64.ge_u (call $monotonic.now) (i64.add (local.get $t) (i64.const 2000000))))"
        "(call $number (call $monotonic.resolution))",
        CLOCK,
        "1 1",
    ),
    "the wall clock's resolution is a microsecond": (
        f"(call $wall.resolution ({OUT})) {at(LONG, 0)} {at(WORD, 8)}",
        ("wall.resolution",),
        "0 1000",
    ),
    "random bytes come as many as are asked for": (
        f"(call $chance.get-random-bytes (i64.const 300) ({OUT})) {at(WORD, 4)}"
        f"(call $chance.get-random-bytes (i64.const 0) ({OUT})) {at(WORD, 4)}",
        (RANDOM,),
        "300 0",
    ),
    "so do insecure ones": (
        f"""(call $insecure.get-insecure-random-bytes (i64.const 16) ({OUT})) {at(WORD, 4)}
        (local.set $i (i32.load ({OUT})))
        (call $int (i64.ne (i64.load (local.get $i)) (i64.load offset=8 (local.get $i))))
        (call $int (i64.ne (call $insecure.get-insecure-random-u64) (call $insecure.get-insecure-random-u64)))""",
        ("insecure.get-insecure-random-bytes", "insecure.get-insecure-random-u64"),
        "16 1 1",
    ),
    "random numbers differ": (
        """(call $int (i64.ne (call $chance.get-random-u64) (call $chance.get-random-u64)))
        (call $seed.insecure-seed (i32.const 0x1000)) (call $seed.insecure-seed (i32.const 0x1010))
        (call $int (i64.ne (i64.load (i32.const 0x1000)) (i64.load (i32.const 0x1010))))""",
        ("chance.get-random-u64", "seed.insecure-seed"),
        "1 1",
    ),
    "the environment is the configuration's": (
        f"""(call $environment.get-environment ({OUT})) {at(WORD, 4)} (local.set $i (i32.load ({OUT})))
        (call $text (i32.load (local.get $i)) (i32.load offset=4 (local.get $i)))
        (call $text (i32.load offset=8 (local.get $i)) (i32.load offset=12 (local.get $i)))
        (call $int (i32.load offset=28 (local.get $i)))""",
        ("environment.get-environment",),
        "2 LEVEL a=b 0",
    ),
    "the argument is the agent's name": (
        f"""(call $environment.get-arguments ({OUT})) {at(WORD, 4)} (local.set $i (i32.load ({OUT})))
        (call $text (i32.load (local.get $i)) (i32.load offset=4 (local.get $i)))""",
        ("environment.get-arguments",),
        "1 guest",
    ),
    "it is nowhere": (f"(call $environment.initial-cwd ({OUT})) {at(BYTE, 0)}", ("environment.initial-cwd",), "0"),
    "there is no terminal": (
        "".join(
            f"(call $terminal-{name}.get-terminal-{name} ({OUT})) {at(BYTE, 0)}"
            for name in ("stdin", "stdout", "stderr")
        ),
        tuple(f"terminal-{name}.get-terminal-{name}" for name in ("stdin", "stdout", "stderr")),
        "0 0 0",
    ),
    "the standard input is closed": (
        f"""(local.set $i (call $stdin.get-stdin))
        (call $streams.input-stream.read (local.get $i) (i64.const 10) ({OUT})) {at(BYTE, 0)} {at(BYTE, 4)}
        (call $streams.input-stream.blocking-read (local.get $i) (i64.const -1) ({OUT})) {at(BYTE, 0)} {at(BYTE, 4)}
        (call $streams.input-stream.skip (local.get $i) (i64.const -1) ({OUT})) {at(BYTE, 0)} {at(BYTE, 8)}
        (call $streams.input-stream.blocking-skip (local.get $i) (i64.const 10) ({OUT})) {at(BYTE, 0)} {at(BYTE, 8)}
        (local.set $i (call $streams.input-stream.subscribe (local.get $i)))"""
        + READY
        + BLOCK,
        INPUT,
        "1 1 1 1 1 1 1 1 1",
    ),
    "output may be written, 4096 bytes at a time": (
        f"""(local.set $i (call $stdout.get-stdout))
        (call $streams.output-stream.check-write (local.get $i) ({OUT})) {at(BYTE, 0)} {at(LONG, 8)}"""
        + write("x" * 4096, 0x2000, "write")
        + f"""(call $streams.output-stream.flush (local.get $i) ({OUT})) {at(BYTE, 0)}
        (call $streams.output-stream.blocking-flush (local.get $i) ({OUT})) {at(BYTE, 0)}
        (call $streams.output-stream.write-zeroes (local.get $i) (i64.const 3) ({OUT})) {at(BYTE, 0)}
        (call $streams.output-stream.blocking-write-zeroes-and-flush (local.get $i) (i64.const 3) ({OUT})) {at(BYTE, 0)}
        (local.set $i (call $streams.output-stream.subscribe (local.get $i)))"""
        + READY,
        (*OUTPUT, *POLLABLES),
        "0 4096 0 0 0 0 0 1",
    ),
    "the wall clock goes on, too": (
        f"(call $wall.now ({OUT})) (call $int (i64.gt_u ({LONG} ({OUT})) (i64.const 1700000000)))"
        f"(call $int (i32.lt_u ({WORD} offset=8 ({OUT})) (i32.const 1000000000)))",
        ("wall.now",),
        "1 1",
    ),
    "the standard error is a stream like the other": (
        "(local.set $i (call $stderr.get-stderr))" + write("", 0),
        OUTPUT,
        "0",
    ),
    "no folder is open": (
        f"(call $preopens.get-directories ({OUT})) {at(WORD, 4)}",
        ("preopens.get-directories",),
        "0",
    ),
}

# name -> (what the guest does, the functions that it calls, a part of why it ended)
DENIED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "exit ends the instance": ("(call $exit.exit (i32.const 0))", ("exit.exit",), "called exit"),
    "too much is written at once": (
        "(local.set $i (call $stdout.get-stdout))" + write("x" * 4097, 0x2000),
        OUTPUT,
        "check-write permits",
    ),
    "too many zeroes are written": (
        "(local.set $i (call $stdout.get-stdout))"
        f"(call $streams.output-stream.write-zeroes (local.get $i) (i64.const -1) ({OUT}))",
        OUTPUT,
        "check-write permits",
    ),
    "too many random bytes": (
        f"(call $chance.get-random-bytes (i64.const -1) ({OUT}))",
        (RANDOM,),
        "65536 random bytes",
    ),
    "too many pollables": (f"(loop $more {DURATION.format(1)} (br $more))", CLOCK, "too many pollables"),
    "poll of nothing": (f"(call $poll.poll (i32.const 0) (i32.const 0) ({OUT}))", CLOCK, "1 to 1024 pollables"),
    "a pollable that was dropped": (
        DURATION.format(1) + "(call $pollable.drop (local.get $i))" + BLOCK,
        CLOCK,
        "unknown handle",
    ),
    "a pollable that never was": ("(call $poll.pollable.block (i32.const 77))", CLOCK, "unknown handle"),
    "a stream that is none": (write("x", 0), OUTPUT, "unknown handle"),
    "an error that never was": (
        f"(call $errors.error.to-debug-string (i32.const 5) ({OUT}))",
        ("errors.[method]error.to-debug-string",),
        "unknown handle",
    ),
    "a file": ("(call $files.descriptor.sync (i32.const 3))", ("files.[method]descriptor.sync",), "unknown handle"),
}


@pytest.mark.parametrize("name", CONFORMS)
def test_wasi_conforms(name: str) -> None:
    body, calls, expected = CONFORMS[name]
    drops = ("pollable",) if "$pollable.drop" in body else ()
    with open_stage(threads=1) as stage:
        me = stage.host()
        environment = ((b"LEVEL", b"a=b"), (b"EMPTY", b""))
        stage.seat("guest", build(Guest(body, calls, drops)), memory=MIB, environment=environment)
        assert stage.ask(me, "guest")["content"] == expected


@pytest.mark.parametrize("name", DENIED)
def test_wasi_denies(name: str) -> None:
    body, calls, said = DENIED[name]
    drops = ("pollable",) if "$pollable.drop" in body else ()
    with open_stage(threads=1) as stage, unharmed(stage):
        port = stage.seat("guest", build(Guest(body, calls, drops)), memory=MIB)
        stage.send("guest")
        code, reason = stage.exit_of(port)
        assert code == native.EXIT_TRAP
        assert said in reason


@pytest.mark.parametrize(
    ("interface", "function"), [(name, function) for name, functions in OUTSIDE.items() for function in functions]
)
def test_what_no_agent_has_is_named_and_traps(interface: str, function: str) -> None:
    component = Component.compile(engine(), wat2wasm(calling(interface, function)))
    assert component.outside == (interface,)
    assert interface in end_of(component)


@pytest.mark.parametrize(
    ("interface", "function"),
    [(name, function) for name, functions in OUTSIDE_FUNCTIONS.items() for function in functions],
)
def test_a_function_that_an_interface_does_not_have_here_is_named_and_traps(interface: str, function: str) -> None:
    component = Component.compile(engine(), wat2wasm(calling(interface, function)))
    assert component.outside == (f"{interface}#{plain(function)}",)
    assert interface in end_of(component)


def end_of(component: Component) -> str:
    with open_stage(threads=1) as stage, unharmed(stage):
        port = stage.seat("guest", component)
        stage.send("guest")
        code, reason = stage.exit_of(port)
        assert code == native.EXIT_TRAP
        return reason


def test_the_tables_have_every_function_and_the_page_every_interface() -> None:
    interfaces = {}
    for declaration in DECLARED.values():
        found = re.findall(r'"wasi:(\S+)@0.2.9" \(instance \$(\S+)', declaration)
        interfaces |= {name: interface for interface, name in found}
    called = {
        (interfaces[name.partition(".")[0]], name.partition(".")[2])
        for body, *_ in (*CONFORMS.values(), *DENIED.values())
        for name in CORE
        if f"(call ${name.replace('[method]', '')} " in body or f"(call ${name.replace('[method]', '')})" in body
        if name.partition(".")[0] in interfaces
    }
    assert {(name, function) for name, functions in WASI.items() for function in functions} - called == set()
    page = (Path(__file__).parents[2] / "docs/security.md").read_text()
    for interface in (*(f"wasi:{name}@" for name in WASI), *OUTSIDE, *OUTSIDE_FUNCTIONS):
        if interface.partition("@")[2] in ("", "0.2.9"):
            assert f"`{interface.partition(':')[2].partition('@')[0]}`" in page, interface


def test_output_is_the_agents_log_line_by_line() -> None:
    lines = "one\ntwo\nth", "ree\n", "on stderr\n"
    body = (
        "(local.set $i (call $stdout.get-stdout))"
        + write(lines[0], 0)
        + write(lines[1], 32)
        + "(local.set $i (call $stderr.get-stderr))"
        + write(lines[2], 64)
    )
    guest = Guest(body, OUTPUT, data={0: lines[0], 32: lines[1], 64: lines[2]})
    with open_stage(threads=1) as stage:
        me = stage.host()
        port = stage.seat("guest", build(guest), memory=MIB)
        stage.ask(me, "guest")
        assert stage.lines(port) == ["one", "two", "three", "on stderr"]
        assert [stream for stream, _ in stage.of(native.EVENT_LOG, port)] == [1, 1, 1, 2]


def test_the_wall_clock_tells_the_time() -> None:
    body = f"(call $wall.now ({OUT})) {at(LONG, 0)} {at(WORD, 8)}"
    with open_stage(threads=1) as stage:
        me = stage.host()
        stage.seat("guest", build(Guest(body, ("wall.now",))), memory=MIB)
        seconds, nanoseconds = map(int, str(stage.ask(me, "guest")["content"]).split())
    assert abs(seconds + nanoseconds / 1e9 - time.time()) < 60
    assert nanoseconds < 1_000_000_000


def test_a_component_that_polls_holds_no_thread() -> None:
    poller = Guest(DURATION.format("150000000") + BLOCK + "(call $int (i32.const 7))", CLOCK)
    with open_stage(threads=1) as stage:
        me = stage.host()
        stage.seat("poller", build(poller), memory=MIB)
        stage.seat("guest", build(Guest("(call $int (i32.const 1))")), memory=MIB)
        began = time.monotonic()
        stage.send("poller")
        assert stage.ask(me, "guest")["content"] == "1"
        assert time.monotonic() - began < 0.15
        assert stage.receive(me)[0].as_dict()["content"] == "7"
        assert time.monotonic() - began >= 0.15
