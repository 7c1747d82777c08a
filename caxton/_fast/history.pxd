"""What the records said: counters, latencies, and the recent messages.

It is told of each record that the ledger reads, adds up what they say per port and in all, and keeps the last accepted messages (bounded by number and bytes)
under a number that only grows. Live taps are a cursor into the same numbers.

Each kept message has with it what became of it. The ledger knows a message by its sequence number, which counts up in its ring, so `_places` finds it without a
search; who asks knows its id, and is served by an index that is only brought up to date when somebody asks: it costs nothing while messages flow.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from caxton._fast.envelope cimport envelope_t
from caxton._fast.journal cimport record_t
from caxton._fast.meters cimport Meters
from caxton._fast.router cimport Router
from caxton._fast.spans cimport Spans

cdef enum:
    # latencies are counted in BUCKETS: 16 per power of two of nanoseconds, 6 % wide
    BUCKETS = 1024
    RINGS = 1024

ctypedef struct entry_t:
    uint64_t offset         # into the bytes
    uint32_t size
    uint16_t receivers
    uint16_t waiting        # of them: those for whom it waits in the store
    uint16_t handled
    uint16_t failed
    uint16_t outcome        # of the last one that failed: a dead letter's reason
    uint64_t sequence       # 0: not known
    int64_t changed_us      # when it was handled or failed last; 0: not yet, or in an earlier process

cdef class History:
    cdef Router router
    cdef public Spans spans         # is told of every turn of a message that it keeps; None: nothing is traced
    cdef public Meters meters       # is told of every record too; None: metrics are off
    cdef char* _bytes
    cdef uint64_t _capacity     # of the bytes
    cdef uint64_t _written      # bytes ever written
    cdef entry_t* _entries
    cdef uint64_t _room         # entries
    cdef uint64_t _oldest       # sequence number of the oldest message that is kept
    cdef uint64_t _next         # sequence number of the next message
    cdef uint64_t _hops[BUCKETS]
    cdef uint32_t rings             # how many there are
    cdef uint64_t* _places[RINGS]   # of each ring that was heard of: count of a message % room -> its number
    cdef uint64_t* _index           # by hash of the message's id: its number; 0: free
    cdef uint64_t _index_room
    cdef uint64_t _index_used
    cdef uint64_t _indexed          # numbers below it are in the index
    cdef int64_t _clock_us          # wall clock at monotonic 0
    cdef uint64_t _buried           # sequence of the last dead letter, until the turn that it belongs to ends
    cdef readonly set watched       # sequences of messages whose end somebody wants to know
    cdef readonly list ended        # those of them that have ended
    cdef readonly uint64_t accepted
    cdef readonly uint64_t handled
    cdef readonly uint64_t failed
    cdef void accepted_one(self, const record_t* record) noexcept
    cdef int turn_done(self, const record_t* record) except -1
    cdef int died(self, const record_t* record) except -1
    cdef void spilled(self, uint64_t sequence, int change) noexcept
    cdef int ended_one(self, uint64_t sequence, uint32_t outcome, int64_t at_us) except -1
    cdef bint knows(self, uint64_t sequence) noexcept
    cdef void _keep(self, const envelope_t* block, uint64_t sequence, uint32_t receivers, uint32_t waiting) noexcept
    cdef entry_t* _entry(self, uint64_t sequence) noexcept
    cdef int _bring_index(self) except -1
