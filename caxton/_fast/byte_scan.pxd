"""Looking at many bytes at once: where a string stops, whether text is ASCII, whether it is UTF-8. Knows no JSON.

With SSE2 sixteen bytes at a time, elsewhere eight in a register; -DCAXTON_PORTABLE builds the second way anywhere, for tests.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__SSE2__) && !defined(CAXTON_PORTABLE)
    #define CAXTON_SSE2 1
    #include <emmintrin.h>
    #endif
    #define CAXTON_ONES 0x0101010101010101ULL
    #define CAXTON_HIGH 0x8080808080808080ULL

    /* Where strings stop: at a quote (22), a backslash (5c) or a control character. With SSE2 64 bytes are looked at ahead of need and kept
       as bits, so that from string to string only a shift and a count depend on each other; base is at or before the byte asked for. */
    typedef struct caxton_window { const char *base; uint64_t stops; } caxton_window_t;

    #if defined(CAXTON_SSE2)
    static inline uint64_t caxton_stops(const char *p) {
        const __m128i quote = _mm_set1_epi8(0x22), backslash = _mm_set1_epi8(0x5c), control = _mm_set1_epi8(0x1f);
        uint64_t stops = 0;
        for (int i = 0; i < 64; i += 16) {
            __m128i c = _mm_loadu_si128((const __m128i *)(p + i));
            __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(c, quote), _mm_cmpeq_epi8(c, backslash)),
                                       _mm_cmpeq_epi8(_mm_min_epu8(c, control), c));
            stops |= (uint64_t)(uint32_t)_mm_movemask_epi8(hit) << i;
        }
        return stops;
    }

    static const char * __attribute__((noinline)) caxton_next_stop(caxton_window_t *window, const char *p) {
        for (;;) {
            uintptr_t ahead = (uintptr_t)p - (uintptr_t)window->base;
            if (ahead < 64 && window->stops >> ahead) return p + __builtin_ctzll(window->stops >> ahead);
            if (ahead < 64) p = window->base + 64;
            window->base = ahead < 128 ? window->base + 64 : p;
            window->stops = caxton_stops(window->base);
        }
    }

    static inline const char *caxton_string_stop(caxton_window_t *window, const char *p) {
        uintptr_t ahead = (uintptr_t)p - (uintptr_t)window->base;
        if (ahead < 64 && window->stops >> ahead) return p + __builtin_ctzll(window->stops >> ahead);
        return caxton_next_stop(window, p);
    }
    #else
    static inline const char *caxton_string_stop(caxton_window_t *window, const char *p) {
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        /* a borrow can mark a byte wrongly only above a byte marked rightly: the lowest mark is exact */
        for (;; p += 8) {
            uint64_t v, quote, backslash, hit;
            memcpy(&v, p, 8);
            quote = v ^ (CAXTON_ONES * 0x22);
            backslash = v ^ (CAXTON_ONES * 0x5c);
            hit = (((v - CAXTON_ONES * 0x20) & ~v) | ((quote - CAXTON_ONES) & ~quote) | ((backslash - CAXTON_ONES) & ~backslash)) & CAXTON_HIGH;
            if (hit) return p + (__builtin_ctzll(hit) >> 3);
        }
    #else
        while ((unsigned char)*p >= 0x20 && *p != 0x22 && *p != 0x5c) p++;
        return p;
    #endif
    }
    #endif

    /* Is there a byte above 7f in the text? */
    static inline int caxton_has_high(const char *p, size_t n) {
        uint64_t seen = 0, v;
    #if defined(CAXTON_SSE2)
        __m128i wide = _mm_setzero_si128();
        for (; n >= 64; p += 64, n -= 64) {
            __m128i a = _mm_or_si128(_mm_loadu_si128((const __m128i *)p), _mm_loadu_si128((const __m128i *)(p + 16)));
            __m128i b = _mm_or_si128(_mm_loadu_si128((const __m128i *)(p + 32)), _mm_loadu_si128((const __m128i *)(p + 48)));
            wide = _mm_or_si128(wide, _mm_or_si128(a, b));
        }
        if (_mm_movemask_epi8(wide)) return 1;
    #endif
        for (; n >= 8; p += 8, n -= 8) { memcpy(&v, p, 8); seen |= v; }
        for (; n; p++, n--) seen |= (unsigned char)*p;
        return (seen & CAXTON_HIGH) != 0;
    }

    /* Do the n bytes at p equal this literal of n bytes? Two overlapping words; with a constant n nothing is called. */
    static inline int caxton_is(const char *p, const char *literal, size_t n) {
        if (n >= 8) {
            uint64_t a, b, c, d;
            memcpy(&a, p, 8); memcpy(&b, literal, 8); memcpy(&c, p + n - 8, 8); memcpy(&d, literal + n - 8, 8);
            return !((a ^ b) | (c ^ d)) && (n <= 16 || memcmp(p, literal, n) == 0);
        }
        if (n >= 4) {
            uint32_t a, b, c, d;
            memcpy(&a, p, 4); memcpy(&b, literal, 4); memcpy(&c, p + n - 4, 4); memcpy(&d, literal + n - 4, 4);
            return !((a ^ b) | (c ^ d));
        }
        return memcmp(p, literal, n) == 0;
    }
    """
    ctypedef struct window_t "caxton_window_t":
        const char* base
    const char* string_stop "caxton_string_stop"(window_t* window, const char* p) noexcept nogil
    bint has_high "caxton_has_high"(const char* p, size_t n) noexcept nogil
    bint same_bytes "caxton_is"(const char* p, const char* literal, size_t n) noexcept nogil


cdef inline const char* utf8_stop(const char* text, const char* limit) noexcept nogil:
    """The first byte that is not UTF-8 (no surrogates, no overlong forms, nothing above 10FFFF), or *limit*."""
    cdef const unsigned char* p = <const unsigned char*>text
    cdef const unsigned char* end = <const unsigned char*>limit
    cdef uint64_t word
    cdef unsigned char c, low, high
    cdef int more, i
    while p < end:
        if end - p >= 8:
            memcpy(&word, p, 8)
            if word & <uint64_t>0x8080808080808080 == 0:
                p += 8
                continue
        c = p[0]
        if c < 0x80:
            p += 1
            continue
        low = 0x80
        high = 0xBF
        if c < 0xC2:
            break
        elif c < 0xE0:
            more = 1
        elif c < 0xF0:
            more = 2
            if c == 0xE0:
                low = 0xA0
            elif c == 0xED:
                high = 0x9F
        elif c < 0xF5:
            more = 3
            if c == 0xF0:
                low = 0x90
            elif c == 0xF4:
                high = 0x8F
        else:
            break
        if end - p <= more or not low <= p[1] <= high:
            break
        for i in range(2, more + 1):
            if p[i] & 0xC0 != 0x80:
                return <const char*>p
        p += more + 1
    return <const char*>p
