"""See ledger.pxd for the rules, segment.pxd for the format of what is written."""

# Over 500 lines: one class, whose reader, batches and backlogs change the same few tables together.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from caxton._fast.backlog cimport Backlog
from caxton._fast.delivery cimport is_kept
from caxton._fast.envelope cimport (
    DELIVERY_DURABLE,
    E_MEMORY,
    envelope_error_t,
    envelope_frame_size,
    envelope_t,
    envelope_wrap,
    envelope_write_frame,
    KIND_MESSAGE,
)
from caxton._fast.history cimport History
from caxton._fast.journal cimport (
    IN_TURN,
    LAST,
    number_of,
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
    SEQUENCE_BOOT,
    SPILLED,
)
from caxton._fast.live cimport holds, Live, live_t
from caxton._fast.platform cimport cx_add_u64, cx_load_u64, cx_pass_failpoint, cx_peek_i32, cx_prefetch, cx_store_u64
from caxton._fast.recovery cimport Recovery
from caxton._fast.router cimport port_t, Router
from caxton._fast.segment cimport (
    bytes_t,
    check_header,
    E_ACCEPTED,
    E_DEAD,
    E_HANDLED,
    E_NAME,
    E_OUTSIDE,
    end_in,
    ENTRY,
    ENTRY_RECEIVERS,
    entry_size,
    frame_of,
    frame_size_of,
    grow,
    HEADER,
    OFFSET_BITS,
    receivers_size,
    segment_entry,
)
from caxton._fast.state cimport changes_to_list
from caxton._fast.wasm.instance cimport EVENT_STATE, EVENT_TIMER

from caxton._fast.segment import damaged, ids_in
from caxton.core.errors import InvalidTransition

cdef enum:
    AHEAD = 4096            # bytes of a ring that are fetched before they are looked at: far enough for memory, and little enough to stay in the nearest cache
    STRANGERS = 0x40000000  # numbers from here on are of owners without a port
    CLOSED_AT_ONCE = 64     # ports, before it is looked which of them nothing refers to
    SEGMENT_FULL = 64 << 20 # what does not fit waits for the next one; a turn with more, which has a segment for itself, sends 64 MB at most
    FILL_AT_MOST = 16 << 20 # while another is on its way to the disk; beyond it the rings fill, and push back
    FILL_WHILE_REFUSING = 48 << 20

cdef uint64_t MAX_SEGMENT_NUMBER = (<uint64_t>1 << 40) - 1


cdef class Batch:
    """See ledger.pyi."""

    cdef readonly uint64_t segment, settled_below, messages
    cdef readonly bytes records
    cdef readonly bint needs_sync
    cdef readonly list state, timers, dead


cdef class Ledger:
    """See ledger.pyi."""

    def __cinit__(self, Router router not None, History history not None, uint64_t boot):
        self.router = router
        self.history = history
        self.keeps = boot != 0
        self.boot = boot
        self.next_segment = 1
        self.deliveries = Live()
        self.state, self.timers, self.dead = [], [], []
        self.owners, self.backlogs, self.waiting = {}, {}, {}
        self.strangers, self.pieces, self.closed, self.late = {}, {}, {}, []
        self.tidy_at = CLOSED_AT_ONCE

    def __dealloc__(self):
        cdef int k
        for k in range(self.ring_count):
            free(self.rings[k].group.bytes)
        free(self.rings)
        free(self.filling.bytes)
        free(self.named)

    cdef int open_rings(self, ring_t** rings, int count) except -1:
        self.written = rings
        self.rings = <reading_t*>calloc(count, sizeof(reading_t))
        if self.rings == NULL:
            raise MemoryError
        self.ring_count = count
        self.history.rings = count
        return 0

    @property
    def oldest(self):
        """Segments below it are settled."""
        return self.deliveries.oldest

    @property
    def live(self):
        """Deliveries that were accepted and are not handled."""
        return self.deliveries.live

    @property
    def entries(self):
        """Messages of them that are in mailboxes."""
        return self.deliveries.entries

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
    def waiting_bytes(self):
        """What was read and is not in a batch yet."""
        cdef uint64_t size = self.filling.used + self.beside
        cdef int k
        for k in range(self.ring_count):
            size += self.rings[k].group.used
        return size

    @property
    def has_something(self):
        """Whether the next batch would hold something."""
        return self._has_something()

    cdef bint _has_something(self) noexcept:
        return self.filling.used != 0 or len(self.state) != 0 or len(self.timers) != 0 or len(self.dead) != 0

    cdef bint _is_read(self, uint64_t sequence) noexcept:
        """Whether the record that accepted the message was read; of an earlier life, a backlog says it."""
        cdef uint64_t n = number_of(sequence)
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
            if (last.kind == RECORD_TURN or last.kind == RECORD_DEAD) and not self._is_read(last.sequence):
                return found
            if last.kind == RECORD_TURN and last.after_ring and <int32_t>(self.rings[last.after_ring - 1].turns - last.receiver) < 0:
                return found
            if self.filling.used and self.filling.used + reading.group.used + (end - at) > SEGMENT_FULL:
                return found
            if self.fail_recorded and last.kind == RECORD_TURN and last.turn == KIND_MESSAGE and not last.flags & OUTSIDE:
                cx_pass_failpoint(&self.fail_recorded)
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
            if record.port not in self.owners and self.router.find(record.port) == NULL:
                return 0        # of an agent that was deleted, as what it kept was
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
        head = receivers_size(kept)
        out = segment_entry(&self.filling, E_ACCEPTED, E_OUTSIDE if record.flags & OUTSIDE else 0, kept, record.sequence, head + frame)
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
        self.deliveries.count(self.next_segment, kept)
        if count == 1 and record.flags & SPILLED:
            self._spill(record.receiver).add(position)
            return 0
        for i in range(count):
            if is_kept(receivers[i].delivery):
                self.deliveries.add(record.sequence, position, receivers[i].port)
        return 0

    cdef Backlog _backlog(self, uint32_t port):
        backlog = self.backlogs.get(port)
        if backlog is None:
            backlog = self.backlogs[port] = Backlog()
        return backlog

    cdef Backlog _spill(self, uint32_t port):
        """The backlog that grows; somebody has to look after one of a port that was closed meanwhile."""
        if port in self.closed and port not in self.backlogs:
            self.late.append(port)
        return self._backlog(port)

    cdef int _spilled(self, record_t* record) except -1:
        cdef live_t* entry = self.deliveries.find(record.sequence)
        if entry != NULL and holds(entry, record.port):
            position = entry.position
            self.deliveries.leave(entry, record.port)
            self._spill(record.port).add(position)
            self.history.spilled(record.sequence, 1)
        return 0

    cdef int _handled(self, int kind, uint32_t outcome, uint64_t sequence, uint32_t port, uint32_t attempts) except -1:
        cdef char* out
        cdef live_t* entry = self.deliveries.find(sequence)
        if entry == NULL or not holds(entry, port):
            return 0        # a dead letter has settled it
        self._name(port)
        out = segment_entry(&self.filling, kind, 0, outcome, sequence, 8)
        memcpy(out + ENTRY, &port, 4)
        memcpy(out + ENTRY + 4, &attempts, 4)
        self.deliveries.count(entry.position >> OFFSET_BITS, -1)
        self.deliveries.leave(entry, port)
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
        cdef named_t* larger
        cdef named_t* last
        cdef uint32_t room
        cdef bytes owner
        cdef uint32_t length
        cdef char* out
        if self.named_room < <uint32_t>len(self.owners) or self.named_room == 0:
            room = max(self.named_room * 2, <uint32_t>256)
            larger = <named_t*>calloc(room, sizeof(named_t))
            if larger == NULL:
                raise MemoryError
            free(self.named)
            self.named = larger
            self.named_room = room
        last = &self.named[port & (self.named_room - 1)]
        if last.port == port and last.segment == self.next_segment:
            return 0
        owner = self._owner(port).encode()
        length = <uint32_t>len(owner)
        out = segment_entry(&self.filling, E_NAME, 0, 0, port, 4 + length)
        memcpy(out + ENTRY, &length, 4)
        memcpy(out + ENTRY + 4, <const char*>owner, length)
        last.port = port
        last.segment = self.next_segment
        return 0

    cdef uint32_t _stranger(self, str owner):
        """A number in segments for an owner that has no port."""
        number = self.strangers.get(owner)
        if number is None:
            number = self.strangers[owner] = STRANGERS + len(self.strangers)
            self.owners[number] = owner
        return number

    # -- batches ----------------------------------------------------------------------------------------------------

    def take(self):
        """What was read since the last batch; the same again when it was neither committed nor new."""
        cdef Batch batch
        cdef int k
        if self.batch is not None:
            return self.batch
        if not self._has_something():
            return None
        self.deliveries.settle(self.next_segment)
        if <uint64_t>len(self.closed) >= self.tidy_at:
            self._tidy()
        batch = Batch.__new__(Batch)
        batch.segment = self.next_segment if self.filling.used else 0
        batch.settled_below = self.deliveries.oldest
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
        cdef uint64_t n = number_of(sequence)
        if sequence == 0 or not self.keeps or sequence >> SEQUENCE_BOOT != self.boot or self.ring_count == 0:
            return True
        return self.rings[n % <uint64_t>self.ring_count].committed >= sequence

    # -- owners and backlogs ----------------------------------------------------------------------------------------

    def name(self, uint32_t port_id, str owner not None):
        """Whose port it is; gives back how many messages waited for this owner to have one, the bytes of their frames, and when the first of them ends."""
        cdef Backlog waiting, since
        cdef uint64_t i
        self.owners[port_id] = owner
        waiting = self.waiting.pop(owner, None)
        if waiting is None:
            return 0, 0, 0
        since = self.backlogs.get(port_id)
        found = len(waiting), waiting.found_bytes, waiting.found_end
        if since is not None:
            for i in range(since.count):
                waiting.add(since.at(i))
        self.backlogs[port_id] = waiting
        return found

    def forget(self, uint32_t port_id):
        """The port is closed, and its backlog is given up."""
        self.backlogs.pop(port_id, None)

    cdef int closing(self, uint32_t port) except -1:
        """Records of it may still be in the rings: its owner stays known for a while."""
        cdef int k
        self.closed[port] = tuple([cx_load_u64(&self.written[k].tail) for k in range(self.ring_count)])
        return 0

    cdef int _tidy(self) except -1:
        """Forget closed ports that no record, no live delivery and no backlog refers to."""
        cdef uint64_t i
        cdef uint32_t n
        cdef int k
        cdef live_t* entry
        cdef set gone = set()
        for port, tails in self.closed.items():
            for k in range(self.ring_count):
                if self.written[k].head < <uint64_t>tails[k] or self.rings[k].group.used:
                    break
            else:
                if port not in self.backlogs:
                    gone.add(port)
        if gone:
            for i in range(self.deliveries.capacity):
                entry = &self.deliveries.table[i]
                if entry.sequence:
                    for n in range(entry.remaining):
                        gone.discard(entry.port if entry.ports == NULL else entry.ports[n])
        for port in gone:
            self.owners.pop(port, None)
            del self.closed[port]
        self.tidy_at = len(self.closed) + CLOSED_AT_ONCE
        return 0

    def take_late(self):
        """Closed ports that have a backlog since they were forgotten: somebody has to give it up."""
        late, self.late = self.late, []
        return late

    @property
    def known_ports(self):
        """How many ports it knows the owner of."""
        return len(self.owners)

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
        return segment if self._is_written(segment) else 0

    def segments_of(self, uint32_t port_id):
        """Segments that are committed and hold something of the port's backlog, in order."""
        cdef Backlog backlog = self.backlogs.get(port_id)
        cdef uint64_t i, segment, last = 0
        cdef set found = set()
        if backlog is None:
            return []
        for i in range(backlog.count):
            segment = backlog.at(i) >> OFFSET_BITS
            if segment != last:
                found.add(segment)
                last = segment
        return sorted([segment for segment in found if self._is_written(segment)])

    cdef bint _is_written(self, uint64_t segment):
        return segment < self.next_segment and (self.batch is None or segment != (<Batch>self.batch).segment)

    cdef envelope_t* next_of(self, uint32_t port_id, uint64_t segment, bytes records) except? NULL:
        """The next message of the port's backlog, when it lies in this segment. NULL: it does not."""
        cdef Backlog backlog = self.backlogs.get(port_id)
        if backlog is None or backlog.count == 0 or backlog.at(0) >> OFFSET_BITS != segment:
            return NULL
        return self._block_at(port_id, backlog.at(0), records)

    cdef envelope_t* _block_at(self, uint32_t port_id, uint64_t position, bytes records) except? NULL:
        """The message at this position, live from now on."""
        cdef const char* at
        cdef envelope_t* block
        cdef envelope_error_t error
        cdef uint64_t place = (position & ((1 << OFFSET_BITS) - 1)) << 3, sequence = 0, size
        cdef uint16_t count = 0
        at = <const char*>records + place
        size = entry_size(<const char*>records, <uint64_t>len(records), place)
        if size < ENTRY or at[4] != E_ACCEPTED:
            raise damaged(position >> OFFSET_BITS, place)
        memcpy(&count, at + 6, 2)
        memcpy(&sequence, at + 8, 8)
        block = frame_of(at, size, count, &error)
        if block == NULL:
            if error.code == E_MEMORY:
                raise MemoryError
            raise damaged(position >> OFFSET_BITS, place)
        block.sequence = sequence
        try:
            self.deliveries.add(sequence, position, port_id)
        except MemoryError:
            free(block)
            raise
        self.history.spilled(sequence, -1)
        return block

    cdef tuple overdue(self, uint32_t port_id, uint64_t segment, bytes records, int64_t now_us):
        cdef Backlog backlog = self.backlogs.get(port_id)
        cdef const char* at
        cdef uint64_t i, position, place, size, kept = 0, left = 0
        cdef uint16_t count = 0
        cdef int64_t end, first = 0
        cdef envelope_t* block
        cdef list found = []
        if backlog is None:
            return found, 0, 0
        for i in range(backlog.count):
            position = backlog.at(i)
            if position >> OFFSET_BITS == segment:
                place = (position & ((1 << OFFSET_BITS) - 1)) << 3
                at = <const char*>records + place
                size = entry_size(<const char*>records, <uint64_t>len(records), place)
                end = 0
                if size >= ENTRY:
                    memcpy(&count, at + 6, 2)
                    end = end_in(at, size, count)
                if end and end <= now_us:
                    try:
                        block = self._block_at(port_id, position, records)
                    except Exception:
                        pass        # a refill meets the same, and says so
                    else:
                        found.append(envelope_wrap(block))
                        continue
                elif end and (first == 0 or end < first):
                    first = end
                left += 1
            backlog.put(kept, position)
            kept += 1
        backlog.count = kept
        return found, left, first

    cdef bint skip(self, uint32_t port_id, uint64_t segment, bytes records, int reason, str text) except -1:
        cdef Backlog backlog = self.backlogs.get(port_id)
        cdef port_t* port = self.router.find(port_id)
        cdef live_t* entry
        cdef const char* at
        cdef uint64_t position, place, size, start, sequence = 0
        cdef uint16_t count = 0
        cdef bytes frame = b""
        if backlog is None or backlog.count == 0 or backlog.at(0) >> OFFSET_BITS != segment:
            return False
        position = backlog.pop()
        place = (position & ((1 << OFFSET_BITS) - 1)) << 3
        at = <const char*>records + place
        size = entry_size(<const char*>records, <uint64_t>len(records), place)
        if size >= ENTRY and at[4] == E_ACCEPTED:
            memcpy(&count, at + 6, 2)
            memcpy(&sequence, at + 8, 8)
            start = min(ENTRY + receivers_size(count), size)
            frame = at[start:min(start + frame_size_of(at, size, count), size)]
        entry = self.deliveries.find(sequence) if sequence else NULL
        if sequence and (entry == NULL or not holds(entry, port_id)):
            self.deliveries.add(sequence, position, port_id)
            self.history.spilled(sequence, -1)
            self.history.ended_one(sequence, reason, 0)
            self._handled(E_DEAD, reason, sequence, port_id, 1)
        else:
            self.deliveries.count(segment, -1)      # a restart that reads the segment finds the same damage
        agent = port.name[:port.name_length].decode() if port != NULL else self._owner(port_id)
        self.dead.append((frame, agent, reason, 1, text))
        self.beside += len(frame)
        self.needs_sync = True
        return True

    cdef int moved(self, uint32_t port_id) except -1:
        cdef Backlog backlog = self.backlogs[port_id]
        backlog.pop()
        return 0

    cdef int not_moved(self, uint32_t port_id, uint64_t sequence) except -1:
        cdef live_t* entry = self.deliveries.find(sequence)
        if entry != NULL:
            self.deliveries.leave(entry, port_id)
        return 0

    # -- an older life ----------------------------------------------------------------------------------------------

    def begin_recovery(self, uint64_t oldest):
        """Before the first `recover`: segments below *oldest* hold nothing live."""
        if self.recovery is not None or self.deliveries.live or self.filling.used or self.batch is not None:
            raise InvalidTransition("the ledger is in use", hint="recover before anything is sent")
        self.deliveries.oldest = self.next_segment = max(oldest, <uint64_t>1)
        self.recovery = Recovery()

    def recover(self, uint64_t segment, bytes records not None):
        """What an older segment says, oldest first."""
        if self.recovery is None or segment < self.next_segment or segment > MAX_SEGMENT_NUMBER:
            raise InvalidTransition(f"segment {segment} is not to be recovered now", hint="begin_recovery first, then the oldest first")
        self.recovery.read(segment, records)
        self.next_segment = segment + 1

    def recovered(self):
        """After the last `recover`: how many deliveries each owner has."""
        self.waiting = self.recovery.finish(self.deliveries)
        for waiting in self.waiting.values():
            cx_add_u64(&self.router.router.backlog_bytes, (<Backlog>waiting).found_bytes)
        self.recovery = None
        self.deliveries.settle(self.next_segment)
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
                block = frame_of(bytes + at, size, count, &error)
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
        return ids_in(records)

    def owners_waiting(self):
        """Owners with a backlog and no port."""
        return list(self.waiting)

    def is_live_in(self, uint64_t segment):
        """How many live deliveries a segment holds."""
        return self.deliveries.count_in(segment)

    cdef uint64_t _carry(self, int flags, uint64_t sequence, list numbers, const char* order, const char* frame, uint64_t size) except 0:
        """The entry of an old segment, for these ports; its new place."""
        cdef uint32_t port, n = <uint32_t>len(numbers), i
        cdef uint64_t head = receivers_size(n)
        cdef char* out
        for port in numbers:
            self._name(port)
        out = segment_entry(&self.filling, E_ACCEPTED, flags, n, sequence, head + size)
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
        check_header(segment, records)
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
                frame_at = ENTRY + receivers_size(count)
                if frame_at >= size:
                    raise damaged(segment, at)
                old = segment << OFFSET_BITS | at >> 3
                entry = self.deliveries.find(sequence)
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
                    self.deliveries.count(segment, -<int64_t>n)
                    self.deliveries.count(self.next_segment, n)
                    carried += n
            at += size
        return carried
