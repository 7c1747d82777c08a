"""See recovery.pxd."""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, qsort, realloc
from libc.string cimport memcpy

from caxton._fast.backlog cimport Backlog
from caxton._fast.live cimport Live
from caxton._fast.segment cimport check_header, E_ACCEPTED, E_DEAD, E_HANDLED, E_NAME, end_in, ENTRY, entry_size, frame_size_of, HEADER, OFFSET_BITS
from caxton._fast.segment import damaged


cdef inline uint64_t hash_of(uint64_t sequence, uint32_t owner) noexcept nogil:
    cdef uint64_t both = sequence ^ <uint64_t>owner << 40
    return ((both ^ both >> 29) * <uint64_t>0x9E3779B97F4A7C15) >> 32


cdef int by_order(const void* a, const void* b) noexcept nogil:
    cdef uint64_t x = (<const found_t*>a).order, y = (<const found_t*>b).order
    return (x > y) - (x < y)


cdef class Recovery:
    """See recovery.pxd."""

    def __cinit__(self):
        self.owners, self.owner_numbers = [], {}
        self._reindex(1024)

    def __dealloc__(self):
        free(self.found)
        free(self.index)

    cdef int read(self, uint64_t segment, bytes records) except -1:
        cdef const char* bytes = records
        cdef uint64_t length = <uint64_t>len(records), at = HEADER, size, sequence = 0, order = 0
        cdef uint32_t number = 0, name_length = 0, frame_size
        cdef uint16_t count = 0
        cdef found_t* found
        cdef dict names = {}
        cdef int64_t end
        cdef int i, kind
        check_header(segment, records)
        while at < length:
            size = entry_size(bytes, length, at)
            if size == 0:
                raise damaged(segment, at)
            kind = bytes[at + 4]
            memcpy(&count, bytes + at + 6, 2)
            memcpy(&sequence, bytes + at + 8, 8)
            if size >= ENTRY + 8:
                memcpy(&number, bytes + at + ENTRY, 4)
            if kind == E_NAME and size >= ENTRY + 8:
                memcpy(&name_length, bytes + at + ENTRY, 4)
                if name_length > size - ENTRY - 4:
                    raise damaged(segment, at)
                owner = bytes[at + ENTRY + 4:at + ENTRY + 4 + name_length].decode(errors="replace")
                if owner not in self.owner_numbers:
                    self.owner_numbers[owner] = len(self.owners)
                    self.owners.append(owner)
                names[sequence] = self.owner_numbers[owner]
            elif kind == E_ACCEPTED and count and size >= ENTRY + 8 + 4 * <uint64_t>count:
                memcpy(&order, bytes + at + ENTRY, 8)
                frame_size = frame_size_of(bytes + at, size, count)
                end = end_in(bytes + at, size, count)
                for i in range(count):
                    memcpy(&number, bytes + at + ENTRY + 8 + 4 * i, 4)
                    if number not in names:
                        raise damaged(segment, at)
                    self._found(sequence, names[number], segment << OFFSET_BITS | at >> 3, order, frame_size, end)
            elif (kind == E_HANDLED or kind == E_DEAD) and size >= ENTRY + 8 and number in names:
                found = self._look(sequence, names[number])
                if found != NULL:
                    found.size = 0
            else:
                raise damaged(segment, at)
            at += size
        return 0

    cdef found_t* _look(self, uint64_t sequence, uint32_t owner) noexcept:
        cdef uint64_t i = hash_of(sequence, owner) & (self.index_room - 1)
        cdef found_t* found
        while self.index[i]:
            found = &self.found[self.index[i] - 1]
            if found.sequence == sequence and found.owner == owner:
                return found
            i = (i + 1) & (self.index_room - 1)
        return NULL

    cdef int _found(self, uint64_t sequence, uint32_t owner, uint64_t position, uint64_t order, uint32_t size, int64_t end) except -1:
        cdef found_t* found = self._look(sequence, owner)
        cdef found_t* larger
        cdef uint64_t i
        if found == NULL:
            if self.found_count == self.found_room:
                larger = <found_t*>realloc(self.found, max(self.found_room * 2, <uint64_t>1024) * sizeof(found_t))
                if larger == NULL:
                    raise MemoryError
                self.found = larger
                self.found_room = max(self.found_room * 2, <uint64_t>1024)
            if (self.found_count + 1) * 2 > self.index_room:
                self._reindex(self.index_room * 2)
            found = &self.found[self.found_count]
            self.found_count += 1
            found.sequence = sequence
            found.owner = owner
            i = hash_of(sequence, owner) & (self.index_room - 1)
            while self.index[i]:
                i = (i + 1) & (self.index_room - 1)
            self.index[i] = <uint32_t>self.found_count
        found.position = position
        found.order = order
        found.size = size
        found.end = end
        return 0

    cdef int _reindex(self, uint64_t room) except -1:
        cdef uint32_t* index = <uint32_t*>calloc(room, sizeof(uint32_t))
        cdef uint64_t k, i
        if index == NULL:
            raise MemoryError
        for k in range(self.found_count):
            i = hash_of(self.found[k].sequence, self.found[k].owner) & (room - 1)
            while index[i]:
                i = (i + 1) & (room - 1)
            index[i] = <uint32_t>(k + 1)
        free(self.index)
        self.index = index
        self.index_room = room
        return 0

    cdef dict finish(self, Live live):
        cdef Backlog backlog
        cdef uint64_t k
        cdef list backlogs = [Backlog() for _ in self.owners]
        if self.found_count:
            qsort(self.found, self.found_count, sizeof(found_t), by_order)
        for k in range(self.found_count):
            if self.found[k].size:
                backlog = backlogs[self.found[k].owner]
                backlog.add(self.found[k].position)
                backlog.found_bytes += self.found[k].size
                if self.found[k].end and (backlog.found_end == 0 or self.found[k].end < backlog.found_end):
                    backlog.found_end = self.found[k].end
                live.count(self.found[k].position >> OFFSET_BITS, 1)
        return {owner: backlog for owner, backlog in zip(self.owners, backlogs) if len(backlog)}
