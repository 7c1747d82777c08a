"""What is promised for a message, and whether a port takes it: asked where a guest sends and where a message is delivered.

A *kept* message (durable or relaxed) waits for its receiver as long as it takes: in the mailbox, and in the store when the agent is away. A volatile one is refused
when the agent is away or its mailbox is full.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from caxton._fast.envelope cimport DELIVERY_DURABLE, DELIVERY_VOLATILE, envelope_frame_size, envelope_t
from caxton._fast.mailbox cimport mailbox_is_full
from caxton._fast.platform cimport cx_add_u64, cx_load_ptr, cx_peek_i32, cx_peek_u32, cx_peek_u64, cx_peek_u8, cx_poke_i64, cx_poke_u32, cx_poke_u64
from caxton._fast.router cimport PORT_HOST, port_t, router_t, SEND_MAILBOX_FULL, SEND_STOPPED, SEND_STORE, WAY_NEVER_KEPT

cdef inline uint8_t delivery_of(const router_t* router, const envelope_t* envelope, const port_t* target) noexcept nogil:
    """DELIVERY_* that the message is accepted with; *target*: its only receiver, or NULL."""
    if not router.keeps or (target != NULL and target.ways & WAY_NEVER_KEPT):
        return DELIVERY_VOLATILE
    if envelope.delivery:
        return envelope.delivery
    return target.delivery if target != NULL and target.delivery else router.delivery

cdef inline bint is_kept(uint8_t delivery) noexcept nogil:
    return DELIVERY_DURABLE <= delivery < DELIVERY_VOLATILE

cdef inline uint8_t delivery_for(const envelope_t* envelope, const port_t* port) noexcept nogil:
    """DELIVERY_* of an accepted message for one of its receivers."""
    return DELIVERY_VOLATILE if port.ways & WAY_NEVER_KEPT else envelope.kept

cdef inline bint is_away(const port_t* port) noexcept nogil:
    """Nobody takes mail out of the port now."""
    return cx_peek_u8(&port.away) if port.kind == PORT_HOST else cx_load_ptr(<void**>&port.agent) == NULL

cdef inline bint must_spill(const port_t* port) noexcept nogil:
    """A kept message goes to the store: what came before it is there, or the mailbox is not to grow."""
    return not cx_peek_u8(&port.accepting) or cx_peek_u32(&port.backlog) != 0 or (mailbox_is_full(&port.mailbox) and is_away(port))

cdef inline bint is_queued(const port_t* port, uint8_t delivery) noexcept nogil:
    """What was accepted for the port waits until somebody is back, or behind what does."""
    return is_away(port) or (is_kept(delivery) and must_spill(port))

cdef inline bint backlog_is_full(const router_t* router, const port_t* port, uint64_t size) noexcept nogil:
    """Whether the store is not to have another message of *size* for the port. Threads that ask at once may go beyond the bound of all by one message each."""
    return (
        cx_peek_u32(&port.backlog) >= cx_peek_u32(&port.backlog_bound)
        or cx_peek_u64(&port.backlog_bytes) + size > cx_peek_u64(&port.backlog_byte_bound)
        or cx_peek_u64(&router.backlog_bytes) + size > cx_peek_u64(&router.backlog_byte_bound)
    )

cdef inline void note_end(port_t* port, int64_t end_us) noexcept nogil:
    """Under the port's lock: something that ends then waits for it."""
    if end_us and (port.ends_us == 0 or end_us < port.ends_us):
        cx_poke_i64(&port.ends_us, end_us)

cdef inline void backlog_grows(router_t* router, port_t* port, uint32_t count, uint64_t size) noexcept nogil:
    """Under the port's lock: so many more messages wait in the store, of *size* bytes together."""
    cx_poke_u32(&port.backlog, port.backlog + count)
    cx_poke_u64(&port.backlog_bytes, port.backlog_bytes + size)
    cx_add_u64(&router.backlog_bytes, size)

cdef inline void backlog_shrinks(router_t* router, port_t* port, uint32_t count, uint64_t size) noexcept nogil:
    """The same backwards. What cannot be read any more has an unknown size: where no message is left, no byte is."""
    cx_poke_u32(&port.backlog, port.backlog - count)
    if port.backlog == 0 or size > port.backlog_bytes:
        size = port.backlog_bytes
    cx_poke_u64(&port.backlog_bytes, port.backlog_bytes - size)
    cx_add_u64(&router.backlog_bytes, -size)

cdef inline int port_refusal(const router_t* router, const port_t* port, const envelope_t* envelope, uint8_t delivery) noexcept nogil:
    """0, or the SEND_* code that the message would get now; without the port's lock it may be otherwise in a moment."""
    if cx_peek_u8(&port.closed):
        return SEND_STOPPED
    if is_kept(delivery):
        if cx_peek_i32(&router.refusing):
            return SEND_STORE
        if must_spill(port):
            return SEND_MAILBOX_FULL if backlog_is_full(router, port, envelope_frame_size(envelope)) else 0
    elif not cx_peek_u8(&port.accepting):
        return SEND_STOPPED
    return SEND_MAILBOX_FULL if mailbox_is_full(&port.mailbox) else 0
