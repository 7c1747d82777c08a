"""One agent's WebAssembly instance, and a turn as a sequence of guest calls.

A turn is one envelope: a message or something the platform asks (KIND_*). It runs as phases, each one guest call on a fiber; `agent_poll` goes on until the turn
is done, the slice is over, the guest waits in a slow host call, or it crashed. What the guest sends and writes is collected here and takes effect
only when the turn is done: the scheduler commits it, or forgets it after a crash.

Rule 1: one thread at a time touches an agent; the port's `schedule` says which.
Rule 2: after a crash the instance is never called again.
Rule 3: every pointer and length of the guest goes through `guest_bytes`, which knows the memory's bounds from the last time when they cannot have shrunk or moved.
Rule 4: host functions run on the guest's small stack: no recursion on input, no large frames, no Python.
Rule 5: what a phase does is a core module's (here) or a component's (component_guest); the turn around it is the same.

It does not know queues, threads or who receives: that is the scheduler's.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from caxton._fast.activity cimport activity_t
from caxton._fast.envelope cimport envelope_limits_t, envelope_t
from caxton._fast.outbox cimport event_t, outbox_t
from caxton._fast.router cimport port_t, router_t, targets_t
from caxton._fast.state cimport state_t
from caxton._fast.wasm.c_api cimport (
    wasm_engine_t,
    wasm_trap_t,
    wasmtime_call_future_t,
    wasmtime_context_t,
    wasmtime_error_t,
    wasmtime_func_t,
    wasmtime_instance_pre_t,
    wasmtime_instance_t,
    wasmtime_linker_t,
    wasmtime_memory_data,
    wasmtime_memory_data_size,
    wasmtime_memory_t,
    wasmtime_store_t,
    wasmtime_val_t,
)
from caxton._fast.wasm.module cimport Module

cdef enum:
    # exports, by index into agent_t.functions
    FN_HANDLE_MESSAGE = 0
    FN_ALLOC = 1
    FN_INITIALIZE = 2           # WASI reactors: () -> ()
    FN_INIT = 3
    FN_SHUTDOWN = 4
    FN_HANDLE_TIMER = 5
    FN_CAPABILITIES = 6
    FN_RESPONSE = 7
    FN_HEALTH = 8
    FN_COUNT = 9

    # outcomes of agent_poll
    TURN_DONE = 0
    TURN_YIELDED = 1            # the slice is over
    TURN_SUSPENDED = 2          # waits in a slow host call
    TURN_CRASHED = 3            # exit_reason and exit_text say why

    # reasons of EVENT_EXITED
    EXIT_NORMAL = 0
    EXIT_TRAP = 1
    EXIT_TIMEOUT = 2
    EXIT_INIT = 3
    EXIT_KILLED = 4
    EXIT_MEMORY = 5
    EXIT_REFUSED = 6            # outcome of a turn, not of an instance: handle_message returned an error code
    EXIT_EXPIRED = 7            # of a message: `expires_at` passed before its turn
    EXIT_LATE = 8               # the same of `reply_by`

    # kinds of events (outbox.pxd event_t.kind)
    EVENT_STARTED = 1
    EVENT_EXITED = 2
    EVENT_DRAINED = 3
    EVENT_MAIL = 4
    EVENT_CALL = 5
    EVENT_LOG = 6
    EVENT_TIMER = 7
    EVENT_STATE = 8
    EVENT_SUBSCRIBE = 9
    EVENT_UNDELIVERED = 10
    EVENT_HEALTH = 11
    EVENT_REFILL = 12           # the port has room for its backlog

    # agent_t.refused; 0: nothing was
    REFUSED_BY_GUEST = 1        # handle_message, handle_timer or health returned an error code
    REFUSED_ANSWER = 2          # its answer could not be sent

    # phases of a turn, each one guest call
    PHASE_INSTANTIATE = 1
    PHASE_INITIALIZE = 2
    PHASE_INIT = 3
    PHASE_CAPABILITIES = 4
    PHASE_ALLOC = 5
    PHASE_HANDLE = 6
    PHASE_RESPONSE = 7
    PHASE_TIMER = 8
    PHASE_SHUTDOWN = 9
    PHASE_HEALTH = 10
    PHASE_DONE = 11

    STARTED = -1                # a guest call is on its way

    # what the guest waits for
    WAIT_NOTHING = 0
    WAIT_SLEEP = 1
    WAIT_CALL = 2

    MAX_OUTGOING = 65536        # messages of one turn
    MAX_EFFECTS = 4096          # timers and subscriptions of one turn
    MAX_EFFECT_BYTES = 1048576
    MAX_FILTER = 65536          # bytes of a broadcast's or a subscription's filter
    ERROR_ROOM = 240            # bytes of last_error

# what all agents of a node share
ctypedef struct world_t:
    router_t* router
    outbox_t* outbox
    wasm_engine_t* engine
    bint memories_stay          # a memory that grows does not move
    void* component_engine      # a wasm_engine_t, once there is a component; atomic
    envelope_limits_t limits
    uint64_t span_salt          # of turns' spans (spans.pxd); 0: nobody tells of spans. Peeked

ctypedef struct agent_t

# how instances of one kind are made and asked; *agent* is an agent_t
ctypedef struct kind_t:
    int (*start_phase)(agent_t* agent) noexcept nogil   # begin the phase's guest call: STARTED, or an outcome of agent_poll
    int (*end_phase)(agent_t* agent) noexcept nogil     # read its result and choose the next phase; TURN_DONE to go on
    void (*reset)(agent_t* agent) noexcept nogil        # the call was dropped: give back what it held
    void (*free)(agent_t* agent) noexcept nogil         # after the store

ctypedef struct blueprint_t:
    const kind_t* kind
    wasm_engine_t* engine
    void* component             # component_guest's component_t; NULL: a core module
    wasmtime_instance_pre_t* pre
    uint32_t exports            # bit i: FN_* i is there
    uint32_t returns            # bit i: FN_* i has a result
    uint8_t packed              # handle_message returns i64
    const char* names[FN_COUNT] # of the exports that are there
    int32_t users               # atomic: instances

ctypedef struct outgoing_t:
    envelope_t* envelope
    port_t* target              # the only receiver, with a reference; NULL: the receivers are found when it leaves

ctypedef struct limits_t:
    int64_t memory              # bytes
    int64_t elements            # of all tables
    int64_t timeout_ns          # of one turn
    uint32_t millicores         # 0: no budget
    uint32_t log_lines          # per second
    uint64_t state_quota        # bytes

ctypedef struct agent_t:
    world_t* world
    port_t* port
    blueprint_t* blueprint
    limits_t limits
    activity_t* activity        # of the thread that runs it; set before agent_poll, since it moves between threads
    wasmtime_store_t* store
    wasmtime_context_t* context
    wasmtime_instance_t instance
    wasmtime_memory_t memory
    uint8_t* bytes              # of its memory, where it stays; a memory only grows. NULL: not asked for yet
    uint64_t bytes_size
    wasmtime_func_t functions[FN_COUNT]
    # the call that runs
    wasmtime_call_future_t* future
    wasmtime_val_t args[2]
    wasmtime_val_t results[1]
    wasm_trap_t* trap
    wasmtime_error_t* error
    # the turn that runs
    envelope_t* turn            # owned; NULL between turns
    uint8_t phase
    uint8_t after_alloc
    uint8_t refused             # REFUSED_*
    uint8_t failed              # last_error is of this turn
    uint8_t exit_reason
    uint32_t inbox              # the guest buffer that messages are written to
    uint32_t inbox_size
    uint32_t wanted             # bytes that the allocation of this phase is for
    uint64_t memory_seen        # bytes of the guest's memory and state when it last stood still
    uint64_t state_seen
    uint8_t has_memory
    int64_t started_ns
    int64_t deadline_ns
    int64_t spent_ns            # inside the guest, this turn
    int64_t born_ns
    # CPU budget
    int64_t window_ns           # start of the current window
    int64_t window_spent_ns
    # effects of the turn
    outgoing_t* outgoing
    uint32_t outgoing_count
    uint32_t outgoing_room
    uint64_t outgoing_bytes
    event_t* effects            # timers and subscriptions, oldest first
    event_t* effects_last
    uint32_t effects_count
    uint32_t effects_bytes
    state_t* state              # NULL until first used
    targets_t targets           # scratch
    # slow host calls
    int32_t waiting             # WAIT_*; peeked by whoever answers
    int32_t answered            # atomic: the answer below is complete
    uint32_t call_id
    int32_t answer_status
    char* answer                # malloc'ed
    uint32_t answer_length
    uint32_t out_size
    uint8_t* out                # guest memory, as the next; it cannot move while the guest waits
    const uint8_t* asking
    uint32_t asking_length
    # the request, malloc'ed, whose answer above did not fit and is kept for it; NULL: none is kept
    char* asked
    uint32_t asked_length
    const char* asked_name      # of the host function
    wasmtime_val_t* call_result
    int64_t wake_ns
    int64_t call_due_ns         # when the port is woken for the timeout of a call; one that is past is none
    # log rate
    int64_t log_window_ns
    uint32_t log_count
    uint32_t log_dropped
    char* line[2]               # stdout and stderr of WASI up to the next line end
    uint32_t line_length[2]
    uint32_t next_timer
    # WASI
    void* guest                 # component_guest's guest_t; NULL: of a core module
    char* declared              # what a component's get-capabilities gave
    uint32_t declared_length
    char* environment           # "NAME=value\0" repeated
    uint32_t environment_length
    uint32_t environment_count
    uint16_t error_length
    char last_error[ERROR_ROOM]
    char exit_text[ERROR_ROOM]
    uint16_t exit_length

# what the instances of core modules do
cdef kind_t MODULES

cdef agent_t* agent_new(world_t* world, port_t* port, blueprint_t* blueprint, const limits_t* limits) noexcept nogil
cdef void agent_free(agent_t* agent) noexcept nogil
# takes over the reference to *turn*
cdef void agent_begin(agent_t* agent, envelope_t* turn, int64_t now) noexcept nogil
cdef int agent_poll(agent_t* agent) noexcept nogil
# forgets the turn and its effects
cdef void agent_reset(agent_t* agent) noexcept nogil
# forgets the answer of a slow call that did not fit
cdef void agent_unkeep(agent_t* agent) noexcept nogil
cdef void agent_crash(agent_t* agent, int reason, const char* text, size_t length) noexcept nogil
# takes over *event*, which may be NULL; 0, or SEND_LIMIT with last_error set
cdef int agent_effect(agent_t* agent, event_t* event) noexcept nogil
cdef void agent_fail(agent_t* agent, const char* text) noexcept nogil
# sends JSON text of the guest: 0 or SEND_*, with last_error set
cdef int agent_send(agent_t* agent, const char* json, uint32_t length) noexcept nogil
# sends it to the ports in `targets`: their number, or SEND_*
cdef int agent_send_to_targets(agent_t* agent, const char* json, uint32_t length) noexcept nogil
# an answer that the guest returned: a whole message, one without a receiver, or just the content of an `inform`; 0 or SEND_*
cdef int agent_reply(agent_t* agent, const char* text, uint32_t length) noexcept nogil
cdef int agent_next_phase(agent_t* agent, int phase) noexcept nogil
cdef void agent_log(agent_t* agent, int stream, const char* text, uint32_t length) noexcept nogil
cdef state_t* agent_state(agent_t* agent) noexcept nogil

# the bytes at a guest's pointer, or NULL when they are not all inside its memory
cdef inline uint8_t* guest_bytes(agent_t* agent, uint32_t pointer, uint32_t length) noexcept nogil:
    cdef uint64_t end = <uint64_t>pointer + length
    if agent.bytes == NULL or end > agent.bytes_size:
        if end > wasmtime_memory_data_size(agent.context, &agent.memory):
            return NULL
        if not agent.world.memories_stay:
            return wasmtime_memory_data(agent.context, &agent.memory) + pointer
        agent.bytes = wasmtime_memory_data(agent.context, &agent.memory)
        agent.bytes_size = wasmtime_memory_data_size(agent.context, &agent.memory)
    return agent.bytes + pointer
