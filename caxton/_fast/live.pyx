"""See live.pxd."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, memset


cdef bint holds(live_t* entry, uint32_t port) noexcept nogil:
    cdef uint32_t n, i
    if entry.ports == NULL:
        return entry.port == port
    # receivers of many handle it in about the order in which they stand here
    for n in range(entry.remaining):
        i = (entry.port + n) % entry.remaining
        if entry.ports[i] == port:
            entry.port = i
            return True
    return False

cdef inline uint64_t hash_of(uint64_t sequence) noexcept nogil:
    return ((sequence ^ sequence >> 29) * <uint64_t>0x9E3779B97F4A7C15) >> 32


cdef class Live:
    """See live.pxd."""

    def __cinit__(self):
        self.oldest = 1
        self.capacity = 1024
        self.table = <live_t*>calloc(self.capacity, sizeof(live_t))
        if self.table == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef uint64_t i
        if self.table != NULL:
            for i in range(self.capacity):
                if self.table[i].sequence:
                    free(self.table[i].ports)
        free(self.table)
        free(self.live_in)

    cdef live_t* find(self, uint64_t sequence) noexcept:
        cdef uint64_t i = hash_of(sequence) & (self.capacity - 1)
        while self.table[i].sequence:
            if self.table[i].sequence == sequence:
                return &self.table[i]
            i = (i + 1) & (self.capacity - 1)
        return NULL

    cdef int add(self, uint64_t sequence, uint64_t position, uint32_t port) except -1:
        cdef live_t* entry = self.find(sequence)
        cdef uint32_t* ports
        cdef uint64_t i
        if entry == NULL:
            if self.entries * 2 >= self.capacity:
                self._rehash(self.capacity * 2)
            i = hash_of(sequence) & (self.capacity - 1)
            while self.table[i].sequence:
                i = (i + 1) & (self.capacity - 1)
            entry = &self.table[i]
            memset(entry, 0, sizeof(live_t))
            entry.sequence = sequence
            entry.position = position
            entry.port = port
            entry.remaining = 1
            self.entries += 1
            return 0
        ports = <uint32_t*>realloc(entry.ports, (entry.remaining + 1) * sizeof(uint32_t))
        if ports == NULL:
            raise MemoryError
        if entry.ports == NULL:
            ports[0] = entry.port
            entry.port = 0
        entry.ports = ports
        ports[entry.remaining] = port
        entry.remaining += 1
        return 0

    cdef void leave(self, live_t* entry, uint32_t port) noexcept:
        if not holds(entry, port):
            return
        if entry.ports != NULL:
            entry.ports[entry.port] = entry.ports[entry.remaining - 1]
        entry.remaining -= 1
        if entry.remaining == 0:
            self._remove(entry)

    cdef void _remove(self, live_t* entry) noexcept:
        cdef uint64_t mask = self.capacity - 1, hole = <uint64_t>(entry - self.table), i = hole, home
        free(entry.ports)
        while True:
            i = (i + 1) & mask
            if self.table[i].sequence == 0:
                break
            home = hash_of(self.table[i].sequence) & mask
            if (i - home) & mask >= (i - hole) & mask:
                self.table[hole] = self.table[i]
                hole = i
        memset(&self.table[hole], 0, sizeof(live_t))
        self.entries -= 1
        if self.capacity > 65536 and self.entries * 16 < self.capacity:
            try:
                self._rehash(self.capacity // 4)
            except MemoryError:
                pass        # it stays large

    cdef int _rehash(self, uint64_t capacity) except -1:
        cdef live_t* before = self.table
        cdef live_t* table = <live_t*>calloc(capacity, sizeof(live_t))
        cdef uint64_t k, i
        if table == NULL:
            raise MemoryError
        for k in range(self.capacity):
            if before[k].sequence:
                i = hash_of(before[k].sequence) & (capacity - 1)
                while table[i].sequence:
                    i = (i + 1) & (capacity - 1)
                table[i] = before[k]
        self.table = table
        self.capacity = capacity
        free(before)
        return 0

    cdef int count(self, uint64_t segment, int64_t change) except -1:
        cdef uint64_t place, room
        cdef uint32_t* larger
        if segment < self.oldest:
            raise AssertionError(f"segment {segment} was settled, the oldest that is not is {self.oldest}")
        place = segment - self.oldest
        if place >= self.live_room:
            room = max(self.live_room * 2, max(place + 1, <uint64_t>256))
            larger = <uint32_t*>realloc(self.live_in, room * sizeof(uint32_t))
            if larger == NULL:
                raise MemoryError
            memset(larger + self.live_room, 0, (room - self.live_room) * sizeof(uint32_t))
            self.live_in = larger
            self.live_room = room
        self.live_in[place] = <uint32_t>(<int64_t>self.live_in[place] + change)
        self.live += change
        return 0

    cdef void settle(self, uint64_t end) noexcept:
        cdef uint64_t n = 0
        while self.oldest + n < end and n < self.live_room and self.live_in[n] == 0:
            n += 1
        if self.oldest + n < end and n == self.live_room:
            n = end - self.oldest
        if n == 0:
            return
        if n < self.live_room:
            memmove(self.live_in, self.live_in + n, (self.live_room - n) * sizeof(uint32_t))
            memset(self.live_in + self.live_room - n, 0, n * sizeof(uint32_t))
        elif self.live_room:
            memset(self.live_in, 0, self.live_room * sizeof(uint32_t))
        self.oldest += n

    cdef uint64_t count_in(self, uint64_t segment) noexcept:
        return self.live_in[segment - self.oldest] if self.oldest <= segment < self.oldest + self.live_room else 0
