"""What is left when the sections for debuggers are gone."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from caxton._fast.wasm.component import Component
from caxton.core.errors import InvalidWasm
from caxton.core.wasm_binary import inspect
from caxton.core.wasm_component import PREAMBLE
from caxton.core.wasm_strip import strip
from tests._fast.components import Guest, engine, text
from tests.core.wasm_guests import COUNTER, binary

NAMED = binary(COUNTER) + b"\0\x07\x04name\1\0" + b"\0\x0c\x0b.debug_line" + b"\0\x06\x05other"
COMPONENT = binary(text(Guest(calls=("state.load",))))


def test_names_go_and_what_others_read_stays() -> None:
    assert strip(NAMED) == strip(binary(COUNTER)) + b"\0\x06\x05other"
    assert b"\x04name" not in strip(NAMED)
    assert inspect(strip(NAMED)) == inspect(NAMED)


def test_a_component_is_stripped_inside_too() -> None:
    stripped = strip(COMPONENT)
    assert b"\x04name" in COMPONENT
    assert b"\x04name" not in stripped
    assert b"component-name" not in stripped
    before, after = (Component.compile(engine(), each) for each in (COMPONENT, stripped))
    assert (before.imported, before.exported) == (after.imported, after.exported)
    assert strip(stripped) == stripped


@given(st.binary(max_size=80), st.integers(0, len(COMPONENT) - 1), st.integers(0, 255))
def test_any_bytes_are_stripped_or_refused(junk: bytes, at: int, byte: int) -> None:
    for wasm in (PREAMBLE + junk, junk, COMPONENT[:at] + bytes([byte]) + COMPONENT[at + 1 :]):
        with suppress(InvalidWasm):
            assert len(strip(wasm)) <= len(wasm) + 8  # a length may have been written longer or shorter than it need be
