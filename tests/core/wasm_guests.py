"""Modules that the tests of the WebAssembly parts share, in text form, and the binaries made of them."""

from functools import cache

from wasmtime import wat2wasm

ECHO = """
(module
  (import "caxton" "send_message" (func $send (param i32 i32) (result i32)))
  (import "env" "console_log" (func $log (param i32 i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
  (memory (export "memory") 2 8)
  (table 4 16 funcref)
  (global $turns (mut i32) (i32.const 0))
  (global $limit i64 (i64.const -7))
  (global $mean (mut f64) (f64.const 0.5))
  (func (export "handle_message") (param i32 i32) (result i32)
    (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
    (call $log (local.get 0) (local.get 1))
    (call $send (local.get 0) (local.get 1)))
  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 1024))
  (elem (i32.const 0) func $send)
  (data (i32.const 8) "hello") (data "passive"))
"""

# no imports, no exports, and every section that may stand behind a missing export section
MUTE = """
(module
  (global $count (mut i64) (i64.const 1))
  (memory 1)
  (table 1 funcref)
  (func $start (global.set $count (i64.add (global.get $count) (i64.const 41))))
  (start $start)
  (elem (i32.const 0) func $start)
  (data (i32.const 0) "x"))
"""

COUNTER = """
(module
  (memory (export "memory") 1)
  (global $total (mut i32) (i32.const 100))
  (global $last (export "last") (mut i64) (i64.const 0))
  (global $half (mut f32) (f32.const 0.5))
  (global $wide (mut v128) (v128.const i64x2 1 2))
  (global $maker (mut funcref) (ref.null func))
  (func (export "handle_message") (param i32 i32) (result i64)
    (global.set $total (i32.add (global.get $total) (local.get 0)))
    (global.set $last (i64.extend_i32_s (local.get 1)))
    (i64.extend_i32_s (global.get $total)))
  (func (export "agent_init") (result i32) (i32.const 0))
  (func (export "handle_timer") (param i32) (result i32) (local.get 0)))
"""

SMALLEST = """
(module (memory (export "memory") 1) (func (export "handle_message") (param i32 i32) (result i32) (i32.const 0)))
"""

ALL = {"echo": ECHO, "mute": MUTE, "counter": COUNTER, "smallest": SMALLEST}


@cache
def binary(text: str) -> bytes:
    return bytes(wat2wasm(text))


def agent(*, fields: str = "", memory: str = '(memory (export "memory") 1)', handler: str = "") -> bytes:
    """A module that is an agent but for what the arguments change."""
    handler = handler or '(func (export "handle_message") (param i32 i32) (result i32) (i32.const 0))'
    return binary(f"(module {fields} {memory} {handler})")
