"""See hostcalls.pxd for the rules."""

# Over 500 lines: one function after another, a table in effect: each is short and stands alone.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy, strlen

from caxton._fast.activity cimport DO_GUEST, DO_HOST, DO_ROUTER, set_activity
from caxton._fast.ahead cimport note_ahead
from caxton._fast.envelope cimport envelope_retain, KIND_MESSAGE
from caxton._fast.outbox cimport event_new, event_t, outbox_push
from caxton._fast.platform cimport (
    cx_load_i32,
    cx_monotonic_ns,
    cx_peek_u32,
    cx_poke_i32,
    cx_random,
    cx_realtime_us,
    cx_store_i32,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)
from caxton._fast.router cimport router_members
from caxton._fast.state cimport (
    STATE_KEY,
    STATE_NOT_FOUND,
    STATE_QUOTA,
    state_delete,
    state_load,
    state_store,
    state_t,
)
from caxton._fast.wasm.c_api cimport *
from caxton._fast.wasm.instance cimport (
    ERROR_ROOM,
    agent_effect,
    agent_fail,
    agent_log,
    agent_send,
    agent_send_to_targets,
    agent_state,
    agent_t,
    agent_unkeep,
    EVENT_CALL,
    EVENT_SUBSCRIBE,
    EVENT_TIMER,
    guest_bytes,
    MAX_FILTER,
    WAIT_CALL,
    WAIT_NOTHING,
    WAIT_SLEEP,
)

cdef enum:
    MAX_SELECTING = 4_000_000   # receivers that one broadcast filter looks at


cdef agent_t* agent_of(wasmtime_caller_t* caller) noexcept nogil:
    return <agent_t*>wasmtime_context_get_data(wasmtime_caller_context(caller))


cdef inline wasm_trap_t* answer(wasmtime_val_raw_t* values, int32_t result) noexcept nogil:
    values[0].i32 = result
    return NULL


cdef uint8_t* checked(agent_t* agent, uint32_t pointer, uint32_t length) noexcept nogil:
    cdef uint8_t* at = guest_bytes(agent, pointer, length)
    if at == NULL:
        agent_fail(agent, b"a pointer and its length reach outside the guest's memory")
    return at


# -- messages --------------------------------------------------------------------------------------------------------

cdef wasm_trap_t* send_message(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    cdef agent_t* agent = agent_of(caller)
    cdef uint32_t length = <uint32_t>values[1].i32
    cdef uint8_t* at = checked(agent, <uint32_t>values[0].i32, length)
    return answer(values, HOST_POINTER if at == NULL else agent_send(agent, <char*>at, length))


ctypedef struct cursor_t:
    const char* at
    const char* end


cdef bint take(cursor_t* cursor, char wanted) noexcept nogil:
    while cursor.at < cursor.end and (cursor.at[0] == b" " or b"\t" <= cursor.at[0] <= b"\r"):
        cursor.at += 1
    if cursor.at == cursor.end or cursor.at[0] != wanted:
        return False
    cursor.at += 1
    return True


cdef bint take_string(cursor_t* cursor, const char** text, uint32_t* length) noexcept nogil:
    """A JSON string without escapes: no name has any."""
    cdef const char* quote
    if not take(cursor, b'"'):
        return False
    quote = <const char*>memchr(cursor.at, b'"', cursor.end - cursor.at)
    if quote == NULL or memchr(cursor.at, b"\\", quote - cursor.at) != NULL:
        return False
    text[0] = cursor.at
    length[0] = <uint32_t>(quote - cursor.at)
    cursor.at = quote + 1
    return True


cdef const char* prefix_of(const char* member, uint32_t length) noexcept nogil:
    if length == 12 and memcmp(member, b"capabilities", 12) == 0:
        return b"capability:"
    if length == 6 and memcmp(member, b"groups", 6) == 0:
        return b"broadcast://"
    if length == 6 and memcmp(member, b"agents", 6) == 0:
        return b""
    return NULL


cdef bint add_selected(agent_t* agent, const char* text, uint32_t length) noexcept nogil:
    """Put the ports that `{"capabilities": ["a"], "groups": "g", "agents": [..]}` names into the agent's targets.

    False: it is not such an object, or names too many: each name is held against all before it, and no epoch interrupts that.
    """
    cdef char key[300]
    cdef cursor_t cursor
    cdef const char* name = NULL
    cdef const char* prefix
    cdef uint32_t n = 0
    cdef size_t p
    cdef bint several
    cdef uint64_t work = 0
    cursor.at = text
    cursor.end = text + length
    if not take(&cursor, b"{"):
        return False
    if take(&cursor, b"}"):
        router_members(agent.world.router, b"broadcast://all", 15, &agent.targets)
        return True
    while True:
        if not take_string(&cursor, &name, &n) or not take(&cursor, b":"):
            return False
        prefix = prefix_of(name, n)
        if prefix == NULL:
            return False
        p = strlen(prefix)
        memcpy(key, prefix, p)
        several = take(&cursor, b"[")
        if not (several and take(&cursor, b"]")):
            while True:
                if not take_string(&cursor, &name, &n) or n + p > sizeof(key):
                    return False
                memcpy(key + p, name, n)
                router_members(agent.world.router, key, <uint32_t>(p + n), &agent.targets)
                work += agent.targets.count
                if work > MAX_SELECTING:
                    return False
                if not several or not take(&cursor, b","):
                    break
            if several and not take(&cursor, b"]"):
                return False
        if not take(&cursor, b","):
            return take(&cursor, b"}")


cdef wasm_trap_t* broadcast_message(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    """The filter names who receives; an empty object means the group `all`. The result is the number of receivers."""
    cdef agent_t* agent = agent_of(caller)
    cdef uint32_t filter_length = <uint32_t>values[1].i32, length = <uint32_t>values[3].i32
    cdef uint8_t* selector = checked(agent, <uint32_t>values[0].i32, filter_length)
    cdef uint8_t* at = checked(agent, <uint32_t>values[2].i32, length)
    if selector == NULL or at == NULL:
        return answer(values, HOST_POINTER)
    return answer(values, guest_broadcast(agent, <char*>selector, filter_length, <char*>at, length))


cdef int guest_broadcast(
    agent_t* agent, const char* selector, uint32_t selector_length, const char* json, uint32_t length
) noexcept nogil:
    if selector_length > MAX_FILTER:
        agent_fail(agent, b"a broadcast filter has at most 65536 bytes")
        return HOST_ARGUMENT
    set_activity(agent.activity, DO_ROUTER)
    agent.targets.count = 0
    if not add_selected(agent, selector, selector_length):
        agent_fail(
            agent, b'a broadcast filter is an object such as {"capabilities": ["pricing"]}, {"groups": ["all"]} or {"agents": ["a", "b"]},'
            b" with a thousand names at most"
        )
        return HOST_ARGUMENT
    return agent_send_to_targets(agent, json, length)


cdef wasm_trap_t* subscribe_messages(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    cdef agent_t* agent = agent_of(caller)
    cdef uint32_t length = <uint32_t>values[1].i32
    cdef uint8_t* at = checked(agent, <uint32_t>values[0].i32, length)
    return answer(values, HOST_POINTER if at == NULL else guest_subscribe(agent, <char*>at, length))


cdef int guest_subscribe(agent_t* agent, const char* text, uint32_t length) noexcept nogil:
    if length == 0 or length > MAX_FILTER or text[0] != b"{":
        agent_fail(agent, b'a subscription is a JSON object such as {"topics": ["orders.*"], "content": {"total": {"gte": 100}}}')
        return HOST_ARGUMENT
    return agent_effect(agent, event_new(EVENT_SUBSCRIBE, agent.port.id, NULL, 0, text, length))


# -- logs, time, chance ----------------------------------------------------------------------------------------------

cdef wasm_trap_t* console(wasmtime_caller_t* caller, wasmtime_val_raw_t* values, int stream) noexcept nogil:
    cdef agent_t* agent = agent_of(caller)
    cdef uint32_t length = <uint32_t>values[1].i32
    cdef uint8_t* at = checked(agent, <uint32_t>values[0].i32, length)
    if at != NULL:
        agent_log(agent, stream, <char*>at, length)
    return NULL


cdef wasm_trap_t* console_log(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    return console(caller, values, 1)


cdef wasm_trap_t* console_error(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    return console(caller, values, 2)


cdef wasm_trap_t* current_timestamp(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    values[0].i64 = cx_realtime_us()
    return NULL


cdef wasm_trap_t* random_u32(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    cdef uint32_t value = 0
    cx_random(&value, sizeof(value))
    return answer(values, <int32_t>value)


# -- timers ----------------------------------------------------------------------------------------------------------

cdef wasm_trap_t* set_timer(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    return answer(values, guest_set_timer(agent_of(caller), values[0].i64))


cdef int guest_set_timer(agent_t* agent, int64_t delay_us) noexcept nogil:
    cdef event_t* event
    cdef int outcome
    if delay_us < 0 or delay_us > <int64_t>31_536_000_000_000:
        agent_fail(agent, b"a timer's delay is 0 to 31536000000000 microseconds (a year)")
        return HOST_ARGUMENT
    event = event_new(EVENT_TIMER, agent.port.id, NULL, 0, NULL, 0)
    if event != NULL:
        event.a = agent.next_timer
        event.b = cx_realtime_us() + delay_us
    outcome = agent_effect(agent, event)
    if outcome:
        return outcome
    outcome = <int>agent.next_timer
    agent.next_timer = agent.next_timer % 0x7FFFFFFF + 1
    return outcome


cdef wasm_trap_t* cancel_timer(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    return answer(values, guest_cancel_timer(agent_of(caller), values[0].i32))


cdef int guest_cancel_timer(agent_t* agent, int32_t timer) noexcept nogil:
    cdef event_t* event
    if timer <= 0:
        agent_fail(agent, b"a timer's id is a positive number that set_timer returned")
        return HOST_ARGUMENT
    event = event_new(EVENT_TIMER, agent.port.id, NULL, 0, NULL, 0)
    if event != NULL:
        event.a = timer
    return agent_effect(agent, event)


# -- state -----------------------------------------------------------------------------------------------------------

cdef int32_t state_code(agent_t* agent, int code) noexcept nogil:
    if code == 0:
        return 0
    if code == STATE_NOT_FOUND:
        agent_fail(agent, b"no value is stored under this key")
        return HOST_NOT_FOUND
    if code == STATE_KEY:
        agent_fail(agent, b"a key has 1 to 256 bytes")
        return HOST_ARGUMENT
    if code == STATE_QUOTA:
        agent_fail(agent, b"the agent's state would grow beyond its quota; delete something first")
        return HOST_QUOTA
    agent_fail(agent, b"no memory left for the value")
    return HOST_QUOTA


cdef wasm_trap_t* store_data(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    cdef agent_t* agent = agent_of(caller)
    cdef uint32_t key_length = <uint32_t>values[1].i32, length = <uint32_t>values[3].i32
    cdef uint8_t* key = checked(agent, <uint32_t>values[0].i32, key_length)
    cdef uint8_t* value = checked(agent, <uint32_t>values[2].i32, length)
    if key == NULL or value == NULL:
        return answer(values, HOST_POINTER)
    return answer(values, guest_store(agent, <char*>key, key_length, <char*>value, length))


cdef int guest_store(agent_t* agent, const char* key, uint32_t key_length, const char* value, uint32_t length) noexcept nogil:
    cdef state_t* state = agent_state(agent)
    if state == NULL:
        return HOST_QUOTA
    return state_code(agent, state_store(state, key, key_length, value, length))


cdef wasm_trap_t* load_data(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    """Bytes of the value, of which at most `out_len` were written: a larger result says how much room is needed."""
    cdef agent_t* agent = agent_of(caller)
    cdef uint32_t key_length = <uint32_t>values[1].i32, room = <uint32_t>values[3].i32
    cdef uint8_t* key = checked(agent, <uint32_t>values[0].i32, key_length)
    cdef uint8_t* out = checked(agent, <uint32_t>values[2].i32, room)
    cdef const char* value = NULL
    cdef int64_t length
    if key == NULL or out == NULL:
        return answer(values, HOST_POINTER)
    length = guest_load(agent, <char*>key, key_length, &value)
    if length > 0:
        memcpy(out, value, <size_t>min(length, <int64_t>room))
    return answer(values, <int32_t>length)


cdef int64_t guest_load(agent_t* agent, const char* key, uint32_t key_length, const char** value) noexcept nogil:
    cdef int64_t length = STATE_NOT_FOUND
    if agent.state != NULL:
        length = state_load(agent.state, key, key_length, value)
    return length if length >= 0 else state_code(agent, <int>length)


cdef wasm_trap_t* delete_data(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    cdef agent_t* agent = agent_of(caller)
    cdef uint32_t length = <uint32_t>values[1].i32
    cdef uint8_t* key = checked(agent, <uint32_t>values[0].i32, length)
    if key == NULL:
        return answer(values, HOST_POINTER)
    return answer(values, guest_delete(agent, <char*>key, length))


cdef int guest_delete(agent_t* agent, const char* key, uint32_t key_length) noexcept nogil:
    if agent.state == NULL:
        return state_code(agent, STATE_NOT_FOUND)
    return state_code(agent, state_delete(agent.state, key, key_length))


cdef wasm_trap_t* last_error(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    """Bytes of the text, of which at most `out_len` were written; 0 when nothing failed yet."""
    cdef agent_t* agent = agent_of(caller)
    cdef uint32_t room = <uint32_t>values[1].i32
    cdef uint8_t* out = guest_bytes(agent, <uint32_t>values[0].i32, room)
    if out == NULL:
        return answer(values, HOST_POINTER)
    memcpy(out, agent.last_error, min(<uint32_t>agent.error_length, room))
    return answer(values, agent.error_length)


cdef wasm_trap_t* set_error(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    """Why the guest is about to return an error code, in its own words: what the sender reads."""
    cdef agent_t* agent = agent_of(caller)
    cdef uint32_t length = <uint32_t>values[1].i32
    cdef uint8_t* at = checked(agent, <uint32_t>values[0].i32, length)
    if at == NULL:
        return NULL
    if length > ERROR_ROOM:
        length = ERROR_ROOM
        while length and (at[length] & 0xc0) == 0x80:
            length -= 1     # no half of a character
    memcpy(agent.last_error, at, length)
    agent.error_length = <uint16_t>length
    agent.failed = 1
    return NULL


# -- slow calls ------------------------------------------------------------------------------------------------------

cdef wasm_bool slept(void* env) noexcept nogil:
    cdef agent_t* agent = <agent_t*>env
    if cx_monotonic_ns() < agent.wake_ns:
        return False
    cx_poke_i32(&agent.waiting, WAIT_NOTHING)
    return True


cdef void sleep_until(agent_t* agent, int64_t wake_ns, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cx_poke_i32(&agent.waiting, WAIT_SLEEP)
    agent.wake_ns = wake_ns
    continuation.callback = slept
    continuation.env = agent
    continuation.finalizer = NULL


cdef wasm_bool nothing_to_wait_for(void* env) noexcept nogil:
    return True


cdef void at_once(wasmtime_async_continuation_t* continuation) noexcept nogil:
    continuation.callback = nothing_to_wait_for
    continuation.env = NULL
    continuation.finalizer = NULL


cdef void sleep_micros(
    void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults,
    wasm_trap_t** trap, wasmtime_async_continuation_t* continuation
) noexcept nogil:
    cdef int64_t delay = args[0].of.i64
    if delay <= 0:
        at_once(continuation)
        return
    sleep_until(agent_of(caller), cx_monotonic_ns() + min(delay, <int64_t>86_400_000_000) * 1000, continuation)


cdef wasm_bool called(void* env) noexcept nogil:
    """The answer of a slow call is there: copy it to where the guest wants it."""
    cdef agent_t* agent = <agent_t*>env
    if not cx_load_i32(&agent.answered):
        return False
    cx_poke_i32(&agent.waiting, WAIT_NOTHING)
    agent.call_result.kind = VAL_I32
    if agent.answer_status < 0:
        agent.call_result.of.i32 = agent.answer_status
    elif agent.answer_length > agent.out_size:
        agent.call_result.of.i32 = too_short(agent)
        keep_answer(agent)
        return True
    else:
        memcpy(agent.out, agent.answer, agent.answer_length)
        agent.call_result.of.i32 = <int32_t>agent.answer_length
    free(agent.answer)
    agent.answer = NULL
    return True


cdef int32_t too_short(agent_t* agent) noexcept nogil:
    agent_fail(agent, b"the buffer is too short; the result's negative is a size that is enough: call again")
    return min(-<int32_t>agent.answer_length, <int32_t>HOST_SHORT)


cdef void keep_answer(agent_t* agent) noexcept nogil:
    """For the guest that asks the same again with more room: the tool is not to be called twice for it. The request is still where it was."""
    agent.asked = <char*>malloc(agent.asking_length + 1)
    if agent.asked == NULL:
        free(agent.answer)
        agent.answer = NULL
        return
    memcpy(agent.asked, agent.asking, agent.asking_length)
    agent.asked_length = agent.asking_length


cdef bint is_kept(const agent_t* agent, const char* name, const uint8_t* request, uint32_t length) noexcept nogil:
    return (
        agent.asked != NULL and agent.asked_name == name and agent.asked_length == length and memcmp(agent.asked, request, length) == 0
    )


cdef void slow_call(
    const char* name, wasmtime_caller_t* caller, const wasmtime_val_t* args, wasmtime_val_t* results,
    wasmtime_async_continuation_t* continuation
) noexcept nogil:
    cdef agent_t* agent = agent_of(caller)
    cdef uint32_t length = <uint32_t>args[1].of.i32, room = <uint32_t>args[3].of.i32
    cdef uint8_t* request = checked(agent, <uint32_t>args[0].of.i32, length)
    cdef uint8_t* out = checked(agent, <uint32_t>args[2].of.i32, room)
    cdef int outcome
    at_once(continuation)
    results[0].kind = VAL_I32
    if request == NULL or out == NULL:
        results[0].of.i32 = HOST_POINTER
        return
    if is_kept(agent, name, request, length):
        if agent.answer_length > room:
            results[0].of.i32 = too_short(agent)
            return
        memcpy(out, agent.answer, agent.answer_length)
        results[0].of.i32 = <int32_t>agent.answer_length
        agent_unkeep(agent)
        return
    outcome = guest_call(agent, name, <char*>request, length)
    if outcome:
        results[0].of.i32 = outcome
        return
    agent.asked_name = name
    agent.asking = request
    agent.asking_length = length
    agent.out = out
    agent.out_size = room
    agent.call_result = results
    continuation.callback = called
    continuation.env = agent


cdef int guest_call(agent_t* agent, const char* name, const char* request, uint32_t length) noexcept nogil:
    cdef event_t* event
    agent_unkeep(agent)
    if length > cx_peek_u32(&agent.world.limits.max_size):
        agent_fail(agent, b"the request is longer than the largest message")
        return HOST_ARGUMENT
    event = event_new(EVENT_CALL, agent.port.id, name, strlen(name), request, length)
    if event == NULL:
        return HOST_QUOTA
    if agent.turn.kind == KIND_MESSAGE:
        envelope_retain(agent.turn)
        event.envelope = agent.turn
    # an answer to an earlier call must see all of this or nothing
    pthread_mutex_lock(&agent.port.lock)
    agent.call_id += 1
    event.a = agent.call_id
    cx_store_i32(&agent.answered, 0)
    cx_poke_i32(&agent.waiting, WAIT_CALL)
    pthread_mutex_unlock(&agent.port.lock)
    outbox_push(agent.world.outbox, event)
    return 0


cdef void mcp_call(
    void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults,
    wasm_trap_t** trap, wasmtime_async_continuation_t* continuation
) noexcept nogil:
    slow_call(b"mcp_call", caller, args, results, continuation)


cdef void memory_search(
    void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults,
    wasm_trap_t** trap, wasmtime_async_continuation_t* continuation
) noexcept nogil:
    slow_call(b"memory_search", caller, args, results, continuation)


# -- the table -------------------------------------------------------------------------------------------------------

cdef wasm_functype_t* signature(const char* types) noexcept:
    cdef wasm_valtype_t* kinds[16]
    cdef wasm_valtype_vec_t params, results
    cdef size_t n = 0, i = 0
    while types[i] != b">":
        kinds[n] = wasm_valtype_new(VALTYPE_I32 if types[i] == b"i" else VALTYPE_I64)
        n += 1
        i += 1
    wasm_valtype_vec_new(&params, n, kinds)
    n = 0
    if types[i + 1] != 0:
        kinds[0] = wasm_valtype_new(VALTYPE_I32 if types[i + 1] == b"i" else VALTYPE_I64)
        n = 1
    wasm_valtype_vec_new(&results, n, kinds)
    return wasm_functype_new(&params, &results)


cdef int outcome(wasmtime_error_t* error) noexcept:
    if error == NULL:
        return 0
    wasmtime_error_delete(error)
    return -1


cdef wasm_trap_t* observed(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t count) noexcept nogil:
    """The host function *env*, with what the thread does told to the profiler."""
    cdef agent_t* agent = agent_of(caller)
    cdef wasm_trap_t* trap
    set_activity(agent.activity, DO_HOST)
    note_ahead(&agent.port.ahead.stack, values)
    trap = (<wasmtime_func_unchecked_callback_t>env)(NULL, caller, values, count)
    set_activity(agent.activity, DO_GUEST)
    return trap


cdef int define(
    wasmtime_linker_t* linker, const char* module, const char* name, const char* types, wasmtime_func_unchecked_callback_t callback
) noexcept:
    cdef wasm_functype_t* type = signature(types)
    cdef int failed = outcome(
        wasmtime_linker_define_func_unchecked(linker, module, strlen(module), name, strlen(name), type, observed, <void*>callback, NULL)
    )
    wasm_functype_delete(type)
    return failed


cdef void observed_async(
    void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults,
    wasm_trap_t** trap, wasmtime_async_continuation_t* continuation
) noexcept nogil:
    cdef agent_t* agent = agent_of(caller)
    set_activity(agent.activity, DO_HOST)
    (<wasmtime_func_async_callback_t>env)(NULL, caller, args, nargs, results, nresults, trap, continuation)
    set_activity(agent.activity, DO_GUEST)


cdef int define_async(
    wasmtime_linker_t* linker, const char* module, const char* name, const char* types, wasmtime_func_async_callback_t callback
) noexcept:
    cdef wasm_functype_t* type = signature(types)
    cdef int failed = outcome(
        wasmtime_linker_define_async_func(linker, module, strlen(module), name, strlen(name), type, observed_async, <void*>callback, NULL)
    )
    wasm_functype_delete(type)
    return failed


cdef int define_hostcalls(wasmtime_linker_t* linker) noexcept:
    cdef const char* modules[2]
    cdef const char* m
    cdef int i, failed = 0
    modules[0] = b"caxton"
    modules[1] = b"env"
    for i in range(2):
        m = modules[i]
        failed |= define(linker, m, b"send_message", b"ii>i", send_message)
        failed |= define(linker, m, b"broadcast_message", b"iiii>i", broadcast_message)
        failed |= define(linker, m, b"subscribe_messages", b"ii>i", subscribe_messages)
        failed |= define(linker, m, b"console_log", b"ii>", console_log)
        failed |= define(linker, m, b"console_error", b"ii>", console_error)
        failed |= define(linker, m, b"current_timestamp", b">I", current_timestamp)
        failed |= define(linker, m, b"random_u32", b">i", random_u32)
        failed |= define(linker, m, b"set_timer", b"I>i", set_timer)
        failed |= define(linker, m, b"cancel_timer", b"i>i", cancel_timer)
        failed |= define(linker, m, b"store_data", b"iiii>i", store_data)
        failed |= define(linker, m, b"load_data", b"iiii>i", load_data)
        failed |= define(linker, m, b"delete_data", b"ii>i", delete_data)
        failed |= define(linker, m, b"last_error", b"ii>i", last_error)
        failed |= define(linker, m, b"set_error", b"ii>", set_error)
        failed |= define_async(linker, m, b"sleep_micros", b"I>", sleep_micros)
        failed |= define_async(linker, m, b"mcp_call", b"iiii>i", mcp_call)
        failed |= define_async(linker, m, b"memory_search", b"iiii>i", memory_search)
    return failed
