"""The words of errors and traps, on traps that wasmtime-py caught: both layers share one library."""

import ctypes
from typing import Any

import pytest
import wasmtime
from wasmtime import _ffi

from caxton._fast.wasm.errors import error_text_at, trap_text_at

GUEST = """
(module
  (import "host" "fail" (func $fail))
  (memory 1)
  (table 2 funcref)
  (type $nothing (func))
  (func $deep (export "deep") (call $deep))
  (func $load (export "load") (drop (i32.load (i32.const -4))))
  (func (export "unreachable") unreachable)
  (func $divide (export "divide") (drop (i32.div_s (i32.const 1) (i32.const 0))))
  (func $overflow (export "overflow") (drop (i32.div_s (i32.const -2147483648) (i32.const -1))))
  (func $round (export "round") (drop (i32.trunc_f32_s (f32.const nan))))
  (func $empty (export "empty") (call_indirect (type $nothing) (i32.const 0)))
  (func $beyond (export "beyond") (call_indirect (type $nothing) (i32.const 9)))
  (func $wrong (export "wrong") (call_indirect (param i32) (i32.const 0) (i32.const 1)))
  (elem (i32.const 1) func $load)
  (func $host (export "host") (call $fail)))
"""


def trap_of(name: str) -> wasmtime.Trap:
    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, GUEST)

    def fail() -> None:
        raise wasmtime.Trap("the mailbox is full\nof something")

    exports: Any = wasmtime.Instance(store, module, [wasmtime.Func(store, wasmtime.FuncType([], []), fail)]).exports(
        store
    )
    with pytest.raises(wasmtime.Trap) as caught:
        exports[name](store)
    return caught.value


def address(pointer: Any) -> int:
    found = ctypes.cast(pointer, ctypes.c_void_p).value
    assert found
    return found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep", "call stack exhausted, in `deep`"),
        ("load", "out of bounds memory access, in `load` +0x"),
        ("unreachable", "unreachable executed, in function 3 +0x"),
        ("divide", "integer division by zero, in `divide` +0x"),
        ("overflow", "integer overflow, in `overflow` +0x"),
        ("round", "float is no integer, in `round` +0x"),
        ("empty", "indirect call to an empty table entry, in `empty` +0x"),
        ("beyond", "out of bounds table access, in `beyond` +0x"),
        ("wrong", "indirect call with the wrong signature, in `wrong` +0x"),
    ],
)
def test_a_trap_says_what_and_where(name: str, text: str) -> None:
    trap = trap_of(name)
    assert trap_text_at(address(trap.ptr())).startswith(text)


def test_a_trap_of_a_host_function_says_its_own_words() -> None:
    trap = wasmtime.Trap("the mailbox is full\nof something")
    assert trap_text_at(address(trap.ptr())) == "the mailbox is full of something"


@pytest.mark.parametrize("room", [0, 1, 2, 3, 4, 5, 100])
def test_a_text_is_cut_before_half_a_character(room: int) -> None:
    error = _ffi.wasmtime_error_new(ctypes.create_string_buffer("aé€".encode()))
    text = error_text_at(address(error), room)
    _ffi.wasmtime_error_delete(error)
    assert len(text) <= room
    assert "aé€".startswith(text.decode())
    assert text == "aé€".encode() or room < 6


def test_white_space_and_control_characters_do_not_break_the_line() -> None:
    error = _ffi.wasmtime_error_new(ctypes.create_string_buffer(b"  one\n\n   two\x1b[31m\tthree \n"))
    text = error_text_at(address(error), 100)
    _ffi.wasmtime_error_delete(error)
    assert text == b"one two[31mthree"
