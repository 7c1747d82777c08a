"""Turns on scheduler threads, and the way of a message between them.

`send` finds the ports of a message and appends its record; `deliver` puts it into a mailbox and queues the port; `run` takes it out, runs the turn as far as the
slice goes, and `commit` sends what the turn sent. A reply of a guest goes through the same `send` as a message from outside.

Rule 1: no Python object is touched here; this is all that scheduler threads run.
Rule 2: no lock is held across a guest call.
Rule 3: effects of a turn leave in `commit` or not at all.

It does not know who asks for what: scheduler.pyx, Trio's side, does.
"""

from libc.stdint cimport int64_t

from caxton._fast.envelope cimport envelope_t
from caxton._fast.journal cimport ring_t
from caxton._fast.router cimport port_t, targets_t
from caxton._fast.workers cimport pool_t, worker_t

cdef enum:
    # port_t.wanted: bits of what Python asked for
    WANT_DROP = 1
    WANT_DRAINED = 2

    REFILL_WINDOW = 1024        # messages of a backlog that stand in the mailbox

# Route one message of *source* (NULL: from outside). *target*: its only receiver, when that is known already. Takes over the reference when it returns the
# number of receivers, else a SEND_* code.
cdef int send(
    pool_t* pool, worker_t* worker, ring_t* ring, targets_t* targets, envelope_t* envelope, port_t* target, port_t* source,
    int64_t now
) noexcept nogil
# under the port's lock: its mailbox has become low and the store has more for it; EVENT_REFILL is to be sent
cdef bint wants_refill(port_t* port) noexcept nogil
# EXIT_EXPIRED or EXIT_LATE when the message's time has passed, else 0
cdef int is_over(const envelope_t* turn) noexcept nogil
# pool_t.run: what a thread does with a port that stood in its queue
cdef void run(pool_t* pool, worker_t* worker, port_t* port) noexcept nogil
# what is done with a queued port when the threads have ended
cdef void let_go(pool_t* pool, port_t* port) noexcept nogil
# pool_t.tick; the context is a world_t
cdef void next_epoch(void* context) noexcept nogil
