"""See workers.pxd for the rules."""

# Over 500 lines: queues, due times, threads and ticker wake one another, in an order that only shows side by side.

# Over 500 lines, just: threads, queues and the ticker wake each other, and are read together for a lost wake-up.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

from caxton._fast.activity cimport DO_IDLE, DO_SCHEDULE, set_activity
from caxton._fast.ahead cimport fetch_ahead, fetch_lines, PORT_LINES
from caxton._fast.journal cimport ring_free, ring_init, ring_used
from caxton._fast.outbox cimport outbox_notify
from caxton._fast.platform cimport (
    cx_add_i32,
    cx_cond_init,
    cx_cond_wait_ns,
    cx_fence,
    cx_load_i32,
    cx_load_u64,
    cx_monotonic_ns,
    cx_peek_i32,
    cx_peek_ptr,
    cx_peek_u64,
    cx_poke_i32,
    cx_store_i32,
    cx_store_u64,
    cx_thread_start,
    pthread_cond_destroy,
    pthread_cond_signal,
    pthread_cond_wait,
    pthread_join,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)
from caxton._fast.router cimport port_release, port_retain, port_t, targets_free

cdef extern from * nogil:
    """
    #include <pthread.h>
    /* the calling thread, as `top -H` and debuggers show it; 15 characters */
    static inline void name_thread(const char *name) {
    #ifdef __APPLE__
        pthread_setname_np(name);
    #else
        pthread_setname_np(pthread_self(), name);
    #endif
    }
    """
    void name_thread(const char* name)

cdef enum:
    NOT_LOOKING = 1             # outside of any table: nothing retired is held back
    THREAD_STACK = 1 << 20
    STEAL_AT_MOST = 64
    FAR = 4                     # a port is asked for so many runs before its own, and what it points to one run before
    LEVEL_FROM = 8              # fewer are not worth to be carried to another core
    NOTIFY_NS = 3_000_000       # records wait this long before Trio is woken for them alone
    STOPPING_SLICE_NS = 1_000_000


# -- queues ----------------------------------------------------------------------------------------------------------

cdef int queue_put(queue_t* queue, port_t* port) noexcept nogil:
    """Under the worker's lock."""
    cdef port_t** larger
    cdef uint32_t i, capacity
    if <uint32_t>queue.count == queue.capacity:
        capacity = queue.capacity * 2 if queue.capacity else 64
        larger = <port_t**>malloc(capacity * sizeof(port_t*))
        if larger == NULL:
            return -1
        for i in range(<uint32_t>queue.count):
            larger[i] = queue.items[(queue.head + i) & (queue.capacity - 1)]
        free(queue.items)
        queue.items = larger
        queue.capacity = capacity
        queue.head = 0
    queue.items[(queue.head + <uint32_t>queue.count) & (queue.capacity - 1)] = port
    cx_store_i32(&queue.count, queue.count + 1)
    return 0


cdef port_t* queue_take(queue_t* queue) noexcept nogil:
    """Under the worker's lock."""
    cdef port_t* port
    if queue.count == 0:
        return NULL
    port = queue.items[queue.head]
    queue.head = (queue.head + 1) & (queue.capacity - 1)
    cx_store_i32(&queue.count, queue.count - 1)
    return port


cdef inline port_t* look(const queue_t* queue, int32_t at) noexcept nogil:
    """Under the worker's lock: who is so far behind the first; NULL: nobody."""
    return queue.items[(queue.head + <uint32_t>at) & (queue.capacity - 1)] if at < queue.count else NULL


cdef inline int32_t waiting(const worker_t* worker) noexcept nogil:
    """In both lanes; without the lock it may be otherwise in a moment."""
    return cx_peek_i32(&worker.lanes[PROMPT].count) + cx_peek_i32(&worker.lanes[SPENT].count)


cdef port_t* take_next(worker_t* worker) noexcept nogil:
    """Under the worker's lock. The lane SPENT has its run when PROMPT is empty or had the thread for a slice."""
    cdef port_t* port
    if worker.lanes[SPENT].count == 0:
        return queue_take(&worker.lanes[PROMPT])
    if worker.lanes[PROMPT].count and cx_monotonic_ns() < worker.prompt_until:
        return queue_take(&worker.lanes[PROMPT])
    port = queue_take(&worker.lanes[SPENT])
    # from the end of this run, which takes a slice as a rule
    worker.prompt_until = cx_monotonic_ns() + 2 * worker.pool.slice_ns
    return port


cdef inline bint unpark(worker_t* worker) noexcept nogil:
    """Under its lock; True when it was parked. Then `rouse` follows, without the lock, which the thread needs at once."""
    if not worker.parked:
        return False
    cx_store_i32(&worker.parked, 0)
    return True


cdef void rouse(worker_t* worker) noexcept nogil:
    """Whoever unparks a thread also takes it from the idle ones and wakes the ticker, when it rests: the thread has a message to handle."""
    cdef pool_t* pool = worker.pool
    cdef int32_t idle = cx_add_i32(&pool.idle, -1)
    pthread_cond_signal(&worker.wake)
    if idle == pool.count - 1:
        # the first to run again: the epoch has to move
        pthread_mutex_lock(&pool.ticker_lock)
        if pool.resting:
            pthread_cond_signal(&pool.ticker_wake)
        pthread_mutex_unlock(&pool.ticker_lock)


cdef bint wake(worker_t* worker) noexcept nogil:
    cdef bint woken
    pthread_mutex_lock(&worker.lock)
    woken = unpark(worker)
    pthread_mutex_unlock(&worker.lock)
    if woken:
        rouse(worker)
    return woken


cdef void wake_one(pool_t* pool, bint steal_any) noexcept nogil:
    cdef int i
    for i in range(pool.count):
        if cx_peek_i32(&pool.workers[i].parked):
            if steal_any:
                cx_store_i32(&pool.workers[i].stolen_any, 1)
            if wake(&pool.workers[i]):
                return


cdef worker_t* next_worker(pool_t* pool, uint32_t turn) noexcept nogil:
    """For what comes from outside: one that is parked, else the next that is not held up by a guest."""
    cdef worker_t* worker
    cdef worker_t* chosen = NULL
    cdef bint idle = cx_peek_i32(&pool.idle) > 0
    cdef int i
    for i in range(pool.count):
        worker = &pool.workers[(turn + <uint32_t>i) % <uint32_t>pool.count]
        if idle and cx_peek_i32(&worker.parked):
            return worker
        if chosen == NULL and not cx_peek_i32(&worker.stuck):
            chosen = worker
            if not idle:
                break
    return chosen if chosen != NULL else &pool.workers[turn % <uint32_t>pool.count]


cdef void pool_push(pool_t* pool, worker_t* worker, port_t* port, int lane=PROMPT) noexcept nogil:
    cdef worker_t* chosen = worker
    cdef int failed
    cdef bint woken
    if worker == NULL:
        chosen = next_worker(pool, <uint32_t>cx_add_i32(&pool.turn, 1))
    pthread_mutex_lock(&chosen.lock)
    failed = queue_put(&chosen.lanes[lane], port)
    woken = worker == NULL and unpark(chosen)
    pthread_mutex_unlock(&chosen.lock)
    if woken:
        rouse(chosen)
    if failed:
        # no memory for the queue: the due heap is the other way to the port, tried a slice later
        pool_push_at(pool, port, 0)
    elif worker != NULL and waiting(chosen) > 1 and cx_peek_i32(&pool.idle):
        wake_one(pool, False)


cdef int32_t take_half(worker_t* victim, int32_t kept, port_t** taken, int32_t* prompt) noexcept nogil:
    """Half of what *victim* has above *kept*, of each lane its share; *prompt*: how many are of the first lane."""
    cdef int32_t n = 0, wanted
    pthread_mutex_lock(&victim.lock)
    wanted = min((waiting(victim) - kept + 1) // 2, <int32_t>STEAL_AT_MOST)
    while n < wanted and n < (victim.lanes[PROMPT].count + n + 1) // 2 and victim.lanes[PROMPT].count:
        taken[n] = queue_take(&victim.lanes[PROMPT])
        n += 1
    prompt[0] = n
    while n < wanted and victim.lanes[SPENT].count:
        taken[n] = queue_take(&victim.lanes[SPENT])
        n += 1
    pthread_mutex_unlock(&victim.lock)
    return n


cdef port_t* steal_from(pool_t* pool, worker_t* thief, worker_t* victim, int32_t kept) noexcept nogil:
    """The first of what was taken; the rest stands in the thief's lanes."""
    cdef port_t* taken[STEAL_AT_MOST]
    cdef int32_t prompt = 0, n = take_half(victim, kept, taken, &prompt), k
    if n > 1:
        pthread_mutex_lock(&thief.lock)
        for k in range(1, n):
            if queue_put(&thief.lanes[PROMPT if k < prompt else SPENT], taken[k]):
                pool_push_at(pool, taken[k], 0)
        pthread_mutex_unlock(&thief.lock)
    return taken[0] if n > 0 else NULL


cdef port_t* steal(pool_t* pool, worker_t* thief) noexcept nogil:
    cdef worker_t* victim
    cdef port_t* port
    cdef int32_t least = 1 if cx_load_i32(&thief.stolen_any) else 2
    cdef int i
    cx_store_i32(&thief.stolen_any, 0)
    for i in range(1, pool.count):
        victim = &pool.workers[(thief.index + i) % pool.count]
        if waiting(victim) < least:
            continue
        port = steal_from(pool, thief, victim, 0)
        if port != NULL:
            return port
    return NULL


cdef void level(pool_t* pool, worker_t* worker) noexcept nogil:
    """Take half of the difference to the fullest queue."""
    cdef worker_t* fullest = worker
    cdef port_t* port
    cdef int i
    cx_store_i32(&worker.level, 0)
    for i in range(pool.count):
        if waiting(&pool.workers[i]) > waiting(fullest):
            fullest = &pool.workers[i]
    if is_much_more(waiting(fullest), waiting(worker)):
        port = steal_from(pool, worker, fullest, waiting(worker))
        if port != NULL:
            pool_push(pool, worker, port)


cdef inline bint is_much_more(int32_t most, int32_t least) noexcept nogil:
    return most > 2 * least + LEVEL_FROM


cdef void ask_to_level(pool_t* pool) noexcept nogil:
    """The ticker: a thread whose queue never ends would not look at the others'."""
    cdef int32_t most = 0, least = 0x7FFFFFFF, n
    cdef int i, poorest = 0
    for i in range(pool.count):
        n = waiting(&pool.workers[i])
        most = max(most, n)
        if n < least:
            least = n
            poorest = i
    if is_much_more(most, least):
        cx_store_i32(&pool.workers[poorest].level, 1)


# -- due times -------------------------------------------------------------------------------------------------------

cdef void pool_push_at(pool_t* pool, port_t* port, int64_t at_ns) noexcept nogil:
    cdef due_t* larger
    cdef uint32_t i, parent
    pthread_mutex_lock(&pool.ticker_lock)
    if pool.heap_count == pool.heap_room:
        larger = <due_t*>realloc(pool.heap, (pool.heap_room * 2 + 64) * sizeof(due_t))
        if larger == NULL:
            # no memory: the port is woken by its next message or answer instead
            pthread_mutex_unlock(&pool.ticker_lock)
            port_release(pool.router, port)
            return
        pool.heap = larger
        pool.heap_room = pool.heap_room * 2 + 64
    i = pool.heap_count
    pool.heap_count += 1
    while i:
        parent = (i - 1) // 2
        if pool.heap[parent].at_ns <= at_ns:
            break
        pool.heap[i] = pool.heap[parent]
        i = parent
    pool.heap[i].at_ns = at_ns
    pool.heap[i].port = port
    if pool.resting and at_ns < pool.rest_until_ns:
        pthread_cond_signal(&pool.ticker_wake)
    pthread_mutex_unlock(&pool.ticker_lock)


cdef port_t* heap_take(pool_t* pool, int64_t now) noexcept nogil:
    """The next port that is due, or NULL. Under the ticker's lock."""
    cdef port_t* port
    cdef due_t last
    cdef uint32_t i = 0, child
    if pool.heap_count == 0 or pool.heap[0].at_ns > now:
        return NULL
    port = pool.heap[0].port
    pool.heap_count -= 1
    last = pool.heap[pool.heap_count]
    while True:
        child = i * 2 + 1
        if child >= pool.heap_count:
            break
        if child + 1 < pool.heap_count and pool.heap[child + 1].at_ns < pool.heap[child].at_ns:
            child += 1
        if last.at_ns <= pool.heap[child].at_ns:
            break
        pool.heap[i] = pool.heap[child]
        i = child
    pool.heap[i] = last
    return port


cdef bint pool_unpark(pool_t* pool, worker_t* worker, port_t* port) noexcept nogil:
    cdef bint parked
    pthread_mutex_lock(&port.lock)
    parked = (port.schedule == PARKED or (port.schedule == IDLE and port.retries.count and port.agent != NULL)) and port_retain(port)
    if parked:
        port.schedule = QUEUED
    pthread_mutex_unlock(&port.lock)
    if parked:
        pool_push(pool, worker, port)
    return parked


# -- threads ---------------------------------------------------------------------------------------------------------

cdef void park(pool_t* pool, worker_t* worker) noexcept nogil:
    cdef bint has_work, woken_by_itself
    cdef int i
    pthread_mutex_lock(&worker.lock)
    cx_store_i32(&worker.parked, 1)
    cx_add_i32(&pool.idle, 1)
    cx_store_u64(&worker.seen, <uint64_t>-NOT_LOOKING)
    cx_fence()
    has_work = waiting(worker) or cx_load_i32(&pool.stopping)
    for i in range(pool.count):
        if i != worker.index and waiting(&pool.workers[i]) > 1:
            has_work = True
    set_activity(&worker.activity, DO_IDLE)
    while worker.parked and not has_work and not cx_load_i32(&pool.stopping):
        pthread_cond_wait(&worker.wake, &worker.lock)
    set_activity(&worker.activity, DO_SCHEDULE)
    woken_by_itself = unpark(worker)
    pthread_mutex_unlock(&worker.lock)
    if woken_by_itself:
        rouse(worker)


cdef void* work(void* argument) noexcept nogil:
    cdef worker_t* worker = <worker_t*>argument
    cdef pool_t* pool = worker.pool
    cdef port_t* port
    cdef port_t* following
    cdef port_t* later
    name_thread("caxton agents")
    set_activity(&worker.activity, DO_SCHEDULE)
    while not cx_load_i32(&pool.stopping):
        cx_store_u64(&worker.seen, cx_load_u64(&pool.router.version))
        cx_fence()
        if cx_peek_i32(&worker.level):
            level(pool, worker)
        pthread_mutex_lock(&worker.lock)
        port = take_next(worker)
        following = look(&worker.lanes[PROMPT], 0)
        later = look(&worker.lanes[PROMPT], FAR)
        pthread_mutex_unlock(&worker.lock)
        if later != NULL:
            # Many wait: what they need is in no cache. No port is freed before this thread looks again
            fetch_lines(later, 0, 2 + PORT_LINES)
            fetch_ahead(&following.ahead, cx_peek_ptr(&following.agent))
        if port == NULL and pool.count > 1:
            port = steal(pool, worker)
        if port == NULL:
            park(pool, worker)
            continue
        cx_store_u64(&worker.runs, worker.runs + 1)
        cx_poke_i32(&worker.activity.port, <int32_t>port.id)
        pool.run(pool, worker, port)
        cx_poke_i32(&worker.activity.port, 0)
        set_activity(&worker.activity, DO_SCHEDULE)
    set_activity(&worker.activity, DO_IDLE)
    return NULL


cdef bint records_wait(pool_t* pool) noexcept nogil:
    cdef int i
    for i in range(pool.count):
        if ring_used(&pool.workers[i].ring):
            return True
    return False


cdef void* tick(void* argument) noexcept nogil:
    cdef pool_t* pool = <pool_t*>argument
    cdef port_t* port
    cdef int64_t now, notified = 0, rest
    cdef bint active
    cdef int i
    cdef uint64_t runs[64]
    name_thread("caxton ticker")
    memset(runs, 0, sizeof(runs))
    # the epoch moves until the last worker has ended: a guest that spins lets go of its thread only by it
    while not cx_load_i32(&pool.over):
        now = cx_monotonic_ns()
        if now - notified >= NOTIFY_NS and records_wait(pool):
            outbox_notify(pool.outbox)
            notified = now
        pthread_mutex_lock(&pool.ticker_lock)
        active = cx_load_i32(&pool.idle) < pool.count
        rest = min(pool.slice_ns, <int64_t>STOPPING_SLICE_NS) if cx_load_i32(&pool.stopping) else pool.slice_ns
        if not active and not records_wait(pool):
            # nobody runs: until something is due, or for as long as nothing is
            rest = pool.heap[0].at_ns - now if pool.heap_count else -1
        if cx_load_i32(&pool.over) or (rest != -1 and rest <= 0):
            pass
        else:
            # for a slice it is not worth to be woken
            pool.resting = not active and rest != pool.slice_ns
            pool.rest_until_ns = now + rest if rest != -1 else <int64_t>0x7FFFFFFFFFFFFFFF
            # who became active before `resting` was set is seen here, who comes later signals; while somebody runs, no one needs to
            cx_fence()
            if rest != -1:
                cx_cond_wait_ns(&pool.ticker_wake, &pool.ticker_lock, rest)
            elif cx_load_i32(&pool.idle) == pool.count:
                pthread_cond_wait(&pool.ticker_wake, &pool.ticker_lock)
            pool.resting = False
        now = cx_monotonic_ns()
        while True:
            port = heap_take(pool, now)
            if port == NULL:
                break
            pthread_mutex_unlock(&pool.ticker_lock)
            pool_unpark(pool, NULL, port)
            port_release(pool.router, port)
            pthread_mutex_lock(&pool.ticker_lock)
        pthread_mutex_unlock(&pool.ticker_lock)
        if active:
            # Before the epoch moves: right after it, whoever spins stands in its queue for an instant, and a thief would carry it to the
            # thread that has time for others.
            if cx_peek_i32(&pool.idle):
                # a thread that has not come back to its queue since the last tick leaves even a single entry to others
                for i in range(pool.count):
                    if waiting(&pool.workers[i]) > 0 and i < 64 and cx_peek_u64(&pool.workers[i].runs) == runs[i]:
                        wake_one(pool, True)
                        break
            for i in range(pool.count):
                if i < 64:
                    runs[i] = cx_peek_u64(&pool.workers[i].runs)
                if cx_peek_i32(&pool.workers[i].stuck) > 0:
                    cx_add_i32(&pool.workers[i].stuck, -1)
            if pool.count > 1:
                ask_to_level(pool)
            pool.tick(pool.context)
    return NULL


cdef uint64_t pool_seen(pool_t* pool) noexcept nogil:
    cdef uint64_t least = <uint64_t>-1, seen
    cdef int i
    if not pool.started:
        return least
    cx_fence()
    for i in range(pool.count):
        seen = cx_load_u64(&pool.workers[i].seen)
        least = min(least, seen)
    return least


cdef int pool_init(pool_t* pool, int count, uint64_t ring_bytes) noexcept nogil:
    cdef int i
    pool.workers = <worker_t*>calloc(count, sizeof(worker_t))
    if pool.workers == NULL:
        return -1
    pool.count = count
    pthread_mutex_init(&pool.ticker_lock, NULL)
    cx_cond_init(&pool.ticker_wake)
    for i in range(count):
        pool.workers[i].pool = pool
        pool.workers[i].index = i
        pool.workers[i].seen = <uint64_t>-NOT_LOOKING
        pthread_mutex_init(&pool.workers[i].lock, NULL)
        cx_cond_init(&pool.workers[i].wake)
        if ring_init(&pool.workers[i].ring, ring_bytes):
            return -1
    return 0


cdef int pool_start(pool_t* pool) noexcept nogil:
    cdef int i
    pool.started = True
    for i in range(pool.count):
        if cx_thread_start(&pool.workers[i].thread, work, &pool.workers[i], THREAD_STACK):
            return -1
        pool.running += 1
    if cx_thread_start(&pool.ticker, tick, pool, THREAD_STACK):
        return -1
    pool.ticking = True
    return 0


cdef void pool_stop(pool_t* pool) noexcept nogil:
    cdef int i
    cdef port_t* port
    cx_store_i32(&pool.stopping, 1)
    for i in range(pool.count):
        pthread_mutex_lock(&pool.workers[i].lock)
        pthread_cond_signal(&pool.workers[i].wake)
        pthread_mutex_unlock(&pool.workers[i].lock)
    pthread_mutex_lock(&pool.ticker_lock)
    pthread_cond_signal(&pool.ticker_wake)
    pthread_mutex_unlock(&pool.ticker_lock)
    for i in range(pool.running):
        pthread_join(pool.workers[i].thread, NULL)
    pool.running = 0
    pthread_mutex_lock(&pool.ticker_lock)
    cx_store_i32(&pool.over, 1)
    pthread_cond_signal(&pool.ticker_wake)
    pthread_mutex_unlock(&pool.ticker_lock)
    if pool.ticking:
        pthread_join(pool.ticker, NULL)
    pool.ticking = False
    pool.started = False
    for i in range(pool.count):
        while True:
            port = queue_take(&pool.workers[i].lanes[PROMPT])
            if port == NULL:
                port = queue_take(&pool.workers[i].lanes[SPENT])
            if port == NULL:
                break
            pool.leave(pool, port)
    while True:
        port = heap_take(pool, <int64_t>0x7FFFFFFFFFFFFFFF)
        if port == NULL:
            break
        pool.leave(pool, port)


cdef void pool_free(pool_t* pool) noexcept nogil:
    cdef int i
    for i in range(pool.count):
        free(pool.workers[i].lanes[PROMPT].items)
        free(pool.workers[i].lanes[SPENT].items)
        ring_free(&pool.workers[i].ring)
        targets_free(&pool.workers[i].targets)
        pthread_mutex_destroy(&pool.workers[i].lock)
        pthread_cond_destroy(&pool.workers[i].wake)
    free(pool.workers)
    free(pool.heap)
    pthread_mutex_destroy(&pool.ticker_lock)
    pthread_cond_destroy(&pool.ticker_wake)
