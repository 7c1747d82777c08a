"""Extism: a plugin made from a compiled one (`CompiledPlugin`), called with 64 bytes of input.

The plugin has no imports and does not read its input, like the guest on our side.

spawn       `Plugin(compiled)`. Extism makes the wasm instance at the first call, which is not in this figure.
together    1,000 of these, as a list.
called      1,000 of these, and the first call of each, which makes its instance.
from_bytes  `Plugin(wasm)`, which compiles every time.
instance    `Plugin(compiled)` and its first call.
"""

from extism.extism import CompiledPlugin, Plugin

from bench.peers.adapter import PAYLOAD, main, timed, timed_together

# (module (func (export "handle_message") (result i32) (i32.const 0))), in Extism's form without parameters
WASM = bytes.fromhex("0061736d010000000105016000017f030201000712010e68616e646c655f6d65737361676500000a0601040041000b")


def spawn(count):
    compiled = CompiledPlugin(WASM, functions=[])
    return timed(count, lambda: Plugin(compiled))


def instance(count):
    compiled = CompiledPlugin(WASM, functions=[])

    def make():
        plugin = Plugin(compiled)
        plugin.call("handle_message", PAYLOAD)
        return plugin

    return timed(count, make)


def together(count):
    compiled = CompiledPlugin(WASM, functions=[])
    return timed_together(count, lambda size: [Plugin(compiled) for _ in range(size)])


def called(count):
    compiled = CompiledPlugin(WASM, functions=[])

    def start(size):
        plugins = [Plugin(compiled) for _ in range(size)]
        for plugin in plugins:
            plugin.call("handle_message", PAYLOAD)
        return plugins

    return timed_together(count, start)


def from_bytes(count):
    return timed(count, lambda: Plugin(WASM, functions=[]))


def wasm_call(count):
    plugin = Plugin(CompiledPlugin(WASM, functions=[]))
    return timed(count, lambda: plugin.call("handle_message", PAYLOAD))


if __name__ == "__main__":
    workloads = (spawn, together, called, from_bytes, instance, wasm_call)
    main("Extism", "extism", {workload.__name__: workload for workload in workloads})
