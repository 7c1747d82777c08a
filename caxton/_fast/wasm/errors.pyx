"""Errors and traps of libwasmtime, as text and as exceptions. The signatures and their meaning are in errors.pxd."""

from libc.stdint cimport SIZE_MAX, uint8_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, strlen

from caxton._fast.wasm.c_api cimport *

from caxton.core.errors import GuestTrapped, InternalError, InvalidWasm

cdef enum:
    ROOM = 2000

cdef const char* TEXTS[12]
TEXTS[TRAP_STACK_OVERFLOW] = "call stack exhausted"
TEXTS[TRAP_MEMORY_OUT_OF_BOUNDS] = "out of bounds memory access"
TEXTS[TRAP_HEAP_MISALIGNED] = "misaligned atomic memory access"
TEXTS[TRAP_TABLE_OUT_OF_BOUNDS] = "out of bounds table access"
TEXTS[TRAP_INDIRECT_CALL_TO_NULL] = "indirect call to an empty table entry"
TEXTS[TRAP_BAD_SIGNATURE] = "indirect call with the wrong signature"
TEXTS[TRAP_INTEGER_OVERFLOW] = "integer overflow"
TEXTS[TRAP_INTEGER_DIVISION_BY_ZERO] = "integer division by zero"
TEXTS[TRAP_BAD_CONVERSION_TO_INTEGER] = "float is no integer"
TEXTS[TRAP_UNREACHABLE] = "unreachable executed"
TEXTS[TRAP_INTERRUPT] = "interrupt: ran past its time"
TEXTS[TRAP_OUT_OF_FUEL] = "ran out of fuel"


# the engine's words for the same, which the error of a component's call has in place of a code
cdef const char* ENGINE_TEXTS[12]
ENGINE_TEXTS[TRAP_STACK_OVERFLOW] = "call stack exhausted"
ENGINE_TEXTS[TRAP_MEMORY_OUT_OF_BOUNDS] = "out of bounds memory access"
ENGINE_TEXTS[TRAP_HEAP_MISALIGNED] = "unaligned atomic"
ENGINE_TEXTS[TRAP_TABLE_OUT_OF_BOUNDS] = "undefined element: out of bounds table access"
ENGINE_TEXTS[TRAP_INDIRECT_CALL_TO_NULL] = "uninitialized element"
ENGINE_TEXTS[TRAP_BAD_SIGNATURE] = "indirect call type mismatch"
ENGINE_TEXTS[TRAP_INTEGER_OVERFLOW] = "integer overflow"
ENGINE_TEXTS[TRAP_INTEGER_DIVISION_BY_ZERO] = "integer divide by zero"
ENGINE_TEXTS[TRAP_BAD_CONVERSION_TO_INTEGER] = "invalid conversion to integer"
ENGINE_TEXTS[TRAP_UNREACHABLE] = "wasm `unreachable` instruction executed"
ENGINE_TEXTS[TRAP_INTERRUPT] = "interrupt"
ENGINE_TEXTS[TRAP_OUT_OF_FUEL] = "all fuel consumed by WebAssembly"


cdef const char* trap_code_text(int code) noexcept nogil:
    if code < 0 or code >= 12:
        return NULL
    return TEXTS[code]


cdef int trap_code(const wasm_trap_t* trap) noexcept nogil:
    cdef uint8_t code = 0
    if wasmtime_trap_code(trap, &code):
        return code
    return NO_TRAP_CODE


cdef size_t put(char* out, size_t room, size_t at, const char* text, size_t length) noexcept nogil:
    """Append *text*, cut before a half character; runs of white space become one space, other control characters are dropped."""
    cdef size_t i
    cdef uint8_t c
    if at >= room:
        return at
    if length > room - at:
        length = room - at
        while length > 0 and (<uint8_t>text[length] & 0xC0) == 0x80:
            length -= 1
    for i in range(length):
        c = <uint8_t>text[i]
        if c > 0x20:
            out[at] = <char>c
            at += 1
        elif (c == 0x20 or c == 0x0A) and at > 0 and out[at - 1] != b' ':
            out[at] = b' '
            at += 1
    return at


cdef size_t trimmed(const char* text, size_t length) noexcept nogil:
    while length > 0 and (<uint8_t>text[length - 1] <= 0x20):
        length -= 1
    return length


cdef size_t error_text(const wasmtime_error_t* error, char* out, size_t room) noexcept nogil:
    cdef wasm_byte_vec_t message
    cdef size_t written
    wasmtime_error_message(error, &message)
    written = put(out, room, 0, message.data, trimmed(message.data, message.size))
    wasm_byte_vec_delete(&message)
    return written


cdef size_t cause(const char* text, size_t length) noexcept nogil:
    """Where the reason begins in an engine message: behind the last "Caused by:", or at 0."""
    cdef const char* mark = "Caused by:"
    cdef size_t i, j, found = 0, width = strlen(mark)
    for i in range(length):
        if i + width > length:
            break
        j = 0
        while j < width and text[i + j] == mark[j]:
            j += 1
        if j == width:
            found = i + width
    while found < length and <uint8_t>text[found] <= 0x20:
        found += 1
    return found


cdef size_t put_place(wasm_frame_vec_t* frames, char* out, size_t room, size_t at) noexcept nogil:
    """Append where it happened: `, in `name` +0x2f`. Deletes the frames."""
    cdef const wasm_byte_vec_t* name
    cdef char number[48]
    cdef size_t offset
    if frames.size > 0:
        name = wasmtime_frame_func_name(frames.data[0])
        if name != NULL and name.size > 0:
            at = put(out, room, at, ", in `", 6)
            at = put(out, room, at, name.data, name.size)
            at = put(out, room, at, "`", 1)
        else:
            snprintf(number, sizeof(number), ", in function %u", <unsigned int>wasm_frame_func_index(frames.data[0]))
            at = put(out, room, at, number, strlen(number))
        offset = wasm_frame_func_offset(frames.data[0])
        if wasm_frame_module_offset(frames.data[0]) != SIZE_MAX:      # unknown where the stack ended
            snprintf(number, sizeof(number), " +0x%zx", offset)
            at = put(out, room, at, number, strlen(number))
    wasm_frame_vec_delete(frames)
    return at


cdef size_t trap_text(const wasm_trap_t* trap, char* out, size_t room) noexcept nogil:
    cdef wasm_byte_vec_t message
    cdef wasm_frame_vec_t frames
    cdef const char* text = trap_code_text(trap_code(trap))
    cdef size_t begin, written
    if text != NULL:
        written = put(out, room, 0, text, strlen(text))
        wasm_trap_trace(trap, &frames)
        return put_place(&frames, out, room, written)
    wasm_trap_message(trap, &message)
    begin = 0
    if message.size > 0 and message.data[message.size - 1] == 0:
        begin = cause(message.data, message.size - 1)
        written = put(out, room, 0, message.data + begin, trimmed(message.data + begin, message.size - 1 - begin))
    else:
        begin = cause(message.data, message.size)
        written = put(out, room, 0, message.data + begin, trimmed(message.data + begin, message.size - begin))
    wasm_byte_vec_delete(&message)
    return written


cdef size_t last_of_causes(const char* text, size_t begin, size_t length) noexcept nogil:
    """Behind the number of the last cause, where they are numbered: `0: memory fault at ..`, `1: wasm trap: ..`, a line each."""
    cdef size_t line = begin, at, found = begin
    while line < length:
        at = line
        while at < length and text[at] == b" ":
            at += 1
        line = at
        while at < length and b"0" <= text[at] <= b"9":
            at += 1
        if line < at and at + 2 <= length and text[at] == b":" and text[at + 1] == b" ":
            found = at + 2
        while line < length and text[line] != b"\n":
            line += 1
        line += 1
    return found


cdef size_t call_error_text(const wasmtime_error_t* error, char* out, size_t room) noexcept nogil:
    cdef wasm_byte_vec_t message
    cdef wasm_frame_vec_t frames
    cdef const char* mark = "wasm trap: "
    cdef const char* text
    cdef size_t begin, end, written, width = strlen(mark)
    cdef int code
    cdef bint is_trap
    wasmtime_error_message(error, &message)
    end = trimmed(message.data, message.size)
    begin = last_of_causes(message.data, cause(message.data, end), end)
    is_trap = end - begin > width and memcmp(message.data + begin, mark, width) == 0
    if is_trap:
        begin += width
    text = message.data + begin
    end -= begin
    for code in range(12 if is_trap else 0):
        if end == strlen(ENGINE_TEXTS[code]) and memcmp(text, ENGINE_TEXTS[code], end) == 0:
            text = TEXTS[code]
            end = strlen(text)
            break
    written = put(out, room, 0, text, end)
    wasm_byte_vec_delete(&message)
    if is_trap:
        wasmtime_error_wasm_trace(error, &frames)
        written = put_place(&frames, out, room, written)
    return written


cdef str error_string(wasmtime_error_t* error):
    cdef char text[ROOM]
    cdef size_t length = error_text(error, text, ROOM)
    wasmtime_error_delete(error)
    return text[:length].decode("utf-8", "replace").replace(" Caused by: 0:", ":").replace(" Caused by:", ":")


cdef object take_invalid_wasm(wasmtime_error_t* error, str what):
    return InvalidWasm(f"{what}: {error_string(error)}")


cdef object take_internal(wasmtime_error_t* error, str what):
    return InternalError(f"{what}: {error_string(error)}")


cdef object take_trap(wasm_trap_t* trap, str what):
    cdef char text[ROOM]
    cdef size_t length = trap_text(trap, text, ROOM)
    cdef int code = trap_code(trap)
    wasm_trap_delete(trap)
    return GuestTrapped(f"{what}: {text[:length].decode('utf-8', 'replace')}", details={"trap_code": code})


def trap_text_at(size_t address) -> str:
    """What `trap_text` says of the wasm_trap_t at *address*; for tests and debuggers."""
    cdef char text[ROOM]
    return text[:trap_text(<const wasm_trap_t*>address, text, ROOM)].decode("utf-8", "replace")


def error_text_at(size_t address, size_t room) -> bytes:
    """What `error_text` writes into *room* bytes for the wasmtime_error_t at *address*; for tests and debuggers."""
    cdef char text[ROOM]
    return text[:error_text(<const wasmtime_error_t*>address, text, min(room, <size_t>ROOM))]


def trap_code_texts() -> list[str]:
    """The sentence of each trap code of a core module, in the order of the codes."""
    return [TEXTS[code].decode() for code in range(12)]
