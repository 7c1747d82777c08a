"""ABI 1: what an agent's module may import and must export, as tables, and the check of a module against them.

Rule 1: a module is refused with the name of what is wrong and what would be right; the first problem is reported.
Rule 2: the host functions themselves are in _fast/wasm/hostcalls; these tables are what they are held against.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from caxton.core.errors import InvalidWasm
from caxton.core.wasm_binary import PAGE, Extern, ModuleInfo, Signature


def _signature(text: str) -> Signature:
    """`i32 i32 -> i32` in words of the text format."""
    params, _, results = text.partition("->")
    return Signature(tuple(params.split()), tuple(results.split()))


def _signatures(table: Mapping[str, str]) -> dict[str, Signature]:
    return {name: _signature(text) for name, text in table.items()}


CAXTON: Final = _signatures(
    {
        "send_message": "i32 i32 -> i32",
        "broadcast_message": "i32 i32 i32 i32 -> i32",
        "subscribe_messages": "i32 i32 -> i32",
        "console_log": "i32 i32 ->",
        "console_error": "i32 i32 ->",
        "current_timestamp": "-> i64",
        "random_u32": "-> i32",
        "sleep_micros": "i64 ->",
        "set_timer": "i64 -> i32",
        "cancel_timer": "i32 -> i32",
        "store_data": "i32 i32 i32 i32 -> i32",
        "load_data": "i32 i32 i32 i32 -> i32",
        "delete_data": "i32 i32 -> i32",
        "mcp_call": "i32 i32 i32 i32 -> i32",
        "memory_search": "i32 i32 i32 i32 -> i32",
        "last_error": "i32 i32 -> i32",
        "set_error": "i32 i32 ->",
    }
)

# the part of WASI preview 1 that a sandbox without files and sockets needs; types from wasi_snapshot_preview1.witx
WASI: Final = _signatures(
    {
        "args_get": "i32 i32 -> i32",
        "args_sizes_get": "i32 i32 -> i32",
        "environ_get": "i32 i32 -> i32",
        "environ_sizes_get": "i32 i32 -> i32",
        "clock_res_get": "i32 i32 -> i32",
        "clock_time_get": "i32 i64 i32 -> i32",
        "random_get": "i32 i32 -> i32",
        "fd_write": "i32 i32 i32 i32 -> i32",
        "fd_read": "i32 i32 i32 i32 -> i32",
        "fd_close": "i32 -> i32",
        "fd_seek": "i32 i64 i32 i32 -> i32",
        "fd_fdstat_get": "i32 i32 -> i32",
        "fd_fdstat_set_flags": "i32 i32 -> i32",
        "fd_prestat_get": "i32 i32 -> i32",
        "fd_prestat_dir_name": "i32 i32 i32 -> i32",
        "proc_exit": "i32 ->",
        "sched_yield": "-> i32",
        "poll_oneoff": "i32 i32 i32 i32 -> i32",
    }
)

WASI_MODULE: Final = "wasi_snapshot_preview1"
ABI_IMPORTS: Final[Mapping[str, Mapping[str, Signature]]] = {"caxton": CAXTON, "env": CAXTON, WASI_MODULE: WASI}

_NOTHING: Final = _signature("->")
_STATUS: Final = _signature("-> i32")
_FILL: Final = _signature("i32 i32 -> i32")

REQUIRED: Final[Mapping[str, tuple[Signature, ...]]] = {
    "handle_message": (_FILL, _signature("i32 i32 -> i64")),
}
ALLOCATORS: Final = ("caxton_alloc", "alloc", "malloc")  # the first one that a module exports is used
OPTIONAL: Final[Mapping[str, tuple[Signature, ...]]] = {
    **dict.fromkeys(ALLOCATORS, (_signature("i32 -> i32"),)),
    "agent_init": (_STATUS, _NOTHING),
    "init": (_STATUS, _NOTHING),
    "_initialize": (_NOTHING,),
    "agent_shutdown": (_STATUS, _NOTHING),
    "shutdown": (_STATUS, _NOTHING),
    "handle_timer": (_signature("i32 -> i32"),),
    "get_capabilities": (_FILL,),
    "get_response": (_FILL,),
}
MAX_TABLES: Final = 4  # what a slot of the pool has room for (_fast/wasm/engine)


class AgentLimits(NamedTuple):
    """How much a module may ask for."""

    memory: int  # bytes
    table_elements: int = 10_000


def check(info: ModuleInfo, limits: AgentLimits) -> None:
    """Raise InvalidWasm unless the module can be an agent within *limits*."""
    for item in info.imports:
        _check_import(item)
    _check_exports({item.name: item for item in info.exports})
    _check_memory(info)
    fit(*sizes(info), limits)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def _check_import(item: Extern) -> None:
    full = f"{item.module}.{item.name}"
    details = {"import": full, "kind": item.kind}
    if item.kind != "func":
        raise InvalidWasm(
            f"the module imports the {item.kind} `{full}`; agents bring their own",
            hint=_OWN[item.kind],
            details=details,
        )
    known = ABI_IMPORTS.get(item.module)
    if known is None:
        raise InvalidWasm(
            f"the module imports `{full}`; there is no module `{item.module}` to import from",
            hint=_module_hint(item) or f"import from {', '.join(f'`{name}`' for name in ABI_IMPORTS)}",
            details=details,
        )
    expected = known.get(item.name)
    if expected is None:
        if item.module == WASI_MODULE:
            hint = "agents have no files and no sockets: remove what needs them, or log with `caxton.console_log`"
        else:
            hint = "one of " + ", ".join(known)
            if item.module == "env":
                hint += "; or the function was meant to be linked in and its source or library is missing"
        suggestion = _did_you_mean(item.name, known)
        raise InvalidWasm(
            f"the module imports `{full}`, which Caxton does not have", hint=suggestion or hint, details=details
        )
    if item.signature != expected:
        raise InvalidWasm(
            f"the module imports `{full}` as {item.signature}; it is {expected}",
            hint="declare the import with these types",
            details={**details, "found": str(item.signature), "expected": str(expected)},
        )


_OWN: Final = {
    "memory": "define the memory in the module and export it (drop the linker's `--import-memory`)",
    "table": "define the table in the module (drop the linker's `--import-table`)",
    "global": "link statically: build no position-independent side module",
    "tag": "build without exceptions",
}


def _module_hint(item: Extern) -> str:
    if item.module.startswith("wasi_"):
        return f"build with a toolchain that targets WASI preview 1 (`{WASI_MODULE}`)"
    if item.module.startswith("__wbindgen"):
        return "build for a plain WebAssembly host, without wasm-bindgen (it makes modules for JavaScript)"
    if item.name in CAXTON:
        return f"import `{item.name}` from `caxton`"
    return _did_you_mean(item.module, ABI_IMPORTS)


def _check_exports(exports: Mapping[str, Extern]) -> None:
    memory = exports.get("memory")
    if memory is None or memory.kind != "memory":
        raise InvalidWasm(
            "the module exports no memory named `memory`"
            if memory is None
            else f"the export `memory` is a {memory.kind}, not a memory",
            hint="messages are written into the agent's memory: export it as `memory`",
            details={"export": "memory"},
        )
    for name, allowed in REQUIRED.items():
        if name not in exports:
            raise InvalidWasm(
                f"the module does not export `{name}`", hint=_export_hint(name, exports), details={"export": name}
            )
        _check_export(exports[name], allowed)
    allocator = next((name for name in ALLOCATORS if name in exports), None)
    for name, allowed in OPTIONAL.items():
        if name in exports and (name not in ALLOCATORS or name == allocator):
            _check_export(exports[name], allowed)


def _export_hint(name: str, exports: Mapping[str, Extern]) -> str:
    wanted = f"export a function `{name}` {REQUIRED[name][0]}"
    functions = [item.name for item in exports.values() if item.kind == "func"]
    suggestion = _did_you_mean(name, functions)
    if suggestion:
        close = suggestion.removeprefix("did you mean ").removesuffix("?")
        return f"{wanted}; it exports {close}: rename it?"
    if "_start" in exports:
        return f"{wanted}; it exports `_start`, a program: build a reactor instead (for C: `-mexec-model=reactor`)"
    return wanted + ' (for C: `__attribute__((export_name("' + name + '")))`)'


def _check_export(item: Extern, allowed: tuple[Signature, ...]) -> None:
    right = " or ".join(str(signature) for signature in allowed)
    if item.kind != "func":
        raise InvalidWasm(
            f"the export `{item.name}` is a {item.kind}; it must be a function {right}", details={"export": item.name}
        )
    if item.signature not in allowed:
        raise InvalidWasm(
            f"the export `{item.name}` is {item.signature}; it must be {right}",
            hint="change its parameters and result, or rename it if it is not meant for Caxton",
            details={"export": item.name, "found": str(item.signature)},
        )


def _check_memory(info: ModuleInfo) -> None:
    if len(info.memories) != 1:
        raise InvalidWasm(
            f"the module has {len(info.memories)} memories; an agent has one", hint="build without multi-memory"
        )
    memory = info.memories[0]
    if memory.shared or memory.is64:
        kind = "shared" if memory.shared else "64-bit"
        raise InvalidWasm(
            f"the module's memory is {kind}; agents have a 32-bit memory of their own",
            hint="build for wasm32, without threads",
        )
    if len(info.tables) > MAX_TABLES:
        raise InvalidWasm(f"the module has {len(info.tables)} tables; an agent may have {MAX_TABLES}")
    for table in info.tables:
        if table.is64 or table.shared:
            raise InvalidWasm(
                "the module has a 64-bit or shared table; tables have 32-bit indices", hint="build for wasm32"
            )


def sizes(info: ModuleInfo) -> tuple[int, int]:
    """What a module that was checked asks for: bytes of memory at the start, elements of its largest table."""
    return info.memories[0].minimum * PAGE, max((table.minimum for table in info.tables), default=0)


def fit(memory: int, table_elements: int, limits: AgentLimits) -> None:
    """Raise InvalidWasm unless these sizes of a module are within *limits*."""
    if memory > limits.memory:
        raise InvalidWasm(
            f"the module starts with {memory} bytes of memory; the agent may have {limits.memory}",
            hint="raise resources.memory of the agent, or lower the module's initial memory",
            details={"memory": memory, "limit": limits.memory},
        )
    if table_elements > limits.table_elements:
        raise InvalidWasm(
            f"the module has a table of {table_elements} elements; an agent may have {limits.table_elements}",
            hint="raise runtime.max_table_elements of the server",
            details={"table_elements": table_elements, "limit": limits.table_elements},
        )
