"""What the hot path asks of the operating system and the C compiler: atomics, clocks, locks, threads, randomness, a wake-up pipe.

Declarations with the few lines of C they need, and no logic of ours.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    #ifndef CAXTON_PLATFORM_H
    #define CAXTON_PLATFORM_H
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <fcntl.h>
    #include <pthread.h>
    #include <sched.h>
    #include <signal.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>
    #if defined(__linux__)
    #include <sys/eventfd.h>
    #include <sys/random.h>
    #endif

    #define cx_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define cx_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
    #define cx_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define cx_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
    #define cx_add(p, v) __atomic_add_fetch((p), (v), __ATOMIC_ACQ_REL)
    #define cx_exchange(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
    #define cx_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)

    static inline int cx_increment_unless_zero(int32_t *count) {
        int32_t seen = __atomic_load_n(count, __ATOMIC_RELAXED);
        while (seen)
            if (__atomic_compare_exchange_n(count, &seen, seen + 1, 1, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return 1;
        return 0;
    }
    /* zeroed memory that shares no cache line (nor the one fetched beside it) with others; free() gives it back */
    static inline void *cx_alloc_lines(size_t size) {
        void *memory = NULL;
        size = (size + 127) & ~(size_t)127;
        if (posix_memalign(&memory, 128, size)) return NULL;
        memset(memory, 0, size);
        return memory;
    }
    #define cx_prefetch(p) __builtin_prefetch(p)
    static inline int64_t cx_monotonic_ns(void) {
        struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    static inline int64_t cx_realtime_us(void) {
        struct timespec t; clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    }
    /* conditions wait on the monotonic clock, so that a leap of the wall clock wakes or delays nobody */
    static inline int cx_cond_init(pthread_cond_t *cond) {
    #if defined(__APPLE__)
        return pthread_cond_init(cond, NULL);
    #else
        pthread_condattr_t attributes;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        int outcome = pthread_cond_init(cond, &attributes);
        pthread_condattr_destroy(&attributes);
        return outcome;
    #endif
    }
    static inline void cx_cond_wait_ns(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ns) {
        if (ns <= 0) return;
    #if defined(__APPLE__)
        struct timespec t = { ns / 1000000000, ns % 1000000000 };
        pthread_cond_timedwait_relative_np(cond, lock, &t);
    #else
        int64_t due = cx_monotonic_ns() + ns;
        struct timespec t = { due / 1000000000, due % 1000000000 };
        pthread_cond_timedwait(cond, lock, &t);
    #endif
    }
    static inline void cx_sleep_ns(int64_t ns) {
        struct timespec t = { ns / 1000000000, ns % 1000000000 };
        nanosleep(&t, NULL);
    }
    /* one pass of an armed failpoint (caxton/telemetry/failpoints.py); the last one kills the process */
    static inline void cx_pass_failpoint(int32_t *left) {
        if (cx_add(left, -1) == 0) kill(getpid(), SIGKILL);
    }
    /* a native thread takes no signals: they belong to Python's main thread */
    static inline int cx_thread_start(pthread_t *thread, void *(*body)(void *), void *argument, size_t stack) {
        sigset_t all, before;
        pthread_attr_t attributes;
        sigfillset(&all);
        sigdelset(&all, SIGSEGV); sigdelset(&all, SIGBUS); sigdelset(&all, SIGILL); sigdelset(&all, SIGFPE);
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, stack);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int outcome = pthread_create(thread, &attributes, body, argument);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
        return outcome;
    }
    /* cryptographically secure bytes; 0 when they are there */
    static inline int cx_random(void *out, size_t length) {
    #if defined(__linux__)
        unsigned char *at = out;
        while (length) {
            ssize_t got = getrandom(at, length, 0);
            if (got < 0) { if (errno == EINTR) continue; return -1; }
            at += got; length -= (size_t)got;
        }
        return 0;
    #else
        arc4random_buf(out, length);
        return 0;
    #endif
    }
    /* the wake-up descriptor: eventfd where there is one, a pipe elsewhere; both ends never block */
    static inline int cx_wake_open(int fds[2]) {
    #if defined(__linux__)
        fds[0] = fds[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        return fds[0] < 0 ? -1 : 0;
    #else
        if (pipe(fds)) return -1;
        for (int i = 0; i < 2; i++) { fcntl(fds[i], F_SETFL, O_NONBLOCK); fcntl(fds[i], F_SETFD, FD_CLOEXEC); }
        return 0;
    #endif
    }
    static inline void cx_wake_write(int fd) {
        uint64_t one = 1;
        ssize_t ignored = write(fd, &one, sizeof one);   /* full: it is readable already */
        (void)ignored;
    }
    static inline void cx_wake_clear(int fd) {
        uint64_t words[64];
    #if defined(__linux__)
        ssize_t ignored = read(fd, words, sizeof(uint64_t));
        (void)ignored;
    #else
        while (read(fd, words, sizeof words) == sizeof words) {}
    #endif
    }
    static inline void cx_wake_close(int fds[2]) {
        close(fds[0]);
        if (fds[1] != fds[0]) close(fds[1]);
    }
    #endif
    """
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    ctypedef struct pthread_t:
        pass

    int pthread_mutex_init(pthread_mutex_t*, void*) nogil
    int pthread_mutex_destroy(pthread_mutex_t*) nogil
    int pthread_mutex_lock(pthread_mutex_t*) nogil
    int pthread_mutex_unlock(pthread_mutex_t*) nogil
    int pthread_cond_destroy(pthread_cond_t*) nogil
    int pthread_cond_signal(pthread_cond_t*) nogil
    int pthread_cond_broadcast(pthread_cond_t*) nogil
    int pthread_cond_wait(pthread_cond_t*, pthread_mutex_t*) nogil
    int pthread_join(pthread_t, void**) nogil

    # acquire loads, release stores; a peek and a poke order nothing: what one thread changes and another only wants to know about
    int32_t cx_load_i32 "cx_load"(const int32_t*) nogil
    int64_t cx_load_i64 "cx_load"(const int64_t*) nogil
    uint32_t cx_load_u32 "cx_load"(const uint32_t*) nogil
    uint64_t cx_load_u64 "cx_load"(const uint64_t*) nogil
    void* cx_load_ptr "cx_load"(void**) nogil
    void* cx_peek_ptr "cx_load_relaxed"(void**) nogil
    uint8_t cx_peek_u8 "cx_load_relaxed"(const uint8_t*) nogil
    int32_t cx_peek_i32 "cx_load_relaxed"(const int32_t*) nogil
    uint32_t cx_peek_u32 "cx_load_relaxed"(const uint32_t*) nogil
    int64_t cx_peek_i64 "cx_load_relaxed"(const int64_t*) nogil
    uint64_t cx_peek_u64 "cx_load_relaxed"(const uint64_t*) nogil
    void cx_poke_ptr "cx_store_relaxed"(void**, void*) nogil
    void cx_poke_u8 "cx_store_relaxed"(uint8_t*, uint8_t) nogil
    void cx_poke_i32 "cx_store_relaxed"(int32_t*, int32_t) nogil
    void cx_poke_u32 "cx_store_relaxed"(uint32_t*, uint32_t) nogil
    void cx_poke_i64 "cx_store_relaxed"(int64_t*, int64_t) nogil
    void cx_poke_u64 "cx_store_relaxed"(uint64_t*, uint64_t) nogil
    void cx_store_i32 "cx_store"(int32_t*, int32_t) nogil
    void cx_store_u32 "cx_store"(uint32_t*, uint32_t) nogil
    void cx_store_u64 "cx_store"(uint64_t*, uint64_t) nogil
    void cx_store_ptr "cx_store"(void**, void*) nogil
    int32_t cx_add_i32 "cx_add"(int32_t*, int32_t) nogil
    uint64_t cx_add_u64 "cx_add"(uint64_t*, uint64_t) nogil
    int32_t cx_exchange_i32 "cx_exchange"(int32_t*, int32_t) nogil
    bint cx_increment_unless_zero(int32_t*) nogil
    void cx_fence() nogil

    void* cx_alloc_lines(size_t) nogil
    void cx_prefetch(const void*) nogil
    int64_t cx_monotonic_ns() nogil
    int64_t cx_realtime_us() nogil
    int cx_cond_init(pthread_cond_t*) nogil
    void cx_cond_wait_ns(pthread_cond_t*, pthread_mutex_t*, int64_t) nogil
    void cx_sleep_ns(int64_t) nogil
    void cx_pass_failpoint(int32_t*) nogil
    int cx_thread_start(pthread_t*, void* (*)(void*) noexcept nogil, void*, size_t) nogil
    int cx_random(void*, size_t) nogil
    int cx_wake_open(int*) nogil
    void cx_wake_write(int) nogil
    void cx_wake_clear(int) nogil
    void cx_wake_close(int*) nogil
