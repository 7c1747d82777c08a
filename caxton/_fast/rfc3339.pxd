"""Moments as text: RFC 3339 to microseconds since the epoch and back. Knows no clock.

Read: `2026-11-20T23:00:00Z`, `T` may be `t` or a blank, `Z` may be `z` or an offset, a fraction may have 1 to 9 digits (Go and Rust write nine)
and is cut to microseconds. No leap second. Only moments after 1970-01-01T00:00:00Z and within the year 9999: 0 means "none" everywhere.
Written: in UTC with `Z` and milliseconds, or microseconds where they are not zero.
"""

from libc.stdint cimport int64_t, uint32_t

cdef enum:
    MOMENT_ROOM = 27         # 2026-11-20T23:00:00.123456Z


cdef inline int64_t days_from_civil(int64_t year, int64_t month, int64_t day) noexcept nogil:
    """Days since 1970-01-01 in the proleptic Gregorian calendar; years start in March so that the leap day is their last."""
    if month <= 2:
        year -= 1
    cdef int64_t era = year // 400
    cdef int64_t year_of_era = year - era * 400
    cdef int64_t day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


cdef inline int digits(const char* p, int count) noexcept nogil:
    """The number written in *count* digits, or -1."""
    cdef int value = 0
    cdef int i
    for i in range(count):
        if not c'0' <= p[i] <= c'9':
            return -1
        value = value * 10 + (p[i] - c'0')
    return value


cdef inline int month_days(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef inline int64_t moment_parse(const char* p, uint32_t n) noexcept nogil:
    """Microseconds since the epoch; 0 when the text is no such moment."""
    cdef int year, month, day, hour, minute, second, offset_hours, offset_minutes
    cdef int64_t fraction = 0
    cdef int64_t seconds, result
    cdef uint32_t i = 19
    cdef int places = 0
    if n < 20 or n > 35:
        return 0
    year = digits(p, 4)
    month = digits(p + 5, 2)
    day = digits(p + 8, 2)
    hour = digits(p + 11, 2)
    minute = digits(p + 14, 2)
    second = digits(p + 17, 2)
    if p[4] != c'-' or p[7] != c'-' or p[13] != c':' or p[16] != c':' or not (p[10] == c'T' or p[10] == c't' or p[10] == c' '):
        return 0
    if year < 0 or not 1 <= month <= 12 or not 1 <= day <= month_days(year, month):
        return 0
    if not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 59:
        return 0
    if p[i] == c'.':
        i += 1
        while i < n and c'0' <= p[i] <= c'9':
            if places < 6:
                fraction = fraction * 10 + (p[i] - c'0')
            places += 1
            i += 1
        if not 1 <= places <= 9:
            return 0
        while places < 6:
            fraction *= 10
            places += 1
    seconds = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
    if i + 1 == n and (p[i] == c'Z' or p[i] == c'z'):
        pass
    elif i + 6 == n and (p[i] == c'+' or p[i] == c'-') and p[i + 3] == c':':
        offset_hours = digits(p + i + 1, 2)
        offset_minutes = digits(p + i + 4, 2)
        if not 0 <= offset_hours <= 23 or not 0 <= offset_minutes <= 59:
            return 0
        seconds += (offset_hours * 3600 + offset_minutes * 60) * (1 if p[i] == c'-' else -1)
    else:
        return 0
    result = seconds * 1000000 + fraction
    return result if is_moment(result) else 0


cdef inline bint is_moment(int64_t us) noexcept nogil:
    """After the epoch, and not after 9999-12-31T23:59:59.999999Z."""
    return 0 < us < <int64_t>253402300800000000


cdef inline void write_digits(char* out, int count, int64_t value) noexcept nogil:
    while count:
        count -= 1
        out[count] = <char>(c'0' + value % 10)
        value //= 10


cdef inline uint32_t moment_size(int64_t us) noexcept nogil:
    return 24 if us % 1000 == 0 else 27


cdef inline uint32_t moment_write(int64_t us, char* out) noexcept nogil:
    """Write a moment after the epoch; returns moment_size(us)."""
    cdef int64_t second = us // 1000000
    cdef int64_t fraction = us % 1000000
    cdef int64_t days = second // 86400 + 719468
    cdef int64_t era = days // 146097
    cdef int64_t day_of_era = days - era * 146097
    cdef int64_t year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    cdef int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    cdef int64_t month = (5 * day_of_year + 2) // 153
    cdef int64_t day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    second = second % 86400
    write_digits(out, 4, year_of_era + era * 400 + (1 if month <= 2 else 0))
    out[4] = c'-'
    write_digits(out + 5, 2, month)
    out[7] = c'-'
    write_digits(out + 8, 2, day)
    out[10] = c'T'
    write_digits(out + 11, 2, second // 3600)
    out[13] = c':'
    write_digits(out + 14, 2, second // 60 % 60)
    out[16] = c':'
    write_digits(out + 17, 2, second % 60)
    out[19] = c'.'
    if fraction % 1000 == 0:
        write_digits(out + 20, 3, fraction // 1000)
        out[23] = c'Z'
        return 24
    write_digits(out + 20, 6, fraction)
    out[26] = c'Z'
    return 27
