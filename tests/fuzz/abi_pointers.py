"""A guest that lies as the bytes say: every import with any pointers and lengths, any answer that the host asks for.

Rule 1: a pair of pointer and length outside the guest's memory is the error for it, a pair inside is not.
Rule 2: the host writes into the buffer that it was given and not beside it.
Rule 3: whatever the guest does, the next instance behind its address answers the next message.

The guest itself, tests/guests/fuzzed.wat, looks after the first two: there the memory is at hand. The first byte of the
input says what kind of guest it is, the second how slow calls are answered, four are operands for a guest without
memory; the rest is its script, which it finds in its state.
"""

import struct
from functools import cache
from typing import Any

from caxton._fast import scheduler as native
from caxton._fast.envelope import Envelope
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.core.wasm_abi import CAXTON, WASI, WASI_MODULE
from tests._fast.scheduling import GUESTS, Stage

IMPORTS = {name: ("caxton", found) for name, found in CAXTON.items()} | {
    name: (WASI_MODULE, found) for name, found in WASI.items()
}
SCRIPT, ROOM = 0x400, 0x2000
HEAD = struct.Struct("<BBI")
MEMORY = 4 << 16
TIMEOUT_NS = 10_000_000
POINTER = -100
# the buffers that functions write into: the places of pointer and length among their operands
BUFFERS = {"load_data": "cd", "mcp_call": "cd", "memory_search": "cd", "last_error": "ab", "random_get": "ab"}
ANSWERS = (b"", b"[1]", b"x" * 64, b"x" * 5000)
ENVIRONMENT = [(b"NAME", b"value"), (b"EMPTY", b""), (b"LONG", b"x" * 300)]
TOKEN = "#0123456789abcdef"
NEVER = 0xFF
WRONG = "in `wrong`"  # the function of the guest that the trap names

# steps that are no calls
STEPS = {
    "end": "(return (i32.const 0))",
    "refuse": "(return (i32.const 1))",
    "trap": "(unreachable)",
    "grow": "(drop (memory.grow (call $byte)))",
    "fill": "(memory.fill (call $int) (call $byte) (call $int))",
    "copy": "(memory.copy (call $int) (call $int) (call $int))",
    "poke": "(i64.store (call $int) (call $number))",
    "alloc": "(global.set $alloc (call $int))",
    "capabilities": "(global.set $capabilities (call $int))",
    "response": "(global.set $response (call $int))",
    "reply": "(global.set $reply (i64.or (i64.shl (i64.extend_i32_u (call $int)) (i64.const 32))"
    " (i64.extend_i32_u (call $int))))",
}
NUMBERS = {name: number for number, name in enumerate([*STEPS, *IMPORTS])}


def _import(name: str) -> str:
    module, signature = IMPORTS[name]
    types = [f"(param {kind})" for kind in signature.params] + [f"(result {kind})" for kind in signature.results]
    return f'(import "{module}" "{name}" (func ${name} {" ".join(types)}))'


def _call(name: str) -> str:
    """Take the operands, call, look at the result and beside the buffer."""
    module, signature = IMPORTS[name]
    if "i64" in signature.params:
        operands = ["(call $int)" if kind == "i32" else "(call $number)" for kind in signature.params]
        if name == "sleep_micros":
            operands = ["(i64.rem_s (call $number) (i64.const 2000))"]
        call = f"(call ${name} {' '.join(operands)})"
        return f"(drop {call})" if signature.results else call
    letters = "abcd"[: len(signature.params)]
    lines = [f"(global.set ${letter} (call $int))" for letter in letters]
    call = f"(call ${name} {' '.join(f'(global.get ${letter})' for letter in letters)})"
    around = ""
    if name in BUFFERS:
        around = f"(call $around {' '.join(f'(global.get ${letter})' for letter in BUFFERS[name])})"
        lines.append(f"(global.set $before {around})")
    if module == "caxton" and signature.results == ("i32",) and len(letters) in (2, 4):
        pairs = [
            f"(call $inside (global.get ${p}) (global.get ${n}))" for p, n in zip(*[iter(letters)] * 2, strict=True)
        ]
        inside = pairs[0] if len(pairs) == 1 else f"(i32.and {' '.join(pairs)})"
        lines.append(f"(if (i32.eq (i32.eq {call} (i32.const {POINTER})) {inside}) (then (call $wrong)))")
    else:
        lines.append(f"(drop {call})" if signature.results else call)
    if around:
        lines.append(f"(if (i64.ne (global.get $before) {around}) (then (call $wrong)))")
    return " ".join(lines)


def _exports(*, allocates: bool, packed: bool, capable: bool) -> str:
    exports = []
    if allocates:
        exports.append('(func (export "caxton_alloc") (param i32) (result i32) (global.get $alloc))')
    if capable:
        exports.append('(func (export "get_capabilities") (param i32 i32) (result i32) (global.get $capabilities))')
    if packed:
        exports.append(
            '(func (export "handle_message") (param i32 i32) (result i64) (drop (call $run)) (global.get $reply))'
        )
    else:
        exports.append('(func (export "handle_message") (param i32 i32) (result i32) (call $run))')
        exports.append('(func (export "get_response") (param i32 i32) (result i32) (global.get $response))')
    return "\n".join(exports)


@cache
def _binary(kind: int) -> bytes:
    cases = [
        f"(if (i32.eq (local.get $op) (i32.const {NUMBERS[name]})) (then {body} (br $next)))"
        for name, body in (STEPS | {name: _call(name) for name in IMPORTS}).items()
    ]
    values = {
        "IMPORTS": "\n".join(map(_import, IMPORTS)),
        "CASES": "\n".join(cases),
        "SWEEP": "\n".join(_call(name) for name in IMPORTS if name != "proc_exit"),
        "EXPORTS": _exports(allocates=bool(kind & 4), packed=bool(kind & 8), capable=bool(kind & 16)),
        "PAGES": str(kind & 3),
        "SCRIPT": str(SCRIPT),
        "ROOM": str(ROOM),
    }
    text = (GUESTS / "fuzzed.wat").read_text()
    for name, value in values.items():
        text = text.replace(f"$({name})", value)
    return wat2wasm(text)


# -- the host --------------------------------------------------------------------------------------------------------


class Host:
    """One scheduler for all inputs. A guest is seated, spoken to, and gone before the next comes."""

    def __init__(self, *, pooling: bool) -> None:
        self.engine = Engine(pool_slots=8, max_memory=1 << 20, pooling=pooling)
        self.stage = Stage(threads=1, on=self.engine, history_messages=100, history_bytes=1 << 20)
        self.scheduler = self.stage.scheduler
        self.modules: dict[int, Module] = {}
        self.scheduler.start()
        self.client = self.stage.host("client")
        self.scheduler.join_group(self.client, "all")
        self.scheduler.subscribe(self.client, "orders.*")
        self.mirror = Module.compile(self.engine, wat2wasm((GUESTS / "mirror.wat").read_text()))

    def module(self, kind: int) -> Module:
        if kind not in self.modules:
            self.modules[kind] = Module.compile(self.engine, _binary(kind))
        return self.modules[kind]

    def run(self, kind: int, answers: int, bits: int, script: bytes) -> None:
        port = self.scheduler.open_port("liar")
        self.scheduler.join_group(port, "all")
        self.scheduler.add_capability(port, "lying")
        self.scheduler.spawn(
            port,
            self.module(kind),
            memory=MEMORY,
            timeout_ns=TIMEOUT_NS,
            log_lines_per_second=100,
            state_quota=3 * ROOM,
            environment=ENVIRONMENT,
            state=[(b"\0", script)],
            next_timer=bits,
        )
        self.send("short", conversation_id="c", reply_with="r", reply_to="client")
        self.scheduler.fire_timer(port, bits)
        self.send("l" + "o" * 3000 + "ng")
        self.scheduler.drain_port(port)
        if self.wait(port, answers) == native.EVENT_DRAINED:
            self.scheduler.shutdown(port)
            assert self.wait(port, answers) == native.EVENT_EXITED
        self.answers_again(port)
        self.scheduler.close_port(port)
        self.mail()
        self.stage.events = []

    def send(self, content: str, **fields: Any) -> None:
        self.stage.send("liar", content, sender="client", **fields)

    def mail(self) -> list[Envelope]:
        """All of the client's: a guest that sends to itself may have sent thousands."""
        return self.scheduler.receive(self.client, 1 << 30)

    def wait(self, port: int, answers: int) -> int:
        """Answer slow calls until the guest is through with its messages, or gone: which of the two."""
        while True:
            self.stage.until(lambda: self.stage.events)
            kind, at, a, b = self.stage.events.pop(0)
            if at != port:
                continue  # an earlier guest's
            if kind == native.EVENT_CALL:
                self.answer(port, a, answers)
            elif kind == native.EVENT_EXITED:
                assert WRONG not in b, b
                return kind
            elif kind == native.EVENT_DRAINED:
                return kind

    def answer(self, port: int, call: int, answers: int) -> None:
        if answers == NEVER:
            return
        if answers & 8:
            self.scheduler.complete_call(port, call + 1, b"too early")
        error = "it failed" if answers & 4 else ""
        self.scheduler.complete_call(port, call, ANSWERS[answers & 3], error)

    def answers_again(self, port: int) -> None:
        """The address is as good as new with another instance behind it."""
        self.scheduler.set_accepting(port, True)
        self.stage.start(port, self.mirror)
        self.send(TOKEN)
        self.stage.until(lambda: any(mail.content == b'"%s"' % TOKEN.encode() for mail in self.mail()))


HOSTS: dict[bool, Host] = {}  # by whether memories come out of a pool


def one_input(data: bytes | memoryview) -> None:
    raw = bytes(data)
    kind, answers, bits = HEAD.unpack(raw[: HEAD.size].ljust(HEAD.size, b"\0"))
    pooling = not kind & 32
    if pooling not in HOSTS:
        HOSTS[pooling] = Host(pooling=pooling)
    HOSTS[pooling].run(kind & 31, answers, bits, raw[HEAD.size : HEAD.size + ROOM])
