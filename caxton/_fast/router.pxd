"""Addresses: which ports a message goes to.

A *port* is an address with a mailbox. A *route* is a key (the whole address text) with its ports. Kinds of keys:

    name                  one port, or the replicas that share the name: a conversation sticks to one, the rest goes round
    topic:orders.created  everybody who subscribed and whose filter holds; a pattern (`*`, `**`) stands in a list of its own
    capability:x          one of those who declared it, chosen like a replica
    broadcast://group     all of the group but the sender
    client:<id>           the port of that client, else the shared port `client:` of the node

Rule 1: readers take no lock. A route is immutable but for this: a member may be added behind the last, then be counted; a member's port may become
    NULL, for good. Every other change publishes a new route and retires the old.
Rule 2: nothing is retired before it is out of the readers' sight. What was retired is freed when every reader thread has passed a point where it held nothing (`router_reclaim`, quiescent states).
Rule 3: a reader keeps no port across such a point unless it counted a reference, or `version` is unchanged since it looked.
Rule 4: all changes come from one thread at a time (the one that runs Trio), under Python's lock. Any thread may retire a port: `lock` guards that list.

How routes are kept is in route_table.pxd. It does not know what a port does with a message: the scheduler does. `tests/oracles/router.py` is the specification.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from caxton._fast.ahead cimport ahead_t
from caxton._fast.content_filter cimport filter_t
from caxton._fast.envelope cimport envelope_t
from caxton._fast.mailbox cimport mailbox_t
from caxton._fast.platform cimport pthread_mutex_t
from caxton._fast.retries cimport retries_t

cdef enum:
    PORT_AGENT = 0          # a wasm instance stands behind it
    PORT_HOST = 1           # Python receives from it

    # what a sender is told; also the results of the guest's send_message (0 = sent)
    SEND_INVALID = -1
    SEND_NO_RECEIVER = -2
    SEND_MAILBOX_FULL = -3
    SEND_TOO_LARGE = -4
    SEND_STOPPED = -5
    SEND_HOPS = -6
    SEND_MEMORY = -7
    SEND_LIMIT = -8
    SEND_STORE = -9         # the store takes nothing now: its disk is full or fails
    SEND_LOOP = -10         # it goes round in circles, and these are to be stopped
    SEND_SHAPE = -11        # its content is not what the act needs, and such are to be refused
    UNSENT = 100            # a dead letter's reason for one of them: 100 - code

    # bits of port_t.ways
    WAY_NEVER_KEPT = 1      # who receives here is gone when the server is
    WAY_SIGNS = 2           # what its guest sends goes to the signer first
    WAY_GUARDED = 4         # what is sent to it goes to the guard first
    WAY_CHECKPOINT = 8      # the signer's or the guard's: messages pass it and go on

# What a hop reads and writes stands on the first lines, in the order of its way.
ctypedef struct port_t:
    ahead_t ahead
    uint32_t id
    int32_t refs            # atomic: the routes together hold one, each queue entry holds one
    uint8_t kind
    uint8_t accepting       # 0: draining or at rest, new messages are refused, or kept in the store; peeked without the lock
    uint8_t closed          # the same
    uint8_t announced       # host port: EVENT_MAIL was sent and not yet answered by receive()
    uint8_t away            # host port: nobody is attached
    uint8_t delivery        # DELIVERY_* of messages that do not say it
    uint8_t ways            # WAY_* bits: what is not as with most ports
    uint8_t refilling       # EVENT_REFILL was sent and not yet answered
    int32_t schedule        # workers.pxd
    int32_t wanted          # scheduler.pyx: bits of what Python asked for
    int32_t pending         # atomic: events of its guest that Trio has not read yet
    uint32_t backlog        # messages that wait in the store; peeked without the lock
    void* agent             # wasm/instance.pxd agent_t*, or NULL; whether there is one is asked without the lock
    uint64_t received
    uint32_t turn_number    # where its last turn was recorded, for the next one (record_t.after_ring)
    uint16_t turn_ring
    uint16_t name_length
    char* name
    pthread_mutex_t lock    # guards mailbox, schedule and the flags above
    mailbox_t mailbox
    retries_t retries
    uint32_t backlog_bound
    uint64_t backlog_bytes  # frames of what waits in the store; asked when something more is to wait there
    uint64_t backlog_byte_bound
    int64_t ends_us         # the first end (expires_at or reply_by) of what waits here or in the store; 0: none, peeked without the lock
    uint64_t crashed_on     # sequence number of the message whose turn ended the last instance; 0: none did
    char pad[64]            # what another thread writes stands on cache lines of its own
    # counters, written by the journal's reader
    uint64_t handled
    uint64_t failed
    uint64_t sent
    uint64_t turns_ns           # from a turn's begin to its end, what it waited for with it
    uint64_t cpu_ns             # inside the guest in this life, of the turn that runs too; its thread writes it
    uint64_t waited_ns
    char pad_after[64]      # the name follows

ctypedef struct member_t:
    port_t* port                # atomic; NULL: has left
    filter_t* content_filter    # NULL: everything
    uint32_t acts               # bit i: performative with code i; 0: all

ctypedef struct route_t:
    uint64_t hash
    uint32_t length
    uint32_t count          # atomic: members that were ever written, those who left included
    uint32_t room
    uint32_t live           # members that are there; only the changing thread reads it
    uint32_t cursor         # relaxed: whose turn it is
    char* key
    member_t* members

ctypedef struct table_t:
    uint32_t capacity       # a power of two
    uint32_t used           # routes and tombstones
    route_t* slots[1]       # as many as capacity says

ctypedef struct patterns_t:
    uint32_t count
    route_t* routes[1]

ctypedef struct retired_t:
    retired_t* next
    void* what
    uint64_t tag
    int kind

ctypedef struct missing_t:
    uint32_t start          # of a name in the message's receivers
    uint32_t length

ctypedef struct targets_t:
    port_t** items
    uint32_t count
    uint32_t capacity
    route_t* route          # the last one that was looked at; not to be followed, it may be gone
    # of a message with several receivers: those that are nowhere
    missing_t* missing
    uint32_t missing_count
    uint32_t missing_room

ctypedef struct router_t:
    table_t* table
    patterns_t* patterns
    uint64_t version        # raised by every change
    retired_t* retired      # whether there is one is asked without the lock
    pthread_mutex_t lock    # guards `retired`
    char* node
    uint32_t node_length
    # how messages are kept
    bint keeps              # there is a store behind the ledger
    uint8_t delivery        # DELIVERY_* of those for several receivers, and of ports that do not say it
    int32_t refusing        # atomic: the store takes nothing now
    uint64_t backlog_bytes  # atomic: of all ports, and of owners that have none yet
    uint64_t backlog_byte_bound
    # host ports that Python receives from; NULL: no port has WAY_SIGNS, WAY_GUARDED
    port_t* signer
    port_t* guard

cdef int router_init(router_t* router) noexcept nogil
cdef void router_free(router_t* router) noexcept nogil
# frees what was retired at or before *seen*
cdef void router_reclaim(router_t* router, uint64_t seen) noexcept nogil
# False when nobody holds the port any more: it is on its way out
cdef bint port_retain(port_t* port) noexcept nogil
cdef void port_release(router_t* router, port_t* port) noexcept nogil

cdef bint targets_add(targets_t* targets, port_t* port) noexcept nogil
cdef void targets_free(targets_t* targets) noexcept nogil

# adds the ports of one address; 0, or SEND_NO_RECEIVER / SEND_MEMORY with *targets* as before
cdef int router_resolve(router_t* router, const char* address, uint32_t length, const envelope_t* envelope, targets_t* targets) noexcept nogil
# the same for every receiver of the envelope, each port once; SEND_NO_RECEIVER when nobody was found. Who is nowhere, of several, is in `missing`
cdef int router_resolve_all(router_t* router, const envelope_t* envelope, targets_t* targets) noexcept nogil
# their names, for Python
cdef list targets_missing(const targets_t* targets, const envelope_t* envelope)
# adds every port of a route that is not in *targets* yet, whatever its kind (guest's broadcast filter)
cdef int router_members(router_t* router, const char* key, uint32_t length, targets_t* targets) noexcept nogil

cdef class Router:
    cdef router_t router
    cdef port_t** _by_id        # NULL where closed; 0 is nobody
    cdef uint32_t _opened       # ids given so far, and one
    cdef uint32_t _room
    cdef dict _keys             # id -> its addresses, the name first
    cdef port_t* port(self, uint32_t port_id) except NULL
    cdef port_t* find(self, uint32_t port_id) noexcept
    cdef _join(self, uint32_t port_id, bytes key, filter_t* content_filter, uint32_t acts)
    cdef _leave(self, uint32_t port_id, bytes key)
