"""A 64-byte message into a guest and its `handle_message`: our binding against wasmtime-py, same module, same bytes.

Ours: the message is written as JSON into the guest's memory and handled as a whole turn on a fiber. Theirs:
`Memory.write` and a call of the same export from Python. Each is the best of five rounds.
"""

import time

import wasmtime

from caxton._fast.envelope import Envelope
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.instance import Instance
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.cli.benchmarks import Result
from caxton.cli.benchmarks.guests import SINK

ROUNDS = 5
OURS = 200_000
THEIRS = 10_000


def message_of(size: int) -> Envelope:
    """A message whose JSON has *size* bytes."""
    shortest = Envelope.from_json(b'{"performative":"inform","receiver":"b","content":""}')
    filler = b"x" * (size - len(shortest.to_json()))
    return Envelope.from_json(b'{"performative":"inform","receiver":"b","content":"' + filler + b'"}')


def measure() -> Result:
    wasm = wat2wasm(SINK)
    message = message_of(64)
    ours = min(_ours(wasm, message) for _ in range(ROUNDS))
    theirs = min(_theirs(wasm, message.to_json()) for _ in range(ROUNDS))
    return {
        "figures": {"call_us": ours, "message_bytes": len(message.to_json())},
        "baseline": {"wasmtime_py_call_us": theirs},
        "ratios": {"speedup": theirs / ours},
    }


def _ours(wasm: bytes, message: Envelope) -> float:
    engine = Engine(pool_slots=16)
    instance = Instance(engine, Module.compile(engine, wasm))
    instance.spawn()
    instance.time_turns(message, 1000)
    return instance.time_turns(message, OURS) / OURS / 1000


def _theirs(wasm: bytes, data: bytes) -> float:
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    instance = wasmtime.Linker(engine).instantiate(store, wasmtime.Module(engine, wasm))
    exports = instance.exports(store)
    memory, handle = exports["memory"], exports["handle_message"]
    assert isinstance(memory, wasmtime.Memory)
    assert isinstance(handle, wasmtime.Func)
    for count in (1000, THEIRS):
        began = time.perf_counter()
        for _ in range(count):
            memory.write(store, data, 1024)
            handle(store, 1024, len(data))
    return (time.perf_counter() - began) / THEIRS * 1e6
