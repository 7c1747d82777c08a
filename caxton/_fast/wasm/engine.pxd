"""The engine, made once, shared by every module, store and thread: one for core modules, and one for components as soon as there is one.

They differ in their pools (a component is many core instances) and stacks (an interpreter needs more of it than an agent in C), not in machine code.
"""

from libc.stdint cimport uint64_t

from caxton._fast.wasm.c_api cimport wasm_config_t, wasm_engine_t

cdef class Engine:
    cdef wasm_engine_t* handle               # never NULL after __init__; deleted with this object, so keep a reference beside whatever uses it
    cdef readonly bint pooling               # instances come out of a pool reserved up front
    cdef readonly int pool_slots             # instances at a time when pooling
    cdef readonly uint64_t max_memory        # bytes one memory may have
    cdef readonly uint64_t memory_reservation   # address space of one memory in effect; 0: none reserved, a memory moves when it grows
    cdef readonly int max_table_elements
    cdef readonly size_t max_wasm_stack      # bytes of stack a guest may use
    cdef readonly size_t async_stack_size    # bytes of a fiber's stack: the guest's and the host functions' below it
    cdef readonly size_t keep_resident       # bytes of a memory that a freed slot keeps
    cdef readonly bint components            # the pool is made for components
    cdef readonly tuple warnings             # what had to be done differently from what was asked, for the log
    cdef readonly str fingerprint            # names everything that makes compiled artefacts incompatible; fit for a file name

    cdef wasm_config_t* configure(self) except NULL
    cdef str settings(self)
    cdef int choose(self, uint64_t wanted, bint pooling) except -1
    cdef bint has_room(self) noexcept
    cdef int pool(self, wasm_config_t* config) except -1
