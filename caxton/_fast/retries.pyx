"""See retries.pxd for the rules."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from caxton._fast.envelope cimport (
    Envelope,
    envelope_end,
    envelope_field,
    envelope_field_length,
    envelope_release,
    envelope_retain,
    envelope_t,
    envelope_wrap,
    F_CONVERSATION_ID,
)


cdef uint64_t conversation_of(const envelope_t* envelope) noexcept nogil:
    """0: none. Two conversations with one number would wait for each other, which costs time and nothing else."""
    cdef const char* text = envelope_field(envelope, F_CONVERSATION_ID)
    cdef uint32_t length = envelope_field_length(envelope, F_CONVERSATION_ID), i
    cdef uint64_t number = 14695981039346656037ULL
    if length == 0:
        return 0
    for i in range(length):
        number = (number ^ <unsigned char>text[i]) * 1099511628211ULL
    return number or 1


cdef void retries_init(retries_t* retries) noexcept nogil:
    retries.first = retries.last = NULL
    retries.count = 0
    retries.bytes = 0
    retries.due_ns = NO_RETRY_DUE


cdef void retries_clear(retries_t* retries) noexcept nogil:
    cdef envelope_t* envelope
    while True:
        envelope = retries_pop(retries)
        if envelope == NULL:
            return
        envelope_release(envelope)


cdef bint waits(const retries_t* retries, uint64_t conversation) noexcept nogil:
    cdef retry_t* retry = retries.first
    while retry != NULL:
        if retry.conversation == conversation:
            return True
        retry = retry.next
    return False


cdef void look_due(retries_t* retries) noexcept nogil:
    cdef retry_t* retry = retries.first
    retries.due_ns = NO_RETRY_DUE
    while retry != NULL:
        if retry.leads and retry.due_ns < retries.due_ns:
            retries.due_ns = retry.due_ns
        retry = retry.next


cdef int retries_put(retries_t* retries, envelope_t* envelope, int64_t due_ns) noexcept nogil:
    cdef retry_t* retry = <retry_t*>malloc(sizeof(retry_t))
    cdef retry_t* other
    if retry == NULL:
        return -1
    retry.envelope = envelope
    retry.due_ns = due_ns
    retry.conversation = conversation_of(envelope)
    retry.leads = 1
    # it was taken before those that wait behind it, so it goes before all of them
    other = retries.first
    while other != NULL and retry.conversation:
        if other.conversation == retry.conversation:
            other.leads = 0
        other = other.next
    retry.next = retries.first
    retries.first = retry
    if retries.last == NULL:
        retries.last = retry
    retries.count += 1
    retries.bytes += envelope.size
    look_due(retries)
    return 0


cdef envelope_t* unlink(retries_t* retries, retry_t** link, retry_t* before) noexcept nogil:
    """Out of the list; if it led, the next of its conversation does."""
    cdef retry_t* retry = link[0]
    cdef retry_t* other = retry.next
    cdef envelope_t* envelope = retry.envelope
    while other != NULL and retry.conversation and retry.leads:
        if other.conversation == retry.conversation:
            other.leads = 1
            break
        other = other.next
    link[0] = retry.next
    if retries.last == retry:
        retries.last = before
    retries.count -= 1
    retries.bytes -= envelope.size
    free(retry)
    look_due(retries)
    return envelope


cdef envelope_t* retries_take(retries_t* retries, int64_t now) noexcept nogil:
    cdef retry_t** link = &retries.first
    cdef retry_t* before = NULL
    if retries.due_ns > now:
        return NULL
    while link[0] != NULL:
        if link[0].leads and link[0].due_ns <= now:
            return unlink(retries, link, before)
        before = link[0]
        link = &before.next
    return NULL


cdef envelope_t* retries_pop(retries_t* retries) noexcept nogil:
    return unlink(retries, &retries.first, NULL) if retries.first != NULL else NULL


cdef uint32_t retries_take_over(retries_t* retries, int64_t now_us, envelope_t** out, uint32_t room, int64_t* next_us) noexcept nogil:
    cdef retry_t** link = &retries.first
    cdef retry_t* before = NULL
    cdef uint32_t taken = 0
    cdef int64_t end
    next_us[0] = 0
    while link[0] != NULL:
        end = envelope_end(link[0].envelope)
        if end and end <= now_us and taken < room:
            out[taken] = unlink(retries, link, before)
            taken += 1
            continue
        if end and (next_us[0] == 0 or end < next_us[0]):
            next_us[0] = end
        before = link[0]
        link = &before.next
    return taken


cdef bint retries_hold(retries_t* retries, envelope_t* envelope) noexcept nogil:
    cdef uint64_t conversation
    cdef retry_t* retry
    if retries.count == 0:
        return False
    conversation = conversation_of(envelope)
    if conversation == 0 or not waits(retries, conversation):
        return False
    retry = <retry_t*>malloc(sizeof(retry_t))
    if retry == NULL:
        return False        # without memory the order gives way, not the message
    retry.envelope = envelope
    retry.due_ns = 0
    retry.conversation = conversation
    retry.leads = 0
    retry.next = NULL
    if retries.last != NULL:
        retries.last.next = retry
    else:
        retries.first = retry
    retries.last = retry
    retries.count += 1
    retries.bytes += envelope.size
    return True


cdef class Retries:
    """The retries alone, for tests; inside the node they live in a port."""

    cdef retries_t retries

    def __cinit__(self):
        retries_init(&self.retries)

    def __dealloc__(self):
        retries_clear(&self.retries)

    def put(self, Envelope envelope not None, int64_t due_ns):
        envelope_retain(envelope.block)
        if retries_put(&self.retries, envelope.block, due_ns):
            envelope_release(envelope.block)
            raise MemoryError

    def take(self, int64_t now):
        cdef envelope_t* envelope = retries_take(&self.retries, now)
        return None if envelope == NULL else envelope_wrap(envelope)

    def hold(self, Envelope envelope not None):
        envelope_retain(envelope.block)
        if retries_hold(&self.retries, envelope.block):
            return True
        envelope_release(envelope.block)
        return False

    def take_over(self, int64_t now_us, int most=64):
        """Those whose time has passed, and the first end of the others or 0."""
        cdef envelope_t* found[64]
        cdef int64_t end = 0
        cdef uint32_t count = retries_take_over(&self.retries, now_us, found, <uint32_t>min(most, 64), &end), i
        return [envelope_wrap(found[i]) for i in range(count)], end

    def due(self):
        return None if self.retries.due_ns == NO_RETRY_DUE else self.retries.due_ns

    @property
    def is_full(self):
        return retries_is_full(&self.retries)

    def __len__(self):
        return self.retries.count
