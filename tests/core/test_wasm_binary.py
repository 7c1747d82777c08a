import contextlib
from typing import Any

import pytest
import wasmtime
from hypothesis import example, given
from hypothesis import strategies as st

from caxton.core.errors import InvalidWasm
from caxton.core.wasm_binary import Extern, Global, Limits, export_globals, inspect, sections
from tests.core.wasm_guests import ALL, COUNTER, ECHO, MUTE, SMALLEST, agent, binary

MODULES = sorted(ALL)


def test_it_says_what_a_module_imports_and_exports() -> None:
    info = inspect(binary(ECHO))
    assert info.imports == (
        Extern("caxton", "send_message", "func", ("i32", "i32"), ("i32",)),
        Extern("env", "console_log", "func", ("i32", "i32"), ()),
        Extern("wasi_snapshot_preview1", "clock_time_get", "func", ("i32", "i64", "i32"), ("i32",)),
    )
    assert info.exports == (
        Extern("", "memory", "memory"),
        Extern("", "handle_message", "func", ("i32", "i32"), ("i32",)),
        Extern("", "caxton_alloc", "func", ("i32",), ("i32",)),
    )


def test_it_says_how_much_a_module_asks_for() -> None:
    info = inspect(binary(ECHO))
    assert info.memories == (Limits(2, 8),)
    assert info.tables == (Limits(4, 16),)
    assert info.globals == (Global("i32", True, False), Global("i64", False, False), Global("f64", True, False))
    assert (info.functions, info.has_start, info.data_size) == (2, False, len("hello") + len("passive"))
    assert inspect(binary(MUTE)).has_start


@pytest.mark.parametrize("name", MODULES)
def test_it_agrees_with_the_engine(name: str) -> None:
    wasm = binary(ALL[name])
    module = wasmtime.Module(wasmtime.Engine(), wasm)
    info = inspect(wasm)
    assert [(item.module, item.name) for item in info.imports] == [(item.module, item.name) for item in module.imports]
    assert [item.name for item in info.exports] == [item.name for item in module.exports]
    for mine, theirs in zip(info.exports, module.exports, strict=True):
        if isinstance(theirs.type, wasmtime.FuncType):
            assert mine.params == tuple(map(str, theirs.type.params))
            assert mine.results == tuple(map(str, theirs.type.results))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_cut_at_any_byte_is_a_value_or_invalid_wasm(name: str) -> None:
    wasm = binary(ALL[name])
    whole = inspect(wasm)
    for length in range(len(wasm)):
        with contextlib.suppress(InvalidWasm):
            assert inspect(wasm[:length]) != whole or wasm[length] == 0  # only custom sections may be missed


@given(st.sampled_from(MODULES), st.data())
def test_flipped_bits_give_a_value_or_invalid_wasm(name: str, data: st.DataObject) -> None:
    wasm = bytearray(binary(ALL[name]))
    for position in data.draw(st.lists(st.integers(0, len(wasm) * 8 - 1), min_size=1, max_size=4)):
        wasm[position // 8] ^= 1 << position % 8
    with contextlib.suppress(InvalidWasm):
        inspect(bytes(wasm))
        export_globals(bytes(wasm))


@given(st.binary(max_size=200))
@example(b"")
@example(b"\0asm\1\0\0\0\1\xff\xff\xff\xff\x0f")  # a section of four gigabytes
@example(b"\0asm\1\0\0\0\1\5\xff\xff\xff\xff\x0f")  # four billion types
@example(b"\0asm\1\0\0\0\7\5\xff\xff\xff\xff\x0f")  # four billion exports
def test_any_bytes_behind_a_sound_head_give_a_value_or_invalid_wasm(tail: bytes) -> None:
    for wasm in (tail, b"\0asm\1\0\0\0" + tail):
        with contextlib.suppress(InvalidWasm):
            inspect(wasm)


@pytest.mark.parametrize(
    ("wasm", "text"),
    [
        (b"", "not WebAssembly"),
        (b"(module)", "not WebAssembly"),
        (b"\x7fELF\2\1\1\0", "not WebAssembly"),
        (b"\0asm", "missing"),
        (b"\0asm\2\0\0\0", "02 00 00 00"),
        (b"\0asm\x0d\0\1\0", "component"),
        (b"\0asm\1\0\0\0\x63\0", "unknown section 99"),
        (b"\0asm\1\0\0\0\3\1\0\1\1\0", "type section is repeated or out of order"),
        (b"\0asm\1\0\0\0\1\1\0\1\1\0", "type section is repeated or out of order"),
        (b"\0asm\1\0\0\0\1\2\0\0", "1 bytes too many"),
        (b"\0asm\1\0\0\0\1\4\1\x5f\0\0", "garbage-collected"),
        (b"\0asm\1\0\0\0\1\4\1\x60\0\0\3\2\1\0", "1 functions are declared, 0 have code"),
        (b"\0asm\1\0\0\0\3\2\1\5", "type 5 of 0"),
        (b"\0asm\1\0\0\0\7\5\1\1\xff\0\0", "not UTF-8"),
        (b"\0asm\1\0\0\0\7\5\1\1a\0\0", "export `a` of something that is not there"),
        (b"\0asm\1\0\0\0\5\3\1\0\1\7\x09\2\1a\2\0\1a\2\0", "two exports named `a`"),
        (b"\0asm\1\0\0\0\1\6\x80\x80\x80\x80\x80\0", "longer than 32 bits"),
    ],
)
def test_a_refusal_names_what_is_wrong(wasm: bytes, text: str) -> None:
    with pytest.raises(InvalidWasm, match=text):
        inspect(wasm)


def test_the_text_format_gets_a_hint() -> None:
    with pytest.raises(InvalidWasm) as caught:
        inspect(b"  (module)")
    assert "wat2wasm" in caught.value.hint


def test_every_mutable_global_is_exported_under_its_index() -> None:
    before, after = inspect(binary(COUNTER)), inspect(export_globals(binary(COUNTER)))
    added = [f"caxton:global:{index}" for index in range(5)]
    assert [item.name for item in after.exports] == [item.name for item in before.exports] + added
    assert after._replace(exports=before.exports) == before


def test_a_missing_export_section_is_put_in_its_place() -> None:
    rewritten = export_globals(binary(MUTE))
    wasmtime.Module(wasmtime.Engine(), rewritten)
    assert [item.name for item in inspect(rewritten).exports] == ["caxton:global:0"]
    numbers = [section.id for section in sections(rewritten) if section.id]
    assert numbers.index(7) == numbers.index(6) + 1


def test_a_module_without_mutable_globals_stays_as_it_is() -> None:
    assert export_globals(binary(SMALLEST)) is binary(SMALLEST)


def test_a_reserved_name_is_refused() -> None:
    wasm = agent(fields='(global (export "caxton:global:0") (mut i32) (i32.const 0))')
    with pytest.raises(InvalidWasm, match="caxton:global:0"):
        export_globals(wasm)


@given(st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), max_size=5))
def test_a_rewritten_module_behaves_the_same(turns: list[tuple[int, int]]) -> None:
    store = wasmtime.Store()

    def instance(wasm: bytes) -> Any:  # wasmtime's exports are of any type
        return wasmtime.Instance(store, wasmtime.Module(store.engine, wasm), []).exports(store)

    plain, rewritten = instance(binary(COUNTER)), instance(export_globals(binary(COUNTER)))
    for turn in turns:
        assert rewritten["handle_message"](store, *turn) == plain["handle_message"](store, *turn)
    assert rewritten["last"].value(store) == plain["last"].value(store)
    assert rewritten["caxton:global:1"].value(store) == plain["last"].value(store)
    assert rewritten["caxton:global:0"].value(store) == 100 + sum(first for first, _ in turns)


def test_an_agents_state_can_be_moved_through_the_exported_globals() -> None:
    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, export_globals(binary(COUNTER)))
    first: Any = wasmtime.Instance(store, module, []).exports(store)
    second: Any = wasmtime.Instance(store, module, []).exports(store)
    first["handle_message"](store, 20, 3)
    for index in range(3):
        name = f"caxton:global:{index}"
        second[name].set_value(store, first[name].value(store))
    assert second["handle_message"](store, 1, 0) == 121
