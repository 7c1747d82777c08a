"""A message as a binary frame.

Little-endian. 0: "CXE" and the version; 4: bytes of the frame; 8: kind, act, priority, hop_count; 12: receivers; 14: fields in the table;
15: delivery; 16: delivery_attempt; 20: argument; 24: message_id; 40: accepted_us; 48: reply_by_us; 56: expires_at_us; 64: the length of each
field, then the fields themselves without a gap, so that they can neither overlap nor reach past the end. What only this node knows (ports,
queue times, the ledger's words, the reference count) is not in a frame.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr, memcmp, memcpy, strlen

from caxton._fast.byte_scan cimport has_high, utf8_stop
from caxton._fast.envelope cimport (
    DELIVERY_COUNT,
    DELIVERY_UNSAID,
    E_FRAME,
    E_MEMORY,
    E_TOO_LARGE,
    F_CONTENT,
    F_CONVERSATION_ID,
    F_PARAMS,
    F_PROTOCOL,
    F_RECEIVER,
    F_REPLY_TO,
    F_TRACESTATE,
    FIELD_COUNT,
    KIND_HEALTH,
    KIND_MESSAGE,
    PRIORITY_COUNT,
    envelope_error_t,
    envelope_field,
    envelope_limits_t,
    envelope_t,
)
from caxton._fast.json_scan cimport needs_escape, scan_start, scan_t, skip_value
from caxton._fast.message_block cimport (
    LARGEST,
    MAX_RECEIVERS,
    MAX_TRACESTATE,
    block_allocate,
    block_refuse,
    block_text_size,
    name_joins,
    names_free,
    names_init,
    names_t,
)
from caxton._fast.rfc3339 cimport is_moment
from caxton._fast.vocabulary cimport ACT_COUNT

cdef extern from *:
    """
    static const char caxton_magic[] = {'C', 'X', 'E', 1};

    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define CAXTON_LITTLE(bits, x) __builtin_bswap##bits(x)
    #else
    #define CAXTON_LITTLE(bits, x) (x)
    #endif
    static inline void caxton_put_u16(char *p, uint16_t x) { x = CAXTON_LITTLE(16, x); memcpy(p, &x, 2); }
    static inline void caxton_put_u32(char *p, uint32_t x) { x = CAXTON_LITTLE(32, x); memcpy(p, &x, 4); }
    static inline void caxton_put_u64(char *p, uint64_t x) { x = CAXTON_LITTLE(64, x); memcpy(p, &x, 8); }
    static inline uint16_t caxton_u16(const char *p) { uint16_t x; memcpy(&x, p, 2); return CAXTON_LITTLE(16, x); }
    static inline uint32_t caxton_u32(const char *p) { uint32_t x; memcpy(&x, p, 4); return CAXTON_LITTLE(32, x); }
    static inline uint64_t caxton_u64(const char *p) { uint64_t x; memcpy(&x, p, 8); return CAXTON_LITTLE(64, x); }
    """
    const char* FRAME_MAGIC "caxton_magic"
    void _put_u16 "caxton_put_u16"(char* p, uint16_t x) noexcept nogil
    void _put_u32 "caxton_put_u32"(char* p, uint32_t x) noexcept nogil
    void _put_u64 "caxton_put_u64"(char* p, uint64_t x) noexcept nogil
    uint16_t _u16 "caxton_u16"(const char* p) noexcept nogil
    uint32_t _u32 "caxton_u32"(const char* p) noexcept nogil
    uint64_t _u64 "caxton_u64"(const char* p) noexcept nogil

cdef enum:
    FRAME_HEADER = 120
    FRAME_SLACK = 4096       # a frame may be that much longer than the JSON text it came from: header, stamps, sender


cdef inline const char* frame_message_id(const char* frame) noexcept nogil:
    """The 16 bytes of the id, in a frame of FRAME_HEADER bytes at least."""
    return frame + 24


cdef inline int64_t frame_accepted_us(const char* frame) noexcept nogil:
    return <int64_t>_u64(frame + 40)


cdef inline int64_t frame_reply_by_us(const char* frame) noexcept nogil:
    return <int64_t>_u64(frame + 48)


cdef inline int64_t frame_expires_us(const char* frame) noexcept nogil:
    return <int64_t>_u64(frame + 56)


cdef inline size_t frame_size(const envelope_t* envelope) noexcept nogil:
    return FRAME_HEADER + block_text_size(envelope)


cdef inline size_t frame_write(const envelope_t* envelope, char* out) noexcept nogil:
    cdef char* p = out + FRAME_HEADER
    cdef int i
    memcpy(out, FRAME_MAGIC, 4)
    out[8] = <char>envelope.kind
    out[9] = <char>envelope.act
    out[10] = <char>envelope.priority
    out[11] = <char>envelope.hop_count
    _put_u16(out + 12, envelope.receivers)
    out[14] = FIELD_COUNT
    out[15] = <char>envelope.delivery
    _put_u32(out + 16, envelope.delivery_attempt)
    _put_u32(out + 20, envelope.argument)
    memcpy(out + 24, envelope.message_id, 16)
    _put_u64(out + 40, <uint64_t>envelope.accepted_us)
    _put_u64(out + 48, <uint64_t>envelope.reply_by_us)
    _put_u64(out + 56, <uint64_t>envelope.expires_at_us)
    for i in range(FIELD_COUNT):
        _put_u32(out + 64 + 4 * i, envelope.fields[i].length)
        if envelope.fields[i].length:
            memcpy(p, envelope_field(envelope, i), envelope.fields[i].length)
            p += envelope.fields[i].length
    _put_u32(out + 4, <uint32_t>(p - out))
    return p - out


cdef inline bint _sound_names(envelope_t* block, int field, const envelope_limits_t* limits, uint32_t* count) noexcept nogil:
    """Are the names between the NULs neither empty nor too long nor twice there? A NUL ends them."""
    cdef names_t names
    cdef uint32_t length = block.fields[field].length
    cdef uint32_t limit = min(limits.max_receivers, <uint32_t>MAX_RECEIVERS)
    cdef size_t size
    cdef bint sound = True
    names_init(&names, envelope_field(block, field))
    while sound and length and names.end <= length:
        size = strlen(names.text + names.end)
        sound = size != 0 and size <= limits.max_name and name_joins(&names, <uint32_t>size) and names.count <= limit
    names_free(&names)
    if sound:
        count[0] = names.count
    return sound


cdef inline bint _sound_field(envelope_t* block, int field, const envelope_limits_t* limits, uint32_t* count) noexcept nogil:
    """Could the parser have left this in the field? A NUL ends it."""
    cdef const char* p = envelope_field(block, field)
    cdef uint32_t length = block.fields[field].length
    cdef scan_t scan
    if has_high(p, length) and utf8_stop(p, p + length) != p + length:
        return False
    if field == F_CONTENT or field == F_PARAMS:
        if field == F_PARAMS and p[0] != c'{' or memcmp(p, "null", 5) == 0:
            return False
        scan_start(&scan)
        return skip_value(&scan, p, limits.max_depth) == p + length
    if needs_escape(p, length):
        block.escapes |= <uint16_t>(1 << field)
    if field == F_RECEIVER or field == F_REPLY_TO:
        return _sound_names(block, field, limits, count)
    return length <= (limits.max_name if field != F_TRACESTATE else <uint32_t>MAX_TRACESTATE) and memchr(p, 0, length) == NULL


cdef inline bint _sound(envelope_t* block, const envelope_limits_t* limits) noexcept nogil:
    """Could the parser have made this block?"""
    cdef uint32_t receivers = 0
    cdef uint32_t others = 0
    cdef char* end
    cdef char behind
    cdef bint sound
    cdef int i
    if block.priority >= PRIORITY_COUNT or block.delivery >= DELIVERY_COUNT:
        return False
    if block.kind != KIND_MESSAGE:
        if block.act != 0 or block.receivers != 0 or block.delivery != DELIVERY_UNSAID:
            return False
        return block.kind <= KIND_HEALTH and block_text_size(block) == 0
    if not 1 <= block.act <= ACT_COUNT or block.argument != 0:
        return False
    for i in range(FIELD_COUNT):
        if block.fields[i].length == 0:
            continue
        # the field is looked at with a NUL behind it; what stands there is put back: the next field, or the sender's room
        end = <char*>block + block.fields[i].offset + block.fields[i].length
        behind = end[0]
        end[0] = 0
        sound = _sound_field(block, i, limits, &receivers if i == F_RECEIVER else &others)
        end[0] = behind
        if not sound:
            return False
    if block.fields[F_PROTOCOL].length and not block.fields[F_CONVERSATION_ID].length:
        return False
    if block.reply_by_us and not is_moment(block.reply_by_us) or block.expires_at_us and not is_moment(block.expires_at_us):
        return False
    return receivers > 0 and receivers == block.receivers


cdef inline envelope_t* frame_read(const char* frame, size_t length, const envelope_limits_t* limits, envelope_error_t* error) noexcept nogil:
    cdef envelope_t* block
    cdef uint64_t end = FRAME_HEADER
    cdef uint32_t size
    cdef int i
    if length < FRAME_HEADER or memcmp(frame, FRAME_MAGIC, 4) != 0 or frame[14] != FIELD_COUNT or _u32(frame + 4) != length:
        return block_refuse(error, E_FRAME, min(length, <size_t>FRAME_HEADER), -1)
    if length > <uint64_t>limits.max_size + FRAME_SLACK or length > LARGEST:
        return block_refuse(error, E_TOO_LARGE, limits.max_size, -1)
    for i in range(FIELD_COUNT):
        end += _u32(frame + 64 + 4 * i)      # at most 14 * 2**32: cannot wrap
    if end != length:
        return block_refuse(error, E_FRAME, 64, -1)
    block = block_allocate(length - FRAME_HEADER)
    if block == NULL:
        return block_refuse(error, E_MEMORY, 0, -1)
    block.kind = <uint8_t>frame[8]
    block.act = <uint8_t>frame[9]
    block.priority = <uint8_t>frame[10]
    block.hop_count = <uint8_t>frame[11]
    block.receivers = _u16(frame + 12)
    block.delivery = <uint8_t>frame[15]
    block.delivery_attempt = _u32(frame + 16)
    block.argument = _u32(frame + 20)
    memcpy(block.message_id, frame + 24, 16)
    block.accepted_us = <int64_t>_u64(frame + 40)
    block.reply_by_us = <int64_t>_u64(frame + 48)
    block.expires_at_us = <int64_t>_u64(frame + 56)
    memcpy(<char*>block + sizeof(envelope_t), frame + FRAME_HEADER, length - FRAME_HEADER)
    end = sizeof(envelope_t)
    for i in range(FIELD_COUNT):
        size = _u32(frame + 64 + 4 * i)
        block.fields[i].offset = <uint32_t>end if size else 0
        block.fields[i].length = size
        end += size
    if not _sound(block, limits):
        free(block)
        return block_refuse(error, E_FRAME, FRAME_HEADER, -1)
    return block
