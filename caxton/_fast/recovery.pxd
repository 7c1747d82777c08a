"""What older segments say, read at start: which deliveries were accepted and neither handled nor dead, for each owner in the order of their acceptance."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from caxton._fast.live cimport Live

ctypedef struct found_t:
    uint64_t sequence
    uint64_t position
    uint64_t order          # its first position: a message that was carried into a later segment keeps its place among the others
    int64_t end             # when its time has passed, 0: never
    uint32_t owner
    uint32_t size           # of its frame; 0: handled or dead

cdef class Recovery:
    cdef found_t* found
    cdef uint32_t* index                # by hash: place in `found`, and one
    cdef uint64_t found_count
    cdef uint64_t found_room
    cdef uint64_t index_room
    cdef list owners
    cdef dict owner_numbers
    # a segment, oldest first; StoreError for bytes that are none
    cdef int read(self, uint64_t segment, bytes records) except -1
    # after the last: owner -> Backlog; each delivery in them counts as live
    cdef dict finish(self, Live live)
    cdef int _found(self, uint64_t sequence, uint32_t owner, uint64_t position, uint64_t order, uint32_t size, int64_t end) except -1
    cdef found_t* _look(self, uint64_t sequence, uint32_t owner) noexcept
    cdef int _reindex(self, uint64_t room) except -1
