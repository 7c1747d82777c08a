"""What the records said: counters, latencies, and the recent messages.

It is told of each record that the ledger reads, adds up what they say per port and in all, and keeps the last accepted messages (bounded by number and bytes)
under a number that only grows. Live taps are a cursor into the same numbers.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from caxton._fast.envelope cimport envelope_t
from caxton._fast.journal cimport record_t
from caxton._fast.router cimport Router

cdef enum:
    # latencies are counted in BUCKETS: 16 per power of two of nanoseconds, 6 % wide
    BUCKETS = 1024

ctypedef struct entry_t:
    uint64_t offset         # into the bytes
    uint32_t size

cdef class History:
    cdef Router router
    cdef char* _bytes
    cdef uint64_t _capacity     # of the bytes
    cdef uint64_t _written      # bytes ever written
    cdef entry_t* _entries
    cdef uint64_t _room         # entries
    cdef uint64_t _oldest       # sequence number of the oldest message that is kept
    cdef uint64_t _next         # sequence number of the next message
    cdef uint64_t _hops[BUCKETS]
    cdef readonly uint64_t accepted
    cdef readonly uint64_t handled
    cdef readonly uint64_t failed
    cdef void accepted_one(self, const record_t* record) noexcept
    cdef void turn_done(self, const record_t* record) noexcept
    cdef void _keep(self, const envelope_t* block) noexcept
