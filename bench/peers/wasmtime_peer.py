"""wasmtime-py: a store and an instance from a prepared one; a call writes 64 bytes into its memory first.

An instance reserves address space, so each is closed before the next one, outside of the measured time.
"""

import time

import wasmtime

from bench.peers.adapter import PAYLOAD, SINK, main, timed, timed_together


def spawn(count):
    engine = wasmtime.Engine()
    prepared = wasmtime.Linker(engine).instantiate_pre(wasmtime.Module(engine, SINK))
    times = []
    for _ in range(count):
        began = time.perf_counter_ns()
        store = wasmtime.Store(engine)
        prepared.instantiate(store).exports(store)["handle_message"]
        times.append(time.perf_counter_ns() - began)
        store.close()
    return times


def together(count):
    engine = wasmtime.Engine()
    prepared = wasmtime.Linker(engine).instantiate_pre(wasmtime.Module(engine, SINK))

    def start(size):
        stores = [wasmtime.Store(engine) for _ in range(size)]
        for store in stores:
            prepared.instantiate(store).exports(store)["handle_message"]
        return stores

    def end(stores):
        for store in stores:
            store.close()

    return timed_together(count, start, end)


def wasm_call(count):
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    exports = wasmtime.Linker(engine).instantiate(store, wasmtime.Module(engine, SINK)).exports(store)
    memory, handle = exports["memory"], exports["handle_message"]

    def call():
        memory.write(store, PAYLOAD, 1024)
        return handle(store, 1024, len(PAYLOAD))

    return timed(count, call)


if __name__ == "__main__":
    main("wasmtime-py", "wasmtime", {"spawn": spawn, "together": together, "wasm_call": wasm_call})
