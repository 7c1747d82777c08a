"""A compiled module."""

from caxton._fast.wasm.c_api cimport wasmtime_module_t
from caxton._fast.wasm.engine cimport Engine

cdef class Module:
    cdef wasmtime_module_t* handle   # never NULL; whoever outlives this object takes wasmtime_module_clone
    cdef readonly Engine engine
    cdef object __weakref__

    @staticmethod
    cdef Module wrap(Engine engine, wasmtime_module_t* handle)      # takes over the handle
