"""The binary seeds of the two targets that are about components; seeds.py writes them."""

import struct

from caxton._fast.wasm.module import wat2wasm
from tests._fast.components import Guest, text
from tests._fast.wasi_outside import OUTSIDE, calling
from tests.fuzz.abi_pointers import HEAD
from tests.fuzz.component_calls import CALLS, CORE, NUMBERS

TEXT, OTHER = 0x40, 0x80  # where scripts put what a call reads
END = 0x40000
EDGES = [(END, 0), (END - 1, 1), (END - 1, 2), (0, END + 1), (0, 0xFFFFFFFF), (1 << 31, 1 << 31)]
WIDE = {"clock.sleep", "timers.set"}  # the first operand is an i64


def number(value: int) -> bytes:
    if 0 <= value < 0xC0:
        return bytes([value])
    return b"\xff" + struct.pack("<I", value & 0xFFFFFFFF)


def long(value: int) -> bytes:
    return struct.pack("<b", value) if -1 < value < 128 else b"\xff" + number(value) + number(value >> 32)


def step(name: str, *operands: int, result: int | None = None) -> bytes:
    """A call or a step; operands are written as its parameters are."""
    kinds = CORE[name].partition("->")[0].split() if name in CORE else ["i32"] * len(operands)
    written = b"".join((long if kind == "i64" else number)(each) for kind, each in zip(kinds, operands, strict=False))
    if result is None:
        return bytes([NUMBERS[name]]) + written + (b"\0" if name in CORE and len(kinds) > len(operands) else b"")
    return bytes([NUMBERS[name] | 0x80]) + written + number(result)


def write(at: int, data: bytes) -> bytes:
    return b"".join(step("poke byte", at + place, byte) for place, byte in enumerate(data))


def script(*steps: bytes, encoding: int = 0, answers: int = 0) -> bytes:
    return HEAD.pack(encoding, answers, 5) + b"".join(steps)


def components() -> dict[str, bytes]:
    """Scripts: each function once as it should be, and then not."""
    message = b'{"performative":"inform","receiver":"client"}'
    key = write(TEXT, b"key")
    found = {
        "send": script(write(TEXT, message), step("messaging.send", TEXT, len(message))),
        "send-utf16": script(step("messaging.send", TEXT, 8), encoding=1),
        "send-latin1": script(step("messaging.send", TEXT, 1 << 31 | 4), encoding=2),
        "broadcast": script(write(TEXT, b"{}"), step("messaging.broadcast", TEXT, 2, TEXT, 2)),
        "subscribe": script(write(TEXT, b'{"topics":["a"]}'), step("messaging.subscribe", TEXT, 16)),
        "log": script(key, step("log.info", TEXT, 3), step("log.error", TEXT, 200)),
        "state": script(
            key,
            step("state.store", TEXT, 3, TEXT, 3),
            step("state.load", TEXT, 3),
            step("state.store-bytes", TEXT, 3, 0, 0x90),
            step("state.load", TEXT, 3),
            step("state.load-bytes", TEXT, 3),
            step("state.remove", TEXT, 3),
        ),
        "tools": script(key, step("tools.call-tool", TEXT, 3), step("tools.memory-search", TEXT, 3), answers=2),
        "tools-fail": script(key, step("tools.call-tool", TEXT, 3, result=0x1800), answers=4),
        "time": script(
            *(step(name) for name in ("clock.now", "random.get-u32", "random.get-u64", "monotonic.now", "wall.now")),
            step("clock.sleep", 50),
            step("timers.set", 5),
            step("timers.cancel", 5),
        ),
        "poll": script(
            step("monotonic.subscribe-duration", 50),
            step("monotonic.subscribe-instant", 1),
            step("poke", TEXT, 1),
            step("poke", TEXT + 4, 2),
            step("poll.poll", TEXT, 2),
            step("poll.[method]pollable.block", 1),
            step("poll.[method]pollable.ready", 2),
            step("pollable.drop", 1),
            step("poll.poll", TEXT, 2),
        ),
        "streams": script(
            *(step(name) for name in ("stdin.get-stdin", "stdout.get-stdout", "stderr.get-stderr")),
            *(step(name, 1, 5) for name in CALLS if "input-stream" in name and "subscribe" not in name),
            *(step(f"streams.[method]output-stream.{name}", 2) for name in ("check-write", "flush", "blocking-flush")),
            key,
            step("streams.[method]output-stream.write", 2, TEXT, 3),
            step("streams.[method]output-stream.blocking-write-and-flush", 3, TEXT, 0x90),
            step("streams.[method]output-stream.subscribe", 2),
            step("poll.[method]pollable.block", 4),
            step("output.drop", 2),
            step("output.drop", 2),
        ),
        "surroundings": script(
            *(step(name) for name in CALLS if name.startswith(("environment", "terminal-std", "preopens", "seed")))
        ),
        "random": script(step("chance.get-random-bytes", 100), step("insecure.get-insecure-random-bytes", 0xFFFF)),
        "allocator": script(key, step("lie", 0x3FFF0), step("environment.get-environment"), step("lie", 0xFFFFFFF0)),
        "trap": script(step("grow", 1), step("fill", 0, 255, 0x1000), step("trap")),
    }
    for name, which in {"edges": (0, None), "results": (TEXT, END - 3)}.items():
        calls = [name for name in CALLS if CORE[name].startswith("i32 i32")]
        for place, (at, length) in enumerate(EDGES):
            steps = [step(call, *((at, length) if which[0] == 0 else (0, 1)), result=which[1]) for call in calls]
            found[f"{name}-{place}"] = script(*steps[place::6], answers=2)
    return found


def binaries() -> dict[str, bytes]:
    """Small components: what may be an agent, and what may not."""
    wats = {
        "empty": "(component)",
        "module": "(component (core module (memory 1)))",
        "nested": "(component (component (component (core module (memory 2)))))",
        "guest": text(Guest()),
        "life": text(Guest(exports={"init": "(call $status (i32.const 0))", "shutdown": ""})),
        "clock": text(Guest(calls=("clock.now", "monotonic.now"))),
        "state": text(Guest(calls=("state.load-bytes", "messaging.send"))),
        "streams": text(Guest(calls=("stdout.get-stdout",), drops=("output",))),
        "files": text(Guest(calls=("preopens.get-directories",))),
        "functions": text(Guest(extra='(import "a" (func)) (import "b" (func (param "x" string)))')),
        "instance": text(Guest(extra='(import "a:b/c@1.0.0" (instance (export "f" (func (result (list u8))))))')),
        "types": text(
            Guest(
                extra="""(import "a:b/c" (instance
                  (type $r (record (field "a" (tuple u8 char)) (field "b" (option float64))))
                  (type $v (variant (case "x" (list $r)) (case "y"))) (type $g (flags "p" "q")) (type $e (enum "m" "n"))
                  (export "r" (type $r2 (eq $r))) (export "v" (type (eq $v))) (export "t" (type $t (sub resource)))
                  (export "g" (type $g2 (eq $g))) (export "e" (type $e2 (eq $e)))
                  (export "f" (func (param "a" $r2) (param "b" (own $t)) (result (result $g2 (error $e2)))))))"""
            )
        ),
        **{
            f"outside-{number}": calling(name, functions[0]) for number, (name, functions) in enumerate(OUTSIDE.items())
        },
    }
    return {name: wat2wasm(wat) for name, wat in wats.items()}
