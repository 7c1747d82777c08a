"""See history.pxd."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from caxton._fast.envelope cimport (
    DELIVERY_UNSAID,
    Envelope,
    envelope_field,
    envelope_field_length,
    envelope_t,
    envelope_wrap,
    F_CONVERSATION_ID,
    KIND_MESSAGE,
)
from caxton._fast.journal cimport block_copy, IN_TURN, number_of, OUTSIDE, record_t, SEQUENCE_BOOT, SPILLED
from caxton._fast.platform cimport cx_monotonic_ns, cx_realtime_us
from caxton._fast.router cimport port_t, Router

cdef inline uint64_t hash_of_id(const uint8_t* message_id) noexcept nogil:
    cdef uint64_t high, low
    memcpy(&high, message_id, 8)
    memcpy(&low, message_id + 8, 8)
    return ((high ^ (low << 32 | low >> 32)) * <uint64_t>0x9E3779B97F4A7C15) >> 20


cdef inline uint64_t place_of(uint64_t sequence, uint32_t rings, uint64_t room) noexcept nogil:
    """Of messages of one ring that follow one another the places follow one another; those of an earlier boot are elsewhere."""
    return (number_of(sequence) // rings + (sequence >> SEQUENCE_BOOT) * <uint64_t>0x9E3779B1) % room


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
        self.rings = 1
        self._capacity = max(size, 4096) & ~<uint64_t>7
        # untouched pages cost nothing: the memory is used as messages come
        self._bytes = <char*>malloc(self._capacity)
        self._entries = <entry_t*>malloc(self._room * sizeof(entry_t))
        if self._bytes == NULL or self._entries == NULL:
            raise MemoryError
        self._oldest = self._next = self._indexed = 1
        self._clock_us = cx_realtime_us() - cx_monotonic_ns() // 1000
        self.watched = set()
        self.ended = []
        memset(self._hops, 0, sizeof(self._hops))

    def __dealloc__(self):
        cdef int i
        free(self._bytes)
        free(self._entries)
        free(self._index)
        for i in range(RINGS):
            free(self._places[i])

    cdef void accepted_one(self, const record_t* record) noexcept:
        cdef port_t* port = self.router.find(record.port)
        self.accepted += 1
        if self.meters is not None:
            self.meters.accepted_one(record)
        if port != NULL:
            port.sent += 1
        self._keep(<envelope_t*>(<char*>record + sizeof(record_t)), record.sequence, record.outcome, 1 if record.flags & SPILLED else 0)

    cdef int turn_done(self, const record_t* record) except -1:
        cdef port_t* port
        cdef entry_t* entry
        cdef const envelope_t* block
        if record.turn == KIND_MESSAGE and record.delivery != DELIVERY_UNSAID and self._buried != record.sequence:
            self.ended_one(record.sequence, record.outcome, self._clock_us + record.at_ns // 1000)
        self._buried = 0
        if record.flags & OUTSIDE:
            return 0
        if self.meters is not None:
            self.meters.turn_done(record)
        if record.turn != KIND_MESSAGE:
            return 0
        if self.spans is not None:
            entry = self._entry(record.sequence)
            if entry != NULL:
                block = <const envelope_t*>(self._bytes + entry.offset % self._capacity)
                self.spans.turn(record, block, self.router.find(record.port), self._clock_us)
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
        return 0

    cdef int died(self, const record_t* record) except -1:
        """A port will not handle the message; port 0: those whom its block names are nowhere, beside those who were found."""
        cdef entry_t* entry = self._entry(record.sequence) if record.port == 0 else NULL
        cdef uint32_t missing
        if entry != NULL:
            missing = min((<envelope_t*>(<char*>record + sizeof(record_t))).receivers, <uint32_t>65535 - entry.receivers)
            if missing == 0:
                return 0
            entry.receivers += <uint16_t>missing
            entry.failed += <uint16_t>(missing - 1)
        self.ended_one(record.sequence, record.outcome, cx_realtime_us())
        if record.flags & IN_TURN:
            self._buried = record.sequence
        return 0

    cdef void spilled(self, uint64_t sequence, int change) noexcept:
        """For one receiver more, or less, the message waits in the store."""
        cdef entry_t* entry = self._entry(sequence)
        if entry != NULL:
            entry.waiting = <uint16_t>max(entry.waiting + change, 0)

    cdef int ended_one(self, uint64_t sequence, uint32_t outcome, int64_t at_us) except -1:
        """One receiver is done with the message."""
        cdef entry_t* entry = self._entry(sequence)
        if entry == NULL or entry.handled + entry.failed >= entry.receivers:
            return 0
        if outcome:
            entry.failed += 1
            entry.outcome = <uint16_t>outcome
        else:
            entry.handled += 1
        entry.changed_us = at_us
        if self.watched and entry.handled + entry.failed == entry.receivers and sequence in self.watched:
            self.watched.discard(sequence)
            self.ended.append((sequence, entry.failed, entry.outcome, at_us))
        return 0

    cdef bint knows(self, uint64_t sequence) noexcept:
        return self._entry(sequence) != NULL

    cdef entry_t* _entry(self, uint64_t sequence) noexcept:
        cdef uint64_t* places = self._places[number_of(sequence) % self.rings % RINGS]
        cdef uint64_t number
        cdef entry_t* entry
        if places == NULL or sequence == 0:
            return NULL
        number = places[place_of(sequence, self.rings, self._room)]
        if number < self._oldest or number >= self._next:
            return NULL
        entry = &self._entries[number % self._room]
        return entry if entry.sequence == sequence else NULL

    cdef void _keep(self, const envelope_t* block, uint64_t sequence, uint32_t receivers, uint32_t waiting) noexcept:
        cdef uint64_t offset = self._written % self._capacity
        cdef uint64_t size = (block.size + 7) & ~<uint64_t>7        # so that each block is aligned
        cdef entry_t* entry
        cdef uint32_t ring
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
        entry.receivers = <uint16_t>receivers
        entry.waiting = <uint16_t>waiting
        entry.handled = entry.failed = entry.outcome = 0
        entry.changed_us = 0
        entry.sequence = sequence
        if sequence:
            ring = <uint32_t>(number_of(sequence) % self.rings % RINGS)
            if self._places[ring] == NULL:
                self._places[ring] = <uint64_t*>calloc(self._room, sizeof(uint64_t))     # untouched pages cost nothing
            if self._places[ring] != NULL:
                self._places[ring][place_of(sequence, self.rings, self._room)] = self._next
        self._next += 1

    def accept(self, Envelope envelope not None):
        """Count and keep one message, as its record in a ring does; for tests and measurements."""
        self.accepted += 1
        self._keep(envelope.block, 0, 1, 0)

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

    def receipt(self, bytes message_id not None):
        """Of the newest kept message with this id (its 16 bytes): (number, receivers, waiting, handled, failed, outcome, accepted_us, changed_us); or None."""
        cdef const uint8_t* wanted = <const uint8_t*><const char*>message_id
        cdef uint64_t i, number, found = 0
        cdef entry_t* entry
        cdef const envelope_t* block
        if len(message_id) != 16:
            raise ValueError(f"an id has 16 bytes, not {len(message_id)}")
        self._bring_index()
        i = hash_of_id(wanted) & (self._index_room - 1)
        while self._index[i]:
            number = self._index[i]
            if number >= self._oldest and number > found:
                block = <envelope_t*>(self._bytes + self._entries[number % self._room].offset % self._capacity)
                if memcmp(block.message_id, wanted, 16) == 0:
                    found = number
            i = (i + 1) & (self._index_room - 1)
        if found == 0:
            return None
        entry = &self._entries[found % self._room]
        block = <envelope_t*>(self._bytes + entry.offset % self._capacity)
        return (found, entry.receivers, entry.waiting, entry.handled, entry.failed, entry.outcome, block.accepted_us, entry.changed_us)

    cdef int _bring_index(self) except -1:
        """Put in what was kept since the last time; begin anew when forgotten messages have filled it."""
        cdef uint64_t room, i, number
        cdef const envelope_t* block
        number = max(self._indexed, self._oldest)
        if self._index == NULL or (self._index_used + self._next - number) * 2 > self._index_room:
            room = 1024
            while room < (self._next - self._oldest) * 4:
                room *= 2
            free(self._index)
            self._index_room = self._index_used = 0
            self._index = <uint64_t*>calloc(room, sizeof(uint64_t))
            if self._index == NULL:
                raise MemoryError
            self._index_room = room
            number = self._oldest
        while number < self._next:
            block = <envelope_t*>(self._bytes + self._entries[number % self._room].offset % self._capacity)
            i = hash_of_id(block.message_id) & (self._index_room - 1)
            while self._index[i]:
                i = (i + 1) & (self._index_room - 1)
            self._index[i] = number
            self._index_used += 1
            number += 1
        self._indexed = self._next
        return 0

    def watch(self, uint64_t sequence):
        """Say by take_ended() when every receiver is done with the message; it may be already."""
        cdef entry_t* entry = self._entry(sequence)
        if entry != NULL and entry.handled + entry.failed >= entry.receivers:
            self.ended.append((sequence, entry.failed, entry.outcome, entry.changed_us))
        else:
            self.watched.add(sequence)

    def take_ended(self):
        """Watched messages that every receiver is done with: [(sequence, how many of them failed, why the last one, when)]."""
        ended, self.ended = self.ended, []
        return ended

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
