"""A component that tells how much memory it has: one more function beside what it exports, put in at deployment.

The engine shows nothing of what is inside a component. So each core module that has a memory of its own exports it
under a reserved name, and behind everything else come a few core modules of a handful of bytes, which add up the sizes,
and the function SCALE, which gives the sum in pages of 64 KiB.

Rule 1: nothing that was there changes its number: modules, instances, functions and types stay what they were.
Rule 2: what cannot be counted right is not counted: where memories are in components inside the component, or where the
format has something that is not understood here, the component stays as it is. Any bytes give one, or InvalidWasm.
"""

from collections.abc import Iterator
from typing import Final

from caxton.core.errors import InvalidWasm
from caxton.core.wasm_binary import Reader, export_as, inspect, leb
from caxton.core.wasm_component import PREAMBLE
from caxton.core.wasm_component_imports import (
    A_TYPE,
    ALIAS,
    CORE,
    EXPORT,
    FUNCTION,
    IMPORT,
    TYPE,
    alias,
    export,
    extern,
    name_of,
)

SCALE: Final = "caxton-memory"
MEMORY: Final = "caxton:memory"

# sections, beside those that wasm_component_imports reads
CUSTOM, MODULE, CORE_INSTANCE, CORE_TYPE, NESTED, INSTANCE, CANON = 0, 1, 2, 3, 4, 5, 8
# sorts of the core's
CORE_FUNCTION, CORE_MODULE, CORE_INSTANCES = 0x00, 0x11, 0x12
U32: Final = 0x79
MOST_INSTANCES: Final = 64  # what the engine's pool has room for

# (module (func (export "n") (result i32) i32.const 0))
NOTHING: Final = bytes.fromhex("0061736d01000000 0105016000017f 03020100 070501016e0000 0a06010400 41000b")
# (module (import "p" "n" (func (result i32))) (import "m" "caxton:memory" (memory 0))
#   (func (export "n") (result i32) call 0 memory.size i32.add))
ONE_MORE: Final = bytes.fromhex(
    "0061736d01000000 0105016000017f 021a02 0170016e0000 016d0d636178746f6e3a6d656d6f7279020000"
    "03020100 070501016e0001 0a09010700 10003f006a0b"
)


class _Odd(Exception):
    """There is something that is not counted here."""


class _Counts:
    """How many there are of what has a number."""

    def __init__(self) -> None:
        self.modules: list[bool] = []  # of each core module whether it has a memory of its own
        self.instances = 0  # of the core
        self.instantiated = 0  # those of a module; the others are names for what there is
        self.with_memory: list[int] = []
        self.core_functions = 0
        self.functions = 0
        self.types = 0

    def add(self, sort: int, core: int) -> None:
        """One more, by import, alias or export."""
        self.functions += sort == FUNCTION
        self.types += sort == A_TYPE
        self.core_functions += (sort, core) == (CORE, CORE_FUNCTION)
        if (sort, core) == (CORE, CORE_MODULE):
            raise _Odd  # nobody knows what is in it

    def add_instance(self, reader: Reader) -> None:
        if reader.byte() == 0:
            module = reader.u()
            if module >= len(self.modules):
                reader.fail(f"the module {module} of {len(self.modules)}")
            if self.modules[module]:
                self.with_memory.append(self.instances)
            self.instantiated += 1
        for _ in range(reader.u()):  # arguments, or exports
            reader.name()
            reader.byte()
            reader.u()
        self.instances += 1

    def add_canonical(self, reader: Reader) -> None:
        """A function of the core's made into the component's, or the other way round, or one about resources."""
        kind = reader.byte()
        if kind in (2, 3, 4):  # resource.new, drop, rep
            reader.u()
            self.core_functions += 1
            return
        if kind > 1 or reader.byte() != 0:
            raise _Odd
        reader.u()
        for _ in range(reader.u()):
            option = reader.byte()
            if option > 5:
                raise _Odd
            if option > 2:  # memory, realloc, post-return
                reader.u()
        if kind == 0:
            reader.u()
            self.functions += 1
        else:
            self.core_functions += 1


def weighed(wasm: bytes) -> bytes:
    """The same component with the function SCALE or, where that cannot be, as it is.

    One that has it already is refused: the host calls it without a limit of time.
    """
    for section, _, reader in _sections(wasm):
        for _ in range(reader.u() if section == EXPORT else 0):
            if export(reader)[0] == SCALE:
                raise InvalidWasm(
                    f"the component exports `{SCALE}`, a name that is Caxton's own", hint="rename the export"
                )
    pieces, counts = [PREAMBLE], _Counts()
    try:
        for section, whole, reader in _sections(wasm):
            pieces.append(_read(reader, section, counts, whole))
    except _Odd:
        return wasm
    # one more for each memory, and one to begin with
    if not counts.with_memory or counts.instantiated + len(counts.with_memory) >= MOST_INSTANCES:
        return wasm
    return b"".join([*pieces, *_scale(counts)])


def _sections(wasm: bytes) -> Iterator[tuple[int, bytes, Reader]]:
    """The number of each section, the section as it is, and a reader of what is in it."""
    outer = Reader(wasm, 0, len(wasm), "component")
    outer.skip(len(PREAMBLE))
    while outer.at < outer.end:
        begin, section, size = outer.at, outer.byte(), outer.u()
        start = outer.at
        outer.skip(size)
        yield section, wasm[begin : outer.at], Reader(wasm, start, outer.at, f"section {section}")


def _read(reader: Reader, section: int, counts: _Counts, whole: bytes) -> bytes:
    """Count what is in a section; the section, which is another one where a module has a memory."""
    if section == MODULE:
        module = reader.data[reader.at : reader.end]
        info = inspect(module)
        own = [not memory.imported for memory in info.memories]
        counts.modules.append(any(own))
        if any(own):
            return _section(MODULE, export_as(module, info, [(MEMORY, "memory", own.index(True))]))
    elif section == NESTED:
        if NOTHING[:8] in whole:  # a core module inside it
            raise _Odd
    elif section == TYPE:
        counts.types += reader.u()
    elif section in (CORE_INSTANCE, ALIAS, IMPORT, EXPORT, CANON):
        for _ in range(reader.u()):
            if section == CORE_INSTANCE:
                counts.add_instance(reader)
            elif section == ALIAS:
                counts.add(*alias(reader))
            elif section == EXPORT:
                counts.add(*export(reader)[1:])
            elif section == CANON:
                counts.add_canonical(reader)
            else:
                name_of(reader)
                counts.add(extern(reader)[0], CORE_MODULE)
    elif section not in (CUSTOM, CORE_TYPE, INSTANCE):
        raise _Odd
    return whole


def _section(number: int, body: bytes) -> bytes:
    return bytes([number]) + leb(len(body)) + body


def _text(text: str) -> bytes:
    return leb(len(text)) + text.encode()


def _scale(counts: _Counts) -> list[bytes]:
    """The sections behind all others: two modules, an instance for each memory, and their last function, lifted."""
    first, last = counts.instances, counts.instances + len(counts.with_memory)
    made = [b"\0" + leb(len(counts.modules)) + b"\0"]
    for number, with_memory in enumerate(counts.with_memory):
        given = [("p", first + number), ("m", with_memory)]
        arguments = b"".join(_text(name) + bytes([CORE_INSTANCES]) + leb(index) for name, index in given)
        made.append(b"\0" + leb(len(counts.modules) + 1) + leb(len(given)) + arguments)
    return [
        _section(MODULE, NOTHING),
        _section(MODULE, ONE_MORE),
        _section(CORE_INSTANCE, leb(len(made)) + b"".join(made)),
        _section(ALIAS, b"\1" + bytes([CORE, CORE_FUNCTION, 1]) + leb(last) + _text("n")),
        _section(TYPE, b"\1" + bytes([0x40, 0, 0, U32])),  # () -> u32
        _section(CANON, b"\1" + b"\0\0" + leb(counts.core_functions) + b"\0" + leb(counts.types)),
        _section(EXPORT, b"\1" + b"\0" + _text(SCALE) + bytes([FUNCTION]) + leb(counts.functions) + b"\0"),
    ]
