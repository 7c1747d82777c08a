"""Instances from a compiled module: native against wasmtime-py, then with everything that an agent of the server has.

native   store, instance, look-up of exports, ready for a message; freed before the next, outside of the measured time.
runtime  `Runtime.start` of an agent with BATCH replicas: for each a port, a supervisor's child, a Trio task, the
spawn on
         a scheduler thread, its event back, RUNNING, the lifecycle records. The figure is that time by the replicas.
restart  a message traps the guest, its instance is thrown away, the next one is up; native.
"""

import time

import trio
import wasmtime

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import Scheduler
from caxton._fast.wasm.engine import Engine
from caxton._fast.wasm.instance import Instance
from caxton._fast.wasm.module import Module, wat2wasm
from caxton.cli.benchmarks import Result, quantile
from caxton.cli.benchmarks.guests import SINK, TRAP
from caxton.core.manifest import AgentConfig, AgentSpec
from caxton.runtime.replica import AgentChange
from caxton.runtime.supervisor import Runtime, open_runtime

COUNT = 5000
BATCH = 100
BATCHES = 30


def measure() -> Result:
    wasm = wat2wasm(SINK)
    native = _native(wasm)
    theirs = _theirs(wasm)
    restarts = _restarts()
    whole = trio.run(_whole, wasm)
    return {
        "figures": {
            "native_p50_us": quantile(native, 0.5),
            "native_p99_us": quantile(native, 0.99),
            "p50_us": quantile(whole, 0.5),
            "p99_us": quantile(whole, 0.99),
            "restart_after_trap_p50_us": quantile(restarts, 0.5),
            "restart_after_trap_p99_us": quantile(restarts, 0.99),
        },
        "baseline": {"wasmtime_py_p50_us": quantile(theirs, 0.5), "wasmtime_py_p99_us": quantile(theirs, 0.99)},
        "ratios": {"native_vs_wasmtime_py": quantile(native, 0.5) / quantile(theirs, 0.5)},
    }


def _native(wasm: bytes) -> list[float]:
    engine = Engine(pool_slots=64)
    instance = Instance(engine, Module.compile(engine, wasm))
    instance.time_spawns(500)
    return [ns / 1000 for ns in instance.time_spawns(COUNT)]


def _restarts() -> list[float]:
    engine = Engine(pool_slots=64)
    instance = Instance(engine, Module.compile(engine, wat2wasm(TRAP)))
    instance.spawn()
    message = Envelope.from_json(b'{"performative":"inform","receiver":"b"}')
    instance.time_restarts(message, 500)
    return [ns / 1000 for ns in instance.time_restarts(message, COUNT)]


def _theirs(wasm: bytes) -> list[float]:
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    prepared = linker.instantiate_pre(wasmtime.Module(engine, wasm))
    times = []
    for _ in range(COUNT):
        began = time.perf_counter()
        store = wasmtime.Store(engine)
        prepared.instantiate(store)
        times.append((time.perf_counter() - began) * 1e6)
        store.close()
    return times[500:]


async def _whole(wasm: bytes) -> list[float]:
    engine = Engine(pool_slots=BATCH * (BATCHES + 1) + 16)
    scheduler = Scheduler(engine)
    scheduler.start()
    times: list[float] = []
    try:
        module = Module.compile(engine, wasm)
        async with open_runtime(scheduler, on_change=_ignore) as runtime:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pump, scheduler, runtime)
                for batch in range(BATCHES + 1):
                    config = AgentConfig(name=f"agent-{batch}", replicas=BATCH)
                    spec = AgentSpec(name=config.name, kind="wasm", module="", config=config, created_at=0.0)
                    began = time.perf_counter()
                    await runtime.start(spec, module)
                    times.append((time.perf_counter() - began) / BATCH * 1e6)
                nursery.cancel_scope.cancel()
    finally:
        scheduler.stop()
    return times[1:]


def _ignore(change: AgentChange) -> None:
    """A step of an agent: the server would write it down later, in batches."""


async def _pump(scheduler: Scheduler, runtime: Runtime) -> None:
    while True:
        await trio.lowlevel.wait_readable(scheduler.wake_fd)
        for event in scheduler.drain():
            runtime.handle(event)
