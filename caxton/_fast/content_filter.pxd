"""Content filters of topic subscriptions: compiled once, matched against raw JSON without building objects.

A filter is a JSON object. Each member is a condition on the content; all must hold. The key is a path of member names joined by `.` (`order.total`); an array
index is a decimal name. The value is a scalar (equal, numbers by value) or an object of operators: eq, ne, gt, gte, lt, lte, in (array of scalars),
prefix (string), exists (boolean). A missing path only satisfies `exists: false` and `ne`. `core/routing.py` is the specification in Python.
"""

from libc.stdint cimport int32_t, uint32_t

cdef struct filter_s
ctypedef filter_s filter_t

# NULL with *position* at the offending byte when the text is not a filter; an empty text or `{}` gives a filter that matches everything.
# *position* is UINT32_MAX when there is no memory.
cdef filter_t* filter_compile(const char* json, size_t length, uint32_t* position) noexcept nogil
# *content* is JSON that was validated before (envelope.content); an empty one matches only filters without conditions that need it
cdef bint filter_matches(const filter_t* program, const char* content, size_t length) noexcept nogil
cdef void filter_free(filter_t* program) noexcept nogil

# Topic globs: levels are separated by `.`; a level `*` is any one level, a last level `**` any number of them, none included. UTF-8 without NUL or with,
# the lengths count. `core/routing.topic_matches` is the specification.
cdef inline bint topic_matches(const char* pattern, uint32_t pattern_length, const char* topic, uint32_t topic_length) noexcept nogil:
    cdef uint32_t i = 0, j = 0
    while True:
        if pattern_length - i == 2 and pattern[i] == c"*" and pattern[i + 1] == c"*":
            return True
        if i < pattern_length and pattern[i] == c"*" and (i + 1 == pattern_length or pattern[i + 1] == c"."):
            i += 1
            while j < topic_length and topic[j] != c".":
                j += 1
        else:
            while i < pattern_length and j < topic_length and pattern[i] == topic[j] and topic[j] != c".":
                i += 1
                j += 1
            if (i < pattern_length and pattern[i] != c".") or (j < topic_length and topic[j] != c"."):
                return False
        # both stand at the end of a level
        if j == topic_length:
            return i == pattern_length or (
                pattern_length - i == 3 and pattern[i + 1] == c"*" and pattern[i + 2] == c"*"
            )
        if i == pattern_length:
            return False
        i += 1
        j += 1

cdef class ContentFilter:
    cdef filter_t* program
