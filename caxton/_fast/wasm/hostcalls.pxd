"""Host functions of ABI 1 (DESIGN.md 4), under the module names `caxton` and `env`.

Rule 1: they run on the guest's stack, on a scheduler thread, without Python: small frames, no recursion on input.
Rule 2: what a guest passes is checked before it is used; a wrong pointer is an error code and last_error, never a read outside its memory.
Rule 3: what can take long suspends the fiber (define_async); the rest returns at once.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t

from caxton._fast.wasm.c_api cimport (
    wasmtime_async_continuation_t,
    wasmtime_caller_t,
    wasmtime_func_async_callback_t,
    wasmtime_func_unchecked_callback_t,
    wasmtime_linker_t,
)
from caxton._fast.wasm.instance cimport agent_t

cdef enum:
    # results of host functions beside SEND_*
    HOST_POINTER = -100         # a pointer or length outside the guest's memory
    HOST_NOT_FOUND = -101
    HOST_ARGUMENT = -102
    HOST_QUOTA = -103
    HOST_UNAVAILABLE = -104
    HOST_FAILED = -105          # the call was made and failed
    # mcp_call and memory_search when `out` is short: -needed size, and never above this, so that it cannot be taken for a code
    HOST_SHORT = -1024

# -- what the host functions do, for both kinds of guests; the text lies in memory that was checked. 0 or SEND_*, HOST_*, with last_error set --

cdef int guest_broadcast(
    agent_t* agent, const char* selector, uint32_t selector_length, const char* json, uint32_t length
) noexcept nogil       # how many receivers
cdef int guest_subscribe(agent_t* agent, const char* text, uint32_t length) noexcept nogil
cdef int guest_set_timer(agent_t* agent, int64_t delay_us) noexcept nogil       # its id
cdef int guest_cancel_timer(agent_t* agent, int32_t timer) noexcept nogil
cdef int guest_store(agent_t* agent, const char* key, uint32_t key_length, const char* value, uint32_t length) noexcept nogil
cdef int64_t guest_load(agent_t* agent, const char* key, uint32_t key_length, const char** value) noexcept nogil     # its length
cdef int guest_delete(agent_t* agent, const char* key, uint32_t key_length) noexcept nogil
# 0: EVENT_CALL was sent, and `answered` says when the answer is there
cdef int guest_call(agent_t* agent, const char* name, const char* request, uint32_t length) noexcept nogil

# -- core modules --

cdef agent_t* agent_of(wasmtime_caller_t* caller) noexcept nogil
# *types*: the parameters, then `>`, then at most one result; `i` i32, `I` i64: "ii>i"
cdef int define(wasmtime_linker_t* linker, const char* module, const char* name, const char* types,
                wasmtime_func_unchecked_callback_t callback) noexcept
cdef int define_async(wasmtime_linker_t* linker, const char* module, const char* name, const char* types,
                      wasmtime_func_async_callback_t callback) noexcept
cdef int define_hostcalls(wasmtime_linker_t* linker) noexcept
cdef void sleep_until(agent_t* agent, int64_t wake_ns, wasmtime_async_continuation_t* continuation) noexcept nogil
cdef void at_once(wasmtime_async_continuation_t* continuation) noexcept nogil
