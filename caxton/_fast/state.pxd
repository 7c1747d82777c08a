"""An agent's small key-value state in memory: what was committed, and what the running turn has written over it.

Reads see the turn's own writes. `state_commit` moves them into the base and hands them to the caller as one changes block; `state_rollback` forgets them.
The quota counts key and value bytes of base and overlay together, as the turn sees them: a pair that was overwritten counts once. Keys are 1..256 bytes, any bytes. One thread at a time uses a state.
An empty state costs one small allocation: thousands of agents have none.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef enum:
    STATE_OK = 0
    STATE_NOT_FOUND = -1
    STATE_KEY = -2           # key empty or longer than 256 bytes
    STATE_QUOTA = -3         # would exceed the quota
    STATE_MEMORY = -4        # no memory left

cdef struct state_s
ctypedef state_s state_t

cdef state_t* state_new(uint64_t quota) noexcept nogil
cdef void state_free(state_t* state) noexcept nogil
# puts a pair into the base, at start from the store's rows
cdef int state_restore(state_t* state, const char* key, uint32_t key_length, const char* value, uint32_t value_length) noexcept nogil
cdef int state_store(state_t* state, const char* key, uint32_t key_length, const char* value, uint32_t value_length) noexcept nogil
# length of the value and its bytes (valid until the next change), or STATE_NOT_FOUND, STATE_KEY
cdef int64_t state_load(state_t* state, const char* key, uint32_t key_length, const char** value) noexcept nogil
cdef int state_delete(state_t* state, const char* key, uint32_t key_length) noexcept nogil
cdef uint64_t state_bytes(const state_t* state) noexcept nogil
# a malloc'ed block of the turn's changes: repeated (u32 key length, i64 value length or -1 = deleted, key bytes, value bytes), unaligned; NULL with
# *length* 0 when nothing changed. The caller frees it. NULL with another *length*: no memory, nothing was committed.
cdef char* state_commit(state_t* state, size_t* length) noexcept nogil
cdef void state_rollback(state_t* state) noexcept nogil

# the Python view of a changes block
cdef list changes_to_list(const char* block, size_t length)

cdef class State:
    cdef state_t* state
