"""Values of the component model, read and written without Python.

A value that is written here is complete at every moment: deleting it frees what hangs on it. What is read is checked by its kind first: a component's
types were held against ours when it was linked, so another kind is a defect of ours and gives NULL or False, never a wrong read.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, strlen

from caxton._fast.wasm.c_component cimport *

# -- writing --

cdef inline void put_u32(wasmtime_component_val_t* value, uint32_t number) noexcept nogil:
    value.kind = CVAL_U32
    value.of.u32 = number


cdef inline void put_u64(wasmtime_component_val_t* value, uint64_t number) noexcept nogil:
    value.kind = CVAL_U64
    value.of.u64 = number


cdef inline void put_bool(wasmtime_component_val_t* value, bint flag) noexcept nogil:
    value.kind = CVAL_BOOL
    value.of.boolean = flag


cdef inline void put_string(wasmtime_component_val_t* value, const char* text, size_t length) noexcept nogil:
    """*text* NULL: room for that many bytes, which the caller fills."""
    wasm_byte_vec_new_uninitialized(&value.of.string, length)
    value.kind = CVAL_STRING
    if text != NULL and length:
        memcpy(value.of.string.data, text, length)


cdef inline void put_name(wasm_byte_vec_t* name, const char* text) noexcept nogil:
    wasm_byte_vec_new(name, strlen(text), text)


cdef inline wasmtime_component_val_t* put_list(wasmtime_component_val_t* value, size_t count) noexcept nogil:
    """The items, which the caller fills; numbers until then."""
    cdef size_t i
    wasmtime_component_vallist_new_uninit(&value.of.list, count)
    value.kind = CVAL_LIST
    for i in range(count):
        put_bool(&value.of.list.data[i], False)
    return value.of.list.data


cdef inline void put_bytes(wasmtime_component_val_t* value, const uint8_t* data, size_t length) noexcept nogil:
    cdef wasmtime_component_val_t* items = put_list(value, length)
    cdef size_t i
    for i in range(length):
        items[i].kind = CVAL_U8
        items[i].of.u8 = data[i]


cdef inline wasmtime_component_val_t* put_tuple(wasmtime_component_val_t* value, size_t count) noexcept nogil:
    cdef size_t i
    wasmtime_component_valtuple_new_uninit(&value.of.tuple, count)
    value.kind = CVAL_TUPLE
    for i in range(count):
        put_bool(&value.of.tuple.data[i], False)
    return value.of.tuple.data


cdef inline wasmtime_component_valrecord_entry_t* put_record(
    wasmtime_component_val_t* value, const char* first, const char* second
) noexcept nogil:
    """A record of two fields, whose values the caller fills."""
    wasmtime_component_valrecord_new_uninit(&value.of.record, 2)
    value.kind = CVAL_RECORD
    put_name(&value.of.record.data[0].name, first)
    put_name(&value.of.record.data[1].name, second)
    put_bool(&value.of.record.data[0].val, False)
    put_bool(&value.of.record.data[1].val, False)
    return value.of.record.data


cdef inline wasmtime_component_val_t* boxed() noexcept nogil:
    cdef wasmtime_component_val_t value
    put_bool(&value, False)
    return wasmtime_component_val_new(&value)


cdef inline wasmtime_component_val_t* put_some(wasmtime_component_val_t* value) noexcept nogil:
    value.of.option = boxed()
    value.kind = CVAL_OPTION
    return value.of.option


cdef inline void put_none(wasmtime_component_val_t* value) noexcept nogil:
    value.of.option = NULL
    value.kind = CVAL_OPTION


cdef inline wasmtime_component_val_t* put_ok(wasmtime_component_val_t* value) noexcept nogil:
    """What is inside, which the caller fills."""
    value.of.result.val = boxed()
    value.of.result.is_ok = True
    value.kind = CVAL_RESULT
    return value.of.result.val


cdef inline void put_done(wasmtime_component_val_t* value) noexcept nogil:
    """`ok` of a result that has nothing inside."""
    value.of.result.val = NULL
    value.of.result.is_ok = True
    value.kind = CVAL_RESULT


cdef inline wasmtime_component_val_t* put_failed(wasmtime_component_val_t* value) noexcept nogil:
    value.of.result.val = boxed()
    value.of.result.is_ok = False
    value.kind = CVAL_RESULT
    return value.of.result.val


cdef inline void put_case(wasmtime_component_val_t* value, const char* name) noexcept nogil:
    """A case of a variant that has no value."""
    value.of.variant.val = NULL
    put_name(&value.of.variant.discriminant, name)
    value.kind = CVAL_VARIANT


cdef inline void put_enum(wasmtime_component_val_t* value, const char* name) noexcept nogil:
    put_name(&value.of.enumeration, name)
    value.kind = CVAL_ENUM


cdef inline wasmtime_error_t* put_own(
    wasmtime_component_val_t* value, wasmtime_context_t* context, uint32_t type, uint32_t number
) noexcept nogil:
    """A resource of ours, now the guest's. The error, if any, becomes the caller's."""
    cdef wasmtime_component_resource_host_t* host = wasmtime_component_resource_host_new(True, number, type)
    cdef wasmtime_component_resource_any_t* any = NULL
    cdef wasmtime_error_t* error = wasmtime_component_resource_host_to_any(context, host, &any)
    wasmtime_component_resource_host_delete(host)
    if error == NULL:
        value.of.resource = any
        value.kind = CVAL_RESOURCE
    return error

# -- reading --

cdef inline bint get_string(const wasmtime_component_val_t* value, const char** text, uint32_t* length) noexcept nogil:
    if value.kind != CVAL_STRING or value.of.string.size > 0x7FFFFFFF:
        return False
    text[0] = value.of.string.data
    length[0] = <uint32_t>value.of.string.size
    return True


cdef inline wasmtime_error_t* get_borrowed(
    const wasmtime_component_val_t* value, wasmtime_context_t* context, uint32_t* type, uint32_t* number
) noexcept nogil:
    """Which of our resources a guest means, and the end of its loan."""
    cdef wasmtime_component_resource_host_t* host = NULL
    cdef wasmtime_error_t* error
    if value.kind != CVAL_RESOURCE:
        return wasmtime_error_new(b"a resource was expected")
    error = wasmtime_component_resource_any_to_host(context, value.of.resource, &host)
    if error == NULL:
        type[0] = wasmtime_component_resource_host_type(host)
        number[0] = wasmtime_component_resource_host_rep(host)
        wasmtime_component_resource_host_delete(host)
    return error
