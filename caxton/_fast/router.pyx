"""Who a message goes to, and the address book's Python face. See router.pxd for the rules, route_table.pxd for how routes are kept."""

# Over 500 lines: the readers without a lock and the one writer keep one set of rules (router.pxd), and are read side by side.

from libc.stdint cimport uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

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
    cx_alloc_lines,
    cx_add_i32,
    cx_add_u64,
    cx_increment_unless_zero,
    cx_load_ptr,
    cx_load_u32,
    cx_peek_u32,
    cx_peek_u8,
    cx_poke_u32,
    cx_poke_u8,
    cx_store_ptr,
    cx_store_u32,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)
from caxton._fast.retries cimport retries_clear, retries_init
from caxton._fast.route_table cimport (
    find_route,
    hash_bytes,
    index_of,
    member_port,
    mix,
    publish,
    retire,
    RETIRED_FILTER,
    RETIRED_PORT,
    route_copy,
    route_free,
    slot_of,
    starts_with,
    table_new,
    tombstone,
    withdraw,
)

from caxton.core.errors import AgentAlreadyExists, AgentNotFound, InvalidRequest
from caxton.core.routing import check_topic_pattern

cdef enum:
    FEW = 64                # members of a route that is always kept without gaps

cdef const char* CLIENT = b"client:"
cdef const char* TOPIC = b"topic:"
cdef const char* BROADCAST = b"broadcast://"


# -- reading, on any thread ------------------------------------------------------------------------------------------

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
    free(targets.missing)
    memset(targets, 0, sizeof(targets_t))


cdef port_t* choose(route_t* route, const envelope_t* envelope) noexcept nogil:
    """One of several: the conversation's own by rendezvous hashing, else the next. Who drains is passed over while another accepts. NULL: nobody."""
    cdef uint64_t best = 0, weight, conversation
    cdef port_t* chosen = NULL
    cdef port_t* port
    cdef uint32_t count = cx_load_u32(&route.count), i, n, start
    cdef bint accepting = False, accepts
    if count == 1:
        return member_port(route, 0)
    n = envelope_field_length(envelope, F_CONVERSATION_ID)
    if n == 0:
        start = cx_peek_u32(&route.cursor)
        cx_poke_u32(&route.cursor, start + 1)
        for i in range(count):
            port = member_port(route, (start % count + i) % count)
            if port != NULL and cx_peek_u8(&port.accepting):
                return port
            if chosen == NULL:
                chosen = port
        return chosen
    conversation = hash_bytes(envelope_field(envelope, F_CONVERSATION_ID), n)
    for i in range(count):
        port = member_port(route, i)
        if port == NULL:
            continue
        accepts = cx_peek_u8(&port.accepting) != 0
        weight = mix(conversation ^ (<uint64_t>port.id * <uint64_t>0x9E3779B97F4A7C15))
        if chosen == NULL or (accepts and not accepting) or (accepts == accepting and weight > best):
            chosen = port
            best = weight
            accepting = accepts
    return chosen


cdef bint contains(const targets_t* targets, uint32_t since, uint32_t until, const port_t* port) noexcept nogil:
    cdef uint32_t i
    for i in range(since, until):
        if targets.items[i] == port:
            return True
    return False


cdef inline bint note(port_t** slots, uint32_t mask, port_t* port) noexcept nogil:
    """Put the port into the set; False when it is there."""
    cdef uint32_t at = <uint32_t>mix(<uintptr_t>port) & mask
    while slots[at] != NULL:
        if slots[at] == port:
            return False
        at = (at + 1) & mask
    slots[at] = port
    return True


cdef void drop_repeated(targets_t* targets, uint32_t since, uint32_t mark) noexcept nogil:
    """Of the targets from *mark* on keep those that are not there from *since* on before; each once, in order.

    Few are compared with each other, many are looked up in a set that lives as long as this call: a group of thousands, named along with
    another, must not hold a thread for seconds.
    """
    cdef port_t** slots = NULL
    cdef uint64_t known = mark - since, added = targets.count - mark
    cdef uint32_t i, kept = mark, capacity = 64
    if (known + added) * added > 4096:
        while capacity < 2 * (known + added):
            capacity *= 2
        slots = <port_t**>calloc(capacity, sizeof(port_t*))     # without memory it goes on, slowly
    if slots != NULL:
        for i in range(since, mark):
            note(slots, capacity - 1, targets.items[i])
    for i in range(mark, targets.count):
        if note(slots, capacity - 1, targets.items[i]) if slots != NULL else not contains(targets, since, kept, targets.items[i]):
            targets.items[kept] = targets.items[i]
            kept += 1
    targets.count = kept
    free(slots)


cdef bint add_matching(route_t* route, const envelope_t* envelope, targets_t* targets) noexcept nogil:
    cdef uint32_t i
    cdef member_t* member
    cdef port_t* port
    for i in range(cx_load_u32(&route.count)):
        port = member_port(route, i)
        if port == NULL:
            continue
        member = &route.members[i]
        if member.acts and not member.acts >> envelope.act & 1:
            continue
        if member.content_filter != NULL and not filter_matches(
            member.content_filter, envelope_field(envelope, F_CONTENT), envelope_field_length(envelope, F_CONTENT)
        ):
            continue
        if not targets_add(targets, port):
            return False
    return True


cdef int resolve_topic(router_t* router, const char* address, uint32_t length, const envelope_t* envelope, targets_t* targets) noexcept nogil:
    cdef uint32_t since = targets.count, mark, i
    cdef route_t* route = find_route(router, address, length)
    cdef patterns_t* patterns = <patterns_t*>cx_load_ptr(<void**>&router.patterns)
    cdef bint fits = route == NULL or add_matching(route, envelope, targets)
    # one port subscribes a topic at most once, so only patterns can name it again
    mark = targets.count
    if patterns != NULL:
        for i in range(patterns.count):
            route = <route_t*>cx_load_ptr(<void**>&patterns.routes[i])
            if fits and route != tombstone() and topic_matches(route.key + 6, route.length - 6, address + 6, length - 6):
                fits = add_matching(route, envelope, targets)
    if not fits:
        targets.count = since
        return SEND_MEMORY
    drop_repeated(targets, since, mark)
    return 0 if targets.count > since else SEND_NO_RECEIVER


cdef route_t* route_of(router_t* router, const char* address, uint32_t length) noexcept nogil:
    """The route of an address: its own, else that of the name before `@` and this node, that of `@platform`, or the one that all clients share."""
    cdef route_t* route = find_route(router, address, length)
    cdef uint32_t i = length - router.node_length
    if route == NULL and router.node_length and length > router.node_length + 1:
        if address[i - 1] == b"@" and memcmp(address + i, router.node, router.node_length) == 0:
            route = find_route(router, address, i - 1)
    if route == NULL:
        # an agent of another platform: the port that is called `@platform` takes it there
        i = length
        while i > 1 and address[i - 1] != b"@":
            i -= 1
        if i > 1:
            route = find_route(router, address + i - 1, length - i + 1)
    if route == NULL and starts_with(address, length, CLIENT, 7):
        route = find_route(router, address, 7)
    return route


cdef int router_resolve(router_t* router, const char* address, uint32_t length, const envelope_t* envelope, targets_t* targets) noexcept nogil:
    cdef route_t* route
    cdef port_t* port
    cdef uint32_t i, since = targets.count
    if starts_with(address, length, TOPIC, 6):
        return resolve_topic(router, address, length, envelope, targets)
    targets.route = route = route_of(router, address, length)
    if route == NULL:
        return SEND_NO_RECEIVER
    if starts_with(address, length, BROADCAST, 12):
        for i in range(cx_load_u32(&route.count)):
            port = member_port(route, i)
            if port != NULL and port.id != envelope.sender_port and not targets_add(targets, port):
                targets.count = since
                return SEND_MEMORY
        return 0 if targets.count > since else SEND_NO_RECEIVER
    port = choose(route, envelope)
    if port == NULL:
        return SEND_NO_RECEIVER
    return 0 if targets_add(targets, port) else SEND_MEMORY


cdef bint note_missing(targets_t* targets, uint32_t start, uint32_t length) noexcept nogil:
    cdef missing_t* missing
    cdef uint32_t room
    if targets.missing_count == targets.missing_room:
        room = targets.missing_room * 2 if targets.missing_room else 8
        missing = <missing_t*>realloc(targets.missing, room * sizeof(missing_t))
        if missing == NULL:
            return False
        targets.missing = missing
        targets.missing_room = room
    targets.missing[targets.missing_count].start = start
    targets.missing[targets.missing_count].length = length
    targets.missing_count += 1
    return True


cdef int router_resolve_all(router_t* router, const envelope_t* envelope, targets_t* targets) noexcept nogil:
    cdef const char* names = envelope_field(envelope, F_RECEIVER)
    cdef uint32_t length = envelope_field_length(envelope, F_RECEIVER)
    cdef uint32_t start = 0, at, since = targets.count, mark
    cdef int outcome
    if envelope.receivers <= 1:
        return router_resolve(router, names, length, envelope, targets)
    targets.missing_count = 0
    for at in range(length + 1):
        if at < length and names[at] != 0:
            continue
        mark = targets.count
        outcome = router_resolve(router, names + start, at - start, envelope, targets)
        if outcome == SEND_MEMORY or (outcome and not note_missing(targets, start, at - start)):
            targets.count = since
            return SEND_MEMORY
        drop_repeated(targets, since, mark)
        start = at + 1
    return 0 if targets.count > since else SEND_NO_RECEIVER


cdef list targets_missing(const targets_t* targets, const envelope_t* envelope):
    cdef const char* names = envelope_field(envelope, F_RECEIVER)
    cdef uint32_t i
    return [(names + targets.missing[i].start)[:targets.missing[i].length].decode() for i in range(targets.missing_count)]


cdef int router_members(router_t* router, const char* key, uint32_t length, targets_t* targets) noexcept nogil:
    cdef route_t* route = find_route(router, key, length)
    cdef port_t* port
    cdef uint32_t mark = targets.count, i
    if route == NULL:
        return SEND_NO_RECEIVER
    for i in range(cx_load_u32(&route.count)):
        port = member_port(route, i)
        if port != NULL and not targets_add(targets, port):
            targets.count = mark
            return SEND_MEMORY
    drop_repeated(targets, 0, mark)
    return 0


# -- changing, on one thread -----------------------------------------------------------------------------------------

cdef int router_init(router_t* router) noexcept nogil:
    memset(router, 0, sizeof(router_t))
    pthread_mutex_init(&router.lock, NULL)
    router.table = table_new(64)
    return 0 if router.table != NULL else -1


cdef void port_free(port_t* port) noexcept nogil:
    mailbox_clear(&port.mailbox)
    retries_clear(&port.retries)
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
            cx_store_ptr(<void**>link, item.next)
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
    for i in range(router.table.capacity):
        route_free(router.table.slots[i])
    for i in range(router.patterns.count if router.patterns != NULL else 0):
        route_free(router.patterns.routes[i])
    free(router.table)
    free(router.patterns)
    free(router.node)
    pthread_mutex_destroy(&router.lock)


def closed(port_id):
    """The exception for the number of a port that is not there."""
    return AgentNotFound(f"port {port_id} is not open", hint="it was closed, or never opened")


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
            raise closed(port_id)
        return port

    cdef _join(self, uint32_t port_id, bytes key, filter_t* content_filter, uint32_t acts):
        """Add the port to a route; a second time replaces its filter. Takes over the filter."""
        cdef port_t* port = self.find(port_id)
        cdef uint32_t length = <uint32_t>len(key), at
        cdef route_t** slot = slot_of(&self.router, key, length)
        cdef route_t* before = slot[0] if slot != NULL else NULL
        cdef route_t* route = before
        cdef uint32_t count = before.live if before != NULL else 0
        cdef filter_t* replaced = NULL
        cdef bint known
        if port == NULL:
            filter_free(content_filter)
            raise closed(port_id)
        keys = self._keys[port_id]
        known = key in keys
        if known or before == NULL or before.count == before.room:
            # a name has one port as a rule; who has several is likely to get more
            route = route_copy(before, key, length, NULL, count + (not known) + count // 2)
            if route == NULL:
                filter_free(content_filter)
                raise MemoryError
        at = index_of(route, port) if known else route.count
        if known:
            replaced = route.members[at].content_filter
        route.members[at].port = port
        route.members[at].content_filter = content_filter
        route.members[at].acts = acts
        if not known:
            route.live += 1
            cx_store_u32(&route.count, at + 1)
            keys.append(key)
        if route == before:
            cx_add_u64(&self.router.version, 1)
        elif publish(&self.router, slot, route):
            # only a key that is new needs memory here
            keys.pop()
            free(route)
            filter_free(content_filter)
            raise MemoryError
        retire(&self.router, replaced, RETIRED_FILTER)

    cdef _leave(self, uint32_t port_id, bytes key):
        """Take the port out of a route. It needs no memory, so that closing a port cannot fail."""
        cdef port_t* port = self.find(port_id)
        cdef uint32_t length = <uint32_t>len(key), at
        cdef route_t** slot = slot_of(&self.router, key, length)
        cdef route_t* route = slot[0] if slot != NULL else NULL
        cdef route_t* smaller = NULL
        cdef filter_t* content_filter
        if route == NULL:
            return
        at = index_of(route, port)
        if at == route.count:
            return
        content_filter = route.members[at].content_filter
        if route.live == 1:
            withdraw(&self.router, slot)
        else:
            # gaps cost a reader little and skew whose turn it is by little where many are, and copying thousands for each one costs much
            if route.count <= FEW or route.live <= route.count // 2:
                smaller = route_copy(route, key, length, port, route.live - 1)
            if smaller != NULL:
                publish(&self.router, slot, smaller)
            else:
                cx_store_ptr(<void**>&route.members[at].port, NULL)
                route.live -= 1
                cx_add_u64(&self.router.version, 1)
        retire(&self.router, content_filter, RETIRED_FILTER)

    def open_port(self, str name, *, bint host=False, uint32_t queue_size=10_000, uint64_t queue_bytes=1 << 26, bint replica=False):
        """Make an address; a replica shares a name that may be taken."""
        cdef bytes encoded = name.encode()
        cdef port_t* port
        cdef port_t** larger
        if not encoded or len(encoded) > 256 or b"\0" in encoded:
            raise InvalidRequest(f"a port's name has 1 to 256 bytes and no NUL, found {name!r}")
        if not replica and slot_of(&self.router, encoded, <uint32_t>len(encoded)) != NULL:
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
        port = <port_t*>cx_alloc_lines(sizeof(port_t) + len(encoded))
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
        retries_init(&port.retries)
        self._by_id[port.id] = port
        self._opened += 1
        self._keys[port.id] = []
        try:
            self._join(port.id, encoded, NULL, 0)
        except BaseException:
            self.close_port(port.id)
            raise
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
        self.port(port_id)
        name, *others = self._keys[port_id]
        for key in others:
            self._leave(port_id, key)
        self._keys[port_id] = [name]

    def hide(self, uint32_t port_id):
        """Take away every route of the port, its name too: no address leads to it."""
        for key in self._keys[port_id]:
            self._leave(port_id, key)
        self._keys[port_id] = []

    def add_capability(self, uint32_t port_id, str capability):
        """Receive what is sent to `capability:<capability>`, one of those who can at a time."""
        self._join(port_id, b"capability:" + capability.encode(), NULL, 0)

    def remove_capability(self, uint32_t port_id, str capability):
        """Receive it no more; nothing happens when the port did not."""
        cdef bytes key = b"capability:" + capability.encode()
        self.port(port_id)
        keys = self._keys[port_id]
        if key in keys:
            self._leave(port_id, key)
            keys.remove(key)

    def join_group(self, uint32_t port_id, str group):
        """Receive what is sent to `broadcast://<group>`."""
        self._join(port_id, b"broadcast://" + group.encode(), NULL, 0)

    def subscribe(self, uint32_t port_id, str topic, bytes content_filter=b"", uint32_t acts=0):
        """Receive what is sent to `topic:<topic>`, holds the filter and is one of the acts (bit i: code i of core.performatives; 0: all).

        InvalidRequest names the filter's first wrong byte.
        """
        cdef uint32_t position = 0
        cdef filter_t* program = NULL
        self.port(port_id)
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
        try:
            if router_resolve_all(&self.router, envelope.block, &targets) == SEND_MEMORY:
                raise MemoryError
            return [targets.items[i].id for i in range(targets.count)]
        finally:
            targets_free(&targets)

    def missing(self, Envelope envelope not None):
        """Those of several receivers who are nowhere, in order; of a single one this says nothing."""
        cdef targets_t targets
        cdef uint32_t i
        memset(&targets, 0, sizeof(targets_t))
        try:
            router_resolve_all(&self.router, envelope.block, &targets)
            return targets_missing(&targets, envelope.block) if envelope.block.receivers > 1 else []
        finally:
            targets_free(&targets)

    def count_resolved(self, Envelope envelope not None, uint32_t times):
        """`resolve` *times* times over, for measuring without Python's share; the number of ports of the last."""
        cdef targets_t targets
        cdef uint32_t i, count = 0
        memset(&targets, 0, sizeof(targets_t))
        with nogil:
            for i in range(times):
                targets.count = 0
                router_resolve_all(&self.router, envelope.block, &targets)
            count = targets.count
            targets_free(&targets)
        return count

    def set_accepting(self, uint32_t port_id, bint accepting):
        """A port that drains is passed over while a replica of it accepts."""
        cdef port_t* port = self.port(port_id)
        pthread_mutex_lock(&port.lock)
        cx_poke_u8(&port.accepting, accepting)
        pthread_mutex_unlock(&port.lock)

    def has(self, str address):
        """Whether the address leads anywhere."""
        key = address.encode()
        return slot_of(&self.router, key, <uint32_t>len(key)) != NULL

    def keys(self, uint32_t port_id):
        """The addresses of the port, its name first."""
        self.port(port_id)
        return [key.decode() for key in self._keys[port_id]]

    def reclaim(self):
        """Free what was taken away; only where no other thread reads."""
        router_reclaim(&self.router, <uint64_t>-1)
