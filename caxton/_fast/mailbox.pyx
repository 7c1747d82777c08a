"""See mailbox.pxd for the rules."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from caxton._fast.envelope cimport (
    Envelope,
    envelope_end,
    envelope_release,
    envelope_retain,
    envelope_t,
    envelope_wrap,
    KIND_MESSAGE,
    PRIORITY_NORMAL,
)
from caxton._fast.platform cimport cx_poke_u32, cx_poke_u64


cdef inline void lane_give_back(mailbox_t* box, lane_t* lane) noexcept nogil:
    """Its ring, which the messages have left or are about to."""
    if lane.items != box.few:
        free(lane.items)


cdef inline void use_few(mailbox_t* box) noexcept nogil:
    if box.lanes[PRIORITY_NORMAL].items == NULL:
        box.lanes[PRIORITY_NORMAL].items = box.few
        box.lanes[PRIORITY_NORMAL].capacity = FEW
        box.lanes[PRIORITY_NORMAL].head = 0


cdef int lane_push(mailbox_t* box, lane_t* lane, envelope_t* envelope) noexcept nogil:
    cdef envelope_t** items
    cdef uint32_t i, capacity
    if lane.count == lane.capacity:
        capacity = lane.capacity * 2 if lane.capacity else FEW
        items = <envelope_t**>malloc(capacity * sizeof(envelope_t*))
        if items == NULL:
            return -1
        for i in range(lane.count):
            items[i] = lane.items[(lane.head + i) & (lane.capacity - 1)]
        lane_give_back(box, lane)
        lane.items = items
        lane.head = 0
        lane.capacity = capacity
    lane.items[(lane.head + lane.count) & (lane.capacity - 1)] = envelope
    lane.count += 1
    return 0


cdef envelope_t* lane_pop(mailbox_t* box, lane_t* lane) noexcept nogil:
    cdef envelope_t* envelope = lane.items[lane.head]
    lane.head = (lane.head + 1) & (lane.capacity - 1)
    lane.count -= 1
    if lane.count == 0 and lane.capacity > 64:
        # what a burst needed is given back; a steady flow keeps its ring
        free(lane.items)
        lane.items = NULL
        lane.capacity = 0
        lane.head = 0
        use_few(box)
    return envelope


cdef void mailbox_init(mailbox_t* box, uint32_t bound, uint64_t byte_bound) noexcept nogil:
    memset(box, 0, sizeof(mailbox_t))
    box.bound = bound
    box.byte_bound = byte_bound
    box.last = PRIORITY_COUNT
    use_few(box)


cdef void mailbox_clear(mailbox_t* box) noexcept nogil:
    cdef int i
    for i in range(LANES):
        while box.lanes[i].count:
            envelope_release(lane_pop(box, &box.lanes[i]))
        lane_give_back(box, &box.lanes[i])
        box.lanes[i].items = NULL
        box.lanes[i].capacity = 0
    use_few(box)
    box.count = 0
    box.bytes = 0


cdef int mailbox_push(mailbox_t* box, envelope_t* envelope) noexcept nogil:
    return -1 if envelope.kind == KIND_MESSAGE and mailbox_is_full(box) else mailbox_put(box, envelope)


cdef int mailbox_put(mailbox_t* box, envelope_t* envelope) noexcept nogil:
    if envelope.kind != KIND_MESSAGE:
        return lane_push(box, &box.lanes[CONTROL_LANE], envelope)
    if lane_push(box, &box.lanes[envelope.priority], envelope):
        return -1
    cx_poke_u32(&box.count, box.count + 1)
    cx_poke_u64(&box.bytes, box.bytes + envelope.size)
    return 0


cdef envelope_t* mailbox_pop(mailbox_t* box) noexcept nogil:
    cdef int highest = -1, lowest = -1, after = -1, i
    cdef envelope_t* envelope
    if box.lanes[CONTROL_LANE].count:
        return lane_pop(box, &box.lanes[CONTROL_LANE])
    if box.count == 0:
        return NULL
    for i in range(PRIORITY_COUNT):
        if box.lanes[i].count:
            # the one found before waits below this one
            if highest > box.last and after < 0:
                after = highest
            if lowest < 0:
                lowest = i
            highest = i
    if lowest == highest:
        box.passed = 0
    elif box.passed >= FAIRNESS:
        box.passed = 0
        highest = box.last = after if after >= 0 else lowest
    else:
        box.passed += 1
    envelope = lane_pop(box, &box.lanes[highest])
    cx_poke_u32(&box.count, box.count - 1)
    cx_poke_u64(&box.bytes, box.bytes - envelope.size)
    return envelope


cdef uint32_t mailbox_take_over(mailbox_t* box, int64_t now_us, envelope_t** out, uint32_t room, int64_t* next_us) noexcept nogil:
    cdef lane_t* lane
    cdef envelope_t* envelope
    cdef uint32_t taken = 0, kept, i, mask
    cdef int64_t end
    cdef int k
    next_us[0] = 0
    for k in range(PRIORITY_COUNT):
        lane = &box.lanes[k]
        mask = lane.capacity - 1
        kept = 0
        for i in range(lane.count):
            envelope = lane.items[(lane.head + i) & mask]
            end = envelope_end(envelope)
            if end and end <= now_us and taken < room:
                out[taken] = envelope
                taken += 1
                cx_poke_u32(&box.count, box.count - 1)
                cx_poke_u64(&box.bytes, box.bytes - envelope.size)
                continue
            if end and (next_us[0] == 0 or end < next_us[0]):
                next_us[0] = end
            lane.items[(lane.head + kept) & mask] = envelope
            kept += 1
        lane.count = kept
    return taken


cdef class Mailbox:
    """The mailbox alone, for tests and measurements; inside the node it lives in a port."""

    cdef mailbox_t box

    def __cinit__(self, bound, byte_bound=1 << 30):
        mailbox_init(&self.box, bound, byte_bound)

    def __dealloc__(self):
        mailbox_clear(&self.box)

    def push(self, Envelope envelope not None):
        """Queue the message; False when the mailbox is full."""
        envelope_retain(envelope.block)
        if mailbox_push(&self.box, envelope.block):
            envelope_release(envelope.block)
            return False
        return True

    def pop(self):
        """The next message, or None."""
        cdef envelope_t* envelope = mailbox_pop(&self.box)
        return None if envelope == NULL else envelope_wrap(envelope)

    def __len__(self):
        return self.box.count

    @property
    def bytes(self):
        """Bytes of the waiting messages, headers included."""
        return self.box.bytes
