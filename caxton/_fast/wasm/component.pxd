"""A compiled component: beside a core module, the other thing that agents are made of.

Its `handle` (the core module's) stays NULL; who makes instances looks at `component`. What it imports and exports is read out of the compiled form,
as text that core/wasm_component.py judges.
"""

from caxton._fast.wasm.c_component cimport wasmtime_component_t
from caxton._fast.wasm.engine cimport Engine
from caxton._fast.wasm.module cimport Module

cdef class Component(Module):
    cdef wasmtime_component_t* component    # never NULL
    cdef readonly int memories              # that are its own: an agent's memory is shared out among them
    cdef readonly dict imported             # interface -> {function: type}
    cdef readonly dict exported
    cdef readonly dict resources            # interface -> names of its resource types
    cdef readonly tuple outside             # what it imports that the host does not have

    @staticmethod
    cdef Component made(Engine engine, wasmtime_component_t* handle, int memories)
