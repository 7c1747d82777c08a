"""Walking over JSON text: strings, numbers, nested values. Knows the grammar (RFC 8259), not what a message is.

Rule 1: the text ends in a NUL and 63 more readable bytes. NUL is legal nowhere in JSON, so nothing here compares with an end pointer.
Rule 2: the text is valid UTF-8 already (utf8_stop); what is left to find here are lone surrogates, which only escapes can spell.
Rule 3: no recursion. The nesting is a counter and one bit per level (1 = object).

A function that walks returns where it stopped, or NULL with the reason in scan_t.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy

from caxton._fast.byte_scan cimport same_bytes, string_stop, window_t
from caxton._fast.envelope cimport E_DEPTH, E_JSON, E_UTF8

cdef enum:
    MAX_DEPTH = 1024         # limits above it count as this

ctypedef struct scan_t:
    window_t window
    const char* at           # where the error is
    int32_t code             # E_*
    int32_t field            # which key, when the reader of the message knows it; -1


cdef inline void scan_start(scan_t* scan) noexcept nogil:
    scan.window.base = NULL


cdef inline const char* fail(scan_t* scan, int32_t code, const char* at) noexcept nogil:
    scan.code = code
    scan.field = -1
    scan.at = at
    return NULL


cdef inline const char* refuse(scan_t* scan, int32_t code, const char* at, int32_t field) noexcept nogil:
    """Legal JSON, but not for this key."""
    scan.code = code
    scan.field = field
    scan.at = at
    return NULL


cdef inline bint is_digit(char c) noexcept nogil:
    return <unsigned int>(c - c'0') < 10


cdef inline bint is_space(char c) noexcept nogil:
    return c == c' ' or c == c'\n' or c == c'\r' or c == c'\t'


cdef inline const char* skip_space(const char* p) noexcept nogil:
    while is_space(p[0]):
        p += 1
    return p


cdef inline int hex_digit(char c) noexcept nogil:
    if is_digit(c):
        return c - c'0'
    c |= 0x20
    if c'a' <= c <= c'f':
        return c - c'a' + 10
    return -1


cdef inline int hex4(const char* p) noexcept nogil:
    """The value of four hex digits, or -1."""
    cdef int value = 0
    cdef int i, digit
    for i in range(4):
        digit = hex_digit(p[i])
        if digit < 0:
            return -1
        value = value << 4 | digit
    return value


cdef inline const char* skip_escape(scan_t* scan, const char* p) noexcept nogil:
    """Over one escape; *p* is at its backslash."""
    cdef char c = p[1]
    cdef int unit, low
    if c == c'u':
        unit = hex4(p + 2)
        if unit < 0:
            return fail(scan, E_JSON, p)
        if unit & 0xF800 != 0xD800:
            return p + 6
        if unit < 0xDC00 and p[6] == c'\\' and p[7] == c'u':
            low = hex4(p + 8)
            if 0xDC00 <= low <= 0xDFFF:
                return p + 12
        return fail(scan, E_UTF8, p)
    if c == c'"' or c == c'\\' or c == c'/' or c == c'b' or c == c'f' or c == c'n' or c == c'r' or c == c't':
        return p + 2
    return fail(scan, E_JSON, p)


cdef inline const char* _skip_rest(scan_t* scan, const char* p, bint* escaped) noexcept nogil:
    """The rest of a string that holds an escape or a fault, which *p* is at."""
    while p[0] != c'"':
        if p[0] != c'\\':
            return fail(scan, E_JSON, p)
        escaped[0] = True
        p = skip_escape(scan, p)
        if p == NULL:
            return NULL
        p = string_stop(&scan.window, p)
    return p


cdef inline const char* skip_string(scan_t* scan, const char* p, bint* escaped) noexcept nogil:
    """From behind the opening quote to the closing quote; *escaped* becomes true when an escape was passed."""
    p = string_stop(&scan.window, p)
    return p if p[0] == c'"' else _skip_rest(scan, p, escaped)


cdef inline const char* skip_number(scan_t* scan, const char* p, bint* whole) noexcept nogil:
    """Over a number; *whole* says whether it is written as an integer."""
    whole[0] = True
    if p[0] == c'-':
        p += 1
    if p[0] == c'0':
        p += 1
    elif is_digit(p[0]):
        while is_digit(p[0]):
            p += 1
    else:
        return fail(scan, E_JSON, p)
    if p[0] == c'.':
        whole[0] = False
        p += 1
        if not is_digit(p[0]):
            return fail(scan, E_JSON, p)
        while is_digit(p[0]):
            p += 1
    if p[0] == c'e' or p[0] == c'E':
        whole[0] = False
        p += 1
        if p[0] == c'+' or p[0] == c'-':
            p += 1
        if not is_digit(p[0]):
            return fail(scan, E_JSON, p)
        while is_digit(p[0]):
            p += 1
    return p


cdef inline const char* skip_key(scan_t* scan, const char* p) noexcept nogil:
    """Over `"key" :` to the first byte of its value."""
    cdef bint escaped = False
    if p[0] != c'"':
        return fail(scan, E_JSON, p)
    p = skip_string(scan, p + 1, &escaped)
    if p == NULL:
        return NULL
    p = skip_space(p + 1)
    if p[0] != c':':
        return fail(scan, E_JSON, p)
    return skip_space(p + 1)


cdef inline const char* skip_value(scan_t* scan, const char* p, uint32_t max_depth) noexcept nogil:
    """Over one value of any kind, checking all of it; *p* is at its first byte."""
    cdef uint64_t[16] objects            # one bit per level
    cdef uint32_t depth = 0
    cdef bint flag = False
    cdef bint in_object = False
    cdef char c
    if max_depth > MAX_DEPTH:
        max_depth = MAX_DEPTH
    while True:
        c = p[0]
        if c == c'"':
            p = skip_string(scan, p + 1, &flag)
            if p == NULL:
                return NULL
            p += 1
        elif c == c'{' or c == c'[':
            if depth == max_depth:
                return fail(scan, E_DEPTH, p)
            in_object = c == c'{'
            if depth & 63 == 0:
                objects[depth >> 6] = 0
            if in_object:
                objects[depth >> 6] |= <uint64_t>1 << (depth & 63)
            else:
                objects[depth >> 6] &= ~(<uint64_t>1 << (depth & 63))
            depth += 1
            p = skip_space(p + 1)
            if p[0] != (c'}' if in_object else c']'):
                if in_object:
                    p = skip_key(scan, p)
                    if p == NULL:
                        return NULL
                continue
        elif c == c't':
            if not same_bytes(p, "true", 4):
                return fail(scan, E_JSON, p)
            p += 4
        elif c == c'f':
            if not same_bytes(p, "false", 5):
                return fail(scan, E_JSON, p)
            p += 5
        elif c == c'n':
            if not same_bytes(p, "null", 4):
                return fail(scan, E_JSON, p)
            p += 4
        else:
            p = skip_number(scan, p, &flag)
            if p == NULL:
                return NULL
        # a value ended here, or an empty container stands before its closing bracket
        while True:
            if depth == 0:
                return p
            p = skip_space(p)
            if p[0] == c',':
                p = skip_space(p + 1)
                if in_object:
                    p = skip_key(scan, p)
                    if p == NULL:
                        return NULL
                break
            if p[0] != (c'}' if in_object else c']'):
                return fail(scan, E_JSON, p)
            p += 1
            depth -= 1
            if depth:
                in_object = objects[(depth - 1) >> 6] >> ((depth - 1) & 63) & 1


cdef inline uint32_t code_point(const char** cursor) noexcept nogil:
    """The next character of a checked JSON string, escapes resolved."""
    cdef const unsigned char* p = <const unsigned char*>cursor[0]
    cdef uint32_t c = p[0]
    cdef uint32_t unit
    cdef int length = 1
    if c == c'\\':
        length = 2
        c = p[1]
        if c == c'n':
            c = c'\n'
        elif c == c't':
            c = c'\t'
        elif c == c'r':
            c = c'\r'
        elif c == c'b':
            c = 8
        elif c == c'f':
            c = 12
        elif c == c'u':
            length = 6
            unit = <uint32_t>hex4(<const char*>p + 2)
            c = unit
            if unit & 0xF800 == 0xD800:
                length = 12
                c = 0x10000 + ((unit & 0x3FF) << 10) + (<uint32_t>hex4(<const char*>p + 8) & 0x3FF)
    elif c >= 0xF0:
        length = 4
        c = (c & 7) << 18 | <uint32_t>(p[1] & 63) << 12 | <uint32_t>(p[2] & 63) << 6 | (p[3] & 63)
    elif c >= 0xE0:
        length = 3
        c = (c & 15) << 12 | <uint32_t>(p[1] & 63) << 6 | (p[2] & 63)
    elif c >= 0xC0:
        length = 2
        c = (c & 31) << 6 | (p[1] & 63)
    cursor[0] = <const char*>p + length
    return c


cdef inline uint32_t unescape(const char* p, const char* end, char* out) noexcept nogil:
    """Write a checked JSON string decoded; returns the bytes written, never more than the string has, so *out* may be *p*."""
    cdef char* start = out
    cdef const char* mark
    cdef uint32_t c
    cdef int i, length
    while p < end:
        mark = p
        c = code_point(&p)
        if mark[0] != c'\\':
            length = <int>(p - mark)
            for i in range(length):
                out[i] = mark[i]
            out += length
        elif c < 0x80:
            out[0] = <char>c
            out += 1
        elif c < 0x800:
            out[0] = <char>(0xC0 | c >> 6)
            out[1] = <char>(0x80 | (c & 63))
            out += 2
        elif c < 0x10000:
            out[0] = <char>(0xE0 | c >> 12)
            out[1] = <char>(0x80 | (c >> 6 & 63))
            out[2] = <char>(0x80 | (c & 63))
            out += 3
        else:
            out[0] = <char>(0xF0 | c >> 18)
            out[1] = <char>(0x80 | (c >> 12 & 63))
            out[2] = <char>(0x80 | (c >> 6 & 63))
            out[3] = <char>(0x80 | (c & 63))
            out += 4
    return <uint32_t>(out - start)


cdef inline bint same_string(const char* a, const char* a_end, const char* b, const char* b_end) noexcept nogil:
    """Do two checked JSON strings mean the same, however they are escaped?"""
    while a < a_end and b < b_end:
        if code_point(&a) != code_point(&b):
            return False
    return a == a_end and b == b_end


cdef inline bint needs_escape(const char* p, size_t n) noexcept nogil:
    """Does decoded text hold a quote, a backslash or a control character other than NUL?"""
    cdef size_t i
    for i in range(n):
        if p[i] == c'"' or p[i] == c'\\' or 0 < <unsigned char>p[i] < 0x20:
            return True
    return False


cdef inline size_t escaped_size(const char* p, size_t n) noexcept nogil:
    cdef size_t i
    cdef size_t size = n
    cdef char c
    for i in range(n):
        c = p[i]
        if c == c'"' or c == c'\\' or c == c'\n' or c == c'\r' or c == c'\t' or c == 8 or c == 12:
            size += 1
        elif <unsigned char>c < 0x20:
            size += 5
    return size


cdef inline char* write_escaped(const char* p, size_t n, char* out) noexcept nogil:
    """Write decoded text as the inside of a JSON string; returns the end."""
    cdef size_t i
    cdef char c, mark
    for i in range(n):
        c = p[i]
        mark = 0
        if c == c'"' or c == c'\\':
            mark = c
        elif c == c'\n':
            mark = c'n'
        elif c == c'\r':
            mark = c'r'
        elif c == c'\t':
            mark = c't'
        elif c == 8:
            mark = c'b'
        elif c == 12:
            mark = c'f'
        if mark:
            out[0] = c'\\'
            out[1] = mark
            out += 2
        elif <unsigned char>c < 0x20:
            memcpy(out, "\\u00", 4)
            out[4] = c'0' + (c >> 4)
            out[5] = c'0' + (c & 15) if (c & 15) < 10 else c'a' + (c & 15) - 10
            out += 6
        else:
            out[0] = c
            out += 1
    return out
