"""Which deliveries are live: accepted, and neither handled nor dead. A table of those in mailboxes, and for each segment how many there are.

The ledger decides what becomes live and when it ends; this file only counts, and knows from it which segments are settled.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

ctypedef struct live_t:
    uint64_t sequence       # 0: free
    uint64_t position
    uint32_t remaining      # deliveries in mailboxes
    uint32_t port           # of the only receiver; of several: where in `ports` the next one is looked for first
    uint32_t* ports         # remaining ports of several

# whether the port has the message still
cdef bint holds(live_t* entry, uint32_t port) noexcept nogil

cdef class Live:
    cdef live_t* table
    cdef uint64_t capacity
    cdef uint64_t entries               # messages in mailboxes
    cdef uint32_t* live_in              # per segment from `oldest` on
    cdef uint64_t live_room
    cdef uint64_t oldest                # segments below it are settled
    cdef uint64_t live                  # deliveries, those in the store included
    cdef live_t* find(self, uint64_t sequence) noexcept
    # one more delivery of the message
    cdef int add(self, uint64_t sequence, uint64_t position, uint32_t port) except -1
    # the port has the message no more
    cdef void leave(self, live_t* entry, uint32_t port) noexcept
    cdef int count(self, uint64_t segment, int64_t change) except -1
    cdef uint64_t count_in(self, uint64_t segment) noexcept
    # move `oldest` on to the first segment with a live delivery, at most to *end*
    cdef void settle(self, uint64_t end) noexcept
    cdef void _remove(self, live_t* entry) noexcept
    cdef int _rehash(self, uint64_t capacity) except -1
