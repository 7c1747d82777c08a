"""A guest that does as it is told: each message is a script of host calls, and the answer is the list of their results.

A script is text behind a `#`: numbers of 16 hexadecimal digits, first the number of an operation, then its operands.
Operations are the imports of ABI 1 and of WASI, in the order of `core.wasm_abi`, and the few of OPERATIONS. Results go
back in the same digits. So a test says in Python what a guest does, and a lie is just a number.

Memory: 4 pages. 0 to 0x10000 is the test's, then the inbox, then the results; from 0x30000 to the end, 0x40000, is the
test's again. handle_timer leaves the timer's id at 0x38000 and counts at 0x38004.
"""

from typing import Any

from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module
from caxton.core.wasm_abi import ABI_IMPORTS, CAXTON, WASI, WASI_MODULE
from tests._fast.scheduling import Stage, guest

EDGE = 0x40000
CALLS = [("caxton", name) for name in CAXTON] + [(WASI_MODULE, name) for name in WASI]
NUMBERS = {name: number for number, (_, name) in enumerate(CALLS)}
SIGNATURES = {name: ABI_IMPORTS[module][name] for module, name in CALLS}

OPERATIONS = {
    "end": "(call $put (i32.const 48)) (call $put (i32.const 93)) (return (i32.const 0))",
    "poke": """(local.set $a (call $int)) (local.set $n (call $int))
      (block $done (loop $more
        (br_if $done (i32.eqz (local.get $n)))
        (i32.store8 (local.get $a) (i32.wrap_i64 (call $digits (i32.const 2))))
        (local.set $a (i32.add (local.get $a) (i32.const 1)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $more)))""",
    "peek": """(local.set $a (call $int)) (local.set $n (call $int)) (call $open) (call $put (i32.const 120))
      (block $done (loop $more
        (br_if $done (i32.eqz (local.get $n)))
        (call $hex (i64.load8_u (local.get $a)) (i32.const 2))
        (local.set $a (i32.add (local.get $a) (i32.const 1)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $more)))
      (call $close)""",
    "fill": "(memory.fill (call $int) (call $int) (call $int))",
    "grow": "(call $result (i64.extend_i32_s (memory.grow (call $int))))",
    "trap": "(unreachable)",
    "refuse": "(return (i32.const 1))",
    "spin": "(loop $ever (br $ever))",
}
NUMBERS |= {name: 1000 + number for number, name in enumerate(OPERATIONS)}


def _import(module: str, name: str) -> str:
    signature = SIGNATURES[name]
    types = [f"(param {kind})" for kind in signature.params] + [f"(result {kind})" for kind in signature.results]
    return f'(import "{module}" "{name}" (func ${name} {" ".join(types)}))'


def _call(name: str) -> str:
    signature = SIGNATURES[name]
    operands = " ".join("(call $int)" if kind == "i32" else "(call $number)" for kind in signature.params)
    call = f"(call ${name} {operands})"
    if signature.results == ("i32",):
        call = f"(i64.extend_i32_s {call})"
    return f"(call $result {call})" if signature.results else call


def probe(module: str = "caxton", on: Engine | None = None) -> Module:
    """The guest; *module* is the name that the host functions are imported from."""
    bodies = {name: _call(name) for _, name in CALLS} | OPERATIONS
    return guest(
        "probe",
        on,
        IMPORTS="\n".join(_import(module if found == "caxton" else found, name) for found, name in CALLS),
        CASES="\n".join(
            f"(if (i32.eq (local.get $op) (i32.const {NUMBERS[name]})) (then {body}))" for name, body in bodies.items()
        ),
    )


def step(name: str, *operands: int) -> str:
    return "".join(f"{number & (1 << 64) - 1:016x}" for number in (NUMBERS[name], *operands))


def poke(at: int, data: bytes | str) -> str:
    data = data.encode() if isinstance(data, str) else data
    return step("poke", at, len(data)) + data.hex()


class Probe:
    """Talks to one probe from the host port *me*."""

    def __init__(self, stage: Stage, name: str = "probe", **limits: Any) -> None:
        self.stage, self.name = stage, name
        self.me = stage.host(f"{name}-driver")
        self.port = stage.seat(name, probe(), **limits)

    def post(self, *steps: str) -> None:
        self.stage.send(self.name, "#" + "".join(steps) + step("end"), sender=f"{self.name}-driver")

    def results(self) -> list[Any]:
        """What the oldest unread script gave: a number for each call that has a result, bytes for each peek."""
        content = self.stage.receive(self.me)[0].as_dict()["content"]
        return [_value(text) for text in content[:-1]]

    def do(self, *steps: str) -> list[Any]:
        self.post(*steps)
        return self.results()

    def call(self, name: str, *operands: int) -> int:
        (result,) = self.do(step(name, *operands))
        assert isinstance(result, int)
        return result

    def last_error(self) -> str:
        length, text = self.do(step("last_error", 0x30000, 256), step("peek", 0x30000, 256))
        return str(text[:length].decode())


def _value(text: str) -> Any:
    if text[0] == "x":
        return bytes.fromhex(text[1:])
    number = int(text, 16)
    return number - (1 << 64) if number >> 63 else number
