"""A module or component without what only debuggers read: names, DWARF, the tools that made it.

Rule 1: the sections that count are copied as they are; of a component those of what is inside of it as well.
Rule 2: custom sections that are not known to be for debuggers stay: some are read by linkers and by engines.
"""

from collections.abc import Iterator
from typing import Final

from caxton.core.wasm_binary import Reader, leb
from caxton.core.wasm_component import MAX_DEPTH, PREAMBLE

CUSTOM, MODULE, COMPONENT = 0, 1, 4  # ids of sections; the last two of components alone
FOR_DEBUGGERS: Final = ("name", "component-name", "producers", "sourceMappingURL", "external_debug_info")
HEAD: Final = 8


def strip(wasm: bytes) -> bytes:
    """Raises InvalidWasm when the sections are not sound."""
    return b"".join(_strip(wasm, 0))


def _strip(wasm: bytes, depth: int) -> Iterator[bytes]:
    reader = Reader(wasm, 0, len(wasm), "sections")
    if depth > MAX_DEPTH:
        reader.fail(f"components inside each other, more than {MAX_DEPTH} deep,")
    reader.skip(HEAD)
    yield wasm[:HEAD]
    while reader.at < reader.end:
        start = reader.at
        kind, size = reader.byte(), reader.u()
        body = reader.at
        reader.skip(size)
        if kind == CUSTOM:
            name = Reader(wasm, body, reader.at, "custom section").name()
            if name in FOR_DEBUGGERS or name.startswith(".debug_"):
                continue
        elif kind in (MODULE, COMPONENT) and wasm[:HEAD] == PREAMBLE:
            inside = b"".join(_strip(wasm[body : reader.at], depth + 1))
            yield bytes([kind]) + leb(len(inside)) + inside
            continue
        yield wasm[start : reader.at]
