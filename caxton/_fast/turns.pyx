"""See turns.pxd."""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset
from caxton._fast.activity cimport (
    DO_ENVELOPE,
    DO_HOST,
    DO_INSTANCE,
    DO_JOURNAL,
    DO_ROUTER,
    DO_SCHEDULE,
    set_activity,
)
from caxton._fast.envelope cimport (
    envelope_release,
    envelope_retain,
    envelope_stamp,
    envelope_t,
    KIND_HEALTH,
    KIND_INIT,
    KIND_MESSAGE,
    KIND_SHUTDOWN,
    KIND_TIMER,
)
from caxton._fast.journal cimport RECORD_ACCEPTED, RECORD_TURN, record_t, ring_append, ring_grow, ring_t, ring_used
from caxton._fast.mailbox cimport CONTROL_LANE, mailbox_is_empty, mailbox_is_full, mailbox_pop, mailbox_push
from caxton._fast.outbox cimport event_new, event_t, outbox_push, outbox_notify, outbox_t
from caxton._fast.platform cimport (
    cx_add_i32,
    cx_load_i32,
    cx_load_u64,
    cx_monotonic_ns,
    cx_peek_i32,
    cx_peek_u8,
    cx_realtime_us,
    cx_sleep_ns,
    cx_store_i32,
    cx_store_ptr,
    cx_store_u64,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)
from caxton._fast.router cimport (
    PORT_HOST,
    port_release,
    port_retain,
    port_t,
    router_resolve_all,
    SEND_MAILBOX_FULL,
    SEND_MEMORY,
    SEND_STOPPED,
    targets_t,
)
from caxton._fast.state cimport state_bytes, state_commit
from caxton._fast.wasm.c_api cimport wasmtime_engine_increment_epoch, wasmtime_memory_data_size
from caxton._fast.wasm.instance cimport *
from caxton._fast.workers cimport IDLE, PARKED, pool_push, pool_push_at, pool_t, QUEUED, RUNNING, SPENT, worker_t

cdef enum:
    MAX_PENDING = 256           # events of one guest that Trio has not read: it is not scheduled beyond
    PENDING_PAUSE_NS = 2_000_000
    WINDOW_NS = 100_000_000     # the CPU budget is averaged over this
    BURST = 8                   # messages of one port in a row
    BURST_NS = 50_000
    NAMED_FAILURES = 64         # receivers of one message whose refusal the sender is told


cdef inline void now_doing(worker_t* worker, int activity) noexcept nogil:
    """*worker* NULL: a thread that is not ours."""
    if worker != NULL:
        set_activity(&worker.activity, activity)


# -- sending ---------------------------------------------------------------------------------------------------------

cdef void count_pending(port_t* port, event_t* event, outbox_t* outbox) noexcept nogil:
    if event != NULL:
        cx_add_i32(&port.pending, 1)
        outbox_push(outbox, event)


cdef void wait_for_room(pool_t* pool, ring_t* ring, uint64_t size) noexcept nogil:
    """Room for a record of this size. Trio is woken when a quarter is full; a full ring pushes back: this thread waits."""
    # `head` is Trio's cache line: it is looked at now and then, not for every record
    if ring.tail - ring.head_seen >= ring.capacity // 4 and ring.tail - ring.asked >= ring.capacity // 32:
        ring.asked = ring.tail
        ring.head_seen = cx_load_u64(&ring.head)
        if ring.tail - ring.head_seen >= ring.capacity // 4:
            outbox_notify(pool.outbox)
    while ring.capacity - (ring.tail - ring.head_seen) < 2 * size + 256:
        if cx_load_i32(&pool.stopping):
            # Trio waits for this thread to end and reads after that
            if ring_grow(ring, 2 * ring.capacity):
                return
            continue
        ring.head_seen = cx_load_u64(&ring.head)
        if ring.capacity - (ring.tail - ring.head_seen) < 2 * size + 256:
            outbox_notify(pool.outbox)
            cx_sleep_ns(50_000)


cdef int deliver(pool_t* pool, worker_t* worker, port_t* port, envelope_t* envelope, ring_t* ring, record_t* record) noexcept nogil:
    """Put the message into the port's mailbox, after its record; takes over the reference when it returns 0, else a SEND_* code."""
    cdef bint queue = False, announce = False
    pthread_mutex_lock(&port.lock)
    if port.closed or not port.accepting:
        pthread_mutex_unlock(&port.lock)
        return SEND_STOPPED
    if mailbox_is_full(&port.mailbox):
        pthread_mutex_unlock(&port.lock)
        return SEND_MAILBOX_FULL
    if record != NULL:
        now_doing(worker, DO_JOURNAL)
        if not pool.unrecorded:
            ring_append(ring, record, envelope)
        now_doing(worker, DO_ROUTER)
    if mailbox_push(&port.mailbox, envelope):
        pthread_mutex_unlock(&port.lock)
        return SEND_MEMORY
    port.received += 1
    if port.kind == PORT_HOST:
        announce = not port.announced
        port.announced = 1
    elif port.schedule == IDLE and port.agent != NULL and port_retain(port):
        port.schedule = QUEUED
        queue = True
    pthread_mutex_unlock(&port.lock)
    if queue:
        pool_push(pool, worker, port)
    if announce:
        outbox_push(pool.outbox, event_new(EVENT_MAIL, port.id, NULL, 0, NULL, 0))
    return 0


cdef inline int refusal(port_t* port) noexcept nogil:
    """What `deliver` would answer now; without the lock, so it may be otherwise in a moment."""
    if cx_peek_u8(&port.closed) or not cx_peek_u8(&port.accepting):
        return SEND_STOPPED
    return SEND_MAILBOX_FULL if mailbox_is_full(&port.mailbox) else 0


cdef int send(
    pool_t* pool, worker_t* worker, ring_t* ring, targets_t* targets, envelope_t* envelope, port_t* target, port_t* source,
    int64_t now
) noexcept nogil:
    """Route one message of *source* (NULL: from outside).

    Takes over the reference when it returns the number of receivers, else a SEND_* code.
    """
    cdef record_t record
    cdef int outcome, first = 0, sent = 0, failed = 0
    cdef uint32_t i
    if envelope.queued_ns == 0:
        # a guest's broadcast sends one block to each receiver in turn: from the first on, others read it
        now_doing(worker, DO_ENVELOPE)
        envelope.queued_ns = now
        envelope.accepted_us = cx_realtime_us()
        envelope_stamp(envelope, envelope.accepted_us)
    now_doing(worker, DO_ROUTER)
    memset(&record, 0, sizeof(record_t))
    record.kind = RECORD_ACCEPTED
    record.port = envelope.sender_port
    record.at_ns = now
    record.outcome = 1
    if target == NULL:
        targets.count = 0
        outcome = router_resolve_all(pool.router, envelope, targets)
        if outcome:
            return outcome
        target = targets.items[0]
        if targets.count > 1:
            for i in range(targets.count):
                outcome = refusal(targets.items[i])
                sent += outcome == 0
                first = first or outcome
            if sent == 0:
                return first
            record.outcome = <uint16_t>min(sent, 65535)
            record.receiver = target.id
            now_doing(worker, DO_JOURNAL)
            if not pool.unrecorded:
                ring_append(ring, &record, envelope)
            now_doing(worker, DO_ROUTER)
            sent = 0
            for i in range(targets.count):
                envelope_retain(envelope)
                outcome = deliver(pool, worker, targets.items[i], envelope, NULL, NULL)
                if outcome:
                    failed += 1
                    if failed <= NAMED_FAILURES:
                        # the others get it; the sender is told who does not, as long as these are few
                        undelivered(pool, source, outcome, envelope, targets.items[i].name, targets.items[i].name_length)
                    else:
                        envelope_release(envelope)
                else:
                    sent += 1
            envelope_release(envelope)
            return sent if sent else 1
    record.receiver = target.id
    outcome = deliver(pool, worker, target, envelope, ring, &record)
    return outcome if outcome else 1


# -- a turn's end ----------------------------------------------------------------------------------------------------

cdef void undelivered(pool_t* pool, port_t* port, int code, envelope_t* envelope, const char* text, size_t length) noexcept nogil:
    """Takes over the reference. The bus tells the sender. *port*: whose guest caused it; NULL: nobody's."""
    cdef event_t* event = event_new(EVENT_UNDELIVERED, port.id if port != NULL else 0, NULL, 0, text, length)
    if event == NULL:
        envelope_release(envelope)
        return
    event.a = code
    event.envelope = envelope
    if port != NULL:
        count_pending(port, event, pool.outbox)
    else:
        outbox_push(pool.outbox, event)


cdef void record_turn(worker_t* worker, agent_t* agent, int outcome, int64_t now) noexcept nogil:
    cdef record_t record
    cx_store_u64(&worker.turns, worker.turns + 1)
    if worker.pool.unrecorded:
        return
    set_activity(&worker.activity, DO_JOURNAL)
    memset(&record, 0, sizeof(record_t))
    record.kind = RECORD_TURN
    record.turn = agent.turn.kind
    record.outcome = <uint16_t>outcome
    record.port = agent.port.id
    record.at_ns = now
    record.waited_ns = agent.started_ns - agent.turn.queued_ns if agent.turn.queued_ns else 0
    record.spent_ns = now - agent.started_ns
    wait_for_room(worker.pool, &worker.ring, sizeof(record_t))
    ring_append(&worker.ring, &record, NULL)


cdef void timer_spent(pool_t* pool, agent_t* agent) noexcept nogil:
    """The turn of a timer is over, well or badly: whoever keeps the timer may forget it."""
    cdef event_t* event
    if agent.turn.kind != KIND_TIMER:
        return
    event = event_new(EVENT_TIMER, agent.port.id, NULL, 0, NULL, 0)
    if event != NULL:
        event.a = agent.turn.argument
        count_pending(agent.port, event, pool.outbox)


cdef void commit(pool_t* pool, worker_t* worker, agent_t* agent, int64_t now) noexcept nogil:
    """The turn is done: what it wrote and sent takes effect, in the order in which it was done."""
    cdef event_t* event
    cdef event_t* following
    cdef char* changes
    cdef size_t length = 0
    cdef outgoing_t* out
    cdef port_t* port = agent.port
    cdef uint32_t i
    cdef int outcome
    set_activity(&worker.activity, DO_HOST)
    if agent.state != NULL:
        changes = state_commit(agent.state, &length)
        cx_store_u64(&agent.state_seen, state_bytes(agent.state))
        if changes != NULL:
            count_pending(port, event_new(EVENT_STATE, port.id, NULL, 0, changes, length), pool.outbox)
            free(changes)
    timer_spent(pool, agent)
    event = agent.effects
    agent.effects = agent.effects_last = NULL
    while event != NULL:
        following = event.next
        event.next = NULL
        count_pending(port, event, pool.outbox)
        event = following
    if agent.refused and agent.turn.kind == KIND_MESSAGE and agent.outgoing_count == 0:
        envelope_retain(agent.turn)
        undelivered(pool, port, EXIT_REFUSED, agent.turn, agent.last_error, agent.error_length if agent.failed else 0)
    record_turn(worker, agent, EXIT_REFUSED if agent.refused else 0, now)
    for i in range(agent.outgoing_count):
        out = &agent.outgoing[i]
        set_activity(&worker.activity, DO_JOURNAL)
        wait_for_room(pool, &worker.ring, out.envelope.size)
        outcome = send(pool, worker, &worker.ring, &worker.targets, out.envelope, out.target, port, now)
        if outcome < 0:
            undelivered(pool, port, outcome, out.envelope, NULL, 0)
        if out.target != NULL:
            port_release(pool.router, out.target)
    set_activity(&worker.activity, DO_SCHEDULE)
    agent.outgoing_count = 0
    agent.outgoing_bytes = 0
    agent.effects_count = agent.effects_bytes = 0


cdef void announce(pool_t* pool, agent_t* agent, int64_t now) noexcept nogil:
    """What Python asked for is done: tell it."""
    cdef event_t* event
    cdef int32_t length
    if agent.turn.kind == KIND_INIT:
        length = agent.results[0].of.i32 if agent.blueprint.exports >> FN_CAPABILITIES & 1 else 0
        event = event_new(
            EVENT_STARTED, agent.port.id, NULL, 0, <char*>guest_bytes(agent, agent.inbox, <uint32_t>length), <size_t>length
        )
        if event != NULL:
            event.b = now - agent.born_ns
            outbox_push(pool.outbox, event)
    elif agent.turn.kind == KIND_HEALTH:
        event = event_new(EVENT_HEALTH, agent.port.id, NULL, 0, NULL, 0)
        if event != NULL:
            event.a = agent.refused
            outbox_push(pool.outbox, event)


cdef void keep_timers(port_t* port) noexcept nogil:
    """Of what the platform asked the dead instance, only timers are for the next one. Under the port's lock."""
    cdef uint32_t n = port.mailbox.lanes[CONTROL_LANE].count
    cdef envelope_t* turn
    while n:
        turn = mailbox_pop(&port.mailbox)
        if turn.kind == KIND_TIMER:
            mailbox_push(&port.mailbox, turn)
        else:
            envelope_release(turn)
        n -= 1


cdef void leave(pool_t* pool, worker_t* worker, agent_t* agent, int64_t now) noexcept nogil:
    """The instance is gone, for the reason that it carries. The mailbox stays, its message does not: its sender is told."""
    cdef port_t* port = agent.port
    cdef event_t* event
    cdef int stream
    cdef bint closed
    for stream in range(1, 3):
        if agent.line_length[stream - 1]:
            agent_log(agent, stream, agent.line[stream - 1], agent.line_length[stream - 1])
    if agent.turn != NULL:
        if agent.exit_reason != EXIT_NORMAL:
            record_turn(worker, agent, agent.exit_reason, now)
            if agent.exit_reason != EXIT_KILLED:
                timer_spent(pool, agent)
            if agent.turn.kind == KIND_MESSAGE:
                undelivered(pool, port, agent.exit_reason, agent.turn, agent.exit_text, agent.exit_length)
                agent.turn = NULL
    set_activity(&worker.activity, DO_INSTANCE)
    event = event_new(EVENT_EXITED, port.id, NULL, 0, agent.exit_text, agent.exit_length)
    if event != NULL:
        event.a = agent.exit_reason
    pthread_mutex_lock(&port.lock)
    cx_store_ptr(&port.agent, NULL)
    port.schedule = IDLE
    port.wanted &= ~WANT_DROP
    closed = port.closed
    keep_timers(port)
    pthread_mutex_unlock(&port.lock)
    # first its slot in the pool is free, then whoever hears of it may start another
    agent_free(agent)
    if closed:
        free(event)
    else:
        outbox_push(pool.outbox, event)


# -- a run -----------------------------------------------------------------------------------------------------------

cdef int64_t budget_pause(agent_t* agent, int64_t now) noexcept nogil:
    """0, or when the agent may run again: it has used up its share of the window."""
    if agent.limits.millicores == 0 or agent.limits.millicores >= 1000:
        return 0
    if now - agent.window_ns >= WINDOW_NS:
        # a turn that went far beyond the budget is paid back over the windows that follow
        agent.window_spent_ns -= min(
            agent.window_spent_ns, (now - agent.window_ns) // WINDOW_NS * (WINDOW_NS // 1000) * agent.limits.millicores
        )
        agent.window_ns = now
    if agent.window_spent_ns < <int64_t>WINDOW_NS * agent.limits.millicores // 1000:
        return 0
    return agent.window_ns + WINDOW_NS


cdef inline void wait_for_answer(pool_t* pool, port_t* port, agent_t* agent) noexcept nogil:
    """Under the port's lock, which it gives up, as it does the reference.

    The heap keeps one entry for the timeouts of an agent's calls, not one for each that was answered long ago: the entry of an
    earlier turn wakes it too early, and it parks again. What is due after now was not taken out before the lock was.
    """
    if cx_monotonic_ns() < agent.call_due_ns <= agent.deadline_ns:
        port.schedule = PARKED
        pthread_mutex_unlock(&port.lock)
        port_release(pool.router, port)
        return
    agent.call_due_ns = agent.deadline_ns
    pause(pool, port, agent.deadline_ns)


cdef inline void pause(pool_t* pool, port_t* port, int64_t until) noexcept nogil:
    """Under the port's lock, which it gives up; the reference goes to the heap."""
    port.schedule = PARKED
    pthread_mutex_unlock(&port.lock)
    pool_push_at(pool, port, until)


cdef void run(pool_t* pool, worker_t* worker, port_t* port) noexcept nogil:
    cdef agent_t* agent
    cdef int64_t now = cx_monotonic_ns(), began = now, end, until
    cdef envelope_t* turn
    cdef int outcome, burst = 0
    cdef bint drained
    pthread_mutex_lock(&port.lock)
    port.schedule = RUNNING
    while True:
        # here the lock is held, and no guest call runs
        agent = <agent_t*>port.agent
        if agent == NULL:
            port.schedule = IDLE
            pthread_mutex_unlock(&port.lock)
            break
        if port.wanted & WANT_DROP:
            pthread_mutex_unlock(&port.lock)
            agent_crash(agent, EXIT_KILLED, b"dropped", 7)
            leave(pool, worker, agent, now)
            break
        if cx_peek_i32(&port.pending) > MAX_PENDING or budget_pause(agent, now):
            until = budget_pause(agent, now)
            pause(pool, port, until if until else now + PENDING_PAUSE_NS)
            return
        if agent.turn == NULL:
            if burst == BURST or now - began > BURST_NS:
                if not mailbox_is_empty(&port.mailbox):
                    port.schedule = QUEUED
                    pthread_mutex_unlock(&port.lock)
                    pool_push(pool, worker, port)
                    return
            turn = mailbox_pop(&port.mailbox)
            if turn == NULL:
                port.schedule = IDLE
                drained = port.wanted & WANT_DRAINED
                port.wanted &= ~WANT_DRAINED
                pthread_mutex_unlock(&port.lock)
                if drained:
                    outbox_push(pool.outbox, event_new(EVENT_DRAINED, port.id, NULL, 0, NULL, 0))
                break
            burst += 1
            set_activity(&worker.activity, DO_ENVELOPE)
            agent_begin(agent, turn, now)
        pthread_mutex_unlock(&port.lock)

        agent.activity = &worker.activity
        outcome = agent_poll(agent)
        end = cx_monotonic_ns()
        agent.spent_ns += end - now
        agent.window_spent_ns += end - now
        now = end
        if (outcome == TURN_YIELDED or outcome == TURN_SUSPENDED) and now >= agent.deadline_ns:
            agent_crash(agent, EXIT_TIMEOUT, b"the turn took longer than the agent's timeout", 45)
            outcome = TURN_CRASHED
        if outcome == TURN_CRASHED:
            leave(pool, worker, agent, now)
            break
        if outcome == TURN_DONE:
            commit(pool, worker, agent, now)
            announce(pool, agent, now)
            if agent.turn.kind == KIND_SHUTDOWN:
                agent_crash(agent, EXIT_NORMAL, b"", 0)
                leave(pool, worker, agent, now)
                break
            envelope_release(agent.turn)
            agent.turn = NULL
            pthread_mutex_lock(&port.lock)
            continue
        if agent.has_memory:
            cx_store_u64(&agent.memory_seen, wasmtime_memory_data_size(agent.context, &agent.memory))
        pthread_mutex_lock(&port.lock)
        if outcome == TURN_YIELDED:
            cx_store_i32(&worker.stuck, 2)
            port.schedule = QUEUED
            pthread_mutex_unlock(&port.lock)
            pool_push(pool, worker, port, SPENT)
            return
        if port.wanted & WANT_DROP or (agent.waiting == WAIT_CALL and cx_load_i32(&agent.answered)):
            continue        # what would wake it came before this thread had parked the port
        if agent.waiting == WAIT_CALL:
            wait_for_answer(pool, port, agent)
        else:
            pause(pool, port, min(agent.deadline_ns, agent.wake_ns))
        return
    port_release(pool.router, port)


cdef void let_go(pool_t* pool, port_t* port) noexcept nogil:
    """The threads have ended: a port that was closed has nobody else to free its instance."""
    if port.closed and port.agent != NULL:
        agent_free(<agent_t*>port.agent)
        port.agent = NULL
    port_release(pool.router, port)


cdef void next_epoch(void* context) noexcept nogil:
    wasmtime_engine_increment_epoch((<world_t*>context).engine)
