"""The structure of components, from any bytes, and the check of what they import and export."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.core.errors import InvalidWasm
from caxton.core.wasm_abi import AgentLimits
from caxton.core.wasm_component import AGENT, EXPORTS, PREAMBLE, WASI, check, is_component, known, shape
from tests.core.wasm_guests import binary

LIMITS = AgentLimits(1 << 20, 100)
GUEST = {"caxton:agent/guest@1.0.0": {"handle-message": EXPORTS["handle-message"]}}
WHOLE = binary("(component (core module (memory 2)) (component (core module (memory 1) (table 30 funcref))))")


def refusal(wasm: bytes, limits: AgentLimits = LIMITS) -> str:
    with pytest.raises(InvalidWasm) as caught:
        shape(wasm, limits)
    return str(caught.value)


def test_a_component_is_told_from_a_module() -> None:
    assert is_component(WHOLE)
    assert not is_component(binary("(module)"))
    assert not is_component(b"\0asm\x0d\0\x01")
    assert not is_component(b"")


def test_what_a_component_asks_for_is_summed_over_what_is_inside() -> None:
    assert shape(WHOLE, LIMITS) == (2, 2 * 65536, 30)


def test_more_than_the_limits_is_refused() -> None:
    assert "starts with 131072 bytes of memory; the agent may have 196608, which its 2 memories share" in refusal(
        WHOLE, AgentLimits(3 * 65536, 100)
    )
    assert "a table of 30 elements; an agent may have 29" in refusal(WHOLE, AgentLimits(1 << 20, 29))
    assert "5 memories; an agent may have 4" in refusal(
        binary("(component " + "(core module (memory 1))" * 5 + ")"), AgentLimits(1 << 30, 100)
    )
    assert "shared memory" in refusal(binary("(component (core module (memory 1 1 shared)))"))
    assert "more than 8 deep" in refusal(binary("(component " * 11 + ")" * 11))


@pytest.mark.parametrize("cut", range(8, len(WHOLE)))
def test_a_component_that_was_cut_off_is_refused_or_smaller(cut: int) -> None:
    with suppress(InvalidWasm):
        assert shape(WHOLE[:cut], LIMITS).memories <= 2


@given(st.binary(max_size=60), st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_any_bytes_give_a_shape_or_a_refusal(junk: bytes, at: int, byte: int) -> None:
    for wasm in (PREAMBLE + junk, junk, WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]):
        with suppress(InvalidWasm):
            assert shape(wasm, LIMITS).memories <= 4


def test_an_interface_is_known_in_every_version_that_fits() -> None:
    for version in ("0.2.0", "0.2.9", "0.2.12"):
        assert known(f"wasi:io/poll@{version}") == WASI["io/poll"]
    assert known("caxton:agent/clock@1.3.0") == AGENT["clock"]
    for name in ("wasi:io/poll@0.3.0", "wasi:io/poll", "caxton:agent/clock@2.0.0", "caxton:agent/x@1.0.0", "", "a:b/c"):
        assert known(name) is None


def test_the_check_names_what_lies_outside_and_what_is_wrong() -> None:
    imports = {
        "wasi:io/poll@0.2.9": {"poll": WASI["io/poll"]["poll"], "pull": "()"},
        "wasi:sockets/tcp@0.2.9": {"[method]tcp-socket.accept": "(borrow)"},
        "": {"do-it": "()"},
    }
    assert check(imports, GUEST) == ("wasi:io/poll@0.2.9#pull", "wasi:sockets/tcp@0.2.9", "do-it")
    with pytest.raises(InvalidWasm, match=r"imports `wasi:io/poll@0.2.9#poll` as \(\); it is \(list<borrow>\)"):
        check({"wasi:io/poll@0.2.9": {"poll": "()"}}, GUEST)
    with pytest.raises(InvalidWasm, match=r"exports .*#init` as \(\); it must be \(\) -> result<_, string>"):
        check({}, {"caxton:agent/guest@1.0.0": {**GUEST["caxton:agent/guest@1.0.0"], "init": "()"}})
    for exports in ({}, {"caxton:agent/guest@2.0.0": EXPORTS}, {"caxton:agent/guest@1.0.0": {}}):
        with pytest.raises(InvalidWasm, match="does not export"):
            check({}, exports)
