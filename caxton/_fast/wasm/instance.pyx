"""See instance.pxd for the rules."""

# Over 500 lines: a turn is one machine; its phases, what it collects and how it ends read as one.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, strlen

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char*, size_t)

from caxton._fast.activity cimport (
    activity_t,
    DO_ENVELOPE,
    DO_GUEST,
    DO_INSTANCE,
    DO_ROUTER,
    set_activity,
)
from caxton._fast.ahead cimport note_ahead
from caxton._fast.delivery cimport delivery_of, port_refusal
from caxton._fast.envelope cimport (
    DEFAULT_LIMITS,
    E_MEMORY,
    E_RECEIVERS,
    E_TOO_LARGE,
    Envelope,
    envelope_control,
    envelope_error_t,
    envelope_error_text,
    envelope_field,
    envelope_field_length,
    envelope_json_size,
    envelope_parse,
    envelope_release,
    envelope_retain,
    envelope_stamp,
    envelope_t,
    envelope_with_sender,
    envelope_with_traceparent,
    envelope_write_json,
    F_CONVERSATION_ID,
    F_RECEIVER,
    F_REPLY_TO,
    F_REPLY_WITH,
    F_SENDER,
    F_TRACEPARENT,
    KIND_INIT,
    KIND_MESSAGE,
    KIND_SHUTDOWN,
    KIND_TIMER,
)
from caxton._fast.outbox cimport event_free, event_new, event_t, outbox_free, outbox_init, outbox_push, outbox_t
from caxton._fast.platform cimport (
    cx_add_i32,
    cx_alloc_lines,
    cx_monotonic_ns,
    cx_peek_u32,
    cx_peek_u64,
    cx_poke_i32,
    cx_realtime_us,
    cx_store_u64,
)
from caxton._fast.router cimport (
    port_release,
    port_retain,
    port_t,
    Router,
    router_resolve_all,
    SEND_INVALID,
    SEND_LIMIT,
    SEND_MAILBOX_FULL,
    SEND_MEMORY,
    SEND_NO_RECEIVER,
    SEND_STOPPED,
    SEND_STORE,
    SEND_TOO_LARGE,
    targets_free,
    WAY_SIGNS,
)
from caxton._fast.spans cimport carry_on, TRACEPARENT
from caxton._fast.state cimport state_free, state_new, state_rollback, state_t
from caxton._fast.wasm.blueprint cimport Blueprint, Linker
from caxton._fast.wasm.c_api cimport *
from caxton._fast.wasm.engine cimport Engine
from caxton._fast.wasm.errors cimport call_error_text, trap_text
from caxton._fast.wasm.module cimport Module

from caxton.core.errors import DeploymentFailed, GuestTrapped, InvalidWasm

cdef enum:
    SMALLEST_INBOX = 1024
    ANSWER_ROOM = 65536         # of get_response and get_capabilities
    MAX_OUTGOING_BYTES = 67108864   # of one turn
    RECEIVER_BYTES = 8              # of them, for each of several receivers


# -- birth and death -------------------------------------------------------------------------------------------------

cdef agent_t* agent_new(world_t* world, port_t* port, blueprint_t* blueprint, const limits_t* limits) noexcept nogil:
    cdef agent_t* agent = <agent_t*>cx_alloc_lines(sizeof(agent_t))
    if agent == NULL:
        return NULL
    agent.world = world
    agent.port = port
    agent.blueprint = blueprint
    agent.limits = limits[0]
    agent.next_timer = 1
    cx_add_i32(&blueprint.users, 1)
    return agent


cdef void agent_free(agent_t* agent) noexcept nogil:
    agent_reset(agent)
    if agent.store != NULL:
        wasmtime_store_delete(agent.store)
    agent.blueprint.kind.free(agent)
    if agent.state != NULL:
        state_free(agent.state)
    free(agent.declared)
    free(agent.outgoing)
    free(agent.answer)
    free(agent.asked)
    free(agent.line[0])
    free(agent.line[1])
    free(agent.environment)
    targets_free(&agent.targets)
    cx_add_i32(&agent.blueprint.users, -1)
    free(agent)


cdef void agent_reset(agent_t* agent) noexcept nogil:
    cdef uint32_t i
    cdef event_t* following
    if agent.future != NULL:
        wasmtime_call_future_delete(agent.future)
        agent.future = NULL
    agent.blueprint.kind.reset(agent)
    if agent.trap != NULL:
        wasm_trap_delete(agent.trap)
        agent.trap = NULL
    if agent.error != NULL:
        wasmtime_error_delete(agent.error)
        agent.error = NULL
    for i in range(agent.outgoing_count):
        envelope_release(agent.outgoing[i].envelope)
        if agent.outgoing[i].target != NULL:
            port_release(agent.world.router, agent.outgoing[i].target)
    agent.outgoing_count = 0
    agent.outgoing_bytes = 0
    while agent.effects != NULL:
        following = agent.effects.next
        event_free(agent.effects)
        agent.effects = following
    agent.effects_last = NULL
    agent.effects_count = agent.effects_bytes = 0
    if agent.state != NULL:
        state_rollback(agent.state)
    if agent.turn != NULL:
        envelope_release(agent.turn)
        agent.turn = NULL
    cx_poke_i32(&agent.waiting, WAIT_NOTHING)


cdef void agent_unkeep(agent_t* agent) noexcept nogil:
    if agent.asked != NULL:
        free(agent.asked)
        free(agent.answer)
        agent.asked = agent.answer = NULL


# -- failing ---------------------------------------------------------------------------------------------------------

cdef void agent_crash(agent_t* agent, int reason, const char* text, size_t length) noexcept nogil:
    agent.exit_reason = <uint8_t>reason
    agent.exit_length = <uint16_t>min(length, <size_t>ERROR_ROOM)
    memcpy(agent.exit_text, text, agent.exit_length)


cdef int crash(agent_t* agent, int reason, const char* text) noexcept nogil:
    agent_crash(agent, reason, text, strlen(text))
    return TURN_CRASHED


cdef void agent_fail(agent_t* agent, const char* text) noexcept nogil:
    """What the guest reads with last_error."""
    agent.error_length = <uint16_t>min(strlen(text), <size_t>ERROR_ROOM)
    memcpy(agent.last_error, text, agent.error_length)
    agent.failed = 1


cdef const char* send_error_text(int code) noexcept nogil:
    if code == SEND_NO_RECEIVER:
        return b"no agent has the receiver's name; deploy it first, or check the spelling"
    if code == SEND_MAILBOX_FULL:
        return b"the receiver's mailbox is full; send again later"
    if code == SEND_STOPPED:
        return b"the receiver drains or has failed and takes no new messages"
    if code == SEND_STORE:
        return b"the server's disk is full or fails, and messages that have to be kept are refused; send again later"
    if code == SEND_LIMIT:
        return b"too many messages in one turn (65536 messages or 64 MiB)"
    return b"no memory left for the message"


# -- effects ---------------------------------------------------------------------------------------------------------

cdef int agent_effect(agent_t* agent, event_t* event) noexcept nogil:
    if event == NULL:
        agent_fail(agent, send_error_text(SEND_MEMORY))
        return SEND_MEMORY
    if agent.effects_count >= MAX_EFFECTS or agent.effects_bytes + event.length > MAX_EFFECT_BYTES:
        event_free(event)
        agent_fail(agent, b"too many timers and subscriptions in one turn (4096, or 1 MiB of filters)")
        return SEND_LIMIT
    agent.effects_count += 1
    agent.effects_bytes += event.length
    if agent.effects_last != NULL:
        agent.effects_last.next = event
    else:
        agent.effects = event
    agent.effects_last = event
    return 0


cdef state_t* agent_state(agent_t* agent) noexcept nogil:
    if agent.state == NULL:
        agent.state = state_new(agent.limits.state_quota)
    return agent.state


cdef int queue(agent_t* agent, envelope_t* envelope, port_t* target) noexcept nogil:
    """Takes over the reference to the message; it leaves when the turn is done."""
    cdef outgoing_t* larger
    cdef uint32_t room
    cdef int outcome = 0
    # many receivers make the turn's records long, and those have to go into one transaction
    cdef uint64_t size = envelope.size + (RECEIVER_BYTES * <uint64_t>agent.targets.count if target == NULL else 0)
    if agent.outgoing_count >= MAX_OUTGOING or agent.outgoing_bytes + size > MAX_OUTGOING_BYTES:
        outcome = SEND_LIMIT
    elif agent.outgoing_count == agent.outgoing_room:
        room = agent.outgoing_room * 2 if agent.outgoing_room else 2
        larger = <outgoing_t*>realloc(agent.outgoing, room * sizeof(outgoing_t))
        if larger == NULL:
            outcome = SEND_MEMORY
        else:
            agent.outgoing = larger
            note_ahead(&agent.port.ahead.outgoing, larger)
            agent.outgoing_room = room
    if outcome == 0 and target != NULL and not port_retain(target):
        outcome = SEND_NO_RECEIVER
    if outcome:
        envelope_release(envelope)
        return outcome
    agent.outgoing[agent.outgoing_count].envelope = envelope
    agent.outgoing[agent.outgoing_count].target = target
    agent.outgoing_count += 1
    agent.outgoing_bytes += size
    return 0


cdef envelope_t* parse_own(agent_t* agent, const char* json, uint32_t length, envelope_error_t* error) noexcept nogil:
    """A message of this agent: whatever it says, the sender is its own name."""
    cdef envelope_t* envelope
    cdef char[TRACEPARENT] traceparent
    set_activity(agent.activity, DO_ENVELOPE)
    envelope = envelope_parse(json, length, &agent.world.limits, error)
    if envelope == NULL:
        return NULL
    envelope = envelope_with_sender(envelope, agent.port.name, agent.port.name_length)
    if envelope == NULL:
        error.code = E_MEMORY
        return NULL
    envelope.sender_port = agent.port.id
    envelope.receiver_port = 0
    envelope.delivery_attempt = 0
    envelope.hop_count = 1
    if agent.turn != NULL and agent.turn.kind == KIND_MESSAGE:
        envelope.hop_count = min(agent.turn.hop_count + 1, 255)
        if agent.turn.fields[F_TRACEPARENT].length and envelope.fields[F_TRACEPARENT].length == 0:
            if carry_on(traceparent, agent.turn, cx_peek_u64(&agent.world.span_salt), agent.port.id, agent.started_ns):
                envelope = envelope_with_traceparent(envelope, traceparent, TRACEPARENT)
                if envelope == NULL:
                    error.code = E_MEMORY
    return envelope


cdef int route_own(agent_t* agent, envelope_t* envelope) noexcept nogil:
    """Find the receivers now, so that the guest learns at once what cannot be sent; takes over the reference."""
    cdef port_t* target = NULL
    cdef int outcome
    set_activity(agent.activity, DO_ROUTER)
    agent.targets.count = 0
    outcome = router_resolve_all(agent.world.router, envelope, &agent.targets)
    if outcome == 0 and agent.targets.count == 1 and envelope.receivers == 1:
        target = agent.targets.items[0]
        note_ahead(&agent.port.ahead.target, target)
        note_ahead(&agent.port.ahead.route, agent.targets.route)
        note_ahead(&agent.port.ahead.found, agent.targets.items)
        outcome = port_refusal(agent.world.router, target, envelope, delivery_of(agent.world.router, envelope, target))
    if outcome == SEND_NO_RECEIVER and asks_for_capability(envelope):
        advise(agent, envelope)
    elif outcome:
        envelope_release(envelope)
    else:
        if agent.port.ways & WAY_SIGNS:
            # Trio signs it, and posts it in the sender's name
            target = agent.world.router.signer
        outcome = queue(agent, envelope, target)
    if outcome:
        agent_fail(agent, send_error_text(outcome))
    return outcome


cdef bint asks_for_capability(const envelope_t* envelope) noexcept nogil:
    return (
        envelope.receivers == 1
        and envelope_field_length(envelope, F_RECEIVER) > 11
        and memcmp(envelope_field(envelope, F_RECEIVER), b"capability:", 11) == 0
    )


cdef void advise(agent_t* agent, envelope_t* envelope) noexcept nogil:
    """A number cannot say who else there is: the `failure` that comes when the turn is done can. Takes over the reference."""
    cdef event_t* event = event_new(EVENT_UNDELIVERED, agent.port.id, NULL, 0, NULL, 0)
    if event == NULL:
        envelope_release(envelope)
        return
    envelope_stamp(envelope, cx_realtime_us())
    event.a = SEND_NO_RECEIVER
    event.envelope = envelope
    agent_effect(agent, event)


cdef int invalid(agent_t* agent, const envelope_error_t* error) noexcept nogil:
    agent.error_length = <uint16_t>envelope_error_text(error, agent.last_error, ERROR_ROOM)
    agent.failed = 1
    return SEND_TOO_LARGE if error.code == E_TOO_LARGE else SEND_INVALID


cdef int agent_send(agent_t* agent, const char* json, uint32_t length) noexcept nogil:
    cdef envelope_error_t error
    cdef envelope_t* envelope = parse_own(agent, json, length, &error)
    note_ahead(&agent.port.ahead.sent, json)
    if envelope == NULL:
        return invalid(agent, &error)
    return route_own(agent, envelope)


cdef uint32_t opening(const char* json) noexcept nogil:
    """Bytes up to what follows the `{` of JSON text that is known to be an object."""
    cdef uint32_t n = 0
    while json[n] != b"{":
        n += 1
    return n + 1


cdef int agent_send_to_targets(agent_t* agent, const char* json, uint32_t length) noexcept nogil:
    cdef envelope_error_t error
    cdef envelope_t* envelope = parse_own(agent, json, length, &error)
    cdef char* whole
    cdef uint32_t i, start
    cdef int outcome = 0, sent = 0
    if envelope == NULL and error.code == E_RECEIVERS:
        # a broadcast needs no receiver of its own
        whole = <char*>malloc(length + 32)
        if whole == NULL:
            return SEND_MEMORY
        memcpy(whole, b'{"receiver":"broadcast://",', 27)
        start = opening(json)
        memcpy(whole + 27, json + start, length - start)
        envelope = parse_own(agent, whole, length + 27 - start, &error)
        free(whole)
    if envelope == NULL:
        return invalid(agent, &error)
    set_activity(agent.activity, DO_ROUTER)
    for i in range(agent.targets.count):
        if agent.targets.items[i] == agent.port:
            continue
        envelope_retain(envelope)
        outcome = queue(agent, envelope, agent.targets.items[i])
        if outcome == SEND_LIMIT or outcome == SEND_MEMORY:
            break
        sent += outcome == 0
    envelope_release(envelope)
    if outcome and sent == 0:
        agent_fail(agent, send_error_text(outcome))
        return outcome
    return sent


cdef size_t quoted(char* out, const char* key, const envelope_t* turn, int field) noexcept nogil:
    """`"key":"value",` with the (first) value of a field of the turn. One that is not set or needs escapes is left out."""
    cdef size_t n = strnlen(envelope_field(turn, field), envelope_field_length(turn, field)), k = strlen(key)
    if n == 0 or turn.escapes >> field & 1:
        return 0
    out[0] = b'"'
    memcpy(out + 1, key, k)
    memcpy(out + 1 + k, b'":"', 3)
    memcpy(out + 4 + k, envelope_field(turn, field), n)
    memcpy(out + 4 + k + n, b'",', 2)
    return k + n + 6


cdef int agent_reply(agent_t* agent, const char* text, uint32_t length) noexcept nogil:
    """An answer that the guest returned: a whole message, one without a receiver, or just the content of an `inform`."""
    cdef const envelope_t* turn = agent.turn
    cdef envelope_error_t error
    cdef envelope_t* envelope = parse_own(agent, text, length, &error)
    cdef char* whole
    cdef size_t n, attempt
    cdef uint32_t start
    if envelope != NULL:
        return route_own(agent, envelope)
    if length > cx_peek_u32(&agent.world.limits.max_size):
        agent_fail(agent, b"the answer is longer than the largest message")
        return SEND_TOO_LARGE
    whole = <char*>malloc(length + 4096)
    if whole == NULL:
        return SEND_MEMORY
    # first as a message that lacks its address, then as a content
    for attempt in range(2 if error.code == E_RECEIVERS else 1):
        n = 1
        whole[0] = b"{"
        n += quoted(whole + n, b"receiver", turn, F_REPLY_TO if envelope_field_length(turn, F_REPLY_TO) else F_SENDER)
        n += quoted(whole + n, b"conversation_id", turn, F_CONVERSATION_ID)
        n += quoted(whole + n, b"in_reply_to", turn, F_REPLY_WITH)
        if error.code == E_RECEIVERS and attempt == 0:
            start = opening(text)
            memcpy(whole + n, text + start, length - start)
            n += length - start
        else:
            memcpy(whole + n, b'"performative":"inform","content":', 34)
            memcpy(whole + n + 34, text, length)
            whole[n + 34 + length] = b"}"
            n += 35 + length
        envelope = parse_own(agent, whole, <uint32_t>n, &error)
        if envelope != NULL:
            break
    free(whole)
    if envelope == NULL:
        return invalid(agent, &error)
    return route_own(agent, envelope)


cdef void agent_log(agent_t* agent, int stream, const char* text, uint32_t length) noexcept nogil:
    cdef int64_t now = cx_monotonic_ns()
    cdef event_t* event
    cdef uint32_t dropped
    if now - agent.log_window_ns >= 1_000_000_000:
        dropped = agent.log_dropped
        agent.log_window_ns = now
        agent.log_count = 0
        agent.log_dropped = 0
        if dropped:
            event = event_new(EVENT_LOG, agent.port.id, NULL, 0, NULL, 0)
            if event != NULL:
                event.a = stream
                event.b = -<int64_t>dropped     # lines that the rate limit took
                outbox_push(agent.world.outbox, event)
    if agent.log_count >= agent.limits.log_lines:
        agent.log_dropped += 1
        return
    agent.log_count += 1
    event = event_new(EVENT_LOG, agent.port.id, NULL, 0, text, min(length, <uint32_t>8192))
    if event != NULL:
        event.a = stream
        event.b = cx_realtime_us()
        outbox_push(agent.world.outbox, event)


# -- a turn ----------------------------------------------------------------------------------------------------------

cdef inline bint has(const agent_t* agent, int function) noexcept nogil:
    return agent.blueprint.exports >> function & 1


cdef void agent_begin(agent_t* agent, envelope_t* turn, int64_t now) noexcept nogil:
    agent.turn = turn
    agent.started_ns = now
    agent.deadline_ns = now + <int64_t>cx_peek_u64(<const uint64_t*>&agent.limits.timeout_ns)
    agent.spent_ns = 0
    agent.refused = 0
    agent.failed = 0
    agent.exit_reason = EXIT_NORMAL
    agent_unkeep(agent)
    if turn.kind == KIND_MESSAGE:
        agent.wanted = <uint32_t>envelope_json_size(turn)
        agent.after_alloc = PHASE_HANDLE
        agent.phase = PHASE_HANDLE if agent.wanted <= agent.inbox_size else PHASE_ALLOC
    elif turn.kind == KIND_INIT:
        agent.phase = PHASE_INSTANTIATE
    elif turn.kind == KIND_TIMER:
        agent.phase = PHASE_TIMER
    elif turn.kind == KIND_SHUTDOWN:
        agent.phase = PHASE_SHUTDOWN
    else:
        agent.phase = PHASE_HEALTH


cdef int agent_poll(agent_t* agent) noexcept nogil:
    cdef int outcome
    while True:
        set_activity(agent.activity, DO_INSTANCE if agent.phase == PHASE_INSTANTIATE else DO_GUEST)
        if agent.future == NULL:
            outcome = agent.blueprint.kind.start_phase(agent)
            if outcome != STARTED:
                return outcome
        if not wasmtime_call_future_poll(agent.future):
            return TURN_SUSPENDED if agent.waiting else TURN_YIELDED
        wasmtime_call_future_delete(agent.future)
        agent.future = NULL
        if agent.trap != NULL or agent.error != NULL:
            return crash_of_call(agent)
        outcome = agent.blueprint.kind.end_phase(agent)
        if outcome != TURN_DONE:
            return outcome
        if agent.phase == PHASE_DONE:
            return TURN_DONE


cdef int crash_of_call(agent_t* agent) noexcept nogil:
    cdef int reason = EXIT_INIT if agent.turn.kind == KIND_INIT else EXIT_TRAP
    cdef char text[ERROR_ROOM]
    cdef size_t n
    if agent.trap != NULL:
        n = trap_text(agent.trap, text, ERROR_ROOM)
        wasm_trap_delete(agent.trap)
        agent.trap = NULL
    else:
        n = call_error_text(agent.error, text, ERROR_ROOM)
        wasmtime_error_delete(agent.error)
        agent.error = NULL
    agent_crash(agent, reason, text, n)
    return TURN_CRASHED


cdef int call(agent_t* agent, int function, int32_t first, int32_t second, size_t count) noexcept nogil:
    agent.args[0].kind = VAL_I32
    agent.args[0].of.i32 = first
    agent.args[1].kind = VAL_I32
    agent.args[1].of.i32 = second
    agent.results[0].kind = VAL_I32
    agent.results[0].of.i64 = 0
    wasmtime_context_set_epoch_deadline(agent.context, 1)
    agent.future = wasmtime_func_call_async(
        agent.context, &agent.functions[function], agent.args, count, agent.results,
        agent.blueprint.returns >> function & 1, &agent.trap, &agent.error
    )
    return STARTED


cdef int agent_next_phase(agent_t* agent, int phase) noexcept nogil:
    agent.phase = <uint8_t>phase
    return TURN_DONE


cdef int start_phase(agent_t* agent) noexcept nogil:
    """Begin the guest call of the phase, passing over what the guest does not export."""
    cdef uint8_t* at
    cdef int outcome
    while True:
        if agent.phase == PHASE_HANDLE:
            at = guest_bytes(agent, agent.inbox, agent.wanted)
            if at == NULL:
                return crash(agent, EXIT_MEMORY, b"the message buffer lies outside the guest's memory")
            set_activity(agent.activity, DO_ENVELOPE)
            note_ahead(&agent.port.ahead.inbox, at)
            envelope_write_json(agent.turn, <char*>at)
            set_activity(agent.activity, DO_GUEST)
            return call(agent, FN_HANDLE_MESSAGE, <int32_t>agent.inbox, <int32_t>agent.wanted, 2)
        if agent.phase == PHASE_ALLOC:
            if has(agent, FN_ALLOC):
                return call(agent, FN_ALLOC, <int32_t>inbox_size(agent), 0, 1)
            outcome = grow_inbox(agent)
            if outcome:
                return outcome
            agent.phase = agent.after_alloc
        elif agent.phase == PHASE_INSTANTIATE:
            return instantiate(agent)
        elif agent.phase == PHASE_INITIALIZE:
            if has(agent, FN_INITIALIZE):
                return call(agent, FN_INITIALIZE, 0, 0, 0)
            agent.phase = PHASE_INIT
        elif agent.phase == PHASE_INIT:
            if has(agent, FN_INIT):
                return call(agent, FN_INIT, 0, 0, 0)
            agent.phase = PHASE_CAPABILITIES
        elif agent.phase == PHASE_CAPABILITIES:
            if not has(agent, FN_CAPABILITIES):
                agent.results[0].of.i32 = 0
                return agent_next_phase(agent, PHASE_DONE)
            if agent.inbox_size < ANSWER_ROOM:
                need_inbox(agent, ANSWER_ROOM, PHASE_CAPABILITIES)
            else:
                return call(agent, FN_CAPABILITIES, <int32_t>agent.inbox, <int32_t>agent.inbox_size, 2)
        elif agent.phase == PHASE_RESPONSE:
            if agent.inbox_size < ANSWER_ROOM:
                need_inbox(agent, ANSWER_ROOM, PHASE_RESPONSE)
            else:
                return call(agent, FN_RESPONSE, <int32_t>agent.inbox, <int32_t>agent.inbox_size, 2)
        elif agent.phase == PHASE_TIMER:
            if not has(agent, FN_HANDLE_TIMER):
                return agent_next_phase(agent, PHASE_DONE)
            return call(agent, FN_HANDLE_TIMER, <int32_t>agent.turn.argument, 0, 1)
        elif agent.phase == PHASE_SHUTDOWN:
            if not has(agent, FN_SHUTDOWN):
                return agent_next_phase(agent, PHASE_DONE)
            return call(agent, FN_SHUTDOWN, 0, 0, 0)
        else:
            if not has(agent, FN_HEALTH):
                return agent_next_phase(agent, PHASE_DONE)
            return call(agent, FN_HEALTH, 0, 0, 0)


cdef int end_phase(agent_t* agent) noexcept nogil:
    """Read the result of the phase's call and choose the next phase."""
    cdef int32_t result = agent.results[0].of.i32
    cdef uint64_t packed
    cdef uint8_t* at
    if agent.phase == PHASE_HANDLE:
        if agent.blueprint.packed:
            packed = <uint64_t>agent.results[0].of.i64
            if packed == 0:
                return agent_next_phase(agent, PHASE_DONE)
            at = guest_bytes(agent, <uint32_t>(packed >> 32), <uint32_t>packed)
            if at == NULL:
                return crash(agent, EXIT_TRAP, b"handle_message returned a reply outside the guest's memory")
            agent.refused = REFUSED_ANSWER if agent_reply(agent, <char*>at, <uint32_t>packed) else 0
            return agent_next_phase(agent, PHASE_DONE)
        agent.refused = REFUSED_BY_GUEST if result else 0
        return agent_next_phase(agent, PHASE_RESPONSE if result == 0 and has(agent, FN_RESPONSE) else PHASE_DONE)
    if agent.phase == PHASE_ALLOC:
        return take_inbox(agent, <uint32_t>result)
    if agent.phase == PHASE_INSTANTIATE:
        return look_up(agent)
    if agent.phase == PHASE_INITIALIZE:
        return agent_next_phase(agent, PHASE_INIT)
    if agent.phase == PHASE_INIT:
        if result:
            if agent.failed and agent.error_length:
                agent_crash(agent, EXIT_INIT, agent.last_error, agent.error_length)
                return TURN_CRASHED
            return crash(agent, EXIT_INIT, b"the agent's init function returned an error code")
        return agent_next_phase(agent, PHASE_CAPABILITIES)
    if agent.phase == PHASE_CAPABILITIES:
        if result < 0 or <uint32_t>result > agent.inbox_size:
            return crash(agent, EXIT_INIT, b"get_capabilities returned a length that is not inside its buffer")
        return agent_next_phase(agent, PHASE_DONE)
    if agent.phase == PHASE_RESPONSE:
        if result > 0:
            at = guest_bytes(agent, agent.inbox, <uint32_t>result)
            if at == NULL or <uint32_t>result > agent.inbox_size:
                return crash(agent, EXIT_TRAP, b"get_response returned a length that is not inside its buffer")
            agent.refused = REFUSED_ANSWER if agent_reply(agent, <char*>at, <uint32_t>result) else 0
        return agent_next_phase(agent, PHASE_DONE)
    if agent.phase == PHASE_TIMER or agent.phase == PHASE_HEALTH:
        agent.refused = REFUSED_BY_GUEST if result else 0
    return agent_next_phase(agent, PHASE_DONE)


# -- the buffer for messages -----------------------------------------------------------------------------------------

cdef void need_inbox(agent_t* agent, uint32_t size, int phase) noexcept nogil:
    agent.wanted = size
    agent.after_alloc = <uint8_t>phase
    agent.phase = PHASE_ALLOC


cdef uint32_t inbox_size(const agent_t* agent) noexcept nogil:
    """A power of two: an allocator that never frees wastes at most what the largest message needs."""
    cdef uint32_t size = SMALLEST_INBOX
    while size < agent.wanted:
        size *= 2
    return size


cdef int take_inbox(agent_t* agent, uint32_t pointer) noexcept nogil:
    cdef uint32_t size = inbox_size(agent)
    if pointer == 0 or guest_bytes(agent, pointer, size) == NULL:
        # the guest may have exactly what the message needs and no more
        size = agent.wanted
        if pointer == 0 or guest_bytes(agent, pointer, size) == NULL:
            return crash(agent, EXIT_MEMORY, b"caxton_alloc gave no room for the message inside the guest's memory")
    agent.inbox = pointer
    agent.inbox_size = size
    return agent_next_phase(agent, agent.after_alloc)


cdef int grow_inbox(agent_t* agent) noexcept nogil:
    """A guest without an allocator: its memory is grown, and the new pages are the buffer."""
    cdef uint64_t before = 0, pages = (<uint64_t>inbox_size(agent) + 65535) // 65536
    cdef wasmtime_error_t* error = wasmtime_memory_grow(agent.context, &agent.memory, pages, &before)
    if error != NULL:
        wasmtime_error_delete(error)
        return crash(agent, EXIT_MEMORY, b"the message does not fit: the guest's memory is at its limit and it exports no caxton_alloc")
    agent.inbox = <uint32_t>(before * 65536)
    agent.inbox_size = <uint32_t>(pages * 65536)
    return 0


# -- instantiation ---------------------------------------------------------------------------------------------------

cdef int instantiate(agent_t* agent) noexcept nogil:
    # the wait for the first turn on a thread is not the agent's
    agent.born_ns = agent.started_ns = cx_monotonic_ns()
    agent.deadline_ns = agent.born_ns + agent.limits.timeout_ns
    agent.store = wasmtime_store_new(agent.blueprint.engine, agent, NULL)
    agent.context = wasmtime_store_context(agent.store)
    wasmtime_store_limiter(agent.store, agent.limits.memory, agent.limits.elements, 1, 8, 1)
    wasmtime_context_set_epoch_deadline(agent.context, 1)
    wasmtime_context_epoch_deadline_async_yield_and_update(agent.context, 1)
    agent.future = wasmtime_instance_pre_instantiate_async(
        agent.blueprint.pre, agent.context, &agent.instance, &agent.trap, &agent.error
    )
    return STARTED


cdef int look_up(agent_t* agent) noexcept nogil:
    cdef wasmtime_extern_t item
    cdef int i
    if not wasmtime_instance_export_get(agent.context, &agent.instance, b"memory", 6, &item) or item.kind != EXTERN_MEMORY:
        return crash(agent, EXIT_INIT, b"the module exports no memory named 'memory'")
    agent.memory = item.of.memory
    agent.has_memory = 1
    cx_store_u64(&agent.memory_seen, wasmtime_memory_data_size(agent.context, &agent.memory))
    for i in range(FN_COUNT):
        if not has(agent, i):
            continue
        if not wasmtime_instance_export_get(
            agent.context, &agent.instance, agent.blueprint.names[i], strlen(agent.blueprint.names[i]), &item
        ) or item.kind != EXTERN_FUNC:
            return crash(agent, EXIT_INIT, b"an exported function is missing")
        agent.functions[i] = item.of.func
    note_ahead(&agent.port.ahead.store, agent.context)
    note_ahead(&agent.port.ahead.instance, agent.functions[FN_HANDLE_MESSAGE].private_)
    return agent_next_phase(agent, PHASE_INITIALIZE)


cdef void nothing_more(agent_t* agent) noexcept nogil:
    pass


MODULES.start_phase = start_phase
MODULES.end_phase = end_phase
MODULES.reset = nothing_more
MODULES.free = nothing_more


cdef class Instance:
    """One instance alone, without scheduler or neighbours, for tests and measurements. What it sends goes nowhere."""

    cdef world_t world
    cdef port_t port
    cdef limits_t limits
    cdef outbox_t outbox
    cdef Router router
    cdef Linker linker
    cdef Blueprint blueprint
    cdef Engine engine
    cdef agent_t* agent
    cdef activity_t activity        # nobody reads it

    def __cinit__(self, Engine engine not None, Module module not None, *, int64_t memory=1 << 20):
        self.engine = engine
        self.linker = Linker(engine)
        self.blueprint = Blueprint(self.linker, module)
        self.router = Router()
        if outbox_init(&self.outbox):
            raise OSError("the wake-up descriptor could not be opened")
        self.world.router = &self.router.router
        self.world.outbox = &self.outbox
        self.world.engine = engine.handle
        self.world.memories_stay = engine.memory_reservation != 0
        self.world.limits = DEFAULT_LIMITS
        self.port.name = b"instance"
        self.port.name_length = 8
        self.limits.memory = memory
        self.limits.elements = engine.max_table_elements
        self.limits.timeout_ns = 10_000_000_000
        self.limits.log_lines = 1000
        self.limits.state_quota = 1 << 20

    def __dealloc__(self):
        self.free()
        outbox_free(&self.outbox)

    cdef free(self):
        if self.agent != NULL:
            agent_free(self.agent)
            self.agent = NULL

    cdef int run(self, envelope_t* turn) noexcept:
        cdef int outcome
        self.agent.activity = &self.activity
        agent_begin(self.agent, turn, cx_monotonic_ns())
        while True:
            outcome = agent_poll(self.agent)
            if outcome != TURN_YIELDED:
                return outcome

    def spawn(self):
        """Make the instance and run its init; raises GuestTrapped when that fails. An older one is freed."""
        self.free()
        self.agent = agent_new(&self.world, &self.port, &self.blueprint.plan, &self.limits)
        if self.agent == NULL:
            raise MemoryError
        self._finish(self.run(envelope_control(KIND_INIT, 0)))

    cdef _finish(self, int outcome):
        cdef bytes text
        if outcome != TURN_DONE:
            text = self.agent.exit_text[:self.agent.exit_length]
            self.free()
            raise GuestTrapped(text.decode(errors="replace") or "the guest waits for something that is not here")
        agent_reset(self.agent)

    def turn(self, Envelope message not None):
        """Handle one message; raises GuestTrapped."""
        envelope_retain(message.block)
        self._finish(self.run(message.block))

    def time_turns(self, Envelope message not None, int count):
        """Nanoseconds for *count* turns of the same message, in one native loop."""
        cdef int64_t began = cx_monotonic_ns()
        cdef int i
        for i in range(count):
            envelope_retain(message.block)
            if self.run(message.block) != TURN_DONE:
                raise GuestTrapped("the guest failed")
            agent_reset(self.agent)
        return cx_monotonic_ns() - began

    def time_spawns(self, int count):
        """Nanoseconds of each of *count* spawns; each instance is freed before the next, outside of the measured time."""
        cdef int64_t began
        cdef int i
        times = []
        for i in range(count):
            self.free()
            began = cx_monotonic_ns()
            self.agent = agent_new(&self.world, &self.port, &self.blueprint.plan, &self.limits)
            self._finish(self.run(envelope_control(KIND_INIT, 0)))
            times.append(cx_monotonic_ns() - began)
        return times

    def time_restarts(self, Envelope message not None, int count):
        """Nanoseconds of each of *count* restarts: *message* traps the guest, its instance is thrown away, the next one is up."""
        cdef int64_t began
        cdef int i
        times = []
        for i in range(count):
            envelope_retain(message.block)
            began = cx_monotonic_ns()
            if self.run(message.block) != TURN_CRASHED:
                raise GuestTrapped("the guest did not trap")
            self.free()
            self.agent = agent_new(&self.world, &self.port, &self.blueprint.plan, &self.limits)
            self._finish(self.run(envelope_control(KIND_INIT, 0)))
            times.append(cx_monotonic_ns() - began)
        return times
