"""A component that lies as the bytes say: every host function with any values, lengths, handles and places of results.

Rule 1: whatever the guest does, the process goes on, and the next instance behind its address answers the next message.

The host and the head of an input are abi_pointers': the first byte says how strings are encoded, the second how slow
calls are answered; the script is in the guest's state. Its steps are numbered as STEPS and then CALLS have them. With
the highest bit a call's result goes where the script says, else to 0x1000. A number is a byte; 0xC0 to 0xDF are places
in what the test may write, 0xE0 to 0xFE near the end of the memory, and 0xFF is followed by the whole number.
"""

from functools import cache

from caxton._fast.wasm.component import Component
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
from tests._fast.components import CORE, Guest, text
from tests.fuzz import abi_pointers
from tests.fuzz.abi_pointers import HEAD, ROOM

ENCODINGS = ("utf8", "utf16", "latin1+utf16")
LIE = 0x7F80  # what the allocator gives, unless it is 0
RESULT = 0x1000
STEPS = {
    "end": "(br $done)",
    "trap": "(unreachable)",
    "grow": "(drop (memory.grow (call $byte)))",
    "fill": "(memory.fill (call $word) (call $byte) (call $word))",
    "poke": "(i32.store (call $word) (call $word))",
    "poke byte": "(i32.store8 (call $word) (call $byte))",
    "lie": f"(i32.store (i32.const {LIE}) (call $word))",
    "pollable.drop": "(call $pollable.drop (call $byte))",
    "output.drop": "(call $output.drop (call $byte))",
}
CALLS = tuple(name for name in CORE if name != "exit.exit")
NUMBERS = {name: number for number, name in enumerate([*STEPS, *CALLS])}
READ = """
    (global $script (mut i32) (i32.const 0)) (global $end (mut i32) (i32.const 0))
    (func $byte (result i32)
      (if (i32.ge_u (global.get $script) (global.get $end)) (then (return (i32.const 0))))
      (global.set $script (i32.add (global.get $script) (i32.const 1)))
      (i32.load8_u (i32.sub (global.get $script) (i32.const 1))))
    (func $word (result i32) (local $b i32)
      (local.set $b (call $byte))
      (if (i32.lt_u (local.get $b) (i32.const 0xc0)) (then (return (local.get $b))))
      (if (i32.lt_u (local.get $b) (i32.const 0xe0)) (then
        (return (i32.add (i32.const 0x1000) (i32.shl (i32.and (local.get $b) (i32.const 31)) (i32.const 3))))))
      (if (i32.lt_u (local.get $b) (i32.const 0xff)) (then
        (return (i32.sub (i32.const 0x4000f) (i32.and (local.get $b) (i32.const 31))))))
      (i32.or (i32.or (call $byte) (i32.shl (call $byte) (i32.const 8)))
        (i32.or (i32.shl (call $byte) (i32.const 16)) (i32.shl (call $byte) (i32.const 24)))))
    (func $long (result i64) (local $b i32)
      (local.set $b (call $byte))
      (if (i32.ne (local.get $b) (i32.const 0xff)) (then (return (i64.extend8_s (i64.extend_i32_u (local.get $b))))))
      (i64.or (i64.extend_i32_u (call $word)) (i64.shl (i64.extend_i32_u (call $word)) (i64.const 32))))"""


def _call(name: str) -> str:
    params, _, results = CORE[name].partition("->")
    kinds = params.split()
    operands = ["(call $word)" if kind == "i32" else "(call $long)" for kind in kinds]
    if name == "clock.sleep":
        operands = ["(i64.rem_u (call $long) (i64.const 2000))"]
    elif operands and kinds[-1] == "i32" and not results and len(kinds) > 1:
        operands[-1] = f"(select (call $word) (i32.const {RESULT}) (local.get $j))"
    call = f"(call ${name.replace('[method]', '')} {' '.join(operands)})"
    return f"(drop {call})" if results.strip() else call


@cache
def _binary(encoding: str) -> bytes:
    cases = "".join(
        f"(if (i32.eq (local.get $i) (i32.const {NUMBERS[name]})) (then {code} (br $next)))"
        for name, code in (STEPS | {name: _call(name) for name in CALLS}).items()
    )
    body = f"""(i32.store (i32.const {LIE}) (i32.const 0))
      (call $state.load-bytes (i32.const 0) (i32.const 1) (i32.const {RESULT}))
      (global.set $script (i32.load (i32.const {RESULT + 8})))
      (global.set $end (i32.add (global.get $script) (i32.load (i32.const {RESULT + 12}))))
      (block $done (loop $next
        (br_if $done (i32.ge_u (global.get $script) (global.get $end)))
        (local.set $i (call $byte))
        (local.set $j (i32.and (local.get $i) (i32.const 128)))
        (local.set $i (i32.and (local.get $i) (i32.const 127)))
        {cases}
        (br $next)))"""
    lie = f"(if (i32.load (i32.const {LIE})) (then (return (i32.load (i32.const {LIE})))))"
    wat = text(Guest(body, CALLS, ("pollable", "output"), core=READ, alloc=lie))
    exports = wat.index("(core module $main")  # the guest's own strings stay as they are
    return wat2wasm(wat[:exports].replace("string-encoding=utf8", f"string-encoding={encoding}") + wat[exports:])


class Host(abi_pointers.Host):
    def __init__(self) -> None:
        super().__init__(pooling=True)
        self.components = Engine(components=True, pool_slots=8, max_memory=1 << 20)

    def module(self, kind: int) -> Module:
        if kind not in self.modules:
            self.modules[kind] = Component.compile(self.components, _binary(ENCODINGS[kind]))
        return self.modules[kind]


HOSTS: dict[str, Host] = {}


def one_input(data: bytes | memoryview) -> None:
    raw = bytes(data)
    kind, answers, bits = HEAD.unpack(raw[: HEAD.size].ljust(HEAD.size, b"\0"))
    if not HOSTS:
        HOSTS["the only one"] = Host()
    HOSTS["the only one"].run(kind % len(ENCODINGS), answers, bits, raw[HEAD.size : HEAD.size + ROOM])
