"""The tables of core/wasm_abi.py against the host functions that are there, on every kind of engine."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from caxton._fast.scheduler import EVENT_EXITED, EVENT_LOG, EVENT_STARTED, EXIT_TRAP, Scheduler
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.module import Module
from caxton.core.wasm_abi import ABI_IMPORTS, AgentLimits, check
from caxton.core.wasm_binary import export_globals, inspect
from tests.core.wasm_guests import agent

MIB = 1 << 20
ENGINES = {
    "pool": lambda: Engine(pool_slots=4, max_memory=MIB),
    "pool of small reservations": lambda: Engine(pool_slots=4, max_memory=MIB, memory_reservation=MIB),
    "on demand": lambda: Engine(pooling=False, max_memory=MIB, memory_reservation=0),
}
EVERYTHING = "".join(
    f'(import "{module}" "{name}" (func (param {" ".join(types.params)}) (result {" ".join(types.results)})))'
    for module, functions in ABI_IMPORTS.items()
    for name, types in functions.items()
)


class House:
    """A scheduler with one guest behind the name `guest`."""

    def __init__(self, engine: Engine, wasm: bytes) -> None:
        check(inspect(wasm), AgentLimits(MIB))
        self.scheduler = Scheduler(engine, threads=1)
        self.scheduler.start()
        self.port = self.scheduler.open_port("guest")
        self.scheduler.spawn(
            self.port, Module.compile(engine, export_globals(wasm)), memory=MIB, timeout_ns=10_000_000_000
        )

    def wait_for(self, *kinds: int) -> tuple[int, Any, Any]:
        """The next event of the guest that is one of *kinds*."""
        while select.select([self.scheduler.wake_fd], [], [], 10)[0]:
            for kind, port, first, second in self.scheduler.drain():
                if port == self.port and kind in kinds:
                    return kind, first, second
        raise AssertionError(f"none of the events {kinds} came within ten seconds")

    def send(self) -> None:
        self.scheduler.submit(b'{"performative": "inform", "receiver": "guest", "content": 1}')


@contextmanager
def house(kind: str, wasm: bytes) -> Iterator[House]:
    opened = House(ENGINES[kind](), wasm)
    try:
        yield opened
    finally:
        opened.scheduler.stop()


def guest(body: str, fields: str = "") -> bytes:
    return agent(
        fields=fields,
        memory='(memory (export "memory") 1)',
        handler=f'(func $handle (export "handle_message") (param i32 i32) (result i32) {body})',
    )


@pytest.mark.parametrize("kind", ENGINES)
def test_a_guest_that_imports_everything_starts(kind: str) -> None:
    with house(kind, guest("(i32.const 0)", EVERYTHING)) as opened:
        event, first, second = opened.wait_for(EVENT_STARTED, EVENT_EXITED)
        assert event == EVENT_STARTED, (first, second)


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("unreachable", "unreachable executed, in `handle`"),
        ("(i32.load (i32.const -4))", "out of bounds memory access, in `handle`"),
        ("(i32.load offset=4294967295 (i32.const -4))", "out of bounds memory access, in `handle`"),
        ("(call $handle (i32.const 0) (i32.const 0)) drop (i32.const 0)", "call stack exhausted, in `handle`"),
        ("(i32.div_s (local.get 0) (i32.const 0))", "integer division by zero, in `handle`"),
    ],
)
def test_a_trap_ends_the_guest_and_says_where(kind: str, body: str, text: str) -> None:
    with house(kind, guest(body)) as opened:
        opened.wait_for(EVENT_STARTED)
        opened.send()
        _, reason, said = opened.wait_for(EVENT_EXITED)
        assert reason == EXIT_TRAP
        assert text in said


@pytest.mark.parametrize("kind", ENGINES)
def test_a_memory_grows_up_to_its_limit_and_not_beyond(kind: str) -> None:
    grow = """
      (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
      (if (i32.ne (memory.size) (i32.const 16)) (then unreachable))
      (i32.store (i32.const 1048572) (i32.const 7))
      (i32.load (i32.const 1048573))"""
    with house(kind, guest(grow)) as opened:
        opened.wait_for(EVENT_STARTED)
        opened.send()
        _, reason, said = opened.wait_for(EVENT_EXITED)
        assert reason == EXIT_TRAP
        assert "out of bounds memory access" in said


@pytest.mark.parametrize("kind", ENGINES)
def test_host_functions_see_what_the_guest_has_grown_to(kind: str) -> None:
    # the second page is the inbox: the guest exports no allocator
    body = """
      (i64.store (i32.const 0) (i64.const 0x3161)) (call $log (i32.const 0) (i32.const 2))
      (call $log (i32.const 131072) (i32.const 1))
      (drop (memory.grow (i32.const 1)))
      (i64.store (i32.const 131072) (i64.const 0x3262)) (call $log (i32.const 131072) (i32.const 2))
      (call $log (i32.const 196607) (i32.const 2))
      (i64.store (i32.const 0) (i64.const 0x3363)) (call $log (i32.const 0) (i32.const 2))
      (i32.const 0)"""
    fields = '(import "caxton" "console_log" (func $log (param i32 i32)))'
    with house(kind, guest(body, fields)) as opened:
        opened.wait_for(EVENT_STARTED)
        opened.send()
        said = ""
        while not said.endswith("c3"):
            assert select.select([opened.scheduler.wake_fd], [], [], 10)[0], said
            said += "".join(what[0] for event, _, _, what in opened.scheduler.drain() if event == EVENT_LOG)
        assert said == "a1b2c3"
