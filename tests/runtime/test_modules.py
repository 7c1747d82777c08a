import hashlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from caxton._fast.wasm.component import Component
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.core.errors import CaxtonError, InternalError, InvalidWasm, ResourceLimitExceeded
from caxton.core.wasm_abi import AgentLimits
from caxton.core.wasm_binary import export_globals
from caxton.core.wasm_component import Shape
from caxton.core.wasm_component_memory import SCALE
from caxton.runtime.compile_child import REFUSED
from caxton.runtime.modules import CompileLimits, ModuleCache, _child_environment, trailer
from tests._fast.components import Guest, text
from tests.core.wasm_guests import COUNTER, MUTE, agent, binary

ENGINE = Engine(pool_slots=4, max_memory=1 << 20)
GUEST = binary(COUNTER)
_CODE = Module.compile(ENGINE, export_globals(GUEST)).serialize()
SHAPE = Shape(1, 65536, 0)
ARTEFACT = _CODE + trailer(_CODE, SHAPE)


def sha(wasm: bytes) -> str:
    return hashlib.sha256(wasm).hexdigest()


def cache(directory: Path, engine: Engine = ENGINE, **limits: float) -> ModuleCache:
    return ModuleCache(engine, directory, CompileLimits(**limits))  # type: ignore[arg-type]  # each limit has a type of its own


def heavy(steps: int) -> bytes:
    """A module whose one function takes the compiler about 0.1 ms and 15 KB a step."""
    body = "".join(
        f"(local.set {step % 50} (i32.mul (local.get {step * 7 % 50}) (i32.const {step})))"
        f"(if (local.get {step % 50}) (then (local.set {step * 3 % 50} (i32.const {step}))))"
        for step in range(steps)
    )
    return agent(fields=f"(func (local {'i32 ' * 50}) {body})")


async def test_a_module_is_compiled_once_and_then_comes_from_memory(tmp_path: Path) -> None:
    modules = cache(tmp_path)
    module = await modules.load(GUEST, sha(GUEST))
    assert await modules.load(GUEST, sha(GUEST)) is module
    assert modules.compiled == 1


async def test_every_mutable_global_of_a_loaded_module_is_exported(tmp_path: Path) -> None:
    module = await cache(tmp_path).load(GUEST, sha(GUEST))
    assert "caxton:global:0" in [item.name for item in module.exports()]


async def test_after_a_restart_a_module_comes_from_disk(tmp_path: Path) -> None:
    first = await cache(tmp_path).load(GUEST, sha(GUEST))
    modules = cache(tmp_path, Engine(pool_slots=9))
    assert (await modules.load(GUEST, sha(GUEST))).exports() == first.exports()
    assert modules.compiled == 0


async def test_a_sound_artefact_is_taken_as_it_is(tmp_path: Path) -> None:
    modules = cache(tmp_path)
    path = modules.path(sha(GUEST))
    path.parent.mkdir()
    path.write_bytes(ARTEFACT)
    await modules.load(GUEST, sha(GUEST))
    assert modules.compiled == 0


async def test_while_there_is_an_artefact_the_module_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await cache(tmp_path).load(GUEST, sha(GUEST))
    monkeypatch.setattr("caxton.runtime.modules.inspect", None)  # Python reads a large module for a tenth of a second
    monkeypatch.setattr("caxton.runtime.modules.export_globals", None)
    assert (await cache(tmp_path).load(GUEST, sha(GUEST))).exports() == first.exports()
    with pytest.raises(InvalidWasm, match="65536 bytes of memory; the agent may have 100"):
        await cache(tmp_path).load(GUEST, sha(GUEST), AgentLimits(memory=100))


async def test_where_files_must_not_be_run_a_copy_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await cache(tmp_path).load(GUEST, sha(GUEST))

    def forbidden(engine: Engine, path: Path) -> Module:
        raise InternalError("the compiled module cannot be loaded: permission denied")

    copying = SimpleNamespace(open=forbidden, deserialize=Module.deserialize)
    monkeypatch.setattr("caxton.runtime.modules.Module", copying)
    modules = cache(tmp_path)
    assert (await modules.load(GUEST, sha(GUEST))).exports() == first.exports()
    assert modules.compiled == 0


async def test_those_who_want_the_same_module_share_one_compilation(tmp_path: Path) -> None:
    modules = cache(tmp_path)
    loaded: list[Module] = []

    async def load() -> None:
        loaded.append(await modules.load(GUEST, sha(GUEST)))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(load)
    assert modules.compiled == 1
    assert len(set(map(id, loaded))) == 1


async def test_those_who_want_the_same_bad_module_share_one_refusal(tmp_path: Path) -> None:
    modules = cache(tmp_path)
    wasm = agent(fields="(func (result i32) (i64.const 1))")
    errors: list[CaxtonError] = []

    async def load() -> None:
        with pytest.raises(InvalidWasm, match="type mismatch") as caught:
            await modules.load(wasm, sha(wasm))
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(load)
    assert modules.compiled == 1
    assert len(set(map(id, errors))) == 3
    assert {error.hint for error in errors} == {errors[0].hint}


async def test_when_the_first_is_cancelled_the_next_takes_over(tmp_path: Path) -> None:
    modules = cache(tmp_path)
    loaded: list[Module] = []

    async def load() -> None:
        loaded.append(await modules.load(GUEST, sha(GUEST)))

    async def load_until(scope: trio.CancelScope) -> None:
        with scope:
            await load()

    first = trio.CancelScope()
    async with modules._compilers:  # both wait: the first for a compiler, the second for the first
        modules._compilers.total_tokens = 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load_until, first)
            while modules._compilers.statistics().tasks_waiting == 0:
                await trio.testing.wait_all_tasks_blocked(0.001)
            nursery.start_soon(load)
            await trio.testing.wait_all_tasks_blocked(0.05)
            first.cancel()
            while modules._compilers.statistics().tasks_waiting == 0:
                await trio.testing.wait_all_tasks_blocked(0.001)
            modules._compilers.total_tokens = 2
    assert first.cancelled_caught
    assert len(loaded) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:10],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: b"X" + content[1:],
        lambda content: content[:30] + bytes([content[30] ^ 1]) + content[31:],
        lambda content: content[:-500] + bytes([content[-500] ^ 64]) + content[-499:],
        lambda content: content[: len(_CODE)],
        lambda content: trailer(b"", SHAPE),
        lambda content: b"no machine code" + trailer(b"no machine code", SHAPE),
    ],
)
async def test_a_damaged_artefact_is_compiled_again(
    damage: Callable[[bytes], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    modules = cache(tmp_path)
    path = modules.path(sha(GUEST))
    path.parent.mkdir()
    path.write_bytes(damage(ARTEFACT))
    with caplog.at_level(logging.WARNING):
        assert (await modules.load(GUEST, sha(GUEST))).exports()
    assert modules.compiled == 1
    assert "compiling again" in caplog.text
    again = cache(tmp_path)
    await again.load(GUEST, sha(GUEST))
    assert again.compiled == 0


async def test_artefacts_of_engines_that_are_no_more_are_removed(tmp_path: Path) -> None:
    modules = cache(tmp_path)
    path = modules.path(sha(GUEST))
    path.parent.mkdir()
    old = path.with_name(f"{sha(GUEST)}.49.0.0-linux-x86_64-000000000000.cwasm")
    other = path.with_name(f"{sha(b'another')}.49.0.0-linux-x86_64-000000000000.cwasm")
    old.touch()
    other.touch()
    await modules.load(GUEST, sha(GUEST))
    assert sorted(path.parent.iterdir()) == sorted([path, other])


async def test_a_module_works_when_its_artefact_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "modules").touch()
    module = await cache(tmp_path / "modules").load(GUEST, sha(GUEST))
    assert module.exports()
    assert "cannot be written" in caplog.text


async def test_what_is_no_agent_never_reaches_the_compiler(tmp_path: Path) -> None:
    modules = cache(tmp_path)
    wasm = binary(MUTE)
    with pytest.raises(InvalidWasm, match="exports no memory"):
        await modules.load(wasm, sha(wasm))
    with pytest.raises(InvalidWasm, match="65536 bytes of memory; the agent may have 100"):
        await modules.load(GUEST, sha(GUEST), AgentLimits(memory=100))
    with pytest.raises(InternalError, match="has the SHA-256"):
        await modules.load(GUEST, sha(b"something else"))
    assert modules.compiled == 0


async def test_the_limits_of_one_agent_hold_though_another_has_loaded_the_module(tmp_path: Path) -> None:
    modules = cache(tmp_path)
    module = await modules.load(GUEST, sha(GUEST))
    with pytest.raises(InvalidWasm, match="the agent may have 100"):
        await modules.load(GUEST, sha(GUEST), AgentLimits(memory=100))
    assert module.exports()


async def test_a_module_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResourceLimitExceeded, match="modules may have 100") as caught:
        await cache(tmp_path, module_size=100).load(GUEST, sha(GUEST))
    assert "max_module_size" in caught.value.hint


@pytest.mark.slow
async def test_a_compilation_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    wasm = heavy(20_000)
    with pytest.raises(ResourceLimitExceeded, match=r"longer than 0\.2 s") as caught:
        await cache(tmp_path, timeout=0.2).load(wasm, sha(wasm))
    assert "compile_timeout" in caught.value.hint
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
async def test_a_compilation_that_takes_too_much_memory_is_stopped(tmp_path: Path) -> None:
    wasm = heavy(20_000)
    with pytest.raises(ResourceLimitExceeded, match="more than 67108864 bytes of memory") as caught:
        await cache(tmp_path, memory=64 << 20).load(wasm, sha(wasm))
    assert "compile_memory" in caught.value.hint


@pytest.mark.slow
async def test_a_compilation_that_takes_too_much_cpu_time_is_stopped() -> None:
    command = [sys.executable, "-m", "caxton.runtime.compile_child", str(1 << 30), "1", str(ENGINE.memory_reservation)]
    command.append("module")
    process = await trio.run_process(
        command, stdin=heavy(40_000), capture_stdout=True, check=False, env=_child_environment()
    )
    assert process.returncode == -signal.SIGXCPU


async def test_a_module_that_compiles_but_does_not_fit_the_engine_is_refused(tmp_path: Path) -> None:
    wasm = agent(memory='(memory (export "memory") 100)')
    with pytest.raises(InvalidWasm, match="the engine has no room for the module"):
        await cache(tmp_path).load(wasm, sha(wasm), AgentLimits(memory=1 << 30))
    assert os.listdir(tmp_path) == []


async def test_after_a_failure_the_next_module_compiles(tmp_path: Path) -> None:
    modules = cache(tmp_path)
    bad = agent(fields="(func (result i32))")
    with pytest.raises(InvalidWasm):
        await modules.load(bad, sha(bad))
    assert await modules.load(GUEST, sha(GUEST))


@pytest.mark.parametrize(
    ("code", "said", "kind", "text"),
    [
        (REFUSED, "the module does not compile: x", InvalidWasm, "the module does not compile: x"),
        (-signal.SIGXCPU, "", ResourceLimitExceeded, "longer than 30 s"),
        (-signal.SIGABRT, "memory allocation of 12 bytes failed", ResourceLimitExceeded, "1073741824 bytes of memory"),
        (1, "MemoryError", ResourceLimitExceeded, "1073741824 bytes of memory"),
        (-signal.SIGKILL, "", ResourceLimitExceeded, "for want of memory"),
        (-signal.SIGSEGV, "", InvalidWasm, "the compiler was killed by SIGSEGV on this module"),
        (-signal.SIGABRT, "thread panicked", InvalidWasm, "the compiler was killed by SIGABRT on this module"),
        (1, "Traceback\nImportError: no wasmtime", InternalError, "ended with 1: ImportError: no wasmtime"),
        (1, "", InternalError, "ended with 1: silence"),
    ],
)
def test_the_end_of_the_compilers_process_becomes_an_error(
    code: int, said: str, kind: type[CaxtonError], text: str, tmp_path: Path
) -> None:
    error = cache(tmp_path)._verdict(code, said, 30.0)
    assert type(error) is kind
    assert text in str(error)


def test_the_compiler_gets_none_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    environment = _child_environment()
    assert "API_KEY" not in environment
    assert set(environment) <= {"PYTHONPATH", "RUST_BACKTRACE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LD_PRELOAD"}
    assert os.pathsep in environment["PYTHONPATH"]


async def test_a_component_is_compiled_once_and_then_mapped_from_disk(tmp_path: Path) -> None:
    wasm = wat2wasm(text(Guest()))
    modules = cache(tmp_path)
    component = await modules.load(wasm, sha(wasm), AgentLimits(1 << 20))
    assert isinstance(component, Component)
    assert component.engine.components
    assert component.exported[""] == {SCALE: "() -> u32"}
    assert await modules.load(wasm, sha(wasm), AgentLimits(1 << 20)) is component
    again = cache(tmp_path)
    assert (await again.load(wasm, sha(wasm), AgentLimits(1 << 20))).exports() == component.exports()
    assert (modules.compiled, again.compiled) == (1, 0)


async def test_a_component_does_not_put_in_a_scale_of_its_own(tmp_path: Path) -> None:
    spins = """(core module $s (func (export "f") (result i32) (loop $e (br $e)) i32.const 0))
      (core instance $s (instantiate $s)) (func $s (result u32) (canon lift (core func $s "f")))"""
    wasm = wat2wasm(text(Guest(extra=f'{spins} (export "{SCALE}" (func $s))')))
    modules = cache(tmp_path)
    with pytest.raises(InvalidWasm, match="a name that is Caxton's own"):
        await modules.load(wasm, sha(wasm), AgentLimits(1 << 20))
    assert modules.compiled == 0


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "tail"])
async def test_a_damaged_artefact_of_a_component_is_compiled_again(tmp_path: Path, damage: str) -> None:
    wasm = wat2wasm(text(Guest()))
    first = cache(tmp_path)
    await first.load(wasm, sha(wasm), AgentLimits(1 << 20))
    path = first.path(sha(wasm))
    content = path.read_bytes()
    middle = len(content) // 2
    damaged = {
        "cut": content[:middle],
        "flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "empty": b"",
        "tail": content[:-1],
    }[damage]
    path.unlink()
    path.write_bytes(damaged)
    again = cache(tmp_path)
    await again.load(wasm, sha(wasm), AgentLimits(1 << 20))
    assert again.compiled == 1
    assert path.read_bytes() == content


async def test_the_limits_hold_for_a_component_that_comes_from_disk_too(tmp_path: Path) -> None:
    wasm = wat2wasm(text(Guest()))
    await cache(tmp_path).load(wasm, sha(wasm), AgentLimits(1 << 20))
    with pytest.raises(InvalidWasm, match="starts with 262144 bytes of memory; the agent may have 65536"):
        await cache(tmp_path).load(wasm, sha(wasm), AgentLimits(65536))


async def test_a_component_whose_file_is_damaged_is_refused(tmp_path: Path) -> None:
    wasm = wat2wasm(text(Guest()))
    with pytest.raises(InternalError, match="has the SHA-256"):
        await cache(tmp_path).load(wasm + b"\0\0", sha(wasm), AgentLimits(1 << 20))


async def test_a_component_that_is_no_agent_is_refused_with_a_hint(tmp_path: Path) -> None:
    wasm = wat2wasm("(component)")
    with pytest.raises(InvalidWasm, match="does not export `caxton:agent/guest") as caught:
        await cache(tmp_path).load(wasm, sha(wasm))
    assert "wit/agent.wit" in caught.value.hint
