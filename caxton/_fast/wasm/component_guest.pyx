"""See component_guest.pxd."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from caxton._fast.activity cimport DO_ENVELOPE, DO_GUEST, set_activity
from caxton._fast.byte_scan cimport has_high, utf8_stop
from caxton._fast.envelope cimport envelope_write_json
from caxton._fast.platform cimport cx_monotonic_ns, cx_store_u64
from caxton._fast.wasm.component_values cimport *
from caxton._fast.wasm.instance cimport *

cdef enum:
    CORE_INSTANCES = 128        # of one component, those inside it included
    TABLES = 4
    DECLARED_ROOM = 65536       # of get-capabilities
    PAGE = 65536

cdef int64_t BETWEEN_WEIGHINGS_NS = 100_000_000


cdef bint is_utf8(const char* text, size_t length) noexcept nogil:
    return not has_high(text, length) or utf8_stop(text, text + length) == text + length


cdef void put_text(wasmtime_component_val_t* value, const char* text, size_t length) noexcept nogil:
    cdef size_t i
    put_string(value, text, length)
    if not is_utf8(text, length):
        # rare: a stored value or an error that was cut; one mark for each byte that is no ASCII keeps the length
        for i in range(length):
            if value.of.string.data[i] & 0x80:
                value.of.string.data[i] = b"?"


cdef inline component_t* plan_of(const agent_t* agent) noexcept nogil:
    return <component_t*>agent.blueprint.component


cdef inline guest_t* guest_of(const agent_t* agent) noexcept nogil:
    return <guest_t*>agent.guest


cdef inline bint has(const agent_t* agent, int function) noexcept nogil:
    return agent.blueprint.exports >> function & 1


cdef int crash(agent_t* agent, int reason, const char* text, size_t length) noexcept nogil:
    agent_crash(agent, reason, text, length)
    return TURN_CRASHED


cdef int instantiate(agent_t* agent) noexcept nogil:
    cdef component_t* plan = plan_of(agent)
    cdef guest_t* guest = <guest_t*>calloc(1, sizeof(guest_t))
    if guest == NULL:
        return crash(agent, EXIT_MEMORY, b"no memory left for the instance", 31)
    agent.guest = guest
    # the wait for the first turn on a thread is not the agent's
    agent.born_ns = agent.started_ns = cx_monotonic_ns()
    agent.deadline_ns = agent.born_ns + agent.limits.timeout_ns
    agent.store = wasmtime_store_new(agent.blueprint.engine, agent, NULL)
    agent.context = wasmtime_store_context(agent.store)
    # the limit is one memory's: several share out what the agent may have
    wasmtime_store_limiter(
        agent.store, agent.limits.memory // plan.memories, agent.limits.elements, CORE_INSTANCES, TABLES, plan.memories
    )
    wasmtime_context_set_epoch_deadline(agent.context, 1)
    wasmtime_context_epoch_deadline_async_yield_and_update(agent.context, 1)
    agent.future = wasmtime_component_linker_instantiate_async(
        plan.linker, agent.context, plan.component, &guest.instance, &agent.error
    )
    return STARTED


cdef int look_up(agent_t* agent) noexcept nogil:
    cdef component_t* plan = plan_of(agent)
    cdef guest_t* guest = guest_of(agent)
    cdef int i
    for i in range(FN_COUNT):
        if has(agent, i) and not wasmtime_component_instance_get_func(
            &guest.instance, agent.context, plan.indexes[i], &guest.functions[i]
        ):
            return crash(agent, EXIT_INIT, b"an exported function is missing", 31)
    if plan.scale != NULL and not wasmtime_component_instance_get_func(&guest.instance, agent.context, plan.scale, &guest.scale):
        return crash(agent, EXIT_INIT, b"the function that was put in is missing", 39)
    return agent_next_phase(agent, PHASE_INIT)


cdef void weigh(agent_t* agent, int64_t now) noexcept nogil:
    cdef guest_t* guest = guest_of(agent)
    cdef wasmtime_call_future_t* future
    cdef wasmtime_error_t* error = NULL
    if plan_of(agent).scale == NULL or now - guest.weighed_ns < BETWEEN_WEIGHINGS_NS:
        return
    guest.weighed_ns = now
    put_bool(&guest.result, False)
    # a few instructions of ours, which run to their end: no slice ends here
    wasmtime_context_set_epoch_deadline(agent.context, 1 << 30)
    future = wasmtime_component_func_call_async(&guest.scale, agent.context, &guest.argument, 0, &guest.result, 1, &error)
    while not wasmtime_call_future_poll(future):
        pass
    wasmtime_call_future_delete(future)
    if error != NULL:
        wasmtime_error_delete(error)
    elif guest.result.kind == CVAL_U32:
        cx_store_u64(&agent.memory_seen, <uint64_t>guest.result.of.u32 * PAGE)
    put_bool(&guest.result, False)


cdef int call(agent_t* agent, int function, size_t arguments) noexcept nogil:
    cdef guest_t* guest = guest_of(agent)
    put_bool(&guest.result, False)
    wasmtime_context_set_epoch_deadline(agent.context, 1)
    agent.future = wasmtime_component_func_call_async(
        &guest.functions[function], agent.context, &guest.argument, arguments, &guest.result,
        agent.blueprint.returns >> function & 1, &agent.error
    )
    return STARTED


cdef int start_phase(agent_t* agent) noexcept nogil:
    """Begin the guest call of the phase, passing over what the component does not export."""
    cdef guest_t* guest = guest_of(agent)
    if agent.phase == PHASE_HANDLE or agent.phase == PHASE_ALLOC:
        agent.phase = PHASE_HANDLE
        set_activity(agent.activity, DO_ENVELOPE)
        put_string(&guest.argument, NULL, agent.wanted)
        envelope_write_json(agent.turn, guest.argument.of.string.data)
        set_activity(agent.activity, DO_GUEST)
        return call(agent, FN_HANDLE_MESSAGE, 1)
    if agent.phase == PHASE_INSTANTIATE:
        return instantiate(agent)
    if agent.phase == PHASE_INIT:
        if has(agent, FN_INIT):
            return call(agent, FN_INIT, 0)
        agent.phase = PHASE_CAPABILITIES
    if agent.phase == PHASE_CAPABILITIES and has(agent, FN_CAPABILITIES):
        return call(agent, FN_CAPABILITIES, 0)
    if agent.phase == PHASE_TIMER and has(agent, FN_HANDLE_TIMER):
        put_u32(&guest.argument, agent.turn.argument)
        return call(agent, FN_HANDLE_TIMER, 1)
    if agent.phase == PHASE_SHUTDOWN and has(agent, FN_SHUTDOWN):
        return call(agent, FN_SHUTDOWN, 0)
    if agent.phase == PHASE_HEALTH and has(agent, FN_HEALTH):
        return call(agent, FN_HEALTH, 0)
    return agent_next_phase(agent, PHASE_DONE)


cdef bint failed(const wasmtime_component_val_t* result) noexcept nogil:
    return result.kind == CVAL_RESULT and not result.of.result.is_ok


cdef void take_error(agent_t* agent, const wasmtime_component_val_t* result) noexcept nogil:
    """What went wrong, in the guest's own words, as the text that the operator and the sender read."""
    cdef const char* text = NULL
    cdef uint32_t length = 0
    agent.failed = 1
    agent.error_length = 0
    if result.of.result.val != NULL and get_string(result.of.result.val, &text, &length):
        if length > ERROR_ROOM:
            length = ERROR_ROOM
            while length and (<uint8_t>text[length] & 0xC0) == 0x80:
                length -= 1     # no half of a character
        memcpy(agent.last_error, text, length)
        agent.error_length = <unsigned short>length


cdef int end_call(agent_t* agent) noexcept nogil:
    cdef wasmtime_component_val_t* result = &guest_of(agent).result
    cdef wasmtime_component_val_t* inner
    cdef const char* text = NULL
    cdef uint32_t length = 0
    if agent.phase == PHASE_HANDLE:
        if failed(result):
            take_error(agent, result)
            agent.refused = REFUSED_BY_GUEST
        elif result.kind == CVAL_RESULT and result.of.result.val != NULL and result.of.result.val.kind == CVAL_OPTION:
            inner = result.of.result.val.of.option
            if inner != NULL and get_string(inner, &text, &length) and length:
                agent.refused = REFUSED_ANSWER if agent_reply(agent, text, length) else 0
        return agent_next_phase(agent, PHASE_DONE)
    if agent.phase == PHASE_INIT:
        if failed(result):
            take_error(agent, result)
            return crash(agent, EXIT_INIT, agent.last_error, agent.error_length)
        return agent_next_phase(agent, PHASE_CAPABILITIES)
    if agent.phase == PHASE_CAPABILITIES:
        if result.kind == CVAL_OPTION and result.of.option != NULL and get_string(result.of.option, &text, &length):
            if length > DECLARED_ROOM:
                return crash(agent, EXIT_INIT, b"get-capabilities returned more than 65536 bytes", 47)
            agent.declared = <char*>malloc(max(length, <uint32_t>1))
            if agent.declared == NULL:
                return crash(agent, EXIT_MEMORY, b"no memory left for the instance", 31)
            memcpy(agent.declared, text, length)
            agent.declared_length = length
    elif failed(result):
        take_error(agent, result)
        agent.refused = REFUSED_BY_GUEST
        if agent.error_length:
            agent_log(agent, 2, agent.last_error, agent.error_length)
    return agent_next_phase(agent, PHASE_DONE)


cdef int end_phase(agent_t* agent) noexcept nogil:
    cdef int outcome
    if agent.phase == PHASE_INSTANTIATE:
        return look_up(agent)
    outcome = end_call(agent)
    give_back(agent)
    return outcome


cdef void give_back(agent_t* agent) noexcept nogil:
    """The values of a call that is over."""
    cdef guest_t* guest = guest_of(agent)
    if guest == NULL:
        return
    wasmtime_component_val_delete(&guest.argument)
    wasmtime_component_val_delete(&guest.result)
    put_bool(&guest.argument, False)
    put_bool(&guest.result, False)


cdef void free_guest(agent_t* agent) noexcept nogil:
    cdef guest_t* guest = guest_of(agent)
    if guest == NULL:
        return
    free(guest.due_ns)
    free(guest.polled)
    free(guest)
    agent.guest = NULL


COMPONENTS.start_phase = start_phase
COMPONENTS.end_phase = end_phase
COMPONENTS.reset = give_back
COMPONENTS.free = free_guest
