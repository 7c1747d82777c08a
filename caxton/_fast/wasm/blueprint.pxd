"""What instances are made of: the host functions, defined once for an engine, and a module joined with them.

EXPORTS in the .pyx is the table of the guest interface's exports (DESIGN.md 4).
"""

from caxton._fast.wasm.c_api cimport wasmtime_linker_t
from caxton._fast.wasm.instance cimport blueprint_t

cdef class Linker:
    """The host functions, defined once for an engine."""
    cdef wasmtime_linker_t* handle
    cdef object engine

cdef class Blueprint:
    """A module joined with the host functions: what instances are made of."""
    cdef blueprint_t plan
    cdef object module
    cdef list _names
    cdef object __weakref__
