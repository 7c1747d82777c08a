"""See profile.pxd for the rules."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from caxton._fast.activity cimport activity_t, DO_COUNT, DO_IDLE
from caxton._fast.platform cimport (
    cx_cond_init,
    cx_cond_wait_ns,
    cx_monotonic_ns,
    cx_peek_i32,
    cx_thread_start,
    pthread_cond_destroy,
    pthread_cond_signal,
    pthread_join,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)
from caxton._fast.router cimport port_t, Router
from caxton._fast.workers cimport pool_t

cdef enum:
    THREAD_STACK = 1 << 17
    SHORTEST_NS = 500_000       # a pause is between this and three times as much: a thousand looks a second
    FIRST_CAPACITY = 64

# by DO_*
ACTIVITIES = ("idle", "scheduler", "guest", "envelope", "router", "journal", "host", "instance")


# -- counting --------------------------------------------------------------------------------------------------------

cdef tally_t* tally_of(tally_t* tallies, uint32_t capacity, uint32_t port) noexcept nogil:
    """Its place, or the free one that it would have."""
    cdef uint32_t at = (port * <uint32_t>2654435761) & (capacity - 1)
    while tallies[at].total and tallies[at].port != port:
        at = (at + 1) & (capacity - 1)
    return &tallies[at]


cdef bint grow(sampler_t* sampler) noexcept nogil:
    cdef tally_t* larger = <tally_t*>calloc(sampler.capacity * 2, sizeof(tally_t))
    cdef uint32_t i
    if larger == NULL:
        return False
    for i in range(sampler.capacity):
        if sampler.tallies[i].total:
            tally_of(larger, sampler.capacity * 2, sampler.tallies[i].port)[0] = sampler.tallies[i]
    free(sampler.tallies)
    sampler.tallies = larger
    sampler.capacity *= 2
    return True


cdef void count(sampler_t* sampler, uint32_t port, int activity) noexcept nogil:
    cdef tally_t* tally = tally_of(sampler.tallies, sampler.capacity, port)
    if tally.total == 0:
        if sampler.used * 4 >= sampler.capacity * 3:
            if not grow(sampler):
                return
            tally = tally_of(sampler.tallies, sampler.capacity, port)
        tally.port = port
        sampler.used += 1
    tally.total += 1
    tally.samples[activity] += 1


cdef void look(sampler_t* sampler) noexcept nogil:
    cdef activity_t* seen
    cdef int32_t activity, port
    cdef int i
    for i in range(sampler.pool.count):
        seen = &sampler.pool.workers[i].activity
        activity = cx_peek_i32(&seen.what)
        port = cx_peek_i32(&seen.port)      # at once: what is done between the two can take as long as a turn
        sampler.threads[i * DO_COUNT + activity] += 1
        if activity != DO_IDLE:
            count(sampler, <uint32_t>port, activity)
    sampler.looks += 1


# -- the thread ------------------------------------------------------------------------------------------------------

cdef int64_t next_pause(sampler_t* sampler) noexcept nogil:
    """xorshift: it has to be uneven, not unpredictable."""
    sampler.random ^= sampler.random << 13
    sampler.random ^= sampler.random >> 7
    sampler.random ^= sampler.random << 17
    return SHORTEST_NS + <int64_t>(sampler.random % (2 * SHORTEST_NS))


cdef void* sample(void* argument) noexcept nogil:
    cdef sampler_t* sampler = <sampler_t*>argument
    pthread_mutex_lock(&sampler.lock)
    while not sampler.ending:
        cx_cond_wait_ns(&sampler.wake, &sampler.lock, next_pause(sampler))
        if not sampler.ending:
            look(sampler)
    pthread_mutex_unlock(&sampler.lock)
    return NULL


cdef int sampler_start(sampler_t* sampler, pool_t* pool, Router router, uint64_t messages) noexcept:
    cdef port_t* port
    cdef uint32_t i
    memset(sampler, 0, sizeof(sampler_t))
    sampler.pool = pool
    sampler.capacity = FIRST_CAPACITY
    sampler.messages = messages
    sampler.handled_room = router._opened
    sampler.threads = <uint64_t*>calloc(pool.count * DO_COUNT, sizeof(uint64_t))
    sampler.tallies = <tally_t*>calloc(sampler.capacity, sizeof(tally_t))
    sampler.handled = <uint64_t*>calloc(sampler.handled_room, sizeof(uint64_t))
    if sampler.threads == NULL or sampler.tallies == NULL or sampler.handled == NULL:
        sampler_free(sampler)
        return -1
    for i in range(1, sampler.handled_room):
        port = router.find(i)
        sampler.handled[i] = port.handled + port.failed if port != NULL else 0
    sampler.began_ns = cx_monotonic_ns()
    sampler.random = <uint64_t>sampler.began_ns | 1
    pthread_mutex_init(&sampler.lock, NULL)
    cx_cond_init(&sampler.wake)
    sampler.running = True
    if cx_thread_start(&sampler.thread, sample, sampler, THREAD_STACK):
        sampler.running = False
        sampler_free(sampler)
        return -1
    return 0


cdef void sampler_stop(sampler_t* sampler) noexcept nogil:
    if not sampler.running:
        return
    pthread_mutex_lock(&sampler.lock)
    sampler.ending = True
    pthread_cond_signal(&sampler.wake)
    pthread_mutex_unlock(&sampler.lock)
    pthread_join(sampler.thread, NULL)
    sampler.ended_ns = cx_monotonic_ns()
    sampler.running = False
    pthread_mutex_destroy(&sampler.lock)
    pthread_cond_destroy(&sampler.wake)


cdef void sampler_free(sampler_t* sampler) noexcept nogil:
    free(sampler.threads)
    free(sampler.tallies)
    free(sampler.handled)
    sampler.threads = NULL
    sampler.tallies = NULL
    sampler.handled = NULL


# -- what came out ---------------------------------------------------------------------------------------------------

cdef class Profile:
    """See profile.pyi."""

    cdef readonly double seconds
    cdef readonly uint64_t looks, messages
    cdef readonly list threads, ports


cdef tuple counts(const tally_t* tally):
    return tuple([tally.samples[k] for k in range(DO_COUNT)])


cdef object sampler_read(sampler_t* sampler, Router router, uint64_t messages):
    cdef Profile profile = Profile.__new__(Profile)
    cdef const tally_t* tally
    cdef port_t* port
    cdef uint64_t handled
    cdef uint32_t i
    cdef int k
    profile.seconds = (sampler.ended_ns - sampler.began_ns) / 1e9
    profile.looks = sampler.looks
    profile.messages = messages - sampler.messages
    profile.threads = [tuple([sampler.threads[i * DO_COUNT + k] for k in range(DO_COUNT)]) for i in range(sampler.pool.count)]
    profile.ports = []
    for i in range(sampler.capacity):
        tally = &sampler.tallies[i]
        if tally.total == 0:
            continue
        port = router.find(tally.port)
        name = port.name[:port.name_length].decode() if port != NULL else ""
        handled = port.handled + port.failed if port != NULL else 0
        if port != NULL and tally.port < sampler.handled_room:
            handled -= sampler.handled[tally.port]
        profile.ports.append((tally.port, name, handled, counts(tally)))
    return profile
