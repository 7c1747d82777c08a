"""The structure of a core WebAssembly module: what it imports and exports, how much it asks for, and one rewrite.

Rule 1: the bytes come from strangers. Any bytes give a `ModuleInfo` or `InvalidWasm`; every length is checked against
what is left, no count allocates before its items are read.
Rule 2: this file reads the structure, not the code: instructions are the engine's to validate. A module that passes
here may still not compile.
Rule 3: what an agent may import and must export is not known here; see wasm_abi.py.

Sections and their order: WebAssembly core specification 3.0, 5.5; numbers in little-endian base 128 ("LEB128", 5.2.2).
"""

from typing import Final, Literal, NamedTuple, NoReturn

from caxton.core.errors import InvalidWasm

Kind = Literal["func", "table", "memory", "global", "tag"]

PAGE: Final = 65536
RESERVED_PREFIX: Final = "caxton:global:"

KINDS: Final[tuple[Kind, ...]] = ("func", "table", "memory", "global", "tag")
VALUES: Final = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
}

# id -> (name, place): known sections come at most once and in the order of their places
SECTIONS: Final = {
    1: ("type", 1),
    2: ("import", 2),
    3: ("function", 3),
    4: ("table", 4),
    5: ("memory", 5),
    13: ("tag", 6),
    6: ("global", 7),
    7: ("export", 8),
    8: ("start", 9),
    9: ("element", 10),
    12: ("data count", 11),
    10: ("code", 12),
    11: ("data", 13),
}
EXPORT: Final = 7
EXPORT_PLACE: Final = SECTIONS[EXPORT][1]


class Signature(NamedTuple):
    """A function's type, in the words of the text format."""

    params: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.params)}) -> ({', '.join(self.results)})"


class Extern(NamedTuple):
    """Something imported or exported; `module` is empty for exports, the types are empty unless it is a function."""

    module: str
    name: str
    kind: Kind
    params: tuple[str, ...] = ()
    results: tuple[str, ...] = ()

    @property
    def signature(self) -> Signature:
        return Signature(self.params, self.results)


class Limits(NamedTuple):
    """A memory (in pages of 64 KiB) or a table (in elements)."""

    minimum: int
    maximum: int | None
    shared: bool = False
    is64: bool = False
    imported: bool = False


class Global(NamedTuple):
    type: str
    mutable: bool
    imported: bool


class Section(NamedTuple):
    """Where a section lies: `start` at its id byte, `body` behind its size, `end` behind its last byte."""

    id: int
    start: int
    body: int
    end: int


class ModuleInfo(NamedTuple):
    imports: tuple[Extern, ...]
    exports: tuple[Extern, ...]
    memories: tuple[Limits, ...]
    tables: tuple[Limits, ...]
    globals: tuple[Global, ...]
    functions: int
    has_start: bool
    data_size: int


class Reader:
    """Bounded reads from *at* up to *end*; `what` names the part for error messages."""

    __slots__ = ("at", "data", "end", "what")

    def __init__(self, data: bytes, at: int, end: int, what: str) -> None:
        self.data = data
        self.at = at
        self.end = end
        self.what = what

    def fail(self, problem: str) -> NoReturn:
        raise InvalidWasm(
            f"not a sound WebAssembly module: {problem} in the {self.what} at byte {self.at} of {len(self.data)}",
            hint="the file may be cut off or damaged: compare its size with the original and build it again",
            details={"offset": self.at, "part": self.what},
        )

    def skip(self, count: int) -> None:
        if count > self.end - self.at:
            self.fail(f"{count} bytes expected, {self.end - self.at} left")
        self.at += count

    def byte(self) -> int:
        if self.at >= self.end:
            self.fail("ends too early")
        value = self.data[self.at]
        self.at += 1
        return value

    def u(self, bits: int = 32) -> int:
        """An unsigned LEB128 of at most *bits* bits."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift >= bits:
                self.fail(f"a number longer than {bits} bits")
        if value >> bits:
            self.fail(f"a number longer than {bits} bits")
        return value

    def skip_s(self, bits: int) -> None:
        """A signed LEB128; its value matters to nobody here."""
        for _ in range((bits + 6) // 7):
            if self.byte() < 0x80:
                return
        self.fail(f"a number longer than {bits} bits")

    def name(self) -> str:
        length = self.u()
        start = self.at
        self.skip(length)
        try:
            return self.data[start : self.at].decode("utf-8")
        except UnicodeDecodeError:
            self.fail("a name that is not UTF-8")

    def value_type(self) -> str:
        code = self.byte()
        if code in (0x63, 0x64):
            self.fail("a typed reference, which agents cannot use,")
        if code not in VALUES:
            self.fail(f"an unknown value type 0x{code:02x}")
        return VALUES[code]

    def value_types(self) -> tuple[str, ...]:
        return tuple([self.value_type() for _ in range(self.u())])

    def limits(self, *, imported: bool) -> Limits:
        flags = self.byte()
        if flags & ~0x07:
            self.fail(f"unknown limits 0x{flags:02x}")
        bits = 64 if flags & 0x04 else 32
        minimum = self.u(bits)
        maximum = self.u(bits) if flags & 0x01 else None
        return Limits(minimum, maximum, bool(flags & 0x02), bool(flags & 0x04), imported)

    def table(self, *, imported: bool) -> Limits:
        self.value_type()
        return self.limits(imported=imported)

    def global_(self, *, imported: bool) -> Global:
        value = self.value_type()
        mutable = self.byte()
        if mutable > 1:
            self.fail(f"an unknown mutability {mutable}")
        return Global(value, bool(mutable), imported)

    def skip_expression(self) -> None:
        """A constant expression, up to and with its `end`."""
        while True:
            code = self.byte()
            if code == 0x0B:  # end
                return
            if code in _PLAIN:
                continue
            if code in (0x23, 0xD2):  # global.get, ref.func
                self.u()
            elif code == 0x41:
                self.skip_s(32)
            elif code == 0x42:
                self.skip_s(64)
            elif code == 0x43:
                self.skip(4)
            elif code == 0x44:
                self.skip(8)
            elif code == 0xD0:  # ref.null
                self.skip_s(33)
            elif code == 0xFD and self.u() == 12:  # v128.const
                self.skip(16)
            else:
                self.fail(f"instruction 0x{code:02x} in a constant expression")


_PLAIN: Final = frozenset({0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E})  # i32 and i64 add, sub, mul


def _check_head(wasm: bytes) -> None:
    if wasm[:4] != b"\0asm":
        text = wasm[:64].lstrip()
        hint = "deploy the compiled .wasm file"
        if text.startswith(b"("):
            hint = "this looks like the text format: compile it with `wat2wasm` first"
        raise InvalidWasm(f"not WebAssembly: it starts with {wasm[:4]!r}, a module starts with b'\\0asm'", hint=hint)
    version = wasm[4:8]
    if version == b"\x01\0\0\0":
        return
    if len(version) == 4 and version[2:] == b"\x01\0":
        raise InvalidWasm(
            "this is a WebAssembly component; agents are core modules",
            hint="build a core module (for C: `-target wasm32-wasi -mexec-model=reactor`), no component",
        )
    raise InvalidWasm(
        f"WebAssembly version {version.hex(' ') or 'missing'}; version 01 00 00 00 is understood",
        hint="the file may be cut off or damaged: build it again",
    )


def sections(wasm: bytes) -> list[Section]:
    """The sections in file order. Raises InvalidWasm when they do not fill the file, repeat, or are out of order."""
    _check_head(wasm)
    found: list[Section] = []
    reader = Reader(wasm, 8, len(wasm), "section list")
    last = 0
    while reader.at < reader.end:
        start = reader.at
        number = reader.byte()
        if number:
            if number not in SECTIONS:
                reader.fail(f"an unknown section {number}")
            name, place = SECTIONS[number]
            if place <= last:
                reader.fail(f"the {name} section is repeated or out of order")
            last = place
        size = reader.u()
        body = reader.at
        reader.skip(size)
        found.append(Section(number, start, body, reader.at))
    return found


class _Inspector:
    """Collects what the sections say; one method per section that says something."""

    def __init__(self) -> None:
        self.types: list[Signature] = []
        self.functions: list[int] = []  # type index of each function, imported ones first
        self.imports: list[Extern] = []
        self.exports: list[Extern] = []
        self.memories: list[Limits] = []
        self.tables: list[Limits] = []
        self.globals: list[Global] = []
        self.tags = 0
        self.imported_functions = 0
        self.bodies = 0
        self.has_start = False
        self.data_size = 0

    def signature(self, reader: Reader) -> tuple[int, Signature]:
        index = reader.u()
        if index >= len(self.types):
            reader.fail(f"type {index} of {len(self.types)}")
        return index, self.types[index]

    def type(self, reader: Reader) -> None:
        for _ in range(reader.u()):
            form = reader.byte()
            if form != 0x60:
                reader.fail(
                    f"type form 0x{form:02x}, which only garbage-collected languages need and agents cannot use,"
                )
            params = reader.value_types()
            self.types.append(Signature(params, reader.value_types()))

    def import_(self, reader: Reader) -> None:
        for _ in range(reader.u()):
            module, name = reader.name(), reader.name()
            kind = reader.byte()
            if kind >= len(KINDS):
                reader.fail(f"an unknown kind {kind} of import")
            types = Signature((), ())
            if kind == 0:
                index, types = self.signature(reader)
                self.functions.append(index)
            elif kind == 1:
                self.tables.append(reader.table(imported=True))
            elif kind == 2:
                self.memories.append(reader.limits(imported=True))
            elif kind == 3:
                self.globals.append(reader.global_(imported=True))
            else:
                self.tag_type(reader)
            self.imports.append(Extern(module, name, KINDS[kind], *types))
        self.imported_functions = len(self.functions)

    def tag_type(self, reader: Reader) -> None:
        if reader.byte() != 0:
            reader.fail("an unknown kind of tag")
        self.signature(reader)
        self.tags += 1

    def function(self, reader: Reader) -> None:
        for _ in range(reader.u()):
            self.functions.append(self.signature(reader)[0])

    def table(self, reader: Reader) -> None:
        for _ in range(reader.u()):
            if reader.at < reader.end and reader.data[reader.at] == 0x40:
                reader.byte()
                if reader.byte() != 0:
                    reader.fail("an unknown kind of table")
                self.tables.append(reader.table(imported=False))
                reader.skip_expression()
            else:
                self.tables.append(reader.table(imported=False))

    def memory(self, reader: Reader) -> None:
        for _ in range(reader.u()):
            self.memories.append(reader.limits(imported=False))

    def tag(self, reader: Reader) -> None:
        for _ in range(reader.u()):
            self.tag_type(reader)

    def global_(self, reader: Reader) -> None:
        for _ in range(reader.u()):
            self.globals.append(reader.global_(imported=False))
            reader.skip_expression()

    def export(self, reader: Reader) -> None:
        names: set[str] = set()
        spaces = (len(self.functions), len(self.tables), len(self.memories), len(self.globals), self.tags)
        for _ in range(reader.u()):
            name = reader.name()
            kind = reader.byte()
            index = reader.u()
            if name in names:
                reader.fail(f"two exports named `{name}`")
            names.add(name)
            if kind >= len(KINDS) or index >= spaces[kind]:
                reader.fail(f"export `{name}` of something that is not there")
            types = self.types[self.functions[index]] if kind == 0 else Signature((), ())
            self.exports.append(Extern("", name, KINDS[kind], *types))

    def start(self, reader: Reader) -> None:
        if reader.u() >= len(self.functions):
            reader.fail("a start function that is not there")
        self.has_start = True

    def code(self, reader: Reader) -> None:
        self.bodies = reader.u()
        for _ in range(self.bodies):
            reader.skip(reader.u())

    def data(self, reader: Reader) -> None:
        for _ in range(reader.u()):
            flags = reader.u()
            if flags > 2:
                reader.fail(f"an unknown kind {flags} of data segment")
            if flags == 2:
                reader.u()
            if flags != 1:
                reader.skip_expression()
            size = reader.u()
            reader.skip(size)
            self.data_size += size

    def count(self, reader: Reader) -> None:
        reader.u()


# the element section says nothing an admission needs, and custom sections (names, producers) are nobody's business
_READ: Final = {
    1: _Inspector.type,
    2: _Inspector.import_,
    3: _Inspector.function,
    4: _Inspector.table,
    5: _Inspector.memory,
    13: _Inspector.tag,
    6: _Inspector.global_,
    7: _Inspector.export,
    8: _Inspector.start,
    12: _Inspector.count,
    10: _Inspector.code,
    11: _Inspector.data,
}


def inspect(wasm: bytes) -> ModuleInfo:
    """What the module imports, exports and asks for. Raises InvalidWasm for anything that is no whole core module."""
    found = _Inspector()
    for section in sections(wasm):
        if section.id not in _READ:
            continue
        reader = Reader(wasm, section.body, section.end, f"{SECTIONS[section.id][0]} section")
        _READ[section.id](found, reader)
        if reader.at != reader.end:
            reader.fail(f"{reader.end - reader.at} bytes too many")
    defined = len(found.functions) - found.imported_functions
    if defined != found.bodies:
        raise InvalidWasm(
            f"not a sound WebAssembly module: {defined} functions are declared, {found.bodies} have code",
            hint="the file is probably cut off: compare its size with the original and build it again",
        )
    return ModuleInfo(
        imports=tuple(found.imports),
        exports=tuple(found.exports),
        memories=tuple(found.memories),
        tables=tuple(found.tables),
        globals=tuple(found.globals),
        functions=defined,
        has_start=found.has_start,
        data_size=found.data_size,
    )


def leb(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def export_globals(wasm: bytes) -> bytes:
    """The same module with every mutable global exported as `caxton:global:<index>`.

    Memory, globals and tables are then all of an agent's state between turns, to be read and written from outside.
    """
    info = inspect(wasm)
    for export in info.exports:
        if export.name.startswith(RESERVED_PREFIX):
            raise InvalidWasm(
                f"the module exports `{export.name}`; names that start with `{RESERVED_PREFIX}` are Caxton's own",
                hint="rename the export",
            )
    mutable = [index for index, value in enumerate(info.globals) if value.mutable]
    return export_as(wasm, info, [(f"{RESERVED_PREFIX}{index}", "global", index) for index in mutable])


def export_as(wasm: bytes, info: ModuleInfo, more: list[tuple[str, Kind, int]]) -> bytes:
    """The same module with some more exports: their names, what they are, and their numbers."""
    if not more:
        return wasm
    added = bytearray()
    for name, kind, index in more:
        added += leb(len(name.encode())) + name.encode() + bytes([KINDS.index(kind)]) + leb(index)
    place, end, old = _export_place(wasm)
    body = leb(len(info.exports) + len(more)) + old + added
    return b"".join((wasm[:place], bytes([EXPORT]), leb(len(body)), body, wasm[end:]))


def _export_place(wasm: bytes) -> tuple[int, int, bytes]:
    """Where the export section begins and ends, and its entries; where it would stand when there is none."""
    place = 8
    for section in sections(wasm):
        if section.id == EXPORT:
            reader = Reader(wasm, section.body, section.end, "export section")
            reader.u()
            return section.start, section.end, wasm[reader.at : section.end]
        if section.id and SECTIONS[section.id][1] > EXPORT_PLACE:
            break
        place = section.end
    return place, place, b""
