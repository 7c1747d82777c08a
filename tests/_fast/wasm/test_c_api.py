"""Our declarations of libwasmtime against the wheel's own description of itself."""

import ctypes
import re
from pathlib import Path
from typing import Any

import pytest
from wasmtime import _bindings
from wasmtime import _ffi as theirs

import caxton._fast.wasm as package
from caxton._fast.wasm.engine import struct_sizes
from caxton._fast.wasm.errors import trap_code_texts

HEADER, CYTHON = "", ""
for name, guard in (("c_api", "C_API"), ("c_component", "COMPONENT_C_API")):
    file = (Path(package.__file__).parent / f"{name}.pxd").read_text()
    header, cython = file.split(f"#define CAXTON_WASMTIME_{guard}")[1].split("#endif")
    HEADER += header
    CYTHON += cython
PROTOTYPE = re.compile(
    r"^    (?P<result>(?:const )?\w+\**) (?P<name>wasm\w+)\((?P<parameters>[^)]*)\)(?: noexcept.*|;)$", re.MULTILINE
)

# these return nothing in truth; see DESIGN.md 5
VOID_IN_TRUTH = {"wasmtime_context_epoch_deadline_async_yield_and_update"}


def prototypes(text: str) -> dict[str, tuple[bool, int]]:
    """Name -> (returns something, number of parameters)."""
    flat = re.sub(r",\n\s+", ", ", re.sub(r"\(\n\s+", "(", text))
    found = {}
    for match in PROTOTYPE.finditer(flat):
        parameters = match["parameters"].strip()
        count = 0 if parameters in ("", "void") else parameters.count(",") + 1
        found[match["name"]] = (match["result"].strip() != "void", count)
    return found


C = prototypes(HEADER)


def test_both_halves_of_the_file_declare_the_same_functions() -> None:
    assert len(C) > 200
    assert prototypes(CYTHON) == C


def test_every_function_is_what_the_wheel_says() -> None:
    for name, (returns, parameters) in C.items():
        function: Any = getattr(_bindings, f"_{name}")
        assert parameters == len(function.argtypes), name
        assert returns == (function.restype is not None) or name in VOID_IN_TRUTH, name
        assert getattr(package.LIBRARY, name)


@pytest.mark.parametrize("name", sorted(struct_sizes()))
def test_a_structure_has_the_size_the_wheel_says(name: str) -> None:
    assert struct_sizes()[name] == ctypes.sizeof(getattr(theirs, name))


def test_a_trap_code_says_what_the_wheel_names() -> None:
    codes = theirs.wasmtime_trap_code_enum
    texts = trap_code_texts()
    assert texts[codes.WASMTIME_TRAP_CODE_STACK_OVERFLOW.value] == "call stack exhausted"
    assert texts[codes.WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS.value] == "out of bounds memory access"
    assert texts[codes.WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO.value] == "integer division by zero"
    assert texts[codes.WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED.value] == "unreachable executed"
    assert texts[codes.WASMTIME_TRAP_CODE_INTERRUPT.value] == "interrupt: ran past its time"
    assert texts[codes.WASMTIME_TRAP_CODE_OUT_OF_FUEL.value] == "ran out of fuel"
