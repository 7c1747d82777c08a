"""Content filters of topic subscriptions: compiled once, matched against raw JSON without building objects.

A filter is a JSON object. Each member is a condition on the content; all must hold. The key is a path of member names joined by `.` (`order.total`); an array
index is a decimal name. The value is a scalar (equal, numbers by value) or an object of operators: eq, ne, gt, gte, lt, lte, in (array of scalars),
prefix (string), exists (boolean). A missing path only satisfies `exists: false` and `ne`. `core/routing.py` is the specification in Python.
"""

from libc.stdint cimport int32_t, uint32_t

cdef struct filter_s
ctypedef filter_s filter_t

# NULL with *position* at the offending byte when the text is not a filter; an empty text or `{}` gives a filter that matches everything
cdef filter_t* filter_compile(const char* json, size_t length, uint32_t* position) noexcept nogil
# *content* is JSON that was validated before (envelope.content); an empty one matches only filters without conditions that need it
cdef bint filter_matches(const filter_t* program, const char* content, size_t length) noexcept nogil
cdef void filter_free(filter_t* program) noexcept nogil
