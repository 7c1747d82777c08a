"""See segment.pxd."""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy, memset

from caxton._fast.envelope cimport DEFAULT_LIMITS, envelope_error_t, envelope_from_frame, envelope_limits_t, envelope_t
from caxton._fast.message_frame cimport FRAME_HEADER, frame_accepted_us, frame_expires_us, frame_message_id, frame_reply_by_us

from caxton.core.errors import StoreError

cdef bytes MAGIC = b"CXJ\x01\0\0\0\0"

cdef envelope_limits_t ANY_LIMITS = DEFAULT_LIMITS
ANY_LIMITS.max_size = 1 << 30       # what was accepted once is read again, whatever the limits are now


cdef char* grow(bytes_t* buffer, uint64_t more) except NULL:
    cdef uint64_t room
    cdef char* larger
    if buffer.used + more > buffer.room:
        room = max(buffer.room * 2, <uint64_t>65536)
        while room < buffer.used + more:
            room *= 2
        larger = <char*>realloc(buffer.bytes, room)
        if larger == NULL:
            raise MemoryError
        buffer.bytes = larger
        buffer.room = room
    buffer.used += more
    return buffer.bytes + buffer.used - more


cdef char* segment_entry(bytes_t* segment, int kind, int flags, uint32_t count, uint64_t sequence, uint64_t size) except NULL:
    cdef uint64_t whole = (ENTRY + size + 7) & ~<uint64_t>7
    cdef uint32_t length = <uint32_t>whole
    cdef uint16_t n = <uint16_t>count
    cdef char* out
    if segment.used + whole > MAX_SEGMENT:
        raise AssertionError(f"{segment.used} bytes in a segment, and an entry of {whole}: places in it have {OFFSET_BITS} bits")
    if segment.used == 0:
        memcpy(grow(segment, HEADER), <const char*>MAGIC, HEADER)
    out = grow(segment, whole)
    memset(out + whole - 8, 0, 8)
    memcpy(out, &length, 4)
    out[4] = <char>kind
    out[5] = <char>flags
    memcpy(out + 6, &n, 2)
    memcpy(out + 8, &sequence, 8)
    return out


def damaged(uint64_t segment, uint64_t at):
    return StoreError(
        f"segment {segment} of the journal is damaged at byte {at}",
        hint="stop the server, keep a copy of the data folder, then put back a backup: caxton backup restore",
        details={"cause": "damaged", "segment": segment, "at": at},
    )


cdef int check_header(uint64_t segment, bytes records) except -1:
    if len(records) < HEADER or len(records) > MAX_SEGMENT or records[:HEADER] != MAGIC:
        raise damaged(segment, 0)
    return 0


cdef uint64_t entry_size(const char* bytes, uint64_t length, uint64_t at) noexcept nogil:
    cdef uint32_t size = 0
    if at > length or length - at < ENTRY:
        return 0
    memcpy(&size, bytes + at, 4)
    return size if size >= ENTRY and size % 8 == 0 and size <= length - at else 0


cdef uint32_t frame_size_of(const char* entry, uint64_t size, uint32_t count) noexcept nogil:
    cdef uint64_t start = ENTRY + receivers_size(count)
    cdef uint32_t length = 0
    if start + 8 > size:
        return 1
    memcpy(&length, entry + start + 4, 4)
    return max(<uint32_t>min(<uint64_t>length, size - start), <uint32_t>1)


cdef int64_t end_in(const char* entry, uint64_t size, uint32_t count) noexcept nogil:
    cdef uint64_t start = ENTRY + receivers_size(count)
    cdef int64_t expires, reply
    if start + FRAME_HEADER > size:
        return 0
    expires, reply = frame_expires_us(entry + start), frame_reply_by_us(entry + start)
    return min(expires, reply) if expires and reply else expires or reply


cdef envelope_t* frame_of(const char* entry, uint64_t size, uint32_t count, envelope_error_t* error) noexcept nogil:
    cdef uint64_t start = ENTRY + receivers_size(count)
    cdef uint32_t length = 0
    if start + 8 > size:
        return NULL
    memcpy(&length, entry + start + 4, 4)
    return envelope_from_frame(entry + start, length, &ANY_LIMITS, error) if length <= size - start else NULL


def ids_in(bytes records not None):
    """Of the messages in a segment that clients sent: (id, accepted_us, sequence, receivers), oldest first. Damage ends the list."""
    cdef const char* bytes = records
    cdef uint64_t length = <uint64_t>len(records), at = HEADER, size, start, sequence = 0
    cdef uint16_t count = 0
    found = []
    while at < length:
        size = entry_size(bytes, length, at)
        if size < ENTRY:
            break
        memcpy(&count, bytes + at + 6, 2)
        memcpy(&sequence, bytes + at + 8, 8)
        start = ENTRY + receivers_size(count)
        if bytes[at + 4] == E_ACCEPTED and bytes[at + 5] & E_OUTSIDE and start + FRAME_HEADER <= size:
            found.append((
                frame_message_id(bytes + at + start)[:16], frame_accepted_us(bytes + at + start), sequence, count
            ))
        at += size
    return found
