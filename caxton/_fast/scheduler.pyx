"""The door from Trio to the native part: see scheduler.pyi for what it offers, turns.pxd for what happens behind it.

Everything here runs on the one thread that runs Trio, with the interpreter's lock, and holds a port's lock for moments only.
"""

# Over 500 lines: one class, whose methods share the port's protocol (lock, schedule, wanted) and speak for one interface.

cimport cython

import os
from weakref import WeakValueDictionary

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset
from caxton._fast.conversation cimport EVENT_CONVERSATION
from caxton._fast.delivery cimport backlog_grows, backlog_shrinks, is_kept, is_queued, note_end
from caxton._fast.envelope cimport (
    DEFAULT_LIMITS,
    DELIVERY_DURABLE,
    Envelope,
    envelope_control,
    envelope_end,
    envelope_error_t,
    envelope_error_text,
    envelope_field,
    envelope_field_length,
    envelope_frame_size,
    envelope_parse,
    envelope_release,
    envelope_retain,
    envelope_stamp,
    envelope_t,
    envelope_with_sender,
    envelope_with_traceparent,
    envelope_wrap,
    E_TOO_LARGE,
    F_SENDER,
    F_TRACEPARENT,
    KIND_HEALTH,
    KIND_INIT,
    KIND_MESSAGE,
    KIND_SHUTDOWN,
    KIND_TIMER,
)
from caxton._fast.history cimport History
from caxton._fast.journal cimport (
    BOOTS,
    OUTSIDE,
    RECORD_DEAD,
    record_t,
    RECORD_TURN,
    ring_append,
    ring_free,
    ring_init,
    ring_t,
    ring_used,
    SEQUENCE_BOOT,
)
from caxton._fast.ledger cimport Ledger
from caxton._fast.mailbox cimport mailbox_is_empty, mailbox_pop, mailbox_push, mailbox_put, mailbox_take_over
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
    cx_add_u64,
    cx_load_ptr,
    cx_monotonic_ns,
    cx_peek_i32,
    cx_peek_i64,
    cx_peek_u32,
    cx_peek_u64,
    cx_poke_i32,
    cx_poke_i64,
    cx_poke_u32,
    cx_poke_u64,
    cx_poke_u8,
    cx_realtime_us,
    cx_store_i32,
    cx_store_ptr,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)
from caxton._fast.profile cimport sampler_free, sampler_read, sampler_start, sampler_stop, sampler_t
from caxton._fast.retries cimport NO_RETRY_DUE, retries_pop, retries_take_over
from caxton._fast.router cimport (
    PORT_HOST,
    port_retain,
    port_t,
    Router,
    router_reclaim,
    router_t,
    SEND_HOPS,
    SEND_INVALID,
    SEND_LOOP,
    SEND_MAILBOX_FULL,
    SEND_MEMORY,
    SEND_NO_RECEIVER,
    SEND_SHAPE,
    SEND_STOPPED,
    SEND_STORE,
    SEND_TOO_LARGE,
    targets_free,
    targets_missing,
    targets_t,
    UNSENT,
    WAY_CHECKPOINT,
    WAY_GUARDED,
    WAY_NEVER_KEPT,
    WAY_SIGNS,
)
from caxton._fast.spans cimport is_traceparent, Spans
from caxton._fast.state cimport state_bytes, state_restore
from caxton._fast.wasm.blueprint cimport Blueprint, Linker
from caxton._fast.wasm.c_api cimport wasmtime_memory_data_size
from caxton._fast.wasm.engine cimport Engine
from caxton._fast.wasm.hostcalls cimport HOST_ARGUMENT, HOST_FAILED, HOST_UNAVAILABLE
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
)
from caxton._fast.tracker cimport Tracker
from caxton._fast.turns cimport is_over, let_go, next_epoch, REFILL_WINDOW, run, send, WANT_DRAINED, WANT_DROP, wants_refill

from caxton.core.errors import (
    AgentNotFound,
    DeliveryFailed,
    Forbidden,
    InvalidConfig,
    InvalidMessage,
    InvalidTransition,
    MailboxFull,
    MessageTooLarge,
    ResourceLimitExceeded,
    StorageFull,
)
from caxton.core.manifest import RESERVED_NAMES

cdef frozenset RESERVED = frozenset(name.encode() for name in RESERVED_NAMES)
cdef uint32_t RESERVED_LENGTH = max(map(len, RESERVED))

cdef enum:
    OVERDUE_AT_ONCE = 256
    SEND_CODES = 32
    DRAIN_AT_MOST = 4096        # events of one drain(): one guest can make 65536 in a turn, and Trio has others to serve

cdef uint8_t[16] NO_ID       # all zero: not set
cdef dict CALL_CODES = {"unavailable": HOST_UNAVAILABLE, "failed": HOST_FAILED, "invalid-argument": HOST_ARGUMENT}

globals().update({
    "EVENT_STARTED": EVENT_STARTED, "EVENT_EXITED": EVENT_EXITED, "EVENT_DRAINED": EVENT_DRAINED, "EVENT_MAIL": EVENT_MAIL,
    "EVENT_CALL": EVENT_CALL, "EVENT_LOG": EVENT_LOG, "EVENT_TIMER": EVENT_TIMER, "EVENT_STATE": EVENT_STATE,
    "EVENT_SUBSCRIBE": EVENT_SUBSCRIBE, "EVENT_UNDELIVERED": EVENT_UNDELIVERED, "EVENT_HEALTH": EVENT_HEALTH, "EVENT_REFILL": EVENT_REFILL,
    "EVENT_CONVERSATION": EVENT_CONVERSATION,
    "EXIT_NORMAL": EXIT_NORMAL, "EXIT_TRAP": EXIT_TRAP, "EXIT_TIMEOUT": EXIT_TIMEOUT, "EXIT_INIT": EXIT_INIT,
    "EXIT_KILLED": EXIT_KILLED, "EXIT_MEMORY": EXIT_MEMORY, "EXIT_REFUSED": EXIT_REFUSED, "EXIT_EXPIRED": EXIT_EXPIRED, "EXIT_LATE": EXIT_LATE,
    "SEND_INVALID": SEND_INVALID, "SEND_NO_RECEIVER": SEND_NO_RECEIVER, "SEND_MAILBOX_FULL": SEND_MAILBOX_FULL,
    "SEND_TOO_LARGE": SEND_TOO_LARGE, "SEND_STOPPED": SEND_STOPPED, "SEND_HOPS": SEND_HOPS, "SEND_LOOP": SEND_LOOP, "SEND_SHAPE": SEND_SHAPE, "SEND_STORE": SEND_STORE, "SEND_MEMORY": SEND_MEMORY,
    "UNSENT": UNSENT,
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
    if code == SEND_STORE:
        return StorageFull(
            f"the message to {receiver!r} has to be kept, and the store takes nothing now: its disk is full or fails",
            hint="free some space; GET /ready says how the store is. A volatile message is taken",
            details={"receiver": receiver},
        )
    if code == SEND_MEMORY:
        return ResourceLimitExceeded("no memory left for the message")
    if code == SEND_SHAPE:
        return InvalidMessage(
            "the content is not what its act needs in language json",
            hint="docs/conversations.md has the members of each act; messaging.content_shapes says whether such messages are refused",
            details={"field": "content"},
        )
    if code == SEND_LOOP or code == SEND_HOPS:
        return DeliveryFailed(
            f"the message to {receiver!r} goes round in circles", hint="messaging.loops says what a loop is, and whether it is stopped"
        )
    return DeliveryFailed(f"the message to {receiver!r} was not delivered (code {code})")


cdef class Receipt:
    """What became of a message from outside."""

    cdef readonly str message_id
    cdef readonly int delivered_to
    cdef readonly uint64_t sequence     # of the ledger, which says when it is committed
    cdef readonly bint kept             # durable or relaxed
    cdef readonly bint queued           # all of its receivers are away
    cdef readonly bytes brought         # its id, when it came with one; else empty
    cdef readonly tuple not_found       # of several receivers, those who are nowhere


cdef class PortStatistics:
    """Counters of one port since it was opened; times in ns, sizes in bytes."""

    cdef readonly uint64_t received, handled, failed, sent, turns_ns, cpu_ns, waited_ns, waiting, mailbox_bytes, memory_bytes, state_bytes
    cdef readonly uint64_t backlog, backlog_bytes, retrying
    cdef readonly str state


@cython.no_gc_clear      # the threads use its parts until __dealloc__ has joined them
cdef class Scheduler:
    """See scheduler.pyi."""

    cdef pool_t pool
    cdef world_t world
    cdef sampler_t sampler          # of the profile that runs
    cdef bint profiled              # one runs, or ran and was not read
    cdef outbox_t outbox
    cdef ring_t ring                # records of the thread that runs Trio
    cdef targets_t targets
    cdef readonly Router router
    cdef readonly History records
    cdef readonly Ledger ledger
    cdef readonly Tracker tracker
    cdef ring_t** rings             # this thread's, then one for each scheduler thread
    cdef list told                  # events that the rings gave and drain() has not given on
    cdef Engine engine
    cdef Engine component_engine    # None until there is a component
    cdef Linker linker
    cdef dict blueprints            # port id -> what its instance is made of
    cdef list loose                 # blueprints without a port, until their last instance is gone
    cdef object by_module           # id of a module -> its Blueprint, which keeps the module, as long as there is one
    cdef event_t* left              # events that the last drain() had no room for, oldest first
    cdef event_t* left_last
    cdef bint opened
    cdef bint stopped
    cdef uint64_t undelivered_count
    cdef uint64_t refused[SEND_CODES]       # messages by why they were not taken: the SEND_* code without its sign

    def __cinit__(
        self, Engine engine not None, *, int threads=0, uint32_t max_message_size=1 << 20, uint64_t journal_bytes=0,
        uint64_t history_messages=100_000, uint64_t history_bytes=64 << 20, int64_t slice_us=1000, str node="", bint records=True,
        uint64_t boot=0, int delivery=DELIVERY_DURABLE, int retry_attempts=0, int64_t retry_delay_ns=1_000_000_000, uint64_t backlog_bytes=4 << 30
    ):
        cdef int i
        boot = (boot - 1) % BOOTS + 1 if boot else 0
        self.engine = engine
        self.linker = Linker(engine)
        self.router = Router(node)
        self.records = History(self.router, history_messages, history_bytes)
        self.ledger = Ledger(self.router, self.records, boot)
        self.tracker = Tracker()
        self.told = []
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
        self.pool.tracker = &self.tracker.tracker if records else NULL
        self.tracker.tracker.outbox = &self.outbox
        self.pool.slice_ns = slice_us * 1000
        self.pool.unrecorded = not records
        _between("retry_attempts", retry_attempts, 0, 1000)
        _between("retry_delay_ns", retry_delay_ns, 0, <int64_t>1 << 40)
        self.pool.retry_attempts = retry_attempts
        self.pool.retry_delay_ns = retry_delay_ns
        self.router.router.keeps = boot != 0
        self.router.router.delivery = <uint8_t>delivery
        self.router.router.backlog_byte_bound = backlog_bytes
        self.world.router = &self.router.router
        self.world.outbox = &self.outbox
        self.world.engine = engine.handle
        self.world.memories_stay = engine.memory_reservation != 0
        self.world.limits = DEFAULT_LIMITS
        self.world.limits.max_size = max_message_size
        if outbox_init(&self.outbox):
            raise OSError("the wake-up descriptor could not be opened: too many open files?")
        self.opened = True
        if ring_init(&self.ring, journal_bytes) or pool_init(&self.pool, threads or len_cpus(), journal_bytes):
            raise MemoryError
        self.rings = <ring_t**>calloc(self.pool.count + 1, sizeof(ring_t*))
        if self.rings == NULL:
            raise MemoryError
        for i in range(self.pool.count + 1):
            self.rings[i] = &self.ring if i == 0 else &self.pool.workers[i - 1].ring
            self.rings[i].sequence = boot << SEQUENCE_BOOT | <uint64_t>i
            self.rings[i].step = <uint64_t>self.pool.count + 1
        self.ledger.open_rings(self.rings, self.pool.count + 1)

    def __dealloc__(self):
        cdef event_t* event
        sampler_stop(&self.sampler)
        sampler_free(&self.sampler)
        if self.pool.workers != NULL:
            pool_stop(&self.pool)
            self._free_agents()
            pool_free(&self.pool)
        if self.tracker is not None:
            self.tracker.tracker.outbox = NULL
        if self.opened:     # else its descriptors are not ours to close
            outbox_free(&self.outbox)
        while self.left != NULL:
            event = self.left
            self.left = event.next
            event_free(event)
        ring_free(&self.ring)
        free(self.rings)
        targets_free(&self.targets)

    @property
    def wake_fd(self):
        """Readable when drain() has something to give."""
        return self.outbox.fds[0]

    @property
    def threads(self):
        """Number of scheduler threads."""
        return self.pool.count

    def set_failpoints(self, int released, int recorded):
        """SIGKILL to the own process at the pass of this number: between a turn's sending and its record, and when that is to be read; 0: never."""
        self.pool.fail_released = released
        self.ledger.fail_recorded = recorded

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
            sampler_stop(&self.sampler)
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

    def keep_port(self, uint32_t port_id, str owner not None, *, uint32_t backlog=1_000_000, uint64_t backlog_bytes=1 << 30):
        """Whose port it is: what waits for this owner in the store is for this port, and the other way round."""
        cdef port_t* port = self.router.port(port_id)
        cdef uint32_t waiting
        cdef uint64_t waiting_bytes
        cdef int64_t end
        cdef bint refill
        waiting, waiting_bytes, end = self.ledger.name(port_id, owner)
        pthread_mutex_lock(&port.lock)
        cx_poke_u32(&port.backlog_bound, backlog)
        cx_poke_u64(&port.backlog_byte_bound, backlog_bytes)
        # they are counted among all already, since they were found
        cx_add_u64(&self.router.router.backlog_bytes, -waiting_bytes)
        backlog_grows(&self.router.router, port, waiting, waiting_bytes)
        note_end(port, end)
        refill = wants_refill(port)
        pthread_mutex_unlock(&port.lock)
        if refill:
            outbox_push(&self.outbox, event_new(EVENT_REFILL, port_id, NULL, 0, NULL, 0))

    @property
    def largest_message_size(self):
        """The most that set_limits() takes: the journals were made for no larger ones."""
        return min((self.ring.capacity - 16384) // 4, <uint64_t>1 << 30)

    def set_limits(self, *, uint32_t max_message_size, int retry_attempts, int64_t retry_delay_ns, uint64_t backlog_bytes):
        """What holds for all messages from now on; see __init__."""
        _between("max_message_size", max_message_size, 1, self.largest_message_size)
        _between("retry_attempts", retry_attempts, 0, 1000)
        _between("retry_delay_ns", retry_delay_ns, 0, <int64_t>1 << 40)
        cx_poke_u32(&self.world.limits.max_size, max_message_size)
        cx_poke_i32(&self.pool.retry_attempts, retry_attempts)
        cx_poke_u64(<uint64_t*>&self.pool.retry_delay_ns, <uint64_t>retry_delay_ns)
        cx_poke_u64(&self.router.router.backlog_byte_bound, backlog_bytes)

    def set_bounds(self, uint32_t port_id, *, uint32_t queue_size, uint32_t backlog, uint64_t backlog_bytes):
        """How many messages the port's mailbox holds from now on, and how many wait for it in the store; what is there stays."""
        cdef port_t* port = self.router.port(port_id)
        cdef bint refill
        pthread_mutex_lock(&port.lock)
        cx_poke_u32(&port.mailbox.bound, queue_size)
        cx_poke_u32(&port.backlog_bound, backlog)
        cx_poke_u64(&port.backlog_byte_bound, backlog_bytes)
        refill = wants_refill(port)
        pthread_mutex_unlock(&port.lock)
        if refill:
            outbox_push(&self.outbox, event_new(EVENT_REFILL, port_id, NULL, 0, NULL, 0))

    def set_turn_limits(self, uint32_t port_id, *, int64_t timeout_ns, uint32_t cpu_millicores):
        """What the instance behind the port may take, from its next turn on. Nothing happens when there is none."""
        cdef port_t* port = self.router.port(port_id)
        cdef limits_t* limits
        pthread_mutex_lock(&port.lock)
        if port.agent != NULL:
            limits = &(<agent_t*>port.agent).limits
            cx_poke_u64(<uint64_t*>&limits.timeout_ns, <uint64_t>min(timeout_ns, <int64_t>1 << 60))
            cx_poke_u32(&limits.millicores, cpu_millicores)
        pthread_mutex_unlock(&port.lock)

    def set_delivery(self, uint32_t port_id, int delivery):
        """DELIVERY_* of messages to the port that do not say it themselves; 0: as the node's default."""
        cdef port_t* port = self.router.port(port_id)
        pthread_mutex_lock(&port.lock)
        port.delivery = <uint8_t>delivery
        pthread_mutex_unlock(&port.lock)

    def never_keep(self, uint32_t port_id):
        """Who receives here is gone when the server is: what is sent to it is volatile, whatever it says."""
        self.router.port(port_id).ways |= WAY_NEVER_KEPT

    def set_checkpoints(self, uint32_t signer, uint32_t guard):
        """The host ports that messages pass before they leave, and before they arrive, where `set_signing` says so.

        No message can be addressed to them.
        """
        self.router.hide(signer)
        self.router.hide(guard)
        self.router.router.signer = self.router.port(signer)
        self.router.router.guard = self.router.port(guard)
        self.router.router.signer.ways |= WAY_CHECKPOINT
        self.router.router.guard.ways |= WAY_CHECKPOINT

    def set_signing(self, uint32_t port_id, bint signs, bint guarded):
        """Whether what the port's guest sends is signed first, and what is sent to it checked first."""
        cdef port_t* port = self.router.port(port_id)
        if (signs or guarded) and self.router.router.signer == NULL:
            raise InvalidTransition("there is no signer", hint="set_checkpoints first")
        pthread_mutex_lock(&port.lock)
        port.ways = <uint8_t>(port.ways & WAY_NEVER_KEPT | (WAY_SIGNS if signs else 0) | (WAY_GUARDED if guarded else 0))
        pthread_mutex_unlock(&port.lock)

    def set_away(self, uint32_t port_id, bint away):
        """Whether nobody receives from the host port now: what its mailbox cannot hold goes to the store then."""
        cdef port_t* port = self.router.port(port_id)
        cdef bint refill
        pthread_mutex_lock(&port.lock)
        cx_poke_u8(&port.away, away)
        refill = wants_refill(port)
        pthread_mutex_unlock(&port.lock)
        if refill:
            outbox_push(&self.outbox, event_new(EVENT_REFILL, port_id, NULL, 0, NULL, 0))

    @property
    def backlog_bytes(self):
        """Frames that wait in the store, for all owners together."""
        return cx_peek_u64(&self.router.router.backlog_bytes)

    def set_refusing(self, bint refusing):
        """Whether messages that have to be kept are refused: the store takes nothing now."""
        cx_store_i32(&self.router.router.refusing, refusing)

    def refill(self, uint32_t port_id, uint64_t segment, bytes records not None):
        """Move messages of the port's backlog that lie in this segment into its mailbox; how many.

        0: it has room for none, or none of them lies there.
        """
        cdef port_t* port = self.router.port(port_id)
        cdef envelope_t* envelope
        cdef uint64_t size
        cdef int moved = 0
        while port.mailbox.count < min(port.mailbox.bound, <uint32_t>REFILL_WINDOW) and port.mailbox.bytes < port.mailbox.byte_bound:
            envelope = self.ledger.next_of(port_id, segment, records)
            if envelope == NULL:
                break
            size = envelope_frame_size(envelope)
            if envelope.sequence >> SEQUENCE_BOOT != self.ledger.boot:
                # nobody knows whether it was handled before the server ended
                envelope.delivery_attempt = max(envelope.delivery_attempt + 1, <uint32_t>2)
            envelope.kept = DELIVERY_DURABLE
            envelope.queued_ns = cx_monotonic_ns()
            self._put_back(port, envelope, size)
            self.ledger.moved(port_id)
            moved += 1
        return moved

    def refilled(self, uint32_t port_id):
        """The answer to EVENT_REFILL is over; whether more is wanted already."""
        cdef port_t* port = self.router.find(port_id)
        cdef bint more
        if port == NULL:
            return False
        pthread_mutex_lock(&port.lock)
        port.refilling = 0
        more = wants_refill(port)
        pthread_mutex_unlock(&port.lock)
        return more

    cdef int _put_back(self, port_t* port, envelope_t* envelope, uint64_t size) except -1:
        """Out of the backlog, where it had *size* bytes, into the mailbox, which is allowed to be full. Takes over the reference."""
        cdef bint queue = False, announce = False
        cdef uint64_t sequence = envelope.sequence
        pthread_mutex_lock(&port.lock)
        if mailbox_put(&port.mailbox, envelope):
            pthread_mutex_unlock(&port.lock)
            envelope_release(envelope)
            self.ledger.not_moved(port.id, sequence)
            raise MemoryError
        backlog_shrinks(&self.router.router, port, 1, size)
        note_end(port, envelope_end(envelope))
        if port.kind == PORT_HOST:
            announce = not port.announced
            port.announced = 1
        elif port.schedule == IDLE and port.agent != NULL:
            port.schedule = QUEUED
            queue = port_retain(port)
        pthread_mutex_unlock(&port.lock)
        if queue:
            pool_push(&self.pool, NULL, port)
        if announce:
            outbox_push(&self.outbox, event_new(EVENT_MAIL, port.id, NULL, 0, NULL, 0))
        return 0

    def close_port(self, uint32_t port_id):
        """Take the address away and drop its instance; gives back the messages that waited."""
        cdef port_t* port = self.router.port(port_id)
        cdef envelope_t* envelope
        cdef list left = []
        self.drop(port_id)
        pthread_mutex_lock(&port.lock)
        cx_poke_u8(&port.closed, 1)
        cx_poke_u8(&port.accepting, 0)
        while True:
            envelope = retries_pop(&port.retries)
            if envelope == NULL:
                break
            left.append(envelope_wrap(envelope))
        while True:
            envelope = mailbox_pop(&port.mailbox)
            if envelope == NULL:
                break
            if envelope.kind == KIND_MESSAGE:
                left.append(envelope_wrap(envelope))
            else:
                envelope_release(envelope)
        backlog_shrinks(&self.router.router, port, port.backlog, port.backlog_bytes)     # whoever closes it gives it up
        pthread_mutex_unlock(&port.lock)
        self.ledger.closing(port_id)
        self.router.close_port(port_id)
        self._loosen(port_id)
        for message in left:
            try:
                self.bury(port_id, message, UNSENT - SEND_NO_RECEIVER)
            except MailboxFull:
                break       # the store is away: after a restart they are found to be for nobody
        return left

    def take_backlog(self, uint32_t port_id, uint64_t segment, bytes records not None):
        """Messages of a port's backlog that lie in this segment, for who has nobody to handle them; live until they are settled."""
        cdef envelope_t* envelope
        taken = []
        while (envelope := self.ledger.next_of(port_id, segment, records)) != NULL:
            self.ledger.moved(port_id)
            envelope.kept = DELIVERY_DURABLE
            taken.append(envelope_wrap(envelope))
        return taken

    def skip_damaged(self, uint32_t port_id, uint64_t segment, bytes records not None, int reason, str detail not None):
        """Give up what lies in this segment at the head of the port's backlog, for its bytes are damaged; how many messages."""
        cdef port_t* port = self.router.find(port_id)
        skipped = 0
        while self.ledger.skip(port_id, segment, records, reason, detail):
            skipped += 1
            if port != NULL:
                pthread_mutex_lock(&port.lock)
                backlog_shrinks(&self.router.router, port, 1, 0)
                pthread_mutex_unlock(&port.lock)
        return skipped

    # -- messages whose time has passed --

    def overdue_ports(self, int64_t now_us):
        """Ports where something waits, or did, that ends until then."""
        cdef port_t* port
        cdef int64_t end
        cdef uint32_t i
        found = []
        for i in range(1, self.router._opened):
            port = self.router.find(i)
            if port != NULL:
                end = cx_peek_i64(&port.ends_us)
                if end and end <= now_us:
                    found.append(i)
        return found

    def take_overdue(self, uint32_t port_id, int64_t now_us):
        """Out of the mailbox, and of what is to be tried again: [(message, why)], some at a time; they are still to be buried."""
        cdef port_t* port = self.router.port(port_id)
        cdef envelope_t* found[OVERDUE_AT_ONCE]
        cdef uint32_t count, again, i
        cdef int64_t end = 0, first = 0, due = 0
        cdef bint refill
        pthread_mutex_lock(&port.lock)
        count = mailbox_take_over(&port.mailbox, now_us, found, OVERDUE_AT_ONCE, &end)
        again = retries_take_over(&port.retries, now_us, &found[count], OVERDUE_AT_ONCE - count, &first)
        if first and (end == 0 or first < end):
            end = first
        if again and port.retries.due_ns != NO_RETRY_DUE and port_retain(port):
            # what stood behind one of them may be due now
            due = max(port.retries.due_ns, <int64_t>1)
        count += again
        cx_poke_i64(&port.ends_us, end)
        refill = wants_refill(port)
        pthread_mutex_unlock(&port.lock)
        if due:
            pool_push_at(&self.pool, port, due)
        if refill:
            outbox_push(&self.outbox, event_new(EVENT_REFILL, port_id, NULL, 0, NULL, 0))
        return [(envelope_wrap(found[i]), is_over(found[i]) or EXIT_EXPIRED) for i in range(count)]

    def take_overdue_backlog(self, uint32_t port_id, uint64_t segment, bytes records not None, int64_t now_us):
        """The same out of the port's backlog in this segment; and how many others it has there."""
        cdef port_t* port = self.router.port(port_id)
        cdef Envelope envelope
        cdef uint64_t size = 0
        found, left, end = self.ledger.overdue(port_id, segment, records, now_us)
        taken = []
        for envelope in found:
            size += envelope_frame_size(envelope.block)
            envelope.block.kept = DELIVERY_DURABLE
            taken.append((envelope, is_over(envelope.block) or EXIT_EXPIRED))
        pthread_mutex_lock(&port.lock)
        if taken:
            backlog_shrinks(&self.router.router, port, <uint32_t>len(taken), size)
        note_end(port, end)
        pthread_mutex_unlock(&port.lock)
        return taken, left

    def look_again(self, uint32_t port_id, int64_t at_us):
        """Name the port among those that are overdue then."""
        cdef port_t* port = self.router.port(port_id)
        pthread_mutex_lock(&port.lock)
        note_end(port, at_us)
        pthread_mutex_unlock(&port.lock)

    def settle(self, uint32_t port_id, Envelope envelope not None):
        """An agent outside has handled this message."""
        self._settle(port_id, envelope.block, 0)

    def bury(self, uint32_t port_id, Envelope envelope not None, int reason, str detail=""):
        """The port will not handle the message: a dead letter."""
        cdef port_t* port = self.router.find(port_id)
        cdef record_t record
        cdef bytes text = detail.encode()
        if not self.ledger.keeps:
            return
        self._make_room(envelope.block.size + len(text))
        memset(&record, 0, sizeof(record_t))
        record.kind = RECORD_DEAD
        record.outcome = <uint16_t>reason
        record.port = port_id
        record.receiver = max(envelope.block.delivery_attempt, <uint32_t>1)
        record.sequence = envelope.block.sequence
        record.delivery = envelope.block.kept
        ring_append(&self.ring, &record, envelope.block, <const char*>text, <uint32_t>len(text))

    cdef _settle(self, uint32_t port_id, envelope_t* block, int outcome):
        cdef record_t record
        self._make_room(0)
        memset(&record, 0, sizeof(record_t))
        record.kind = RECORD_TURN
        record.turn = KIND_MESSAGE
        record.flags = OUTSIDE
        record.outcome = <uint16_t>outcome
        record.port = port_id
        record.sequence = block.sequence
        record.delivery = block.kept
        record.at_ns = cx_monotonic_ns()
        ring_append(&self.ring, &record, NULL)

    cdef _make_room(self, uint64_t size):
        """For a record of this thread, which nobody else reads."""
        if ring_used(&self.ring) + 2 * (size + sizeof(record_t)) + 256 > self.ring.capacity:
            self._read_records()
            if ring_used(&self.ring) + 2 * (size + sizeof(record_t)) + 256 > self.ring.capacity:
                raise MailboxFull("the journal is behind: the store has not taken what was accepted before", hint="send again in a moment")

    cdef _loosen(self, uint32_t port_id):
        """The port's blueprint is not needed for another instance; one that leaves may still run by it."""
        blueprint = self.blueprints.pop(port_id, None)
        if blueprint is not None:
            self.loose.append(blueprint)

    def add_capability(self, uint32_t port_id, str capability):
        self.router.add_capability(port_id, capability)

    def remove_capability(self, uint32_t port_id, str capability):
        self.router.remove_capability(port_id, capability)

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
        """Whether new messages come into the mailbox; else those that are kept wait in the store, and the others are refused."""
        cdef port_t* port = self.router.port(port_id)
        cdef bint refill
        pthread_mutex_lock(&port.lock)
        cx_poke_u8(&port.accepting, accepting)
        if accepting:
            port.wanted &= ~WANT_DRAINED
        refill = wants_refill(port)
        pthread_mutex_unlock(&port.lock)
        if refill:
            outbox_push(&self.outbox, event_new(EVENT_REFILL, port_id, NULL, 0, NULL, 0))

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
        cdef bint refill
        if self.stopped:
            raise InvalidTransition("the scheduler has stopped", hint="make another one")
        if port.kind == PORT_HOST:
            raise InvalidTransition(f"port {port_id} is a host port: Python receives from it", hint="open a port for the agent")
        if cx_load_ptr(&port.agent) != NULL:
            raise InvalidTransition(f"port {port_id} has an instance already", hint="drop it first")
        memset(&limits, 0, sizeof(limits_t))
        limits.memory = min(memory, <int64_t>module.engine.max_memory)
        limits.elements = module.engine.max_table_elements
        limits.timeout_ns = min(timeout_ns, <int64_t>1 << 60)
        limits.millicores = cpu_millicores
        limits.log_lines = log_lines_per_second
        limits.state_quota = state_quota
        agent = agent_new(&self.world, port, &blueprint.plan, &limits)
        if agent == NULL:
            raise MemoryError
        agent.next_timer = next_timer
        cx_poke_u64(&port.cpu_ns, 0)
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
        cx_store_ptr(&port.agent, agent)
        port.wanted &= ~WANT_DROP
        if port.schedule == IDLE:
            port.schedule = QUEUED
            port_retain(port)
            pthread_mutex_unlock(&port.lock)
            pool_push(&self.pool, NULL, port)
        else:
            pthread_mutex_unlock(&port.lock)
        if self.ledger.keeps:
            pthread_mutex_lock(&port.lock)
            refill = wants_refill(port)
            pthread_mutex_unlock(&port.lock)
            if refill:
                outbox_push(&self.outbox, event_new(EVENT_REFILL, port_id, NULL, 0, NULL, 0))

    def _blueprint(self, Module module):
        blueprint = self.by_module.get(id(module))
        if blueprint is None:
            if module.engine is not self.engine:
                self._serve(module.engine)
            blueprint = self.by_module[id(module)] = Blueprint(self.linker, module)
        return blueprint

    cdef _serve(self, Engine engine):
        """The second engine, that of components: the ticker moves its epoch too."""
        if self.component_engine is None:
            self.component_engine = engine
            cx_store_ptr(&self.world.component_engine, engine.handle)
        elif self.component_engine is not engine:
            raise InvalidTransition("the module was compiled on a third engine", hint="a scheduler has one for modules and one for components")

    cdef _control(self, uint32_t port_id, int kind, uint32_t argument):
        cdef port_t* port = self.router.port(port_id)
        cdef envelope_t* turn = envelope_control(kind, argument)
        cdef bint queue = False
        if turn == NULL:
            raise MemoryError
        turn.queued_ns = cx_monotonic_ns()
        pthread_mutex_lock(&port.lock)
        if port.agent == NULL and (kind != KIND_TIMER or port.kind == PORT_HOST):
            # it was meant for an instance that is gone, not for the next; and Python's mail is messages only
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

    def crashed_on(self, uint32_t port_id):
        """Which message's turn ended the port's last instance, by its sequence number; 0: none did, or it was dropped."""
        cdef port_t* port = self.router.find(port_id)
        return port.crashed_on if port != NULL else 0

    def drain_port(self, uint32_t port_id):
        """Refuse new messages, handle what waits, also to be tried again; EVENT_DRAINED."""
        cdef port_t* port = self.router.port(port_id)
        cdef bint drained
        pthread_mutex_lock(&port.lock)
        cx_poke_u8(&port.accepting, 0)
        drained = port.schedule == IDLE and (port.agent == NULL or (mailbox_is_empty(&port.mailbox) and port.retries.count == 0))
        if not drained:
            port.wanted |= WANT_DRAINED
        pthread_mutex_unlock(&port.lock)
        if drained:
            outbox_push(&self.outbox, event_new(EVENT_DRAINED, port_id, NULL, 0, NULL, 0))

    def complete_call(self, uint32_t port_id, uint32_t call_id, bytes result, str error="", str code="unavailable"):
        """Answer EVENT_CALL; an answer for a call that is over is ignored."""
        cdef port_t* port = self.router.find(port_id)
        cdef agent_t* agent
        cdef bytes text = error.encode()
        cdef int status = CALL_CODES[code] if error else 0
        if len(result) > 0x7FFFFFFF:
            raise ValueError(f"an answer of {len(result)} bytes is more than a guest can be given")
        if port == NULL:
            return
        pthread_mutex_lock(&port.lock)
        agent = <agent_t*>port.agent
        if agent != NULL and cx_peek_i32(&agent.waiting) == WAIT_CALL and agent.call_id == call_id and not agent.answered:
            agent.answer = <char*>malloc(len(result) or 1)
            agent.answer_status = HOST_UNAVAILABLE if agent.answer == NULL else status
            agent.answer_length = <uint32_t>len(result)
            if agent.answer != NULL:
                memcpy(agent.answer, <const char*>result, len(result))
            if error:
                agent_fail(agent, text)
            cx_store_i32(&agent.answered, 1)
        pthread_mutex_unlock(&port.lock)
        pool_unpark(&self.pool, NULL, port)

    # -- messages --

    cdef int _send(self, envelope_t* envelope, port_t* target=NULL) except? -1000:
        """Takes over the reference when the result is positive."""
        cdef int outcome
        try:
            self._make_room(envelope.size)
        except MailboxFull:
            envelope_release(envelope)
            raise
        outcome = send(&self.pool, NULL, &self.ring, &self.targets, envelope, target, NULL, cx_monotonic_ns())
        if outcome == SEND_MAILBOX_FULL and target == NULL and (self.targets.count > 1 or envelope.receivers > 1):
            # it may have been the ring, which had no room for so many receivers
            self._read_records()
            outcome = send(&self.pool, NULL, &self.ring, &self.targets, envelope, NULL, NULL, cx_monotonic_ns())
        return outcome

    cdef int _refuse_reserved(self, envelope_t* envelope) except -1:
        """Nobody outside speaks as an agent of the platform. Takes over the reference when it raises."""
        cdef uint32_t length = envelope_field_length(envelope, F_SENDER)
        cdef const char* name = envelope_field(envelope, F_SENDER)
        cdef router_t* router = &self.router.router
        if length > router.node_length + 1 and router.node_length and name[length - router.node_length - 1] == b"@":
            if memcmp(name + length - router.node_length, router.node, router.node_length) == 0:
                length -= router.node_length + 1
        if length == 0 or length > RESERVED_LENGTH or name[:length].lower() not in RESERVED:
            return 0
        said = name[:length].decode()
        envelope_release(envelope)
        raise Forbidden(
            f"nobody outside sends as {said!r}: it is an agent of the platform",
            hint="leave sender out, or put your own name there",
            details={"field": "sender", "sender": said},
        )

    cdef Receipt _post(self, envelope_t* envelope, str sender, port_t* target=NULL):
        """Takes over the reference."""
        cdef Receipt receipt
        cdef bytes name
        cdef Envelope held
        cdef int outcome
        cdef uint32_t i
        if sender:
            name = sender.encode()
            envelope = envelope_with_sender(envelope, name, <uint32_t>len(name))
            if envelope == NULL:
                raise MemoryError
        else:
            self._refuse_reserved(envelope)
        envelope_retain(envelope)
        held = envelope_wrap(envelope)
        self.targets.count = self.targets.missing_count = 0
        outcome = self._send(envelope, target)
        if outcome < 0:
            envelope_release(envelope)
            self.undelivered_count += 1
            self._refuse(outcome)
            raise send_error(outcome, held.receiver)
        receipt = Receipt.__new__(Receipt)
        receipt.message_id = held.message_id
        receipt.delivered_to = outcome
        receipt.sequence = envelope.sequence
        receipt.kept = is_kept(envelope.kept)
        receipt.queued = True
        for i in range(self.targets.count):
            # ports are closed on this thread only, so those that were found are still there
            if not is_queued(self.targets.items[i], envelope.kept):
                receipt.queued = False
                break
        receipt.not_found = ()
        if envelope.receivers > 1 and self.targets.missing_count:
            receipt.not_found = tuple(targets_missing(&self.targets, envelope))
        return receipt

    def submit(self, bytes json not None, *, str sender="", dict known=None, str traceparent=""):
        """One message from outside, as JSON. When its id is a key of *known*, only what stands there is given back."""
        cdef envelope_error_t error
        cdef Receipt receipt
        cdef bytes brought = b""
        cdef envelope_t* envelope = envelope_parse(json, len(json), &self.world.limits, &error)
        if envelope == NULL:
            raise self._invalid(&error, len(json))
        if memcmp(envelope.message_id, NO_ID, 16) != 0:
            brought = (<char*>envelope.message_id)[:16]
            if known is not None and brought in known:
                envelope_release(envelope)
                return known[brought]
        envelope.sender_port = 0
        envelope.hop_count = 0
        envelope.delivery_attempt = 0
        if self.records.spans is not None or traceparent:
            receipt = self._post_traced(envelope, sender, traceparent.encode())
        else:
            receipt = self._post(envelope, sender)
        receipt.brought = brought
        return receipt

    cdef Receipt _post_traced(self, envelope_t* envelope, str sender, bytes header):
        """Takes over the reference. With the trace that the message has already, else the one of its caller, else perhaps a new one."""
        cdef Spans spans = self.records.spans
        cdef int64_t began = cx_realtime_us()
        cdef tuple trace = None, span = None
        cdef Receipt receipt
        cdef bytes text = b""
        if spans is not None:
            trace = spans.begin(envelope, header)
            text = trace[0] if trace is not None else b""
        elif envelope_field_length(envelope, F_TRACEPARENT) == 0 and is_traceparent(<const char*>header, <uint32_t>len(header)):
            text = header
        if text:
            envelope = envelope_with_traceparent(envelope, <const char*>text, <uint32_t>len(text))
            if envelope == NULL:
                raise MemoryError
        if trace is not None:
            envelope_stamp(envelope, began)
            span = spans.send(trace, envelope, sender, began)
        receipt = self._post(envelope, sender)
        if span is not None:
            spans.put(span)
        return receipt

    cdef object _invalid(self, envelope_error_t* error, size_t length):
        cdef char text[512]
        cdef size_t n = envelope_error_text(error, text, 512)
        self._refuse(SEND_TOO_LARGE if error.code == E_TOO_LARGE else SEND_INVALID)
        message = text[:n].decode(errors="replace")
        if error.code == E_TOO_LARGE:
            return MessageTooLarge(
                f"the message has {length} bytes, the largest allowed has {self.world.limits.max_size}",
                hint="send less, or raise messaging.max_message_size",
            )
        return InvalidMessage(message, details={"position": error.position})

    def forward(self, bytes json not None, str sender not None, *, uint32_t source=0, uint32_t target=0):
        """A message that the signer or the guard lets through: its hops count on. *source*: the sender's port, so that it is not sent its own broadcast.

        With *target* only this port gets it, and no guard looks at it again.
        """
        cdef envelope_error_t error
        cdef envelope_t* envelope = envelope_parse(json, len(json), &self.world.limits, &error)
        if envelope == NULL:
            raise self._invalid(&error, len(json))
        envelope.sender_port = source
        envelope.delivery_attempt = 0
        envelope.passed = target != 0
        return self._post(envelope, sender, self.router.port(target) if target else NULL)

    def submit_envelope(self, Envelope envelope not None, *, str sender=""):
        """One message from outside, as a message. The block may be shared, so a copy travels."""
        return self.submit(envelope.to_json(), sender=sender)

    def receive(self, uint32_t port_id, int max_messages):
        """Take mail out of a host port; EVENT_MAIL comes again for what arrives after it was emptied."""
        cdef port_t* port = self.router.port(port_id)
        cdef envelope_t* envelope
        cdef list mail = []
        cdef bint refill
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
        refill = wants_refill(port)
        pthread_mutex_unlock(&port.lock)
        if refill:
            outbox_push(&self.outbox, event_new(EVENT_REFILL, port_id, NULL, 0, NULL, 0))
        return mail

    # -- events and records --

    def _read_records(self):
        self.ledger.read(self.rings, self.told)
        if self.told:
            outbox_notify(&self.outbox)     # drain() has something to give

    def read_records(self):
        """Take what the rings hold into the ledger; drain() does the same."""
        self._read_records()

    def drain(self):
        """What happened since the last call, oldest first; advances the journal, frees what was taken away.

        When it was very much, `wake_fd` stays readable and the next call gives the rest; after stop() there is no such bound.
        """
        cdef event_t* event = outbox_take(&self.outbox)
        cdef event_t* following
        cdef port_t* port
        cdef list events = []
        cdef int given = 0      # what turns changed is not counted: it was bounded by the rings
        # what turns changed comes before what happened to their agents after it
        self._read_records()
        events, self.told = self.told, events
        if self.left != NULL:
            self.left_last.next = event
            event = self.left
        while event != NULL:
            if given == DRAIN_AT_MOST and not self.stopped:
                break
            given += 1
            following = event.next
            if event.kind in (EVENT_SUBSCRIBE, EVENT_UNDELIVERED):
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
            envelope = event.envelope
            event.envelope = NULL
            message = envelope_wrap(envelope) if envelope != NULL else None
            return (EVENT_CALL, event.port, event.a, (event.bytes[:event.name_length].decode(), text[:event.length], message))
        if event.kind == EVENT_LOG:
            if event.b < 0:
                line = f"({-event.b} lines left out: more than the agent's log_lines_per_second)"
                return (EVENT_LOG, event.port, event.a, (line, cx_realtime_us()))
            return (EVENT_LOG, event.port, event.a, (text[:event.length].decode(errors="replace"), event.b))
        if event.kind == EVENT_SUBSCRIBE:
            return (EVENT_SUBSCRIBE, event.port, 0, text[:event.length])
        if event.kind == EVENT_UNDELIVERED:
            self.undelivered_count += 1
            self._refuse(<int>event.a)
            envelope = event.envelope
            event.envelope = NULL
            return (EVENT_UNDELIVERED, event.port, event.a, (envelope_wrap(envelope), text[:event.length].decode(errors="replace")))
        return (event.kind, event.port, event.a, None)

    cdef void _refuse(self, int code) noexcept:
        """*code* above 0: it was accepted, and not handled."""
        if -SEND_CODES < code < 0:
            self.refused[-code] += 1

    def set_tracing(self, Spans spans):
        """Who is told of spans from now on; None: nobody."""
        self.records.spans = spans
        cx_poke_u64(&self.world.span_salt, spans.salt if spans is not None else 0)

    def refusals(self):
        """Messages that were not accepted, by their SEND_* code."""
        cdef int i
        return {-i: self.refused[i] for i in range(SEND_CODES) if self.refused[i]}

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
        s.cpu_ns = cx_peek_u64(&port.cpu_ns)
        s.waited_ns = port.waited_ns
        s.waiting = port.mailbox.count
        s.backlog = port.backlog
        s.backlog_bytes = port.backlog_bytes
        s.retrying = port.retries.count
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

    def start_profile(self):
        """Begin to count what the threads do."""
        if self.profiled:
            raise InvalidTransition("a profile runs already", hint="wait until it has ended: there is one at a time")
        if self.stopped:
            raise InvalidTransition("the scheduler has stopped", hint="make another one")
        self._read_records()
        if sampler_start(&self.sampler, &self.pool, self.router, self.records.handled + self.records.failed):
            raise ResourceLimitExceeded("the profile could not be started: no memory, or no thread", hint="raise the limit of processes (ulimit -u)")
        self.profiled = True

    def stop_profile(self):
        """End it; what was counted."""
        if not self.profiled:
            raise InvalidTransition("no profile runs", hint="start one")
        with nogil:
            sampler_stop(&self.sampler)
        self._read_records()
        try:
            return sampler_read(&self.sampler, self.router, self.records.handled + self.records.failed)
        finally:
            sampler_free(&self.sampler)
            self.profiled = False

    def totals(self):
        """Sums over all ports."""
        cdef uint64_t waiting = 0, agents = 0, lag = 0, turns = 0
        cdef port_t* port
        cdef uint32_t i
        cdef int k
        for k in range(self.pool.count):
            lag += ring_used(&self.pool.workers[k].ring)
            turns += cx_peek_u64(&self.pool.workers[k].turns)
        self._read_records()
        for i in range(1, self.router._opened):
            port = self.router.find(i)
            if port != NULL:
                waiting += cx_peek_u32(&port.mailbox.count)
                agents += cx_load_ptr(&port.agent) != NULL
        return {
            "accepted": self.records.accepted,
            "handled": self.records.handled,
            "failed": self.records.failed,
            "undelivered": self.undelivered_count,
            "waiting": waiting,
            "agents": agents,
            "threads": self.pool.count,
            "turns": turns,
            "journal_lag_bytes": lag,
            "hop_p50_ns": self.records.hop_quantile(0.5),
            "hop_p99_ns": self.records.hop_quantile(0.99),
        }


def _between(name, value, low, high):
    if not low <= value <= high:
        raise InvalidConfig(f"{name} is {value}; it must be between {low} and {high}")


cdef int len_cpus():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
