"""Spans of messages that are traced: which these are, what their spans are called, and what is to be told of them.

A message that is traced says so itself: its `traceparent` (W3C Trace Context, version 00) has the flag `sampled`. What an agent sends in the turn of such a
message gets one too, with the span of that turn as the parent (instance.pyx). So nothing is looked up while messages flow, a trace goes on over a restart, and
programs outside can go on with it.

    submit → `begin`: goes on with its caller's trace, or begins one, by chance → a span `send`
    turn → what it sends carries `span_of` the turn on → RECORD_TURN → History → `turn` → a span `process`

Rule 1: a turn's span has a number that its thread and the reader of the records both know without a word: made of the message, the port and the time.
Rule 2: whether a trace is told of is decided once, where it begins; who comes with a trace has decided.
Rule 3: spans that nobody takes in time are counted, and dropped: nothing waits for them.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from caxton._fast.envelope cimport envelope_field, envelope_field_length, envelope_t, F_TRACEPARENT
from caxton._fast.journal cimport record_t
from caxton._fast.router cimport port_t

cdef enum:
    TRACEPARENT = 55        # bytes of it: 00-trace id-span id-flags
    TRACE_AT = 3
    SPAN_AT = 36
    FLAGS_AT = 53

cdef inline uint64_t span_of(uint64_t salt, uint64_t sequence, uint32_t port, int64_t started_ns) noexcept nogil:
    """The turn's number, never 0."""
    cdef uint64_t x = salt ^ sequence * <uint64_t>0x9E3779B97F4A7C15 ^ (<uint64_t>started_ns + (<uint64_t>port << 40)) * <uint64_t>0xD1342543DE82EF95
    x = (x ^ x >> 30) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ x >> 27) * <uint64_t>0x94D049BB133111EB
    x ^= x >> 31
    return x if x else 1


cdef inline bint is_traceparent(const char* text, uint32_t length) noexcept nogil:
    """Whether this is one of version 00, whose ids are not 0."""
    cdef bint trace = False, span = False
    cdef uint32_t i
    cdef char c
    if length != TRACEPARENT or text[0] != 48 or text[1] != 48:
        return False
    for i in range(2, TRACEPARENT):
        c = text[i]
        if i == 2 or i == 35 or i == 52:
            if c != 45:         # -
                return False
        elif not (48 <= c <= 57 or 97 <= c <= 102):
            return False
        elif c != 48:
            trace = trace or i < 35
            span = span or 35 < i < 52
    return trace and span


cdef inline bint is_sampled(const char* traceparent) noexcept nogil:
    """Of a sound one."""
    cdef char c = traceparent[FLAGS_AT + 1]
    return (c - 48 if c <= 57 else c - 87) & 1


cdef inline void put_span(char* traceparent, uint64_t span) noexcept nogil:
    cdef int i
    for i in range(16):
        traceparent[SPAN_AT + 15 - i] = b"0123456789abcdef"[span & 15]
        span >>= 4


cdef inline bint carry_on(char* out, const envelope_t* turn, uint64_t salt, uint32_t port, int64_t started_ns) noexcept nogil:
    """The traceparent of what is sent in this message's turn; False: there is none. *salt* 0: nobody tells of spans, so that the turn has none."""
    cdef const char* given = envelope_field(turn, F_TRACEPARENT)
    if not is_traceparent(given, envelope_field_length(turn, F_TRACEPARENT)):
        return False
    memcpy(out, given, TRACEPARENT)
    if salt and is_sampled(given):
        put_span(out, span_of(salt, turn.sequence, port, started_ns))
    return True


cdef class Spans:
    cdef uint64_t salt
    cdef uint64_t below             # a trace begins when 63 bits of chance are
    cdef list told
    cdef readonly uint64_t dropped
    # the trace that a message from outside goes on with or begins: (its traceparent, the parent span's id or empty); None: it is not traced
    cdef tuple begin(self, const envelope_t* message, bytes header)
    # the span of sending it, for `put` when it was accepted; None: nobody is told. The message has its id
    cdef tuple send(self, tuple trace, const envelope_t* message, str sender, int64_t began_us)
    cdef int turn(self, const record_t* record, const envelope_t* message, const port_t* port, int64_t clock_us) except -1
    cdef int put(self, tuple span) except -1
