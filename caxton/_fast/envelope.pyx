# cython: language_level=3
"""The message inside the node: JSON and frames in and out, without the interpreter; and its Python face.

Rule 1: bytes from outside are copied once, into the block they will live in, and read there. Fields are slices of that copy; escapes are
        resolved and names are gathered in place, because both only ever get shorter.
Rule 2: any bytes give a message or one of E_*. Nothing here raises but the Python class.
Rule 3: what is read can be written and read again as the same message.

The last SENDER_ROOM bytes of every block are free for the name of a sender; while parsing they are the NULs that json_scan.pxd asks for.
tests/oracles/envelope.py says the same in plain Python and is the specification.
"""

# Over 500 lines: half of it is the Python class, one property for each field; it has to stand with the functions it wraps.

# Over 500 lines: the Python face has a property per field of the message.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdio cimport snprintf
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.string cimport memcmp, memcpy, memset

cdef extern from *:
    """
    static inline void caxton_retain(int32_t *refs) { __atomic_fetch_add(refs, 1, __ATOMIC_RELAXED); }
    static inline int caxton_release(int32_t *refs) { return __atomic_fetch_sub(refs, 1, __ATOMIC_ACQ_REL) == 1; }
    static inline int caxton_unshared(const int32_t *refs) { return __atomic_load_n(refs, __ATOMIC_ACQUIRE) == 1; }
    /* by -E_*: what was found, and what would be right */
    static const char *const caxton_sentences[] = {
        "it is a message",
        "there is no memory left for the message",
        "the message is longer than the limit",
        "the text is not JSON",
        "the JSON is not an object; a message is an object like {\\"performative\\": \\"inform\\", \\"receiver\\": \\"name\\"}",
        "the value is nested deeper than the limit",
        "the text is not UTF-8, or spells half a surrogate pair, or holds a NUL where a name stands",
        "the key stands there twice; give every key once",
        "the value has the wrong type",
        "the performative is missing or not one of the 22 FIPA acts (request, inform, query-ref, ...)",
        "the value is empty or longer than its limit (256 bytes for a name)",
        "no receiver, or more than the limit; name at least one",
        "the time is not RFC 3339 like 2026-11-20T23:00:00Z, or not after 1970",
        "the id is not a UUID like 0193a5b2-7c1e-7d3f-8a4b-5c6d7e8f9a0b",
        "the binary frame is cut short, of another version, or its lengths do not add up",
        "a protocol needs a conversation_id (FIPA00061); give both or neither",
    };
    """
    void atomic_retain "caxton_retain"(int32_t* refs) noexcept nogil
    bint atomic_release "caxton_release"(int32_t* refs) noexcept nogil
    bint atomic_unshared "caxton_unshared"(const int32_t* refs) noexcept nogil
    const char* const* SENTENCES "caxton_sentences"

cdef enum:
    SENTENCE_COUNT = 16

from caxton._fast.json_scan cimport needs_escape, scan_start
from caxton._fast.message_block cimport (
    LARGEST,
    MAX_RECEIVERS,
    SENDER_ROOM,
    block_allocate,
    block_copy,
    block_has_id,
    block_refuse,
    block_text_size,
)
from caxton._fast.message_frame cimport frame_read, frame_size, frame_write
from caxton._fast.message_reader cimport message_read, reader_t
from caxton._fast.message_writer cimport message_size, message_write
from caxton._fast.platform cimport cx_peek_u32
from caxton._fast.rfc3339 cimport moment_write
from caxton._fast.uuid7 cimport UUID_TEXT, uuid7_at_fork, uuid7_make, uuid_write
from caxton._fast.vocabulary cimport ACTS, DELIVERIES, EXPECTED, KEYS, PRIORITIES, TURNS

DEFAULT_LIMITS.max_size = 1 << 20
DEFAULT_LIMITS.max_name = 256
DEFAULT_LIMITS.max_depth = 64
DEFAULT_LIMITS.max_receivers = 1024

uuid7_at_fork()


cdef envelope_t* envelope_control(int kind, uint32_t argument) noexcept nogil:
    cdef envelope_t* block = block_allocate(0)
    if block != NULL:
        block.kind = <uint8_t>kind
        block.priority = PRIORITY_CRITICAL
        block.argument = argument
    return block


cdef envelope_t* envelope_with_sender(envelope_t* envelope, const char* name, uint32_t length) noexcept nogil:
    cdef slice_t* sender = &envelope.fields[F_SENDER]
    cdef uint16_t bit = 1 << F_SENDER
    cdef envelope_t* copy
    if sender.length == length and memcmp(<const char*>envelope + sender.offset, name, length) == 0:
        return envelope
    if length <= SENDER_ROOM and atomic_unshared(&envelope.refs):
        sender.offset = envelope.size - SENDER_ROOM
        sender.length = length
        memcpy(<char*>envelope + sender.offset, name, length)
        copy = envelope
    else:
        copy = block_copy(envelope, F_SENDER, name, length)
        envelope_release(envelope)
        if copy == NULL:
            return NULL
    copy.escapes = copy.escapes & ~bit | (bit if needs_escape(name, length) else 0)
    return copy


cdef envelope_t* envelope_with_traceparent(envelope_t* envelope, const char* text, uint32_t length) noexcept nogil:
    cdef envelope_t* copy = block_copy(envelope, F_TRACEPARENT, text, length)
    if copy != NULL:
        copy.escapes &= ~<uint16_t>(1 << F_TRACEPARENT)
    envelope_release(envelope)
    return copy


cdef envelope_t* envelope_to(const envelope_t* envelope, const char* names, uint32_t length, uint32_t count) noexcept nogil:
    cdef envelope_t* copy = block_copy(envelope, F_RECEIVER, names, length)
    if copy != NULL:
        copy.receivers = count
    return copy


cdef void envelope_retain(envelope_t* envelope) noexcept nogil:
    atomic_retain(&envelope.refs)


cdef void envelope_release(envelope_t* envelope) noexcept nogil:
    if envelope != NULL and atomic_release(&envelope.refs):
        free(envelope)


cdef void envelope_stamp(envelope_t* envelope, int64_t now_us) noexcept nogil:
    if not block_has_id(envelope):
        uuid7_make(envelope.message_id, now_us)


# -- reading and writing --


cdef envelope_t* envelope_parse(const char* json, size_t length, const envelope_limits_t* limits, envelope_error_t* error) noexcept nogil:
    cdef reader_t reader
    cdef envelope_t* block
    cdef envelope_t* tight
    cdef slice_t* sender
    if length > cx_peek_u32(&limits.max_size) or length > LARGEST:
        return block_refuse(error, E_TOO_LARGE, limits.max_size, -1)
    block = block_allocate(length)
    if block == NULL:
        return block_refuse(error, E_MEMORY, 0, -1)
    reader.text = <char*>block + sizeof(envelope_t)
    memcpy(reader.text, json, length)
    reader.max_name = limits.max_name
    reader.max_depth = limits.max_depth
    reader.max_receivers = min(limits.max_receivers, <uint32_t>MAX_RECEIVERS)
    scan_start(&reader.scan)
    reader.seen = 0
    reader.extra_count = 0
    if message_read(&reader, length) == NULL:
        block_refuse(error, reader.scan.code, reader.scan.at - reader.text, reader.scan.field)
        free(reader.text - sizeof(envelope_t))
        return NULL
    block = <envelope_t*>(reader.text - sizeof(envelope_t))      # it moves when params grows
    # mostly white space or decoded escapes: do not keep it for as long as the message waits
    if length > 2048 and block_text_size(block) < length // 2:
        sender = &block.fields[F_SENDER]
        tight = block_copy(block, F_SENDER, <char*>block + sender.offset, sender.length)
        if tight != NULL:
            free(block)
            return tight
    return block


cdef envelope_t* envelope_from_frame(const char* frame, size_t length, const envelope_limits_t* limits, envelope_error_t* error) noexcept nogil:
    return frame_read(frame, length, limits, error)


cdef size_t envelope_json_size(const envelope_t* envelope) noexcept nogil:
    return message_size(envelope)


cdef size_t envelope_write_json(const envelope_t* envelope, char* out) noexcept nogil:
    return message_write(envelope, out)


cdef size_t envelope_frame_size(const envelope_t* envelope) noexcept nogil:
    return frame_size(envelope)


cdef size_t envelope_write_frame(const envelope_t* envelope, char* out) noexcept nogil:
    return frame_write(envelope, out)


# -- saying what is wrong --


cdef size_t envelope_error_text(const envelope_error_t* error, char* out, size_t room) noexcept nogil:
    cdef int code = -error.code
    cdef int written
    if room == 0:
        return 0
    if code < 0 or code >= SENTENCE_COUNT:
        code = 0
    if error.code == E_TYPE and 0 <= error.field < KEY_COUNT:
        written = snprintf(out, room, "%s: expected %s (byte %u)", KEYS[error.field], EXPECTED[error.field], error.position)
    elif 0 <= error.field < KEY_COUNT:
        written = snprintf(out, room, "%s: %s (byte %u)", KEYS[error.field], SENTENCES[code], error.position)
    else:
        written = snprintf(out, room, "%s (byte %u)", SENTENCES[code], error.position)
    return 0 if written < 0 else min(<size_t>written, room - 1)


# -- the Python face --

import json as _json

import msgspec as _msgspec

from caxton.core.errors import InternalError, InvalidMessage, MessageTooLarge

_NAMES = tuple(PRIORITIES[i].decode() for i in range(PRIORITY_COUNT))
_DELIVERIES = tuple(DELIVERIES[i].decode() or None for i in range(DELIVERY_COUNT))
_TURNS = tuple(TURNS[i].decode() for i in range(KIND_HEALTH + 1))
_CODES = {
    E_JSON: "json", E_NOT_OBJECT: "not-object", E_DEPTH: "depth", E_UTF8: "utf8", E_DUPLICATE: "duplicate", E_TYPE: "type",
    E_PERFORMATIVE: "performative", E_FIELD_LENGTH: "field-length", E_RECEIVERS: "receivers", E_TIME: "time", E_MESSAGE_ID: "message-id",
    E_FRAME: "frame", E_PROTOCOL: "protocol", E_TOO_LARGE: "too-large", E_MEMORY: "memory",
}
_HINTS = {
    E_JSON: "Check the text with a JSON tool; the byte counts from 0.",
    E_TOO_LARGE: "Send a reference to the data instead, or raise messaging.max_message_size.",
    E_TIME: "Times are RFC 3339: 2026-11-20T23:00:00Z, 2026-11-20T23:00:00.123+01:00.",
    E_PERFORMATIVE: "Write the act in lower case with dashes, like query-ref; accept, reject and query are understood too.",
}


cdef _raise(const envelope_error_t* error, const char* data, size_t length):
    """Raise what *error* says about these bytes."""
    cdef char[512] text
    cdef size_t written = envelope_error_text(error, text, sizeof(text))
    cdef size_t position = min(<size_t>error.position, length)
    cdef size_t start = position - min(position, <size_t>16)
    sentence = text[:written].decode()
    details = {"reason": _CODES.get(error.code, "internal"), "position": error.position}
    if 0 <= error.field < KEY_COUNT:
        details["key"] = KEYS[error.field].decode()
    if error.code == E_MEMORY:
        raise InternalError(sentence, details=details)
    if error.code == E_TOO_LARGE:
        details |= {"size": length, "limit": error.position}
        raise MessageTooLarge(f"the message has {length} bytes, the limit is {error.position}", hint=_HINTS[E_TOO_LARGE], details=details)
    if error.code != E_FRAME:
        details["found"] = data[start:min(length, position + 16)].decode(errors="replace")
        sentence += f", found near {details['found']!r}"
    raise InvalidMessage(sentence, hint=_HINTS.get(error.code, ""), details=details)


cdef envelope_limits_t _limits(object max_size, object max_name, object max_depth, object max_receivers) except *:
    cdef envelope_limits_t limits
    limits.max_size = min(max_size, LARGEST)
    limits.max_name = max_name
    limits.max_depth = max_depth
    limits.max_receivers = max_receivers
    return limits


cdef Envelope _read(object data, const envelope_limits_t* limits, bint frame):
    """One message out of a bytes-like object."""
    cdef Py_buffer view
    cdef envelope_error_t error
    cdef envelope_t* block
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if frame:
            block = envelope_from_frame(<const char*>view.buf, view.len, limits, &error)
        else:
            block = envelope_parse(<const char*>view.buf, view.len, limits, &error)
        if block == NULL:
            _raise(&error, <const char*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    return envelope_wrap(block)


cdef Envelope envelope_wrap(envelope_t* block):
    cdef Envelope self = Envelope.__new__(Envelope)
    self.block = block
    return self


def _whole(digits):
    """An integer of any length; Python refuses to read very long ones, and so does everybody else."""
    return int(digits) if len(digits) <= 4000 else float(digits)


def _decoded(raw):
    """Any JSON value that the parser let through."""
    try:
        return _msgspec.json.decode(raw)
    except (_msgspec.DecodeError, RecursionError):
        return _json.loads(raw, parse_int=_whole)


cdef class Envelope:
    """One message. Made from JSON or from a frame; never changed, but for stamp(). Equal when everything that its sender said is equal."""

    def __init__(self):
        raise TypeError("Envelope is made by from_json, from_frame, make or control")

    def __dealloc__(self):
        envelope_release(self.block)

    @staticmethod
    def from_json(data, *, max_size=1 << 20, max_name=256, max_depth=64, max_receivers=1024):
        """Read one message; raises InvalidMessage or MessageTooLarge."""
        cdef envelope_limits_t limits = _limits(max_size, max_name, max_depth, max_receivers)
        return _read(data, &limits, False)

    @staticmethod
    def from_frame(data, *, max_size=1 << 20, max_name=256, max_depth=64, max_receivers=1024):
        """Read one binary frame; raises InvalidMessage or MessageTooLarge."""
        cdef envelope_limits_t limits = _limits(max_size, max_name, max_depth, max_receivers)
        return _read(data, &limits, True)

    @staticmethod
    def make(*, content=b"", **fields):
        """Build a message from its JSON fields; *content* is raw JSON."""
        if content:
            try:
                _msgspec.json.decode(content)
            except _msgspec.DecodeError as error:
                raise InvalidMessage(f"content: the text is not one JSON value: {error}", details={"reason": "json", "key": "content"}) from None
            fields["content"] = _msgspec.Raw(content)
        return Envelope.from_json(_msgspec.json.encode(fields))

    @staticmethod
    def control(kind, argument=0):
        """A turn that the platform asks of an agent: init, timer, shutdown, capabilities, health."""
        if kind not in _TURNS[1:]:
            raise ValueError(f"{kind!r} is not a turn; the turns are {', '.join(_TURNS[1:])}")
        cdef envelope_t* block = envelope_control(_TURNS.index(kind), argument)
        if block == NULL:
            raise MemoryError
        return envelope_wrap(block)

    def to_json(self):
        cdef bytes out = PyBytes_FromStringAndSize(NULL, envelope_json_size(self.block))
        envelope_write_json(self.block, <char*>out)
        return out

    def to_frame(self):
        cdef bytes out = PyBytes_FromStringAndSize(NULL, envelope_frame_size(self.block))
        envelope_write_frame(self.block, <char*>out)
        return out

    def with_sender(self, name):
        """The same message, sent by *name*; the runtime names the sender."""
        cdef bytes text = name.encode()
        if not text or len(text) > 256 or 0 in text:
            raise InvalidMessage(f"a sender's name has 1 to 256 bytes and no NUL, got {name!r}")
        envelope_retain(self.block)
        cdef envelope_t* block = envelope_with_sender(self.block, <const char*>text, <uint32_t>len(text))
        if block == NULL:
            raise MemoryError
        return envelope_wrap(block)

    def again(self):
        """The same message for another delivery: a copy whose delivery_attempt is one more, at least 2."""
        cdef envelope_t* block = <envelope_t*>malloc(self.block.size)
        if block == NULL:
            raise MemoryError
        memcpy(block, self.block, self.block.size)
        block.refs = 1
        block.delivery_attempt = max(self.block.delivery_attempt, <uint32_t>1) + 1
        return envelope_wrap(block)

    def stamp(self, int64_t now_us):
        """Give the message an id (UUIDv7 of *now_us*) when it has none."""
        envelope_stamp(self.block, now_us)

    cdef str _string(self, int field):
        cdef uint32_t length = self.block.fields[field].length
        return envelope_field(self.block, field)[:length].decode() if length else None

    cdef bytes _bytes(self, int field):
        cdef uint32_t length = self.block.fields[field].length
        return envelope_field(self.block, field)[:length] if length else None

    cdef list _list(self, int field):
        text = self._string(field)
        return text.split("\0") if text else []

    cdef object _one_or_list(self, int field):
        names = self._list(field)
        return None if not names else names[0] if len(names) == 1 else names

    @property
    def kind(self):
        return _TURNS[self.block.kind]

    @property
    def performative(self):
        return ACTS[self.block.act - 1].name.decode() if self.block.act else None

    @property
    def act(self):
        return self.block.act

    @property
    def sender(self):
        return self._string(F_SENDER)

    @property
    def receiver(self):
        return self._one_or_list(F_RECEIVER)

    @property
    def receivers(self):
        return self._list(F_RECEIVER)

    @property
    def reply_to(self):
        return self._one_or_list(F_REPLY_TO)

    @property
    def content(self):
        return self._bytes(F_CONTENT)

    @property
    def conversation_id(self):
        return self._string(F_CONVERSATION_ID)

    @property
    def reply_with(self):
        return self._string(F_REPLY_WITH)

    @property
    def in_reply_to(self):
        return self._string(F_IN_REPLY_TO)

    @property
    def ontology(self):
        return self._string(F_ONTOLOGY)

    @property
    def language(self):
        return self._string(F_LANGUAGE)

    @property
    def protocol(self):
        return self._string(F_PROTOCOL)

    @property
    def encoding(self):
        return self._string(F_ENCODING)

    @property
    def traceparent(self):
        return self._string(F_TRACEPARENT)

    @property
    def tracestate(self):
        return self._string(F_TRACESTATE)

    @property
    def params(self):
        return self._bytes(F_PARAMS)

    @property
    def message_id(self):
        cdef char[UUID_TEXT] text
        if not block_has_id(self.block):
            return None
        uuid_write(self.block.message_id, text)
        return PyUnicode_DecodeASCII(text, UUID_TEXT, NULL)

    @property
    def priority(self):
        return _NAMES[self.block.priority]

    @property
    def delivery(self):
        return _DELIVERIES[self.block.delivery]

    @property
    def hop_count(self):
        return self.block.hop_count

    @property
    def reply_by(self):
        return _moment(self.block.reply_by_us)

    @property
    def expires_at(self):
        return _moment(self.block.expires_at_us)

    @property
    def reply_by_us(self):
        return self.block.reply_by_us

    @property
    def expires_at_us(self):
        return self.block.expires_at_us

    @property
    def sequence(self):
        """The number that the ledger knows it by; 0: none."""
        return self.block.sequence

    @property
    def accepted_us(self):
        return self.block.accepted_us

    @property
    def delivery_attempt(self):
        return self.block.delivery_attempt

    @property
    def argument(self):
        return self.block.argument

    @property
    def size(self):
        """Bytes of memory that the message occupies."""
        return self.block.size

    def as_dict(self):
        """What to_json() writes, as Python values."""
        return _decoded(self.to_json())

    def __eq__(self, other):
        if not isinstance(other, Envelope):
            return NotImplemented
        return _same(self.block, (<Envelope>other).block)

    def __repr__(self):
        if self.block.act == 0:
            return f"<Envelope {self.kind} {self.block.argument}>"
        to = self.receivers
        names = ", ".join(to[:3]) + (f" and {len(to) - 3} more" if len(to) > 3 else "")
        about = f" in {self.conversation_id}" if self.conversation_id else ""
        return f"<Envelope {self.performative} {self.sender or '?'} -> {names}{about}, {self.block.fields[F_CONTENT].length} bytes of content>"


cdef _moment(int64_t us):
    cdef char[32] text
    return text[:moment_write(us, text)].decode() if us else None


cdef bint _same(const envelope_t* a, const envelope_t* b) noexcept nogil:
    """Everything but what one delivery adds: ports, times of acceptance and queueing, attempts, the ledger's words."""
    cdef int i
    if a.kind != b.kind or a.act != b.act or a.priority != b.priority or a.hop_count != b.hop_count or a.argument != b.argument:
        return False
    if a.delivery != b.delivery or a.reply_by_us != b.reply_by_us or a.expires_at_us != b.expires_at_us or memcmp(a.message_id, b.message_id, 16) != 0:
        return False
    for i in range(FIELD_COUNT):
        if a.fields[i].length != b.fields[i].length:
            return False
        if memcmp(envelope_field(a, i), envelope_field(b, i), a.fields[i].length) != 0:
            return False
    return True


def _bench(bytes data not None, int64_t rounds, str what not None):
    """Repeat one native function *rounds* times, for bench/."""
    cdef const char* text = data
    cdef size_t length = len(data)
    cdef envelope_error_t error
    cdef envelope_t* block = envelope_parse(text, length, &DEFAULT_LIMITS, &error)
    cdef bytearray room = bytearray(2 * len(data) + 1024)
    cdef char* out = room
    cdef size_t size
    cdef int64_t i
    if block == NULL:
        _raise(&error, text, length)
    envelope_stamp(block, 1)
    size = envelope_write_frame(block, out)
    if what == "parse":
        for i in range(rounds):
            envelope_release(envelope_parse(text, length, &DEFAULT_LIMITS, &error))
    elif what == "write":
        for i in range(rounds):
            envelope_write_json(block, out)
    elif what == "size":
        for i in range(rounds):
            out[i & 7] = <char>envelope_json_size(block)
    elif what == "frame":
        for i in range(rounds):
            envelope_write_frame(block, out)
    elif what == "from_frame":
        for i in range(rounds):
            envelope_release(envelope_from_frame(out, size, &DEFAULT_LIMITS, &error))
    elif what == "stamp":
        for i in range(rounds):
            memset(block.message_id, 0, 16)
            envelope_stamp(block, 1763766000000000 + i)
    envelope_release(block)
