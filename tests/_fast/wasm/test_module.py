import contextlib
import gc

import pytest

from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.core.errors import InternalError, InvalidWasm
from caxton.core.wasm_binary import export_globals, inspect
from tests.core.wasm_guests import ALL, COUNTER, ECHO, SMALLEST

ENGINE = Engine(pool_slots=8)


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_module_says_the_same_as_our_own_reading_of_its_bytes(name: str) -> None:
    wasm = wat2wasm(ALL[name])
    module, info = Module.compile(ENGINE, wasm), inspect(wasm)
    assert module.imports() == list(info.imports)
    assert module.exports() == list(info.exports)


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_rewritten_module_compiles(name: str) -> None:
    wasm = export_globals(wat2wasm(ALL[name]))
    assert Module.compile(ENGINE, wasm).exports() == list(inspect(wasm).exports)


def test_an_artefact_made_on_demand_runs_in_a_pool() -> None:
    artefact = Module.compile(Engine(pooling=False), wat2wasm(ECHO)).serialize()
    assert Module.deserialize(ENGINE, artefact).imports() == list(inspect(wat2wasm(ECHO)).imports)


def test_an_artefact_may_be_a_view_into_something_larger() -> None:
    artefact = Module.compile(ENGINE, wat2wasm(ECHO)).serialize()
    assert Module.deserialize(ENGINE, memoryview(b"head" + artefact)[4:]).exports()


def test_an_artefact_of_another_engine_is_refused() -> None:
    artefact = Module.compile(Engine(pooling=False, memory_reservation=0), wat2wasm(ECHO)).serialize()
    with pytest.raises(InternalError, match="memory reservation"):
        Module.deserialize(ENGINE, artefact)


@pytest.mark.parametrize("artefact", [b"", b"\x7fELF", b"no machine code"])
def test_what_is_no_artefact_is_refused(artefact: bytes) -> None:
    with pytest.raises(InternalError, match="cannot be loaded"):
        Module.deserialize(ENGINE, artefact)


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_module_cut_at_any_byte_compiles_or_is_invalid_wasm(name: str) -> None:
    wasm = wat2wasm(ALL[name])
    for length in range(len(wasm)):
        with contextlib.suppress(InvalidWasm):
            Module.compile(ENGINE, wasm[:length])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(module (func (result i32) (i64.const 1)))", "type mismatch"),
        ("(module (memory i64 1))", "memory64"),
        ("(module (memory 1 1 shared))", "threads"),
        ("(module (memory 1) (memory 1))", "multiple memories"),
        ("(module (type (struct)))", "gc feature"),
        ("(module (tag))", "exceptions proposal"),
        ("(module (global externref (ref.null extern)))", "gc types"),
        ("(module (memory 5000))", "exceeds the limit"),
        ("(module (table 10001 funcref))", "exceeds the limit"),
    ],
)
def test_what_agents_may_not_use_does_not_compile(text: str, reason: str) -> None:
    with pytest.raises(InvalidWasm, match=reason):
        Module.compile(ENGINE, wat2wasm(text))


@pytest.mark.parametrize(
    "text",
    [
        "(module (func (result v128) (v128.const i64x2 1 2)))",
        "(module (func $f (return_call $f)))",
        "(module (func (result i32 i32) i32.const 1 i32.const 2))",
        "(module (memory 1) (func i32.const 0 i32.const 0 i32.const 0 memory.fill))",
        "(module (table 4 funcref) (func (result funcref) i32.const 0 table.get 0))",
        "(module (func (param f32) (result i32) local.get 0 i32.trunc_sat_f32_s))",
    ],
)
def test_what_todays_compilers_emit_compiles(text: str) -> None:
    Module.compile(ENGINE, wat2wasm(text))


def test_a_compiler_error_is_one_line() -> None:
    with pytest.raises(InvalidWasm) as caught:
        Module.compile(ENGINE, b"\0asm\1\0\0\0\1\1")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the module does not compile: ")


def test_a_module_outlives_every_other_name_of_its_engine() -> None:
    module = Module.compile(Engine(pooling=False), wat2wasm(COUNTER))
    gc.collect()
    assert module.exports()
    assert module.engine.fingerprint


def test_a_module_is_made_by_compiling_or_loading() -> None:
    with pytest.raises(TypeError, match=r"Module\.compile"):
        Module()


def test_the_text_format_becomes_bytes() -> None:
    assert wat2wasm(SMALLEST).startswith(b"\0asm\1\0\0\0")
    with pytest.raises(InvalidWasm, match="the text is no module"):
        wat2wasm("(module (func")
