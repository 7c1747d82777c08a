"""A message as compact JSON: precomputed pieces in a fixed order, and the fields between them."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcpy, strlen

from caxton._fast.envelope cimport (
    DELIVERY_UNSAID,
    FIELD_COUNT,
    KEY_DELIVERY,
    KEY_EXPIRES_AT,
    KEY_HOP_COUNT,
    KEY_MESSAGE_ID,
    KEY_PRIORITY,
    KEY_REPLY_BY,
    PRIORITY_NORMAL,
    envelope_field,
    envelope_field_length,
    envelope_t,
)
from caxton._fast.json_scan cimport escaped_size, write_escaped
from caxton._fast.message_block cimport block_has_id
from caxton._fast.rfc3339 cimport moment_size, moment_write
from caxton._fast.uuid7 cimport UUID_TEXT, uuid_write
from caxton._fast.vocabulary cimport ACTS, DELIVERIES, PRIORITIES, TURNS

cdef extern from *:
    """
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
        /* few messages have these; see _pieces() */
        PIECE(22, CAXTON_HEADER, "delivery", QUOTE), PIECE(20, CAXTON_HEADER, "delivery_attempt", ""),
    };

    /* memcpy, without a call for what is mostly short */
    static inline char *caxton_put(char *out, const char *from, size_t n) {
        if (n > 32) memcpy(out, from, n);
        else if (n >= 16) {
            uint64_t a[2], b[2];
            memcpy(a, from, 16); memcpy(b, from + n - 16, 16);
            memcpy(out, a, 16); memcpy(out + n - 16, b, 16);
        } else if (n >= 8) {
            uint64_t a, b;
            memcpy(&a, from, 8); memcpy(&b, from + n - 8, 8);
            memcpy(out, &a, 8); memcpy(out + n - 8, &b, 8);
        } else if (n >= 4) {
            uint32_t a, b;
            memcpy(&a, from, 4); memcpy(&b, from + n - 4, 4);
            memcpy(out, &a, 4); memcpy(out + n - 4, &b, 4);
        } else if (n) {
            out[0] = from[0]; out[n >> 1] = from[n >> 1]; out[n - 1] = from[n - 1];
        }
        return out + n;
    }
    """
    char* _put "caxton_put"(char* out, const char* piece, size_t n) noexcept nogil
    ctypedef struct piece_t "struct caxton_piece":
        const char* text
        uint8_t length
        uint8_t key
        uint8_t kind
    enum:
        WORD "CAXTON_WORD"
        NAMES "CAXTON_NAMES"
        RAW "CAXTON_RAW"
    const piece_t* PIECES "caxton_pieces"

cdef enum:
    PIECE_COUNT = 21
    USUAL_PIECES = 19
    MESSAGE_FRAME = 19       # {"performative":""}
    CONTROL_FRAME = 23       # {"turn":"","argument":}
    REDELIVERED = 19         # ,"redelivered":true


cdef inline bint _escapes(const envelope_t* envelope, int field) noexcept nogil:
    return envelope.escapes >> field & 1


cdef inline size_t _text(const envelope_t* envelope, int field, const char* p, size_t n) noexcept nogil:
    return escaped_size(p, n) if _escapes(envelope, field) else n


cdef inline char* _put_text(const envelope_t* envelope, int field, const char* p, size_t n, char* out) noexcept nogil:
    return write_escaped(p, n, out) if _escapes(envelope, field) else _put(out, p, n)


cdef inline size_t _names_size(const envelope_t* envelope, int field) noexcept nogil:
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


cdef inline char* _put_names(const envelope_t* envelope, int field, char* out) noexcept nogil:
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


cdef inline size_t _header_size(const envelope_t* envelope, int key) noexcept nogil:
    """Bytes of the value of a KEY_*, its closing quote included; 0 when it is not written."""
    if key == KEY_MESSAGE_ID:
        return UUID_TEXT + 1 if block_has_id(envelope) else 0
    if key == KEY_REPLY_BY:
        return moment_size(envelope.reply_by_us) + 1 if envelope.reply_by_us else 0
    if key == KEY_EXPIRES_AT:
        return moment_size(envelope.expires_at_us) + 1 if envelope.expires_at_us else 0
    if key == KEY_PRIORITY:
        return strlen(PRIORITIES[envelope.priority]) + 1 if envelope.priority != PRIORITY_NORMAL else 0
    if key == KEY_DELIVERY:
        return strlen(DELIVERIES[envelope.delivery]) + 1 if envelope.delivery != DELIVERY_UNSAID else 0
    if key == KEY_HOP_COUNT:
        return _decimal_size(envelope.hop_count) if envelope.hop_count else 0
    return _decimal_size(envelope.delivery_attempt) + REDELIVERED if envelope.delivery_attempt else 0


cdef inline char* _put_header(const envelope_t* envelope, int key, char* out) noexcept nogil:
    if key == KEY_MESSAGE_ID:
        uuid_write(envelope.message_id, out)
        out += UUID_TEXT
    elif key == KEY_REPLY_BY:
        out += moment_write(envelope.reply_by_us, out)
    elif key == KEY_EXPIRES_AT:
        out += moment_write(envelope.expires_at_us, out)
    elif key == KEY_PRIORITY:
        out = _put(out, PRIORITIES[envelope.priority], strlen(PRIORITIES[envelope.priority]))
    elif key == KEY_DELIVERY:
        out = _put(out, DELIVERIES[envelope.delivery], strlen(DELIVERIES[envelope.delivery]))
    elif key == KEY_HOP_COUNT:
        return _put_decimal(out, envelope.hop_count)
    else:
        return _put(_put_decimal(out, envelope.delivery_attempt), ',"redelivered":true', REDELIVERED)
    out[0] = c'"'
    return out + 1


cdef inline int _pieces(const envelope_t* envelope) noexcept nogil:
    """How many of the pieces to look at: the last are of the delivery, which few messages speak of."""
    return PIECE_COUNT if envelope.delivery != DELIVERY_UNSAID or envelope.delivery_attempt else USUAL_PIECES


cdef inline size_t message_size(const envelope_t* envelope) noexcept nogil:
    cdef size_t size, value
    cdef int i
    cdef const piece_t* piece
    if envelope.act == 0:
        return CONTROL_FRAME + strlen(TURNS[envelope.kind]) + _decimal_size(envelope.argument)
    size = ACTS[envelope.act - 1].length + MESSAGE_FRAME
    for i in range(_pieces(envelope)):
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


cdef inline size_t message_write(const envelope_t* envelope, char* out) noexcept nogil:
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
    for i in range(_pieces(envelope)):
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
