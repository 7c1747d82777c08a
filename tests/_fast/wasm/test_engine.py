import json
import subprocess
import sys
from typing import Any

import pytest

import caxton._fast.wasm as package
from caxton._fast.wasm.engine import Engine
from caxton.core.errors import InvalidConfig

MIB = 1 << 20
GIB = 1 << 30


def test_an_engine_has_the_sizes_it_was_asked_for() -> None:
    engine = Engine(pool_slots=4, max_memory=MIB, max_table_elements=20, max_wasm_stack=128 << 10, keep_resident=0)
    assert engine.pooling
    assert engine.warnings == ()
    assert (engine.pool_slots, engine.max_memory, engine.memory_reservation) == (4, MIB, 4 * GIB)
    assert (engine.max_table_elements, engine.max_wasm_stack, engine.keep_resident) == (20, 128 << 10, 0)


def test_a_reservation_below_the_limit_of_a_memory_is_raised_to_it() -> None:
    assert Engine(pool_slots=2, max_memory=3 * MIB + 1, memory_reservation=MIB).memory_reservation == 3 * MIB + 65536


def test_the_pool_does_not_change_the_code() -> None:
    assert Engine(pool_slots=2).fingerprint == Engine(pooling=False).fingerprint == Engine(pool_slots=9).fingerprint


def test_the_reservation_changes_the_code() -> None:
    fingerprints = {Engine(pooling=False, memory_reservation=size).fingerprint for size in (0, MIB, 2 * MIB, 4 * GIB)}
    assert len(fingerprints) == 4


def test_the_fingerprint_names_the_version_and_fits_into_a_file_name() -> None:
    fingerprint = Engine(pooling=False).fingerprint
    assert fingerprint.startswith(package.WASMTIME_VERSION + "-" + sys.platform)
    assert "/" not in fingerprint
    assert len(fingerprint) < 80


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ({"pool_slots": 0}, "pool_slots is 0"),
        ({"max_memory": 100}, "max_memory is 100"),
        ({"max_memory": 5 * GIB}, "max_memory is"),
        ({"memory_reservation": -1}, "memory_reservation is -1"),
        ({"memory_reservation": 1 << 50}, "memory_reservation is"),
        ({"max_table_elements": 0}, "max_table_elements is 0"),
        ({"max_wasm_stack": 0}, "max_wasm_stack is 0"),
        ({"async_stack_size": 1 << 40}, "async_stack_size is"),
        ({"max_wasm_stack": 256 << 10, "async_stack_size": 256 << 10}, "host functions run on the rest"),
        ({"keep_resident": -5}, "keep_resident is -5"),
    ],
)
def test_sizes_that_cannot_be_are_refused_before_the_engine_sees_them(sizes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidConfig, match=text):
        Engine(**sizes)


CHILD = """
import json, resource, sys
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
engine = Engine(pool_slots=int(sys.argv[2]))
module = Module.compile(engine, wat2wasm('(module (memory (export "memory") 1))'))
names = [item.name for item in Module.deserialize(engine, module.serialize()).exports()]
print(json.dumps([engine.pooling, engine.memory_reservation, engine.warnings, names]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to RLIMIT_AS")
@pytest.mark.parametrize(
    ("address_space", "slots", "pooling", "reservation", "warning"),
    [
        (GIB, 1016, False, 0, "no room for a pool of 1016 instances"),
        (200 * GIB, 1016, True, 100 * MIB, "no address space for 1016 memories of 4294967296 bytes"),
        (200 * GIB, 8, True, 4 * GIB, None),
    ],
)
def test_an_engine_comes_up_in_a_small_address_space(
    address_space: int, slots: int, pooling: bool, reservation: int, warning: str | None
) -> None:
    command = [sys.executable, "-c", CHILD, str(address_space), str(slots)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    got_pooling, got_reservation, warnings, names = json.loads(child.stdout)
    assert (got_pooling, got_reservation, names) == (pooling, reservation, ["memory"])
    assert warnings == [] if warning is None else warning in warnings[0]


def test_more_instances_than_the_system_has_mappings_for_get_a_warning() -> None:
    engine = Engine(pool_slots=1_000_000, memory_reservation=0)
    if sys.platform == "linux" and not engine.pooling:
        assert "vm.max_map_count" in engine.warnings[0]
        assert "on demand" in engine.warnings[1]


@pytest.mark.parametrize(
    ("folders", "text"),
    [
        ([], "is not installed"),
        (["wasmtime-49.0.0.dist-info"], "found 49.0.0"),
        (["wasmtime-50.0.7.dist-info"], "50.0.7 wheel has no engine for this machine"),
    ],
)
def test_a_wheel_that_does_not_fit_is_named(folders: list[str], text: str, tmp_path: Any) -> None:
    from importlib.machinery import ModuleSpec

    spec = None
    if folders:
        spec = ModuleSpec("wasmtime", None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path / "wasmtime")]
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.raises(ImportError, match=text):
        package._locate(spec)
