"""The format of a segment: the row of the journal that holds what was accepted and handled between two commits.

A segment is 8 bytes (`CXJ`, version, zero) and entries, each a multiple of 8 bytes in length, little-endian:

    u32 length, u8 kind, u8 flags, u16 count, u64 sequence, then by kind
    1 name      sequence = a number for a port in this segment; u32 length and the owner's name
    2 accepted  u64 its first position; count receivers: u32 port numbers, padded to 8; then the message as a frame (message_frame.pxd)
    3 handled   count = outcome (0, or why the message is done with all the same); u32 port number, u32 zero
    4 dead      count = why; u32 port number, u32 attempts

It does not know what is live: the ledger does. `tests/oracles/ledger.py` reads the same format.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from caxton._fast.envelope cimport envelope_error_t, envelope_t

cdef enum:
    E_NAME = 1
    E_ACCEPTED = 2
    E_HANDLED = 3
    E_DEAD = 4

    E_OUTSIDE = 1           # flag: a client sent it

    HEADER = 8
    ENTRY = 16
    ENTRY_RECEIVERS = 65535 # of one entry
    OFFSET_BITS = 24        # of a position: the place in the segment / 8
    MAX_SEGMENT = 8 << OFFSET_BITS

ctypedef struct bytes_t:
    char* bytes
    uint64_t used
    uint64_t room

# room for *more* bytes, which count as used
cdef char* grow(bytes_t* buffer, uint64_t more) except NULL
# a new entry at the segment's end; *size* bytes are for what follows its head
cdef char* segment_entry(bytes_t* segment, int kind, int flags, uint32_t count, uint64_t sequence, uint64_t size) except NULL
# of an accepted entry: bytes of its position and its receivers
cdef inline uint64_t receivers_size(uint64_t count) noexcept nogil:
    return 8 + ((4 * count + 7) & ~<uint64_t>7)
# StoreError unless these are the bytes of a segment
cdef int check_header(uint64_t segment, bytes records) except -1
# bytes of the entry at this place; 0: there is no whole one
cdef uint64_t entry_size(const char* bytes, uint64_t length, uint64_t at) noexcept nogil
# bytes that an `accepted` entry has for its frame, or that the frame says it has when these are fewer: 1 at least
cdef uint32_t frame_size_of(const char* entry, uint64_t size, uint32_t count) noexcept nogil
# when that message's time has passed (delivery.pxd); 0: never, or there is none
cdef int64_t end_in(const char* entry, uint64_t size, uint32_t count) noexcept nogil
# the message of an `accepted` entry; NULL: it is none
cdef envelope_t* frame_of(const char* entry, uint64_t size, uint32_t count, envelope_error_t* error) noexcept nogil
