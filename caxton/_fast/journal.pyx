"""See journal.pxd for the rules."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from caxton._fast.envelope cimport Envelope, envelope_t, envelope_wrap
from caxton._fast.platform cimport cx_load_u64, cx_store_u64


cdef int ring_init(ring_t* ring, uint64_t capacity) noexcept nogil:
    cdef uint64_t size = 1024
    while size < capacity:
        size *= 2
    memset(ring, 0, sizeof(ring_t))
    ring.bytes = <char*>malloc(size)
    ring.capacity = size
    return 0 if ring.bytes != NULL else -1


cdef void ring_free(ring_t* ring) noexcept nogil:
    free(ring.bytes)
    ring.bytes = NULL


cdef bint ring_append(ring_t* ring, record_t* record, const envelope_t* envelope, const void* more=NULL, uint32_t length=0) noexcept nogil:
    cdef uint64_t block = ((envelope.size if envelope != NULL else 0) + 3) & ~3
    cdef uint64_t size = sizeof(record_t) + block + length
    cdef uint64_t offset = ring.tail & (ring.capacity - 1), to_end, needed
    cdef record_t* skip
    cdef envelope_t* copy
    size = (size + 7) & ~<uint64_t>7
    to_end = ring.capacity - offset
    needed = size if size <= to_end else to_end + size
    if ring.capacity - (ring.tail - ring.head_seen) < needed:
        ring.head_seen = cx_load_u64(&ring.head)
        if ring.capacity - (ring.tail - ring.head_seen) < needed:
            return False
    if size > to_end:
        # records are multiples of 8, so there is room for size and kind at least
        skip = <record_t*>(ring.bytes + offset)
        skip.size = <uint32_t>to_end
        skip.kind = RECORD_SKIP
        offset = 0
    record.size = <uint32_t>size
    record.more = length
    memcpy(ring.bytes + offset, record, sizeof(record_t))
    if envelope != NULL:
        # all but the count of references, which other threads may change meanwhile: the copy has none
        copy = <envelope_t*>(ring.bytes + offset + sizeof(record_t))
        copy.refs = 0
        memcpy(<char*>copy + sizeof(copy.refs), <char*>envelope + sizeof(copy.refs), envelope.size - sizeof(copy.refs))
    if length:
        memcpy(ring.bytes + offset + sizeof(record_t) + block, more, length)
    cx_store_u64(&ring.tail, ring.tail + needed)
    return True


cdef int ring_grow(ring_t* ring, uint64_t capacity) noexcept nogil:
    cdef uint64_t size = ring.capacity, at = ring.head, n
    cdef char* larger
    while size < capacity:
        size *= 2
    larger = <char*>malloc(size)
    if larger == NULL:
        return -1
    # in a larger power of two, records lie in one piece where they did in the smaller
    while at != ring.tail:
        n = min(ring.tail - at, ring.capacity - (at & (ring.capacity - 1)))
        memcpy(larger + (at & (size - 1)), ring.bytes + (at & (ring.capacity - 1)), n)
        at += n
    free(ring.bytes)
    ring.bytes = larger
    ring.capacity = size
    return 0


cdef record_t* ring_peek(ring_t* ring) noexcept nogil:
    cdef uint64_t tail = cx_load_u64(&ring.tail)
    cdef record_t* record
    while ring.head != tail:
        record = <record_t*>(ring.bytes + (ring.head & (ring.capacity - 1)))
        if record.kind != RECORD_SKIP:
            return record
        cx_store_u64(&ring.head, ring.head + record.size)
    return NULL


cdef void ring_advance(ring_t* ring, const record_t* record) noexcept nogil:
    cx_store_u64(&ring.head, ring.head + record.size)


cdef uint64_t ring_used(const ring_t* ring) noexcept nogil:
    return cx_load_u64(&ring.tail) - cx_load_u64(&ring.head)


cdef const char* record_more(const record_t* record, const envelope_t* block) noexcept nogil:
    return <const char*>record + sizeof(record_t) + (((block.size if block != NULL else 0) + 3) & ~3)


cdef envelope_t* block_copy(const envelope_t* block) noexcept nogil:
    """A block of its own out of recorded bytes, with one reference."""
    cdef envelope_t* copy = <envelope_t*>malloc(block.size)
    if copy != NULL:
        memcpy(copy, block, block.size)
        copy.refs = 1
    return copy


cdef class Ring:
    """The ring alone, for tests and measurements."""

    cdef ring_t ring

    def __cinit__(self, capacity):
        if ring_init(&self.ring, capacity):
            raise MemoryError

    def __dealloc__(self):
        ring_free(&self.ring)

    def append(self, int kind, uint32_t port, Envelope envelope=None):
        """False when the ring is full."""
        cdef record_t record
        memset(&record, 0, sizeof(record_t))
        record.kind = kind
        record.port = port
        return ring_append(&self.ring, &record, envelope.block if envelope is not None else NULL)

    def grow(self, uint64_t capacity):
        """Keep what it holds, and have at least this capacity."""
        if ring_grow(&self.ring, capacity):
            raise MemoryError

    def drain(self):
        """All records, oldest first: (kind, port, message or None)."""
        cdef record_t* record
        cdef envelope_t* copy
        drained = []
        while (record := ring_peek(&self.ring)) != NULL:
            envelope = None
            if record.size > sizeof(record_t):
                copy = block_copy(<envelope_t*>(<char*>record + sizeof(record_t)))
                if copy == NULL:
                    raise MemoryError
                envelope = envelope_wrap(copy)
            drained.append((record.kind, record.port, envelope))
            ring_advance(&self.ring, record)
        return drained

    @property
    def used(self):
        """Bytes between the oldest record and the end."""
        return ring_used(&self.ring)

    @property
    def capacity(self):
        """Bytes."""
        return self.ring.capacity
