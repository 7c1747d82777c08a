"""What a component imports, out of its bytes: as the engine tells it, and for any bytes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton._fast.wasm.component import Component
from caxton._fast.wasm.module import wat2wasm
from caxton.core.errors import InvalidWasm
from caxton.core.wasm_component import PREAMBLE, check
from caxton.core.wasm_component_imports import imports, outside
from tests._fast.components import Guest, engine, text

STRANGE = """
  (import "wasi:http/types@0.2.9" (instance $http
    (export "descriptor" (type $d (sub resource)))
    (type $r (record (field "a" u8) (field "b" (list (tuple string f64)))))
    (export "stat" (type $s (eq $r)))
    (type $f (flags "x" "y")) (type $v (variant (case "one") (case "two" (option (own $d)))))
    (export "kind" (type $k (eq $v)))
    (export "[method]descriptor.read" (func (param "self" (borrow $d)) (result (result (list u8) (error $k)))))
    (export "[method]descriptor.nothing" (func (param "self" (borrow $d))))))
  (import "wasi:clocks/wall-clock@0.2.3" (instance (export "later" (func (param "a" u64)))))
  (import "lonely" (func (param "a" string) (result bool)))
"""
CALLS = (
    "state.load",
    "environment.get-arguments",
    "stderr.get-stderr",
    "monotonic.now",
    "wall.now",
    "preopens.get-directories",
)
WASM = wat2wasm(text(Guest(calls=CALLS, extra=STRANGE)))


def test_it_is_what_the_engine_tells() -> None:
    component = Component.compile(engine(), WASM)
    found = imports(WASM)
    assert {name: set(functions) for name, functions in found.items()} == {
        name: set(functions) for name, functions in component.imported.items()
    }
    assert set(outside(found)) == set(check(component.imported, component.exported))
    assert {"wasi:http/types@0.2.9", "wasi:clocks/wall-clock@0.2.3#later", "lonely"} <= set(outside(found))


def test_a_type_that_is_not_known_is_refused() -> None:
    with pytest.raises(InvalidWasm, match="an unknown type 0x11 in the section 7 at byte"):
        imports(PREAMBLE + bytes([7, 2, 1, 0x11]))
    with pytest.raises(InvalidWasm, match="the type 3 of 0"):
        imports(PREAMBLE + bytes([10, 6, 1, 0, 1, ord("a"), 5, 3]))


@pytest.mark.parametrize("cut", range(8, len(WASM), 7))
def test_a_component_that_was_cut_off_is_refused_or_imports_less(cut: int) -> None:
    with suppress(InvalidWasm):
        assert set(imports(WASM[:cut])) <= set(imports(WASM))


@given(st.binary(max_size=80), st.integers(0, len(WASM) - 1), st.integers(0, 255))
def test_any_bytes_give_a_table_or_a_refusal(junk: bytes, at: int, byte: int) -> None:
    for wasm in (PREAMBLE + junk, junk, WASM[:at] + bytes([byte]) + WASM[at + 1 :]):
        with suppress(InvalidWasm):
            outside(imports(wasm))
