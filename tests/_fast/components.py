"""Components written as text: what each test imports, and what its guest does, around one frame.

A guest's body is core code of `handle-message`, with the message in $p and $n. `(call $number (i64))` and
`(call $text (i32) (i32))` add to the answer, which is sent as one JSON string, the parts separated by spaces. Memory: 4
pages; 0 to 0x1000 is the test's, results are written from 0x1000 on, the answer from 0x8000, what the host gives from
0x20000 on.
"""

from dataclasses import dataclass, field
from functools import cache

from caxton._fast.wasm.component import Component
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import wat2wasm
from caxton.core.wasm_component import CODES
from caxton.core.wasm_component_memory import weighed

MIB = 1 << 20


def quoted(text: str) -> str:
    """*text* inside a string of the text format."""
    return "".join(chr(c) if 0x20 <= c < 0x7F and c not in b'"\\' else f"\\{c:02x}" for c in text.encode())


@cache
def engine() -> Engine:
    return Engine(components=True, pool_slots=64, max_memory=16 * MIB)


ERROR = f"""
  (import "caxton:agent/types@1.0.0" (instance $types
    (type $c (enum {" ".join(f'"{code}"' for code in CODES)})) (export "error-code" (type $code (eq $c)))
    (type $e (record (field "code" $code) (field "message" string))) (export "error" (type (eq $e)))))
  (alias export $types "error" (type $error))"""
USE_ERROR = '(alias outer 1 $error (type $e0)) (export "error" (type $e (eq $e0)))'

POLL = """
  (import "wasi:io/poll@0.2.9" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.ready" (func (param "self" (borrow $p)) (result bool)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))
    (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))
  (core func $pollable.drop (canon resource.drop $pollable))"""
USE_POLLABLE = '(alias outer 1 $pollable (type $p0)) (export "pollable" (type $p (eq $p0)))'

STREAMS = (
    """
  (import "wasi:io/error@0.2.9" (instance $errors
    (export "error" (type $e (sub resource)))
    (export "[method]error.to-debug-string" (func (param "self" (borrow $e)) (result string)))))
  (alias export $errors "error" (type $io-error))"""
    + POLL
    + f"""
  (import "wasi:io/streams@0.2.9" (instance $streams
    (alias outer 1 $io-error (type $f0)) (export "error" (type $f (eq $f0))) {USE_POLLABLE}
    (export "input-stream" (type $in (sub resource)))
    (export "output-stream" (type $out (sub resource)))
    (type $s0 (variant (case "last-operation-failed" (own $f)) (case "closed")))
    (export "stream-error" (type $s (eq $s0)))
    (export "[method]input-stream.read"
      (func (param "self" (borrow $in)) (param "len" u64) (result (result (list u8) (error $s)))))
    (export "[method]input-stream.blocking-read"
      (func (param "self" (borrow $in)) (param "len" u64) (result (result (list u8) (error $s)))))
    (export "[method]input-stream.skip"
      (func (param "self" (borrow $in)) (param "len" u64) (result (result u64 (error $s)))))
    (export "[method]input-stream.blocking-skip"
      (func (param "self" (borrow $in)) (param "len" u64) (result (result u64 (error $s)))))
    (export "[method]input-stream.subscribe" (func (param "self" (borrow $in)) (result (own $p))))
    (export "[method]output-stream.check-write" (func (param "self" (borrow $out)) (result (result u64 (error $s)))))
    (export "[method]output-stream.write"
      (func (param "self" (borrow $out)) (param "contents" (list u8)) (result (result (error $s)))))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $out)) (param "contents" (list u8)) (result (result (error $s)))))
    (export "[method]output-stream.flush" (func (param "self" (borrow $out)) (result (result (error $s)))))
    (export "[method]output-stream.blocking-flush" (func (param "self" (borrow $out)) (result (result (error $s)))))
    (export "[method]output-stream.subscribe" (func (param "self" (borrow $out)) (result (own $p))))
    (export "[method]output-stream.write-zeroes"
      (func (param "self" (borrow $out)) (param "len" u64) (result (result (error $s)))))
    (export "[method]output-stream.blocking-write-zeroes-and-flush"
      (func (param "self" (borrow $out)) (param "len" u64) (result (result (error $s)))))))
  (alias export $streams "input-stream" (type $input))
  (alias export $streams "output-stream" (type $output))
  (core func $output.drop (canon resource.drop $output))"""
)


def use(name: str) -> str:
    return f'(alias outer 1 ${name} (type $x0)) (export "{name}-stream" (type $x (eq $x0)))'


# instance -> its declaration; those that one needs before it are in NEEDS
DECLARED = {
    "types": ERROR,
    "poll": POLL,
    "streams": STREAMS,
    "messaging": f"""
  (import "caxton:agent/messaging@1.0.0" (instance $messaging {USE_ERROR}
    (export "send" (func (param "message" string) (result (result (error $e)))))
    (export "broadcast" (func (param "selector" string) (param "message" string) (result (result u32 (error $e)))))
    (export "subscribe" (func (param "filter" string) (result (result (error $e)))))))""",
    "log": """
  (import "caxton:agent/log@1.0.0" (instance $log
    (export "info" (func (param "line" string))) (export "error" (func (param "line" string)))))""",
    "clock": """
  (import "caxton:agent/clock@1.0.0" (instance $clock
    (export "now" (func (result u64))) (export "sleep" (func (param "microseconds" u64)))))""",
    "random": """
  (import "caxton:agent/random@1.0.0" (instance $random
    (export "get-u32" (func (result u32))) (export "get-u64" (func (result u64)))))""",
    "timers": f"""
  (import "caxton:agent/timers@1.0.0" (instance $timers {USE_ERROR}
    (export "set" (func (param "microseconds" u64) (result (result u32 (error $e)))))
    (export "cancel" (func (param "id" u32) (result (result (error $e)))))))""",
    "state": f"""
  (import "caxton:agent/state@1.0.0" (instance $state {USE_ERROR}
    (export "load" (func (param "key" string) (result (result (option string) (error $e)))))
    (export "store" (func (param "key" string) (param "value" string) (result (result (error $e)))))
    (export "load-bytes" (func (param "key" string) (result (result (option (list u8)) (error $e)))))
    (export "store-bytes" (func (param "key" string) (param "value" (list u8)) (result (result (error $e)))))
    (export "remove" (func (param "key" string) (result (result bool (error $e)))))))""",
    "tools": f"""
  (import "caxton:agent/tools@1.0.0" (instance $tools {USE_ERROR}
    (export "call-tool" (func (param "request" string) (result (result string (error $e)))))
    (export "memory-search" (func (param "request" string) (result (result string (error $e)))))))""",
    "monotonic": f"""
  (import "wasi:clocks/monotonic-clock@0.2.9" (instance $monotonic {USE_POLLABLE}
    (export "now" (func (result u64)))
    (export "resolution" (func (result u64)))
    (export "subscribe-instant" (func (param "when" u64) (result (own $p))))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))""",
    "wall": """
  (import "wasi:clocks/wall-clock@0.2.9" (instance $wall
    (type $d0 (record (field "seconds" u64) (field "nanoseconds" u32))) (export "datetime" (type $d (eq $d0)))
    (export "now" (func (result $d))) (export "resolution" (func (result $d)))))""",
    "chance": """
  (import "wasi:random/random@0.2.9" (instance $chance
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-random-u64" (func (result u64)))))""",
    "insecure": """
  (import "wasi:random/insecure@0.2.9" (instance $insecure
    (export "get-insecure-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-insecure-random-u64" (func (result u64)))))""",
    "seed": """
  (import "wasi:random/insecure-seed@0.2.9" (instance $seed
    (export "insecure-seed" (func (result (tuple u64 u64))))))""",
    "environment": """
  (import "wasi:cli/environment@0.2.9" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))
    (export "initial-cwd" (func (result (option string))))))""",
    "exit": """
  (import "wasi:cli/exit@0.2.9" (instance $exit (export "exit" (func (param "status" (result))))))""",
    "stdin": f"""
  (import "wasi:cli/stdin@0.2.9" (instance $stdin {use("input")} (export "get-stdin" (func (result (own $x))))))""",
    "stdout": f"""
  (import "wasi:cli/stdout@0.2.9" (instance $stdout {use("output")} (export "get-stdout" (func (result (own $x))))))""",
    "stderr": f"""
  (import "wasi:cli/stderr@0.2.9" (instance $stderr {use("output")} (export "get-stderr" (func (result (own $x))))))""",
    **{
        f"terminal-{kind}": f"""
  (import "wasi:cli/terminal-{kind}@0.2.9" (instance $terminal-{kind} (export "terminal-{kind}" (type (sub resource)))))
  (alias export $terminal-{kind} "terminal-{kind}" (type ${kind}-terminal))"""
        for kind in ("input", "output")
    },
    **{
        f"terminal-{name}": f"""
  (import "wasi:cli/terminal-{name}@0.2.9" (instance $terminal-{name}
    (alias outer 1 ${kind}-terminal (type $t0)) (export "terminal-{kind}" (type $t (eq $t0)))
    (export "get-terminal-{name}" (func (result (option (own $t)))))))"""
        for name, kind in (("stdin", "input"), ("stdout", "output"), ("stderr", "output"))
    },
    "files": """
  (import "wasi:filesystem/types@0.2.9" (instance $files
    (export "descriptor" (type $d (sub resource)))
    (export "[method]descriptor.sync" (func (param "self" (borrow $d))))))
  (alias export $files "descriptor" (type $descriptor))""",
    "preopens": """
  (import "wasi:filesystem/preopens@0.2.9" (instance $preopens
    (alias outer 1 $descriptor (type $d0)) (export "descriptor" (type $d (eq $d0)))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))""",
}
ERRORS = ("messaging", "timers", "state", "tools")
NEEDS = {
    **dict.fromkeys(ERRORS, ("types",)),
    "monotonic": ("poll",),
    "errors": ("streams",),
    "stdin": ("streams",),
    "stdout": ("streams",),
    "stderr": ("streams",),
    "preopens": ("files",),
    "terminal-stdin": ("terminal-input",),
    "terminal-stdout": ("terminal-output",),
    "terminal-stderr": ("terminal-output",),
}
# core types of the functions that guests call: parameters (the last is where the result goes), result
CORE = {
    "messaging.send": "i32 i32 i32",
    "messaging.broadcast": "i32 i32 i32 i32 i32",
    "messaging.subscribe": "i32 i32 i32",
    "log.info": "i32 i32",
    "log.error": "i32 i32",
    "clock.now": "-> i64",
    "clock.sleep": "i64",
    "random.get-u32": "-> i32",
    "random.get-u64": "-> i64",
    "timers.set": "i64 i32",
    "timers.cancel": "i32 i32",
    "state.load": "i32 i32 i32",
    "state.store": "i32 i32 i32 i32 i32",
    "state.load-bytes": "i32 i32 i32",
    "state.store-bytes": "i32 i32 i32 i32 i32",
    "state.remove": "i32 i32 i32",
    "tools.call-tool": "i32 i32 i32",
    "tools.memory-search": "i32 i32 i32",
    "poll.[method]pollable.ready": "i32 -> i32",
    "poll.[method]pollable.block": "i32",
    "poll.poll": "i32 i32 i32",
    "monotonic.now": "-> i64",
    "monotonic.resolution": "-> i64",
    "monotonic.subscribe-instant": "i64 -> i32",
    "monotonic.subscribe-duration": "i64 -> i32",
    "wall.now": "i32",
    "wall.resolution": "i32",
    "chance.get-random-bytes": "i64 i32",
    "chance.get-random-u64": "-> i64",
    "insecure.get-insecure-random-bytes": "i64 i32",
    "insecure.get-insecure-random-u64": "-> i64",
    "seed.insecure-seed": "i32",
    "terminal-stdin.get-terminal-stdin": "i32",
    "terminal-stdout.get-terminal-stdout": "i32",
    "terminal-stderr.get-terminal-stderr": "i32",
    "errors.[method]error.to-debug-string": "i32 i32",
    "environment.get-environment": "i32",
    "environment.get-arguments": "i32",
    "environment.initial-cwd": "i32",
    "exit.exit": "i32",
    "stdin.get-stdin": "-> i32",
    "stdout.get-stdout": "-> i32",
    "stderr.get-stderr": "-> i32",
    "streams.[method]input-stream.read": "i32 i64 i32",
    "streams.[method]input-stream.blocking-read": "i32 i64 i32",
    "streams.[method]input-stream.skip": "i32 i64 i32",
    "streams.[method]input-stream.blocking-skip": "i32 i64 i32",
    "streams.[method]input-stream.subscribe": "i32 -> i32",
    "streams.[method]output-stream.check-write": "i32 i32",
    "streams.[method]output-stream.write": "i32 i32 i32 i32",
    "streams.[method]output-stream.blocking-write-and-flush": "i32 i32 i32 i32",
    "streams.[method]output-stream.flush": "i32 i32",
    "streams.[method]output-stream.blocking-flush": "i32 i32",
    "streams.[method]output-stream.subscribe": "i32 -> i32",
    "streams.[method]output-stream.write-zeroes": "i32 i64 i32",
    "streams.[method]output-stream.blocking-write-zeroes-and-flush": "i32 i64 i32",
    "preopens.get-directories": "i32",
    "files.[method]descriptor.sync": "i32",
}
STATUS = "(result (result (error string)))"
# the other exports: parameters and result as WIT has them, core type
OTHERS = {
    "init": (STATUS, "-> i32"),
    "handle-timer": (f'(param "id" u32) {STATUS}', "i32 -> i32"),
    "health": (STATUS, "-> i32"),
    "get-capabilities": ("(result (option string))", "-> i32"),
    "shutdown": ("", ""),
}


@dataclass
class Guest:
    body: str = ""
    calls: tuple[str, ...] = ()  # of CORE
    drops: tuple[str, ...] = ()  # pollable, output
    exports: dict[str, str] = field(default_factory=dict)  # of OTHERS -> core code
    data: dict[int, str] = field(default_factory=dict)
    pages: int = 4
    extra: str = ""  # declarations of the component
    core: str = ""  # of the core module
    alloc: str = ""  # code before the frame's allocator


def _instances(guest: Guest) -> list[str]:
    found: list[str] = []
    for name in [call.partition(".")[0] for call in guest.calls]:
        found += [need for need in (*NEEDS.get(name, ()), name) if need not in found]
    if "streams" in found:  # it declares poll and errors itself, first
        found = ["streams", *(name for name in found if name not in ("streams", "poll", "errors"))]
    return found


def _id(call: str) -> str:
    """What core code calls it by: `streams.output-stream.write`."""
    return call.replace("[method]", "")


def core_types(text: str) -> str:
    params, _, results = text.partition("->")
    parts = [f"(param {params.strip()})"] if params.strip() else []
    return " ".join([*parts, *([f"(result {results.strip()})"] if results.strip() else [])])


def text(guest: Guest) -> str:
    declared = "".join(DECLARED[name] for name in _instances(guest))
    options = "(memory $memory) (realloc $realloc) string-encoding=utf8"
    lowered = "".join(
        f'\n  (core func ${_id(call)} (canon lower (func ${instance} "{name}") {options}))'
        for call, (instance, _, name) in zip(guest.calls, (call.partition(".") for call in guest.calls), strict=True)
    )
    names = [*guest.calls, *(f"{name}.drop" for name in guest.drops)]
    given = " ".join(f'(export "{name}" (func ${_id(name)}))' for name in names)
    imported = "".join(
        f'\n    (import "h" "{name}" (func ${_id(name)} {core_types(CORE.get(name, "i32"))}))' for name in names
    )
    others = "".join(
        f'\n    (func (export "{name}") {core_types(OTHERS[name][1]).replace("(param i32)", "(param $id i32)")} {code})'
        for name, code in guest.exports.items()
    )
    lifted = "".join(
        f'\n  (func ${name} {OTHERS[name][0]} (canon lift (core func $main "{name}") {options}))'
        for name in guest.exports
    )
    exported = " ".join(f'(export "{name}" (func ${name}))' for name in guest.exports)
    data = " ".join(f'(data (i32.const {at}) "{quoted(value)}")' for at, value in guest.data.items())
    return f"""(component {declared}
  {guest.extra}
  (core module $frame
    (memory (export "memory") {guest.pages})
    (global $at (export "at") (mut i32) (i32.const 0x20000))
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
      (local $found i32)
      {guest.alloc}
      (local.set $found (i32.and (i32.add (global.get $at) (i32.const 7)) (i32.const -8)))
      (global.set $at (i32.add (local.get $found) (local.get $new)))
      (if (i32.gt_u (global.get $at) (i32.mul (memory.size) (i32.const 65536)))
        (then (drop (memory.grow (i32.add (i32.div_u (local.get $new) (i32.const 65536)) (i32.const 1))))))
      (local.get $found)))
  (core instance $frame (instantiate $frame))
  (alias core export $frame "memory" (core memory $memory))
  (alias core export $frame "realloc" (core func $realloc)) {lowered}
  (core module $main
    (import "m" "memory" (memory {guest.pages}))
    (import "m" "at" (global $at (mut i32))) {imported}
    (global $out (mut i32) (i32.const 0x8001))
    {data} {guest.core}
    (func $put (param $c i32)
      (i32.store8 (global.get $out) (local.get $c))
      (global.set $out (i32.add (global.get $out) (i32.const 1))))
    (func $space
      (if (i32.ne (global.get $out) (i32.const 0x8001)) (then (call $put (i32.const 32)))))
    (func $digits (param $n i64)
      (if (i64.ge_u (local.get $n) (i64.const 10)) (then (call $digits (i64.div_u (local.get $n) (i64.const 10)))))
      (call $put (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10))))))
    (func $number (param $n i64) (call $space) (call $digits (local.get $n)))
    (func $int (param $n i32) (call $number (i64.extend_i32_u (local.get $n))))
    (func $text (param $p i32) (param $n i32)
      (call $space)
      (memory.copy (global.get $out) (local.get $p) (local.get $n))
      (global.set $out (i32.add (global.get $out) (local.get $n))))
    (func $status (param $failed i32) (result i32)
      (i32.store8 (i32.const 0x7000) (local.get $failed))
      (i32.store (i32.const 0x7004) (i32.const 0x7010))
      (i32.store (i32.const 0x7008) (i32.const 8))
      (i64.store (i32.const 0x7010) (i64.const 0x6c6c65776e75206d)) ;; "m unwell"
      (i32.const 0x7000))
    (func (export "handle-message") (param $p i32) (param $n i32) (result i32)
      (local $i i32) (local $j i32) (local $t i64)
      (global.set $out (i32.const 0x8001))
      {guest.body}
      (i32.store8 (i32.const 0x8000) (i32.const 34))
      (call $put (i32.const 34))
      (global.set $at (i32.const 0x20000))
      (i32.store8 (i32.const 0x7f00) (i32.const 0))
      (i32.store8 (i32.const 0x7f04) (i32.ne (global.get $out) (i32.const 0x8002)))
      (i32.store (i32.const 0x7f08) (i32.const 0x8000))
      (i32.store (i32.const 0x7f0c) (i32.sub (global.get $out) (i32.const 0x8000)))
      (i32.const 0x7f00)) {others})
  (core instance $main (instantiate $main (with "m" (instance $frame)) (with "h" (instance {given}))))
  (func $handle (param "message" string) (result (result (option string) (error string)))
    (canon lift (core func $main "handle-message") {options})) {lifted}
  (instance $guest (export "handle-message" (func $handle)) {exported})
  (export "caxton:agent/guest@1.0.0" (instance $guest)))"""


def build(guest: Guest) -> Component:
    return Component.compile(engine(), weighed(wat2wasm(text(guest))))


def refuse(words: str = "no") -> str:
    """Core code that returns the error *words* out of handle-message."""
    data = "".join(f"(i32.store8 (i32.const {0x7100 + i}) (i32.const {byte}))" for i, byte in enumerate(words.encode()))
    return f"""{data} (i32.store8 (i32.const 0x7f00) (i32.const 1)) (i32.store (i32.const 0x7f04) (i32.const 0x7100))
      (i32.store (i32.const 0x7f08) (i32.const {len(words.encode())})) (return (i32.const 0x7f00))"""
