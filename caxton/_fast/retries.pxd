"""Messages of one port that wait to be handled again, and those that wait behind them.

Rule 1: a message whose turn failed waits for its due time. Later messages of its conversation wait behind it, in their order; other conversations go on.
Rule 2: a message without a conversation holds nobody back.
Rule 3: what is here is bounded by number and by bytes: when it is full, the port's mailbox waits as a whole. What failed is always taken back.

It knows no lock: the port that holds it has one. `tests/oracles/retries.py` is the specification.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from caxton._fast.envelope cimport envelope_t

cdef enum:
    RETRIES_AT_MOST = 1000
    RETRIES_BYTES_AT_MOST = 16 << 20
    NO_RETRY_DUE = 0x7FFFFFFFFFFFFFFF

ctypedef struct retry_t:
    retry_t* next
    envelope_t* envelope    # one reference
    int64_t due_ns          # monotonic
    uint64_t conversation   # its hash; 0: none
    uint32_t leads          # nobody of its conversation waits before it

ctypedef struct retries_t:
    retry_t* first
    retry_t* last
    uint32_t count
    uint64_t bytes          # of the messages
    int64_t due_ns          # of the first that is due, NO_RETRY_DUE when there is none

cdef inline bint retries_is_full(const retries_t* retries) noexcept nogil:
    return retries.count >= RETRIES_AT_MOST or retries.bytes >= RETRIES_BYTES_AT_MOST

cdef void retries_init(retries_t* retries) noexcept nogil
cdef void retries_clear(retries_t* retries) noexcept nogil
# takes over the reference when it returns 0; -1: no memory. It stands before those of its conversation that wait behind
cdef int retries_put(retries_t* retries, envelope_t* envelope, int64_t due_ns) noexcept nogil
# the message that is due, with its reference, or NULL
cdef envelope_t* retries_take(retries_t* retries, int64_t now) noexcept nogil
# whether the message has to wait behind another of its conversation; then its reference was taken over
cdef bint retries_hold(retries_t* retries, envelope_t* envelope) noexcept nogil
# Some of those whose time has passed, at most *room*, each with its reference; *next_us* becomes the first end of the others, 0: none ends
cdef uint32_t retries_take_over(retries_t* retries, int64_t now_us, envelope_t** out, uint32_t room, int64_t* next_us) noexcept nogil
# the oldest, whether it is due or not, or NULL
cdef envelope_t* retries_pop(retries_t* retries) noexcept nogil
