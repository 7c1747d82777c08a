"""Native threads, their run queues, and the ticker. What one run of a port does is a function that the scheduler gives.

Rule 1: a port stands in at most one queue, and is run by at most one thread (`port_t.schedule` under the port's lock).
Rule 2: a thread pushes to its own queue and takes from it first; one without work takes half of another's. So two agents that talk stay on one core. Once a
    tick, who has much less than another takes half of the difference.
Rule 3: a queue has two lanes. In the second stand those whose last run used up a whole slice: it has one run for each slice of time that the first had, so
    however many guests spin, who answers at once waits for one slice of theirs and not for all.
Rule 4: the ticker moves the epoch only while a thread runs; with nothing to do it waits for the next due time, or for ever. Who unparks a thread wakes the ticker too:
    the thread has a message to handle.
Rule 5: of a long queue, a thread asks the memory for what the next run will touch while one goes on (ahead.pxd).
Rule 6: each thread publishes the router version at which it held nothing (`seen`), for reclamation.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from caxton._fast.activity cimport activity_t
from caxton._fast.journal cimport ring_t
from caxton._fast.outbox cimport outbox_t
from caxton._fast.platform cimport pthread_cond_t, pthread_mutex_t, pthread_t
from caxton._fast.router cimport port_t, router_t, targets_t

cdef enum:
    # port_t.schedule
    IDLE = 0
    QUEUED = 1
    RUNNING = 2
    PARKED = 3              # waits for a due time or an answer; a push does not queue it

    # worker_t.lanes
    PROMPT = 0
    SPENT = 1               # the last run used up its slice

ctypedef struct due_t:
    int64_t at_ns
    port_t* port            # holds a reference

ctypedef struct queue_t:
    port_t** items          # ring
    uint32_t head
    uint32_t capacity
    int32_t count           # peeked without the lock

ctypedef struct worker_t:
    pool_t* pool
    int index
    pthread_t thread
    pthread_mutex_t lock    # guards the lanes and `parked`
    pthread_cond_t wake
    queue_t lanes[2]        # PROMPT, SPENT
    int64_t prompt_until    # PROMPT has the thread up to then, when somebody waits in SPENT; only the thread itself reads it
    int32_t parked
    int32_t stolen_any      # the ticker's word: take even a single entry
    int32_t level           # the ticker's word: another has much more
    int32_t stuck           # atomic: for so many ticks it counts as held up by a guest, and what comes from outside goes to another
    uint64_t seen           # atomic
    ring_t ring             # records of this thread
    targets_t targets       # scratch of this thread
    uint64_t runs
    uint64_t turns          # that were done
    uint64_t chance         # state of a generator; for backoffs
    activity_t activity     # what it does, for the profiler
    char pad[64]

ctypedef void (*run_t)(pool_t* pool, worker_t* worker, port_t* port) noexcept nogil
ctypedef void (*tick_t)(void* context) noexcept nogil
ctypedef void (*leave_t)(pool_t* pool, port_t* port) noexcept nogil

ctypedef struct pool_t:
    run_t run               # takes over the queue's reference to the port
    tick_t tick             # every slice while a thread runs: moves the epoch
    leave_t leave           # of what stands in a queue when the threads have ended; takes over the reference
    void* context
    router_t* router
    outbox_t* outbox
    void* tracker           # conversation.pxd tracker_t*; NULL: no conversation is followed
    worker_t* workers
    int32_t count
    int32_t idle            # atomic: parked workers; lowered by who unparks one
    int32_t stopping        # atomic: the workers end
    int32_t over            # atomic: they have ended, the ticker ends too
    int32_t running         # workers that were started
    int64_t slice_ns
    int32_t retry_attempts  # turns of one message after the first, before it is dead
    int64_t retry_delay_ns  # before the first of them; it doubles with each
    bint unrecorded         # no record is written: only to measure what they cost
    int32_t fail_released   # atomic: passes of the failpoint `turn-released` that are left, 0: it is not armed
    int32_t turn            # atomic: whose queue the next outside push goes to
    bint started
    bint ticking
    pthread_t ticker
    pthread_mutex_t ticker_lock     # guards the heap and `resting`
    pthread_cond_t ticker_wake
    bint resting            # for longer than a slice, since nobody runs; who unparks a thread, or has an earlier due time, wakes the ticker
    int64_t rest_until_ns
    due_t* heap
    uint32_t heap_count
    uint32_t heap_room

cdef int pool_init(pool_t* pool, int count, uint64_t ring_bytes) noexcept nogil
cdef int pool_start(pool_t* pool) noexcept nogil
# joins the threads; what stands in queues goes to `leave`
cdef void pool_stop(pool_t* pool) noexcept nogil
cdef void pool_free(pool_t* pool) noexcept nogil
# takes over a reference; *worker* is the calling thread's, or NULL from outside
cdef void pool_push(pool_t* pool, worker_t* worker, port_t* port, int lane=*) noexcept nogil
# run the port again at *at_ns* if it is still PARKED; takes over a reference
cdef void pool_push_at(pool_t* pool, port_t* port, int64_t at_ns) noexcept nogil
# the version up to which everything retired can be freed
cdef uint64_t pool_seen(pool_t* pool) noexcept nogil
# queue a port that is PARKED, or idle with a message to try again; True when it was
cdef bint pool_unpark(pool_t* pool, worker_t* worker, port_t* port) noexcept nogil
