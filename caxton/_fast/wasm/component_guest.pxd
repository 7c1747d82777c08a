"""The phases of a turn (instance.pxd) for a component: one call each, with typed values in place of pointers into a memory.

Rule 1: what the guest gives (a string, an error) is copied before its value is deleted; nothing of it is kept.
Rule 2: a value that we hand out is valid UTF-8: the library ends the process for a string that is not.
"""

from libc.stdint cimport int64_t, uint32_t

from caxton._fast.wasm.c_component cimport (
    wasmtime_component_export_index_t,
    wasmtime_component_func_t,
    wasmtime_component_instance_t,
    wasmtime_component_linker_t,
    wasmtime_component_t,
    wasmtime_component_val_t,
)
from caxton._fast.wasm.instance cimport agent_t, FN_COUNT, kind_t

cdef enum:
    MAX_POLLABLES = 1024        # that one guest holds at a time
    MAX_POLLED = 1024           # of one `poll`
    FREE_POLLABLE = -2          # a place in guest_t.due_ns that nobody holds
    READY = -1                  # a pollable that is always ready

# of a blueprint: what all instances of a component share
ctypedef struct component_t:
    wasmtime_component_t* component
    wasmtime_component_linker_t* linker
    wasmtime_component_export_index_t* indexes[FN_COUNT]    # of the exports that are there
    wasmtime_component_export_index_t* scale    # the function that tells how much memory there is (core/wasm_component_memory); NULL: none
    int memories

ctypedef struct guest_t:
    wasmtime_component_instance_t instance
    wasmtime_component_func_t functions[FN_COUNT]
    wasmtime_component_func_t scale
    int64_t weighed_ns                  # when it was called last
    wasmtime_component_val_t argument   # of the call that runs; ours until it has ended
    wasmtime_component_val_t result
    wasmtime_component_val_t* answer    # where the result of a host call that waits belongs
    # WASI's pollables, by number: when they are due
    int64_t* due_ns
    uint32_t due_room
    uint32_t due_used
    uint32_t* polled                    # the numbers that a `poll` that waits was given
    uint32_t polled_count

cdef kind_t COMPONENTS

# after a turn: see how much memory the guest has, ten times a second at most
cdef void weigh(agent_t* agent, int64_t now) noexcept nogil

# *text* as a string value; what is not UTF-8 is replaced
cdef void put_text(wasmtime_component_val_t* value, const char* text, size_t length) noexcept nogil
cdef bint is_utf8(const char* text, size_t length) noexcept nogil
