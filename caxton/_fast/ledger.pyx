"""See ledger.pxd for the rules.

A segment is 8 bytes (`CXJ`, version, zero) and entries, each a multiple of 8 bytes in length, little-endian:

    u32 length, u8 kind, u8 flags, u16 count, u64 sequence, then by kind
    1 name      sequence = a number for a port in this segment; u32 length and the owner's name
    2 accepted  u64 its first position; count receivers: u32 port numbers, padded to 8; then the message as a frame (message_frame.pxd)
    3 handled   count = outcome (0, or why the message is done with all the same); u32 port number, u32 zero
    4 dead      count = why; u32 port number, u32 attempts
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcpy, memmove, memset

from caxton._fast.envelope cimport (
    DEFAULT_LIMITS,
    DELIVERY_DURABLE,
    DELIVERY_VOLATILE,
    E_MEMORY,
    envelope_error_t,
    envelope_field,
    envelope_frame_size,
    envelope_from_frame,
    envelope_limits_t,
    envelope_t,
    envelope_write_frame,
    KIND_MESSAGE,
)
from caxton._fast.history cimport History
from caxton._fast.journal cimport (
    IN_TURN,
    LAST,
    OUTSIDE,
    receiver_t,
    RECORD_ACCEPTED,
    RECORD_DEAD,
    RECORD_SKIP,
    RECORD_SPILLED,
    RECORD_STATE,
    RECORD_TIMER,
    RECORD_TURN,
    record_more,
    record_t,
    ring_t,
    SPILLED,
)
from caxton._fast.message_frame cimport FRAME_HEADER, frame_accepted_us, frame_message_id
from caxton._fast.platform cimport cx_load_u64, cx_peek_i32, cx_prefetch, cx_store_u64
from caxton._fast.router cimport port_t, Router
from caxton._fast.state cimport changes_to_list
from caxton._fast.wasm.instance cimport EVENT_STATE, EVENT_TIMER

from caxton.core.errors import InvalidTransition, StoreError

cdef enum:
    E_NAME = 1
    E_ACCEPTED = 2
    E_HANDLED = 3
    E_DEAD = 4

    E_OUTSIDE = 1           # flag: a client sent it

    AHEAD = 4096                # bytes
    HEADER = 8
    ENTRY = 16
    STRANGERS = 0x40000000  # numbers from here on are of owners without a port
    OFFSET_BITS = 24
    MAX_SEGMENT = 8 << OFFSET_BITS
    SEGMENT_FULL = 64 << 20 # what does not fit waits for the next one; a turn with more, which has a segment for itself, sends 64 MB at most
    FILL_AT_MOST = 16 << 20 # while another is on its way to the disk; beyond it the rings fill, and push back
    FILL_WHILE_REFUSING = 48 << 20
    ENTRY_RECEIVERS = 65535 # of one entry

cdef uint64_t MAX_SEGMENT_NUMBER = (<uint64_t>1 << 40) - 1
cdef bytes MAGIC = b"CXJ\x01\0\0\0\0"


cdef inline bint is_kept(uint32_t delivery) noexcept nogil:
    """Durable or relaxed."""
    return DELIVERY_DURABLE <= delivery < DELIVERY_VOLATILE


cdef inline bint holds(live_t* entry, uint32_t port) noexcept nogil:
    """Whether the port has the message still."""
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


cdef char* grow(bytes_t* buffer, uint64_t more) except NULL:
    """Room for *more* bytes, which count as used."""
    cdef uint64_t room
    cdef char* larger
    if buffer.used + more > buffer.room:
        room = max(buffer.room * 2, <uint64_t>65536)
        while room < buffer.used + more:
            room *= 2
        larger = <char*>realloc(buffer.bytes, room)
        if larger == NULL:
            raise MemoryError
        buffer.bytes = larger
        buffer.room = room
    buffer.used += more
    return buffer.bytes + buffer.used - more


def damaged(uint64_t segment, uint64_t at):
    return StoreError(
        f"segment {segment} of the journal is damaged at byte {at}",
        hint="stop the server, keep a copy of the data folder, then put back a backup: caxton backup restore",
        details={"cause": "damaged", "segment": segment, "at": at},
    )


cdef uint64_t entry_size(const char* bytes, uint64_t length, uint64_t at) noexcept nogil:
    """Bytes of the entry at this place; 0: there is no whole one."""
    cdef uint32_t size = 0
    if at > length or length - at < ENTRY:
        return 0
    memcpy(&size, bytes + at, 4)
    return size if size >= ENTRY and size % 8 == 0 and size <= length - at else 0


cdef envelope_t* frame_of(const char* entry, uint64_t size, uint32_t count, const envelope_limits_t* limits, envelope_error_t* error) noexcept nogil:
    """The message of an `accepted` entry; NULL: it is none."""
    cdef uint64_t start = ENTRY + 8 + ((4 * <uint64_t>count + 7) & ~<uint64_t>7)
    cdef uint32_t length = 0
    if start + 8 > size:
        return NULL
    memcpy(&length, entry + start + 4, 4)
    return envelope_from_frame(entry + start, length, limits, error) if length <= size - start else NULL


cdef int by_order(const void* a, const void* b) noexcept nogil:
    cdef uint64_t x = (<const found_t*>a).order, y = (<const found_t*>b).order
    return (x > y) - (x < y)


cdef envelope_limits_t ANY_LIMITS = DEFAULT_LIMITS
ANY_LIMITS.max_size = 1 << 30       # what was accepted once is read again, whatever the limits are now


cdef class Batch:
    """See ledger.pyi."""

    cdef readonly uint64_t segment, settled_below, messages
    cdef readonly bytes records
    cdef readonly bint needs_sync
    cdef readonly list state, timers, dead


cdef class Backlog:
    """Positions, oldest first; a ring that grows."""

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


cdef class Ledger:
    """See ledger.pyi."""

    def __cinit__(self, Router router not None, History history not None, uint64_t boot):
        self.router = router
        self.history = history
        self.keeps = boot != 0
        self.boot = boot
        self.next_segment = self.oldest = 1
        self.state, self.timers, self.dead = [], [], []
        self.owners, self.backlogs, self.waiting = {}, {}, {}
        self.strangers, self.pieces = {}, {}
        self.capacity = 1024
        self.table = <live_t*>calloc(self.capacity, sizeof(live_t))
        if self.table == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef uint64_t i
        cdef int k
        if self.table != NULL:
            for i in range(self.capacity):
                if self.table[i].sequence:
                    free(self.table[i].ports)
        free(self.table)
        for k in range(self.ring_count):
            free(self.rings[k].group.bytes)
        free(self.rings)
        free(self.filling.bytes)
        free(self.live_in)
        free(self.named)
        free(self.found)
        free(self.index)

    cdef int open_rings(self, int count) except -1:
        self.rings = <reading_t*>calloc(count, sizeof(reading_t))
        if self.rings == NULL:
            raise MemoryError
        self.ring_count = count
        return 0

    # -- reading ----------------------------------------------------------------------------------------------------

    cdef int read(self, ring_t** rings, list events) except -1:
        """Everything that can be read now. *events* gets what turns changed: EVENT_STATE and EVENT_TIMER."""
        cdef bint more = True
        cdef int k
        while more:
            more = False
            self._tell_all(rings, events)
            for k in range(self.ring_count):
                if self._ring(rings, k, events):
                    more = True
            # with one ring, or when nobody waits for another, the second round finds nothing
        if self.batch is None and not self._has_something():
            for k in range(self.ring_count):
                self.rings[k].committed = self.rings[k].through
        return 0

    @property
    def has_something(self):
        """Whether the next batch would hold something."""
        return self._has_something()

    cdef bint _has_something(self) noexcept:
        return self.filling.used != 0 or len(self.state) != 0 or len(self.timers) != 0 or len(self.dead) != 0

    cdef bint _is_read(self, uint64_t sequence) noexcept:
        """Whether the record that accepted the message was read; of an earlier life, a backlog says it."""
        cdef uint64_t n = sequence & ((<uint64_t>1 << SEQUENCE_BOOT) - 1)
        return sequence >> SEQUENCE_BOOT != self.boot or self.rings[n % <uint64_t>self.ring_count].through >= sequence

    cdef int _tell_all(self, ring_t** rings, list events) except -1:
        """State and timers of turns that have ended, each agent's in the order of its turns. It waits for nothing else: whoever learns that the
        instance is gone has to know before what it wrote last."""
        cdef bint more = True
        cdef int k
        while more:
            more = False
            for k in range(self.ring_count):
                if self._tell_ring(rings[k], &self.rings[k], events):
                    more = True
        return 0

    cdef int _tell_ring(self, ring_t* ring, reading_t* reading, list events) except -1:
        cdef uint64_t at = max(ring.head, reading.told), end = at, tail = cx_load_u64(&ring.tail), ahead = at
        cdef record_t* record
        cdef int found = 0
        while end < tail:
            # another core has written all this: by the time it is looked at, it is here
            while ahead < end + AHEAD and ahead < tail:
                cx_prefetch(ring.bytes + (ahead & (ring.capacity - 1)))
                ahead += 64
            record = <record_t*>(ring.bytes + (end & (ring.capacity - 1)))
            end += record.size
            if record.kind == RECORD_SKIP or record.flags & IN_TURN:
                continue
            if record.kind == RECORD_TURN and not record.flags & OUTSIDE:
                if record.after_ring and <int32_t>(self.rings[record.after_ring - 1].told_turns - record.receiver) < 0:
                    return found
                reading.told_turns += 1
            self._tell(ring, reading, at, end, events)
            at = end
            found = 1
        return found

    cdef int _ring(self, ring_t** rings, int k, list events) except -1:
        """Whole groups, as long as there are; whether there was one."""
        cdef ring_t* ring = rings[k]
        cdef reading_t* reading = &self.rings[k]
        cdef uint64_t at, end, tail, most
        cdef record_t* record
        cdef record_t* last
        cdef int found = 0
        while True:
            # while the store fails, new messages that have to be kept are refused, and what was accepted shall go on being handled
            most = FILL_AT_MOST if not cx_peek_i32(&self.router.router.refusing) else FILL_WHILE_REFUSING
            if self.filling.used + self.beside > most and self.batch is not None:
                return found
            at = end = ring.head
            tail = cx_load_u64(&ring.tail)
            last = NULL
            while end < tail:
                record = <record_t*>(ring.bytes + (end & (ring.capacity - 1)))
                end += record.size
                if record.kind != RECORD_SKIP and not record.flags & IN_TURN:
                    last = record
                    break
            if last == NULL:
                if (end - at) * 2 > ring.capacity:
                    # a group that does not fit: what is there already makes room for the rest
                    self._tell_all(rings, events)       # of its agent's turns before it
                    self._tell(ring, reading, max(at, reading.told), end, events)
                    self._set_aside(ring, reading, end)
                return found
            if end > reading.told:
                self._tell_all(rings, events)       # it has come since
                if end > reading.told:
                    return found
            if self.keeps and is_kept(last.delivery) and (last.kind == RECORD_TURN or last.kind == RECORD_DEAD) and not self._is_read(last.sequence):
                return found
            if last.kind == RECORD_TURN and last.after_ring and <int32_t>(self.rings[last.after_ring - 1].turns - last.receiver) < 0:
                return found
            if self.filling.used and self.filling.used + reading.group.used + (end - at) > SEGMENT_FULL:
                return found
            found = 1
            self._apply_aside(reading)
            while at < end:
                record = <record_t*>(ring.bytes + (at & (ring.capacity - 1)))
                if record.kind != RECORD_SKIP:
                    self._apply(reading, record)
                at += record.size
            cx_store_u64(&ring.head, end)

    cdef int _tell(self, ring_t* ring, reading_t* reading, uint64_t at, uint64_t end, list events) except -1:
        """State and timers between two places of the ring: to whoever keeps them for the next instance. Into the batch they come with the turn."""
        cdef record_t* record
        cdef const char* more
        cdef list pieces
        while at < end:
            record = <record_t*>(ring.bytes + (at & (ring.capacity - 1)))
            at += record.size
            if record.kind == RECORD_TIMER:
                events.append((EVENT_TIMER, record.port, record.receiver, <int64_t>record.sequence))
            elif record.kind == RECORD_STATE:
                more = record_more(record, NULL)
                key = <size_t>reading
                pieces = self.pieces.setdefault(key, [])
                pieces.append(more[:record.more])
                if record.flags & LAST:
                    changes = b"".join(self.pieces.pop(key))
                    events.append((EVENT_STATE, record.port, 0, changes_to_list(changes, len(changes))))
        reading.told = end
        return 0

    cdef int _set_aside(self, ring_t* ring, reading_t* reading, uint64_t end) except -1:
        cdef record_t* record
        while ring.head < end:
            record = <record_t*>(ring.bytes + (ring.head & (ring.capacity - 1)))
            if record.kind != RECORD_SKIP:
                memcpy(grow(&reading.group, record.size), record, record.size)
            cx_store_u64(&ring.head, ring.head + record.size)
        return 0

    cdef int _apply_aside(self, reading_t* reading) except -1:
        cdef uint64_t at = 0
        cdef record_t* record
        if reading.group.used == 0:
            return 0
        while at < reading.group.used:
            record = <record_t*>(reading.group.bytes + at)
            self._apply(reading, record)
            at += record.size
        free(reading.group.bytes)
        memset(&reading.group, 0, sizeof(bytes_t))
        return 0

    cdef int _apply(self, reading_t* reading, record_t* record) except -1:
        cdef const char* more
        if record.kind == RECORD_ACCEPTED:
            self.history.accepted_one(record)
            reading.through = record.sequence
            if self.keeps:
                self._accepted(record)
        elif record.kind == RECORD_TURN:
            if not record.flags & OUTSIDE:
                reading.turns += 1
            self.history.turn_done(record)
            if self.keeps and is_kept(record.delivery) and record.turn == KIND_MESSAGE:
                self._handled(E_HANDLED, record.outcome, record.sequence, record.port, 0)
        elif not self.keeps:
            pass
        elif record.kind == RECORD_STATE:
            # pieces of one changes block follow one another; the store puts them together
            more = record_more(record, NULL)
            self.state.append((self._owner(record.port), more[:record.more], record.flags & LAST != 0))
            self.beside += record.size
            self.needs_sync = True
        elif record.kind == RECORD_TIMER:
            self.timers.append((self._owner(record.port), record.receiver, <int64_t>record.sequence))
            self.beside += record.size
            self.needs_sync = True
        elif record.kind == RECORD_DEAD:
            self._died(record)
        elif record.kind == RECORD_SPILLED:
            self._spilled(record)
        return 0

    cdef str _owner(self, uint32_t port):
        return self.owners.get(port, "")

    cdef int _accepted(self, record_t* record) except -1:
        cdef const envelope_t* block = <envelope_t*>(<char*>record + sizeof(record_t))
        cdef receiver_t alone
        cdef const receiver_t* receivers = &alone
        cdef uint32_t count = record.outcome, kept = 0, i
        cdef uint64_t frame, head, position
        cdef char* out
        alone.port = record.receiver
        alone.delivery = record.delivery
        if count > 1:
            receivers = <const receiver_t*>record_more(record, block)
        for i in range(count):
            if is_kept(receivers[i].delivery):
                kept += 1
                self._name(receivers[i].port)
                if receivers[i].delivery == DELIVERY_DURABLE:
                    self.needs_sync = True
        if kept == 0:
            return 0
        frame = envelope_frame_size(block)
        head = 8 + ((4 * kept + 7) & ~<uint64_t>7)
        out = self._entry(E_ACCEPTED, E_OUTSIDE if record.flags & OUTSIDE else 0, kept, record.sequence, head + frame)
        position = self.next_segment << OFFSET_BITS | <uint64_t>(out - self.filling.bytes) >> 3
        memset(out + ENTRY, 0, head)
        memcpy(out + ENTRY, &position, 8)
        kept = 0
        for i in range(count):
            if is_kept(receivers[i].delivery):
                memcpy(out + ENTRY + 8 + 4 * kept, &receivers[i].port, 4)
                kept += 1
        envelope_write_frame(block, out + ENTRY + head)
        self.messages += 1
        self._count_live(self.next_segment, kept)
        if count == 1 and record.flags & SPILLED:
            self._backlog(record.receiver).add(position)
            return 0
        for i in range(count):
            if is_kept(receivers[i].delivery):
                self._add(record.sequence, position, receivers[i].port)
        return 0

    cdef Backlog _backlog(self, uint32_t port):
        backlog = self.backlogs.get(port)
        if backlog is None:
            backlog = self.backlogs[port] = Backlog()
        return backlog

    cdef int _spilled(self, record_t* record) except -1:
        cdef live_t* entry = self._find(record.sequence)
        if entry != NULL and holds(entry, record.port):
            position = entry.position
            self._leave(entry, record.port)
            self._backlog(record.port).add(position)
            self.history.spilled(record.sequence, 1)
        return 0

    cdef int _handled(self, int kind, uint32_t outcome, uint64_t sequence, uint32_t port, uint32_t attempts) except -1:
        cdef char* out
        cdef live_t* entry = self._find(sequence)
        if entry == NULL or not holds(entry, port):
            return 0        # a dead letter has settled it
        self._name(port)
        out = self._entry(kind, 0, outcome, sequence, 8)
        memcpy(out + ENTRY, &port, 4)
        memcpy(out + ENTRY + 4, &attempts, 4)
        self._count_live(entry.position >> OFFSET_BITS, -1)
        self._leave(entry, port)
        return 0

    cdef int _died(self, record_t* record) except -1:
        cdef const envelope_t* block = <envelope_t*>(<char*>record + sizeof(record_t))
        cdef const char* text = record_more(record, block)
        cdef bytes frame = b"\0" * envelope_frame_size(block)
        cdef port_t* port = self.router.find(record.port)
        envelope_write_frame(block, <char*>frame)
        self.history.died(record)
        if is_kept(record.delivery):
            self._handled(E_DEAD, record.outcome, record.sequence, record.port, record.receiver)
        agent = port.name[:port.name_length].decode() if port != NULL else self._owner(record.port)
        self.dead.append((frame, agent, <uint16_t>record.outcome, record.receiver, text[:record.more].decode(errors="replace")))
        self.beside += record.size
        self.needs_sync = True
        return 0

    cdef int _name(self, uint32_t port) except -1:
        """An entry for the port's owner, once in a segment."""
        cdef uint32_t room
        cdef uint64_t* larger
        cdef bytes owner
        cdef uint32_t length
        cdef char* out
        if port < STRANGERS and port >= self.named_room:
            room = max(self.named_room * 2, max(port + 1, <uint32_t>256))
            larger = <uint64_t*>realloc(self.named, room * sizeof(uint64_t))
            if larger == NULL:
                raise MemoryError
            memset(larger + self.named_room, 0, (room - self.named_room) * sizeof(uint64_t))
            self.named = larger
            self.named_room = room
        if port < STRANGERS and self.named[port] == self.next_segment:
            return 0
        owner = self._owner(port).encode()
        length = <uint32_t>len(owner)
        out = self._entry(E_NAME, 0, 0, port, 4 + length)
        memcpy(out + ENTRY, &length, 4)
        memcpy(out + ENTRY + 4, <const char*>owner, length)
        if port < STRANGERS:
            self.named[port] = self.next_segment
        return 0

    cdef uint32_t _stranger(self, str owner):
        """A number in segments for an owner that has no port."""
        number = self.strangers.get(owner)
        if number is None:
            number = self.strangers[owner] = STRANGERS + len(self.strangers)
            self.owners[number] = owner
        return number

    cdef char* _entry(self, int kind, int flags, uint32_t count, uint64_t sequence, uint64_t size) except NULL:
        """A new entry; *size* bytes are for what follows its head."""
        cdef uint64_t whole = (ENTRY + size + 7) & ~<uint64_t>7
        cdef uint32_t length = <uint32_t>whole
        cdef uint16_t n = <uint16_t>count
        cdef char* out
        if self.filling.used + whole > MAX_SEGMENT:
            raise AssertionError(f"{self.filling.used} bytes in a segment, and an entry of {whole}: places in it have {OFFSET_BITS} bits")
        if self.filling.used == 0:
            memcpy(grow(&self.filling, HEADER), <const char*>MAGIC, HEADER)
        out = grow(&self.filling, whole)
        memset(out + whole - 8, 0, 8)
        memcpy(out, &length, 4)
        out[4] = <char>kind
        out[5] = <char>flags
        memcpy(out + 6, &n, 2)
        memcpy(out + 8, &sequence, 8)
        return out

    # -- live deliveries --------------------------------------------------------------------------------------------

    cdef live_t* _find(self, uint64_t sequence) noexcept:
        cdef uint64_t i = hash_of(sequence) & (self.capacity - 1)
        while self.table[i].sequence:
            if self.table[i].sequence == sequence:
                return &self.table[i]
            i = (i + 1) & (self.capacity - 1)
        return NULL

    cdef int _add(self, uint64_t sequence, uint64_t position, uint32_t port) except -1:
        """One more delivery of the message."""
        cdef live_t* entry = self._find(sequence)
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

    cdef void _leave(self, live_t* entry, uint32_t port) noexcept:
        """The port has the message no more."""
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

    cdef int _count_live(self, uint64_t segment, int64_t change) except -1:
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

    cdef void _settle(self) noexcept:
        """Move `oldest` on to the first segment with a live delivery, at most to the one that is being filled."""
        cdef uint64_t n = 0
        while self.oldest + n < self.next_segment and n < self.live_room and self.live_in[n] == 0:
            n += 1
        if self.oldest + n < self.next_segment and n == self.live_room:
            n = self.next_segment - self.oldest
        if n == 0:
            return
        if n < self.live_room:
            memmove(self.live_in, self.live_in + n, (self.live_room - n) * sizeof(uint32_t))
            memset(self.live_in + self.live_room - n, 0, n * sizeof(uint32_t))
        elif self.live_room:
            memset(self.live_in, 0, self.live_room * sizeof(uint32_t))
        self.oldest += n

    # -- batches ----------------------------------------------------------------------------------------------------

    def take(self):
        """What was read since the last batch; the same again when it was neither committed nor new."""
        cdef Batch batch
        cdef int k
        if self.batch is not None:
            return self.batch
        if not self._has_something():
            return None
        self._settle()
        batch = Batch.__new__(Batch)
        batch.segment = self.next_segment if self.filling.used else 0
        batch.settled_below = self.oldest
        batch.records = self.filling.bytes[:self.filling.used] if self.filling.used else b""
        batch.messages = self.messages
        batch.needs_sync = self.needs_sync
        batch.state, batch.timers, batch.dead = self.state, self.timers, self.dead
        if self.filling.used:
            self.next_segment += 1
        self.filling.used = 0
        if self.filling.room > 4 * FILL_AT_MOST:
            free(self.filling.bytes)
            memset(&self.filling, 0, sizeof(bytes_t))
        self.messages = 0
        self.needs_sync = False
        self.state, self.timers, self.dead = [], [], []
        self.beside = 0
        for k in range(self.ring_count):
            self.rings[k].taken = self.rings[k].through
        self.batch = batch
        return batch

    def committed(self):
        """The batch that was taken last is on the disk."""
        cdef int k
        self.batch = None
        for k in range(self.ring_count):
            self.rings[k].committed = self.rings[k].through if not self._has_something() else self.rings[k].taken

    def is_committed(self, uint64_t sequence):
        """Whether everything up to this message of its ring is on the disk."""
        cdef uint64_t n = sequence & ((<uint64_t>1 << SEQUENCE_BOOT) - 1)
        if sequence == 0 or not self.keeps or sequence >> SEQUENCE_BOOT != self.boot or self.ring_count == 0:
            return True
        return self.rings[n % <uint64_t>self.ring_count].committed >= sequence

    # -- owners and backlogs ----------------------------------------------------------------------------------------

    def name(self, uint32_t port_id, str owner not None):
        """Whose port it is; gives back how many messages waited for this owner to have one."""
        cdef Backlog waiting, since
        cdef uint64_t i
        self.owners[port_id] = owner
        waiting = self.waiting.pop(owner, None)
        if waiting is None:
            return 0
        since = self.backlogs.get(port_id)
        found = len(waiting)
        if since is not None:
            for i in range(since.count):
                waiting.add(since.at(i))
        self.backlogs[port_id] = waiting
        return found

    def forget(self, uint32_t port_id):
        """The port is closed. Records of it may still be in the rings: its owner stays known."""
        self.backlogs.pop(port_id, None)

    def backlog(self, uint32_t port_id):
        """How many messages wait for the port in the store."""
        return len(self.backlogs.get(port_id, ()))

    def refill(self, uint32_t port_id):
        """The segment that holds the next of the port's backlog; 0: there is none that is committed."""
        cdef Backlog backlog = self.backlogs.get(port_id)
        cdef uint64_t segment
        if backlog is None or backlog.count == 0:
            return 0
        segment = backlog.at(0) >> OFFSET_BITS
        if segment >= self.next_segment or (self.batch is not None and segment == (<Batch>self.batch).segment):
            return 0
        return segment

    cdef envelope_t* next_of(self, uint32_t port_id, uint64_t segment, bytes records) except? NULL:
        """The next message of the port's backlog, when it lies in this segment. NULL: it does not."""
        cdef Backlog backlog = self.backlogs.get(port_id)
        cdef const char* at
        cdef envelope_t* block
        cdef envelope_error_t error
        cdef uint64_t position, place, sequence = 0, size
        cdef uint16_t count = 0
        if backlog is None or backlog.count == 0 or backlog.at(0) >> OFFSET_BITS != segment:
            return NULL
        position = backlog.at(0)
        place = (position & ((1 << OFFSET_BITS) - 1)) << 3
        at = <const char*>records + place
        size = entry_size(<const char*>records, <uint64_t>len(records), place)
        if size < ENTRY or at[4] != E_ACCEPTED:
            raise damaged(segment, place)
        memcpy(&count, at + 6, 2)
        memcpy(&sequence, at + 8, 8)
        block = frame_of(at, size, count, &ANY_LIMITS, &error)
        if block == NULL:
            if error.code == E_MEMORY:
                raise MemoryError
            raise damaged(segment, place)
        block.sequence = sequence
        self.history.spilled(sequence, -1)
        try:
            self._add(sequence, position, port_id)
        except MemoryError:
            free(block)
            raise
        return block

    cdef int moved(self, uint32_t port_id) except -1:
        cdef Backlog backlog = self.backlogs[port_id]
        backlog.pop()
        return 0

    cdef int not_moved(self, uint32_t port_id, uint64_t sequence) except -1:
        cdef live_t* entry = self._find(sequence)
        if entry != NULL:
            self._leave(entry, port_id)
        return 0

    # -- an older life ----------------------------------------------------------------------------------------------

    def begin_recovery(self, uint64_t oldest):
        """Before the first `recover`: segments below *oldest* hold nothing live."""
        if self.index != NULL or self.live or self.filling.used or self.batch is not None:
            raise InvalidTransition("the ledger is in use", hint="recover before anything is sent")
        self.oldest = self.next_segment = max(oldest, <uint64_t>1)
        self.found_owners, self.owner_numbers = [], {}
        self._reindex(1024)

    def recover(self, uint64_t segment, bytes records not None):
        """What an older segment says, oldest first."""
        cdef const char* bytes = records
        cdef uint64_t length = <uint64_t>len(records), at = HEADER, size, sequence = 0, order = 0
        cdef uint32_t number = 0, name_length = 0
        cdef uint16_t count = 0
        cdef found_t* found
        cdef dict names = {}
        cdef int i, kind
        if self.index == NULL or segment < self.next_segment or segment > MAX_SEGMENT_NUMBER:
            raise InvalidTransition(f"segment {segment} is not to be recovered now", hint="begin_recovery first, then the oldest first")
        if length < HEADER or length > MAX_SEGMENT or records[:HEADER] != MAGIC:
            raise damaged(segment, 0)
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
                    self.owner_numbers[owner] = len(self.found_owners)
                    self.found_owners.append(owner)
                names[sequence] = self.owner_numbers[owner]
            elif kind == E_ACCEPTED and count and size >= ENTRY + 8 + 4 * <uint64_t>count:
                memcpy(&order, bytes + at + ENTRY, 8)
                for i in range(count):
                    memcpy(&number, bytes + at + ENTRY + 8 + 4 * i, 4)
                    if number not in names:
                        raise damaged(segment, at)
                    self._found(sequence, names[number], segment << OFFSET_BITS | at >> 3, order)
            elif (kind == E_HANDLED or kind == E_DEAD) and size >= ENTRY + 8 and number in names:
                found = self._look(sequence, names[number])
                if found != NULL:
                    found.gone = True
            else:
                raise damaged(segment, at)
            at += size
        self.next_segment = segment + 1

    cdef found_t* _look(self, uint64_t sequence, uint32_t owner) noexcept:
        cdef uint64_t i = hash_of(sequence ^ <uint64_t>owner << 40) & (self.index_room - 1)
        cdef found_t* found
        while self.index[i]:
            found = &self.found[self.index[i] - 1]
            if found.sequence == sequence and found.owner == owner:
                return found
            i = (i + 1) & (self.index_room - 1)
        return NULL

    cdef int _found(self, uint64_t sequence, uint32_t owner, uint64_t position, uint64_t order) except -1:
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
            i = hash_of(sequence ^ <uint64_t>owner << 40) & (self.index_room - 1)
            while self.index[i]:
                i = (i + 1) & (self.index_room - 1)
            self.index[i] = <uint32_t>self.found_count
        found.position = position
        found.order = order
        found.gone = False
        return 0

    cdef int _reindex(self, uint64_t room) except -1:
        cdef uint32_t* index = <uint32_t*>calloc(room, sizeof(uint32_t))
        cdef uint64_t k, i
        if index == NULL:
            raise MemoryError
        for k in range(self.found_count):
            i = hash_of(self.found[k].sequence ^ <uint64_t>self.found[k].owner << 40) & (room - 1)
            while index[i]:
                i = (i + 1) & (room - 1)
            index[i] = <uint32_t>(k + 1)
        free(self.index)
        self.index = index
        self.index_room = room
        return 0

    def recovered(self):
        """After the last `recover`: how many deliveries each owner has."""
        cdef Backlog backlog
        cdef uint64_t k
        cdef list backlogs = [Backlog() for _ in self.found_owners]
        if self.found_count:
            qsort(self.found, self.found_count, sizeof(found_t), by_order)
        for k in range(self.found_count):
            if not self.found[k].gone:
                backlog = backlogs[self.found[k].owner]
                backlog.add(self.found[k].position)
                self._count_live(self.found[k].position >> OFFSET_BITS, 1)
        free(self.found)
        free(self.index)
        self.found = NULL
        self.index = NULL
        self.found_count = self.found_room = self.index_room = 0
        self.waiting = {owner: backlog for owner, backlog in zip(self.found_owners, backlogs) if len(backlog)}
        self.found_owners, self.owner_numbers = [], {}
        self._settle()
        return {owner: len(backlog) for owner, backlog in self.waiting.items()}

    def remember(self, bytes records not None):
        """Show what an older segment says to the history; what does not read is left out."""
        cdef const char* bytes = records
        cdef uint64_t length = <uint64_t>len(records), at = HEADER, size, sequence = 0
        cdef uint16_t count = 0
        cdef envelope_error_t error
        cdef envelope_t* block
        while at < length:
            size = entry_size(bytes, length, at)
            if size < ENTRY:
                return
            if bytes[at + 4] == E_ACCEPTED:
                memcpy(&count, bytes + at + 6, 2)
                block = frame_of(bytes + at, size, count, &ANY_LIMITS, &error)
                if block != NULL:
                    memcpy(&sequence, bytes + at + 8, 8)
                    if not self.history.knows(sequence):        # it may have been carried into this segment
                        self.history._keep(block, sequence, count, count)
                    free(block)
            elif (bytes[at + 4] == E_HANDLED or bytes[at + 4] == E_DEAD) and size >= ENTRY + 8:
                memcpy(&count, bytes + at + 6, 2)
                memcpy(&sequence, bytes + at + 8, 8)
                self.history.ended_one(sequence, count, 0)
            at += size

    def ids(self, bytes records not None):
        """Of the messages that clients sent: (id, accepted_us, sequence, receivers), oldest first. Damage ends the list."""
        cdef const char* bytes = records
        cdef uint64_t length = <uint64_t>len(records), at = HEADER, size, start, sequence = 0
        cdef uint16_t count = 0
        found = []
        while at < length:
            size = entry_size(bytes, length, at)
            if size < ENTRY:
                break
            memcpy(&count, bytes + at + 6, 2)
            memcpy(&sequence, bytes + at + 8, 8)
            start = ENTRY + 8 + ((4 * <uint64_t>count + 7) & ~<uint64_t>7)
            if bytes[at + 4] == E_ACCEPTED and bytes[at + 5] & E_OUTSIDE and start + FRAME_HEADER <= size:
                found.append((
                    frame_message_id(bytes + at + start)[:16], frame_accepted_us(bytes + at + start), sequence, count
                ))
            at += size
        return found

    def owners_waiting(self):
        """Owners with a backlog and no port."""
        return list(self.waiting)

    def is_live_in(self, uint64_t segment):
        """How many live deliveries a segment holds."""
        if not self.oldest <= segment < self.oldest + self.live_room:
            return 0
        return self.live_in[segment - self.oldest]

    cdef uint64_t _carry(self, int flags, uint64_t sequence, list numbers, const char* order, const char* frame, uint64_t size) except 0:
        """The entry of an old segment, for these ports; its new place."""
        cdef uint32_t port, n = <uint32_t>len(numbers), i
        cdef uint64_t head = 8 + ((4 * <uint64_t>n + 7) & ~<uint64_t>7)
        cdef char* out
        for port in numbers:
            self._name(port)
        out = self._entry(E_ACCEPTED, flags, n, sequence, head + size)
        memset(out + ENTRY, 0, head)
        memcpy(out + ENTRY, order, 8)
        for i in range(n):
            port = numbers[i]
            memcpy(out + ENTRY + 8 + 4 * i, &port, 4)
        memcpy(out + ENTRY + head, frame, size)
        return self.next_segment << OFFSET_BITS | <uint64_t>(out - self.filling.bytes) >> 3

    def carry(self, uint64_t segment, bytes records not None):
        """Take the live deliveries of an old segment into the one that is being filled."""
        cdef const char* bytes = records
        cdef uint64_t length = <uint64_t>len(records), at = HEADER, size, sequence = 0, old, place = 0
        cdef uint16_t count = 0
        cdef live_t* entry
        cdef Backlog backlog
        cdef list homes
        cdef uint32_t n, k
        cdef uint64_t frame_at, i, left
        if length < HEADER or length > MAX_SEGMENT or records[:HEADER] != MAGIC:
            raise damaged(segment, 0)
        if segment >= self.next_segment:
            raise InvalidTransition(f"segment {segment} is not an old one", hint="carry the oldest")
        left = self.is_live_in(segment)
        if left == 0 or (self.filling.used and self.filling.used + length > SEGMENT_FULL):
            return 0
        waiting = {}        # position -> the backlogs that have it, and where; after a carry a backlog's oldest need not be in the oldest segment
        for owner_or_port, backlog in [*self.backlogs.items(), *self.waiting.items()]:
            if left == 0:
                break
            for i in range(backlog.count):
                if backlog.at(i) >> OFFSET_BITS == segment:
                    waiting.setdefault(backlog.at(i), []).append((owner_or_port, backlog, i))
                    left -= 1
                    if left == 0:
                        break
        carried = 0
        while at < length:
            size = entry_size(bytes, length, at)
            if size < ENTRY:
                raise damaged(segment, at)
            if bytes[at + 4] == E_ACCEPTED:
                memcpy(&count, bytes + at + 6, 2)
                memcpy(&sequence, bytes + at + 8, 8)
                frame_at = ENTRY + 8 + ((4 * <uint64_t>count + 7) & ~<uint64_t>7)
                if frame_at >= size:
                    raise damaged(segment, at)
                old = segment << OFFSET_BITS | at >> 3
                entry = self._find(sequence)
                homes = waiting.get(old, [])
                ports = []
                if entry != NULL and entry.position == old:
                    ports = [entry.port] if entry.ports == NULL else [entry.ports[i] for i in range(entry.remaining)]
                numbers = ports + [home[0] if isinstance(home[0], int) else self._stranger(home[0]) for home in homes]
                if numbers:
                    n = <uint32_t>len(numbers)
                    # a guest's broadcast has an entry for each receiver, and their live ones are all found with the first
                    for k in range(0, n, ENTRY_RECEIVERS):
                        place = self._carry(
                            bytes[at + 5], sequence, numbers[k:k + ENTRY_RECEIVERS], bytes + at + ENTRY, bytes + at + frame_at, size - frame_at
                        )
                    if entry != NULL and entry.position == old:
                        entry.position = place
                    for _, backlog, i in homes:
                        backlog.put(i, place)
                    self._count_live(segment, -<int64_t>n)
                    self._count_live(self.next_segment, n)
                    carried += n
            at += size
        return carried
