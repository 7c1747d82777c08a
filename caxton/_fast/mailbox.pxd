"""A bounded queue of messages with four priorities, and a lane beside it for the turns that the platform asks for.

Rule 1: first in, first out within one priority.
Rule 2: a higher priority goes first, but after FAIRNESS messages in a row that passed somebody waiting, a lane below has its turn: in a circle from the
        lowest up, so that none of them starves.
Rule 3: the bound is counted in messages and in bytes; a full mailbox refuses, it never drops. Control turns are not counted and never refused.

It knows no lock: the port that holds it has one. Whether it is full, and how much waits, may be asked without it; then it may be otherwise in a moment. `tests/oracles/mailbox.py` is the specification.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from caxton._fast.envelope cimport envelope_t, PRIORITY_COUNT
from caxton._fast.platform cimport cx_peek_u32, cx_peek_u64

cdef enum:
    FAIRNESS = 16
    LANES = 5               # four priorities, then control
    CONTROL_LANE = 4
    FEW = 4                 # a power of two

ctypedef struct lane_t:
    envelope_t** items      # ring; NULL until the first message
    uint32_t head
    uint32_t count
    uint32_t capacity       # a power of two

ctypedef struct mailbox_t:
    uint32_t count          # messages in the four lanes; peeked without the lock
    uint32_t bound
    uint64_t bytes          # peeked without the lock
    uint64_t byte_bound
    uint32_t passed         # messages taken in a row while a lower lane waited
    int32_t last            # the lane that had the last turn out of order
    lane_t lanes[LANES]
    envelope_t* few[FEW]    # the first ring of the lane that most messages take: on the port's own lines

cdef void mailbox_init(mailbox_t* box, uint32_t bound, uint64_t byte_bound) noexcept nogil
# releases what waits
cdef void mailbox_clear(mailbox_t* box) noexcept nogil
# takes over the reference; 0, or -1 when full (the caller keeps its reference)
cdef int mailbox_push(mailbox_t* box, envelope_t* envelope) noexcept nogil
# the same for what was accepted before: it is never full
cdef int mailbox_put(mailbox_t* box, envelope_t* envelope) noexcept nogil
# hands over the reference; NULL when empty. Control turns first.
cdef envelope_t* mailbox_pop(mailbox_t* box) noexcept nogil

# takes out up to *room* messages that end (delivery.pxd) until *now_us*, whose references are handed over; how many. *next_us*: when the first of the others ends, or 0
cdef uint32_t mailbox_take_over(mailbox_t* box, int64_t now_us, envelope_t** out, uint32_t room, int64_t* next_us) noexcept nogil

cdef inline bint mailbox_is_full(const mailbox_t* box) noexcept nogil:
    return cx_peek_u32(&box.count) >= cx_peek_u32(&box.bound) or cx_peek_u64(&box.bytes) >= box.byte_bound

cdef inline bint mailbox_is_empty(const mailbox_t* box) noexcept nogil:
    return box.count == 0 and box.lanes[CONTROL_LANE].count == 0
