"""What waits for one port in the store: positions (ledger.pxd), oldest first; a ring that grows."""

from libc.stdint cimport int64_t, uint64_t

cdef class Backlog:
    cdef uint64_t* items
    cdef uint64_t head
    cdef uint64_t count
    cdef uint64_t room
    cdef uint64_t found_bytes           # frames of those that were found at start, until the port that counts them is there
    cdef int64_t found_end              # the first end of these; 0: none
    cdef int add(self, uint64_t position) except -1
    cdef uint64_t pop(self) noexcept
    cdef uint64_t at(self, uint64_t i) noexcept
    cdef void put(self, uint64_t i, uint64_t position) noexcept
