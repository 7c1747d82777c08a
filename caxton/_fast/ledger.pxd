"""The one reader of the record rings, and what it knows: which deliveries were accepted and are not handled yet, and where their messages lie.

What is durable goes, in the order in which it was read, into the *segment* that is being filled; the store writes a segment as one row. A turn's group lands in one
segment as a whole, and never before the message that it handled.

    ring 0 (outside), 1..n (threads) → read → History (counters, recent messages) and segment → take → the store's COMMIT → committed → acknowledgements

Rule 1: a turn whose input is not known yet waits, with all that its ring holds behind it, until the ring with that message has been read. So does a turn whose
        agent had its last one on another thread, until that was read: what one agent sends and writes keeps its order.
Rule 2: a *position* is where an accepted message lies: the segment's number << 24 | its place in the segment / 8.
Rule 3: a delivery is *live* from its message's acceptance to the end of its turn. A segment without live deliveries is settled.
Rule 4: what waits in the store and not in a mailbox is the port's *backlog*: positions, oldest first.

What segments look like is in segment.pxd, what is live in live.pxd, the start in recovery.pxd. It knows no SQL and no files. All of it runs on the thread that runs Trio, with the interpreter's lock.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from caxton._fast.backlog cimport Backlog
from caxton._fast.envelope cimport envelope_t
from caxton._fast.history cimport History
from caxton._fast.journal cimport record_t, ring_t
from caxton._fast.live cimport Live
from caxton._fast.recovery cimport Recovery
from caxton._fast.router cimport Router
from caxton._fast.segment cimport bytes_t

ctypedef struct named_t:
    uint64_t segment
    uint32_t port

ctypedef struct reading_t:
    bytes_t group           # records of a turn whose end was not read yet
    uint64_t told           # what turns changed was told of the records below this place of the ring
    uint32_t told_turns     # turns below it; they wrap around
    uint32_t turns          # turns that were read
    uint64_t through        # sequence number of the last message of this ring that was read
    uint64_t taken          # the same when the batch was taken
    uint64_t committed      # and when its commit had returned

cdef class Ledger:
    cdef Router router
    cdef History history
    cdef readonly bint keeps            # False: nothing is written, everything is as good as committed
    cdef readonly uint64_t boot
    cdef reading_t* rings
    cdef ring_t** written               # the scheduler's
    cdef int ring_count
    cdef bytes_t filling
    cdef readonly uint64_t next_segment # the number that the segment being filled will have
    cdef object batch                   # taken, and not committed
    cdef list state
    cdef list timers
    cdef list dead
    cdef uint64_t beside                # bytes in these lists
    cdef uint64_t messages
    cdef bint needs_sync
    cdef Live deliveries
    cdef Recovery recovery              # while segments are recovered
    # names of ports in the segment being filled
    cdef dict owners                    # port -> owner
    cdef named_t* named                 # by port % room: which of these ports was named last, and in which segment
    cdef uint32_t named_room            # a power of two
    cdef dict closed                    # port -> how far each ring was written when it was closed, until nothing refers to it any more
    cdef uint64_t tidy_at               # ports in `closed`
    cdef list late                      # closed ports with a backlog that came after they were forgotten
    cdef readonly dict backlogs         # port -> Backlog
    cdef dict waiting                   # owner -> Backlog, before it has a port
    cdef dict strangers                 # owner without a port -> a number for segments
    cdef dict pieces                    # ring -> pieces of a changes block
    cdef int32_t fail_recorded          # passes of the failpoint `turn-recorded` that are left, 0: it is not armed
    cdef int open_rings(self, ring_t** rings, int count) except -1
    cdef int read(self, ring_t** rings, list events) except -1
    cdef bint _has_something(self) noexcept
    cdef bint _is_read(self, uint64_t sequence) noexcept
    cdef int _ring(self, ring_t** rings, int k, list events) except -1
    cdef int _tell_all(self, ring_t** rings, list events) except -1
    cdef int _tell_ring(self, ring_t* ring, reading_t* reading, list events) except -1
    cdef int _apply(self, reading_t* reading, record_t* record) except -1
    cdef int _tell(self, ring_t* ring, reading_t* reading, uint64_t at, uint64_t end, list events) except -1
    cdef int _set_aside(self, ring_t* ring, reading_t* reading, uint64_t end) except -1
    cdef int _apply_aside(self, reading_t* reading) except -1
    cdef int _accepted(self, record_t* record) except -1
    cdef int _spilled(self, record_t* record) except -1
    cdef int _died(self, record_t* record) except -1
    cdef int _handled(self, int kind, uint32_t outcome, uint64_t sequence, uint32_t port, uint32_t attempts) except -1
    cdef str _owner(self, uint32_t port)
    cdef Backlog _backlog(self, uint32_t port)
    cdef bint _is_written(self, uint64_t segment)
    cdef Backlog _spill(self, uint32_t port)
    cdef int closing(self, uint32_t port) except -1
    cdef int _tidy(self) except -1
    cdef envelope_t* _block_at(self, uint32_t port_id, uint64_t position, bytes records) except? NULL
    # of the port's backlog in this segment: messages whose time has passed, out of it and live from now on; how many others there are; when the first of them ends
    cdef tuple overdue(self, uint32_t port_id, uint64_t segment, bytes records, int64_t now_us)
    # give up the next of the port's backlog, when it lies in this segment, whose bytes are not to be trusted: a dead letter with what there is of it
    cdef bint skip(self, uint32_t port_id, uint64_t segment, bytes records, int reason, str text) except -1
    cdef uint32_t _stranger(self, str owner)
    # the next message of the port's backlog, live from now on; `moved` or `not_moved` says what became of it
    cdef envelope_t* next_of(self, uint32_t port_id, uint64_t segment, bytes records) except? NULL
    cdef int moved(self, uint32_t port_id) except -1
    cdef int not_moved(self, uint32_t port_id, uint64_t sequence) except -1
    cdef uint64_t _carry(self, int flags, uint64_t sequence, list numbers, const char* order, const char* frame, uint64_t size) except 0
    cdef int _name(self, uint32_t port) except -1
