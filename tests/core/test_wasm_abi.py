import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.core.errors import InvalidWasm
from caxton.core.wasm_abi import ABI_IMPORTS, OPTIONAL, AgentLimits, check
from caxton.core.wasm_binary import inspect
from tests.core.wasm_guests import COUNTER, ECHO, SMALLEST, agent, binary

LIMITS = AgentLimits(memory=1 << 20, table_elements=100)


def refusal(wasm: bytes) -> InvalidWasm:
    with pytest.raises(InvalidWasm) as caught:
        check(inspect(wasm), LIMITS)
    return caught.value


@pytest.mark.parametrize("text", [ECHO, COUNTER, SMALLEST])
def test_a_sound_agent_is_admitted(text: str) -> None:
    check(inspect(binary(text)), LIMITS)


def test_every_import_of_the_abi_is_admitted_as_the_table_says() -> None:
    fields = "".join(
        f'(import "{module}" "{name}" (func (param {" ".join(types.params)}) (result {" ".join(types.results)})))'
        for module, functions in ABI_IMPORTS.items()
        for name, types in functions.items()
    )
    check(inspect(agent(fields=fields)), LIMITS)


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        ('(import "caxton" "send_mesage" (func (param i32 i32) (result i32)))', "caxton.send_mesage", "`send_message`"),
        ('(import "env" "abort" (func (param i32 i32 i32 i32)))', "env.abort", "linked in"),
        ('(import "caxton" "frobnicate" (func))', "caxton.frobnicate", "send_message"),
        ('(import "caxtn" "nothing" (func))', "caxtn.nothing", "`caxton`"),
        ('(import "host" "console_log" (func (param i32 i32)))', "host.console_log", "from `caxton`"),
        ('(import "wasi_unstable" "fd_write" (func))', "wasi_unstable.fd_write", "wasi_snapshot_preview1"),
        ('(import "__wbindgen_placeholder__" "f" (func))', "__wbindgen_placeholder__.f", "wasm-bindgen"),
        ('(import "wasi_snapshot_preview1" "sock_accept" (func))', "sock_accept", "no sockets"),
        ('(import "wasi_snapshot_preview1" "path_open" (func))', "path_open", "no files"),
        (
            '(import "caxton" "send_message" (func (param i32) (result i32)))',
            r"\(i32\) -> \(i32\); it is \(i32, i32\) -> \(i32\)",
            "these types",
        ),
        ('(import "caxton" "table" (table 1 funcref))', "the table `caxton.table`", "--import-table"),
        ('(import "env" "base" (global i32))', "the global `env.base`", "statically"),
    ],
)
def test_a_wrong_import_is_named_with_what_would_be_right(fields: str, message: str, hint: str) -> None:
    error = refusal(agent(fields=fields))
    assert hint in error.hint
    assert re.search(message, str(error))


def test_an_imported_memory_is_refused() -> None:
    error = refusal(agent(memory='(import "env" "memory" (memory 1)) (export "memory" (memory 0))'))
    assert "env.memory" in str(error)
    assert "--import-memory" in error.hint


@pytest.mark.parametrize(
    ("handler", "message", "hint"),
    [
        ("(func)", "does not export `handle_message`", "handle_message"),
        ('(func (export "handle_mesage") (param i32 i32) (result i32) i32.const 0)', "handle_message", "rename"),
        ('(func (export "_start"))', "does not export `handle_message`", "reactor"),
        ('(func (export "handle_message"))', "it must be (i32, i32) -> (i32) or (i32, i32) -> (i64)", "parameters"),
        ('(global (export "handle_message") i32 (i32.const 0))', "is a global", ""),
    ],
)
def test_a_missing_or_wrong_handler_is_named(handler: str, message: str, hint: str) -> None:
    error = refusal(agent(handler=handler))
    assert message in str(error)
    assert hint in error.hint


@pytest.mark.parametrize("name", sorted(OPTIONAL))
def test_an_optional_export_of_the_wrong_type_is_named(name: str) -> None:
    error = refusal(agent(fields=f'(func (export "{name}") (param f64))'))
    assert f"`{name}`" in str(error)
    assert "rename" in error.hint


def test_an_allocator_that_is_not_used_may_have_any_type() -> None:
    fields = """
      (func (export "caxton_alloc") (param i32) (result i32) i32.const 0)
      (func (export "alloc") (param i32 i32) (result i32) i32.const 0)"""
    check(inspect(agent(fields=fields)), LIMITS)


@pytest.mark.parametrize(
    ("memory", "fields", "message"),
    [
        ("", "", "exports no memory"),
        ("(memory 1)", "", "exports no memory"),
        ('(memory 1) (func (export "memory"))', "", "is a func, not a memory"),
        ('(memory (export "memory") 17)', "", "1114112 bytes of memory; the agent may have 1048576"),
        ('(memory (export "memory") i64 1)', "", "64-bit"),
        ('(memory (export "memory") 1 2 shared)', "", "shared"),
        ('(memory (export "memory") 1) (memory 1)', "", "2 memories"),
        ('(memory (export "memory") 1)', "(table 101 funcref)", "table of 101 elements; an agent may have 100"),
        ('(memory (export "memory") 1)', "(table 1 funcref)" * 5, "5 tables; an agent may have 4"),
    ],
)
def test_what_asks_for_too_much_is_refused_with_both_numbers(memory: str, fields: str, message: str) -> None:
    assert message in str(refusal(agent(memory=memory, fields=fields)))


def test_a_memory_as_large_as_the_limit_is_admitted() -> None:
    check(inspect(agent(memory='(memory (export "memory") 16)', fields="(table 100 funcref)")), LIMITS)


@given(st.sampled_from([ECHO, COUNTER, SMALLEST]), st.data())
def test_flipped_bits_give_a_verdict(text: str, data: st.DataObject) -> None:
    wasm = bytearray(binary(text))
    for position in data.draw(st.lists(st.integers(0, len(wasm) * 8 - 1), min_size=1, max_size=3)):
        wasm[position // 8] ^= 1 << position % 8
    with contextlib.suppress(InvalidWasm):
        check(inspect(bytes(wasm)), LIMITS)
