"""Routes and where they stand: a hash table of those with a plain key, a list of those whose key is a pattern of topics.

The functions of the first half read, on any thread; those of the second change, on one, and leave to the readers what they may still look at: the
rules are at the top of router.pxd, and each order of stores below is one of them. This file does not know what an address means.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset

from caxton._fast.content_filter cimport filter_free
from caxton._fast.platform cimport (
    cx_add_u64,
    cx_load_ptr,
    cx_peek_u32,
    cx_store_ptr,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)
from caxton._fast.router cimport member_t, patterns_t, port_t, retired_t, route_t, router_t, table_t

cdef extern from *:
    """
    static char caxton_tombstone;
    """
    char caxton_tombstone

cdef enum:
    # retired_t.kind
    RETIRED_MEMORY = 0
    RETIRED_PORT = 1
    RETIRED_FILTER = 2
    RETIRED_ROUTE = 3


cdef inline route_t* tombstone() noexcept nogil:
    """Stands where a route was taken away; never looked into."""
    return <route_t*>&caxton_tombstone


# -- reading, on any thread ------------------------------------------------------------------------------------------

cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    """The finaliser of splitmix64."""
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef inline uint64_t hash_bytes(const char* text, uint32_t length) noexcept nogil:
    cdef uint64_t h = <uint64_t>0x9E3779B97F4A7C15 ^ length, word
    cdef uint32_t i = 0
    while i + 8 <= length:
        memcpy(&word, text + i, 8)
        h = (h ^ word) * <uint64_t>0xBF58476D1CE4E5B9
        h ^= h >> 29
        i += 8
    if i < length:
        word = 0
        memcpy(&word, text + i, length - i)
        h = (h ^ word) * <uint64_t>0xBF58476D1CE4E5B9
    return mix(h)


cdef inline bint starts_with(const char* text, uint32_t length, const char* prefix, uint32_t n) noexcept nogil:
    return length >= n and memcmp(text, prefix, n) == 0


cdef inline bint is_pattern(const char* key, uint32_t length) noexcept nogil:
    return starts_with(key, length, b"topic:", 6) and memchr(key, b"*", length) != NULL


cdef inline route_t* find_route(router_t* router, const char* key, uint32_t length) noexcept nogil:
    cdef table_t* table = <table_t*>cx_load_ptr(<void**>&router.table)
    cdef uint64_t h = hash_bytes(key, length)
    cdef uint32_t mask = table.capacity - 1
    cdef uint32_t at = <uint32_t>h & mask
    cdef route_t* route
    while True:
        route = <route_t*>cx_load_ptr(<void**>&table.slots[at])
        if route == NULL:
            return NULL
        if route != tombstone() and route.hash == h and route.length == length and memcmp(route.key, key, length) == 0:
            return route
        at = (at + 1) & mask


cdef inline port_t* member_port(const route_t* route, uint32_t at) noexcept nogil:
    """NULL when that member has left. Before its filter and acts are read: who sees the port sees them."""
    return <port_t*>cx_load_ptr(<void**>&route.members[at].port)


# -- changing, on one thread -----------------------------------------------------------------------------------------

cdef inline table_t* table_new(uint32_t capacity) noexcept nogil:
    cdef table_t* table = <table_t*>calloc(1, sizeof(table_t) + capacity * sizeof(route_t*))
    if table != NULL:
        table.capacity = capacity
    return table


cdef inline route_t* route_new(const char* key, uint32_t length, uint32_t room) noexcept nogil:
    cdef size_t head = sizeof(route_t) + room * sizeof(member_t)
    cdef route_t* route = <route_t*>malloc(head + length)
    if route == NULL:
        return NULL
    memset(route, 0, sizeof(route_t))
    route.hash = hash_bytes(key, length)
    route.length = length
    route.room = room
    route.members = <member_t*>(<char*>route + sizeof(route_t))
    route.key = <char*>route + head
    memcpy(route.key, key, length)
    return route


cdef inline route_t* route_copy(const route_t* route, const char* key, uint32_t length, const port_t* without, uint32_t room) noexcept nogil:
    """A route with those of *route* (NULL: none) who are there, but for one, and room for more."""
    cdef route_t* copy = route_new(key, length, room)
    cdef uint32_t i
    if copy == NULL or route == NULL:
        return copy
    copy.cursor = cx_peek_u32(&route.cursor)
    for i in range(route.count):
        if route.members[i].port != NULL and route.members[i].port != without:
            copy.members[copy.count] = route.members[i]
            copy.count += 1
    copy.live = copy.count
    return copy


cdef inline void route_free(route_t* route) noexcept nogil:
    """The route with the filters of who is there; for a router that nobody reads any more."""
    cdef uint32_t i
    if route == NULL or route == tombstone():
        return
    for i in range(route.count):
        if route.members[i].port != NULL:
            filter_free(route.members[i].content_filter)
    free(route)


cdef inline uint32_t index_of(const route_t* route, const port_t* port) noexcept nogil:
    """The port's place; the count when it is none of the members."""
    cdef uint32_t i
    for i in range(route.count):
        if route.members[i].port == port:
            return i
    return route.count


cdef inline void retire(router_t* router, void* what, int kind) noexcept nogil:
    cdef retired_t* item
    if what == NULL:
        return
    item = <retired_t*>malloc(sizeof(retired_t))
    if item == NULL:
        return      # leaking it is safe, freeing it is not
    item.what = what
    item.kind = kind
    pthread_mutex_lock(&router.lock)
    item.tag = cx_add_u64(&router.version, 1)
    item.next = router.retired
    cx_store_ptr(<void**>&router.retired, item)
    pthread_mutex_unlock(&router.lock)


cdef inline route_t** slot_of(router_t* router, const char* key, uint32_t length) noexcept nogil:
    """Where the route of *key* stands, be it in the table or among the patterns; NULL when there is none."""
    cdef uint32_t i, mask, at
    cdef route_t* route
    if is_pattern(key, length):
        for i in range(router.patterns.count if router.patterns != NULL else 0):
            route = router.patterns.routes[i]
            if route != tombstone() and route.length == length and memcmp(route.key, key, length) == 0:
                return &router.patterns.routes[i]
        return NULL
    route = find_route(router, key, length)
    if route == NULL:
        return NULL
    mask = router.table.capacity - 1
    at = <uint32_t>route.hash & mask
    while router.table.slots[at] != route:
        at = (at + 1) & mask
    return &router.table.slots[at]


cdef inline int table_add(router_t* router, route_t* route) noexcept nogil:
    """Publish a route whose key is not in the table; -1 when there is no memory."""
    cdef table_t* table = router.table
    cdef table_t* larger
    cdef route_t* here
    cdef uint32_t mask, at, i, live = 0
    if (table.used + 1) * 2 > table.capacity:
        for i in range(table.capacity):
            live += table.slots[i] != NULL and table.slots[i] != tombstone()
        larger = table_new(table.capacity * 2 if live * 4 > table.capacity else table.capacity)
        if larger == NULL:
            return -1
        mask = larger.capacity - 1
        for i in range(table.capacity):
            here = table.slots[i]
            if here != NULL and here != tombstone():
                at = <uint32_t>here.hash & mask
                while larger.slots[at] != NULL:
                    at = (at + 1) & mask
                larger.slots[at] = here
                larger.used += 1
        cx_store_ptr(<void**>&router.table, larger)
        retire(router, table, RETIRED_MEMORY)
        table = larger
    mask = table.capacity - 1
    at = <uint32_t>route.hash & mask
    while table.slots[at] != NULL:
        at = (at + 1) & mask
    table.used += 1
    cx_store_ptr(<void**>&table.slots[at], route)
    cx_add_u64(&router.version, 1)
    return 0


cdef inline int patterns_copy(router_t* router, route_t* added) noexcept nogil:
    """Publish the list of patterns anew, without gaps and with one more (NULL: none); -1 when there is no memory."""
    cdef patterns_t* before = router.patterns
    cdef uint32_t i, n = before.count if before != NULL else 0
    cdef patterns_t* after = <patterns_t*>calloc(1, sizeof(patterns_t) + (n + 1) * sizeof(route_t*))
    if after == NULL:
        return -1
    for i in range(n):
        if before.routes[i] != tombstone():
            after.routes[after.count] = before.routes[i]
            after.count += 1
    if added != NULL:
        after.routes[after.count] = added
        after.count += 1
    cx_store_ptr(<void**>&router.patterns, after)
    cx_add_u64(&router.version, 1)
    retire(router, before, RETIRED_MEMORY)
    return 0


cdef inline int publish(router_t* router, route_t** slot, route_t* route) noexcept nogil:
    """Show the route to the readers, in place of the one in *slot* (NULL: its key is new); -1 when there is no memory."""
    cdef route_t* before
    if slot == NULL:
        return patterns_copy(router, route) if is_pattern(route.key, route.length) else table_add(router, route)
    before = slot[0]
    cx_store_ptr(<void**>slot, route)
    retire(router, before, RETIRED_ROUTE)
    return 0


cdef inline void withdraw(router_t* router, route_t** slot) noexcept nogil:
    """Take the route in *slot* away. It needs no memory."""
    cdef route_t* before = slot[0]
    cdef bint pattern = is_pattern(before.key, before.length)
    cx_store_ptr(<void**>slot, tombstone())
    retire(router, before, RETIRED_ROUTE)
    if pattern:
        patterns_copy(router, NULL)
