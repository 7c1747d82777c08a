"""See component_calls.pxd."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from caxton._fast.platform cimport cx_load_i32, cx_monotonic_ns, cx_poke_i32, cx_random, cx_realtime_us
from caxton._fast.router cimport (
    SEND_HOPS,
    SEND_INVALID,
    SEND_LIMIT,
    SEND_MAILBOX_FULL,
    SEND_MEMORY,
    SEND_NO_RECEIVER,
    SEND_STOPPED,
    SEND_STORE,
    SEND_TOO_LARGE,
)
from caxton._fast.wasm.component_guest cimport guest_t, is_utf8, put_text
from caxton._fast.wasm.component_values cimport *
from caxton._fast.wasm.hostcalls cimport (
    at_once,
    guest_broadcast,
    guest_call,
    guest_cancel_timer,
    guest_delete,
    guest_load,
    guest_set_timer,
    guest_store,
    guest_subscribe,
    HOST_ARGUMENT,
    HOST_NOT_FOUND,
    HOST_QUOTA,
    HOST_UNAVAILABLE,
    sleep_until,
)
from caxton._fast.wasm.instance cimport agent_fail, agent_log, agent_send, agent_t, WAIT_NOTHING

ctypedef wasmtime_component_val_t val_t
ctypedef const wasmtime_component_func_type_t type_t


cdef agent_t* agent_at(wasmtime_context_t* context) noexcept nogil:
    return <agent_t*>wasmtime_context_get_data(context)


# -- answers ---------------------------------------------------------------------------------------------------------

cdef const char* code_name(int64_t code) noexcept nogil:
    """The case of types.error-code for a SEND_* or HOST_* code."""
    if code == SEND_NO_RECEIVER:
        return b"no-receiver"
    if code == SEND_MAILBOX_FULL:
        return b"mailbox-full"
    if code == SEND_TOO_LARGE:
        return b"too-large"
    if code == SEND_STOPPED:
        return b"stopped"
    if code == SEND_HOPS:
        return b"too-many-hops"
    if code == SEND_MEMORY:
        return b"out-of-memory"
    if code == SEND_LIMIT:
        return b"limit"
    if code == SEND_STORE:
        return b"store-failed"
    if code == SEND_INVALID:
        return b"invalid-message"
    if code == HOST_ARGUMENT:
        return b"invalid-argument"
    if code == HOST_QUOTA:
        return b"quota"
    if code == HOST_UNAVAILABLE:
        return b"unavailable"
    return b"failed"


cdef void put_error(agent_t* agent, val_t* result, int64_t code) noexcept nogil:
    """`err({code, message})` with the text of the last error."""
    cdef wasmtime_component_valrecord_entry_t* fields = put_record(put_failed(result), b"code", b"message")
    put_enum(&fields[0].val, code_name(code))
    put_text(&fields[1].val, agent.last_error, agent.error_length)


cdef inline wasmtime_error_t* done(agent_t* agent, val_t* result, int64_t code) noexcept nogil:
    """The answer of a function that gives nothing."""
    if code < 0:
        put_error(agent, result, code)
    else:
        put_done(result)
    return NULL


cdef inline wasmtime_error_t* number(agent_t* agent, val_t* result, int64_t code) noexcept nogil:
    if code < 0:
        put_error(agent, result, code)
    else:
        put_u32(put_ok(result), <uint32_t>code)
    return NULL


cdef wasmtime_error_t* wrong_kind() noexcept nogil:
    return wasmtime_error_new(b"an argument has another type than the function")


# -- messages --------------------------------------------------------------------------------------------------------

cdef wasmtime_error_t* send(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef const char* text = NULL
    cdef uint32_t length = 0
    if not get_string(&a[0], &text, &length):
        return wrong_kind()
    return done(agent_at(c), r, agent_send(agent_at(c), text, length))


cdef wasmtime_error_t* broadcast(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef const char* selector = NULL
    cdef const char* text = NULL
    cdef uint32_t selector_length = 0, length = 0
    if not get_string(&a[0], &selector, &selector_length) or not get_string(&a[1], &text, &length):
        return wrong_kind()
    return number(agent_at(c), r, guest_broadcast(agent_at(c), selector, selector_length, text, length))


cdef wasmtime_error_t* subscribe(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef const char* text = NULL
    cdef uint32_t length = 0
    if not get_string(&a[0], &text, &length):
        return wrong_kind()
    return done(agent_at(c), r, guest_subscribe(agent_at(c), text, length))


# -- logs, time, chance ----------------------------------------------------------------------------------------------

cdef wasmtime_error_t* line(wasmtime_context_t* c, val_t* a, int stream) noexcept nogil:
    cdef const char* text = NULL
    cdef uint32_t length = 0
    if not get_string(&a[0], &text, &length):
        return wrong_kind()
    agent_log(agent_at(c), stream, text, length)
    return NULL


cdef wasmtime_error_t* info(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    return line(c, a, 1)


cdef wasmtime_error_t* error(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    return line(c, a, 2)


cdef wasmtime_error_t* now(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    put_u64(r, <uint64_t>cx_realtime_us())
    return NULL


cdef void sleep(
    void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m, wasmtime_error_t** failure,
    wasmtime_async_continuation_t* continuation
) noexcept nogil:
    cdef uint64_t wait = min(a[0].of.u64, <uint64_t>86_400_000_000)
    if wait == 0:
        at_once(continuation)
    else:
        sleep_until(agent_at(c), cx_monotonic_ns() + <int64_t>wait * 1000, continuation)


cdef wasmtime_error_t* get_u32(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef uint32_t value = 0
    cx_random(&value, sizeof(value))
    put_u32(r, value)
    return NULL


cdef wasmtime_error_t* get_u64(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef uint64_t value = 0
    cx_random(&value, sizeof(value))
    put_u64(r, value)
    return NULL


# -- timers ----------------------------------------------------------------------------------------------------------

cdef wasmtime_error_t* set_timer(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    return number(agent_at(c), r, guest_set_timer(agent_at(c), <int64_t>min(a[0].of.u64, <uint64_t>0x7FFFFFFFFFFFFFFF)))


cdef wasmtime_error_t* cancel_timer(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    return done(agent_at(c), r, guest_cancel_timer(agent_at(c), <int32_t>a[0].of.u32))


# -- state -----------------------------------------------------------------------------------------------------------

cdef wasmtime_error_t* loaded(wasmtime_context_t* c, val_t* a, val_t* r, bint as_text) noexcept nogil:
    cdef agent_t* agent = agent_at(c)
    cdef const char* key = NULL
    cdef const char* value = NULL
    cdef uint32_t length = 0
    cdef int64_t found
    if not get_string(&a[0], &key, &length):
        return wrong_kind()
    found = guest_load(agent, key, length, &value)
    if found > 0 and as_text and not is_utf8(value, <size_t>found):
        agent_fail(agent, b"the value is not text; load-bytes gives it")
        found = HOST_ARGUMENT
    if found == HOST_NOT_FOUND:
        put_none(put_ok(r))
    elif found < 0:
        put_error(agent, r, found)
    elif as_text:
        put_string(put_some(put_ok(r)), value, <size_t>found)
    else:
        put_bytes(put_some(put_ok(r)), <const uint8_t*>value, <size_t>found)
    return NULL


cdef wasmtime_error_t* load(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    return loaded(c, a, r, True)


cdef wasmtime_error_t* load_bytes(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    return loaded(c, a, r, False)


cdef wasmtime_error_t* store(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef const char* key = NULL
    cdef const char* value = NULL
    cdef uint32_t key_length = 0, length = 0
    if not get_string(&a[0], &key, &key_length) or not get_string(&a[1], &value, &length):
        return wrong_kind()
    return done(agent_at(c), r, guest_store(agent_at(c), key, key_length, value, length))


cdef wasmtime_error_t* store_bytes(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef agent_t* agent = agent_at(c)
    cdef const char* key = NULL
    cdef char* value
    cdef uint32_t key_length = 0
    cdef size_t i, length
    cdef int outcome
    if not get_string(&a[0], &key, &key_length) or a[1].kind != CVAL_LIST:
        return wrong_kind()
    length = a[1].of.list.size
    if length > agent.limits.state_quota:
        agent_fail(agent, b"the agent's state would grow beyond its quota; delete something first")
        return done(agent, r, HOST_QUOTA)
    value = <char*>malloc(length + 1)
    if value == NULL:
        agent_fail(agent, b"no memory left for the value")
        return done(agent, r, HOST_QUOTA)
    for i in range(length):
        value[i] = <char>a[1].of.list.data[i].of.u8
    outcome = guest_store(agent, key, key_length, value, <uint32_t>length)
    free(value)
    return done(agent, r, outcome)


cdef wasmtime_error_t* remove(void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m) noexcept nogil:
    cdef agent_t* agent = agent_at(c)
    cdef const char* key = NULL
    cdef uint32_t length = 0
    cdef int outcome
    if not get_string(&a[0], &key, &length):
        return wrong_kind()
    outcome = guest_delete(agent, key, length)
    if outcome < 0 and outcome != HOST_NOT_FOUND:
        put_error(agent, r, outcome)
    else:
        put_bool(put_ok(r), outcome == 0)
    return NULL


# -- slow calls ------------------------------------------------------------------------------------------------------

cdef wasm_bool called(void* env) noexcept nogil:
    """The answer of a slow call is there."""
    cdef agent_t* agent = <agent_t*>env
    cdef guest_t* guest = <guest_t*>agent.guest
    if not cx_load_i32(&agent.answered):
        return False
    cx_poke_i32(&agent.waiting, WAIT_NOTHING)
    if agent.answer_status < 0:
        put_error(agent, guest.answer, agent.answer_status)
    else:
        put_text(put_ok(guest.answer), agent.answer, agent.answer_length)
    free(agent.answer)
    agent.answer = NULL
    return True


cdef void slow_call(
    const char* name, wasmtime_context_t* c, val_t* a, val_t* r, wasmtime_error_t** failure, wasmtime_async_continuation_t* continuation
) noexcept nogil:
    cdef agent_t* agent = agent_at(c)
    cdef const char* request = NULL
    cdef uint32_t length = 0
    cdef int outcome
    at_once(continuation)
    if not get_string(&a[0], &request, &length):
        failure[0] = wrong_kind()
        return
    outcome = guest_call(agent, name, request, length)
    if outcome:
        put_error(agent, r, outcome)
        return
    (<guest_t*>agent.guest).answer = r
    continuation.callback = called
    continuation.env = agent


cdef void call_tool(
    void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m, wasmtime_error_t** failure,
    wasmtime_async_continuation_t* continuation
) noexcept nogil:
    slow_call(b"mcp_call", c, a, r, failure, continuation)


cdef void memory_search(
    void* env, wasmtime_context_t* c, type_t* t, val_t* a, size_t n, val_t* r, size_t m, wasmtime_error_t** failure,
    wasmtime_async_continuation_t* continuation
) noexcept nogil:
    slow_call(b"memory_search", c, a, r, failure, continuation)


# -- the table -------------------------------------------------------------------------------------------------------

# interface without its version and function -> address, and whether it suspends the guest; blueprint.pyx links them
FUNCTIONS = {
    "caxton:agent/messaging#send": (<size_t><void*>send, False),
    "caxton:agent/messaging#broadcast": (<size_t><void*>broadcast, False),
    "caxton:agent/messaging#subscribe": (<size_t><void*>subscribe, False),
    "caxton:agent/log#info": (<size_t><void*>info, False),
    "caxton:agent/log#error": (<size_t><void*>error, False),
    "caxton:agent/clock#now": (<size_t><void*>now, False),
    "caxton:agent/clock#sleep": (<size_t><void*>sleep, True),
    "caxton:agent/random#get-u32": (<size_t><void*>get_u32, False),
    "caxton:agent/random#get-u64": (<size_t><void*>get_u64, False),
    "caxton:agent/timers#set": (<size_t><void*>set_timer, False),
    "caxton:agent/timers#cancel": (<size_t><void*>cancel_timer, False),
    "caxton:agent/state#load": (<size_t><void*>load, False),
    "caxton:agent/state#store": (<size_t><void*>store, False),
    "caxton:agent/state#load-bytes": (<size_t><void*>load_bytes, False),
    "caxton:agent/state#store-bytes": (<size_t><void*>store_bytes, False),
    "caxton:agent/state#remove": (<size_t><void*>remove, False),
    "caxton:agent/tools#call-tool": (<size_t><void*>call_tool, True),
    "caxton:agent/tools#memory-search": (<size_t><void*>memory_search, True),
}
