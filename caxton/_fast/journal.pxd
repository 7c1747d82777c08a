"""The record stream: what was accepted, which turn ended and what it changed, each once, in the order of one thread.

A ring of bytes has one producer (a scheduler thread, or the thread that runs Trio) and one consumer (Trio's drain). A record is a `record_t` and what follows it:
behind that of an accepted message stands its block (envelope.pxd), so that nothing else needs to be kept.

Rule 1: a full ring refuses; the producer waits, nothing is dropped. When nobody will read before the producer has ended, it makes the ring larger.
Rule 2: records lie in one piece. Where the end of the ring is too near, a SKIP record fills it.
Rule 3: what one turn did is a group: its records carry IN_TURN, and the RECORD_TURN that ends it comes last. A reader takes a group whole or not at all.

`tests/oracles/journal.py` is the specification.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from caxton._fast.envelope cimport envelope_t

cdef enum:
    RECORD_SKIP = 0
    RECORD_ACCEPTED = 1     # a message is in the mailbox of its receivers; the block follows, then a receiver_t for each when there are several
    RECORD_TURN = 2         # an agent is done with one turn
    RECORD_STATE = 3        # a piece of the changes block (state.pxd) of the turn; pieces follow one another
    RECORD_TIMER = 4        # the turn set a timer (`sequence` its due time, microseconds since the epoch), or 0: cancelled, spent
    RECORD_DEAD = 5         # a message will not be handled by this port; the block follows, then the text that says why
    RECORD_SPILLED = 6      # an accepted message waits for this port in the store and not in its mailbox

    # A sequence number: boot << 48 | n, where n % rings is the number of the ring. A ring's numbers only grow. With 64 threads that accept a million
    # messages a second each, they last for seven weeks; with two, for three years.
    SEQUENCE_BOOT = 48
    BOOTS = 65535           # 1 to 65535, then 1 again: what then still waits has long been carried on, or is expected to be gone

    # record_t.flags
    IN_TURN = 1             # belongs to the RECORD_TURN that comes later in the same ring
    SPILLED = 2             # of RECORD_ACCEPTED with one receiver: as RECORD_SPILLED says
    OUTSIDE = 4             # a client sent the message; of RECORD_TURN: an agent outside has handled it
    LAST = 8                # of RECORD_STATE: no piece of this changes block follows

ctypedef struct receiver_t:
    uint32_t port
    uint32_t delivery       # DELIVERY_*

ctypedef struct record_t:
    uint32_t size           # bytes, with what follows, a multiple of 8
    uint8_t kind
    uint8_t turn            # RECORD_TURN: KIND_* of the turn
    uint16_t outcome        # RECORD_TURN: 0 handled, else EXIT_*; RECORD_ACCEPTED: number of receivers; RECORD_DEAD: why
    uint32_t port           # whose turn, timer, state; the sender of an accepted message (0: from outside); who does not handle the dead one
    uint32_t receiver       # RECORD_ACCEPTED: the first receiver; RECORD_TIMER: the timer's id; RECORD_DEAD: attempts;
                            # RECORD_TURN: which of that ring's turns the one before was
    uint64_t sequence       # of the message; RECORD_TURN: of its input, 0: none
    uint8_t flags
    uint8_t delivery        # DELIVERY_* of the message for that port
    uint16_t after_ring     # RECORD_TURN: one more than the number of the ring with the agent's turn before this one; 0: there is none
    uint32_t more           # bytes of what follows after a block, or without one
    int64_t at_ns           # monotonic
    int64_t waited_ns       # RECORD_TURN: from mailbox to start
    int64_t spent_ns        # RECORD_TURN: inside the guest

ctypedef struct ring_t:
    char* bytes
    uint64_t capacity       # a power of two
    char pad0[48]
    uint64_t tail           # atomic; written by the producer
    uint64_t head_seen      # the producer's copy of head
    uint64_t asked          # tail when the producer last looked whether the reader should be woken
    uint64_t sequence       # of the last message that this thread accepted
    uint64_t step           # from one sequence number to the next
    uint64_t turns          # RECORD_TURNs of this thread
    char pad1[16]
    uint64_t head           # atomic; written by the consumer
    char pad2[56]

# which of its boot's messages it is; of a ring every `step`-th
cdef inline uint64_t number_of(uint64_t sequence) noexcept nogil:
    return sequence & ((<uint64_t>1 << SEQUENCE_BOOT) - 1)

cdef int ring_init(ring_t* ring, uint64_t capacity) noexcept nogil
cdef void ring_free(ring_t* ring) noexcept nogil
# sets `size` and `more`; *envelope* and *more* may be NULL
cdef bint ring_append(ring_t* ring, record_t* record, const envelope_t* envelope, const void* more=*, uint32_t length=*) noexcept nogil
# for the producer, while nobody reads: at least *capacity* bytes, with what it holds; 0, or -1 when there is no memory
cdef int ring_grow(ring_t* ring, uint64_t capacity) noexcept nogil
# the oldest record, or NULL; valid until ring_advance
cdef record_t* ring_peek(ring_t* ring) noexcept nogil
cdef void ring_advance(ring_t* ring, const record_t* record) noexcept nogil
cdef uint64_t ring_used(const ring_t* ring) noexcept nogil
# what stands behind a record's block, or behind a record without one: `more` bytes
cdef const char* record_more(const record_t* record, const envelope_t* block) noexcept nogil
# a block of its own out of recorded bytes, with one reference; NULL when there is no memory
cdef envelope_t* block_copy(const envelope_t* block) noexcept nogil
