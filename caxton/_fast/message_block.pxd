"""The block of a message from inside: its limits, and how it is made and copied. For envelope.pyx and the files that it is cut into
(message_reader, message_writer, message_frame); everybody else uses envelope.pxd.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset, strlen

from caxton._fast.envelope cimport F_SENDER, FIELD_COUNT, PRIORITY_NORMAL, envelope_error_t, envelope_t

cdef extern from *:
    """
    #include <string.h>
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #endif

    /* memset to zero; GCC makes `rep stos` of one of this size, which takes longer to start than all the stores */
    static inline void caxton_clear(char *p, size_t n) {
    #if defined(__SSE2__)
        __m128i zero = _mm_setzero_si128();
        __asm__("" : "+x"(zero));
        for (; n >= 64; p += 64, n -= 64) {
            _mm_storeu_si128((__m128i *)p, zero); _mm_storeu_si128((__m128i *)(p + 16), zero);
            _mm_storeu_si128((__m128i *)(p + 32), zero); _mm_storeu_si128((__m128i *)(p + 48), zero);
        }
    #endif
        memset(p, 0, n);
    }
    """
    void clear "caxton_clear"(char* p, size_t n) noexcept nogil

cdef enum:
    SENDER_ROOM = 64
    LARGEST = 0x7fff0000     # limits above it count as this
    MAX_RECEIVERS = 1024     # limits above it count as this
    NAME_SLOTS = 2048
    FEW_NAMES = 16
    MAX_TRACESTATE = 512     # as W3C Trace Context asks to carry


ctypedef struct names_t:
    const char* text         # names, a NUL behind each
    uint32_t end             # where the next one starts
    uint32_t count
    uint32_t* slots          # by hash: where a name starts, plus one; from FEW_NAMES on. Not in a frame: the stack of a guest's fiber is cold


cdef inline envelope_t* block_allocate(size_t text) noexcept nogil:
    """A block with room for *text* bytes and a sender; header and sender's room are zero, the text is not set."""
    cdef envelope_t* block = <envelope_t*>malloc(sizeof(envelope_t) + text + SENDER_ROOM)
    if block == NULL:
        return NULL
    clear(<char*>block, sizeof(envelope_t))
    clear(<char*>block + sizeof(envelope_t) + text, SENDER_ROOM)
    block.refs = 1
    block.size = <uint32_t>(sizeof(envelope_t) + text + SENDER_ROOM)
    block.priority = PRIORITY_NORMAL
    return block


cdef inline size_t block_text_size(const envelope_t* block) noexcept nogil:
    cdef size_t total = 0
    cdef int i
    for i in range(FIELD_COUNT):
        total += block.fields[i].length
    return total


cdef inline envelope_t* block_copy(const envelope_t* block, int field, const char* text_of_field, uint32_t length_of_field) noexcept nogil:
    """A tight copy with one reference, and another text in this field."""
    cdef size_t text = block_text_size(block) - block.fields[field].length + length_of_field
    cdef envelope_t* copy
    cdef uint32_t end = sizeof(envelope_t)
    cdef uint32_t length
    cdef const char* source
    cdef int i
    if text > LARGEST:
        return NULL
    copy = block_allocate(text)
    if copy == NULL:
        return NULL
    memcpy(copy, block, sizeof(envelope_t))
    copy.refs = 1
    copy.size = <uint32_t>(sizeof(envelope_t) + text + SENDER_ROOM)
    for i in range(FIELD_COUNT):
        source = text_of_field if i == field else <const char*>block + block.fields[i].offset
        length = length_of_field if i == field else block.fields[i].length
        if length:
            memcpy(<char*>copy + end, source, length)
        copy.fields[i].offset = end if length else 0
        copy.fields[i].length = length
        end += length
    return copy


cdef inline bint block_has_id(const envelope_t* envelope) noexcept nogil:
    cdef uint64_t[2] words
    memcpy(words, envelope.message_id, 16)
    return words[0] | words[1] != 0


cdef inline envelope_t* block_refuse(envelope_error_t* error, int32_t code, size_t position, int32_t field) noexcept nogil:
    error.code = code
    error.position = <uint32_t>position
    error.field = field
    return NULL


cdef inline void names_init(names_t* names, const char* text) noexcept nogil:
    names.text = text
    names.end = 0
    names.count = 0
    names.slots = NULL


cdef inline void names_free(names_t* names) noexcept nogil:
    free(names.slots)


cdef inline bint name_joins(names_t* names, uint32_t length) noexcept nogil:
    """Does the NUL-ended name behind the others stand there for the first time? Then it is one of them now."""
    cdef const char* name = names.text + names.end
    cdef uint32_t place = 0
    if names.count == FEW_NAMES and names.slots == NULL:
        names.slots = <uint32_t*>calloc(NAME_SLOTS, sizeof(uint32_t))       # without memory it goes on, slowly
        while names.slots != NULL and place < names.end:
            _enter(names, place, <uint32_t>strlen(names.text + place))
            place += <uint32_t>strlen(names.text + place) + 1
        place = 0
    if names.slots == NULL:
        while place < names.end:
            if memcmp(names.text + place, name, length + 1) == 0:
                return False
            place += <uint32_t>strlen(names.text + place) + 1
    elif not _enter(names, names.end, length):
        return False
    names.count += 1
    names.end += length + 1
    return True


cdef inline bint _enter(names_t* names, uint32_t place, uint32_t length) noexcept nogil:
    """Enter a name in the hash table; false when it is there already."""
    cdef const char* name = names.text + place
    cdef uint32_t digest = 2166136261
    cdef uint32_t i, slot
    for i in range(length):
        digest = (digest ^ <uint8_t>name[i]) * 16777619
    slot = (digest ^ digest >> 15) % NAME_SLOTS
    while names.slots[slot]:
        if memcmp(names.text + names.slots[slot] - 1, name, length + 1) == 0:
            return False
        slot = (slot + 1) % NAME_SLOTS
    names.slots[slot] = place + 1
    return True
