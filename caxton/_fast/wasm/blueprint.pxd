"""What instances are made of: the host functions, defined once for an engine, and a module joined with them.

EXPORTS in the .pyx is the table of the guest interface's exports (DESIGN.md 4). A component has a linker of its own: what it imports and nobody has is
defined in it too, as a trap.
"""

from caxton._fast.wasm.c_api cimport wasmtime_linker_t
from caxton._fast.wasm.component cimport Component
from caxton._fast.wasm.instance cimport blueprint_t
from caxton._fast.wasm.module cimport Module

cdef class Linker:
    """The host functions, defined once for an engine."""
    cdef wasmtime_linker_t* handle
    cdef object engine

cdef class Blueprint:
    """A module or a component joined with the host functions: what instances are made of."""
    cdef blueprint_t plan
    cdef object module
    cdef list _names
    cdef object __weakref__

    cdef int _link_module(self, Linker linker, Module module) except -1
    cdef int _link_component(self, Component component) except -1
