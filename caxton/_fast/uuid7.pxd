"""UUIDs: text to 16 bytes and back, and new ones of version 7 (RFC 9562) without a clock and without a system call in the common case.

A new id is 48 bits of milliseconds, 12 bits of the millisecond's fraction (RFC 9562, 6.2, method 3) and 62 random bits. The first 60 bits never
repeat or fall within a thread. The generator (xoshiro256++) belongs to its thread; it is seeded by the kernel once per thread, and again in a
forked child. An id is unique, not secret.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <fcntl.h>
    #include <pthread.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>
    #if defined(__linux__)
    #include <sys/random.h>
    #endif

    typedef struct { uint64_t state[4]; uint64_t last; uint32_t generation; } caxton_uuid7_t;
    static __thread caxton_uuid7_t caxton_uuid7;
    static volatile uint32_t caxton_uuid7_generation = 1;   /* another one in every forked child */

    static void caxton_uuid7_forked(void) { caxton_uuid7_generation++; }
    static void caxton_uuid7_at_fork(void) { pthread_atfork(NULL, NULL, caxton_uuid7_forked); }

    static int caxton_urandom(void *out, size_t size) {
        int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
        ssize_t got = fd < 0 ? -1 : read(fd, out, size);
        if (fd >= 0) close(fd);
        return got == (ssize_t)size;
    }

    static void __attribute__((noinline)) caxton_uuid7_seed(caxton_uuid7_t *self) {
    #if defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__) || defined(__NetBSD__)
        arc4random_buf(self->state, sizeof self->state);
    #else
        int seeded = 0;
    #if defined(__linux__)
        seeded = getrandom(self->state, sizeof self->state, 0) == (ssize_t)sizeof self->state;
    #endif
        if (!seeded && !caxton_urandom(self->state, sizeof self->state)) {
            /* no entropy to be had: where the thread's state and this process stand still differ between threads and processes */
            self->state[0] = (uint64_t)(uintptr_t)self;
            self->state[1] = (uint64_t)getpid();
        }
    #endif
        self->state[3] |= 1;      /* all zero is the one state that xoshiro never leaves */
        self->generation = caxton_uuid7_generation;
    }

    static inline uint64_t caxton_rotate(uint64_t x, int k) { return x << k | x >> (64 - k); }

    static inline uint64_t caxton_uuid7_random(caxton_uuid7_t *self) {
        uint64_t *s = self->state, result = caxton_rotate(s[0] + s[3], 23) + s[0], t = s[1] << 17;
        s[2] ^= s[0]; s[3] ^= s[1]; s[1] ^= s[2]; s[0] ^= s[3]; s[2] ^= t;
        s[3] = caxton_rotate(s[3], 45);
        return result;
    }

    /* 64 bits, the highest first */
    static inline void caxton_put_high_first(uint8_t *p, uint64_t x) {
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        x = __builtin_bswap64(x);
    #endif
        memcpy(p, &x, 8);
    }

    static inline void caxton_uuid7_make(uint8_t *out, int64_t now_us) {
        caxton_uuid7_t *self = &caxton_uuid7;
        uint64_t us = now_us > 0 ? (uint64_t)now_us : 0;
        uint64_t tick = (us / 1000) << 12 | ((us % 1000) * 4096) / 1000;
        if (self->generation != caxton_uuid7_generation) caxton_uuid7_seed(self);
        if (tick <= self->last) tick = self->last + 1;
        self->last = tick;
        caxton_put_high_first(out, (tick >> 12) << 16 | 0x7000 | (tick & 0xfff));
        caxton_put_high_first(out + 8, caxton_uuid7_random(self) >> 2 | 0x8000000000000000ULL);
    }

    /* eight hex digits of 32 bits: one nibble per byte, then what lies above 9 is moved to the letters */
    static inline void caxton_hex8(const uint8_t *p, char *out) {
        uint64_t x = (uint64_t)p[0] << 24 | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 8 | p[3], letters;
        x = (x << 16 | x) & 0x0000ffff0000ffffULL;
        x = (x << 8 | x) & 0x00ff00ff00ff00ffULL;
        x = (x << 4 | x) & 0x0f0f0f0f0f0f0f0fULL;
        letters = (x + 0x0606060606060606ULL) >> 4 & 0x0101010101010101ULL;
        caxton_put_high_first((uint8_t *)out, x + 0x3030303030303030ULL + letters * 39);
    }
    """
    void uuid7_make "caxton_uuid7_make"(uint8_t* out, int64_t now_us) noexcept nogil
    void hex8 "caxton_hex8"(const uint8_t* p, char* out) noexcept nogil
    void uuid7_at_fork "caxton_uuid7_at_fork"() noexcept nogil

cdef enum:
    UUID_TEXT = 36


cdef inline int _nibble(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    c |= 0x20
    return c - c'a' + 10 if c'a' <= c <= c'f' else -1


cdef inline bint uuid_parse(const char* p, uint32_t n, uint8_t* out) noexcept nogil:
    """Read 8-4-4-4-12 hex digits of either case; the all-zero UUID is none."""
    cdef int i, high, low
    cdef uint8_t seen = 0
    if n != UUID_TEXT or p[8] != c'-' or p[13] != c'-' or p[18] != c'-' or p[23] != c'-':
        return False
    for i in range(16):
        if p[0] == c'-':
            p += 1
        high = _nibble(p[0])
        low = _nibble(p[1])
        if high < 0 or low < 0:
            return False
        out[i] = <uint8_t>(high << 4 | low)
        seen |= out[i]
        p += 2
    return seen != 0


cdef inline void uuid_write(const uint8_t* id, char* out) noexcept nogil:
    """Write UUID_TEXT lower-case digits and dashes."""
    cdef char[8] group
    hex8(id, out)
    out[8] = c'-'
    hex8(id + 4, group)
    memcpy(out + 9, group, 4)
    out[13] = c'-'
    memcpy(out + 14, group + 4, 4)
    out[18] = c'-'
    hex8(id + 8, group)
    memcpy(out + 19, group, 4)
    out[23] = c'-'
    memcpy(out + 24, group + 4, 4)
    hex8(id + 12, out + 28)
