"""What a JSON string or number says, read from its text without making an object.

Rule 1: the text was validated before, but no function reads outside `[p, end)` whatever it holds.
Rule 2: strings compare as their decoded code points, which is the order of their UTF-8 bytes; escapes are decoded on the way, nothing is allocated.
Rule 3: two integers compare exactly, however long; as soon as one number has a fraction or an exponent both are doubles (beyond their range: infinite).

Everything is inline: there is no module behind this file.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport strtod
from libc.string cimport memchr, memcmp, memcpy

ctypedef const unsigned char* text_t

cdef enum:
    # significant digits that can decide how a double is rounded (767), and some more; a digit beyond them only says "a little more"
    DIGITS_KEPT = 780


# -- walking --

cdef inline text_t skip_space(text_t p, text_t end) noexcept nogil:
    while p < end and (p[0] == c" " or p[0] == c"\n" or p[0] == c"\r" or p[0] == c"\t"):
        p += 1
    return p


cdef inline uint64_t zero_bytes(uint64_t word) noexcept nogil:
    """Not 0 exactly when one of the eight bytes is 0."""
    return (word - 0x0101010101010101ULL) & ~word & 0x8080808080808080ULL


cdef inline text_t skip_string(text_t p, text_t end, bint* escaped) noexcept nogil:
    """From behind the opening quote to the closing one, or to *end* when there is none."""
    cdef uint64_t word
    escaped[0] = False
    while True:
        while end - p >= 8:
            memcpy(&word, p, 8)
            if zero_bytes(word ^ 0x2222222222222222ULL) | zero_bytes(word ^ 0x5C5C5C5C5C5C5C5CULL):
                break
            p += 8
        while p < end and p[0] != c'"' and p[0] != c"\\":
            p += 1
        if p >= end or p[0] == c'"':
            return p
        escaped[0] = True
        if end - p < 2:
            return end
        p += 2


cdef inline text_t skip_value(text_t p, text_t end) noexcept nogil:
    """From the first byte of a value to the one behind it."""
    cdef bint escaped
    cdef size_t depth = 0
    cdef unsigned char c
    if p >= end:
        return end
    if p[0] == c'"':
        p = skip_string(p + 1, end, &escaped)
        return p + 1 if p < end else end
    if (p[0] | 0x20) != c"{":
        while p < end and p[0] != c"," and (p[0] | 0x20) != c"}" and p[0] > c" ":
            p += 1
        return p
    while p < end:
        c = p[0]
        if c == c'"':
            p = skip_string(p + 1, end, &escaped)
            if p >= end:
                return end
        elif (c | 0x20) == c"{":  # and "[", which differs in this bit alone
            depth += 1
        elif (c | 0x20) == c"}":
            depth -= 1
            if depth == 0:
                return p + 1
        p += 1
    return end


# -- strings --

cdef inline int hex_digit(unsigned char c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    c |= 0x20
    return c - c"a" + 10 if c"a" <= c <= c"f" else -1


cdef inline int hex_unit(text_t p, text_t end) noexcept nogil:
    """Four hex digits, or -1."""
    cdef int i, digit, unit = 0
    if end - p < 4:
        return -1
    for i in range(4):
        digit = hex_digit(p[i])
        if digit < 0:
            return -1
        unit = unit * 16 + digit
    return unit


cdef inline text_t read_escape(text_t p, text_t end, uint32_t* code) noexcept nogil:
    """From behind the backslash to behind the escape; NULL when it is none. A surrogate without its partner stays what it is."""
    cdef int unit, low
    if p >= end:
        return NULL
    if p[0] == c'"' or p[0] == c"\\" or p[0] == c"/":
        code[0] = p[0]
    elif p[0] == c"n":
        code[0] = 10
    elif p[0] == c"t":
        code[0] = 9
    elif p[0] == c"r":
        code[0] = 13
    elif p[0] == c"b":
        code[0] = 8
    elif p[0] == c"f":
        code[0] = 12
    elif p[0] == c"u":
        unit = hex_unit(p + 1, end)
        if unit < 0:
            return NULL
        code[0] = unit
        p += 4
        if 0xD800 <= unit < 0xDC00 and end - p >= 7 and p[1] == c"\\" and p[2] == c"u":
            low = hex_unit(p + 3, end)
            if 0xDC00 <= low < 0xE000:
                code[0] = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
                p += 6
    else:
        return NULL
    return p + 1


cdef inline int write_utf8(uint32_t code, unsigned char* out) noexcept nogil:
    if code < 0x80:
        out[0] = <unsigned char>code
        return 1
    if code < 0x800:
        out[0] = <unsigned char>(0xC0 | code >> 6)
        out[1] = <unsigned char>(0x80 | code & 0x3F)
        return 2
    if code < 0x10000:
        out[0] = <unsigned char>(0xE0 | code >> 12)
        out[1] = <unsigned char>(0x80 | code >> 6 & 0x3F)
        out[2] = <unsigned char>(0x80 | code & 0x3F)
        return 3
    out[0] = <unsigned char>(0xF0 | code >> 18)
    out[1] = <unsigned char>(0x80 | code >> 12 & 0x3F)
    out[2] = <unsigned char>(0x80 | code >> 6 & 0x3F)
    out[3] = <unsigned char>(0x80 | code & 0x3F)
    return 4


cdef inline int utf8_length(text_t p, text_t end) noexcept nogil:
    """Bytes of the character at *p*, or 0 when it is not UTF-8 (RFC 3629: no overlong form, no surrogate, nothing above 10FFFF)."""
    cdef unsigned char c = p[0]
    cdef unsigned char lowest = 0x80, highest = 0xBF
    cdef int i, length
    if c < 0x80:
        return 1
    if 0xC2 <= c <= 0xDF:
        length = 2
    elif 0xE0 <= c <= 0xEF:
        length = 3
        if c == 0xE0:
            lowest = 0xA0
        elif c == 0xED:
            highest = 0x9F
    elif 0xF0 <= c <= 0xF4:
        length = 4
        if c == 0xF0:
            lowest = 0x90
        elif c == 0xF4:
            highest = 0x8F
    else:
        return 0
    if end - p < length or not lowest <= p[1] <= highest:
        return 0
    for i in range(2, length):
        if not 0x80 <= p[i] <= 0xBF:
            return 0
    return length


cdef inline int sign_of(int order) noexcept nogil:
    return (order > 0) - (order < 0)


cdef inline int compare_escaped(text_t p, text_t end, text_t other, size_t length, bint prefix) noexcept nogil:
    cdef unsigned char character[4]
    cdef uint32_t code = 0
    cdef int size, order
    while p < end:
        if length == 0:
            return 0 if prefix else 1
        if p[0] == c"\\":
            p = read_escape(p + 1, end, &code)
            if p == NULL:
                return 1
            size = write_utf8(code, character)
        else:
            character[0] = p[0]
            size = 1
            p += 1
        order = memcmp(character, other, size if <size_t>size < length else length)
        if order != 0:
            return sign_of(order)
        if <size_t>size > length:
            return 1
        other += size
        length -= size
    return 0 if length == 0 else -1


cdef inline int compare_string(text_t raw, size_t size, text_t other, size_t length, bint prefix) noexcept nogil:
    """Order (-1, 0, 1) of a string's text between its quotes and the decoded *other*; with *prefix*, 0 when it starts with *other*."""
    cdef int order
    if size > 0 and memchr(raw, c"\\", size) != NULL:
        return compare_escaped(raw, raw + size, other, length, prefix)
    order = memcmp(raw, other, size if size < length else length)
    if order != 0:
        return sign_of(order)
    if prefix and size >= length:
        return 0
    return (size > length) - (size < length)


# -- numbers --

cdef inline bint is_integer(text_t p, size_t length) noexcept nogil:
    cdef size_t i
    for i in range(length):
        if p[i] == c"." or (p[i] | 0x20) == c"e":
            return False
    return True


cdef inline int compare_integers(text_t a, size_t a_length, text_t b, size_t b_length) noexcept nogil:
    """JSON integers have no leading zeros, so the longer one is the greater; -0 is 0."""
    cdef bint a_negative = a_length > 1 and a[0] == c"-"
    cdef bint b_negative = b_length > 1 and b[0] == c"-"
    cdef int order
    if a_negative:
        a += 1
        a_length -= 1
        a_negative = a[0] != c"0"
    if b_negative:
        b += 1
        b_length -= 1
        b_negative = b[0] != c"0"
    if a_negative != b_negative:
        return -1 if a_negative else 1
    if a_length != b_length:
        order = 1 if a_length > b_length else -1
    else:
        order = sign_of(memcmp(a, b, a_length))
    return -order if a_negative else order


cdef inline double read_double(text_t p, size_t length) noexcept nogil:
    """The nearest double. Ordinary numbers take one exact multiplication (Clinger); the rest goes to strtod without a decimal point, which a locale could
    ask to be a comma."""
    cdef char digits[DIGITS_KEPT + 24]
    cdef int kept = 0
    cdef int64_t exponent = 0, written = 0
    cdef uint64_t mantissa = 0
    cdef bint negative = False, fraction = False, dropped = False, down = False
    cdef double value, power = 1.0
    cdef unsigned char c
    cdef text_t end = p + length
    if p < end and p[0] == c"-":
        negative = True
        p += 1
    while p < end:
        c = p[0]
        p += 1
        if c == c".":
            fraction = True
            continue
        if c < c"0" or c > c"9":
            break
        if fraction:
            exponent -= 1
        if kept == 0 and c == c"0":
            continue
        if kept < DIGITS_KEPT:
            digits[kept] = <char>c
            kept += 1
            if kept <= 15:
                mantissa = mantissa * 10 + (c - c"0")
        else:
            exponent += 1
            dropped = dropped or c != c"0"
    if p < end and (p[0] == c"-" or p[0] == c"+"):
        down = p[0] == c"-"
        p += 1
    while p < end and c"0" <= p[0] <= c"9":
        if written < 1000000000000LL:
            written = written * 10 + (p[0] - c"0")
        p += 1
    exponent += -written if down else written
    if kept == 0:
        value = 0.0
    elif kept <= 15 and -22 <= exponent <= 22:
        value = <double>mantissa
        down = exponent < 0
        exponent = -exponent if down else exponent
        while exponent > 0:
            power *= 10.0
            exponent -= 1
        value = value / power if down else value * power
    else:
        if dropped:
            digits[kept] = c"1"
            kept += 1
            exponent -= 1
        exponent = max(min(exponent, <int64_t>99999), <int64_t>-99999)
        snprintf(&digits[kept], 16, "e%d", <int>exponent)
        value = strtod(digits, NULL)
    return -value if negative else value
