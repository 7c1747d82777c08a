"""See outbox.pxd."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from caxton._fast.envelope cimport envelope_release
from caxton._fast.platform cimport (
    cx_exchange_i32,
    cx_wake_clear,
    cx_wake_close,
    cx_wake_open,
    cx_wake_write,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)


cdef int outbox_init(outbox_t* outbox) noexcept nogil:
    memset(outbox, 0, sizeof(outbox_t))
    pthread_mutex_init(&outbox.lock, NULL)
    return cx_wake_open(outbox.fds)


cdef void outbox_free(outbox_t* outbox) noexcept nogil:
    cdef event_t* event = outbox_take(outbox)
    cdef event_t* following
    while event != NULL:
        following = event.next
        event_free(event)
        event = following
    cx_wake_close(outbox.fds)
    pthread_mutex_destroy(&outbox.lock)


cdef event_t* event_new(int kind, uint32_t port, const char* name, size_t name_length, const char* text, size_t length) noexcept nogil:
    cdef event_t* event = <event_t*>malloc(sizeof(event_t) + name_length + length)
    if event == NULL:
        return NULL
    memset(event, 0, sizeof(event_t))
    event.kind = kind
    event.port = port
    event.name_length = <uint32_t>name_length
    event.length = <uint32_t>length
    if name_length:
        memcpy(event.bytes, name, name_length)
    if length:
        memcpy(event.bytes + name_length, text, length)
    return event


cdef void event_free(event_t* event) noexcept nogil:
    if event.envelope != NULL:
        envelope_release(event.envelope)
    free(event)


cdef void outbox_push(outbox_t* outbox, event_t* event) noexcept nogil:
    if event == NULL:
        return
    pthread_mutex_lock(&outbox.lock)
    if outbox.last != NULL:
        outbox.last.next = event
    else:
        outbox.first = event
    outbox.last = event
    pthread_mutex_unlock(&outbox.lock)
    outbox_notify(outbox)


cdef void outbox_notify(outbox_t* outbox) noexcept nogil:
    if cx_exchange_i32(&outbox.notified, 1) == 0:
        cx_wake_write(outbox.fds[1])


cdef event_t* outbox_take(outbox_t* outbox) noexcept nogil:
    cdef event_t* first
    # first the descriptor, then the flag, then the list: an event that comes between is seen now or makes it readable again
    cx_wake_clear(outbox.fds[0])
    cx_exchange_i32(&outbox.notified, 0)
    pthread_mutex_lock(&outbox.lock)
    first = outbox.first
    outbox.first = NULL
    outbox.last = NULL
    pthread_mutex_unlock(&outbox.lock)
    return first
