"""See history.pxd."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from caxton._fast.envelope cimport (
    Envelope,
    envelope_field,
    envelope_field_length,
    envelope_t,
    envelope_wrap,
    F_CONVERSATION_ID,
    KIND_MESSAGE,
)
from caxton._fast.journal cimport block_copy, OUTSIDE, record_t
from caxton._fast.router cimport port_t, Router


cdef inline uint32_t bucket_of(uint64_t ns) noexcept nogil:
    cdef int shift = 0
    while ns >> shift >= 32:
        shift += 1
    return shift * 16 + <uint32_t>(ns >> shift) if shift < 60 else BUCKETS - 1


cdef inline uint64_t bucket_value(uint32_t bucket) noexcept nogil:
    """The middle of the bucket, in ns."""
    cdef uint32_t shift
    if bucket < 32:
        return bucket
    shift = (bucket - 16) // 16
    return ((<uint64_t>(bucket - shift * 16)) << shift) + ((<uint64_t>1 << shift) >> 1)


cdef class History:
    """What the rings said so far."""

    def __cinit__(self, Router router, uint64_t messages, uint64_t size):
        self.router = router
        self._room = max(messages, 1)
        self._capacity = max(size, 4096) & ~<uint64_t>7
        # untouched pages cost nothing: the memory is used as messages come
        self._bytes = <char*>malloc(self._capacity)
        self._entries = <entry_t*>malloc(self._room * sizeof(entry_t))
        if self._bytes == NULL or self._entries == NULL:
            raise MemoryError
        self._oldest = self._next = 1
        memset(self._hops, 0, sizeof(self._hops))

    def __dealloc__(self):
        free(self._bytes)
        free(self._entries)

    cdef void accepted_one(self, const record_t* record) noexcept:
        cdef port_t* port = self.router.find(record.port)
        self.accepted += 1
        if port != NULL:
            port.sent += 1
        self._keep(<envelope_t*>(<char*>record + sizeof(record_t)))

    cdef void turn_done(self, const record_t* record) noexcept:
        cdef port_t* port
        if record.turn != KIND_MESSAGE or record.flags & OUTSIDE:
            return
        port = self.router.find(record.port)
        self._hops[bucket_of(<uint64_t>(record.waited_ns + record.spent_ns))] += 1
        if record.outcome:
            self.failed += 1
        else:
            self.handled += 1
        if port != NULL:
            port.failed += record.outcome != 0
            port.handled += record.outcome == 0
            port.turns_ns += record.spent_ns
            port.waited_ns += record.waited_ns

    cdef void _keep(self, const envelope_t* block) noexcept:
        cdef uint64_t offset = self._written % self._capacity
        cdef uint64_t size = (block.size + 7) & ~<uint64_t>7        # so that each block is aligned
        cdef entry_t* entry
        if size > self._capacity:
            return
        if offset + size > self._capacity:
            self._written += self._capacity - offset
            offset = 0
        self._written += size
        # forget what these bytes overwrite, and what the number of entries cannot hold
        while self._oldest < self._next and (
            self._next - self._oldest >= self._room
            or self._written - self._entries[self._oldest % self._room].offset > self._capacity
        ):
            self._oldest += 1
        memcpy(self._bytes + offset, block, block.size)
        entry = &self._entries[self._next % self._room]
        entry.offset = self._written - size
        entry.size = block.size
        self._next += 1

    def accept(self, Envelope envelope not None):
        """Count and keep one message, as its record in a ring does; for tests and measurements."""
        self.accepted += 1
        self._keep(envelope.block)

    def count_hop(self, uint64_t ns):
        """Count one latency, as the record of a turn does; for tests and measurements."""
        self._hops[bucket_of(ns)] += 1

    def messages(self, conversation_id, uint64_t after, limit):
        """Kept messages with a number above *after*, oldest first: ([(number, message)], next cursor). None: of every conversation."""
        cdef uint64_t at = max(after + 1, self._oldest)
        cdef const envelope_t* block
        cdef envelope_t* copy
        cdef bytes wanted = conversation_id.encode() if conversation_id is not None else None
        found = []
        if after >= self._next:
            return found, after
        while at < self._next and len(found) < limit:
            block = <envelope_t*>(self._bytes + self._entries[at % self._room].offset % self._capacity)
            if wanted is None or (
                envelope_field_length(block, F_CONVERSATION_ID) == <uint32_t>len(wanted)
                and memcmp(envelope_field(block, F_CONVERSATION_ID), <const char*>wanted, len(wanted)) == 0
            ):
                copy = block_copy(block)
                if copy == NULL:
                    raise MemoryError
                found.append((at, envelope_wrap(copy)))
            at += 1
        return found, at - 1

    @property
    def newest(self):
        """Number of the newest message; 0 before the first."""
        return self._next - 1

    def hop_quantile(self, double fraction):
        """Nanoseconds from the mailbox to the end of the turn, that this share of the messages did not exceed; 0 before the first."""
        cdef uint64_t total = 0, seen = 0
        cdef uint32_t i
        for i in range(BUCKETS):
            total += self._hops[i]
        if total == 0:
            return 0
        for i in range(BUCKETS):
            seen += self._hops[i]
            if seen >= total * fraction:
                return bucket_value(i)
        return bucket_value(BUCKETS - 1)

    def forget_hops(self):
        """Count latencies anew."""
        memset(self._hops, 0, sizeof(self._hops))
