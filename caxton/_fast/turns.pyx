"""See turns.pxd."""

# Over 500 lines: a turn's end sends and a message sent begins a turn; apart, each hop would cross two modules by function pointers.

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from caxton._fast.ahead cimport note_ahead
from caxton._fast.delivery cimport backlog_grows, delivery_for, delivery_of, is_away, is_kept, must_spill, note_end, port_refusal
from caxton._fast.activity cimport (
    DO_ENVELOPE,
    DO_HOST,
    DO_INSTANCE,
    DO_JOURNAL,
    DO_ROUTER,
    DO_SCHEDULE,
    set_activity,
)
from caxton._fast.conversation cimport STEP_LATE, STEP_LOOP, tracker_admit, tracker_step, tracker_t
from caxton._fast.envelope cimport (
    DELIVERY_UNSAID,
    DELIVERY_VOLATILE,
    envelope_end,
    envelope_field,
    envelope_field_length,
    envelope_frame_size,
    envelope_release,
    envelope_retain,
    envelope_stamp,
    envelope_t,
    envelope_to,
    F_LANGUAGE,
    F_PROTOCOL,
    F_RECEIVER,
    KIND_HEALTH,
    KIND_INIT,
    KIND_MESSAGE,
    KIND_SHUTDOWN,
    KIND_TIMER,
)
from caxton._fast.journal cimport (
    block_copy,
    IN_TURN,
    LAST,
    OUTSIDE,
    receiver_t,
    RECORD_ACCEPTED,
    RECORD_DEAD,
    RECORD_SPILLED,
    RECORD_STATE,
    record_t,
    RECORD_TIMER,
    RECORD_TURN,
    ring_append,
    ring_grow,
    ring_t,
    SPILLED,
)
from caxton._fast.mailbox cimport CONTROL_LANE, mailbox_is_empty, mailbox_pop, mailbox_push
from caxton._fast.outbox cimport event_free, event_new, event_t, outbox_push, outbox_notify, outbox_t
from caxton._fast.platform cimport (
    cx_add_i32,
    cx_load_i32,
    cx_load_ptr,
    cx_load_u64,
    cx_monotonic_ns,
    cx_pass_failpoint,
    cx_peek_i32,
    cx_peek_u32,
    cx_peek_u64,
    cx_poke_u64,
    cx_peek_u8,
    cx_realtime_us,
    cx_sleep_ns,
    cx_store_i32,
    cx_store_ptr,
    cx_store_u64,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)
from caxton._fast.retries cimport retries_hold, retries_is_full, retries_put, retries_take
from caxton._fast.router cimport (
    PORT_HOST,
    port_release,
    port_retain,
    port_t,
    router_resolve_all,
    router_t,
    SEND_LOOP,
    SEND_MAILBOX_FULL,
    SEND_MEMORY,
    SEND_NO_RECEIVER,
    targets_t,
    UNSENT,
    WAY_CHECKPOINT,
    WAY_GUARDED,
)
from caxton._fast.state cimport state_bytes, state_commit
from caxton._fast.wasm.c_api cimport wasm_engine_t, wasmtime_engine_increment_epoch, wasmtime_memory_data_size
from caxton._fast.wasm.component_guest cimport weigh
from caxton._fast.wasm.instance cimport *
from caxton._fast.workers cimport IDLE, PARKED, pool_push, pool_push_at, pool_t, QUEUED, RUNNING, SPENT, worker_t

cdef enum:
    STATE_PIECE = 65536
    RETRY_AT_MOST_NS = 300_000_000_000
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


cdef inline bint fits(const ring_t* ring, uint64_t size) noexcept nogil:
    """Whether a thread can wait for room for a record of this size: the rest may be of its own turn, which goes out when it is more than half."""
    return 2 * (size + sizeof(record_t)) + 256 <= ring.capacity // 2


cdef void reject_late(
    pool_t* pool, worker_t* worker, ring_t* ring, const port_t* port, const envelope_t* envelope, uint8_t delivery, record_t* record
) noexcept nogil:
    """Its time is over: the message is recorded, and done with. The platform answers its sender, whom the tracker tells."""
    cdef record_t done
    if pool.unrecorded:
        return
    if record != NULL:
        ring_append(ring, record, envelope)
    memset(&done, 0, sizeof(record_t))
    done.kind = RECORD_TURN
    done.turn = KIND_MESSAGE
    done.flags = OUTSIDE | (IN_TURN if worker != NULL else 0)
    done.port = port.id
    done.sequence = envelope.sequence
    done.delivery = delivery
    done.at_ns = envelope.queued_ns
    ring_append(ring, &done, NULL)


cdef int deliver(pool_t* pool, worker_t* worker, port_t* port, envelope_t* envelope, ring_t* ring, record_t* record) noexcept nogil:
    """Put the message into the port's mailbox, after its record, or leave it to the store.

    *record* NULL: it was written, for several receivers. Takes over the reference when it returns 0, else a SEND_* code.
    """
    cdef uint8_t delivery = delivery_for(envelope, port)
    cdef bint queue = False, announce = False, spill = False
    cdef record_t spilled
    cdef int outcome, step = 0
    pthread_mutex_lock(&port.lock)
    outcome = port_refusal(pool.router, port, envelope, delivery)
    if outcome:
        pthread_mutex_unlock(&port.lock)
        return outcome
    if envelope.fields[F_PROTOCOL].length and pool.tracker != NULL and not port.ways & WAY_CHECKPOINT:
        # before the receiver can see it: its answer comes after it, whichever thread sends that.
        # What only passes the signer or the guard is seen when it has
        step = tracker_step(
            <tracker_t*>pool.tracker, envelope, port.name, port.name_length, worker == NULL, is_kept(delivery),
            port.kind == PORT_HOST and is_away(port), envelope.queued_ns, envelope.accepted_us, &port.ahead
        )
        if step == STEP_LOOP:
            pthread_mutex_unlock(&port.lock)
            return SEND_LOOP
    if step == STEP_LATE:
        reject_late(pool, worker, ring, port, envelope, delivery, record)
        pthread_mutex_unlock(&port.lock)
        envelope_release(envelope)
        return 0
    spill = is_kept(delivery) and must_spill(port)
    if record != NULL and not pool.unrecorded:
        now_doing(worker, DO_JOURNAL)
        if spill:
            record.flags |= SPILLED
        ring_append(ring, record, envelope)
        now_doing(worker, DO_ROUTER)
    if spill:
        if record == NULL:
            memset(&spilled, 0, sizeof(record_t))
            spilled.kind = RECORD_SPILLED
            spilled.flags = IN_TURN if worker != NULL else 0
            spilled.port = port.id
            spilled.sequence = envelope.sequence
            ring_append(ring, &spilled, NULL)
        backlog_grows(pool.router, port, 1, envelope_frame_size(envelope))
        note_end(port, envelope_end(envelope))
        port.received += 1
        announce = wants_refill(port)
        pthread_mutex_unlock(&port.lock)
        envelope_release(envelope)
        if announce:
            outbox_push(pool.outbox, event_new(EVENT_REFILL, port.id, NULL, 0, NULL, 0))
        return 0
    if mailbox_push(&port.mailbox, envelope):
        pthread_mutex_unlock(&port.lock)
        return SEND_MEMORY
    note_end(port, envelope_end(envelope))
    port.received += 1
    if port.kind == PORT_HOST:
        announce = not port.announced
        port.announced = 1
    elif port.schedule == IDLE and port.agent != NULL and port_retain(port):
        port.schedule = QUEUED
        queue = True
        note_ahead(&port.ahead.message, envelope)
    pthread_mutex_unlock(&port.lock)
    if queue:
        pool_push(pool, worker, port)
    if announce:
        outbox_push(pool.outbox, event_new(EVENT_MAIL, port.id, NULL, 0, NULL, 0))
    return 0


cdef bint wants_refill(port_t* port) noexcept nogil:
    """Under the port's lock: its mailbox has become low, and the store has more for it. It is asked for once."""
    if cx_peek_u32(&port.backlog) == 0 or port.refilling or not cx_peek_u8(&port.accepting) or is_away(port):
        return False
    if port.mailbox.count > min(cx_peek_u32(&port.mailbox.bound), <uint32_t>REFILL_WINDOW) // 2 or port.mailbox.bytes > port.mailbox.byte_bound // 2:
        return False
    port.refilling = 1
    return True


cdef int send_to_many(
    pool_t* pool, worker_t* worker, ring_t* ring, targets_t* targets, envelope_t* envelope, record_t* record, port_t* source
) noexcept nogil:
    """One record, and the block into each mailbox. Takes over the reference when it returns the number of receivers, else a SEND_* code."""
    cdef int outcome, first = 0
    cdef uint32_t i, k, n, kept = 0, sent = 0, failed = 0, most
    cdef uint64_t size = sizeof(record_t) + envelope.size, quarter = ring.capacity // 4, needed
    cdef receiver_t* receivers
    if envelope.kept == DELIVERY_UNSAID:
        envelope.kept = delivery_of(pool.router, envelope, NULL)
    for i in range(targets.count):
        outcome = port_refusal(pool.router, targets.items[i], envelope, delivery_for(envelope, targets.items[i]))
        if outcome == 0:
            # who refuses goes behind those who take it
            targets.items[i], targets.items[kept] = targets.items[kept], targets.items[i]
            kept += 1
        first = first or outcome
    if kept == 0:
        return first
    # a thread waits for a quarter of its ring at most, else what it holds itself could be what is in the way: many receivers need several records
    most = <uint32_t>min(max(quarter - min(quarter, size + 512), <uint64_t>512) // sizeof(receiver_t), <uint64_t>65535)
    if worker == NULL and not pool.unrecorded:
        # The thread that runs Trio cannot wait for itself. Each receiver may need a record of its own: left to the store, or refused after all
        needed = (kept // most + 2) * (size + 16) + kept * (sizeof(receiver_t) + sizeof(record_t)) + most * sizeof(receiver_t)
        ring.head_seen = cx_load_u64(&ring.head)
        if needed > ring.capacity - (ring.tail - ring.head_seen):
            return SEND_MAILBOX_FULL
    receivers = <receiver_t*>malloc(min(kept, most) * sizeof(receiver_t))
    if receivers == NULL:
        return SEND_MEMORY
    i = 0
    while i < kept and not pool.unrecorded:
        n = min(kept - i, most)
        for k in range(n):
            receivers[k].port = targets.items[i + k].id
            receivers[k].delivery = delivery_for(envelope, targets.items[i + k])
        record.outcome = <uint16_t>n
        record.receiver = receivers[0].port
        record.delivery = <uint8_t>receivers[0].delivery      # of the only one, when the others refused
        now_doing(worker, DO_JOURNAL)
        if worker != NULL:
            wait_for_room(pool, ring, size + n * sizeof(receiver_t))
        ring_append(ring, record, envelope, receivers, n * sizeof(receiver_t))
        i += n
    free(receivers)
    now_doing(worker, DO_ROUTER)
    for i in range(targets.count):
        envelope_retain(envelope)
        if i >= kept:
            # no record names it: whatever it would say now, it has refused
            outcome = port_refusal(pool.router, targets.items[i], envelope, delivery_for(envelope, targets.items[i])) or first
        else:
            if worker != NULL:
                wait_for_room(pool, ring, sizeof(record_t))     # it may be left to the store
            outcome = deliver(pool, worker, targets.items[i], envelope, ring, NULL)
        if outcome == 0:
            sent += 1
            continue
        if i < kept:
            bury(pool, worker, ring, targets.items[i], envelope, outcome, NULL, 0, worker != NULL)
        failed += 1
        if failed <= NAMED_FAILURES:
            # the others get it; the sender is told who does not, as long as these are few
            undelivered(pool, source, outcome, envelope, targets.items[i].name, targets.items[i].name_length)
        else:
            envelope_release(envelope)
    envelope_release(envelope)
    return <int>sent if sent else 1


cdef void past_the_guard(router_t* router, const envelope_t* envelope, targets_t* targets) noexcept nogil:
    """The guard instead of all targets that it stands before, once."""
    cdef uint32_t i, kept = 0
    cdef bint guarded = False
    if router.guard == NULL or envelope.passed:
        return
    for i in range(targets.count):
        if targets.items[i].ways & WAY_GUARDED:
            guarded = True
        else:
            targets.items[kept] = targets.items[i]
            kept += 1
    if guarded:
        targets.items[kept] = router.guard
        kept += 1
    targets.count = kept


cdef int send_found(
    pool_t* pool, worker_t* worker, ring_t* ring, targets_t* targets, envelope_t* envelope, port_t* target, record_t* record, port_t* source
) noexcept nogil:
    """To *target*, the only one, or (NULL) to those that were found. Like `send`."""
    cdef int outcome
    if target == NULL:
        if targets.count > 1:
            return send_to_many(pool, worker, ring, targets, envelope, record, source)
        target = targets.items[0]
    if target.ways & WAY_GUARDED and not envelope.passed:
        target = pool.router.guard
    if envelope.kept == DELIVERY_UNSAID:
        # what one receiver's configuration says does not bind the others of a guest's broadcast, which share the block
        envelope.kept = delivery_of(pool.router, envelope, target if worker == NULL or cx_load_i32(&envelope.refs) == 1 else NULL)
    record.delivery = delivery_for(envelope, target)
    record.receiver = target.id
    outcome = deliver(pool, worker, target, envelope, ring, record)
    return outcome if outcome else 1


cdef envelope_t* to_missing(const targets_t* targets, const envelope_t* envelope) noexcept nogil:
    """The message as it was for those receivers who are nowhere."""
    cdef const char* names = envelope_field(envelope, F_RECEIVER)
    cdef char* gathered = <char*>malloc(envelope_field_length(envelope, F_RECEIVER) + 1)
    cdef envelope_t* copy
    cdef uint32_t i, length = 0
    if gathered == NULL:
        return NULL
    for i in range(targets.missing_count):
        memcpy(gathered + length, names + targets.missing[i].start, targets.missing[i].length)
        length += targets.missing[i].length
        gathered[length] = 0
        length += 1
    copy = envelope_to(envelope, gathered, length - 1, targets.missing_count)
    free(gathered)
    return copy


cdef int send_to_some(
    pool_t* pool, worker_t* worker, ring_t* ring, targets_t* targets, envelope_t* envelope, record_t* record, port_t* source
) noexcept nogil:
    """Like `send`, where some of the receivers are nowhere: one dead letter for all of these, and the sender is told who they are."""
    cdef envelope_t* lost
    cdef uint32_t i
    cdef int outcome
    if worker == NULL and not pool.unrecorded:
        # the thread that runs Trio cannot wait for itself: it has room for the message and its dead letter, or takes neither
        ring.head_seen = cx_load_u64(&ring.head)
        if ring.capacity - (ring.tail - ring.head_seen) < 4 * (envelope.size + sizeof(record_t)) + 1024 + targets.count * (2 * sizeof(receiver_t) + sizeof(record_t)):
            return SEND_MAILBOX_FULL
    lost = to_missing(targets, envelope)
    if lost == NULL:
        return SEND_MEMORY
    envelope_retain(envelope)
    outcome = send_found(pool, worker, ring, targets, envelope, NULL, record, source)
    if outcome < 0:
        envelope_release(lost)
        cx_add_i32(&envelope.refs, -1)      # the caller keeps its own
        return outcome
    bury(pool, worker, ring, NULL, lost, UNSENT - SEND_NO_RECEIVER, NULL, 0, worker != NULL)
    envelope_release(lost)
    for i in range(min(targets.missing_count, <uint32_t>NAMED_FAILURES)):
        envelope_retain(envelope)
        undelivered(
            pool, source, SEND_NO_RECEIVER, envelope, envelope_field(envelope, F_RECEIVER) + targets.missing[i].start, targets.missing[i].length
        )
    envelope_release(envelope)
    return outcome


cdef int send(
    pool_t* pool, worker_t* worker, ring_t* ring, targets_t* targets, envelope_t* envelope, port_t* target, port_t* source,
    int64_t now
) noexcept nogil:
    """Route one message of *source* (NULL: from outside).

    Takes over the reference when it returns the number of receivers, else a SEND_* code.
    """
    cdef record_t record
    cdef int outcome
    if envelope.queued_ns == 0:
        # a guest's broadcast sends one block to each receiver in turn: from the first on, others read it
        now_doing(worker, DO_ENVELOPE)
        envelope.queued_ns = now
        envelope.accepted_us = cx_realtime_us()
        envelope_stamp(envelope, envelope.accepted_us)
        ring.sequence += ring.step
        envelope.sequence = ring.sequence
        envelope.kept = DELIVERY_UNSAID
        if (envelope.fields[F_LANGUAGE].length or envelope.hop_count > 1) and pool.tracker != NULL:
            outcome = tracker_admit(<tracker_t*>pool.tracker, envelope, envelope.accepted_us)
            if outcome:
                return outcome
    now_doing(worker, DO_ROUTER)
    memset(&record, 0, sizeof(record_t))
    record.kind = RECORD_ACCEPTED
    record.port = envelope.sender_port
    record.at_ns = now
    record.outcome = 1
    record.sequence = envelope.sequence
    record.flags = IN_TURN if worker != NULL else OUTSIDE
    if target == NULL:
        targets.count = 0
        outcome = router_resolve_all(pool.router, envelope, targets)
        if outcome:
            return outcome
        if targets.count > 1:
            past_the_guard(pool.router, envelope, targets)
        if envelope.receivers > 1 and targets.missing_count:
            return send_to_some(pool, worker, ring, targets, envelope, &record, source)
    return send_found(pool, worker, ring, targets, envelope, target, &record, source)


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


cdef void bury(
    pool_t* pool, worker_t* worker, ring_t* ring, port_t* port, const envelope_t* envelope, int reason, const char* text, size_t length, bint in_turn
) noexcept nogil:
    """The port will not handle the message: a dead letter. The sender is told by `undelivered`."""
    cdef record_t record
    if pool.unrecorded or not pool.router.keeps:
        return
    memset(&record, 0, sizeof(record_t))
    record.kind = RECORD_DEAD
    record.flags = IN_TURN if in_turn else 0
    record.outcome = <uint16_t>reason
    record.port = port.id if port != NULL else 0
    record.receiver = max(envelope.delivery_attempt, <uint32_t>1)
    record.sequence = envelope.sequence
    record.delivery = delivery_for(envelope, port) if port != NULL else DELIVERY_UNSAID
    if worker != NULL:
        wait_for_room(pool, ring, sizeof(record_t) + (envelope.size + length if fits(ring, envelope.size + length) else 0))
    if not ring_append(ring, &record, envelope, text, <uint32_t>length):
        # The thread that runs Trio cannot wait for itself, and one accepted under a larger limit may be longer than the ring. The message is
        # done with, and its sender is told
        record.kind = RECORD_TURN
        record.flags |= OUTSIDE
        ring_append(ring, &record, NULL)


cdef record_t record_of_turn(const agent_t* agent, int outcome, int64_t now) noexcept nogil:
    cdef record_t record
    memset(&record, 0, sizeof(record_t))
    record.kind = RECORD_TURN
    record.turn = agent.turn.kind
    record.outcome = <uint16_t>outcome
    record.port = agent.port.id
    record.at_ns = now
    record.waited_ns = agent.started_ns - agent.turn.queued_ns if agent.turn.queued_ns else 0
    record.spent_ns = now - agent.started_ns
    if agent.turn.kind == KIND_MESSAGE:
        record.sequence = agent.turn.sequence
        record.delivery = delivery_for(agent.turn, agent.port)
    return record


cdef void append_turn(worker_t* worker, port_t* port, record_t* record) noexcept nogil:
    """The end of a group; the reader takes one agent's turns in their order, whichever threads had them."""
    cdef ring_t* ring = &worker.ring
    cx_store_u64(&worker.turns, worker.turns + 1)
    if worker.pool.unrecorded:
        return
    set_activity(&worker.activity, DO_JOURNAL)
    record.after_ring = port.turn_ring
    record.receiver = port.turn_number
    wait_for_room(worker.pool, ring, sizeof(record_t))
    if ring_append(ring, record, NULL):
        ring.turns += 1
        port.turn_ring = <uint16_t>(worker.index + 2)
        port.turn_number = <uint32_t>ring.turns


cdef void record_turn(worker_t* worker, agent_t* agent, int outcome, int64_t now) noexcept nogil:
    """What was asked is done with, well or badly."""
    cdef record_t record = record_of_turn(agent, outcome, now)
    append_turn(worker, agent.port, &record)


cdef void record_timer(worker_t* worker, port_t* port, uint32_t timer, int64_t due_us) noexcept nogil:
    cdef record_t record
    memset(&record, 0, sizeof(record_t))
    record.kind = RECORD_TIMER
    record.flags = IN_TURN
    record.port = port.id
    record.receiver = timer
    record.sequence = <uint64_t>due_us
    wait_for_room(worker.pool, &worker.ring, sizeof(record_t))
    ring_append(&worker.ring, &record, NULL)


cdef void record_state(worker_t* worker, port_t* port, const char* changes, size_t length) noexcept nogil:
    """In pieces, so that a state of any size goes through the ring."""
    cdef record_t record
    cdef size_t at = 0, piece, most = min(<size_t>STATE_PIECE, worker.ring.capacity // 8)
    while at < length:
        piece = min(length - at, most)
        memset(&record, 0, sizeof(record_t))
        record.kind = RECORD_STATE
        record.flags = IN_TURN | (LAST if at + piece == length else 0)
        record.port = port.id
        wait_for_room(worker.pool, &worker.ring, sizeof(record_t) + piece)
        ring_append(&worker.ring, &record, NULL, changes + at, <uint32_t>piece)
        at += piece


cdef bint try_again(pool_t* pool, worker_t* worker, port_t* port, envelope_t* envelope, int reason, int64_t now) noexcept nogil:
    """Whether the message has another attempt; takes over the reference then."""
    cdef envelope_t* again = envelope
    cdef int64_t due = 0, delay
    cdef uint32_t attempt = max(envelope.delivery_attempt, <uint32_t>1)
    cdef bint put
    if reason != EXIT_KILLED:
        if attempt > <uint32_t>cx_peek_i32(&pool.retry_attempts):
            return False
        # as core/retry.py says: doubled with each attempt, and the upper half of it by chance
        delay = <int64_t>cx_peek_u64(<uint64_t*>&pool.retry_delay_ns)
        due = delay << min(attempt - 1, <uint32_t>20)
        due = min(due, max(<int64_t>RETRY_AT_MOST_NS, delay))
        worker.chance = worker.chance * <uint64_t>6364136223846793005 + <uint64_t>(now | 1)
        due = now + due // 2 + <int64_t>((worker.chance >> 16) % <uint64_t>(due // 2 + 1))
        attempt += 1
    if cx_load_i32(&envelope.refs) > 1:
        again = block_copy(envelope)
        if again == NULL:
            return False
    if reason != EXIT_KILLED:
        again.delivery_attempt = attempt
    pthread_mutex_lock(&port.lock)
    put = not port.closed and retries_put(&port.retries, again, due) == 0
    if put:
        note_end(port, envelope_end(again))
    pthread_mutex_unlock(&port.lock)
    if not put:
        if again != envelope:
            envelope_release(again)
        return False
    if again != envelope:
        envelope_release(envelope)
    if due and port_retain(port):
        pool_push_at(pool, port, due)
    return True


cdef void failed_turn(pool_t* pool, worker_t* worker, agent_t* agent, int reason, const char* text, size_t length, int64_t now) noexcept nogil:
    """The turn of a message ended badly: another attempt, or a dead letter of which the sender is told. Takes the turn."""
    cdef envelope_t* turn = agent.turn
    cdef record_t record = record_of_turn(agent, reason, now)
    agent.turn = NULL
    if try_again(pool, worker, agent.port, turn, reason, now):
        # the port has the message now, and may lose it to whoever closes it: it is not looked at any more
        record.delivery = DELIVERY_UNSAID
        append_turn(worker, agent.port, &record)
        return
    bury(pool, worker, &worker.ring, agent.port, turn, reason, text, length, True)
    append_turn(worker, agent.port, &record)
    undelivered(pool, agent.port, reason, turn, text, length)


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
            record_state(worker, port, changes, length)
            free(changes)
    if agent.turn.kind == KIND_TIMER:
        record_timer(worker, port, agent.turn.argument, 0)
    event = agent.effects
    agent.effects = agent.effects_last = NULL
    while event != NULL:
        following = event.next
        event.next = NULL
        if event.kind == EVENT_TIMER:
            record_timer(worker, port, <uint32_t>event.a, event.b)
            event_free(event)
        else:
            count_pending(port, event, pool.outbox)
        event = following
    if agent.refused and agent.turn.kind == KIND_MESSAGE and agent.outgoing_count == 0:
        # handled, but its answer was no message: trying again would not help, and the sender is told
        envelope_retain(agent.turn)
        undelivered(pool, port, EXIT_REFUSED, agent.turn, agent.last_error, agent.error_length if agent.failed else 0)
    for i in range(agent.outgoing_count):
        out = &agent.outgoing[i]
        set_activity(&worker.activity, DO_JOURNAL)
        wait_for_room(pool, &worker.ring, out.envelope.size)
        outcome = send(pool, worker, &worker.ring, &worker.targets, out.envelope, out.target, port, now)
        if outcome < 0:
            bury(pool, worker, &worker.ring, NULL, out.envelope, UNSENT - outcome, NULL, 0, True)
            undelivered(pool, port, outcome, out.envelope, NULL, 0)
        if out.target != NULL:
            port_release(pool.router, out.target)
    agent.outgoing_count = 0
    agent.outgoing_bytes = 0
    agent.effects_count = agent.effects_bytes = 0
    if pool.fail_released and agent.turn.kind == KIND_MESSAGE:
        cx_pass_failpoint(&pool.fail_released)
    # last: it ends the group, which is one transaction of the store
    record_turn(worker, agent, EXIT_REFUSED if agent.refused else 0, now)
    set_activity(&worker.activity, DO_SCHEDULE)


cdef void announce(pool_t* pool, agent_t* agent, int64_t now) noexcept nogil:
    """What Python asked for is done: tell it."""
    cdef event_t* event
    cdef int32_t length
    if agent.turn.kind == KIND_INIT:
        if agent.guest != NULL:
            event = event_new(EVENT_STARTED, agent.port.id, NULL, 0, agent.declared, agent.declared_length)
        else:
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
    """The instance is gone, for the reason that it carries. The mailbox stays, and its message has another attempt or is a dead letter."""
    cdef port_t* port = agent.port
    cdef event_t* event
    cdef uint64_t crashed_on = 0
    cdef int stream
    cdef bint closed
    for stream in range(1, 3):
        if agent.line_length[stream - 1]:
            agent_log(agent, stream, agent.line[stream - 1], agent.line_length[stream - 1])
    if agent.turn != NULL:
        if agent.exit_reason != EXIT_NORMAL:
            if agent.turn.kind == KIND_MESSAGE:
                if agent.exit_reason != EXIT_KILLED:
                    crashed_on = agent.turn.sequence
                failed_turn(pool, worker, agent, agent.exit_reason, agent.exit_text, agent.exit_length, now)
            else:
                if agent.turn.kind == KIND_TIMER and agent.exit_reason != EXIT_KILLED:
                    record_timer(worker, port, agent.turn.argument, 0)
                record_turn(worker, agent, agent.exit_reason, now)
    set_activity(&worker.activity, DO_INSTANCE)
    event = event_new(EVENT_EXITED, port.id, NULL, 0, agent.exit_text, agent.exit_length)
    if event != NULL:
        event.a = agent.exit_reason
    pthread_mutex_lock(&port.lock)
    cx_store_ptr(&port.agent, NULL)
    port.schedule = IDLE
    port.wanted &= ~WANT_DROP
    port.crashed_on = crashed_on
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
    cdef uint32_t millicores = cx_peek_u32(&agent.limits.millicores)
    if millicores == 0 or millicores >= 1000:
        return 0
    if now - agent.window_ns >= WINDOW_NS:
        # a turn that went far beyond the budget is paid back over the windows that follow
        agent.window_spent_ns -= min(
            agent.window_spent_ns, (now - agent.window_ns) // WINDOW_NS * (WINDOW_NS // 1000) * millicores
        )
        agent.window_ns = now
    if agent.window_spent_ns < <int64_t>WINDOW_NS * millicores // 1000:
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


cdef envelope_t* next_turn(port_t* port, int64_t now) noexcept nogil:
    """Under the port's lock: what the port handles next, or NULL. What the platform asks for, then what is due again, then the mailbox."""
    cdef envelope_t* turn
    if port.retries.count and port.mailbox.lanes[CONTROL_LANE].count == 0:
        turn = retries_take(&port.retries, now)
        if turn != NULL:
            return turn
        if retries_is_full(&port.retries):
            return NULL
    while True:
        turn = mailbox_pop(&port.mailbox)
        if turn == NULL or turn.kind != KIND_MESSAGE or not retries_hold(&port.retries, turn):
            return turn
        if retries_is_full(&port.retries):
            return NULL


cdef int is_over(const envelope_t* turn) noexcept nogil:
    cdef int64_t now
    if turn.kind != KIND_MESSAGE or (turn.expires_at_us == 0 and turn.reply_by_us == 0):
        return 0
    now = cx_realtime_us()
    if turn.expires_at_us and now >= turn.expires_at_us:
        return EXIT_EXPIRED
    return EXIT_LATE if turn.reply_by_us and now >= turn.reply_by_us else 0


cdef void expire(pool_t* pool, worker_t* worker, port_t* port, envelope_t* turn, int reason) noexcept nogil:
    """Takes over the reference."""
    bury(pool, worker, &worker.ring, port, turn, reason, NULL, 0, False)
    undelivered(pool, port, reason, turn, NULL, 0)


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
                if not mailbox_is_empty(&port.mailbox) or port.retries.due_ns <= now:
                    port.schedule = QUEUED
                    pthread_mutex_unlock(&port.lock)
                    pool_push(pool, worker, port)
                    return
            turn = next_turn(port, now)
            if wants_refill(port):
                outbox_push(pool.outbox, event_new(EVENT_REFILL, port.id, NULL, 0, NULL, 0))
            if turn == NULL:
                if port.retries.count and port.retries.due_ns <= cx_monotonic_ns():
                    # it became due while this thread ran something else: the ticker has been here, and found the port busy
                    now = cx_monotonic_ns()
                    continue
                port.schedule = IDLE
                # what waits to be tried again is handled as well: whoever asked says how long that may take
                drained = port.wanted & WANT_DRAINED and port.retries.count == 0
                if drained:
                    port.wanted &= ~WANT_DRAINED
                pthread_mutex_unlock(&port.lock)
                if drained:
                    outbox_push(pool.outbox, event_new(EVENT_DRAINED, port.id, NULL, 0, NULL, 0))
                break
            burst += 1
            outcome = is_over(turn)
            if outcome:
                pthread_mutex_unlock(&port.lock)
                expire(pool, worker, port, turn, outcome)
                now = cx_monotonic_ns()
                pthread_mutex_lock(&port.lock)
                continue
            set_activity(&worker.activity, DO_ENVELOPE)
            agent_begin(agent, turn, now)
        pthread_mutex_unlock(&port.lock)

        agent.activity = &worker.activity
        outcome = agent_poll(agent)
        end = cx_monotonic_ns()
        agent.spent_ns += end - now
        agent.window_spent_ns += end - now
        cx_poke_u64(&port.cpu_ns, port.cpu_ns + <uint64_t>(end - now))
        now = end
        if (outcome == TURN_YIELDED or outcome == TURN_SUSPENDED) and now >= agent.deadline_ns:
            agent_crash(agent, EXIT_TIMEOUT, b"the turn took longer than the agent's timeout", 45)
            outcome = TURN_CRASHED
        if outcome == TURN_CRASHED:
            leave(pool, worker, agent, now)
            break
        if outcome == TURN_DONE:
            if agent.refused == REFUSED_BY_GUEST and agent.turn.kind == KIND_MESSAGE and agent.outgoing_count == 0:
                # it did nothing but say that it cannot: what it wrote is undone, as after a crash
                failed_turn(pool, worker, agent, EXIT_REFUSED, agent.last_error, agent.error_length if agent.failed else 0, now)
                agent_reset(agent)
                pthread_mutex_lock(&port.lock)
                continue
            commit(pool, worker, agent, now)
            if agent.guest != NULL:
                weigh(agent, now)
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
    cdef world_t* world = <world_t*>context
    cdef wasm_engine_t* other = <wasm_engine_t*>cx_load_ptr(&world.component_engine)
    wasmtime_engine_increment_epoch(world.engine)
    if other != NULL:
        wasmtime_engine_increment_epoch(other)
