"""The function that tells a component's memory: put in where it can count right, and nothing else is changed."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton._fast.wasm.component import Component
from caxton.core.errors import InvalidWasm
from caxton.core.wasm_component import PREAMBLE
from caxton.core.wasm_component_memory import MEMORY, NOTHING, ONE_MORE, SCALE, weighed
from tests._fast.components import CORE, Guest, engine, text
from tests.core.wasm_guests import binary

PLAIN = binary(text(Guest()))


def test_the_modules_that_are_put_in_are_these() -> None:
    assert binary('(module (func (export "n") (result i32) i32.const 0))') == NOTHING
    assert (
        binary(
            f"""(module (import "p" "n" (func (result i32))) (import "m" "{MEMORY}" (memory 0))
        (func (export "n") (result i32) call 0 memory.size i32.add))"""
        )
        == ONE_MORE
    )


@pytest.mark.parametrize(
    "guest",
    [
        Guest(),
        Guest(calls=tuple(CORE), drops=("pollable", "output")),
        Guest(exports={"init": "(call $status (i32.const 0))", "shutdown": ""}),
        Guest(extra="(core module $m (memory 2)) (core instance (instantiate $m)) (core instance (instantiate $m))"),
        Guest(extra="(component) (core type (module)) (type (func)) (core instance)"),
        Guest(
            extra='(import "a:b/c" (instance $c (export "t" (type $t (sub resource))))) (alias export $c "t" (type $x))'
        ),
    ],
)
def test_the_component_is_what_it_was_and_has_one_function_more(guest: Guest) -> None:
    wasm = binary(text(guest))
    before, after = Component.compile(engine(), wasm), Component.compile(engine(), weighed(wasm))
    assert after.exported == {**before.exported, "": {SCALE: "() -> u32"}}
    assert (after.imported, after.exports()) == (before.imported, before.exports())


@pytest.mark.parametrize(
    "extra",
    [
        "(component (core module (memory 1)))",
        '(import "a" (core module))',
        "(core module $m (memory 1))" + "(core instance (instantiate $m))" * 60,
    ],
)
def test_what_cannot_be_counted_right_stays_as_it_is(extra: str) -> None:
    wasm = binary(text(Guest(extra=extra)))
    assert weighed(wasm) == wasm


def test_a_component_without_a_memory_stays_as_it_is() -> None:
    wasm = binary("(component (core module $m) (core instance (instantiate $m)))")
    assert weighed(wasm) == wasm


@pytest.mark.parametrize("first", ["", '(import "a" (core module))'])
def test_a_function_of_that_name_is_not_the_guests_to_have(first: str) -> None:
    """The host would call it, and wait for it to return."""
    spins = f"""{first} (core module $s (func (export "f") (result i32) (loop $e (br $e)) i32.const 0))
      (core instance $s (instantiate $s)) (func $s (result u32) (canon lift (core func $s "f")))
      (export "{SCALE}" (func $s))"""
    with pytest.raises(InvalidWasm, match="a name that is Caxton's own"):
        weighed(binary(text(Guest(extra=spins))))


@given(st.binary(max_size=60), st.integers(8, len(PLAIN) - 1), st.integers(0, 255))
def test_any_bytes_give_a_component_or_a_refusal(junk: bytes, at: int, byte: int) -> None:
    for wasm in (PREAMBLE + junk, PLAIN[:at], PLAIN[:at] + bytes([byte]) + PLAIN[at + 1 :]):
        with suppress(InvalidWasm):
            assert len(weighed(wasm)) >= len(wasm)
