"""How long the machine itself takes to wake a thread: what a message into an idle scheduler is measured against.

It knows nothing of the scheduler: one thread, one lock, one condition.
"""

from libc.stdint cimport int32_t, int64_t

from caxton._fast.platform cimport (
    cx_cond_init,
    cx_monotonic_ns,
    cx_sleep_ns,
    cx_thread_start,
    pthread_cond_destroy,
    pthread_cond_signal,
    pthread_cond_t,
    pthread_cond_wait,
    pthread_join,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_t,
    pthread_mutex_unlock,
    pthread_t,
)

from caxton.core.errors import ResourceLimitExceeded

cdef enum:
    STACK = 1 << 17

ctypedef struct sleeper_t:
    pthread_t thread
    pthread_mutex_t lock
    pthread_cond_t wake
    int32_t called          # times it was woken, under the lock
    int32_t answered
    int32_t times
    int64_t woken_ns


cdef void* sleep(void* argument) noexcept nogil:
    cdef sleeper_t* sleeper = <sleeper_t*>argument
    pthread_mutex_lock(&sleeper.lock)
    while sleeper.answered < sleeper.times:
        while sleeper.called == sleeper.answered:
            pthread_cond_wait(&sleeper.wake, &sleeper.lock)
        sleeper.woken_ns = cx_monotonic_ns()
        sleeper.answered = sleeper.called
    pthread_mutex_unlock(&sleeper.lock)
    return NULL


cdef int64_t call(sleeper_t* sleeper, int64_t pause_ns) noexcept nogil:
    """Nanoseconds of one wake-up."""
    cdef int64_t began, woken = 0
    cx_sleep_ns(pause_ns)
    began = cx_monotonic_ns()
    pthread_mutex_lock(&sleeper.lock)
    sleeper.called += 1
    pthread_mutex_unlock(&sleeper.lock)
    pthread_cond_signal(&sleeper.wake)
    while woken == 0:
        cx_sleep_ns(200_000)
        pthread_mutex_lock(&sleeper.lock)
        if sleeper.answered == sleeper.called:
            woken = sleeper.woken_ns
        pthread_mutex_unlock(&sleeper.lock)
    return woken - began


def wakeups(int count, int64_t pause_ns):
    cdef sleeper_t sleeper
    cdef int64_t took
    cdef int i
    sleeper.called = sleeper.answered = 0
    sleeper.times = count
    pthread_mutex_init(&sleeper.lock, NULL)
    cx_cond_init(&sleeper.wake)
    if cx_thread_start(&sleeper.thread, sleep, &sleeper, STACK):
        raise ResourceLimitExceeded("no thread could be started", hint="raise the limit of processes (ulimit -u)")
    times = []
    for i in range(count):
        with nogil:
            took = call(&sleeper, pause_ns)
        times.append(took)
    with nogil:
        pthread_join(sleeper.thread, NULL)
    pthread_mutex_destroy(&sleeper.lock)
    pthread_cond_destroy(&sleeper.wake)
    return times
