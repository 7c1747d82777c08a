"""What a component may import and must export, as tables of types, and the check of a component against them.

Rule 1: the functions are those of ABI 1 (wasm_abi.py) with types, as wit/agent.wit has them, and a subset of WASI 0.2
that needs no world outside. The host functions themselves are in _fast/wasm/component_calls and _fast/wasm/wasi2.
Rule 2: what is in the tables has exactly these types, or the component is refused. What is not in them lies outside:
calling it is a trap, and it is named when the component is deployed.
Rule 3: of the bytes only the structure is read here: how much memory and how many table elements a component asks for.
Any bytes give a `Shape` or InvalidWasm.

Types are written as WIT writes them, with two differences: records, variants and enums stand with their members, and
resources are just `own` or `borrow` (the engine checks whose they are).
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from caxton.core.errors import InvalidWasm
from caxton.core.wasm_abi import AgentLimits
from caxton.core.wasm_binary import PAGE, inspect

Functions = Mapping[str, str]  # name -> type
Interfaces = Mapping[str, Functions]  # "wasi:io/poll@0.2.9" -> its functions; "" for those without an interface

PREAMBLE: Final = b"\0asm\x0d\0\x01\0"  # the version of components, and the layer that tells them from modules
MAX_DEPTH: Final = 8
MAX_MEMORIES: Final = 4  # what the engine's pool has room for, of one component

CODES: Final = (
    "invalid-message",
    "no-receiver",
    "mailbox-full",
    "too-large",
    "stopped",
    "too-many-hops",
    "out-of-memory",
    "limit",
    "store-failed",
    "invalid-argument",
    "quota",
    "unavailable",
    "failed",
)
_ERROR: Final = f"record{{code: enum{{{', '.join(CODES)}}}, message: string}}"
_STREAM: Final = "variant{last-operation-failed(own), closed}"

AGENT: Final[Interfaces] = {
    "messaging": {
        "send": f"(string) -> result<_, {_ERROR}>",
        "broadcast": f"(string, string) -> result<u32, {_ERROR}>",
        "subscribe": f"(string) -> result<_, {_ERROR}>",
    },
    "log": {"info": "(string)", "error": "(string)"},
    "clock": {"now": "() -> u64", "sleep": "(u64)"},
    "random": {"get-u32": "() -> u32", "get-u64": "() -> u64"},
    "timers": {
        "set": f"(u64) -> result<u32, {_ERROR}>",
        "cancel": f"(u32) -> result<_, {_ERROR}>",
    },
    "state": {
        "load": f"(string) -> result<option<string>, {_ERROR}>",
        "store": f"(string, string) -> result<_, {_ERROR}>",
        "load-bytes": f"(string) -> result<option<list<u8>>, {_ERROR}>",
        "store-bytes": f"(string, list<u8>) -> result<_, {_ERROR}>",
        "remove": f"(string) -> result<bool, {_ERROR}>",
    },
    "tools": {
        "call-tool": f"(string) -> result<string, {_ERROR}>",
        "memory-search": f"(string) -> result<string, {_ERROR}>",
    },
    "types": {},
}

# wasi:cli, clocks, io, random 0.2 without files, sockets and processes; filesystem/preopens says that there are none
WASI: Final[Interfaces] = {
    "io/error": {"[method]error.to-debug-string": "(borrow) -> string"},
    "io/poll": {
        "[method]pollable.ready": "(borrow) -> bool",
        "[method]pollable.block": "(borrow)",
        "poll": "(list<borrow>) -> list<u32>",
    },
    "io/streams": {
        "[method]input-stream.read": f"(borrow, u64) -> result<list<u8>, {_STREAM}>",
        "[method]input-stream.blocking-read": f"(borrow, u64) -> result<list<u8>, {_STREAM}>",
        "[method]input-stream.skip": f"(borrow, u64) -> result<u64, {_STREAM}>",
        "[method]input-stream.blocking-skip": f"(borrow, u64) -> result<u64, {_STREAM}>",
        "[method]input-stream.subscribe": "(borrow) -> own",
        "[method]output-stream.check-write": f"(borrow) -> result<u64, {_STREAM}>",
        "[method]output-stream.write": f"(borrow, list<u8>) -> result<_, {_STREAM}>",
        "[method]output-stream.blocking-write-and-flush": f"(borrow, list<u8>) -> result<_, {_STREAM}>",
        "[method]output-stream.flush": f"(borrow) -> result<_, {_STREAM}>",
        "[method]output-stream.blocking-flush": f"(borrow) -> result<_, {_STREAM}>",
        "[method]output-stream.subscribe": "(borrow) -> own",
        "[method]output-stream.write-zeroes": f"(borrow, u64) -> result<_, {_STREAM}>",
        "[method]output-stream.blocking-write-zeroes-and-flush": f"(borrow, u64) -> result<_, {_STREAM}>",
    },
    "clocks/monotonic-clock": {
        "now": "() -> u64",
        "resolution": "() -> u64",
        "subscribe-instant": "(u64) -> own",
        "subscribe-duration": "(u64) -> own",
    },
    "clocks/wall-clock": {
        "now": "() -> record{seconds: u64, nanoseconds: u32}",
        "resolution": "() -> record{seconds: u64, nanoseconds: u32}",
    },
    "random/random": {"get-random-bytes": "(u64) -> list<u8>", "get-random-u64": "() -> u64"},
    "random/insecure": {"get-insecure-random-bytes": "(u64) -> list<u8>", "get-insecure-random-u64": "() -> u64"},
    "random/insecure-seed": {"insecure-seed": "() -> tuple<u64, u64>"},
    "cli/environment": {
        "get-environment": "() -> list<tuple<string, string>>",
        "get-arguments": "() -> list<string>",
        "initial-cwd": "() -> option<string>",
    },
    "cli/exit": {"exit": "(result)"},
    "cli/stdin": {"get-stdin": "() -> own"},
    "cli/stdout": {"get-stdout": "() -> own"},
    "cli/stderr": {"get-stderr": "() -> own"},
    "cli/terminal-input": {},
    "cli/terminal-output": {},
    "cli/terminal-stdin": {"get-terminal-stdin": "() -> option<own>"},
    "cli/terminal-stdout": {"get-terminal-stdout": "() -> option<own>"},
    "cli/terminal-stderr": {"get-terminal-stderr": "() -> option<own>"},
    "filesystem/preopens": {"get-directories": "() -> list<tuple<own, string>>"},
}

GUEST: Final = "guest"
EXPORTS: Final[Functions] = {
    "init": "() -> result<_, string>",
    "handle-message": "(string) -> result<option<string>, string>",
    "handle-timer": "(u32) -> result<_, string>",
    "get-capabilities": "() -> option<string>",
    "health": "() -> result<_, string>",
    "shutdown": "()",
}


class Shape(NamedTuple):
    """What a component asks for, summed over the core modules inside it."""

    memories: int  # that are its own; an agent's memory is shared out among them
    minimum: int  # bytes at the start, of the largest
    table_elements: int  # of the largest table


def is_component(wasm: bytes) -> bool:
    """Whether these bytes call themselves a component; a module has another version and layer."""
    return wasm[:4] == b"\0asm" and len(wasm) >= 8 and wasm[6:8] == PREAMBLE[6:8]


def known(interface: str) -> Functions | None:
    """The functions that the host has of an imported interface; None when it lies outside."""
    package, _, rest = interface.partition(":")
    name, _, version = rest.partition("@")
    if package == "caxton" and name.startswith("agent/") and version.split(".")[0] == "1":
        return AGENT.get(name.removeprefix("agent/"))
    if package == "wasi" and version.startswith("0.2."):
        return WASI.get(name)
    return None


def check(imports: Interfaces, exports: Interfaces) -> tuple[str, ...]:
    """Raise InvalidWasm unless the component can be an agent; the names of what it imports that lies outside.

    *imports* and *exports* have the functions of each interface. Of an interface that is not there at all only its
    name is given, else the function's.
    """
    outside: list[str] = []
    for interface, functions in imports.items():
        have = known(interface)
        if have is None:
            outside += [interface] if interface else list(functions)
            continue
        for name, found in functions.items():
            expected = have.get(name)
            if expected is None:
                outside.append(f"{interface}#{name}")
            elif found != expected:
                raise InvalidWasm(
                    f"the component imports `{interface}#{name}` as {found}; it is {expected}",
                    hint="build it against wit/agent.wit",
                    details={"import": f"{interface}#{name}", "found": found, "expected": expected},
                )
    _check_exports(exports)
    return tuple(outside)


def _check_exports(exports: Interfaces) -> None:
    guest = next((name for name in exports if is_guest(name)), None)
    if guest is None or "handle-message" not in exports[guest]:
        raise InvalidWasm(
            "the component does not export `caxton:agent/guest@1.0.0` with `handle-message`", hint=_export_hint(exports)
        )
    for name, expected in EXPORTS.items():
        found = exports[guest].get(name, expected)
        if found != expected:
            raise InvalidWasm(
                f"the component exports `{guest}#{name}` as {found}; it must be {expected}",
                hint="build it against wit/agent.wit",
                details={"export": name, "found": found, "expected": expected},
            )


def is_guest(interface: str) -> bool:
    return interface.partition("@")[0] == f"caxton:agent/{GUEST}" and interface.partition("@")[2].startswith("1.")


def _export_hint(exports: Interfaces) -> str:
    for name in exports:
        if name.startswith("wasi:cli/run@"):
            return "it is a program with a main function; an agent exports what the world `agent` of wit/agent.wit has"
        if name.startswith("wasi:http/"):
            return "it is an HTTP handler; an agent exports what the world `agent` of wit/agent.wit has"
    return "build it for the world `agent` of wit/agent.wit"


def shape(wasm: bytes, limits: AgentLimits) -> Shape:
    """Raise InvalidWasm unless the component's structure is sound and what it asks for is within *limits*."""
    memories, minimum, elements = 0, 0, 0
    for module in _modules(wasm, 0, len(wasm), 0):
        info = inspect(module)
        for memory in info.memories:
            if memory.shared or memory.is64:
                kind = "shared" if memory.shared else "64-bit"
                raise InvalidWasm(
                    f"the component has a {kind} memory; agents have 32-bit memories of their own",
                    hint="build for wasm32, without threads",
                )
            minimum = max(minimum, memory.minimum * PAGE)
            memories += not memory.imported
        elements = max([elements, *(table.minimum for table in info.tables)])
    return fit(Shape(memories, minimum, elements), limits)


def fit(found: Shape, limits: AgentLimits) -> Shape:
    """Raise InvalidWasm unless what a component asks for is within *limits*."""
    memories, minimum, elements = found
    if memories > MAX_MEMORIES:
        raise InvalidWasm(f"the component has {memories} memories; an agent may have {MAX_MEMORIES}")
    if minimum > limits.memory // max(memories, 1):
        raise InvalidWasm(
            f"the component starts with {minimum} bytes of memory; the agent may have {limits.memory}"
            + (f", which its {memories} memories share" if memories > 1 else ""),
            hint="raise resources.memory of the agent",
            details={"memory": minimum, "limit": limits.memory},
        )
    if elements > limits.table_elements:
        raise InvalidWasm(
            f"the component has a table of {elements} elements; an agent may have {limits.table_elements}",
            hint="raise runtime.max_table_elements of the server",
            details={"table_elements": elements, "limit": limits.table_elements},
        )
    return found


def _modules(wasm: bytes, at: int, end: int, depth: int) -> Iterator[bytes]:
    """The core modules of a component and of the components inside it."""
    if depth > MAX_DEPTH:
        raise InvalidWasm(f"the component has components inside each other, more than {MAX_DEPTH} deep")
    if wasm[at : at + 8] != PREAMBLE:
        raise InvalidWasm(
            f"the component begins with {wasm[at : at + 8]!r}; this version begins with {PREAMBLE!r}",
            hint="build it with a current toolchain",
        )
    at += 8
    while at < end:
        kind = wasm[at]
        size, at = _size(wasm, at + 1, end)
        if kind == 1:
            yield wasm[at : at + size]
        elif kind == 4:
            yield from _modules(wasm, at, at + size, depth + 1)
        elif kind > 12:
            raise InvalidWasm(f"the component has a section of the unknown kind {kind} at byte {at}")
        at += size


def _size(wasm: bytes, at: int, end: int) -> tuple[int, int]:
    """A section's length (LEB128 of at most five bytes), checked against what is left, and where it begins."""
    size = 0
    for shift in range(0, 35, 7):
        if at >= end:
            break
        byte = wasm[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            if size > end - at:
                raise InvalidWasm(f"the component has a section of {size} bytes at byte {at}, and {end - at} are left")
            return size, at
    raise InvalidWasm(f"the component ends inside a section's length, at byte {at}")
