"""What the records are counted into while metrics are on: histograms, and sums by kind and by agent.

The reader of the record stream (ledger.pxd) tells `Meters` of each record, as it tells `History`. So the scheduler threads count nothing, and no number is shared
between threads. While metrics are off there is no `Meters`, and the reader looks at a pointer that is NULL.

Rule 1: a histogram is exact: a value counts in the first bucket whose bound it does not exceed, as Prometheus has it.
Rule 2: agents are many and their names are anybody's choice, so there are MOST_SERIES sums at most. Which port adds to which is the caller's business; 0 is for
        all others. What ports have counted is added when somebody asks (`gather`): it costs nothing while messages flow.

`tests/oracles/meters.py` is the specification.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from caxton._fast.envelope cimport envelope_t
from caxton._fast.journal cimport OUTSIDE, record_t
from caxton._fast.router cimport Router

cdef extern from *:
    """
    #ifndef CAXTON_METERS_H
    #define CAXTON_METERS_H
    static inline int cx_bits(uint64_t value) { return value ? 64 - __builtin_clzll(value) : 0; }
    #endif
    """
    int cx_bits(uint64_t value) noexcept nogil

cdef enum:
    MOST_BOUNDS = 64
    MOST_SERIES = 10_001
    TURN_KINDS = 8
    OUTCOMES = 16
    ACTS = 32

cdef class Histogram:
    cdef int64_t bounds[MOST_BOUNDS + 1]    # ns, ascending; behind the last stands the largest number there is
    cdef uint64_t counts[MOST_BOUNDS + 1]
    cdef uint8_t first[65]                  # by the bits of a value: the first bound that it may not exceed
    cdef readonly int size                  # bounds
    cdef uint64_t sum_ns

    cdef inline void count(self, int64_t ns) noexcept:
        cdef int i
        if ns < 0:
            ns = 0
        i = self.first[cx_bits(<uint64_t>ns)]
        while ns > self.bounds[i]:
            i += 1
        self.counts[i] += 1
        self.sum_ns += <uint64_t>ns

# of one port: what was added to its series already
ctypedef struct seen_t:
    uint64_t handled
    uint64_t failed
    uint64_t turns_ns
    uint32_t series

ctypedef struct series_t:
    uint64_t handled
    uint64_t failed
    uint64_t turns_ns
    uint64_t waiting        # now, in mailboxes
    uint64_t backlog        # now, in the store

cdef class Meters:
    cdef readonly Histogram waits, turns        # of messages: from mailbox to start, and inside the guest
    cdef uint64_t ends[TURN_KINDS * OUTCOMES]
    cdef uint64_t accepted[2 * ACTS]            # by who sent it (0 an agent, 1 somebody outside) and its act
    cdef seen_t* seen
    cdef uint32_t room                          # of seen
    cdef series_t* series
    cdef uint32_t series_room
    cdef int _make_room(self, uint32_t ports) except -1

    cdef inline void accepted_one(self, const record_t* record) noexcept:
        cdef const envelope_t* block = <const envelope_t*>(<const char*>record + sizeof(record_t))
        self.accepted[(ACTS if record.flags & OUTSIDE else 0) + block.act % ACTS] += 1

    cdef inline void turn_done(self, const record_t* record) noexcept:
        self.ends[record.turn % TURN_KINDS * OUTCOMES + min(record.outcome, OUTCOMES - 1)] += 1
        if record.turn == 0:        # KIND_MESSAGE
            self.waits.count(record.waited_ns)
            self.turns.count(record.spent_ns)
