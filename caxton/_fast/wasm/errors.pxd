"""How errors and traps of libwasmtime leave: as text without Python, or as Caxton's exceptions.

Everything here that has `take` in its name takes over the pointer and deletes it; the others only read.
"""

from caxton._fast.wasm.c_api cimport wasm_trap_t, wasmtime_error_t

cdef enum:
    NO_TRAP_CODE = -1        # a trap that a host function raised: it has a message of its own

# -- without Python: for scheduler threads, never on a guest's fiber. Each writes UTF-8 without a final NUL and returns the bytes written, <= room --

# what the engine says, one line
cdef size_t error_text(const wasmtime_error_t* error, char* out, size_t room) noexcept nogil
# "unreachable executed, in `name` +0x2f" (bytes into the function's code, which export_globals does not shift), or the host function's own message
cdef size_t trap_text(const wasm_trap_t* trap, char* out, size_t room) noexcept nogil
# why a component's call failed, in the same words: a trap, what a host function said, or what was wrong with a value; without the backtrace
cdef size_t call_error_text(const wasmtime_error_t* error, char* out, size_t room) noexcept nogil
# TRAP_* of c_api.pxd, or NO_TRAP_CODE
cdef int trap_code(const wasm_trap_t* trap) noexcept nogil
# "call stack exhausted"; NULL for NO_TRAP_CODE and numbers that no core module can cause
cdef const char* trap_code_text(int code) noexcept nogil

# -- with Python: give back the exception, to be raised by the caller --
cdef object take_invalid_wasm(wasmtime_error_t* error, str what)
cdef object take_internal(wasmtime_error_t* error, str what)
cdef object take_trap(wasm_trap_t* trap, str what)
