"""The profiler: a thread that looks about a thousand times a second at what every scheduler thread does, and counts.

Rule 1: it exists only while a profile runs, and reads nothing but `worker_t.activity`: what it looks at never waits for it.
Rule 2: its pauses are of random length, so that it does not march in step with the ticker, or with an agent's own timer.
Rule 3: every look counts one sample per thread; what could not be kept for its port is in the thread's count all the same.

It counts time, not work: a thread that the operating system has taken the processor from is still at what it was doing.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from caxton._fast.activity cimport DO_COUNT
from caxton._fast.platform cimport pthread_cond_t, pthread_mutex_t, pthread_t
from caxton._fast.router cimport Router
from caxton._fast.workers cimport pool_t

ctypedef struct tally_t:
    uint32_t port
    uint32_t total              # 0: the place is free
    uint32_t samples[DO_COUNT]  # none idle: an idle thread works for no port

ctypedef struct sampler_t:
    pool_t* pool
    bint running
    bint ending                 # under the lock
    pthread_t thread
    pthread_mutex_t lock
    pthread_cond_t wake
    uint64_t random
    int64_t began_ns
    int64_t ended_ns
    uint64_t looks
    uint64_t* threads           # DO_COUNT counts of each thread
    tally_t* tallies            # hash table by port
    uint32_t capacity           # a power of two
    uint32_t used
    # when the profile began: messages in all, and of each port
    uint64_t messages
    uint64_t* handled
    uint32_t handled_room

# *messages*: handled or failed so far. -1: no memory, or no thread
cdef int sampler_start(sampler_t* sampler, pool_t* pool, Router router, uint64_t messages) noexcept
cdef void sampler_stop(sampler_t* sampler) noexcept nogil
# what it counted, when it is stopped, as a Profile
cdef object sampler_read(sampler_t* sampler, Router router, uint64_t messages)
# of one that is stopped, or was never started
cdef void sampler_free(sampler_t* sampler) noexcept nogil
