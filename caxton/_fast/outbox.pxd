"""From native threads to Trio: one list of events behind a lock, and a descriptor that becomes readable.

Events are made by scheduler threads and read by `Scheduler.drain`. The writer of the descriptor is whoever made the first event since the last read, so a burst
costs one system call. The list has no bound of its own: what fills it is bounded before (log lines by rate, mail by mailbox, calls and
effects by `pending` of the agent, which is not scheduled while it has too many).
"""

from libc.stdint cimport int32_t, int64_t, uint32_t

from caxton._fast.envelope cimport envelope_t
from caxton._fast.platform cimport pthread_mutex_t

ctypedef struct event_t:
    event_t* next
    int32_t kind            # EVENT_*, scheduler.pxd
    uint32_t port
    int64_t a
    int64_t b
    envelope_t* envelope    # one reference, or NULL
    uint32_t name_length    # the first part of the bytes
    uint32_t length         # the second
    char bytes[1]

ctypedef struct outbox_t:
    pthread_mutex_t lock
    event_t* first
    event_t* last
    int32_t notified        # atomic
    int fds[2]

cdef int outbox_init(outbox_t* outbox) noexcept nogil
cdef void outbox_free(outbox_t* outbox) noexcept nogil
cdef event_t* event_new(int kind, uint32_t port, const char* name, size_t name_length, const char* text, size_t length) noexcept nogil
cdef void event_free(event_t* event) noexcept nogil
cdef void outbox_push(outbox_t* outbox, event_t* event) noexcept nogil
cdef void outbox_notify(outbox_t* outbox) noexcept nogil
# takes everything; the caller frees each event
cdef event_t* outbox_take(outbox_t* outbox) noexcept nogil
