"""A guest of ABI 1 as a component: the same code, every call and host call of it by way of the component interface.

So one guest in tests/guests is two kinds of agent, and a test that says `@both_kinds` (scheduling.py) is run with each.

Inside are the guest as it is, and around it what a toolchain's adapter is: `shim` gives it its imports before there is
anybody to answer them, `access` reaches into its memory, `frame` has a memory of the adapter's own with what is handed
over, `adapter` translates, `fix` puts the adapter behind the shim. Pointers that lie are seen by the adapter here, text
that is no UTF-8 is a trap: tests of those are about core modules.
"""

import re
from functools import cache

from caxton._fast.wasm.component import Component
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import wat2wasm
from caxton.core.wasm_abi import CAXTON, WASI, WASI_MODULE
from caxton.core.wasm_binary import Signature, inspect
from caxton.core.wasm_component import CODES
from caxton.core.wasm_component_memory import weighed
from tests._fast.components import CORE, DECLARED, NEEDS, OTHERS, core_types

chosen = False  # whether the guests of the test that runs are wrapped
MEMORIES = 2  # the guest's and the adapter's
RET, RESULT, BASE = 0x100, 0x80, 0x1000  # in the adapter's memory: of host calls, of exports, what is handed over
ERROR, TEXTS, TABLE = 0x200, 0x400, 0x800
POINTER, NOT_FOUND = -100, -101
NUMBERS = dict(zip(CODES, (-1, -2, -3, -4, -5, -6, -7, -8, -9, -102, -103, -104, -105), strict=True))  # of ABI 1
SAID = {
    "outside": "a pointer and its length reach outside the guest's memory",
    "missing": "no value is stored under this key",
    "short": "the buffer is too short; the result's negative is a size that is enough: call again",
    "init": "the agent's init function returned an error code",
}

TWO = "(call $get (local.get $a) (local.get $b)) (local.get $b)"
FOUR = f"{TWO} (call $get (local.get $c) (local.get $d)) (local.get $d)"
CHECK = {2: "(call $outside (local.get $a) (local.get $b))"}
CHECK[4] = f"(i32.or {CHECK[2]} (call $outside (local.get $c) (local.get $d)))"
AT = f"i32.const {RET}"
# the bytes at RET + 8, as long as RET + 12 says, as far as there is room
PUT = f"""(call $give (i32.load offset={{}} ({AT})) (local.get $c)
    (select (local.get $d) (i32.load offset={{}} ({AT}))
      (i32.gt_u (i32.load offset={{}} ({AT})) (local.get $d))))"""
SLOW = f"""(call $%s {TWO} ({AT})) (local.set $r (call $outcome))
  (if (i32.eqz (local.get $r)) (then
    (local.set $r (i32.load offset=8 ({AT})))
    (if (i32.gt_u (local.get $r) (local.get $d))
      (then (call $said {{short}})
        (local.set $r (i32.sub (i32.const 0) (select (local.get $r) (i32.const 1024)
          (i32.gt_u (local.get $r) (i32.const 1024))))))
      (else {PUT.format(4, 8, 8)}))))"""
LOG = f"(if (i32.eqz {CHECK[2]}) (then (call $%s {TWO})))"

# import of ABI 1 -> the host function it is made of, and how: parameters $a to $d, result $r (an i64: $t)
BODIES: dict[str, tuple[str, str]] = {
    "send_message": ("messaging.send", f"(call $messaging.send {TWO} ({AT})) (local.set $r (call $outcome))"),
    "broadcast_message": (
        "messaging.broadcast",
        f"(call $messaging.broadcast {FOUR} ({AT})) (local.set $r (call $outcome))"
        f"(if (i32.eqz (local.get $r)) (then (local.set $r (i32.load offset=4 ({AT})))))",
    ),
    "subscribe_messages": (
        "messaging.subscribe",
        f"(call $messaging.subscribe {TWO} ({AT})) (local.set $r (call $outcome))",
    ),
    "console_log": ("log.info", LOG % "log.info"),
    "console_error": ("log.error", LOG % "log.error"),
    "current_timestamp": ("clock.now", "(local.set $t (call $clock.now))"),
    "random_u32": ("random.get-u32", "(local.set $r (call $random.get-u32))"),
    "sleep_micros": (
        "clock.sleep",
        "(if (i64.gt_s (local.get $a) (i64.const 0)) (then (call $clock.sleep (local.get $a))))",
    ),
    "set_timer": (
        "timers.set",
        f"(call $timers.set (local.get $a) ({AT})) (local.set $r (call $outcome))"
        f"(if (i32.eqz (local.get $r)) (then (local.set $r (i32.load offset=4 ({AT})))))",
    ),
    "cancel_timer": ("timers.cancel", f"(call $timers.cancel (local.get $a) ({AT})) (local.set $r (call $outcome))"),
    "store_data": ("state.store-bytes", f"(call $state.store-bytes {FOUR} ({AT})) (local.set $r (call $outcome))"),
    "load_data": (
        "state.load-bytes",
        f"""(call $state.load-bytes {TWO} ({AT})) (local.set $r (call $outcome))
        (if (i32.eqz (local.get $r)) (then
          (if (i32.load8_u offset=4 ({AT}))
            (then {PUT.format(8, 12, 12)} (local.set $r (i32.load offset=12 ({AT}))))
            (else (call $said {{missing}}) (local.set $r (i32.const {NOT_FOUND}))))))""",
    ),
    "delete_data": (
        "state.remove",
        f"""(call $state.remove {TWO} ({AT})) (local.set $r (call $outcome))
        (if (i32.eqz (i32.or (local.get $r) (i32.load8_u offset=4 ({AT}))))
          (then (call $said {{missing}}) (local.set $r (i32.const {NOT_FOUND}))))""",
    ),
    "mcp_call": ("tools.call-tool", SLOW % "tools.call-tool"),
    "memory_search": ("tools.memory-search", SLOW % "tools.memory-search"),
    "last_error": (
        "",
        f"""(call $give (i32.const {ERROR}) (local.get $a)
          (select (local.get $b) (global.get $length) (i32.gt_u (global.get $length) (local.get $b))))
        (local.set $r (global.get $length))""",
    ),
    "set_error": (
        "",
        f"""(global.set $failed (i32.const 1))
        (global.set $length (select (i32.const 480) (local.get $b) (i32.gt_u (local.get $b) (i32.const 480))))
        (memory.copy (i32.const {ERROR}) (call $get (local.get $a) (global.get $length)) (global.get $length))""",
    ),
    "proc_exit": ("exit.exit", "(call $exit.exit (i32.const 0))"),
}
UNCHECKED = ("console_log", "console_error", "last_error", "set_error", "proc_exit")
ALLOCATORS = ("caxton_alloc", "alloc", "malloc")


@cache
def component_engine() -> Engine:
    return Engine(components=True, pool_slots=240)


def wrapped(wat: str, on: Engine | None = None) -> Component:
    """The component around the guest that the text is."""
    return Component.compile(on or component_engine(), weighed(wat2wasm(text(wat))), MEMORIES)


def _types(signature: Signature) -> str:
    return " ".join([f"(param {kind})" for kind in signature.params] + [f"(result {k})" for k in signature.results])


def _named(signature: Signature) -> str:
    params = [f"(param ${letter} {kind})" for letter, kind in zip("abcd", signature.params, strict=False)]
    return " ".join([*params, *(f"(result {kind})" for kind in signature.results)])


def _shim(used: dict[str, Signature], others: dict[str, Signature]) -> str:
    """The guest's imports, each a place in a table that is empty yet; what WASI has and we do not need says ENOTSUP."""
    functions = "".join(
        f"""
    (func (export "{name}") {_named(signature)}
      (call_indirect {_types(signature)} {" ".join(f"(local.get ${c})" for c in "abcd"[: len(signature.params)])}
        (i32.const {number})))"""
        for number, (name, signature) in enumerate(used.items())
    )
    missing = "".join(
        f'\n    (func (export "{name}") {_named(signature)} (i32.const 58))' for name, signature in others.items()
    )
    return f'(table (export "table") {len(used)} {len(used)} funcref) {functions} {missing}'


def _host_call(name: str, signature: Signature, said: dict[str, str]) -> str:
    pairs = len(signature.params)
    check = ""
    if name not in UNCHECKED and pairs in CHECK and "i64" not in signature.params:
        check = f"(if {CHECK[pairs]} (then (return (i32.const {POINTER}))))"
    result = {"i32": "(local.get $r)", "i64": "(local.get $t)"}[signature.results[0]] if signature.results else ""
    return f"""
    (func (export "{name}") {_named(signature)} (local $mark i32) (local $r i32) (local $t i64)
      {check} (local.set $mark (global.get $at))
      {BODIES[name][1].format(**said)}
      (global.set $at (local.get $mark)) {result})"""


def _exports(has: dict[str, Signature]) -> dict[str, str]:
    """What the component exports beside handle-message, as core code."""

    def status(name: str, argument: str = "", words: str = "(call $refusal)") -> str:
        results = has[name].results
        call = f"(call ${name} {argument})"
        return f"(if {call} (then (return {words})))" if results else call

    found = {}
    init = next((name for name in ("agent_init", "init") if name in has), None)
    if init or "_initialize" in has:
        begin = "(call $_initialize)" if "_initialize" in has else ""
        words = (
            "(if (result i32) (global.get $failed) (then (call $refusal)) (else (call $said {init}) (call $refusal)))"
        )
        found["init"] = begin + (status(init, words=words) if init else "") + "(call $fine)"
    if "handle_timer" in has:
        found["handle-timer"] = status("handle_timer", "(local.get $id)") + "(call $fine)"
    if "health_check" in has:
        found["health"] = status("health_check") + "(call $fine)"
    if "get_capabilities" in has:
        found["get-capabilities"] = f"""(local.set $to (call $inbox (i32.const 65536)))
          (local.set $r (call $get_capabilities (local.get $to) (global.get $room)))
          (i32.store8 (i32.const {RESULT}) (i32.const 1))
          (i32.store offset=4 (i32.const {RESULT}) (call $get (local.get $to) (local.get $r)))
          (i32.store offset=8 (i32.const {RESULT}) (local.get $r)) (i32.const {RESULT})"""
    end = next((name for name in ("agent_shutdown", "shutdown") if name in has), None)
    if end:
        found["shutdown"] = f"(call ${end})" + ("(drop)" if has[end].results else "")
    return found


def _handle(has: dict[str, Signature]) -> str:
    none = f"(i32.store8 offset=4 (i32.const {RESULT}) (i32.const 0))"
    some = f"""(i32.store8 offset=4 (i32.const {RESULT}) (i32.const 1))
      (i32.store offset=8 (i32.const {RESULT}) (call $get (local.get $to) (local.get $r)))
      (i32.store offset=12 (i32.const {RESULT}) (local.get $r))"""
    if has["handle_message"].results == ("i64",):
        answer = f"""(local.set $t (call $handle_message (local.get $to) (local.get $n)))
      (local.set $to (i32.wrap_i64 (i64.shr_u (local.get $t) (i64.const 32))))
      (local.set $r (i32.wrap_i64 (local.get $t)))
      (if (i64.ne (local.get $t) (i64.const 0)) (then {some}))"""
    else:
        answer = "(if (call $handle_message (local.get $to) (local.get $n)) (then (return (call $refusal))))"
        if "get_response" in has:
            answer += f"""(local.set $to (call $inbox (i32.const 65536)))
      (local.set $r (call $get_response (local.get $to) (global.get $room)))
      (if (i32.gt_s (local.get $r) (i32.const 0)) (then {some}))"""
    return f"""
    (func (export "handle-message") (param $p i32) (param $n i32) (result i32)
      (local $to i32) (local $r i32) (local $t i64)
      (global.set $failed (i32.const 0))
      (local.set $to (call $inbox (local.get $n)))
      (call $give (local.get $p) (local.get $to) (local.get $n))
      {none}
      {answer}
      (call $fine))"""


def _inbox(has: dict[str, Signature]) -> str:
    alloc = next((name for name in ALLOCATORS if name in has), None)
    if alloc:
        taken = f"""(global.set $inbox (call ${alloc} (local.get $size)))
        (if (i32.or (i32.eqz (global.get $inbox)) (call $outside (global.get $inbox) (local.get $size)))
          (then (unreachable)))"""
    else:
        taken = """(local.set $size (i32.and (i32.add (local.get $size) (i32.const 65535)) (i32.const -65536)))
        (global.set $inbox (call $grow (i32.shr_u (local.get $size) (i32.const 16))))
        (if (i32.eq (global.get $inbox) (i32.const -1)) (then (unreachable)))
        (global.set $inbox (i32.shl (global.get $inbox) (i32.const 16)))"""
    return f"""
    (func $inbox (param $n i32) (result i32) (local $size i32)
      (if (i32.gt_u (local.get $n) (global.get $room)) (then
        (local.set $size (i32.const 1024))
        (loop $more (if (i32.lt_u (local.get $size) (local.get $n))
          (then (local.set $size (i32.shl (local.get $size) (i32.const 1))) (br $more))))
        {taken}
        (global.set $room (local.get $size))))
      (global.get $inbox))"""


def _adapter(imported: str, has: dict[str, Signature], used: dict[str, Signature], exports: dict[str, str]) -> str:
    said, data, at = {}, "", TEXTS
    for name, words in SAID.items():
        said[name] = f"(i32.const {at}) (i32.const {len(words)})"
        data += f'(data (i32.const {at}) "{words}")'
        at += len(words)
    numbers = "".join(
        "".join(f"\\{byte:02x}" for byte in number.to_bytes(4, "little", signed=True)) for number in NUMBERS.values()
    )
    others = "".join(
        f"""
    (func (export "{name}") {core_types(OTHERS[name][1]).replace("(param i32)", "(param $id i32)")}
      (local $to i32) (local $r i32) (global.set $failed (i32.const 0)) {code.format(**said)})"""
        for name, code in exports.items()
    )
    given = "".join(f'(import "g" "{name}" (func ${name} {_types(found)}))' for name, found in has.items())
    return f"""
    (import "f" "memory" (memory 2))
    (import "f" "at" (global $at (mut i32)))
    (import "f" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "a" "load" (func $load (param i32) (result i32)))
    (import "a" "store" (func $store (param i32 i32)))
    (import "a" "size" (func $size (result i32)))
    (import "a" "grow" (func $grow (param i32) (result i32)))
    {imported} {given}
    (global $failed (mut i32) (i32.const 0)) (global $length (mut i32) (i32.const 0))
    (global $inbox (mut i32) (i32.const 0)) (global $room (mut i32) (i32.const 0))
    {data} (data (i32.const {TABLE}) "{numbers}")
    (func $outside (param $p i32) (param $n i32) (result i32)
      (if (result i32) (i64.gt_u (i64.add (i64.extend_i32_u (local.get $p)) (i64.extend_i32_u (local.get $n)))
          (i64.shl (i64.extend_i32_u (call $size)) (i64.const 16)))
        (then (call $said {said["outside"]}) (i32.const 1)) (else (i32.const 0))))
    ;; the guest's bytes, here
    (func $get (param $p i32) (param $n i32) (result i32) (local $to i32) (local $i i32)
      (local.set $to (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
      (block $done (loop $more
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (i32.store8 (i32.add (local.get $to) (local.get $i)) (call $load (i32.add (local.get $p) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
      (local.get $to))
    (func $give (param $from i32) (param $p i32) (param $n i32) (local $i i32)
      (block $done (loop $more
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (call $store (i32.add (local.get $p) (local.get $i)) (i32.load8_u (i32.add (local.get $from) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more))))
    ;; what went wrong, for last_error
    (func $said (param $p i32) (param $n i32)
      (global.set $failed (i32.const 1))
      (if (i32.gt_u (local.get $n) (i32.const 240)) (then (local.set $n (i32.const 240))))
      (global.set $length (local.get $n))
      (memory.copy (i32.const {ERROR}) (local.get $p) (local.get $n)))
    ;; the code of a host call's result: 0 when it is ok
    (func $outcome (result i32)
      (if (i32.eqz (i32.load8_u (i32.const {RET}))) (then (return (i32.const 0))))
      (call $said (i32.load offset=8 (i32.const {RET})) (i32.load offset=12 (i32.const {RET})))
      (i32.load offset={TABLE} (i32.shl (i32.load8_u offset=4 (i32.const {RET})) (i32.const 2))))
    ;; the results of exports: an error with the last words of this turn, if there are any; or none
    (func $refusal (result i32)
      (global.set $at (i32.const {BASE}))
      (i32.store8 (i32.const {RESULT}) (i32.const 1))
      (i32.store offset=4 (i32.const {RESULT}) (i32.const {ERROR}))
      (i32.store offset=8 (i32.const {RESULT}) (select (global.get $length) (i32.const 0) (global.get $failed)))
      (i32.const {RESULT}))
    (func $fine (result i32)
      (global.set $at (i32.const {BASE}))
      (i32.store8 (i32.const {RESULT}) (i32.const 0))
      (i32.const {RESULT}))
    {_inbox(has)} {_handle(has)} {others} {"".join(_host_call(name, found, said) for name, found in used.items())}"""


@cache
def text(wat: str) -> str:
    info = inspect(wat2wasm(wat))
    has = {item.name: Signature(item.params, item.results) for item in info.exports if item.kind == "func"}
    imports = {item.name: item.module for item in info.imports}
    used = {name: CAXTON.get(name) or WASI[name] for name in imports if name in BODIES}
    others = {name: WASI[name] for name, module in imports.items() if module == WASI_MODULE and name not in BODIES}
    calls = [BODIES[name][0] for name in used if BODIES[name][0]]
    interfaces: list[str] = []
    for name in (call.partition(".")[0] for call in calls):
        interfaces += [need for need in (*NEEDS.get(name, ()), name) if need not in interfaces]
    exports = _exports(has)
    options = "(memory $memory) (realloc $realloc) string-encoding=utf8"
    lowered = "".join(
        f'\n  (core func ${call} (canon lower (func ${call.partition(".")[0]} "{call.partition(".")[2]}") {options}))'
        for call in calls
    )
    imported = "".join(f'(import "h" "{call}" (func ${call} {core_types(CORE[call])}))' for call in calls)
    given = " ".join(f'(export "{call}" (func ${call}))' for call in calls)
    lifted = "".join(
        f'\n  (func ${name} {OTHERS[name][0]} (canon lift (core func $adapter "{name}") {options}))' for name in exports
    )
    asked = "".join(f'(import "a" "{name}" (func ${name} {_types(found)}))' for name, found in used.items())
    guest = re.sub(r"^((?:;;.*\n|\s)*)\(module(\s+\$\w+)?", r"\1(core module $guest", wat, count=1)
    modules = "".join(f'(with "{name}" (instance $shim))' for name in ("caxton", "env", WASI_MODULE))
    return f"""(component {"".join(DECLARED[name] for name in interfaces)}
  (core module $frame
    (memory (export "memory") 2)
    (global $at (export "at") (mut i32) (i32.const {BASE}))
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
      (local $found i32)
      (local.set $found (i32.and (i32.add (global.get $at) (i32.const 7)) (i32.const -8)))
      (global.set $at (i32.add (local.get $found) (local.get $new)))
      (if (i32.gt_u (global.get $at) (i32.mul (memory.size) (i32.const 65536)))
        (then (drop (memory.grow (i32.add (i32.div_u (local.get $new) (i32.const 65536)) (i32.const 1))))))
      (local.get $found)))
  (core instance $frame (instantiate $frame))
  (alias core export $frame "memory" (core memory $memory))
  (alias core export $frame "realloc" (core func $realloc)) {lowered}
  (core module $shim {_shim(used, others)})
  (core instance $shim (instantiate $shim))
  {guest}
  (core instance $guest (instantiate $guest {modules}))
  (core module $access
    (import "g" "memory" (memory 0))
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
    (func (export "size") (result i32) (memory.size))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
  (core instance $access (instantiate $access (with "g" (instance $guest))))
  (core module $adapter {_adapter(imported, has, used, exports)})
  (core instance $adapter (instantiate $adapter (with "f" (instance $frame)) (with "a" (instance $access))
    (with "g" (instance $guest)) (with "h" (instance {given}))))
  (core module $fix (import "s" "table" (table {len(used)} funcref)) {asked}
    {"(elem (i32.const 0) func " + " ".join(f"${name}" for name in used) + ")" if used else ""})
  (core instance (instantiate $fix (with "s" (instance $shim)) (with "a" (instance $adapter))))
  (func $handle (param "message" string) (result (result (option string) (error string)))
    (canon lift (core func $adapter "handle-message") {options})) {lifted}
  (instance $exports (export "handle-message" (func $handle))
    {" ".join(f'(export "{name}" (func ${name}))' for name in exports)})
  (export "caxton:agent/guest@1.0.0" (instance $exports)))"""
