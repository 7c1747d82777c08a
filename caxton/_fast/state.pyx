"""A hash table of pairs, each with its committed value, its value of this turn, or both.

Rule 1: the keys are the guest's, so the hash has a secret (SipHash-1-3): nobody can choose keys that collide.
Rule 2: the pairs that differ from the base are a list, oldest change first; a commit costs what changed, not what is there. Writing the base's own
value back, or deleting what the base never had, leaves no change: the block that `state_commit` gives is exactly the difference.
Rule 3: the quota counts what the turn sees, each pair once. A write that makes it no larger always passes: who is over a quota that was lowered
may still shrink. `state_restore` does not ask it: what was committed once is the agent's.
Rule 4: a function that fails for want of memory has changed nothing.
"""

# Over 500 lines, just: one table, whose hashing, quota and commit touch every pair's two values.

import os

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memmove

from caxton._fast.sip_hash cimport sip_hash

cdef enum:
    MAX_KEY = 256
    MIN_CAPACITY = 8
    CHANGE_HEADER = 12       # u32 key length, i64 value length

    HAS_BASE = 1             # `base` is a committed value
    CHANGED = 2              # in the list of changes
    DELETED = 4              # CHANGED, and the change is that it is gone

cdef struct value_t:
    char* bytes              # NULL when length is 0
    uint32_t length
    uint32_t room

cdef struct pair_t:
    pair_t* earlier
    pair_t* later
    value_t base
    value_t written          # meant when CHANGED and not DELETED
    uint32_t hash
    uint32_t key_length
    uint32_t flags
    # the key follows

cdef struct state_s:
    pair_t** table           # open addressing, linear probing, at most 3/4 full; NULL when capacity is 0
    pair_t* first            # the changes
    pair_t* last
    uint64_t quota
    uint64_t bytes           # of keys and values that the turn sees
    uint64_t base_bytes      # of those that were committed
    uint32_t capacity        # a power of two
    uint32_t count

# set once, when the module is imported
cdef uint64_t secret_0 = int.from_bytes(os.urandom(8), "little")
cdef uint64_t secret_1 = int.from_bytes(os.urandom(8), "little")


cdef inline uint32_t hash_key(const char* key, uint32_t length) noexcept nogil:
    return sip_hash(key, length, secret_0, secret_1)


# -- values --

cdef inline bint value_fits(const value_t* value, uint32_t length) noexcept nogil:
    """Whether *length* bytes go where the value lies, without holding on to more than about twice that."""
    return length <= value.room and value.room <= 2 * <uint64_t>length + 64


cdef bint value_set(value_t* value, const char* source, uint32_t length) noexcept nogil:
    """False when there is no memory. *source* may be the value's own bytes."""
    cdef char* room
    if not value_fits(value, length):
        room = NULL
        if length > 0:
            room = <char*>malloc(length)
            if room == NULL:
                return False
            memcpy(room, source, length)
        free(value.bytes)
        value.bytes = room
        value.room = length
    elif length > 0:
        memmove(value.bytes, source, length)
    value.length = length
    return True


cdef inline void value_clear(value_t* value) noexcept nogil:
    free(value.bytes)
    value.bytes = NULL
    value.length = value.room = 0


# -- pairs --

cdef inline char* key_of(pair_t* pair) noexcept nogil:
    return <char*>(pair + 1)


cdef inline bint is_visible(const pair_t* pair) noexcept nogil:
    return pair != NULL and not pair.flags & DELETED


cdef inline value_t* visible_value(pair_t* pair) noexcept nogil:
    return &pair.written if pair.flags & CHANGED else &pair.base


cdef inline uint64_t visible_bytes(pair_t* pair) noexcept nogil:
    return <uint64_t>pair.key_length + visible_value(pair).length if is_visible(pair) else 0


cdef void note_change(state_t* state, pair_t* pair) noexcept nogil:
    if pair.flags & CHANGED:
        return
    pair.flags |= CHANGED
    pair.later = NULL
    pair.earlier = state.last
    if state.last == NULL:
        state.first = pair
    else:
        state.last.later = pair
    state.last = pair


cdef void forget_change(state_t* state, pair_t* pair) noexcept nogil:
    if not pair.flags & CHANGED:
        return
    if pair.earlier == NULL:
        state.first = pair.later
    else:
        pair.earlier.later = pair.later
    if pair.later == NULL:
        state.last = pair.earlier
    else:
        pair.later.earlier = pair.earlier
    pair.flags &= HAS_BASE
    value_clear(&pair.written)


# -- the table --

cdef bint resize(state_t* state, uint32_t capacity) noexcept nogil:
    cdef pair_t** table = <pair_t**>calloc(capacity, sizeof(pair_t*))
    cdef uint32_t i, at
    if table == NULL:
        return False
    for i in range(state.capacity):
        if state.table[i] != NULL:
            at = state.table[i].hash & (capacity - 1)
            while table[at] != NULL:
                at = (at + 1) & (capacity - 1)
            table[at] = state.table[i]
    free(state.table)
    state.table = table
    state.capacity = capacity
    return True


cdef void shrink(state_t* state) noexcept nogil:
    """After a turn: a table that is mostly empty goes. Without memory for the smaller one the larger stays."""
    cdef uint32_t wanted = MIN_CAPACITY
    while wanted < state.count * 2:
        wanted *= 2
    if state.capacity > 4 * wanted:
        resize(state, wanted)


cdef pair_t* find(const state_t* state, const char* key, uint32_t length, uint32_t hash) noexcept nogil:
    cdef uint32_t at = hash
    cdef pair_t* pair
    if state.count == 0:
        return NULL
    while True:
        pair = state.table[at & (state.capacity - 1)]
        if pair == NULL:
            return NULL
        if pair.hash == hash and pair.key_length == length and memcmp(key_of(pair), key, length) == 0:
            return pair
        at += 1


cdef pair_t* insert(state_t* state, const char* key, uint32_t length, uint32_t hash) noexcept nogil:
    """A pair with neither value, for a key that is not there; NULL when there is no memory."""
    cdef pair_t* pair
    cdef uint32_t at
    if state.count >= state.capacity // 4 * 3:
        if not resize(state, state.capacity * 2 if state.capacity > 0 else MIN_CAPACITY):
            return NULL
    pair = <pair_t*>calloc(1, sizeof(pair_t) + length)
    if pair == NULL:
        return NULL
    pair.hash = hash
    pair.key_length = length
    memcpy(key_of(pair), key, length)
    at = hash & (state.capacity - 1)
    while state.table[at] != NULL:
        at = (at + 1) & (state.capacity - 1)
    state.table[at] = pair
    state.count += 1
    return pair


cdef void pair_free(pair_t* pair) noexcept nogil:
    free(pair.base.bytes)
    free(pair.written.bytes)
    free(pair)


cdef void remove(state_t* state, pair_t* pair) noexcept nogil:
    """Takes the pair out and moves those behind it up, so that no search stops at the gap."""
    cdef uint32_t mask = state.capacity - 1
    cdef uint32_t gap = pair.hash & mask, at, home
    while state.table[gap] != pair:
        gap = (gap + 1) & mask
    at = gap
    while True:
        at = (at + 1) & mask
        if state.table[at] == NULL:
            break
        home = state.table[at].hash & mask
        if ((at - home) & mask) >= ((at - gap) & mask):
            state.table[gap] = state.table[at]
            gap = at
    state.table[gap] = NULL
    state.count -= 1
    pair_free(pair)


# -- the state --

cdef state_t* state_new(uint64_t quota) noexcept nogil:
    cdef state_t* state = <state_t*>calloc(1, sizeof(state_s))
    if state != NULL:
        state.quota = quota
    return state


cdef void state_free(state_t* state) noexcept nogil:
    cdef uint32_t i
    if state == NULL:
        return
    for i in range(state.capacity):
        if state.table[i] != NULL:
            pair_free(state.table[i])
    free(state.table)
    free(state)


cdef inline bint is_key(uint32_t length) noexcept nogil:
    return 0 < length <= MAX_KEY


cdef int state_restore(
    state_t* state, const char* key, uint32_t key_length, const char* value, uint32_t value_length
) noexcept nogil:
    """What the turn wrote under this key is forgotten."""
    cdef uint32_t hash
    cdef pair_t* pair
    cdef uint64_t visible, base
    if not is_key(key_length):
        return STATE_KEY
    hash = hash_key(key, key_length)
    pair = find(state, key, key_length, hash)
    if pair == NULL:
        pair = insert(state, key, key_length, hash)
        if pair == NULL:
            return STATE_MEMORY
        visible = base = 0
        if not value_set(&pair.base, value, value_length):
            remove(state, pair)
            return STATE_MEMORY
    else:
        visible = visible_bytes(pair)
        base = <uint64_t>key_length + pair.base.length if pair.flags & HAS_BASE else 0
        if not value_set(&pair.base, value, value_length):
            return STATE_MEMORY
        forget_change(state, pair)
    pair.flags |= HAS_BASE
    state.bytes += key_length + <uint64_t>value_length - visible
    state.base_bytes += key_length + <uint64_t>value_length - base
    return STATE_OK


cdef int state_store(
    state_t* state, const char* key, uint32_t key_length, const char* value, uint32_t value_length
) noexcept nogil:
    cdef uint32_t hash
    cdef pair_t* pair
    cdef uint64_t total
    cdef bint is_new
    if not is_key(key_length):
        return STATE_KEY
    hash = hash_key(key, key_length)
    pair = find(state, key, key_length, hash)
    total = state.bytes + key_length + value_length
    if pair != NULL:
        total -= visible_bytes(pair)
    if total > state.quota and total > state.bytes:
        return STATE_QUOTA
    is_new = pair == NULL
    if is_new:
        pair = insert(state, key, key_length, hash)
        if pair == NULL:
            return STATE_MEMORY
    elif (
        pair.flags & HAS_BASE
        and pair.base.length == value_length
        and (value_length == 0 or memcmp(pair.base.bytes, value, value_length) == 0)
    ):
        forget_change(state, pair)
        state.bytes = total
        return STATE_OK
    if not value_set(&pair.written, value, value_length):
        if is_new:
            remove(state, pair)
        return STATE_MEMORY
    note_change(state, pair)
    pair.flags &= ~<uint32_t>DELETED
    state.bytes = total
    return STATE_OK


cdef int64_t state_load(state_t* state, const char* key, uint32_t key_length, const char** value) noexcept nogil:
    cdef pair_t* pair
    cdef value_t* found
    value[0] = ""
    if not is_key(key_length):
        return STATE_KEY
    pair = find(state, key, key_length, hash_key(key, key_length)) if state.count > 0 else NULL
    if not is_visible(pair):
        return STATE_NOT_FOUND
    found = visible_value(pair)
    if found.length > 0:
        value[0] = found.bytes
    return found.length


cdef int state_delete(state_t* state, const char* key, uint32_t key_length) noexcept nogil:
    cdef pair_t* pair
    if not is_key(key_length):
        return STATE_KEY
    pair = find(state, key, key_length, hash_key(key, key_length)) if state.count > 0 else NULL
    if not is_visible(pair):
        return STATE_NOT_FOUND
    state.bytes -= visible_bytes(pair)
    if pair.flags & HAS_BASE:
        note_change(state, pair)
        pair.flags |= DELETED
        value_clear(&pair.written)
    else:
        forget_change(state, pair)
        remove(state, pair)
    return STATE_OK


cdef uint64_t state_bytes(const state_t* state) noexcept nogil:
    return state.bytes


cdef char* state_commit(state_t* state, size_t* length) noexcept nogil:
    cdef pair_t* pair = state.first
    cdef pair_t* later
    cdef char* block
    cdef char* out
    cdef size_t size = 0
    cdef int64_t value_length
    while pair != NULL:
        size += CHANGE_HEADER + pair.key_length + pair.written.length
        pair = pair.later
    length[0] = size
    if size == 0:
        return NULL
    block = out = <char*>malloc(size)
    if block == NULL:
        return NULL
    pair = state.first
    while pair != NULL:
        later = pair.later
        value_length = -1 if pair.flags & DELETED else <int64_t>pair.written.length
        memcpy(out, &pair.key_length, 4)
        memcpy(out + 4, &value_length, 8)
        out += CHANGE_HEADER
        memcpy(out, key_of(pair), pair.key_length)
        out += pair.key_length
        if value_length > 0:
            memcpy(out, pair.written.bytes, value_length)
            out += value_length
        if value_length < 0:
            remove(state, pair)
        else:
            free(pair.base.bytes)
            pair.base = pair.written
            pair.written.bytes = NULL
            pair.written.length = pair.written.room = 0
            pair.flags = HAS_BASE
        pair = later
    state.first = state.last = NULL
    state.base_bytes = state.bytes
    shrink(state)
    return block


cdef void state_rollback(state_t* state) noexcept nogil:
    cdef pair_t* pair
    while state.last != NULL:
        pair = state.last
        forget_change(state, pair)
        if not pair.flags & HAS_BASE:
            remove(state, pair)
    state.bytes = state.base_bytes
    shrink(state)


# -- the Python face --

cdef list changes_to_list(const char* block, size_t length):
    cdef list changes = []
    cdef size_t at = 0
    cdef uint32_t key_length
    cdef int64_t value_length
    while at + CHANGE_HEADER <= length:
        memcpy(&key_length, block + at, 4)
        memcpy(&value_length, block + at + 4, 8)
        at += CHANGE_HEADER
        key = block[at : at + key_length]
        at += key_length
        if value_length < 0:
            changes.append((key, None))
        else:
            changes.append((key, block[at : at + <size_t>value_length]))
            at += <size_t>value_length
    return changes


def decode_changes(bytes block not None):
    """What a changes block says: [(key, value; None: it is gone)]."""
    return changes_to_list(block, <size_t>len(block))


OK = STATE_OK
NOT_FOUND = STATE_NOT_FOUND
KEY = STATE_KEY
QUOTA = STATE_QUOTA
MEMORY = STATE_MEMORY


cdef class State:
    """An agent's state as the scheduler holds it; methods answer with the codes above."""

    def __cinit__(self, uint64_t quota):
        self.state = state_new(quota)
        if self.state == NULL:
            raise MemoryError

    def __dealloc__(self):
        state_free(self.state)

    @property
    def size(self):
        """Bytes that count against the quota."""
        return state_bytes(self.state)

    def restore(self, bytes key not None, bytes value not None):
        return state_restore(self.state, key, len(key), value, len(value))

    def store(self, bytes key not None, bytes value not None):
        return state_store(self.state, key, len(key), value, len(value))

    def load(self, bytes key not None):
        cdef const char* value = NULL
        cdef int64_t length = state_load(self.state, key, len(key), &value)
        return value[:length] if length >= 0 else None

    def delete(self, bytes key not None):
        return state_delete(self.state, key, len(key))

    def commit(self):
        """The turn's changes, in the order they were made: (key, value or None when deleted)."""
        cdef size_t length = 0
        cdef char* block = state_commit(self.state, &length)
        if block == NULL and length > 0:
            raise MemoryError
        try:
            return changes_to_list(block, length)
        finally:
            free(block)

    def rollback(self):
        state_rollback(self.state)

    def count_turns(self, bytes key not None, bytes value not None, uint32_t times):
        """A turn of load, store and commit *times* times over, for measuring without Python's share."""
        cdef const char* found = NULL
        cdef const char* key_text = key
        cdef const char* value_text = value
        cdef uint32_t i, key_length = len(key), value_length = len(value), changed = 0
        cdef size_t length = 0
        cdef char* block
        with nogil:
            for i in range(times):
                state_load(self.state, key_text, key_length, &found)
                state_store(self.state, key_text, key_length, value_text, value_length - (i & 1))
                block = state_commit(self.state, &length)
                changed += block != NULL
                free(block)
        return changed
