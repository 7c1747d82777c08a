"""Any bytes as a component: refused, or described; what is read out of the bytes is what the engine says of them.

The server compiles in a process of its own. Here it is this one: what ends the engine is a finding about the engine.
"""

from caxton._fast.wasm.component import Component
from caxton._fast.wasm.engine import Engine
from caxton.core import wasm_component_imports
from caxton.core.errors import InvalidWasm
from caxton.core.wasm_abi import AgentLimits
from caxton.core.wasm_component import is_component, shape

ENGINES: list[Engine] = []


def one_input(data: bytes | memoryview) -> None:
    wasm = bytes(data)
    if not is_component(wasm):
        return
    if not ENGINES:
        ENGINES.append(Engine(pooling=False))
    try:
        asked = shape(wasm, AgentLimits(1 << 32, 1 << 20))
        component = Component.compile(ENGINES[0], wasm, max(asked.memories, 1))
    except InvalidWasm:
        return
    imported = wasm_component_imports.imports(wasm)
    assert wasm_component_imports.outside(imported) == component.outside, imported
    assert component.exports()
