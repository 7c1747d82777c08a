"""The conversation tracker: which act of which protocol every message with a `protocol` is, checked at memory speed.

The tables are those of core/protocols, as arrays. The router asks `tracker_step` when it puts a message into a mailbox, on whichever thread that is.

    conversation_t   everything with one conversation_id
      session_t      one initiator, one participant, one protocol: a state, and a deadline in the heap of its shard
      violation_t    an act that changed nothing and was no repetition; the newest ones

Rule 1: a shard is a mutex and what it guards: all conversations whose id has its hash. Under it only the locks of the events, of the outbox and
    of the parents are taken, and nobody keeps a pointer beyond it.
Rule 2: an illegal act changes nothing but counters. Nothing here fails a message: what does not fit is counted and not followed.
Rule 3: memory is bounded: conversations, sessions of one, ended ones that are still shown, violations, and events that nobody has read.
Rule 4: no step takes longer the more sessions or deadlines there are: it walks no list that others can make long, and moves nothing in a heap when a
    deadline is put off.
Rule 5: limits change while threads step: each is read by itself, once in a step, without order; what was decided by an old one stays.
Rule 6: deadlines run on the monotonic clock from the arrival of the message; rows and people see the wall clock.

`tests/oracles/conversation.py` is the specification. The face for Python is tracker.pyx.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from caxton._fast.ahead cimport ahead_t
from caxton._fast.envelope cimport envelope_t
from caxton._fast.outbox cimport outbox_t
from caxton._fast.platform cimport pthread_mutex_t

cdef enum:
    PROTOCOLS_AT_MOST = 32
    STATES_AT_MOST = 32
    TOKEN_AT_MOST = 32
    SHARD_BITS = 9
    SHARDS = 512                # so many that two threads seldom meet in one: each time they do, its lines move from core to core
    ENDING_STRIPES = 16
    IDS = 4                     # message ids that a session remembers
    VIOLATIONS_AT_MOST = 16     # of one conversation
    EVENTS_AT_MOST = 4096       # that nobody has read

    EVENT_CONVERSATION = 40     # of the outbox: the tracker has events, or an earlier deadline

    # protocol_t.flags, as core/protocols/arrays.py has them
    STATE_FINAL = 1
    STATE_AWAITED = 2
    STATE_LASTING = 4
    STATE_PROMISE = 8

    # protocol_t.next: the bit of a row that opens a round
    ROW_ROUND = 128

    # roles; 0 is nobody
    ROLE_INITIATOR = 1
    ROLE_PARTICIPANT = 2

    # what a message was to its session; violation_t.kind is one of the last, less STEP_ILLEGAL
    STEP_MOVED = 0
    STEP_REPEATED = 1
    STEP_ILLEGAL = 2
    STEP_LATE = 3
    STEP_ROUNDS = 4             # one round too many
    STEP_UNOPENED = 5           # there is no such session, and the act opens none
    STEP_UNTRACKED = 6          # beyond a limit
    STEP_LOOP = 7               # it goes round in circles, and is not to be delivered

    # why something is a loop
    LOOP_HOPS = 1               # each message was the answer to one before, too many times
    LOOP_TRAJECTORY = 2         # the same messages between the same, again and again
    LOOP_REQUESTS = 3           # who is asked has asked, over others, who asks

    # bounds_t.shapes: content that is not what its act needs, in language json
    SHAPES_OFF = 0
    SHAPES_REPORT = 1
    SHAPES_REFUSE = 2
    SHAPE_KEYS = 16
    ACTS = 32
    NO_PROTOCOL = 255

    # conversation_event_t.kind
    TOLD_VIOLATION = 1
    TOLD_TIMED_OUT = 2
    TOLD_ENDED = 3
    TOLD_LIMIT = 4
    TOLD_LOOP = 5
    TOLD_SHAPE = 6

ctypedef struct protocol_t:
    uint8_t next[STATES_AT_MOST * 64]
    uint8_t overtaken[STATES_AT_MOST * 64]
    uint8_t late[STATES_AT_MOST * 32]
    uint8_t flags[STATES_AT_MOST]
    uint8_t owes[STATES_AT_MOST]        # ROLE_*
    uint8_t expiry[STATES_AT_MOST]
    uint8_t not_understood              # the states that every protocol can end in
    uint8_t timed_out
    uint8_t cancelled
    uint8_t undelivered
    uint8_t abandoned
    uint8_t done                        # where what lasted goes when that has ended; 0: nowhere
    bint bounded
    uint32_t states
    const char* name                    # for rows; tracker.pyx keeps the text
    const char* state_names[STATES_AT_MOST]

ctypedef struct token_t:
    char text[TOKEN_AT_MOST]
    uint32_t length
    uint32_t protocol

ctypedef struct conversation_t

# What every step reads and writes stands at the end of this and of conversation_t, before the names: with many agents each cache line is fetched anew.
ctypedef struct session_t:
    session_t* following        # of the same conversation
    session_t* answer_chain     # of the same place in the shard's table of answers
    uint64_t cancel_reply       # hash of the cancel's reply_with
    uint32_t answer_hash
    uint32_t heap_at            # its place in the shard's heap, plus 1; 0: it is not there
    uint32_t repeated
    uint32_t illegal
    session_t* chain            # of the same place in the shard's table
    conversation_t* conversation
    uint32_t hash
    uint8_t protocol
    uint8_t main                # the state in the protocol's table
    uint8_t cancelling          # a cancel is not answered; `main` is remembered
    uint8_t last_role           # what led into this state; 0: time, or the platform
    uint8_t last_act
    uint8_t recovered           # it was loaded, and nobody has gone on since
    uint8_t reply_to            # its first message had one: the participant's answers may go to anybody
    uint8_t ids_at
    uint8_t state_before        # the state before the platform's word that it was not delivered; 0: it is not known
    uint8_t waits               # its last message, which needs an answer, waits for somebody who is away
    uint32_t round
    uint32_t made[2]            # bit i: the act with code i was legal once, of the initiator and of the participant
    uint32_t messages
    uint64_t ids[IDS]
    uint64_t last_id            # of the message that led into this state
    int64_t deadline_ns         # 0: none
    int64_t heap_ns             # when the heap comes to it: not later than at its deadline
    int64_t held_ns             # deadline of the main protocol, while a cancel has its own
    int64_t since_us
    uint16_t initiator_length
    uint16_t participant_length
    char names[1]               # the initiator's, then the participant's

ctypedef struct violation_t:
    violation_t* following
    int64_t at_us
    uint8_t kind                # STEP_* less STEP_ILLEGAL
    uint8_t role
    uint8_t act
    uint8_t protocol
    uint8_t state
    uint8_t message_id[16]
    uint16_t sender_length
    uint16_t receiver_length
    char names[1]

ctypedef struct conversation_t:
    conversation_t* newer       # ended ones, oldest first
    conversation_t* older
    conversation_t* dirty_newer # those whose row is to be written
    conversation_t* dirty_older
    session_t* first
    session_t* last
    violation_t* violations     # oldest first
    violation_t* violations_last
    char* parent
    uint64_t number
    int64_t started_us
    int64_t started_ns
    uint32_t sessions
    uint32_t open               # sessions that have not ended
    uint32_t violation_count
    uint32_t illegal
    uint32_t repeated
    uint16_t parent_length
    uint8_t stored              # it has a row
    uint8_t protocol            # of the first session
    uint8_t mixed               # its sessions have several initiators
    conversation_t* chain
    uint64_t messages
    int64_t active_ns
    int64_t active_us
    uint64_t loop_anchor        # of the step that is looked for
    uint64_t loop_way           # of all steps since
    uint64_t loop_last          # of the way the last time
    uint32_t loop_times         # how often that was the same way
    uint32_t hash
    uint8_t loop_since          # steps since the one that is looked for again
    uint8_t loop_period         # steps from one of its appearances to the next
    uint8_t loop_told
    uint8_t durable             # one of its messages is kept
    uint8_t dirty
    uint16_t id_length
    char id[1]

ctypedef struct deadline_t:
    int64_t at_ns
    session_t* session

# Two pairs of cache lines. The first pair is all that a step needs; without a new deadline, nearly all of it is the first line.
ctypedef struct shard_t:
    pthread_mutex_t lock
    conversation_t** conversations
    session_t** sessions
    uint32_t conversation_room  # powers of two
    uint32_t session_room
    uint64_t steps              # counters, for statistics()
    uint64_t moved
    deadline_t* heap            # Four below each. An entry may come earlier than its session's deadline: when it is the first, it is put right
    int64_t next_ns             # atomic: the first of the heap; 0: none
    uint32_t heap_count
    uint32_t heap_room
    uint32_t conversation_count
    uint32_t session_count
    uint64_t repeated
    uint64_t illegal
    uint64_t late
    uint64_t timed_out
    uint64_t abandoned
    uint64_t untracked
    session_t** answers         # Those whose participant may answer anybody: the first of each conversation, participant and protocol. NULL: none
    uint32_t answer_room
    uint32_t answer_count
    conversation_t* ended_first # oldest
    conversation_t* ended_last
    conversation_t* dirty_first # peeked without the lock
    conversation_t* dirty_last
    uint32_t ended_count
    uint32_t reap_at            # the place where the reaper goes on
    char pad[40]

ctypedef struct conversation_event_t:
    conversation_event_t* following
    uint8_t kind                # TOLD_*
    uint8_t step                # of TOLD_VIOLATION
    uint8_t protocol
    uint8_t before
    uint8_t after
    uint8_t role
    uint8_t act
    uint8_t cancelling
    uint8_t message_id[16]
    int64_t at_us
    envelope_t* late            # one reference, or NULL
    uint16_t id_length
    uint16_t sender_length
    uint16_t receiver_length
    uint16_t parent_length
    char text[1]                # the conversation's id, the sender, the receiver, the parent if this was the last open branch of it

# a conversation that others name as their parent
ctypedef struct parent_t:
    parent_t* chain
    uint32_t hash
    uint32_t open               # branches that have not ended; there is one
    uint16_t id_length
    char id[1]

# peeked and poked: tracker.pyx changes them while threads step
ctypedef struct bounds_t:
    uint32_t conversations      # 0: nothing is followed
    uint32_t participants
    uint32_t ended
    uint32_t rounds
    int64_t ended_ns
    int64_t first_answer_ns     # 0: for ever
    int64_t skew_ns
    int64_t idle_ns
    int64_t longest_ns
    uint32_t repeats            # of one trajectory, before it is a loop; 0: it never is
    uint32_t hops               # 0: any number
    int32_t stop                # loops are stopped
    int32_t shapes              # SHAPES_*
    int32_t keeps               # rows are written

ctypedef struct act_t:
    const envelope_t* envelope
    const char* sender
    const char* receiver
    uint32_t sender_length
    uint32_t receiver_length
    uint8_t protocol
    uint8_t act
    uint8_t role
    uint8_t away                # nobody takes the message out of its mailbox now
    uint64_t id
    int64_t deadline_ns         # 0: it has no reply_by
    int64_t now_ns
    int64_t now_us

ctypedef struct tracker_t:
    shard_t* shards
    uint64_t* endings           # atomic; of each stripe, protocol and state: how often a session ended there
    protocol_t* protocols
    uint32_t protocol_count
    token_t tokens[PROTOCOLS_AT_MOST]
    uint32_t token_count
    uint64_t secret[2]
    bounds_t limits
    uint32_t wanted[ACTS]       # bit i: the member that key i names; 0: any content
    const char* keys[SHAPE_KEYS]
    uint32_t key_lengths[SHAPE_KEYS]
    uint32_t key_count
    outbox_t* outbox            # or NULL
    int32_t watch_ended         # atomic
    int64_t sleeping_ns         # atomic: when Trio comes anyway; 0: it is not told
    char pad0[64]               # what is written with each conversation is not on the lines that every step reads
    int32_t total               # atomic: conversations that have not ended
    uint64_t numbers            # atomic: the last number given
    char pad1[64]
    pthread_mutex_t lock        # guards the events
    conversation_event_t* first
    conversation_event_t* last
    uint32_t events
    uint64_t events_lost
    int32_t announced           # atomic: EVENT_CONVERSATION is on its way
    pthread_mutex_t branches    # guards the parents
    parent_t** parents          # NULL: there was none
    uint32_t parent_room
    uint32_t parent_count

cdef int tracker_init(tracker_t* tracker) noexcept nogil
cdef void tracker_free(tracker_t* tracker) noexcept nogil

# A message with a protocol comes into the mailbox of *receiver*. STEP_*; it is STEP_LATE when the message is not to be delivered, and then a reference
# to it is kept until its sender has been answered. *away*: who takes it, outside, is not there. *ahead*, or NULL: where it is noted what the next step of the
# receiver will probably look at.
cdef int tracker_step(
    tracker_t* tracker, envelope_t* envelope, const char* receiver, uint32_t length, bint outside, bint durable, bint away,
    int64_t now_ns, int64_t now_us, ahead_t* ahead
) noexcept nogil

# Before a message is routed, for those with a language or many hops: 0, or SEND_*. It has its message_id.
cdef int tracker_admit(tracker_t* tracker, const envelope_t* envelope, int64_t now_us) noexcept nogil
# whether the content has the members that its act needs
cdef bint content_fits(const tracker_t* tracker, const envelope_t* envelope) noexcept nogil

# moves the sessions whose deadline has come, and says how many
cdef uint32_t tracker_tick(tracker_t* tracker, int64_t now_ns, int64_t now_us) noexcept nogil
# the earliest deadline; 0: there is none
cdef int64_t tracker_next(tracker_t* tracker) noexcept nogil
# *most* places of each shard's table; False: the reaper has been everywhere
cdef bint tracker_reap(tracker_t* tracker, uint32_t most, int64_t now_ns, int64_t now_us) noexcept nogil
cdef bint tracker_undelivered(
    tracker_t* tracker, const envelope_t* envelope, const char* receiver, uint32_t length, int64_t now_ns, int64_t now_us
) noexcept nogil
# Who was away has the message now: from here on it has time for its first answer. False: nobody had waited for that
cdef bint tracker_taken(tracker_t* tracker, const envelope_t* envelope, const char* receiver, uint32_t length, int64_t now_ns) noexcept nogil
# Forget those that ended and are too old or too many, for who looks. Between two looks a shard may have some beyond its share
cdef void tracker_forget(tracker_t* tracker, int64_t now_ns) noexcept nogil
cdef uint32_t tracker_complete(tracker_t* tracker, const char* id, uint32_t length, int64_t now_ns, int64_t now_us) noexcept nogil
# everything that was not read; the caller frees each
cdef conversation_event_t* tracker_take_events(tracker_t* tracker) noexcept nogil
cdef void conversation_event_free(conversation_event_t* event) noexcept nogil

# -- for tracker.pyx, under the shard's lock --
cdef shard_t* shard_of(tracker_t* tracker, uint32_t hash) noexcept nogil
cdef uint32_t hash_of(const tracker_t* tracker, const char* text, uint32_t length) noexcept nogil
cdef conversation_t* find_conversation(shard_t* shard, uint32_t hash, const char* id, uint32_t length) noexcept nogil
cdef uint32_t hash_pair(uint32_t conversation, uint32_t one, uint32_t other, int protocol) noexcept nogil
cdef conversation_t* new_conversation(shard_t* shard, uint32_t hash, const char* id, uint32_t length) noexcept nogil
cdef session_t* new_session(
    shard_t* shard, conversation_t* conversation, uint32_t hash, int protocol,
    const char* initiator, uint32_t initiator_length, const char* participant, uint32_t participant_length
) noexcept nogil
# its participant may answer anybody
cdef void note_answers(shard_t* shard, session_t* session, uint32_t participant) noexcept nogil
cdef bint is_waited_for(const tracker_t* tracker, const session_t* session) noexcept nogil
cdef int set_deadline(tracker_t* tracker, shard_t* shard, session_t* session, int64_t at_ns) noexcept nogil
cdef void drop_conversation(tracker_t* tracker, shard_t* shard, conversation_t* conversation) noexcept nogil
cdef void not_dirty(shard_t* shard, conversation_t* conversation) noexcept nogil
cdef uint32_t count_branch(tracker_t* tracker, const conversation_t* conversation, int by) noexcept nogil
cdef void mark_ended(tracker_t* tracker, shard_t* shard, conversation_t* conversation) noexcept nogil
