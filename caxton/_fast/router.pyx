"""See router.pxd for the rules."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

from caxton._fast.content_filter cimport filter_compile, filter_free, filter_matches, filter_t, topic_matches
from caxton._fast.envelope cimport (
    Envelope,
    envelope_field,
    envelope_field_length,
    envelope_t,
    F_CONTENT,
    F_CONVERSATION_ID,
    F_RECEIVER,
)
from caxton._fast.mailbox cimport mailbox_clear, mailbox_init
from caxton._fast.platform cimport (
    cx_add_i32,
    cx_add_u64,
    cx_increment_unless_zero,
    cx_load_ptr,
    cx_store_ptr,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)

from caxton.core.errors import AgentAlreadyExists, AgentNotFound, InvalidRequest
from caxton.core.routing import check_topic_pattern

cdef enum:
    RETIRED_MEMORY = 0
    RETIRED_PORT = 1
    RETIRED_FILTER = 2
    RETIRED_ROUTE = 3

cdef route_t TOMBSTONE
cdef const char* CLIENT = b"client:"
cdef const char* TOPIC = b"topic:"
cdef const char* BROADCAST = b"broadcast://"


# -- reading, on any thread ------------------------------------------------------------------------------------------

cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    """The finaliser of splitmix64."""
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef uint64_t hash_bytes(const char* text, uint32_t length) noexcept nogil:
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


cdef route_t* find_route(router_t* router, const char* key, uint32_t length) noexcept nogil:
    cdef table_t* table = <table_t*>cx_load_ptr(<void**>&router.table)
    cdef uint64_t h = hash_bytes(key, length)
    cdef uint32_t mask = table.capacity - 1
    cdef uint32_t at = <uint32_t>h & mask
    cdef route_t* route
    while True:
        route = <route_t*>cx_load_ptr(<void**>&table.slots[at])
        if route == NULL:
            return NULL
        if route != &TOMBSTONE and route.hash == h and route.length == length and memcmp(route.key, key, length) == 0:
            return route
        at = (at + 1) & mask


cdef bint targets_add(targets_t* targets, port_t* port) noexcept nogil:
    cdef port_t** items
    cdef uint32_t capacity
    if targets.count == targets.capacity:
        capacity = targets.capacity * 2 if targets.capacity else 8
        items = <port_t**>realloc(targets.items, capacity * sizeof(port_t*))
        if items == NULL:
            return False
        targets.items = items
        targets.capacity = capacity
    targets.items[targets.count] = port
    targets.count += 1
    return True


cdef void targets_free(targets_t* targets) noexcept nogil:
    free(targets.items)
    memset(targets, 0, sizeof(targets_t))


cdef port_t* choose(route_t* route, const envelope_t* envelope) noexcept nogil:
    """One of several: the conversation's own by rendezvous hashing, else the next. Who drains is passed over while another accepts."""
    cdef uint64_t best = 0, weight, conversation
    cdef port_t* chosen = NULL
    cdef port_t* port
    cdef uint32_t i, n, start
    cdef bint accepting = False
    if route.count == 1:
        return route.members[0].port
    n = envelope_field_length(envelope, F_CONVERSATION_ID)
    if n == 0:
        start = route.cursor
        route.cursor = start + 1
        for i in range(route.count):
            port = route.members[(start + i) % route.count].port
            if port.accepting:
                return port
        return route.members[start % route.count].port
    conversation = hash_bytes(envelope_field(envelope, F_CONVERSATION_ID), n)
    for i in range(route.count):
        port = route.members[i].port
        weight = mix(conversation ^ (<uint64_t>port.id * <uint64_t>0x9E3779B97F4A7C15))
        if chosen == NULL or (port.accepting and not accepting) or ((port.accepting != 0) == accepting and weight > best):
            chosen = port
            best = weight
            accepting = port.accepting != 0
    return chosen


cdef inline bint starts_with(const char* text, uint32_t length, const char* prefix, uint32_t n) noexcept nogil:
    return length >= n and memcmp(text, prefix, n) == 0


cdef bint add_once(targets_t* targets, port_t* port, uint32_t since) noexcept nogil:
    cdef uint32_t i
    for i in range(since, targets.count):
        if targets.items[i] == port:
            return True
    return targets_add(targets, port)


cdef bint add_matching(route_t* route, const envelope_t* envelope, targets_t* targets, uint32_t since, bint unique) noexcept nogil:
    cdef uint32_t i
    cdef member_t* member
    for i in range(route.count):
        member = &route.members[i]
        if member.acts and not member.acts >> envelope.act & 1:
            continue
        if member.content_filter != NULL and not filter_matches(
            member.content_filter, envelope_field(envelope, F_CONTENT), envelope_field_length(envelope, F_CONTENT)
        ):
            continue
        if not (targets_add(targets, member.port) if unique else add_once(targets, member.port, since)):
            return False
    return True


cdef int resolve_topic(router_t* router, const char* address, uint32_t length, const envelope_t* envelope, targets_t* targets) noexcept nogil:
    cdef uint32_t since = targets.count, i
    cdef route_t* route = find_route(router, address, length)
    cdef patterns_t* patterns = <patterns_t*>cx_load_ptr(<void**>&router.patterns)
    # one port subscribes a topic at most once (Router.subscribe), so only patterns can name it again
    if route != NULL and not add_matching(route, envelope, targets, since, True):
        return SEND_MEMORY
    if patterns != NULL:
        for i in range(patterns.count):
            route = patterns.routes[i]
            if topic_matches(route.key + 6, route.length - 6, address + 6, length - 6):
                if not add_matching(route, envelope, targets, since, False):
                    return SEND_MEMORY
    return 0 if targets.count > since else SEND_NO_RECEIVER


cdef int router_resolve(router_t* router, const char* address, uint32_t length, const envelope_t* envelope, targets_t* targets) noexcept nogil:
    cdef route_t* route
    cdef uint32_t i, since = targets.count
    if starts_with(address, length, TOPIC, 6):
        return resolve_topic(router, address, length, envelope, targets)
    route = find_route(router, address, length)
    if route == NULL and starts_with(address, length, CLIENT, 7):
        route = find_route(router, address, 7)
    elif route == NULL and router.node_length and length > router.node_length + 1:
        i = length - router.node_length
        if address[i - 1] == b"@" and memcmp(address + i, router.node, router.node_length) == 0:
            route = find_route(router, address, i - 1)
    if route == NULL:
        return SEND_NO_RECEIVER
    if starts_with(address, length, BROADCAST, 12):
        for i in range(route.count):
            if route.members[i].port.id != envelope.sender_port and not targets_add(targets, route.members[i].port):
                return SEND_MEMORY
        return 0 if targets.count > since else SEND_NO_RECEIVER
    return 0 if targets_add(targets, choose(route, envelope)) else SEND_MEMORY


cdef int router_resolve_all(router_t* router, const envelope_t* envelope, targets_t* targets) noexcept nogil:
    cdef const char* names = envelope_field(envelope, F_RECEIVER)
    cdef uint32_t length = envelope_field_length(envelope, F_RECEIVER)
    cdef uint32_t start = 0, at, since = targets.count, mark, i, kept
    cdef int outcome, first = SEND_NO_RECEIVER
    if envelope.receivers <= 1:
        return router_resolve(router, names, length, envelope, targets)
    for at in range(length + 1):
        if at < length and names[at] != 0:
            continue
        mark = targets.count
        outcome = router_resolve(router, names + start, at - start, envelope, targets)
        if outcome and mark == since:
            first = outcome
        kept = mark
        for i in range(mark, targets.count):
            if not contains(targets, since, mark, targets.items[i]):
                targets.items[kept] = targets.items[i]
                kept += 1
        targets.count = kept
        start = at + 1
    return 0 if targets.count > since else first


cdef bint contains(const targets_t* targets, uint32_t since, uint32_t until, const port_t* port) noexcept nogil:
    cdef uint32_t i
    for i in range(since, until):
        if targets.items[i] == port:
            return True
    return False


cdef int router_members(router_t* router, const char* key, uint32_t length, targets_t* targets) noexcept nogil:
    cdef route_t* route = find_route(router, key, length)
    cdef uint32_t i
    if route == NULL:
        return SEND_NO_RECEIVER
    for i in range(route.count):
        if not targets_add(targets, route.members[i].port):
            return SEND_MEMORY
    return 0


# -- changing, on one thread -----------------------------------------------------------------------------------------

cdef int router_init(router_t* router) noexcept nogil:
    memset(router, 0, sizeof(router_t))
    pthread_mutex_init(&router.lock, NULL)
    router.table = table_new(64)
    return 0 if router.table != NULL else -1


cdef table_t* table_new(uint32_t capacity) noexcept nogil:
    cdef table_t* table = <table_t*>calloc(1, sizeof(table_t) + capacity * sizeof(route_t*))
    if table != NULL:
        table.capacity = capacity
    return table


cdef route_t* route_new(const char* key, uint32_t length, uint32_t count) noexcept nogil:
    cdef size_t head = sizeof(route_t) + count * sizeof(member_t)
    cdef route_t* route = <route_t*>malloc(head + length)
    if route == NULL:
        return NULL
    memset(route, 0, sizeof(route_t))
    route.hash = hash_bytes(key, length)
    route.length = length
    route.count = count
    route.members = <member_t*>(<char*>route + sizeof(route_t))
    route.key = <char*>route + head
    memcpy(route.key, key, length)
    return route


cdef void retire(router_t* router, void* what, int kind) noexcept nogil:
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
    router.retired = item
    pthread_mutex_unlock(&router.lock)


cdef void port_free(port_t* port) noexcept nogil:
    mailbox_clear(&port.mailbox)
    pthread_mutex_destroy(&port.lock)
    free(port)


cdef void retired_free(retired_t* item) noexcept nogil:
    if item.kind == RETIRED_PORT:
        port_free(<port_t*>item.what)
    elif item.kind == RETIRED_FILTER:
        filter_free(<filter_t*>item.what)
    else:
        free(item.what)
    free(item)


cdef void router_reclaim(router_t* router, uint64_t seen) noexcept nogil:
    cdef retired_t** link
    cdef retired_t* item
    pthread_mutex_lock(&router.lock)
    link = &router.retired
    while link[0] != NULL:
        item = link[0]
        if item.tag <= seen:
            link[0] = item.next
            retired_free(item)
        else:
            link = &item.next
    pthread_mutex_unlock(&router.lock)


cdef bint port_retain(port_t* port) noexcept nogil:
    return cx_increment_unless_zero(&port.refs)


cdef void port_release(router_t* router, port_t* port) noexcept nogil:
    if cx_add_i32(&port.refs, -1) == 0:
        retire(router, port, RETIRED_PORT)


cdef void router_free(router_t* router) noexcept nogil:
    cdef uint32_t i
    router_reclaim(router, <uint64_t>-1)
    if router.table != NULL:
        for i in range(router.table.capacity):
            if router.table.slots[i] != NULL and router.table.slots[i] != &TOMBSTONE:
                free(router.table.slots[i])
    if router.patterns != NULL:
        for i in range(router.patterns.count):
            free(router.patterns.routes[i])
    free(router.table)
    free(router.patterns)
    free(router.node)
    pthread_mutex_destroy(&router.lock)


cdef int table_put(router_t* router, route_t* route, const char* key, uint32_t length) noexcept nogil:
    """Publish *route* under its key in place of the one there; NULL takes the key away."""
    cdef table_t* table = router.table
    cdef table_t* larger
    cdef route_t* here
    cdef uint32_t mask, at, i, live
    cdef uint64_t h = hash_bytes(key, length)
    if route != NULL and (table.used + 1) * 2 > table.capacity:
        live = 0
        for i in range(table.capacity):
            live += table.slots[i] != NULL and table.slots[i] != &TOMBSTONE
        larger = table_new(table.capacity * 2 if live * 4 > table.capacity else table.capacity)
        if larger == NULL:
            return -1
        mask = larger.capacity - 1
        for i in range(table.capacity):
            here = table.slots[i]
            if here != NULL and here != &TOMBSTONE:
                at = <uint32_t>here.hash & mask
                while larger.slots[at] != NULL:
                    at = (at + 1) & mask
                larger.slots[at] = here
                larger.used += 1
        cx_store_ptr(<void**>&router.table, larger)
        retire(router, table, RETIRED_MEMORY)
        table = larger
    mask = table.capacity - 1
    at = <uint32_t>h & mask
    while table.slots[at] != NULL:
        here = table.slots[at]
        if here != &TOMBSTONE and here.hash == h and here.length == length and memcmp(here.key, key, length) == 0:
            cx_store_ptr(<void**>&table.slots[at], route if route != NULL else &TOMBSTONE)
            retire(router, here, RETIRED_ROUTE)
            return 0
        at = (at + 1) & mask
    if route != NULL:
        table.used += 1
        cx_store_ptr(<void**>&table.slots[at], route)
        cx_add_u64(&router.version, 1)
    return 0


cdef route_t** slot_of(router_t* router, const char* key, uint32_t length) noexcept nogil:
    """Where the route of *key* stands, be it in the table or among the patterns; NULL when there is none."""
    cdef uint32_t i, mask, at
    cdef route_t* route
    if is_pattern(key, length):
        for i in range(router.patterns.count if router.patterns != NULL else 0):
            route = router.patterns.routes[i]
            if route.length == length and memcmp(route.key, key, length) == 0:
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


cdef bint is_pattern(const char* key, uint32_t length) noexcept nogil:
    return starts_with(key, length, TOPIC, 6) and memchr(key, b"*", length) != NULL


cdef int patterns_put(router_t* router, route_t* route, const char* key, uint32_t length) noexcept nogil:
    """Publish a pattern's route in place of the one of the same key; NULL takes it away."""
    cdef patterns_t* before = router.patterns
    cdef uint32_t i, n = before.count if before != NULL else 0
    cdef route_t* old = NULL
    cdef patterns_t* after = <patterns_t*>calloc(1, sizeof(patterns_t) + (n + 1) * sizeof(route_t*))
    if after == NULL:
        return -1
    for i in range(n):
        if before.routes[i].length == length and memcmp(before.routes[i].key, key, length) == 0:
            old = before.routes[i]
        else:
            after.routes[after.count] = before.routes[i]
            after.count += 1
    if route != NULL:
        after.routes[after.count] = route
        after.count += 1
    cx_store_ptr(<void**>&router.patterns, after)
    cx_add_u64(&router.version, 1)
    retire(router, before, RETIRED_MEMORY)
    retire(router, old, RETIRED_ROUTE)
    return 0


cdef int route_put(router_t* router, route_t* route, const char* key, uint32_t length) noexcept nogil:
    if is_pattern(key, length):
        return patterns_put(router, route, key, length)
    return table_put(router, route, key, length)


cdef class Router:
    """The address book. Ports are named by number; 0 is nobody."""

    def __cinit__(self, node=""):
        if router_init(&self.router):
            raise MemoryError
        self._opened = 1
        self._keys = {}
        if node:
            name = node.encode()
            self.router.node = <char*>malloc(len(name))
            if self.router.node == NULL:
                raise MemoryError
            memcpy(self.router.node, <const char*>name, len(name))
            self.router.node_length = <uint32_t>len(name)

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(1, self._opened):
            if self._by_id[i] != NULL:
                port_free(self._by_id[i])
        free(self._by_id)
        if self.router.table != NULL:
            router_free(&self.router)

    cdef port_t* find(self, uint32_t port_id) noexcept:
        return self._by_id[port_id] if 0 < port_id < self._opened else NULL

    cdef port_t* port(self, uint32_t port_id) except NULL:
        cdef port_t* port = self.find(port_id)
        if port == NULL:
            raise AgentNotFound(f"port {port_id} is not open", hint="it was closed, or never opened")
        return port

    cdef _join(self, uint32_t port_id, bytes key, filter_t* content_filter, uint32_t acts):
        """Add the port to a route; a second time replaces its filter. Takes over the filter."""
        cdef port_t* port = self.port(port_id)
        cdef uint32_t length = <uint32_t>len(key), i, count
        cdef route_t** slot = slot_of(&self.router, key, length)
        cdef route_t* old = slot[0] if slot != NULL else NULL
        cdef route_t* route
        cdef bint known = False
        count = old.count if old != NULL else 0
        route = route_new(key, length, count + 1)
        if route == NULL:
            raise MemoryError
        if old != NULL:
            route.cursor = old.cursor
            memcpy(route.members, old.members, count * sizeof(member_t))
        for i in range(count):
            if route.members[i].port == port:
                known = True
                retire(&self.router, route.members[i].content_filter, RETIRED_FILTER)
                route.members[i].content_filter = content_filter
                route.members[i].acts = acts
                route.count = count
                break
        if not known:
            route.members[count].port = port
            route.members[count].content_filter = content_filter
            route.members[count].acts = acts
            self._keys[port_id].append(key)
        if route_put(&self.router, route, key, length):
            free(route)
            raise MemoryError

    cdef _leave(self, uint32_t port_id, bytes key):
        cdef port_t* port = self.port(port_id)
        cdef uint32_t length = <uint32_t>len(key), i
        cdef route_t** slot = slot_of(&self.router, key, length)
        cdef route_t* old
        cdef route_t* route = NULL
        cdef filter_t* content_filter = NULL
        if slot == NULL:
            return
        old = slot[0]
        if old.count > 1:
            route = route_new(key, length, old.count - 1)
            if route == NULL:
                raise MemoryError
            route.cursor = old.cursor
            route.count = 0
        for i in range(old.count):
            if old.members[i].port == port:
                content_filter = old.members[i].content_filter
            elif route != NULL:
                route.members[route.count] = old.members[i]
                route.count += 1
        route_put(&self.router, route, key, length)
        retire(&self.router, content_filter, RETIRED_FILTER)

    def open_port(self, str name, *, bint host=False, uint32_t queue_size=10_000, uint64_t queue_bytes=1 << 26, bint replica=False):
        """Make an address; a replica shares a name that may be taken."""
        cdef bytes encoded = name.encode()
        cdef port_t* port
        cdef port_t** larger
        if not encoded or len(encoded) > 256 or b"\0" in encoded:
            raise InvalidRequest(f"a port's name has 1 to 256 bytes and no NUL, found {name!r}")
        if not replica and find_route(&self.router, encoded, <uint32_t>len(encoded)) != NULL:
            raise AgentAlreadyExists(
                f"an agent named {name!r} exists already",
                hint="choose another name, update the agent, or delete it first",
            )
        if self._opened >= self._room:
            larger = <port_t**>realloc(self._by_id, (self._room * 2 + 64) * sizeof(port_t*))
            if larger == NULL:
                raise MemoryError
            self._by_id = larger
            self._room = self._room * 2 + 64
        port = <port_t*>calloc(1, sizeof(port_t) + len(encoded))
        if port == NULL:
            raise MemoryError
        port.name = <char*>port + sizeof(port_t)
        memcpy(port.name, <const char*>encoded, len(encoded))
        port.name_length = <uint16_t>len(encoded)
        port.kind = PORT_HOST if host else PORT_AGENT
        port.accepting = 1
        port.refs = 1
        port.id = self._opened
        pthread_mutex_init(&port.lock, NULL)
        mailbox_init(&port.mailbox, queue_size, queue_bytes)
        self._by_id[port.id] = port
        self._opened += 1
        self._keys[port.id] = []
        self._join(port.id, encoded, NULL, 0)
        return port.id

    def close_port(self, uint32_t port_id):
        """Take the address and its subscriptions away; the block is freed when nobody can hold it any more."""
        cdef port_t* port = self.port(port_id)
        for key in self._keys[port_id]:
            self._leave(port_id, key)
        del self._keys[port_id]
        self._by_id[port_id] = NULL
        port_release(&self.router, port)

    def clear_routes(self, uint32_t port_id):
        """Take away every route of the port but its name."""
        name, *others = self._keys[port_id]
        for key in others:
            self._leave(port_id, key)
        self._keys[port_id] = [name]

    def add_capability(self, uint32_t port_id, str capability):
        """Receive what is sent to `capability:<capability>`, one of those who can at a time."""
        self._join(port_id, b"capability:" + capability.encode(), NULL, 0)

    def join_group(self, uint32_t port_id, str group):
        """Receive what is sent to `broadcast://<group>`."""
        self._join(port_id, b"broadcast://" + group.encode(), NULL, 0)

    def subscribe(self, uint32_t port_id, str topic, bytes content_filter=b"", uint32_t acts=0):
        """Receive what is sent to `topic:<topic>`, holds the filter and is one of the acts (bit i: code i of core.performatives; 0: all).

        InvalidRequest names the filter's first wrong byte.
        """
        cdef uint32_t position = 0
        cdef filter_t* program = NULL
        check_topic_pattern(topic)
        if content_filter.strip() not in (b"", b"{}"):
            program = filter_compile(content_filter, len(content_filter), &position)
            if program == NULL and position == <uint32_t>-1:
                raise MemoryError
            if program == NULL:
                raise InvalidRequest(
                    f"the content filter of topic {topic!r} is not a filter: byte {position} of {content_filter[:80]!r}",
                    hint='a filter is a JSON object such as {"order.total": {"gte": 100}}',
                )
        self._join(port_id, b"topic:" + topic.encode(), program, acts)

    def resolve(self, Envelope envelope not None):
        """The ports that the message goes to, in order; empty when there is nobody."""
        cdef targets_t targets
        cdef uint32_t i
        memset(&targets, 0, sizeof(targets_t))
        router_resolve_all(&self.router, envelope.block, &targets)
        try:
            return [targets.items[i].id for i in range(targets.count)]
        finally:
            targets_free(&targets)

    def set_accepting(self, uint32_t port_id, bint accepting):
        """A port that drains is passed over while a replica of it accepts."""
        self.port(port_id).accepting = accepting

    def has(self, str address):
        """Whether the address leads anywhere."""
        key = address.encode()
        return slot_of(&self.router, key, <uint32_t>len(key)) != NULL

    def keys(self, uint32_t port_id):
        """The addresses of the port, its name first."""
        return [key.decode() for key in self._keys[port_id]]

    def reclaim(self):
        """Free what was taken away; only where no other thread reads."""
        router_reclaim(&self.router, <uint64_t>-1)
