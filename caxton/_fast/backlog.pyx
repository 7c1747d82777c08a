"""See backlog.pxd."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc


cdef class Backlog:
    """See backlog.pxd."""

    def __dealloc__(self):
        free(self.items)

    cdef int add(self, uint64_t position) except -1:
        cdef uint64_t* larger
        cdef uint64_t room, i
        if self.count == self.room:
            room = max(self.room * 2, <uint64_t>64)
            larger = <uint64_t*>malloc(room * sizeof(uint64_t))
            if larger == NULL:
                raise MemoryError
            for i in range(self.count):
                larger[i] = self.items[(self.head + i) & (self.room - 1)]
            free(self.items)
            self.items = larger
            self.room = room
            self.head = 0
        self.items[(self.head + self.count) & (self.room - 1)] = position
        self.count += 1
        return 0

    cdef uint64_t pop(self) noexcept:
        cdef uint64_t position = self.items[self.head]
        self.head = (self.head + 1) & (self.room - 1)
        self.count -= 1
        if self.count == 0 and self.room > 4096:
            free(self.items)
            self.items = NULL
            self.room = self.head = 0
        return position

    cdef uint64_t at(self, uint64_t i) noexcept:
        return self.items[(self.head + i) & (self.room - 1)]

    cdef void put(self, uint64_t i, uint64_t position) noexcept:
        self.items[(self.head + i) & (self.room - 1)] = position

    def __len__(self):
        return self.count
