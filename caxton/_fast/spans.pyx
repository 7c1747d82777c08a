"""See spans.pxd."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from caxton._fast.envelope cimport envelope_field, envelope_field_length, envelope_t, F_CONVERSATION_ID, F_RECEIVER, F_SENDER, F_TRACEPARENT
from caxton._fast.journal cimport record_t
from caxton._fast.platform cimport cx_random, cx_realtime_us
from caxton._fast.router cimport port_t

cdef enum:
    MOST = 20_000           # spans that wait to be taken

SEND = 0
PROCESS = 1

globals().update({"MOST": MOST})


cdef inline str text_of(const envelope_t* message, int field):
    cdef uint32_t length = envelope_field_length(message, field)
    return envelope_field(message, field)[:length].decode(errors="replace") if length else ""


cdef class Spans:
    """See spans.pyi."""

    def __cinit__(self, double rate):
        self.set_rate(rate)
        if cx_random(&self.salt, sizeof(self.salt)):
            raise OSError("the system gives no random numbers")
        self.salt |= 1
        self.told = []

    def set_rate(self, double rate):
        """From now on."""
        if not 0 <= rate <= 1:
            raise ValueError(f"a share of {rate}; it is between 0 and 1")
        self.below = <uint64_t>(rate * <double>(<uint64_t>1 << 63))

    cdef tuple begin(self, const envelope_t* message, bytes header):
        cdef uint64_t[3] chance
        cdef bytes given = header
        cdef uint32_t length = envelope_field_length(message, F_TRACEPARENT)
        cdef char[TRACEPARENT] text
        if length:
            given = envelope_field(message, F_TRACEPARENT)[:length]
        if cx_random(chance, sizeof(chance)):
            return None
        chance[2] |= 1
        if is_traceparent(<const char*>given, <uint32_t>len(given)):
            if not is_sampled(<const char*>given):
                return given, b""
            memcpy(text, <const char*>given, TRACEPARENT)
            put_span(text, chance[2])
            return text[:TRACEPARENT], given[SPAN_AT:SPAN_AT + 16]
        if chance[0] >> 1 >= self.below:
            return None
        return b"00-%016x%016x-%016x-01" % (chance[0], chance[1], chance[2]), b""

    cdef tuple send(self, tuple trace, const envelope_t* message, str sender, int64_t began_us):
        cdef bytes own = trace[0]
        if not is_sampled(<const char*>own):
            return None
        return (
            SEND, own[TRACE_AT:TRACE_AT + 32].decode(), own[SPAN_AT:SPAN_AT + 16].decode(), trace[1].decode(),
            text_of(message, F_RECEIVER).replace("\0", " "), began_us, cx_realtime_us(), 0, id_of(message),
            text_of(message, F_CONVERSATION_ID), message.act, sender or text_of(message, F_SENDER),
        )

    cdef int turn(self, const record_t* record, const envelope_t* message, const port_t* port, int64_t clock_us) except -1:
        """A turn has ended."""
        cdef const char* own = envelope_field(message, F_TRACEPARENT)
        cdef uint64_t span
        if not is_traceparent(own, envelope_field_length(message, F_TRACEPARENT)) or not is_sampled(own):
            return 0
        if len(self.told) >= MOST:
            self.dropped += 1
            return 0
        span = span_of(self.salt, record.sequence, record.port, record.at_ns - record.spent_ns)
        self.put((
            PROCESS, own[TRACE_AT:TRACE_AT + 32].decode(), f"{span:016x}", own[SPAN_AT:SPAN_AT + 16].decode(),
            port.name[:port.name_length].decode() if port != NULL else "",
            clock_us + (record.at_ns - record.spent_ns) // 1000, clock_us + record.at_ns // 1000, record.outcome, id_of(message),
            text_of(message, F_CONVERSATION_ID), message.act, text_of(message, F_SENDER),
        ))
        return 0

    cdef int put(self, tuple span) except -1:
        if len(self.told) < MOST:
            self.told.append(span)
        else:
            self.dropped += 1
        return 0

    def take(self):
        """What ended since the last call."""
        taken, self.told = self.told, []
        return taken


cdef str id_of(const envelope_t* message):
    cdef const unsigned char* raw = message.message_id
    cdef str text = (<const char*>raw)[:16].hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
