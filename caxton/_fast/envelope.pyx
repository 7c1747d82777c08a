# cython: language_level=3
"""The message inside the node: JSON and frames in and out, without the interpreter; and its Python face.

Rule 1: bytes from outside are copied once, into the block they will live in, and read there. Fields are slices of that copy; escapes are
        resolved and names are gathered in place, because both only ever get shorter.
Rule 2: any bytes give a message or one of E_*. Nothing here raises but the Python class.
Rule 3: what is read can be written and read again as the same message.

The last SENDER_ROOM bytes of every block are free for the name of a sender; while parsing they are the NULs that json_scan.pxd asks for.
tests/oracles/envelope.py says the same in plain Python and is the specification.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdio cimport snprintf
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset, strlen

from caxton._fast.json_scan cimport (
    MAX_DEPTH,
    escaped_size,
    fail,
    has_high,
    is_digit,
    needs_escape,
    refuse,
    same_string,
    scan_t,
    skip_key,
    skip_number,
    skip_space,
    skip_string,
    skip_value,
    unescape,
    utf8_stop,
    write_escaped,
)
from caxton._fast.rfc3339 cimport is_moment, moment_parse, moment_size, moment_write
from caxton._fast.uuid7 cimport UUID_TEXT, uuid7_at_fork, uuid7_make, uuid_parse, uuid_write

cdef extern from *:
    """
    static inline void caxton_retain(int32_t *refs) { __atomic_fetch_add(refs, 1, __ATOMIC_RELAXED); }
    static inline int caxton_release(int32_t *refs) { return __atomic_fetch_sub(refs, 1, __ATOMIC_ACQ_REL) == 1; }
    static inline int caxton_unshared(const int32_t *refs) { return __atomic_load_n(refs, __ATOMIC_ACQUIRE) == 1; }

    /* FIPA00069 code - 1; the three short forms of the seeds follow the 22 acts */
    #define ACT(name, code) { name, sizeof name - 1, code }
    static const struct caxton_act { const char *name; uint8_t length; uint8_t code; } caxton_acts[] = {
        ACT("accept-proposal", 1), ACT("agree", 2), ACT("cancel", 3), ACT("cfp", 4), ACT("confirm", 5), ACT("disconfirm", 6),
        ACT("failure", 7), ACT("inform", 8), ACT("inform-if", 9), ACT("inform-ref", 10), ACT("not-understood", 11),
        ACT("propagate", 12), ACT("propose", 13), ACT("proxy", 14), ACT("query-if", 15), ACT("query-ref", 16), ACT("refuse", 17),
        ACT("reject-proposal", 18), ACT("request", 19), ACT("request-when", 20), ACT("request-whenever", 21), ACT("subscribe", 22),
        ACT("accept", 1), ACT("reject", 18), ACT("query", 16),
    };
    static const char caxton_magic[] = {'C', 'X', 'E', 1};
    static const char *const caxton_keys[] = {
        "sender", "receiver", "content", "conversation_id", "reply_with", "in_reply_to", "ontology", "language", "protocol",
        "reply_to", "encoding", "traceparent", "tracestate", "params", "performative", "message_id", "reply_by", "expires_at",
        "priority", "hop_count", "delivery_attempt", "redelivered",
    };
    static const char *const caxton_priorities[] = { "low", "normal", "high", "critical" };
    /* what stands before each value, in the order of writing: a word, names, raw JSON, or the header's value of a KEY_* */
    enum { CAXTON_WORD, CAXTON_NAMES, CAXTON_RAW, CAXTON_HEADER };
    #define QUOTE "\\x22"
    #define PIECE(key, kind, name, open) { "," QUOTE name QUOTE ":" open, sizeof name + 3 + sizeof open - 1, key, kind }
    static const struct caxton_piece { const char *text; uint8_t length; uint8_t key; uint8_t kind; } caxton_pieces[] = {
        PIECE(0, CAXTON_WORD, "sender", QUOTE), PIECE(1, CAXTON_NAMES, "receiver", ""), PIECE(9, CAXTON_NAMES, "reply_to", ""),
        PIECE(2, CAXTON_RAW, "content", ""), PIECE(7, CAXTON_WORD, "language", QUOTE), PIECE(10, CAXTON_WORD, "encoding", QUOTE),
        PIECE(6, CAXTON_WORD, "ontology", QUOTE), PIECE(8, CAXTON_WORD, "protocol", QUOTE),
        PIECE(3, CAXTON_WORD, "conversation_id", QUOTE), PIECE(4, CAXTON_WORD, "reply_with", QUOTE),
        PIECE(5, CAXTON_WORD, "in_reply_to", QUOTE), PIECE(16, CAXTON_HEADER, "reply_by", QUOTE),
        PIECE(15, CAXTON_HEADER, "message_id", QUOTE), PIECE(17, CAXTON_HEADER, "expires_at", QUOTE),
        PIECE(18, CAXTON_HEADER, "priority", QUOTE), PIECE(11, CAXTON_WORD, "traceparent", QUOTE),
        PIECE(12, CAXTON_WORD, "tracestate", QUOTE), PIECE(19, CAXTON_HEADER, "hop_count", ""), PIECE(13, CAXTON_RAW, "params", ""),
        PIECE(20, CAXTON_HEADER, "delivery_attempt", ""),
    };
    static const char *const caxton_turns[] = { "message", "init", "timer", "shutdown", "capabilities", "health" };
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
        "the value is empty or longer than the limit",
        "no receiver, or more than the limit; name at least one",
        "the time is not RFC 3339 like 2026-11-20T23:00:00Z, or not after 1970",
        "the id is not a UUID like 0193a5b2-7c1e-7d3f-8a4b-5c6d7e8f9a0b",
        "the binary frame is cut short, of another version, or its lengths do not add up",
        "a protocol needs a conversation_id (FIPA00061); give both or neither",
    };
    """
    ctypedef struct act_t "struct caxton_act":
        const char* name
        uint8_t length
        uint8_t code
    ctypedef struct piece_t "struct caxton_piece":
        const char* text
        uint8_t length
        uint8_t key
        uint8_t kind
    enum:
        WORD "CAXTON_WORD"
        NAMES "CAXTON_NAMES"
        RAW "CAXTON_RAW"
    const act_t* ACTS "caxton_acts"
    const piece_t* PIECES "caxton_pieces"
    const char* FRAME_MAGIC "caxton_magic"
    const char* const* KEYS "caxton_keys"
    const char* const* PRIORITIES "caxton_priorities"
    const char* const* TURNS "caxton_turns"
    const char* const* SENTENCES "caxton_sentences"
    void atomic_retain "caxton_retain"(int32_t* refs) noexcept nogil
    bint atomic_release "caxton_release"(int32_t* refs) noexcept nogil
    bint atomic_unshared "caxton_unshared"(const int32_t* refs) noexcept nogil

cdef enum:
    ACT_COUNT = 22
    ACT_NAMES = 25           # with the short forms
    ACT_LONGEST = 16
    PIECE_COUNT = 20
    SENTENCE_COUNT = 16
    HEADER = sizeof(envelope_t)
    SENDER_ROOM = 64
    LARGEST = 0x7fff0000     # limits above it count as this
    MESSAGE_FRAME = 19       # {"performative":""}
    CONTROL_FRAME = 23       # {"turn":"","argument":}
    REDELIVERED = 19         # ,"redelivered":true
    FRAME_HEADER = 120
    FRAME_SLACK = 4096       # a frame may be that much longer than the JSON text it came from: header, stamps, sender
    MAX_EXTRAS = 64          # unknown top-level keys of one message
    MAX_RECEIVERS = 1024     # limits above it count as this
    NAME_SLOTS = 2048
    KEY_TEXT = 96            # a known key, every letter escaped
    MAX_TRACESTATE = 512     # as W3C Trace Context asks to carry

DEFAULT_LIMITS.max_size = 1 << 20
DEFAULT_LIMITS.max_name = 256
DEFAULT_LIMITS.max_depth = 64
DEFAULT_LIMITS.max_receivers = 1024

uuid7_at_fork()


# -- blocks --


cdef envelope_t* _allocate(size_t text) noexcept nogil:
    """A block with room for *text* bytes and a sender; header and sender's room are zero, the text is not set."""
    cdef envelope_t* block = <envelope_t*>malloc(HEADER + text + SENDER_ROOM)
    if block == NULL:
        return NULL
    memset(block, 0, HEADER)
    memset(<char*>block + HEADER + text, 0, SENDER_ROOM)
    block.refs = 1
    block.size = <uint32_t>(HEADER + text + SENDER_ROOM)
    block.priority = PRIORITY_NORMAL
    return block


cdef size_t _text_size(const envelope_t* block) noexcept nogil:
    cdef size_t total = 0
    cdef int i
    for i in range(FIELD_COUNT):
        total += block.fields[i].length
    return total


cdef envelope_t* _copy(const envelope_t* block, const char* sender, uint32_t sender_length) noexcept nogil:
    """A tight copy with one reference, sent by *sender*."""
    cdef size_t text = _text_size(block) - block.fields[F_SENDER].length + sender_length
    cdef envelope_t* copy
    cdef uint32_t end = HEADER
    cdef uint32_t length
    cdef const char* source
    cdef int i
    if text > LARGEST:
        return NULL
    copy = _allocate(text)
    if copy == NULL:
        return NULL
    memcpy(copy, block, HEADER)
    copy.refs = 1
    copy.size = <uint32_t>(HEADER + text + SENDER_ROOM)
    for i in range(FIELD_COUNT):
        source = sender if i == F_SENDER else <const char*>block + block.fields[i].offset
        length = sender_length if i == F_SENDER else block.fields[i].length
        if length:
            memcpy(<char*>copy + end, source, length)
        copy.fields[i].offset = end if length else 0
        copy.fields[i].length = length
        end += length
    return copy


cdef envelope_t* envelope_control(int kind, uint32_t argument) noexcept nogil:
    cdef envelope_t* block = _allocate(0)
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
        copy = _copy(envelope, name, length)
        envelope_release(envelope)
        if copy == NULL:
            return NULL
    copy.escapes = copy.escapes & ~bit | (bit if needs_escape(name, length) else 0)
    return copy


cdef void envelope_retain(envelope_t* envelope) noexcept nogil:
    atomic_retain(&envelope.refs)


cdef void envelope_release(envelope_t* envelope) noexcept nogil:
    if envelope != NULL and atomic_release(&envelope.refs):
        free(envelope)


cdef void envelope_stamp(envelope_t* envelope, int64_t now_us) noexcept nogil:
    if not _has_id(envelope):
        uuid7_make(envelope.message_id, now_us)


cdef inline bint _has_id(const envelope_t* envelope) noexcept nogil:
    cdef uint64_t[2] words
    memcpy(words, envelope.message_id, 16)
    return words[0] | words[1] != 0


# -- reading JSON --

ctypedef struct extra_t:
    uint32_t start           # of the member `"key": value`, from the start of the text
    uint32_t key_end         # its closing quote
    uint32_t end

ctypedef struct reader_t:
    scan_t scan
    envelope_t* block
    char* text
    const envelope_limits_t* limits
    uint32_t seen            # bit per key
    uint32_t extra_count
    extra_t[MAX_EXTRAS] extras


cdef inline int _key(const char* p, size_t n) noexcept nogil:
    """Which key these bytes name: F_* or KEY_*, or -1."""
    if n == 8:
        if memcmp(p, "receiver", 8) == 0:
            return F_RECEIVER
        if memcmp(p, "language", 8) == 0:
            return F_LANGUAGE
        if memcmp(p, "ontology", 8) == 0:
            return F_ONTOLOGY
        if memcmp(p, "protocol", 8) == 0:
            return F_PROTOCOL
        if memcmp(p, "reply_to", 8) == 0:
            return F_REPLY_TO
        if memcmp(p, "reply_by", 8) == 0:
            return KEY_REPLY_BY
        if memcmp(p, "priority", 8) == 0:
            return KEY_PRIORITY
        if memcmp(p, "encoding", 8) == 0:
            return F_ENCODING
    elif n == 6:
        if memcmp(p, "sender", 6) == 0:
            return F_SENDER
        if memcmp(p, "params", 6) == 0:
            return F_PARAMS
    elif n == 7:
        if memcmp(p, "content", 7) == 0:
            return F_CONTENT
    elif n == 12:
        if memcmp(p, "performative", 12) == 0:
            return KEY_PERFORMATIVE
    elif n == 15:
        if memcmp(p, "conversation_id", 15) == 0:
            return F_CONVERSATION_ID
    elif n == 10:
        if memcmp(p, "reply_with", 10) == 0:
            return F_REPLY_WITH
        if memcmp(p, "message_id", 10) == 0:
            return KEY_MESSAGE_ID
        if memcmp(p, "tracestate", 10) == 0:
            return F_TRACESTATE
        if memcmp(p, "expires_at", 10) == 0:
            return KEY_EXPIRES_AT
    elif n == 11:
        if memcmp(p, "in_reply_to", 11) == 0:
            return F_IN_REPLY_TO
        if memcmp(p, "traceparent", 11) == 0:
            return F_TRACEPARENT
        if memcmp(p, "redelivered", 11) == 0:
            return KEY_REDELIVERED
    elif n == 9:
        if memcmp(p, "hop_count", 9) == 0:
            return KEY_HOP_COUNT
    elif n == 16:
        if memcmp(p, "delivery_attempt", 16) == 0:
            return KEY_DELIVERY_ATTEMPT
    return -1


cdef int _escaped_key(const char* p, size_t n) noexcept nogil:
    """The same for a key that is spelled with escapes."""
    cdef char[KEY_TEXT] plain
    if n > KEY_TEXT:
        return -1
    return _key(plain, unescape(p, p + n, plain))


cdef inline const char* _string(reader_t* reader, const char* p, int key, slice_t* out) noexcept nogil:
    """Read a string in place. *out* counts from the block's start; the needs-escape bit of a field is set."""
    cdef bint escaped = False
    cdef const char* start = p + 1
    cdef uint32_t length
    if p[0] != c'"':
        return refuse(&reader.scan, E_TYPE, p, key)
    p = skip_string(&reader.scan, start, &escaped)
    if p == NULL:
        return NULL
    length = <uint32_t>(p - start)
    if escaped:
        length = unescape(start, p, <char*>start)
        if memchr(start, 0, length) != NULL:
            return refuse(&reader.scan, E_UTF8, start - 1, key)
        if key < FIELD_COUNT and needs_escape(start, length):
            reader.block.escapes |= <uint16_t>(1 << key)
    out.offset = HEADER + <uint32_t>(start - reader.text)
    out.length = length
    return p + 1


cdef inline const char* _field(reader_t* reader, const char* p, int key, uint32_t limit) noexcept nogil:
    """A string field of the message; an empty one is not set."""
    cdef const char* start = p
    cdef slice_t* field = &reader.block.fields[key]
    p = _string(reader, p, key, field)
    if p != NULL and field.length > limit:
        return refuse(&reader.scan, E_FIELD_LENGTH, start, key)
    return p


cdef const char* _agent(reader_t* reader, const char* p, int key, slice_t* name) noexcept nogil:
    """An agent: its name, or an object with its name; equality is by name only (FIPA00023), so its addresses are checked and left out."""
    cdef const char* start = p
    cdef const char* word
    cdef const char* word_end
    cdef bint escaped
    cdef bint named = False
    cdef char[KEY_TEXT] plain
    if p[0] != c'{':
        p = _string(reader, p, key, name)
    else:
        p = skip_space(p + 1)
        while p[0] != c'}':
            escaped = False
            word = p + 1
            p = skip_key(&reader.scan, p)
            if p == NULL:
                return NULL
            word_end = skip_string(&reader.scan, word, &escaped)
            if escaped and word_end - word <= KEY_TEXT:
                word_end = plain + unescape(word, word_end, plain)
                word = plain
            if word_end - word == 4 and memcmp(word, "name", 4) == 0:
                if named:
                    return refuse(&reader.scan, E_DUPLICATE, p, key)
                named = True
                p = _string(reader, p, key, name)
            else:
                p = skip_value(&reader.scan, p, reader.limits.max_depth)
            if p == NULL:
                return NULL
            p = skip_space(p)
            if p[0] == c'}':
                break
            if p[0] != c',':
                return fail(&reader.scan, E_JSON, p)
            p = skip_space(p + 1)
            if p[0] == c'}':
                return fail(&reader.scan, E_JSON, p)
        if not named:
            return refuse(&reader.scan, E_TYPE, start, key)
        p += 1
    if p != NULL and (name.length == 0 or name.length > reader.limits.max_name):
        return refuse(&reader.scan, E_FIELD_LENGTH, start, key)
    return p


cdef bint _new_name(uint32_t* slots, const char* names, uint32_t offset, uint32_t length) noexcept nogil:
    """Enter a name of the NUL-separated *names*; false when it stands there already. `slots` holds offset + 1 by hash."""
    cdef uint32_t digest = 2166136261
    cdef uint32_t i, slot
    cdef const char* name = names + offset
    for i in range(length):
        digest = (digest ^ <uint8_t>name[i]) * 16777619
    slot = (digest ^ digest >> 15) % NAME_SLOTS
    while slots[slot]:
        if memcmp(names + slots[slot] - 1, name, length) == 0 and names[slots[slot] - 1 + length] == 0:
            return False
        slot = (slot + 1) % NAME_SLOTS
    slots[slot] = offset + 1
    return True


cdef const char* _agents(reader_t* reader, const char* p, int key, uint32_t* count) noexcept nogil:
    """An array of agents, gathered at its start: names, a NUL between two. A name that comes again is left out (it is a set)."""
    cdef uint32_t[NAME_SLOTS] slots
    cdef const char* start = p
    cdef char* names = <char*>p
    cdef uint32_t end = 0
    cdef uint32_t limit = min(reader.limits.max_receivers, <uint32_t>MAX_RECEIVERS)
    cdef slice_t name
    memset(slots, 0, sizeof(slots))
    count[0] = 0
    p = skip_space(p + 1)
    if p[0] == c']':
        reader.block.fields[key].length = 0
        return p + 1
    while True:
        p = _agent(reader, p, key, &name)
        if p == NULL:
            return NULL
        memmove(names + end, <char*>reader.block + name.offset, name.length)
        names[end + name.length] = 0
        if _new_name(slots, names, end, name.length):
            if count[0] == limit:
                return refuse(&reader.scan, E_RECEIVERS, p, key)
            count[0] += 1
            end += name.length + 1
        p = skip_space(p)
        if p[0] == c']':
            break
        if p[0] != c',':
            return fail(&reader.scan, E_JSON, p)
        p = skip_space(p + 1)
    reader.block.fields[key].offset = HEADER + <uint32_t>(start - reader.text)
    reader.block.fields[key].length = end - 1
    return p + 1


cdef const char* _named(reader_t* reader, const char* p, int key, uint32_t* count) noexcept nogil:
    """One agent or several; an empty string or array is none."""
    cdef const char* start = p
    cdef slice_t* field = &reader.block.fields[key]
    if p[0] == c'[':
        return _agents(reader, p, key, count)
    if p[0] == c'"' and p[1] == c'"':
        return p + 2
    count[0] = 1
    return _agent(reader, p, key, field)


cdef const char* _integer(reader_t* reader, const char* p, int key, int64_t* out) noexcept nogil:
    """A number written without fraction and exponent; what is beyond a million counts as a million."""
    cdef const char* start = p
    cdef bint whole = False
    cdef int64_t value = 0
    if p[0] != c'-' and not is_digit(p[0]):
        return refuse(&reader.scan, E_TYPE, p, key)
    p = skip_number(&reader.scan, p, &whole)
    if p == NULL:
        return NULL
    if not whole:
        return refuse(&reader.scan, E_TYPE, start, key)
    out[0] = 0
    if start[0] == c'-':
        start += 1
        value = -1
    while start < p:
        out[0] = min(out[0] * 10 + (start[0] - c'0'), <int64_t>1000000)
        start += 1
    if value:
        out[0] = -out[0]
    return p


cdef int _act(const char* p, uint32_t n) noexcept nogil:
    """The code of a performative, whatever its case and dashes; 0 when it is none."""
    cdef char[ACT_LONGEST] name
    cdef uint32_t i
    if n > ACT_LONGEST:
        return 0
    for i in range(n):
        name[i] = p[i] + 32 if c'A' <= p[i] <= c'Z' else (c'-' if p[i] == c'_' else p[i])
    for i in range(ACT_NAMES):
        if ACTS[i].length == n and memcmp(ACTS[i].name, name, n) == 0:
            return ACTS[i].code
    return 0


cdef const char* _priority(reader_t* reader, const char* p) noexcept nogil:
    cdef const char* start = p
    cdef slice_t word
    cdef int64_t number = 0
    cdef uint8_t i
    if p[0] != c'"':
        p = _integer(reader, p, KEY_PRIORITY, &number)
        reader.block.priority = (
            PRIORITY_LOW if number <= 2 else PRIORITY_NORMAL if number <= 6 else PRIORITY_HIGH if number <= 9 else PRIORITY_CRITICAL
        )
        return p
    p = _string(reader, p, KEY_PRIORITY, &word)
    if p == NULL:
        return NULL
    for i in range(PRIORITY_COUNT):
        if memcmp(PRIORITIES[i], <char*>reader.block + word.offset, word.length) == 0 and PRIORITIES[i][word.length] == 0:
            reader.block.priority = i
            return p
    return refuse(&reader.scan, E_TYPE, start, KEY_PRIORITY)


cdef const char* _header_value(reader_t* reader, const char* p, int key) noexcept nogil:
    """The value of a KEY_*."""
    cdef const char* start = p
    cdef envelope_t* block = reader.block
    cdef slice_t word
    cdef int64_t number
    cdef int32_t code
    if key == KEY_PRIORITY:
        return _priority(reader, p)
    if key == KEY_REDELIVERED:
        # the platform's own word, true of one delivery and not of the message: read over
        if memcmp(p, "true", 4) == 0:
            return p + 4
        return p + 5 if memcmp(p, "false", 5) == 0 else refuse(&reader.scan, E_TYPE, p, key)
    if key == KEY_HOP_COUNT or key == KEY_DELIVERY_ATTEMPT:
        p = _integer(reader, p, key, &number)
        if p != NULL and (number < 0 or key == KEY_HOP_COUNT and number > 255):
            return refuse(&reader.scan, E_TYPE, start, key)
        if key == KEY_HOP_COUNT:
            block.hop_count = <uint8_t>number
        return p
    p = _string(reader, p, key, &word)
    if p == NULL:
        return NULL
    if key == KEY_PERFORMATIVE:
        block.act = <uint8_t>_act(<char*>block + word.offset, word.length)
        return p if block.act else refuse(&reader.scan, E_PERFORMATIVE, start, key)
    if key == KEY_MESSAGE_ID:
        return p if uuid_parse(<char*>block + word.offset, word.length, block.message_id) else refuse(&reader.scan, E_MESSAGE_ID, start, key)
    number = moment_parse(<char*>block + word.offset, word.length)
    if number == 0:
        return refuse(&reader.scan, E_TIME, start, key)
    if key == KEY_REPLY_BY:
        block.reply_by_us = number
    else:
        block.expires_at_us = number
    return p


cdef inline const char* _value(reader_t* reader, const char* p, int key) noexcept nogil:
    """The value of a known key."""
    cdef const char* start = p
    cdef uint32_t count = 0
    if p[0] == c'n' and memcmp(p, "null", 4) == 0:
        return p + 4
    if key == F_CONTENT or key == F_PARAMS:
        if key == F_PARAMS and p[0] != c'{':
            return refuse(&reader.scan, E_TYPE, p, key)
        p = skip_value(&reader.scan, p, reader.limits.max_depth)
        if p != NULL:
            reader.block.fields[key].offset = HEADER + <uint32_t>(start - reader.text)
            reader.block.fields[key].length = <uint32_t>(p - start)
        return p
    if key == F_RECEIVER or key == F_REPLY_TO:
        p = _named(reader, p, key, &count)
        if key == F_RECEIVER:
            reader.block.receivers = <uint16_t>count
        return p
    if key == F_SENDER and p[0] == c'{':
        return _agent(reader, p, key, &reader.block.fields[key])
    if key < FIELD_COUNT:
        return _field(reader, p, key, reader.limits.max_name if key != F_TRACESTATE else MAX_TRACESTATE)
    return _header_value(reader, p, key)


cdef const char* _extra(reader_t* reader, const char* p, const char* word, const char* word_end) noexcept nogil:
    """An unknown key: its value is checked, and the member is carried in params."""
    cdef uint32_t i
    cdef extra_t* extra
    for i in range(reader.extra_count):
        extra = &reader.extras[i]
        if same_string(word, word_end, reader.text + extra.start + 1, reader.text + extra.key_end):
            return refuse(&reader.scan, E_DUPLICATE, word - 1, -1)
    if reader.extra_count == MAX_EXTRAS:
        return refuse(&reader.scan, E_FIELD_LENGTH, word - 1, F_PARAMS)
    p = skip_value(&reader.scan, p, reader.limits.max_depth)
    if p == NULL:
        return NULL
    extra = &reader.extras[reader.extra_count]
    extra.start = <uint32_t>(word - 1 - reader.text)
    extra.key_end = <uint32_t>(word_end - reader.text)
    extra.end = <uint32_t>(p - reader.text)
    reader.extra_count += 1
    return p


cdef const char* _members(reader_t* reader, const char* p) noexcept nogil:
    """The members of the message, from behind its opening brace to behind its closing one."""
    cdef const char* word
    cdef const char* word_end
    cdef bint escaped
    cdef int key
    p = skip_space(p)
    if p[0] == c'}':
        return p + 1
    while True:
        if p[0] != c'"':
            return fail(&reader.scan, E_JSON, p)
        word = p + 1
        escaped = False
        word_end = skip_string(&reader.scan, word, &escaped)
        if word_end == NULL:
            return NULL
        p = skip_space(word_end + 1)
        if p[0] != c':':
            return fail(&reader.scan, E_JSON, p)
        p = skip_space(p + 1)
        key = _escaped_key(word, word_end - word) if escaped else _key(word, word_end - word)
        if key < 0:
            p = _extra(reader, p, word, word_end)
        elif reader.seen >> key & 1:
            return refuse(&reader.scan, E_DUPLICATE, word - 1, key)
        else:
            reader.seen |= <uint32_t>1 << key
            p = _value(reader, p, key)
        if p == NULL:
            return NULL
        p = skip_space(p)
        if p[0] == c'}':
            return p + 1
        if p[0] != c',':
            return fail(&reader.scan, E_JSON, p)
        p = skip_space(p + 1)


cdef const char* _merge_extras(reader_t* reader) noexcept nogil:
    """Write params anew, behind the text, with the unknown members at its end; the block may move."""
    cdef envelope_t* block = reader.block
    cdef slice_t params = block.fields[F_PARAMS]
    cdef size_t room = params.length + 2
    cdef size_t old = block.size
    cdef bint flag = False
    cdef uint32_t i
    cdef extra_t* extra
    cdef const char* p
    cdef const char* word
    cdef const char* word_end
    cdef char* out
    # a key that params has already
    if params.length:
        p = skip_space(<char*>block + params.offset + 1)
        while p[0] == c'"':
            word = p + 1
            word_end = skip_string(&reader.scan, word, &flag)
            for i in range(reader.extra_count):
                extra = &reader.extras[i]
                if same_string(word, word_end, reader.text + extra.start + 1, reader.text + extra.key_end):
                    return refuse(&reader.scan, E_DUPLICATE, reader.text + extra.start, F_PARAMS)
            p = skip_space(skip_value(&reader.scan, skip_key(&reader.scan, p), MAX_DEPTH))
            if p[0] == c',':
                p = skip_space(p + 1)
    for i in range(reader.extra_count):
        room += reader.extras[i].end - reader.extras[i].start + 1
    if old + room > LARGEST:
        return fail(&reader.scan, E_TOO_LARGE, reader.text)
    block = <envelope_t*>realloc(block, old + room)
    if block == NULL:
        return fail(&reader.scan, E_MEMORY, reader.text)
    reader.block = block
    reader.text = <char*>block + HEADER
    block.size = <uint32_t>(old + room)
    out = <char*>block + old - SENDER_ROOM
    block.fields[F_PARAMS].offset = <uint32_t>(old - SENDER_ROOM)
    if params.length:
        memcpy(out, <char*>block + params.offset, params.length - 1)
        out += params.length - 1
        while out[-1] == c' ' or out[-1] == c'\n' or out[-1] == c'\r' or out[-1] == c'\t':
            out -= 1
    else:
        out[0] = c'{'
        out += 1
    for i in range(reader.extra_count):
        extra = &reader.extras[i]
        if out[-1] != c'{' or i:
            out[0] = c','
            out += 1
        memcpy(out, reader.text + extra.start, extra.end - extra.start)
        out += extra.end - extra.start
    out[0] = c'}'
    block.fields[F_PARAMS].length = <uint32_t>(out + 1 - (<char*>block + block.fields[F_PARAMS].offset))
    return reader.text


cdef const char* _message(reader_t* reader, size_t length) noexcept nogil:
    """The whole text; not NULL when it is a message."""
    cdef scan_t* scan = &reader.scan
    cdef const char* end = reader.text + length
    cdef const char* p
    if has_high(reader.text, length):
        p = utf8_stop(reader.text, end)
        if p != end:
            return fail(scan, E_UTF8, p)
    p = skip_space(reader.text)
    if p[0] == c'{':
        p = _members(reader, p + 1)
    else:
        p = skip_value(scan, p, reader.limits.max_depth)
    if p == NULL:
        return NULL
    p = skip_space(p)
    if p != end:
        return fail(scan, E_JSON, p)
    if skip_space(reader.text)[0] != c'{':
        return fail(scan, E_NOT_OBJECT, reader.text)
    if reader.block.act == 0:
        return refuse(scan, E_PERFORMATIVE, reader.text, KEY_PERFORMATIVE)
    if reader.block.receivers == 0:
        return refuse(scan, E_RECEIVERS, reader.text, F_RECEIVER)
    if reader.block.fields[F_PROTOCOL].length and not reader.block.fields[F_CONVERSATION_ID].length:
        return refuse(scan, E_PROTOCOL, reader.text + reader.block.fields[F_PROTOCOL].offset - HEADER - 1, F_PROTOCOL)
    return _merge_extras(reader) if reader.extra_count else p


cdef envelope_t* _refuse(envelope_error_t* error, int32_t code, size_t position, int32_t field) noexcept nogil:
    error.code = code
    error.position = <uint32_t>position
    error.field = field
    return NULL


cdef envelope_t* envelope_parse(const char* json, size_t length, const envelope_limits_t* limits, envelope_error_t* error) noexcept nogil:
    cdef reader_t reader
    cdef envelope_t* tight
    cdef slice_t* sender
    if length > limits.max_size or length > LARGEST:
        return _refuse(error, E_TOO_LARGE, limits.max_size, -1)
    reader.block = _allocate(length)
    if reader.block == NULL:
        return _refuse(error, E_MEMORY, 0, -1)
    reader.text = <char*>reader.block + HEADER
    memcpy(reader.text, json, length)
    reader.limits = limits
    reader.seen = 0
    reader.extra_count = 0
    if _message(&reader, length) == NULL:
        _refuse(error, reader.scan.code, reader.scan.at - reader.text, reader.scan.field)
        free(reader.block)
        return NULL
    # mostly white space or decoded escapes: do not keep it for as long as the message waits
    if length > 2048 and _text_size(reader.block) < length // 2:
        sender = &reader.block.fields[F_SENDER]
        tight = _copy(reader.block, <char*>reader.block + sender.offset, sender.length)
        if tight != NULL:
            free(reader.block)
            return tight
    return reader.block


# -- writing JSON --


cdef inline char* _put(char* out, const char* piece, size_t n) noexcept nogil:
    memcpy(out, piece, n)
    return out + n


cdef inline bint _escapes(const envelope_t* envelope, int field) noexcept nogil:
    return envelope.escapes >> field & 1


cdef inline size_t _text(const envelope_t* envelope, int field, const char* p, size_t n) noexcept nogil:
    return escaped_size(p, n) if _escapes(envelope, field) else n


cdef inline char* _put_text(const envelope_t* envelope, int field, const char* p, size_t n, char* out) noexcept nogil:
    return write_escaped(p, n, out) if _escapes(envelope, field) else _put(out, p, n)


cdef size_t _names_size(const envelope_t* envelope, int field) noexcept nogil:
    """Bytes of `"a"` or `["a","b"]`."""
    cdef const char* p = envelope_field(envelope, field)
    cdef const char* end = p + envelope_field_length(envelope, field)
    cdef const char* stop = <const char*>memchr(p, 0, end - p)
    cdef size_t size = 2
    if stop == NULL:
        return _text(envelope, field, p, end - p) + 2
    while stop != NULL:
        size += _text(envelope, field, p, stop - p) + 3
        p = stop + 1
        stop = <const char*>memchr(p, 0, end - p)
    return size + _text(envelope, field, p, end - p) + 2


cdef char* _put_names(const envelope_t* envelope, int field, char* out) noexcept nogil:
    cdef const char* p = envelope_field(envelope, field)
    cdef const char* end = p + envelope_field_length(envelope, field)
    cdef const char* stop = <const char*>memchr(p, 0, end - p)
    cdef bint several = stop != NULL
    if several:
        out[0] = c'['
        out += 1
    while True:
        out[0] = c'"'
        out = _put_text(envelope, field, p, (stop if stop != NULL else end) - p, out + 1)
        out[0] = c'"'
        out += 1
        if stop == NULL:
            break
        out[0] = c','
        out += 1
        p = stop + 1
        stop = <const char*>memchr(p, 0, end - p)
    if several:
        out[0] = c']'
        out += 1
    return out


cdef inline uint32_t _decimal_size(uint32_t value) noexcept nogil:
    cdef uint32_t size = 1
    while value >= 10:
        value //= 10
        size += 1
    return size


cdef inline char* _put_decimal(char* out, uint32_t value) noexcept nogil:
    cdef uint32_t size = _decimal_size(value)
    cdef uint32_t i = size
    while i:
        i -= 1
        out[i] = <char>(c'0' + value % 10)
        value //= 10
    return out + size


cdef size_t _header_size(const envelope_t* envelope, int key) noexcept nogil:
    """Bytes of the value of a KEY_*, its closing quote included; 0 when it is not written."""
    if key == KEY_MESSAGE_ID:
        return UUID_TEXT + 1 if _has_id(envelope) else 0
    if key == KEY_REPLY_BY:
        return moment_size(envelope.reply_by_us) + 1 if envelope.reply_by_us else 0
    if key == KEY_EXPIRES_AT:
        return moment_size(envelope.expires_at_us) + 1 if envelope.expires_at_us else 0
    if key == KEY_PRIORITY:
        return strlen(PRIORITIES[envelope.priority]) + 1 if envelope.priority != PRIORITY_NORMAL else 0
    if key == KEY_HOP_COUNT:
        return _decimal_size(envelope.hop_count) if envelope.hop_count else 0
    return _decimal_size(envelope.delivery_attempt) + REDELIVERED if envelope.delivery_attempt > 1 else 0


cdef char* _put_header(const envelope_t* envelope, int key, char* out) noexcept nogil:
    if key == KEY_MESSAGE_ID:
        uuid_write(envelope.message_id, out)
        out += UUID_TEXT
    elif key == KEY_REPLY_BY:
        out += moment_write(envelope.reply_by_us, out)
    elif key == KEY_EXPIRES_AT:
        out += moment_write(envelope.expires_at_us, out)
    elif key == KEY_PRIORITY:
        out = _put(out, PRIORITIES[envelope.priority], strlen(PRIORITIES[envelope.priority]))
    elif key == KEY_HOP_COUNT:
        return _put_decimal(out, envelope.hop_count)
    else:
        return _put(_put_decimal(out, envelope.delivery_attempt), ',"redelivered":true', REDELIVERED)
    out[0] = c'"'
    return out + 1


cdef size_t envelope_json_size(const envelope_t* envelope) noexcept nogil:
    cdef size_t size, value
    cdef int i
    cdef const piece_t* piece
    if envelope.act == 0:
        return CONTROL_FRAME + strlen(TURNS[envelope.kind]) + _decimal_size(envelope.argument)
    size = ACTS[envelope.act - 1].length + MESSAGE_FRAME
    for i in range(PIECE_COUNT):
        piece = &PIECES[i]
        if piece.key >= FIELD_COUNT:
            value = _header_size(envelope, piece.key)
        else:
            value = envelope.fields[piece.key].length
            if value and piece.kind == WORD:
                value = _text(envelope, piece.key, envelope_field(envelope, piece.key), value) + 1
            elif value and piece.kind == NAMES:
                value = _names_size(envelope, piece.key)
        if value:
            size += piece.length + value
    return size


cdef size_t envelope_write_json(const envelope_t* envelope, char* out) noexcept nogil:
    cdef char* start = out
    cdef uint32_t length
    cdef int i
    cdef const piece_t* piece
    if envelope.act == 0:
        # a turn that the platform asks for is no message; this is for those who look at it
        out = _put(out, '{"turn":"', 9)
        out = _put(out, TURNS[envelope.kind], strlen(TURNS[envelope.kind]))
        out = _put_decimal(_put(out, '","argument":', 13), envelope.argument)
        out[0] = c'}'
        return out + 1 - start
    out = _put(out, '{"performative":"', 17)
    out = _put(out, ACTS[envelope.act - 1].name, ACTS[envelope.act - 1].length)
    out[0] = c'"'
    out += 1
    for i in range(PIECE_COUNT):
        piece = &PIECES[i]
        if piece.key >= FIELD_COUNT:
            if _header_size(envelope, piece.key):
                out = _put_header(envelope, piece.key, _put(out, piece.text, piece.length))
            continue
        length = envelope.fields[piece.key].length
        if length == 0:
            continue
        out = _put(out, piece.text, piece.length)
        if piece.kind == WORD:
            out = _put_text(envelope, piece.key, envelope_field(envelope, piece.key), length, out)
            out[0] = c'"'
            out += 1
        elif piece.kind == RAW:
            out = _put(out, envelope_field(envelope, piece.key), length)
        else:
            out = _put_names(envelope, piece.key, out)
    out[0] = c'}'
    return out + 1 - start


# -- frames --
#
# Little-endian. 0: "CXE" and the version; 4: bytes of the frame; 8: kind, act, priority, hop_count; 12: receivers; 14: fields in the table;
# 15: zero; 16: delivery_attempt; 20: argument; 24: message_id; 40: accepted_us; 48: reply_by_us; 56: expires_at_us; 64: the length of each
# field, then the fields themselves without a gap, so that they can neither overlap nor reach past the end. What only this node knows (ports,
# queue times, reference count) is not in a frame.

cdef inline void _put_u32(char* out, uint32_t value) noexcept nogil:
    cdef int i
    for i in range(4):
        out[i] = <char>(value >> (8 * i) & 255)


cdef inline void _put_u64(char* out, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(8):
        out[i] = <char>(value >> (8 * i) & 255)


cdef inline uint32_t _u32(const char* p) noexcept nogil:
    cdef uint32_t value = 0
    cdef int i
    for i in range(4):
        value |= <uint32_t><uint8_t>p[i] << (8 * i)
    return value


cdef inline uint64_t _u64(const char* p) noexcept nogil:
    return <uint64_t>_u32(p) | <uint64_t>_u32(p + 4) << 32


cdef size_t envelope_frame_size(const envelope_t* envelope) noexcept nogil:
    return FRAME_HEADER + _text_size(envelope)


cdef size_t envelope_write_frame(const envelope_t* envelope, char* out) noexcept nogil:
    cdef char* p = out + FRAME_HEADER
    cdef int i
    memcpy(out, FRAME_MAGIC, 4)
    out[8] = <char>envelope.kind
    out[9] = <char>envelope.act
    out[10] = <char>envelope.priority
    out[11] = <char>envelope.hop_count
    out[12] = <char>(envelope.receivers & 255)
    out[13] = <char>(envelope.receivers >> 8)
    out[14] = FIELD_COUNT
    out[15] = 0
    _put_u32(out + 16, envelope.delivery_attempt)
    _put_u32(out + 20, envelope.argument)
    memcpy(out + 24, envelope.message_id, 16)
    _put_u64(out + 40, <uint64_t>envelope.accepted_us)
    _put_u64(out + 48, <uint64_t>envelope.reply_by_us)
    _put_u64(out + 56, <uint64_t>envelope.expires_at_us)
    for i in range(FIELD_COUNT):
        _put_u32(out + 64 + 4 * i, envelope.fields[i].length)
        if envelope.fields[i].length:
            p = _put(p, envelope_field(envelope, i), envelope.fields[i].length)
    _put_u32(out + 4, <uint32_t>(p - out))
    return p - out


cdef bint _sound_names(envelope_t* block, int field, const envelope_limits_t* limits, uint32_t* count) noexcept nogil:
    """Are the names between the NULs neither empty nor too long nor twice there?"""
    cdef uint32_t[NAME_SLOTS] slots
    cdef char* names = <char*>block + block.fields[field].offset
    cdef uint32_t length = block.fields[field].length
    cdef uint32_t start = 0
    cdef uint32_t size
    cdef const char* stop
    cdef char behind = names[length]
    count[0] = 0
    if length == 0:
        return True
    memset(slots, 0, sizeof(slots))
    names[length] = 0        # what stands there is put back: the next field, or the sender's room
    while start <= length:
        stop = <const char*>memchr(names + start, 0, length + 1 - start)
        size = <uint32_t>(stop - names) - start
        if size == 0 or size > limits.max_name or count[0] == min(limits.max_receivers, <uint32_t>MAX_RECEIVERS):
            break
        if not _new_name(slots, names, start, size):
            break
        count[0] += 1
        start += size + 1
    names[length] = behind
    return start == length + 1


cdef bint _sound_json(const char* p, uint32_t length, const envelope_limits_t* limits) noexcept nogil:
    """Is the raw field one JSON value and nothing else? It is followed by other bytes, so it is walked in a copy that ends in NULs."""
    cdef scan_t scan
    cdef char* copy
    cdef const char* stop
    if memchr(p, 0, length) != NULL:
        return False
    copy = <char*>malloc(length + SENDER_ROOM)
    if copy == NULL:
        return False
    memcpy(copy, p, length)
    memset(copy + length, 0, SENDER_ROOM)
    stop = skip_value(&scan, copy, limits.max_depth)
    free(copy)
    return stop == copy + length


cdef bint _sound(envelope_t* block, const envelope_limits_t* limits) noexcept nogil:
    """Could the parser have made this block?"""
    cdef uint32_t receivers = 0
    cdef uint32_t others = 0
    cdef int i
    cdef const char* p
    cdef uint32_t length, limit
    if block.kind != KIND_MESSAGE:
        return block.kind <= KIND_HEALTH and block.act == 0 and _text_size(block) == 0 and block.priority < PRIORITY_COUNT and block.receivers == 0
    if not 1 <= block.act <= ACT_COUNT or block.priority >= PRIORITY_COUNT:
        return False
    for i in range(FIELD_COUNT):
        p = envelope_field(block, i)
        length = block.fields[i].length
        if length == 0:
            continue
        if utf8_stop(p, p + length) != p + length:
            return False
        if i == F_CONTENT or i == F_PARAMS:
            if not _sound_json(p, length, limits) or i == F_PARAMS and p[0] != c'{' or length == 4 and memcmp(p, "null", 4) == 0:
                return False
        else:
            if needs_escape(p, length):
                block.escapes |= <uint16_t>(1 << i)
            if i != F_RECEIVER and i != F_REPLY_TO:
                limit = limits.max_name if i != F_TRACESTATE else <uint32_t>MAX_TRACESTATE
                if length > limit or memchr(p, 0, length) != NULL:
                    return False
    if block.fields[F_PROTOCOL].length and not block.fields[F_CONVERSATION_ID].length:
        return False
    if not _sound_names(block, F_RECEIVER, limits, &receivers) or not _sound_names(block, F_REPLY_TO, limits, &others):
        return False
    if block.reply_by_us and not is_moment(block.reply_by_us) or block.expires_at_us and not is_moment(block.expires_at_us):
        return False
    return receivers > 0 and receivers == block.receivers


cdef envelope_t* envelope_from_frame(const char* frame, size_t length, const envelope_limits_t* limits, envelope_error_t* error) noexcept nogil:
    cdef envelope_t* block
    cdef uint64_t end = FRAME_HEADER
    cdef uint32_t size
    cdef int i
    if length < FRAME_HEADER or memcmp(frame, FRAME_MAGIC, 4) != 0 or frame[14] != FIELD_COUNT or frame[15] != 0 or _u32(frame + 4) != length:
        return _refuse(error, E_FRAME, min(length, <size_t>FRAME_HEADER), -1)
    if length > <uint64_t>limits.max_size + FRAME_SLACK or length > LARGEST:
        return _refuse(error, E_TOO_LARGE, limits.max_size, -1)
    for i in range(FIELD_COUNT):
        end += _u32(frame + 64 + 4 * i)      # at most 14 * 2**32: cannot wrap
    if end != length:
        return _refuse(error, E_FRAME, 64, -1)
    block = _allocate(length - FRAME_HEADER)
    if block == NULL:
        return _refuse(error, E_MEMORY, 0, -1)
    block.kind = <uint8_t>frame[8]
    block.act = <uint8_t>frame[9]
    block.priority = <uint8_t>frame[10]
    block.hop_count = <uint8_t>frame[11]
    block.receivers = <uint16_t>(<uint8_t>frame[12] | <uint16_t><uint8_t>frame[13] << 8)
    block.delivery_attempt = _u32(frame + 16)
    block.argument = _u32(frame + 20)
    memcpy(block.message_id, frame + 24, 16)
    block.accepted_us = <int64_t>_u64(frame + 40)
    block.reply_by_us = <int64_t>_u64(frame + 48)
    block.expires_at_us = <int64_t>_u64(frame + 56)
    memcpy(<char*>block + HEADER, frame + FRAME_HEADER, length - FRAME_HEADER)
    end = HEADER
    for i in range(FIELD_COUNT):
        size = _u32(frame + 64 + 4 * i)
        block.fields[i].offset = <uint32_t>end if size else 0
        block.fields[i].length = size
        end += size
    if not _sound(block, limits):
        free(block)
        return _refuse(error, E_FRAME, FRAME_HEADER, -1)
    return block


# -- saying what is wrong --


cdef size_t envelope_error_text(const envelope_error_t* error, char* out, size_t room) noexcept nogil:
    cdef int code = -error.code
    cdef int written
    if room == 0:
        return 0
    if code < 0 or code >= SENTENCE_COUNT:
        code = 0
    if 0 <= error.field < KEY_COUNT:
        written = snprintf(out, room, "%s: %s (byte %u)", KEYS[error.field], SENTENCES[code], error.position)
    else:
        written = snprintf(out, room, "%s (byte %u)", SENTENCES[code], error.position)
    return 0 if written < 0 else min(<size_t>written, room - 1)


# -- the Python face --

import json as _json
from uuid import UUID as _UUID

import msgspec as _msgspec

from caxton.core.errors import InternalError, InvalidMessage, MessageTooLarge

_NAMES = tuple(PRIORITIES[i].decode() for i in range(PRIORITY_COUNT))
_TURNS = tuple(TURNS[i].decode() for i in range(KIND_HEALTH + 1))
_CODES = {
    E_JSON: "json", E_NOT_OBJECT: "not-object", E_DEPTH: "depth", E_UTF8: "utf8", E_DUPLICATE: "duplicate", E_TYPE: "type",
    E_PERFORMATIVE: "performative", E_FIELD_LENGTH: "field-length", E_RECEIVERS: "receivers", E_TIME: "time", E_MESSAGE_ID: "message-id",
    E_FRAME: "frame", E_PROTOCOL: "protocol", E_TOO_LARGE: "too-large", E_MEMORY: "memory",
}
_HINTS = {
    E_JSON: "Check the text with a JSON tool; the byte counts from 0.",
    E_TYPE: "Names are strings or {\"name\": ...}; priority is low, normal, high, critical or an integer; hop_count is 0..255; params is an object.",
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
            _msgspec.json.decode(content, type=_msgspec.Raw)
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
        return str(_UUID(bytes=(<char*>self.block.message_id)[:16])) if _has_id(self.block) else None

    @property
    def priority(self):
        return _NAMES[self.block.priority]

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
    """Everything but what one delivery adds: ports, times of acceptance and queueing, attempts."""
    cdef int i
    if a.kind != b.kind or a.act != b.act or a.priority != b.priority or a.hop_count != b.hop_count or a.argument != b.argument:
        return False
    if a.reply_by_us != b.reply_by_us or a.expires_at_us != b.expires_at_us or memcmp(a.message_id, b.message_id, 16) != 0:
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
