"""Memory that a port's next run will look at, fetched while the run before it goes on.

With a thousand agents none of what a turn touches is left in the caches of its core, and it lies in pages of its own: the processor would wait some dozen
times, one wait after the other. A thread knows from its queue who is next, so it asks for all of it at once.

Rule 1: an address here is a guess. It is fetched and never followed: what it pointed to may be gone.
Rule 2: who runs the port notes them (and who queues it, the message), with stores that order nothing; any thread may read them.
"""

from libc.stdint cimport intptr_t, uintptr_t

from caxton._fast.platform cimport cx_peek_ptr, cx_poke_ptr, cx_prefetch

cdef enum:
    LINE = 64
    # Lines from an address on, some of them before it. Taken from the addresses of a turn, instruction by instruction (wasmtime 50): nearly all of these are
    # touched in each. With another version of the engine a wrong guess costs time and nothing else.
    PORT_LINES = 6
    AGENT_LINES = 10
    MESSAGE_LINES = 10
    INBOX_LINES = 7
    SENT_LINES = 6
    ROUTE_LINES = 2
    OUTGOING_LINES = 1
    SHARD_LINES = 2
    SESSION_LINES = 4
    CONVERSATION_LINES = 2
    STORE_HEAD = 7          # first line of its first part
    STORE_HEAD_LINES = 2
    STORE_BODY = 22
    STORE_BODY_LINES = 20
    INSTANCE_BEFORE = 7
    INSTANCE_LINES = 9
    STACK_BEFORE = 22
    STACK_LINES = 40

# two cache lines
ctypedef struct ahead_t:
    void* message           # the block that its next turn handles
    void* store             # the engine's, of the instance
    void* instance          # the engine's record of the function that is called, which lies in the instance
    void* stack             # of the guest's fiber, where a host function was called last
    void* inbox             # where the guest got its last message
    void* sent              # where in the guest's memory its last message stood
    void* outgoing          # what it sends in a turn
    void* found             # the ports that were found
    void* target            # the port that its last message went to
    void* route             # and the way there
    void* shard             # the last step of a conversation towards it: what that looked at
    void* place
    void* session
    void* conversation
    void* more[2]

cdef inline void note_ahead(void** address, const void* seen) noexcept nogil:
    cx_poke_ptr(address, <void*>seen)

cdef inline void fetch_lines(const void* start, int first, int count) noexcept nogil:
    """Nothing for NULL: a page that is not there is looked for anew each time."""
    cdef int i
    if start != NULL:
        for i in range(first, first + count):
            cx_prefetch(<const void*>(<uintptr_t>start + <uintptr_t>(<intptr_t>i * LINE)))

cdef inline void fetch_ahead(ahead_t* ahead, const void* agent) noexcept nogil:
    """Ask for what is noted here: one of the next runs will need it."""
    fetch_lines(agent, 0, AGENT_LINES)
    fetch_lines(cx_peek_ptr(&ahead.message), 0, MESSAGE_LINES)
    fetch_lines(cx_peek_ptr(&ahead.inbox), 0, INBOX_LINES)
    fetch_lines(cx_peek_ptr(&ahead.store), STORE_HEAD, STORE_HEAD_LINES)
    fetch_lines(cx_peek_ptr(&ahead.store), STORE_BODY, STORE_BODY_LINES)
    fetch_lines(cx_peek_ptr(&ahead.instance), -INSTANCE_BEFORE, INSTANCE_LINES)
    fetch_lines(cx_peek_ptr(&ahead.stack), -STACK_BEFORE, STACK_LINES)
    fetch_lines(cx_peek_ptr(&ahead.sent), 0, SENT_LINES)
    fetch_lines(cx_peek_ptr(&ahead.route), 0, ROUTE_LINES)
    fetch_lines(cx_peek_ptr(&ahead.found), 0, OUTGOING_LINES)
    fetch_lines(cx_peek_ptr(&ahead.outgoing), 0, OUTGOING_LINES)
    fetch_lines(cx_peek_ptr(&ahead.target), 2, PORT_LINES)
    fetch_lines(cx_peek_ptr(&ahead.shard), 0, SHARD_LINES)
    fetch_lines(cx_peek_ptr(&ahead.place), 0, 1)
    fetch_lines(cx_peek_ptr(&ahead.session), 0, SESSION_LINES)
    fetch_lines(cx_peek_ptr(&ahead.conversation), 0, CONVERSATION_LINES)
