"""Turns on native threads, and the door from Trio to them (scheduler.pyi).

The way of a message: `send` finds its ports and appends its record; `deliver` puts it into a mailbox and queues the port; `run` takes it out, runs the turn as
far as the slice goes, and `commit` sends what the turn sent. A reply of a guest goes through the same `send` as a message from outside.

Rule 1: no Python object is touched by the functions marked nogil, and they are all that scheduler threads run.
Rule 2: no lock is held across a guest call.
Rule 3: effects of a turn leave in `commit` or not at all.
"""

# Over 500 lines: the Python face and the turn share the port's protocol (lock, schedule, wanted); apart they would have to export it.

cimport cython

import os
from weakref import WeakValueDictionary

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from caxton._fast.envelope cimport (
    DEFAULT_LIMITS,
    Envelope,
    envelope_control,
    envelope_error_t,
    envelope_error_text,
    envelope_parse,
    envelope_release,
    envelope_retain,
    envelope_stamp,
    envelope_t,
    envelope_with_sender,
    envelope_wrap,
    E_TOO_LARGE,
    KIND_CAPABILITIES,
    KIND_HEALTH,
    KIND_INIT,
    KIND_MESSAGE,
    KIND_SHUTDOWN,
    KIND_TIMER,
)
from caxton._fast.history cimport History
from caxton._fast.journal cimport RECORD_ACCEPTED, RECORD_TURN, record_t, ring_append, ring_free, ring_init, ring_t, ring_used
from caxton._fast.mailbox cimport CONTROL_LANE, mailbox_is_empty, mailbox_is_full, mailbox_pop, mailbox_push
from caxton._fast.outbox cimport (
    event_free,
    event_new,
    event_t,
    outbox_free,
    outbox_init,
    outbox_push,
    outbox_notify,
    outbox_t,
    outbox_take,
)
from caxton._fast.platform cimport (
    cx_add_i32,
    cx_load_i32,
    cx_load_ptr,
    cx_monotonic_ns,
    cx_peek_i32,
    cx_peek_u64,
    cx_realtime_us,
    cx_sleep_ns,
    cx_store_i32,
    cx_store_u64,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)
from caxton._fast.router cimport (
    PORT_HOST,
    port_release,
    port_retain,
    port_t,
    Router,
    router_reclaim,
    router_resolve_all,
    SEND_HOPS,
    SEND_INVALID,
    SEND_MAILBOX_FULL,
    SEND_MEMORY,
    SEND_NO_RECEIVER,
    SEND_STOPPED,
    SEND_TOO_LARGE,
    targets_free,
    targets_t,
)
from caxton._fast.state cimport changes_to_list, state_bytes, state_commit, state_restore
from caxton._fast.wasm.c_api cimport wasmtime_engine_increment_epoch, wasmtime_memory_data_size
from caxton._fast.wasm.engine cimport Engine
from caxton._fast.wasm.instance cimport *
from caxton._fast.wasm.module cimport Module
from caxton._fast.workers cimport (
    IDLE,
    PARKED,
    pool_free,
    pool_init,
    pool_push,
    pool_push_at,
    pool_seen,
    pool_start,
    pool_stop,
    pool_t,
    pool_unpark,
    QUEUED,
    RUNNING,
    worker_t,
)

from caxton.core.errors import (
    AgentNotFound,
    DeliveryFailed,
    InvalidConfig,
    InvalidMessage,
    InvalidTransition,
    MailboxFull,
    MessageTooLarge,
    ResourceLimitExceeded,
)

cdef enum:
    # port_t.wanted
    WANT_DROP = 1
    WANT_DRAINED = 2

    MAX_PENDING = 256           # events of one guest that Trio has not read: it is not scheduled beyond
    PENDING_PAUSE_NS = 2_000_000
    WINDOW_NS = 100_000_000     # the CPU budget is averaged over this
    BURST = 8                   # messages of one port in a row
    BURST_NS = 50_000
    NAMED_FAILURES = 64         # receivers of one message whose refusal the sender is told
    DRAIN_AT_MOST = 4096        # events of one drain(): one guest can make 65536 in a turn, and Trio has others to serve


# -- sending ---------------------------------------------------------------------------------------------------------

cdef void count_pending(port_t* port, event_t* event, outbox_t* outbox) noexcept nogil:
    if event != NULL:
        cx_add_i32(&port.pending, 1)
        outbox_push(outbox, event)


cdef void wait_for_room(pool_t* pool, ring_t* ring, uint64_t size) noexcept nogil:
    """A full ring pushes back: Trio is woken to read it, and this thread waits."""
    while ring.capacity - ring_used(ring) < 2 * size + 256 and not cx_load_i32(&pool.stopping):
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
        ring_append(ring, record, envelope)
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
    if port.closed or not port.accepting:
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
    envelope.queued_ns = now
    envelope.accepted_us = cx_realtime_us()
    envelope_stamp(envelope, envelope.accepted_us)
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
            ring_append(ring, &record, envelope)
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
        wait_for_room(pool, &worker.ring, out.envelope.size)
        outcome = send(pool, worker, &worker.ring, &worker.targets, out.envelope, out.target, port, now)
        if outcome < 0:
            undelivered(pool, port, outcome, out.envelope, NULL, 0)
        if out.target != NULL:
            port_release(pool.router, out.target)
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
    event = event_new(EVENT_EXITED, port.id, NULL, 0, agent.exit_text, agent.exit_length)
    if event != NULL:
        event.a = agent.exit_reason
    pthread_mutex_lock(&port.lock)
    port.agent = NULL
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
            agent_begin(agent, turn, now)
        pthread_mutex_unlock(&port.lock)

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
            pool_push(pool, worker, port)
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


# -- the Python face -------------------------------------------------------------------------------------------------

globals().update({
    "EVENT_STARTED": EVENT_STARTED, "EVENT_EXITED": EVENT_EXITED, "EVENT_DRAINED": EVENT_DRAINED, "EVENT_MAIL": EVENT_MAIL,
    "EVENT_CALL": EVENT_CALL, "EVENT_LOG": EVENT_LOG, "EVENT_TIMER": EVENT_TIMER, "EVENT_STATE": EVENT_STATE,
    "EVENT_SUBSCRIBE": EVENT_SUBSCRIBE, "EVENT_UNDELIVERED": EVENT_UNDELIVERED, "EVENT_HEALTH": EVENT_HEALTH,
    "EXIT_NORMAL": EXIT_NORMAL, "EXIT_TRAP": EXIT_TRAP, "EXIT_TIMEOUT": EXIT_TIMEOUT, "EXIT_INIT": EXIT_INIT,
    "EXIT_KILLED": EXIT_KILLED, "EXIT_MEMORY": EXIT_MEMORY, "EXIT_REFUSED": EXIT_REFUSED,
    "SEND_INVALID": SEND_INVALID, "SEND_NO_RECEIVER": SEND_NO_RECEIVER, "SEND_MAILBOX_FULL": SEND_MAILBOX_FULL,
    "SEND_TOO_LARGE": SEND_TOO_LARGE, "SEND_STOPPED": SEND_STOPPED, "SEND_HOPS": SEND_HOPS,
})  # fmt: skip


def send_error(int code, receiver):
    """The exception for a SEND_* code."""
    if code == SEND_NO_RECEIVER:
        return AgentNotFound(
            f"no agent answers to {receiver!r}", hint="deploy it first, or check the spelling: caxton agent list", details={"receiver": receiver}
        )
    if code == SEND_MAILBOX_FULL:
        return MailboxFull(
            f"the mailbox of {receiver!r} is full", hint="send again later, or raise messaging.queue_size", details={"receiver": receiver}
        )
    if code == SEND_STOPPED:
        return InvalidTransition(
            f"{receiver!r} drains or has failed and takes no new messages", hint=f"caxton agent status {receiver}", details={"receiver": receiver}
        )
    if code == SEND_MEMORY:
        return ResourceLimitExceeded("no memory left for the message")
    return DeliveryFailed(f"the message to {receiver!r} was not delivered (code {code})")


cdef class Receipt:
    """What became of a message from outside."""

    cdef readonly str message_id
    cdef readonly int delivered_to


cdef class PortStatistics:
    """Counters of one port since it was opened; times in ns, sizes in bytes."""

    cdef readonly uint64_t received, handled, failed, sent, turns_ns, waited_ns, waiting, mailbox_bytes, memory_bytes, state_bytes
    cdef readonly str state


@cython.no_gc_clear      # the threads use its parts until __dealloc__ has joined them
cdef class Scheduler:
    """See scheduler.pyi."""

    cdef pool_t pool
    cdef world_t world
    cdef outbox_t outbox
    cdef ring_t ring                # records of the thread that runs Trio
    cdef targets_t targets
    cdef readonly Router router
    cdef readonly History records
    cdef Engine engine
    cdef Linker linker
    cdef dict blueprints            # port id -> what its instance is made of
    cdef list loose                 # blueprints without a port, until their last instance is gone
    cdef object by_module           # id of a module -> its Blueprint, which keeps the module, as long as there is one
    cdef event_t* left              # events that the last drain() had no room for, oldest first
    cdef event_t* left_last
    cdef bint opened
    cdef bint stopped
    cdef uint64_t undelivered_count

    def __cinit__(
        self, Engine engine not None, *, int threads=0, uint32_t max_message_size=1 << 20, uint64_t journal_bytes=0,
        uint64_t history_messages=100_000, uint64_t history_bytes=64 << 20, int64_t slice_us=1000, str node=""
    ):
        self.engine = engine
        self.linker = Linker(engine)
        self.router = Router(node)
        self.records = History(self.router, history_messages, history_bytes)
        self.blueprints = {}
        self.loose = []
        self.by_module = WeakValueDictionary()
        _between("threads", threads, 0, 1024)
        _between("max_message_size", max_message_size, 1, 1 << 30)
        _between("slice_us", slice_us, 1, 10_000_000)
        if journal_bytes == 0:
            journal_bytes = max(8 << 20, 8 * <uint64_t>max_message_size)
        # a sender waits for room for twice its message: less than this would be for ever
        journal_bytes = max(journal_bytes, 4 * <uint64_t>max_message_size + 16384)
        self.pool.run = run
        self.pool.tick = next_epoch
        self.pool.leave = let_go
        self.pool.context = &self.world
        self.pool.router = &self.router.router
        self.pool.outbox = &self.outbox
        self.pool.slice_ns = slice_us * 1000
        self.world.router = &self.router.router
        self.world.outbox = &self.outbox
        self.world.engine = engine.handle
        self.world.limits = DEFAULT_LIMITS
        self.world.limits.max_size = max_message_size
        if outbox_init(&self.outbox):
            raise OSError("the wake-up descriptor could not be opened: too many open files?")
        self.opened = True
        if ring_init(&self.ring, journal_bytes) or pool_init(&self.pool, threads or len_cpus(), journal_bytes):
            raise MemoryError

    def __dealloc__(self):
        cdef event_t* event
        if self.pool.workers != NULL:
            pool_stop(&self.pool)
            self._free_agents()
            pool_free(&self.pool)
        if self.opened:     # else its descriptors are not ours to close
            outbox_free(&self.outbox)
        while self.left != NULL:
            event = self.left
            self.left = event.next
            event_free(event)
        ring_free(&self.ring)
        targets_free(&self.targets)

    @property
    def wake_fd(self):
        """Readable when drain() has something to give."""
        return self.outbox.fds[0]

    @property
    def threads(self):
        """Number of scheduler threads."""
        return self.pool.count

    def start(self):
        """Start the threads."""
        if self.pool.started or self.stopped:
            raise InvalidTransition("the scheduler was started already", hint="make another one")
        if pool_start(&self.pool):
            pool_stop(&self.pool)
            raise ResourceLimitExceeded("the scheduler threads could not be started", hint="raise the limit of processes (ulimit -u)")

    def stop(self):
        """Finish no more turns, join the threads, free every instance. Idempotent."""
        if self.stopped:
            return
        self.stopped = True
        with nogil:
            pool_stop(&self.pool)
        self._free_agents()
        self._read_records()
        self.blueprints.clear()
        self.loose.clear()

    cdef void _free_agents(self) noexcept:
        """Only when the threads have ended."""
        cdef port_t* port
        cdef uint32_t i
        for i in range(1, self.router._opened):
            port = self.router.find(i)
            if port != NULL and port.agent != NULL:
                agent_free(<agent_t*>port.agent)
                port.agent = NULL

    # -- ports --

    def open_port(self, str name, *, bint host=False, uint32_t queue_size=10_000, uint64_t queue_bytes=1 << 26):
        """Make an address. AgentAlreadyExists when another port has the name."""
        return self.router.open_port(name, host=host, queue_size=queue_size, queue_bytes=queue_bytes)

    def open_replica(self, str name, *, uint32_t queue_size=10_000, uint64_t queue_bytes=1 << 26):
        """Another port behind the same name; conversations stick to one replica."""
        return self.router.open_port(name, queue_size=queue_size, queue_bytes=queue_bytes, replica=True)

    def close_port(self, uint32_t port_id):
        """Take the address away and drop its instance; gives back the messages that waited."""
        cdef port_t* port = self.router.port(port_id)
        cdef envelope_t* envelope
        cdef list left = []
        self.drop(port_id)
        pthread_mutex_lock(&port.lock)
        port.closed = 1
        port.accepting = 0
        while True:
            envelope = mailbox_pop(&port.mailbox)
            if envelope == NULL:
                break
            if envelope.kind == KIND_MESSAGE:
                left.append(envelope_wrap(envelope))
            else:
                envelope_release(envelope)
        pthread_mutex_unlock(&port.lock)
        self.router.close_port(port_id)
        self._loosen(port_id)
        return left

    cdef _loosen(self, uint32_t port_id):
        """The port's blueprint is not needed for another instance; one that leaves may still run by it."""
        blueprint = self.blueprints.pop(port_id, None)
        if blueprint is not None:
            self.loose.append(blueprint)

    def add_capability(self, uint32_t port_id, str capability):
        self.router.add_capability(port_id, capability)

    def join_group(self, uint32_t port_id, str group):
        self.router.join_group(port_id, group)

    def subscribe(self, uint32_t port_id, str topic, bytes content_filter=b"", uint32_t acts=0):
        self.router.subscribe(port_id, topic, content_filter, acts)

    def has_address(self, str address):
        """Whether a message to this address would find a port."""
        return self.router.has(address)

    def name_of(self, uint32_t port_id):
        """The port's name; empty when it is closed."""
        cdef port_t* port = self.router.find(port_id)
        return port.name[:port.name_length].decode() if port != NULL else ""

    def clear_routes(self, uint32_t port_id):
        self.router.clear_routes(port_id)

    def set_accepting(self, uint32_t port_id, bint accepting):
        """Whether new messages are taken; senders are told SEND_STOPPED else."""
        cdef port_t* port = self.router.port(port_id)
        pthread_mutex_lock(&port.lock)
        port.accepting = accepting
        if accepting:
            port.wanted &= ~WANT_DRAINED
        pthread_mutex_unlock(&port.lock)

    # -- instances --

    def spawn(
        self, uint32_t port_id, Module module not None, *, int64_t memory, int64_t timeout_ns, uint32_t cpu_millicores=0,
        uint32_t log_lines_per_second=1000, uint64_t state_quota=1 << 20, environment=(), state=(), uint32_t next_timer=1
    ):
        """Start an instance behind the port; EVENT_STARTED or EVENT_EXITED follows."""
        cdef port_t* port = self.router.port(port_id)
        cdef Blueprint blueprint = self._blueprint(module)
        cdef limits_t limits
        cdef agent_t* agent
        cdef bytes key, value, text
        cdef envelope_t* turn
        if self.stopped:
            raise InvalidTransition("the scheduler has stopped", hint="make another one")
        if port.kind == PORT_HOST:
            raise InvalidTransition(f"port {port_id} is a host port: Python receives from it", hint="open a port for the agent")
        if cx_load_ptr(&port.agent) != NULL:
            raise InvalidTransition(f"port {port_id} has an instance already", hint="drop it first")
        memset(&limits, 0, sizeof(limits_t))
        limits.memory = memory
        limits.elements = self.engine.max_table_elements
        limits.timeout_ns = min(timeout_ns, <int64_t>1 << 60)
        limits.millicores = cpu_millicores
        limits.log_lines = log_lines_per_second
        limits.state_quota = state_quota
        agent = agent_new(&self.world, port, &blueprint.plan, &limits)
        if agent == NULL:
            raise MemoryError
        agent.next_timer = next_timer
        try:
            for key, value in state:
                if state_restore(agent_state(agent), key, <uint32_t>len(key), value, <uint32_t>len(value)):
                    raise ResourceLimitExceeded(f"the stored state does not fit into its quota of {state_quota} bytes", hint="raise runtime.state_quota")
            agent.state_seen = state_bytes(agent.state) if agent.state != NULL else 0
            text = b"".join(name + b"=" + value + b"\0" for name, value in environment)
            if text:
                agent.environment = <char*>malloc(len(text))
                if agent.environment == NULL:
                    raise MemoryError
                memcpy(agent.environment, <const char*>text, len(text))
                agent.environment_length = <uint32_t>len(text)
                agent.environment_count = <uint32_t>len(environment)
        except BaseException:
            agent_free(agent)
            raise
        turn = envelope_control(KIND_INIT, 0)
        if turn == NULL:
            agent_free(agent)
            raise MemoryError
        if self.blueprints.get(port_id) is not blueprint:
            self._loosen(port_id)
            self.blueprints[port_id] = blueprint
        agent_begin(agent, turn, cx_monotonic_ns())
        pthread_mutex_lock(&port.lock)
        port.agent = agent
        port.wanted &= ~WANT_DROP
        if port.schedule == IDLE:
            port.schedule = QUEUED
            port_retain(port)
            pthread_mutex_unlock(&port.lock)
            pool_push(&self.pool, NULL, port)
        else:
            pthread_mutex_unlock(&port.lock)

    def _blueprint(self, Module module):
        blueprint = self.by_module.get(id(module))
        if blueprint is None:
            blueprint = self.by_module[id(module)] = Blueprint(self.linker, module)
        return blueprint

    cdef _control(self, uint32_t port_id, int kind, uint32_t argument):
        cdef port_t* port = self.router.port(port_id)
        cdef envelope_t* turn = envelope_control(kind, argument)
        cdef bint queue = False
        if turn == NULL:
            raise MemoryError
        turn.queued_ns = cx_monotonic_ns()
        pthread_mutex_lock(&port.lock)
        if port.agent == NULL and kind != KIND_TIMER:
            # it was meant for an instance that is gone, not for the next
            pthread_mutex_unlock(&port.lock)
            envelope_release(turn)
            return
        if mailbox_push(&port.mailbox, turn):
            pthread_mutex_unlock(&port.lock)
            envelope_release(turn)
            raise MemoryError
        if port.schedule == IDLE and port.agent != NULL:
            port.schedule = QUEUED
            queue = port_retain(port)
        pthread_mutex_unlock(&port.lock)
        if queue:
            pool_push(&self.pool, NULL, port)

    def shutdown(self, uint32_t port_id):
        """Finish the running turn, call the guest's shutdown export, free it; EVENT_EXITED(EXIT_NORMAL). The mailbox stays."""
        self._control(port_id, KIND_SHUTDOWN, 0)

    def fire_timer(self, uint32_t port_id, uint32_t timer_id):
        """Run the guest's handle_timer; waits for the next instance when there is none."""
        self._control(port_id, KIND_TIMER, timer_id)

    def check_health(self, uint32_t port_id):
        """A turn that only asks whether turns go through; EVENT_HEALTH answers."""
        self._control(port_id, KIND_HEALTH, 0)

    def drop(self, uint32_t port_id):
        """Free the instance now, even inside a turn; EVENT_EXITED(EXIT_KILLED). Nothing happens when there is none."""
        cdef port_t* port = self.router.port(port_id)
        cdef bint queue = False
        pthread_mutex_lock(&port.lock)
        if port.agent != NULL:
            port.wanted |= WANT_DROP
            if port.schedule == IDLE or port.schedule == PARKED:
                port.schedule = QUEUED
                queue = port_retain(port)
        pthread_mutex_unlock(&port.lock)
        if queue:
            pool_push(&self.pool, NULL, port)

    def drain_port(self, uint32_t port_id):
        """Refuse new messages, handle what waits; EVENT_DRAINED."""
        cdef port_t* port = self.router.port(port_id)
        cdef bint drained
        pthread_mutex_lock(&port.lock)
        port.accepting = 0
        drained = port.schedule == IDLE and (mailbox_is_empty(&port.mailbox) or port.agent == NULL)
        if not drained:
            port.wanted |= WANT_DRAINED
        pthread_mutex_unlock(&port.lock)
        if drained:
            outbox_push(&self.outbox, event_new(EVENT_DRAINED, port_id, NULL, 0, NULL, 0))

    def complete_call(self, uint32_t port_id, uint32_t call_id, bytes result, str error=""):
        """Answer EVENT_CALL; an answer for a call that is over is ignored."""
        cdef port_t* port = self.router.find(port_id)
        cdef agent_t* agent
        cdef bytes text = error.encode()
        if port == NULL:
            return
        pthread_mutex_lock(&port.lock)
        agent = <agent_t*>port.agent
        if agent != NULL and agent.waiting == WAIT_CALL and agent.call_id == call_id and not agent.answered:
            agent.answer = <char*>malloc(len(result) or 1)
            agent.answer_status = -104 if error or agent.answer == NULL else 0
            agent.answer_length = <uint32_t>len(result)
            if agent.answer != NULL:
                memcpy(agent.answer, <const char*>result, len(result))
            if error:
                agent_fail(agent, text)
            cx_store_i32(&agent.answered, 1)
        pthread_mutex_unlock(&port.lock)
        pool_unpark(&self.pool, NULL, port)

    # -- messages --

    cdef int _send(self, envelope_t* envelope) except? -1000:
        """Takes over the reference when the result is positive."""
        if ring_used(&self.ring) + 2 * envelope.size + 256 > self.ring.capacity:
            self.records.read(&self.ring)
        return send(&self.pool, NULL, &self.ring, &self.targets, envelope, NULL, NULL, cx_monotonic_ns())

    cdef Receipt _post(self, envelope_t* envelope, str sender):
        """Takes over the reference."""
        cdef Receipt receipt
        cdef bytes name
        cdef Envelope held
        cdef int outcome
        if sender:
            name = sender.encode()
            envelope = envelope_with_sender(envelope, name, <uint32_t>len(name))
            if envelope == NULL:
                raise MemoryError
        envelope_retain(envelope)
        held = envelope_wrap(envelope)
        outcome = self._send(envelope)
        if outcome < 0:
            envelope_release(envelope)
            self.undelivered_count += 1
            raise send_error(outcome, held.receiver)
        receipt = Receipt.__new__(Receipt)
        receipt.message_id = held.message_id
        receipt.delivered_to = outcome
        return receipt

    def submit(self, bytes json not None, *, str sender=""):
        """One message from outside, as JSON."""
        cdef envelope_error_t error
        cdef envelope_t* envelope = envelope_parse(json, len(json), &self.world.limits, &error)
        if envelope == NULL:
            raise self._invalid(&error, len(json))
        envelope.sender_port = 0
        envelope.hop_count = 0
        envelope.delivery_attempt = 0
        return self._post(envelope, sender)

    cdef object _invalid(self, envelope_error_t* error, size_t length):
        cdef char text[512]
        cdef size_t n = envelope_error_text(error, text, 512)
        message = text[:n].decode(errors="replace")
        if error.code == E_TOO_LARGE:
            return MessageTooLarge(
                f"the message has {length} bytes, the largest allowed has {self.world.limits.max_size}",
                hint="send less, or raise messaging.max_message_size",
            )
        return InvalidMessage(message, details={"position": error.position})

    def submit_envelope(self, Envelope envelope not None, *, str sender=""):
        """One message from outside, as a message. The block may be shared, so a copy travels."""
        return self.submit(envelope.to_json(), sender=sender)

    def receive(self, uint32_t port_id, int max_messages):
        """Take mail out of a host port; EVENT_MAIL comes again for what arrives after it was emptied."""
        cdef port_t* port = self.router.port(port_id)
        cdef envelope_t* envelope
        cdef list mail = []
        if port.kind != PORT_HOST:
            raise InvalidTransition(f"port {port_id} is an agent's: its mail is for its instance")
        pthread_mutex_lock(&port.lock)
        while len(mail) < max_messages:
            envelope = mailbox_pop(&port.mailbox)
            if envelope == NULL:
                port.announced = 0
                break
            port.handled += 1
            mail.append(envelope_wrap(envelope))
        pthread_mutex_unlock(&port.lock)
        return mail

    # -- events and records --

    def _read_records(self):
        cdef int i
        self.records.read(&self.ring)
        for i in range(self.pool.count):
            self.records.read(&self.pool.workers[i].ring)

    def drain(self):
        """What happened since the last call, oldest first; advances the journal, frees what was taken away.

        When it was very much, `wake_fd` stays readable and the next call gives the rest; after stop() there is no such bound.
        """
        cdef event_t* event = outbox_take(&self.outbox)
        cdef event_t* following
        cdef port_t* port
        cdef list events = []
        if self.left != NULL:
            self.left_last.next = event
            event = self.left
        while event != NULL:
            if len(events) == DRAIN_AT_MOST and not self.stopped:
                break
            following = event.next
            if event.kind in (EVENT_STATE, EVENT_TIMER, EVENT_SUBSCRIBE, EVENT_UNDELIVERED):
                port = self.router.find(event.port)
                if port != NULL:
                    cx_add_i32(&port.pending, -1)
            events.append(self._event(event))
            event_free(event)
            event = following
        self.left = self.left_last = event
        if event != NULL:
            while self.left_last.next != NULL:
                self.left_last = self.left_last.next
            outbox_notify(&self.outbox)
        self._read_records()
        if cx_load_ptr(<void**>&self.router.router.retired) != NULL:
            router_reclaim(&self.router.router, pool_seen(&self.pool))
        if self.loose:
            self.loose = [blueprint for blueprint in self.loose if blueprint.is_used()]
        return events

    cdef tuple _event(self, event_t* event):
        cdef const char* text = event.bytes + event.name_length
        cdef envelope_t* envelope
        if event.kind == EVENT_STARTED:
            return (EVENT_STARTED, event.port, text[:event.length], event.b)
        if event.kind == EVENT_EXITED:
            return (EVENT_EXITED, event.port, event.a, text[:event.length].decode(errors="replace"))
        if event.kind == EVENT_CALL:
            return (EVENT_CALL, event.port, event.a, (event.bytes[:event.name_length].decode(), text[:event.length]))
        if event.kind == EVENT_LOG:
            if event.b < 0:
                line = f"({-event.b} lines left out: more than the agent's log_lines_per_second)"
                return (EVENT_LOG, event.port, event.a, (line, cx_realtime_us()))
            return (EVENT_LOG, event.port, event.a, (text[:event.length].decode(errors="replace"), event.b))
        if event.kind == EVENT_TIMER:
            return (EVENT_TIMER, event.port, event.a, event.b)
        if event.kind == EVENT_STATE:
            return (EVENT_STATE, event.port, 0, changes_to_list(text, event.length))
        if event.kind == EVENT_SUBSCRIBE:
            return (EVENT_SUBSCRIBE, event.port, 0, text[:event.length])
        if event.kind == EVENT_UNDELIVERED:
            self.undelivered_count += 1
            envelope = event.envelope
            event.envelope = NULL
            return (EVENT_UNDELIVERED, event.port, event.a, (envelope_wrap(envelope), text[:event.length].decode(errors="replace")))
        return (event.kind, event.port, event.a, None)

    def history(self, conversation_id, uint64_t after, int limit):
        """Recent accepted messages with a number above *after*, oldest first, and the next cursor."""
        self._read_records()
        return self.records.messages(conversation_id, after, limit)

    @property
    def newest_message(self):
        """Number of the newest accepted message that was read from the journal."""
        return self.records.newest

    def statistics(self, uint32_t port_id):
        """Counters of the port."""
        cdef port_t* port = self.router.port(port_id)
        cdef PortStatistics s = PortStatistics.__new__(PortStatistics)
        cdef agent_t* agent
        self._read_records()
        pthread_mutex_lock(&port.lock)
        s.received = port.received
        s.handled = port.handled
        s.failed = port.failed
        s.sent = port.sent
        s.turns_ns = port.turns_ns
        s.waited_ns = port.waited_ns
        s.waiting = port.mailbox.count
        s.mailbox_bytes = port.mailbox.bytes
        s.state = ("idle", "queued", "running", "waiting")[port.schedule]
        agent = <agent_t*>port.agent
        if agent != NULL:
            if port.schedule != RUNNING:
                if agent.has_memory:
                    agent.memory_seen = wasmtime_memory_data_size(agent.context, &agent.memory)
            s.memory_bytes = cx_peek_u64(&agent.memory_seen)
            s.state_bytes = cx_peek_u64(&agent.state_seen)
        pthread_mutex_unlock(&port.lock)
        return s

    def totals(self):
        """Sums over all ports."""
        cdef uint64_t waiting = 0, agents = 0, lag = 0
        cdef port_t* port
        cdef uint32_t i
        cdef int k
        for k in range(self.pool.count):
            lag += ring_used(&self.pool.workers[k].ring)
        self._read_records()
        for i in range(1, self.router._opened):
            port = self.router.find(i)
            if port != NULL:
                waiting += port.mailbox.count
                agents += port.agent != NULL
        return {
            "accepted": self.records.accepted,
            "handled": self.records.handled,
            "failed": self.records.failed,
            "undelivered": self.undelivered_count,
            "waiting": waiting,
            "agents": agents,
            "threads": self.pool.count,
            "journal_lag_bytes": lag,
            "hop_p50_ns": self.records.hop_quantile(0.5),
            "hop_p99_ns": self.records.hop_quantile(0.99),
        }


def _between(name, value, low, high):
    if not low <= value <= high:
        raise InvalidConfig(f"{name} is {value}; it must be between {low} and {high}")


cdef int len_cpus():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
