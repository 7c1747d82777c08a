"""What a component imports, read out of its bytes: the names of interfaces and of their functions.

The engine tells it too, with types, once the component is compiled; that takes an interpreter ten seconds. Here only
as much of the types is understood as it takes to step over them.

Rule 1: any bytes give a table or InvalidWasm.
Rule 2: what the binary format may come to have is refused, never guessed (component-model, Binary.md: sections, types,
aliases and imports; what is behind a gate there is read where stepping over it is all that is asked).
"""

from typing import Final

from caxton.core.wasm_binary import Reader
from caxton.core.wasm_component import MAX_DEPTH, PREAMBLE, known

# sections of a component
TYPE: Final = 7
IMPORT: Final = 10
ALIAS: Final = 6
EXPORT: Final = 11

# the sorts of what is imported, exported and aliased
CORE, FUNCTION, VALUE, A_TYPE, COMPONENT, INSTANCE = range(6)

PRIMITIVES: Final = frozenset({0x64, *range(0x73, 0x80)})

Functions = tuple[str, ...]


def imports(wasm: bytes) -> dict[str, Functions]:
    """The functions of each interface; those without an interface stand under ""."""
    found: dict[str, list[str]] = {}
    types: list[Functions] = []  # the component's types: of each instance type its functions, of others none
    outer = Reader(wasm, 0, len(wasm), "component")
    outer.skip(len(PREAMBLE))
    while outer.at < outer.end:
        section, size = outer.byte(), outer.u()
        start = outer.at
        outer.skip(size)
        reader = Reader(wasm, start, outer.at, f"section {section}")
        if section not in (TYPE, IMPORT, ALIAS, EXPORT):
            continue
        for _ in range(reader.u()):
            if section == TYPE:
                types.append(_type(reader, 0))
            elif section == ALIAS:
                types += [()] * (alias(reader)[0] == A_TYPE)
            elif section == EXPORT:
                types += [()] * (export(reader)[1] == A_TYPE)
            else:
                name = name_of(reader)
                sort, index = extern(reader)
                if sort == FUNCTION:
                    found.setdefault("", []).append(name)
                elif sort == INSTANCE:
                    if index >= len(types):
                        reader.fail(f"the type {index} of {len(types)}")
                    found.setdefault(name, []).extend(types[index])
                types += [()] * (sort == A_TYPE)
    return {name: tuple(functions) for name, functions in found.items()}


def outside(imported: dict[str, Functions]) -> tuple[str, ...]:
    """What of it the server does not have, by the names that a deployment gives them (wasm_component.check)."""
    found: list[str] = []
    for interface, functions in imported.items():
        have = known(interface)
        if have is None:
            found += [interface] if interface else functions
        else:
            found += [f"{interface}#{name}" for name in functions if name not in have]
    return tuple(found)


def name_of(reader: Reader) -> str:
    kind = reader.byte()
    if kind > 2:
        reader.fail(f"a name of the unknown kind 0x{kind:02x}")
    name = reader.name()
    if kind == 2:  # with options, such as a version
        for _ in range(reader.u()):
            reader.byte()
            reader.name()
    return name


def extern(reader: Reader) -> tuple[int, int]:
    """What something is: its sort, and the index of its type."""
    sort = reader.byte()
    if sort == CORE:
        if reader.byte() != 0x11:
            reader.fail("a core sort that is no module")
        return sort, reader.u()
    if sort in (VALUE, A_TYPE):
        if reader.byte() == 0:  # equal to an index
            return sort, reader.u()
        if sort == VALUE:
            _value(reader)
        return sort, 0
    if sort > INSTANCE:
        reader.fail(f"an unknown sort 0x{sort:02x}")
    return sort, reader.u()


def export(reader: Reader) -> tuple[str, int, int]:
    """The name of what is exported, its sort, and what sort of the core's it is."""
    name = name_of(reader)
    sort = reader.byte()
    core = reader.byte() if sort == CORE else 0
    reader.u()
    if reader.byte():
        extern(reader)
    return name, sort, core


def alias(reader: Reader) -> tuple[int, int]:
    """The sort of what gets another name, and what sort of the core's it is."""
    sort = reader.byte()
    core = reader.byte() if sort == CORE else 0
    target = reader.byte()
    if target > 2:
        reader.fail(f"an unknown target of an alias 0x{target:02x}")
    reader.u()
    if target == 2:
        reader.u()
    else:
        reader.name()
    return sort, core


def _value(reader: Reader) -> None:
    """A value's type: one that is built in, or an index."""
    reader.skip_s(33)


def _optional(reader: Reader) -> None:
    if reader.byte():
        _value(reader)


def _type(reader: Reader, depth: int) -> Functions:
    """Steps over one type; the functions of an instance's, which is what an import has."""
    code = reader.byte()
    match code:
        case _ if code in PRIMITIVES:
            pass
        case 0x72:  # record
            for _ in range(reader.u()):
                reader.name()
                _value(reader)
        case 0x71:  # variant; each case ends with a byte that was once an index
            for _ in range(reader.u()):
                reader.name()
                _optional(reader)
                reader.byte()
        case 0x70 | 0x6B:  # list, option
            _value(reader)
        case 0x67:  # list of fixed length
            _value(reader)
            reader.u()
        case 0x6F:  # tuple
            for _ in range(reader.u()):
                _value(reader)
        case 0x6E | 0x6D:  # flags, enum
            for _ in range(reader.u()):
                reader.name()
        case 0x6A:  # result
            _optional(reader)
            _optional(reader)
        case 0x69 | 0x68:  # own, borrow
            reader.u()
        case 0x66 | 0x65:  # stream, future
            _optional(reader)
        case 0x40 | 0x43:  # function, and one that is async
            for _ in range(reader.u()):
                reader.name()
                _value(reader)
            if reader.byte():  # no result
                reader.byte()
            else:
                _value(reader)
        case 0x3F:  # resource, with its destructor
            reader.byte()
            if reader.byte():
                reader.u()
        case 0x41 | 0x42:  # component, instance
            if depth == MAX_DEPTH:
                reader.fail(f"types inside each other, more than {MAX_DEPTH} deep,")
            return _declarations(reader, depth + 1)
        case _:
            reader.fail(f"an unknown type 0x{code:02x}")
    return ()


def _declarations(reader: Reader, depth: int) -> Functions:
    """The inside of a component's or an instance's type: the functions that it exports."""
    found: list[str] = []
    for _ in range(reader.u()):
        kind = reader.byte()
        if kind == 1:
            _type(reader, depth)
        elif kind == 2:
            alias(reader)
        elif kind in (3, 4):
            name = name_of(reader)
            sort, _ = extern(reader)
            if kind == 4 and sort == FUNCTION:
                found.append(name)
        else:
            reader.fail(f"an unknown declaration 0x{kind:02x}")
    return tuple(found)
