"""See conversation.pxd."""

# Over 500 lines: the shards' table, the machine's step and the heap share one lock and one set of structs, and the compiler makes one loop-free path of them.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset
from caxton._fast.ahead cimport ahead_t, note_ahead
from caxton._fast.envelope cimport (
    envelope_field,
    envelope_field_length,
    envelope_release,
    envelope_retain,
    envelope_t,
    F_CONTENT,
    F_CONVERSATION_ID,
    F_IN_REPLY_TO,
    F_LANGUAGE,
    F_PARAMS,
    F_PROTOCOL,
    F_RECEIVER,
    F_REPLY_TO,
    F_REPLY_WITH,
    F_SENDER,
)
from caxton._fast.outbox cimport event_new, outbox_push
from caxton._fast.platform cimport (
    cx_add_i32,
    cx_add_u64,
    cx_alloc_lines,
    cx_exchange_i32,
    cx_load_i32,
    cx_load_i64,
    cx_peek_i32,
    cx_peek_i64,
    cx_peek_u32,
    cx_poke_ptr,
    cx_random,
    cx_store_u64,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)
from caxton._fast.router cimport SEND_HOPS, SEND_SHAPE
from caxton._fast.sip_hash cimport sip_hash

cdef extern from *:
    """
    /* either Trio sees a deadline before it sleeps, or who sets it sees that Trio sleeps */
    #define caxton_put_before(p, v) ((void)__atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST))
    #define caxton_look_behind(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
    """
    void put_before "caxton_put_before"(int64_t* where, int64_t value) noexcept nogil
    int64_t look_behind "caxton_look_behind"(const int64_t* where) noexcept nogil

cdef enum:
    # codes of FIPA00069 that the cancel meta-protocol knows
    ACT_CANCEL = 0x03
    ACT_FAILURE = 0x07
    ACT_INFORM = 0x08

    SMALLEST = 16               # places of a shard's table
    FORGET_AT_ONCE = 16
    SHARE_LEAST = 8             # conversations that ended and that a shard keeps, though its share is less
    LOOP_STEPS = 32             # of one period at most
    LOOP_PAUSE_NS = 1_000_000_000       # a loop takes no longer between two steps
    CYCLE_SESSIONS = 64         # of a conversation in which cycles are looked for
    HASHED = 64                 # bytes of a content's beginning, and of its end
    HEAP_WAYS = 4

cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF
cdef int64_t AWAY_AT_MOST = <int64_t>1 << 50       # microseconds to a deadline: what is further away is as good as never
cdef const char* CLIENT = "client:"
cdef const char* PARENT = "parent_conversation"
cdef const char* PARENT_TOO = "parent-conversation"


# -- small things ----------------------------------------------------------------------------------------------------

cdef uint32_t hash_of(const tracker_t* tracker, const char* text, uint32_t length) noexcept nogil:
    return sip_hash(text, length, tracker.secret[0], tracker.secret[1])


cdef inline uint64_t hash_text(const char* text, uint32_t length) noexcept nogil:
    """FNV-1a: the same in every process, for what is kept in rows; never 0."""
    cdef uint64_t digest = 0xCBF29CE484222325ULL
    cdef uint32_t i
    for i in range(length):
        digest = (digest ^ <uint8_t>text[i]) * 0x100000001B3ULL
    return digest or 1


cdef inline uint64_t hash_id(const uint8_t* message_id) noexcept nogil:
    """Sixteen bytes, most of them random, in eight; 0: not set."""
    cdef uint64_t[2] words
    memcpy(words, message_id, 16)
    return words[0] * 0x9E3779B97F4A7C15ULL ^ words[1]


cdef uint32_t hash_pair(uint32_t conversation, uint32_t one, uint32_t other, int protocol) noexcept nogil:
    """The same whichever of the two sends."""
    return conversation ^ (one + other) * <uint32_t>0x9E3779B1U ^ <uint32_t>protocol * <uint32_t>0x85EBCA6BU


cdef shard_t* shard_of(tracker_t* tracker, uint32_t hash) noexcept nogil:
    # its upper bits: the lower ones choose the place within
    return &tracker.shards[hash >> (32 - SHARD_BITS)]


cdef inline bint is_final(const tracker_t* tracker, const session_t* session) noexcept nogil:
    return tracker.protocols[session.protocol].flags[session.main] & STATE_FINAL


cdef inline bint is_same(const char* one, uint32_t length, const char* other, uint32_t other_length) noexcept nogil:
    return length == other_length and memcmp(one, other, length) == 0


cdef inline bint is_initiator(const session_t* session, const char* name, uint32_t length) noexcept nogil:
    return is_same(session.names, session.initiator_length, name, length)


cdef inline bint is_participant(const session_t* session, const char* name, uint32_t length) noexcept nogil:
    return is_same(session.names + session.initiator_length, session.participant_length, name, length)


cdef int find_protocol(const tracker_t* tracker, const char* text, uint32_t length) noexcept nogil:
    """Its number, or -1."""
    cdef char[TOKEN_AT_MOST] lower
    cdef uint32_t i
    if length >= TOKEN_AT_MOST:
        return -1
    for i in range(tracker.token_count):
        if tracker.tokens[i].length == length and memcmp(tracker.tokens[i].text, text, length) == 0:
            return <int>tracker.tokens[i].protocol
    for i in range(length):
        lower[i] = text[i] | 0x20 if c'A' <= text[i] <= c'Z' else text[i]
    for i in range(tracker.token_count):
        if tracker.tokens[i].length == length and memcmp(tracker.tokens[i].text, lower, length) == 0:
            return <int>tracker.tokens[i].protocol
    return -1


# -- deadlines -------------------------------------------------------------------------------------------------------

cdef inline void place(shard_t* shard, uint32_t at, deadline_t item) noexcept nogil:
    shard.heap[at] = item
    item.session.heap_at = at + 1


cdef void rise(shard_t* shard, uint32_t at) noexcept nogil:
    cdef deadline_t item = shard.heap[at]
    cdef uint32_t above
    while at:
        above = (at - 1) // HEAP_WAYS
        if shard.heap[above].at_ns <= item.at_ns:
            break
        place(shard, at, shard.heap[above])
        at = above
    place(shard, at, item)


cdef void sink(shard_t* shard, uint32_t at) noexcept nogil:
    cdef deadline_t item = shard.heap[at]
    cdef uint32_t first, i, least
    while True:
        first = at * HEAP_WAYS + 1
        if first >= shard.heap_count:
            break
        least = first
        for i in range(first + 1, min(first + HEAP_WAYS, shard.heap_count)):
            if shard.heap[i].at_ns < shard.heap[least].at_ns:
                least = i
        if shard.heap[least].at_ns >= item.at_ns:
            break
        place(shard, at, shard.heap[least])
        at = least
    place(shard, at, item)


cdef void announce(tracker_t* tracker) noexcept nogil:
    """Trio should look: once, until it has."""
    if tracker.outbox != NULL and cx_exchange_i32(&tracker.announced, 1) == 0:
        outbox_push(tracker.outbox, event_new(EVENT_CONVERSATION, 0, NULL, 0, NULL, 0))


cdef void take_out(shard_t* shard, session_t* session) noexcept nogil:
    """From the heap, where it stands."""
    cdef uint32_t at = session.heap_at - 1
    session.heap_at = 0
    shard.heap_count -= 1
    if at != shard.heap_count:
        place(shard, at, shard.heap[shard.heap_count])
        if at and shard.heap[at].at_ns < shard.heap[(at - 1) // HEAP_WAYS].at_ns:
            rise(shard, at)
        else:
            sink(shard, at)


cdef bint put_right(shard_t* shard) noexcept nogil:
    """The first of the heap, when its session has no deadline any more or a later one; False: it is right, or there is none."""
    cdef session_t* session
    if shard.heap_count == 0:
        return False
    session = shard.heap[0].session
    if session.deadline_ns == shard.heap[0].at_ns:
        return False
    if session.deadline_ns == 0:
        take_out(shard, session)
    else:
        session.heap_ns = shard.heap[0].at_ns = session.deadline_ns
        sink(shard, 0)
    return True


cdef void publish_next(tracker_t* tracker, shard_t* shard) noexcept nogil:
    """The heap's first, for those who look without the lock."""
    cdef int64_t at_ns = shard.heap[0].at_ns if shard.heap_count else 0, sleeping
    if at_ns == shard.next_ns:
        return
    if at_ns and (shard.next_ns == 0 or at_ns < shard.next_ns):
        put_before(&shard.next_ns, at_ns)
        sleeping = look_behind(&tracker.sleeping_ns)
        if sleeping and at_ns < sleeping:
            announce(tracker)
    else:
        cx_store_u64(<uint64_t*>&shard.next_ns, <uint64_t>at_ns)


cdef int set_deadline(tracker_t* tracker, shard_t* shard, session_t* session, int64_t at_ns) noexcept nogil:
    """Under the shard's lock; *at_ns* 0: none. -1: no memory, and it has none.

    A conversation moves its deadline with every step, and nearly always to later: then the heap stays as it is.
    """
    cdef uint32_t room
    cdef deadline_t* larger
    session.deadline_ns = at_ns
    if at_ns == 0 or (session.heap_at and session.heap_ns <= at_ns):
        return 0
    if session.heap_at == 0:
        if shard.heap_count == shard.heap_room:
            room = shard.heap_room * 2 + 16
            larger = <deadline_t*>realloc(shard.heap, room * sizeof(deadline_t))
            if larger == NULL:
                session.deadline_ns = 0
                return -1
            shard.heap = larger
            shard.heap_room = room
        shard.heap_count += 1
        session.heap_at = shard.heap_count
        shard.heap[session.heap_at - 1].session = session
    session.heap_ns = shard.heap[session.heap_at - 1].at_ns = at_ns
    rise(shard, session.heap_at - 1)
    publish_next(tracker, shard)
    return 0


cdef int64_t tracker_next(tracker_t* tracker) noexcept nogil:
    cdef shard_t* found
    cdef int64_t earliest, at
    cdef bint moved = True
    cdef int i
    while moved:
        found = NULL
        earliest = 0
        for i in range(SHARDS):
            at = cx_load_i64(&tracker.shards[i].next_ns)
            if at and (earliest == 0 or at < earliest):
                earliest = at
                found = &tracker.shards[i]
        moved = False
        if found != NULL:
            pthread_mutex_lock(&found.lock)
            while put_right(found):
                moved = True
            publish_next(tracker, found)
            pthread_mutex_unlock(&found.lock)
    return earliest


# -- what is told ----------------------------------------------------------------------------------------------------

cdef void tell(
    tracker_t* tracker, conversation_event_t fields, const char* id, uint32_t id_length, const char* sender, uint32_t sender_length,
    const char* receiver, uint32_t receiver_length, const char* parent, uint32_t parent_length
) noexcept nogil:
    """Under a shard's lock or not; what nobody reads in time is counted."""
    cdef conversation_event_t* event = NULL
    pthread_mutex_lock(&tracker.lock)
    # a late message is answered all the same, and a broker's conversation ends: there are as many as were accepted
    if tracker.events < EVENTS_AT_MOST or fields.late != NULL or parent_length:
        event = <conversation_event_t*>malloc(sizeof(conversation_event_t) + id_length + sender_length + receiver_length + parent_length)
    if event == NULL:
        tracker.events_lost += 1
        pthread_mutex_unlock(&tracker.lock)
        if fields.late != NULL:
            envelope_release(fields.late)
        return
    event[0] = fields
    event.following = NULL
    event.id_length = <unsigned short>id_length
    event.sender_length = <unsigned short>sender_length
    event.receiver_length = <unsigned short>receiver_length
    memcpy(event.text, id, id_length)
    memcpy(event.text + id_length, sender, sender_length)
    memcpy(event.text + id_length + sender_length, receiver, receiver_length)
    event.parent_length = <unsigned short>parent_length
    if parent_length:
        memcpy(event.text + id_length + sender_length + receiver_length, parent, parent_length)
    if tracker.last != NULL:
        tracker.last.following = event
    else:
        tracker.first = event
    tracker.last = event
    tracker.events += 1
    pthread_mutex_unlock(&tracker.lock)
    announce(tracker)


cdef void tell_session(tracker_t* tracker, const session_t* session, int kind, int before, int64_t now_us, bint is_last=False) noexcept nogil:
    """A session has moved without a message, or has ended. *is_last*: no other branch of its parent is open."""
    cdef conversation_event_t event
    memset(&event, 0, sizeof(event))
    event.kind = <uint8_t>kind
    event.protocol = session.protocol
    event.before = <uint8_t>before
    event.after = session.main
    event.role = tracker.protocols[session.protocol].owes[before]
    event.at_us = now_us
    tell(
        tracker, event, session.conversation.id, session.conversation.id_length, session.names, session.initiator_length,
        session.names + session.initiator_length, session.participant_length,
        session.conversation.parent, session.conversation.parent_length if is_last else 0
    )


cdef void tell_violation(tracker_t* tracker, const act_t* act, const session_t* session, int step) noexcept nogil:
    """*session* NULL: there is none."""
    cdef conversation_event_t event
    memset(&event, 0, sizeof(event))
    event.kind = TOLD_LIMIT if step == STEP_UNTRACKED else TOLD_VIOLATION
    event.step = <uint8_t>step
    event.protocol = act.protocol
    event.before = event.after = session.main if session != NULL else 0
    event.cancelling = session.cancelling if session != NULL else 0
    event.role = act.role
    event.act = act.act
    event.at_us = act.now_us
    memcpy(event.message_id, act.envelope.message_id, 16)
    if step == STEP_LATE:
        event.late = <envelope_t*>act.envelope
        envelope_retain(event.late)
    tell(
        tracker, event, envelope_field(act.envelope, F_CONVERSATION_ID), envelope_field_length(act.envelope, F_CONVERSATION_ID),
        act.sender, act.sender_length, act.receiver, act.receiver_length, NULL, 0
    )


cdef void keep_violation(conversation_t* conversation, const act_t* act, const session_t* session, int step) noexcept nogil:
    """On the conversation, where people look; the oldest makes room."""
    cdef violation_t* item = <violation_t*>malloc(sizeof(violation_t) + act.sender_length + act.receiver_length)
    if item == NULL:
        return
    memset(item, 0, sizeof(violation_t))
    item.at_us = act.now_us
    item.kind = <uint8_t>(step - STEP_ILLEGAL)
    item.role = act.role
    item.act = act.act
    item.protocol = act.protocol
    item.state = session.main if session != NULL else 0
    memcpy(item.message_id, act.envelope.message_id, 16)
    item.sender_length = <unsigned short>act.sender_length
    item.receiver_length = <unsigned short>act.receiver_length
    memcpy(item.names, act.sender, act.sender_length)
    memcpy(item.names + act.sender_length, act.receiver, act.receiver_length)
    if conversation.violations_last != NULL:
        conversation.violations_last.following = item
    else:
        conversation.violations = item
    conversation.violations_last = item
    conversation.violation_count += 1
    if conversation.violation_count > VIOLATIONS_AT_MOST:
        item = conversation.violations
        conversation.violations = item.following
        conversation.violation_count -= 1
        free(item)


cdef conversation_event_t* tracker_take_events(tracker_t* tracker) noexcept nogil:
    cdef conversation_event_t* first
    cx_exchange_i32(&tracker.announced, 0)
    pthread_mutex_lock(&tracker.lock)
    first = tracker.first
    tracker.first = tracker.last = NULL
    tracker.events = 0
    pthread_mutex_unlock(&tracker.lock)
    return first


cdef void conversation_event_free(conversation_event_t* event) noexcept nogil:
    if event.late != NULL:
        envelope_release(event.late)
    free(event)


# -- the table -------------------------------------------------------------------------------------------------------

cdef conversation_t* find_conversation(shard_t* shard, uint32_t hash, const char* id, uint32_t length) noexcept nogil:
    cdef conversation_t* conversation = shard.conversations[hash & (shard.conversation_room - 1)]
    while conversation != NULL:
        if conversation.hash == hash and is_same(conversation.id, conversation.id_length, id, length):
            return conversation
        conversation = conversation.chain
    return NULL


cdef session_t* find_session(shard_t* shard, uint32_t hash, const act_t* act) noexcept nogil:
    """The one between the two, in this conversation and protocol."""
    cdef session_t* session = shard.sessions[hash & (shard.session_room - 1)]
    cdef const char* id = envelope_field(act.envelope, F_CONVERSATION_ID)
    cdef uint32_t length = envelope_field_length(act.envelope, F_CONVERSATION_ID)
    while session != NULL:
        if session.hash == hash and session.protocol == act.protocol and (
            (
                is_initiator(session, act.sender, act.sender_length) and is_participant(session, act.receiver, act.receiver_length)
            ) or (
                is_participant(session, act.sender, act.sender_length) and is_initiator(session, act.receiver, act.receiver_length)
            )
        ) and is_same(session.conversation.id, session.conversation.id_length, id, length):
            return session
        session = session.chain
    return NULL


cdef inline uint32_t hash_answer(const conversation_t* conversation, uint32_t participant, int protocol) noexcept nogil:
    return hash_pair(conversation.hash, participant, participant, protocol)


cdef session_t* find_answered_elsewhere(
    const shard_t* shard, const conversation_t* conversation, uint32_t hash, int protocol, const char* name, uint32_t length
) noexcept nogil:
    """The first session in which this participant was told, by reply_to, to answer somebody else."""
    cdef session_t* session = shard.answers[hash & (shard.answer_room - 1)] if shard.answers != NULL else NULL
    while session != NULL:
        if (
            session.answer_hash == hash and session.conversation == conversation and session.protocol == protocol
            and is_participant(session, name, length)
        ):
            return session
        session = session.answer_chain
    return NULL


cdef int grow_answers(shard_t* shard) noexcept nogil:
    cdef uint32_t room = max(shard.answer_room * 2, <uint32_t>SMALLEST), i
    cdef session_t** places = <session_t**>calloc(room, sizeof(session_t*))
    cdef session_t* item
    cdef session_t* chain
    if places == NULL:
        return -1
    for i in range(shard.answer_room):
        item = shard.answers[i]
        while item != NULL:
            chain = item.answer_chain
            item.answer_chain = places[item.answer_hash & (room - 1)]
            places[item.answer_hash & (room - 1)] = item
            item = chain
    free(shard.answers)
    shard.answers = places
    shard.answer_room = room
    return 0


cdef void note_answers(shard_t* shard, session_t* session, uint32_t participant) noexcept nogil:
    """A later session of the same participant is not found by its answers, and needs no place. Without memory its answers are nobody's."""
    cdef session_t** place
    session.reply_to = 1
    session.answer_hash = hash_answer(session.conversation, participant, session.protocol)
    if find_answered_elsewhere(
        shard, session.conversation, session.answer_hash, session.protocol, session.names + session.initiator_length, session.participant_length
    ) != NULL:
        return
    if shard.answer_count >= shard.answer_room and grow_answers(shard):
        return
    place = &shard.answers[session.answer_hash & (shard.answer_room - 1)]
    session.answer_chain = place[0]
    place[0] = session
    shard.answer_count += 1


cdef void forget_answers(shard_t* shard, session_t* session) noexcept nogil:
    cdef session_t** link = &shard.answers[session.answer_hash & (shard.answer_room - 1)] if shard.answers != NULL else NULL
    while link != NULL and link[0] != NULL:
        if link[0] == session:
            link[0] = session.answer_chain
            shard.answer_count -= 1
            return
        link = &link[0].answer_chain


ctypedef fused item_t:
    conversation_t
    session_t
    parent_t


cdef item_t** twice_the_places(item_t** places, uint32_t room) noexcept nogil:
    """The same chains over twice as many places; NULL: no memory, and nothing has changed."""
    cdef uint32_t i, last = room * 2 - 1
    cdef item_t** larger = <item_t**>calloc(room * 2, sizeof(item_t*))
    cdef item_t* item
    cdef item_t* chain
    if larger == NULL:
        return NULL
    for i in range(room):
        item = places[i]
        while item != NULL:
            chain = item.chain
            item.chain = larger[item.hash & last]
            larger[item.hash & last] = item
            item = chain
    free(places)
    return larger


cdef int grow_conversations(shard_t* shard) noexcept nogil:
    cdef conversation_t** larger = twice_the_places(shard.conversations, shard.conversation_room)
    if larger == NULL:
        return -1
    shard.conversations = larger
    shard.conversation_room *= 2
    shard.reap_at = 0
    return 0


cdef int grow_sessions(shard_t* shard) noexcept nogil:
    cdef session_t** larger = twice_the_places(shard.sessions, shard.session_room)
    if larger == NULL:
        return -1
    shard.sessions = larger
    shard.session_room *= 2
    return 0


cdef conversation_t* new_conversation(shard_t* shard, uint32_t hash, const char* id, uint32_t length) noexcept nogil:
    """An empty one. It counts as ended until it has a session that has not."""
    cdef conversation_t* conversation
    if shard.conversation_count >= shard.conversation_room and grow_conversations(shard):
        return NULL
    conversation = <conversation_t*>malloc(sizeof(conversation_t) + length)
    if conversation == NULL:
        return NULL
    memset(conversation, 0, sizeof(conversation_t))
    conversation.hash = hash
    conversation.id_length = <unsigned short>length
    memcpy(conversation.id, id, length)
    conversation.chain = shard.conversations[hash & (shard.conversation_room - 1)]
    shard.conversations[hash & (shard.conversation_room - 1)] = conversation
    shard.conversation_count += 1
    return conversation


cdef session_t* new_session(
    shard_t* shard, conversation_t* conversation, uint32_t hash, int protocol,
    const char* initiator, uint32_t initiator_length, const char* participant, uint32_t participant_length
) noexcept nogil:
    cdef session_t* session
    if shard.session_count >= shard.session_room and grow_sessions(shard):
        return NULL
    session = <session_t*>malloc(sizeof(session_t) + initiator_length + participant_length)
    if session == NULL:
        return NULL
    memset(session, 0, sizeof(session_t))
    session.protocol = <uint8_t>protocol
    session.conversation = conversation
    session.initiator_length = <unsigned short>initiator_length
    session.participant_length = <unsigned short>participant_length
    memcpy(session.names, initiator, initiator_length)
    memcpy(session.names + initiator_length, participant, participant_length)
    session.hash = hash
    session.chain = shard.sessions[session.hash & (shard.session_room - 1)]
    shard.sessions[session.hash & (shard.session_room - 1)] = session
    shard.session_count += 1
    if conversation.last != NULL:
        conversation.last.following = session
    else:
        conversation.first = session
        conversation.protocol = <uint8_t>protocol
    conversation.last = session
    conversation.sessions += 1
    return session


cdef void drop_session(tracker_t* tracker, shard_t* shard, session_t* session) noexcept nogil:
    cdef session_t** link = &shard.sessions[session.hash & (shard.session_room - 1)]
    while link[0] != session:
        link = &link[0].chain
    link[0] = session.chain
    shard.session_count -= 1
    if session.reply_to:
        forget_answers(shard, session)
    if session.heap_at:
        take_out(shard, session)
        publish_next(tracker, shard)
    free(session)


cdef void not_ended(shard_t* shard, conversation_t* conversation) noexcept nogil:
    if conversation.older != NULL:
        conversation.older.newer = conversation.newer
    elif shard.ended_first == conversation:
        shard.ended_first = conversation.newer
    else:
        return          # it does not stand in the list
    if conversation.newer != NULL:
        conversation.newer.older = conversation.older
    else:
        shard.ended_last = conversation.older
    conversation.older = conversation.newer = NULL
    shard.ended_count -= 1


cdef void not_dirty(shard_t* shard, conversation_t* conversation) noexcept nogil:
    if not conversation.dirty:
        return
    if conversation.dirty_older != NULL:
        conversation.dirty_older.dirty_newer = conversation.dirty_newer
    else:
        cx_poke_ptr(<void**>&shard.dirty_first, conversation.dirty_newer)
    if conversation.dirty_newer != NULL:
        conversation.dirty_newer.dirty_older = conversation.dirty_older
    else:
        shard.dirty_last = conversation.dirty_older
    conversation.dirty_older = conversation.dirty_newer = NULL
    conversation.dirty = 0


cdef void mark_dirty(tracker_t* tracker, shard_t* shard, conversation_t* conversation) noexcept nogil:
    """Its row is to be written, or to go. One that has none and has ended needs none."""
    if not conversation.durable or not cx_peek_i32(&tracker.limits.keeps):
        return
    if conversation.open == 0 and not conversation.stored:
        not_dirty(shard, conversation)
        return
    if conversation.dirty:
        return
    conversation.dirty = 1
    conversation.dirty_older = shard.dirty_last
    if shard.dirty_last != NULL:
        shard.dirty_last.dirty_newer = conversation
    else:
        cx_poke_ptr(<void**>&shard.dirty_first, conversation)
    shard.dirty_last = conversation


cdef void drop_conversation(tracker_t* tracker, shard_t* shard, conversation_t* conversation) noexcept nogil:
    cdef conversation_t** link = &shard.conversations[conversation.hash & (shard.conversation_room - 1)]
    cdef session_t* session = conversation.first
    cdef session_t* following
    cdef violation_t* violation = conversation.violations
    cdef violation_t* after
    while link[0] != conversation:
        link = &link[0].chain
    link[0] = conversation.chain
    shard.conversation_count -= 1
    not_ended(shard, conversation)
    not_dirty(shard, conversation)
    if conversation.open:
        cx_add_i32(&tracker.total, -1)
        if conversation.parent_length:
            count_branch(tracker, conversation, -1)
    while session != NULL:
        following = session.following
        drop_session(tracker, shard, session)
        session = following
    while violation != NULL:
        after = violation.following
        free(violation)
        violation = after
    free(conversation.parent)
    free(conversation)


cdef inline bint may_go(const conversation_t* conversation) noexcept nogil:
    """It has no row that has to go first."""
    return not conversation.dirty and not conversation.stored


cdef uint32_t forget_ended(tracker_t* tracker, shard_t* shard, int64_t now_ns) noexcept nogil:
    """The shard's oldest ones that ended, when they are more than its share or too old: a few at once, and how many."""
    cdef conversation_t* conversation = shard.ended_first
    cdef conversation_t* newer
    cdef uint32_t most = cx_peek_u32(&tracker.limits.ended), looked = 0, gone = 0
    cdef int64_t kept_ns = cx_peek_i64(&tracker.limits.ended_ns)
    # where few are kept, a shard that by chance had more of the newest keeps them until all shards are looked at together
    most = max(most // SHARDS + 1, min(most, <uint32_t>SHARE_LEAST))
    while conversation != NULL and looked < FORGET_AT_ONCE and (shard.ended_count > most or now_ns - conversation.active_ns > kept_ns):
        newer = conversation.newer
        looked += 1
        if may_go(conversation):
            drop_conversation(tracker, shard, conversation)
            gone += 1
        conversation = newer
    return gone


cdef conversation_t* oldest_ended(shard_t* shard) noexcept nogil:
    """Of those that may go, as far as one looks; NULL: there is none."""
    cdef conversation_t* conversation = shard.ended_first
    cdef uint32_t looked = 0
    while conversation != NULL and looked < FORGET_AT_ONCE and not may_go(conversation):
        conversation = conversation.newer
        looked += 1
    return conversation if conversation != NULL and may_go(conversation) else NULL


cdef void tracker_forget(tracker_t* tracker, int64_t now_ns) noexcept nogil:
    cdef int64_t[SHARDS] ended_ns       # of each shard's oldest; NEVER: none may go
    cdef uint64_t count = 0
    cdef uint32_t most = cx_peek_u32(&tracker.limits.ended)
    cdef shard_t* shard
    cdef conversation_t* conversation
    cdef int i, oldest
    for i in range(SHARDS):
        shard = &tracker.shards[i]
        pthread_mutex_lock(&shard.lock)
        while forget_ended(tracker, shard, now_ns):
            pass
        count += shard.ended_count
        conversation = oldest_ended(shard)
        ended_ns[i] = conversation.active_ns if conversation != NULL else NEVER
        pthread_mutex_unlock(&shard.lock)
    while count > most:
        oldest = 0
        for i in range(1, SHARDS):
            if ended_ns[i] < ended_ns[oldest]:
                oldest = i
        if ended_ns[oldest] == NEVER:
            return
        shard = &tracker.shards[oldest]
        pthread_mutex_lock(&shard.lock)
        conversation = oldest_ended(shard)
        if conversation != NULL:
            drop_conversation(tracker, shard, conversation)
            conversation = oldest_ended(shard)
        count -= 1
        ended_ns[oldest] = conversation.active_ns if conversation != NULL else NEVER
        pthread_mutex_unlock(&shard.lock)


cdef void mark_ended(tracker_t* tracker, shard_t* shard, conversation_t* conversation) noexcept nogil:
    """Its last session has ended."""
    cx_add_i32(&tracker.total, -1)
    conversation.older = shard.ended_last
    if shard.ended_last != NULL:
        shard.ended_last.newer = conversation
    else:
        shard.ended_first = conversation
    shard.ended_last = conversation
    shard.ended_count += 1


cdef uint32_t count_branch(tracker_t* tracker, const conversation_t* conversation, int by) noexcept nogil:
    """One of its parent's branches is open now (1), or is no more (-1): how many are. Without memory some are not counted, and the parent ends early."""
    cdef uint32_t hash = hash_of(tracker, conversation.parent, conversation.parent_length), is_open = 0, i
    cdef parent_t** link
    cdef parent_t** larger
    cdef parent_t* parent
    pthread_mutex_lock(&tracker.branches)
    if tracker.parents == NULL:
        tracker.parents = <parent_t**>calloc(SMALLEST, sizeof(parent_t*))
        tracker.parent_room = SMALLEST if tracker.parents != NULL else 0
    link = &tracker.parents[hash & (tracker.parent_room - 1)] if tracker.parents != NULL else NULL
    while link != NULL and link[0] != NULL and not (
        link[0].hash == hash and is_same(link[0].id, link[0].id_length, conversation.parent, conversation.parent_length)
    ):
        link = &link[0].chain
    parent = link[0] if link != NULL else NULL
    if parent == NULL and link != NULL and by > 0:
        parent = <parent_t*>malloc(sizeof(parent_t) + conversation.parent_length)
        if parent != NULL:
            parent.chain = NULL
            parent.hash = hash
            parent.open = 0
            parent.id_length = conversation.parent_length
            memcpy(parent.id, conversation.parent, conversation.parent_length)
            link[0] = parent
            tracker.parent_count += 1
    if parent != NULL:
        parent.open += by
        is_open = parent.open
        if is_open == 0:
            link[0] = parent.chain
            tracker.parent_count -= 1
            free(parent)
        elif tracker.parent_count > tracker.parent_room:
            larger = twice_the_places(tracker.parents, tracker.parent_room)
            if larger != NULL:
                tracker.parents = larger
                tracker.parent_room *= 2
    pthread_mutex_unlock(&tracker.branches)
    return is_open


cdef inline void count_ending(tracker_t* tracker, const shard_t* shard, const session_t* session, int by) noexcept nogil:
    cdef uint32_t stripe = <uint32_t>(shard - tracker.shards) % ENDING_STRIPES
    cx_add_u64(&tracker.endings[(stripe * PROTOCOLS_AT_MOST + session.protocol) * STATES_AT_MOST + session.main], <uint64_t>by)


cdef void ended(tracker_t* tracker, shard_t* shard, session_t* session, int before, int64_t now_ns, int64_t now_us) noexcept nogil:
    """The session has come to a final state."""
    cdef conversation_t* conversation = session.conversation
    cdef bint is_last = False
    count_ending(tracker, shard, session, 1)
    conversation.open -= 1
    if conversation.open == 0:
        conversation.active_ns = now_ns
        mark_ended(tracker, shard, conversation)
        if conversation.parent_length:
            is_last = count_branch(tracker, conversation, -1) == 0
        # of the last branch it is told in any case: what it was opened for may have ended with it
        if cx_load_i32(&tracker.watch_ended) or is_last:
            tell_session(tracker, session, TOLD_ENDED, before, now_us, is_last)


# -- a step ----------------------------------------------------------------------------------------------------------

cdef inline bint is_known(const session_t* session, uint64_t id) noexcept nogil:
    return id != 0 and (session.ids[0] == id or session.ids[1] == id or session.ids[2] == id or session.ids[3] == id)


cdef inline void remember(session_t* session, uint64_t id) noexcept nogil:
    if id:
        session.ids[session.ids_at] = id
        session.ids_at = (session.ids_at + 1) % IDS


cdef inline int repeat(session_t* session) noexcept nogil:
    session.messages += 1
    session.repeated += 1
    return STEP_REPEATED


cdef inline void move(session_t* session, uint8_t main, int role, const act_t* act) noexcept nogil:
    session.main = main
    session.last_role = <uint8_t>role
    session.last_act = act.act
    session.since_us = act.now_us
    session.last_id = act.id
    session.made[role - 1] |= <uint32_t>1 << act.act
    session.recovered = 0
    session.messages += 1
    remember(session, act.id)


cdef int64_t deadline_after(const tracker_t* tracker, const session_t* session, int role, const act_t* act) noexcept nogil:
    """Of the main protocol, when this role has moved it."""
    cdef const protocol_t* protocol = &tracker.protocols[session.protocol]
    cdef uint8_t owes = protocol.owes[session.main]
    cdef int64_t first
    if owes == 0 or owes == role:
        return 0
    if act.deadline_ns:
        return act.deadline_ns
    if not protocol.flags[session.main] & STATE_AWAITED or act.away:
        return 0
    first = cx_peek_i64(&tracker.limits.first_answer_ns)
    return act.now_ns + first if first else 0


cdef bint is_waited_for(const tracker_t* tracker, const session_t* session) noexcept nogil:
    """A first answer is owed, and nothing says by when."""
    return session.held_ns == 0 and tracker.protocols[session.protocol].flags[session.main] & STATE_AWAITED != 0


cdef uint8_t role_of(const tracker_t* tracker, const session_t* session, uint8_t act) noexcept nogil:
    """Whose act it is when an agent talks to itself: of who may make it now, else of who made it last."""
    cdef const protocol_t* protocol = &tracker.protocols[session.protocol]
    cdef int state = session.main
    if protocol.next[state * 64 + act] or (not session.cancelling and act == ACT_CANCEL):
        return ROLE_INITIATOR
    if protocol.next[state * 64 + 32 + act] or (session.cancelling and (act == ACT_INFORM or act == ACT_FAILURE)):
        return ROLE_PARTICIPANT
    if session.last_role and session.last_act == act:
        return session.last_role
    if protocol.overtaken[state * 64 + act]:
        return ROLE_INITIATOR
    if protocol.overtaken[state * 64 + 32 + act]:
        return ROLE_PARTICIPANT
    return protocol.owes[state] or ROLE_INITIATOR


cdef int cancelled(tracker_t* tracker, shard_t* shard, session_t* session, const act_t* act) noexcept nogil:
    """The initiator cancels."""
    cdef uint32_t length = envelope_field_length(act.envelope, F_REPLY_WITH)
    cdef uint64_t reply = hash_text(envelope_field(act.envelope, F_REPLY_WITH), length) if length else 0
    cdef int64_t first = cx_peek_i64(&tracker.limits.first_answer_ns)
    if is_final(tracker, session) or session.cancelling:
        if not session.cancelling and session.main != tracker.protocols[session.protocol].cancelled:
            # it crossed the last word; its answer is still legal
            session.cancelling = 1
            session.cancel_reply = reply
        remember(session, act.id)
        return repeat(session)
    session.cancelling = 1
    session.cancel_reply = reply
    move(session, session.main, ROLE_INITIATOR, act)
    set_deadline(tracker, shard, session, act.deadline_ns or (act.now_ns + first if first else 0))
    return STEP_MOVED


cdef bint answers_cancel(const session_t* session, const act_t* act) noexcept nogil:
    cdef uint32_t length
    if act.role != ROLE_PARTICIPANT or (act.act != ACT_INFORM and act.act != ACT_FAILURE):
        return False
    length = envelope_field_length(act.envelope, F_IN_REPLY_TO)
    return length == 0 or hash_text(envelope_field(act.envelope, F_IN_REPLY_TO), length) == session.cancel_reply


cdef int illegal(tracker_t* tracker, session_t* session, const act_t* act) noexcept nogil:
    """No row. What at-least-once delivery explains is a repetition, the rest is out of sequence."""
    cdef const protocol_t* protocol = &tracker.protocols[session.protocol]
    cdef int row = session.main * 64 + (act.role - 1) * 32 + act.act
    cdef bint made = session.made[act.role - 1] >> act.act & 1
    if (session.last_role == act.role and session.last_act == act.act) or (session.recovered and made) or (protocol.overtaken[row] and not made):
        remember(session, act.id)
        return repeat(session)
    session.illegal += 1
    if act.role == ROLE_PARTICIPANT and protocol.late[session.main * 32 + act.act]:
        return STEP_LATE
    return STEP_ILLEGAL


cdef int sent_again(tracker_t* tracker, shard_t* shard, session_t* session, const act_t* act) noexcept nogil:
    """The dead letter has another chance, and the session with it."""
    cdef conversation_t* conversation = session.conversation
    count_ending(tracker, shard, session, -1)
    session.main = session.state_before
    session.last_role = act.role
    session.last_act = act.act
    session.since_us = act.now_us
    session.messages += 1
    if conversation.open == 0:
        not_ended(shard, conversation)
        cx_add_i32(&tracker.total, 1)
        if conversation.parent_length:
            count_branch(tracker, conversation, 1)
    conversation.open += 1
    session.held_ns = deadline_after(tracker, session, act.role, act)
    session.waits = act.away and is_waited_for(tracker, session)
    set_deadline(tracker, shard, session, session.held_ns)
    return STEP_MOVED


cdef int session_step(tracker_t* tracker, shard_t* shard, session_t* session, const act_t* act) noexcept nogil:
    """STEP_*; as Machine.step."""
    cdef const protocol_t* protocol = &tracker.protocols[session.protocol]
    cdef uint8_t row, before = session.main
    if before == protocol.undelivered and session.state_before and act.id and act.id == session.last_id:
        return sent_again(tracker, shard, session, act)
    if is_known(session, act.id):
        return repeat(session)
    if act.act == ACT_CANCEL and act.role == ROLE_INITIATOR and session.main != 0:
        return cancelled(tracker, shard, session, act)
    if session.cancelling and answers_cancel(session, act):
        session.cancelling = 0
        if is_final(tracker, session):
            remember(session, act.id)
            return repeat(session)
        move(session, protocol.cancelled if act.act == ACT_INFORM else before, ROLE_PARTICIPANT, act)
        set_deadline(tracker, shard, session, 0 if is_final(tracker, session) else session.held_ns)
        return STEP_MOVED
    row = protocol.next[before * 64 + (act.role - 1) * 32 + act.act]
    if row == 0:
        return illegal(tracker, session, act)
    if row & ROW_ROUND:
        if protocol.bounded and session.round >= cx_peek_u32(&tracker.limits.rounds):
            session.illegal += 1
            return STEP_ROUNDS
        session.round += 1
    elif before == 0:
        session.round = 1
    move(session, <uint8_t>((row & ~ROW_ROUND) - 1), act.role, act)
    session.held_ns = deadline_after(tracker, session, act.role, act)
    session.waits = act.away and is_waited_for(tracker, session)
    if not session.cancelling or is_final(tracker, session):
        set_deadline(tracker, shard, session, session.held_ns)
    return STEP_MOVED


# -- what is looked at before a message is routed ----------------------------------------------------------------------

cdef inline const char* past_space(const char* at, const char* end) noexcept nogil:
    while at < end and (at[0] == c' ' or at[0] == c'\n' or at[0] == c'\t' or at[0] == c'\r' or at[0] == c',' or at[0] == c':'):
        at += 1
    return at


cdef inline const char* past_string(const char* at, const char* end) noexcept nogil:
    """*at* stands behind the opening quote; the result behind the closing one."""
    while at < end and at[0] != c'"':
        at += 2 if at[0] == c'\\' else 1
    return at + 1


cdef const char* past_value(const char* at, const char* end) noexcept nogil:
    """A number or a word ends before what follows it."""
    cdef int depth = 0
    while at < end:
        if at[0] == c'"':
            at = past_string(at + 1, end)
        elif at[0] == c'{' or at[0] == c'[':
            depth += 1
            at += 1
        elif at[0] == c'}' or at[0] == c']':
            if depth == 0:
                return at
            depth -= 1
            at += 1
        elif depth == 0 and at[0] == c',':
            return at
        else:
            at += 1
            continue
        if depth == 0:
            return at
    return end


cdef bint content_fits(const tracker_t* tracker, const envelope_t* envelope) noexcept nogil:
    """The content is JSON: the parser has seen it. It is read no further than needed."""
    cdef const char* at = envelope_field(envelope, F_CONTENT)
    cdef const char* end = at + envelope_field_length(envelope, F_CONTENT)
    cdef const char* key
    cdef uint32_t wanted = tracker.wanted[envelope.act], found = 0, length, i
    if wanted == 0:
        return True
    at = past_space(at, end)
    if at >= end or at[0] != c'{':
        return False
    at += 1
    while True:
        at = past_space(at, end)
        if at >= end or at[0] != c'"':
            return False
        key = at + 1
        at = past_string(key, end)
        length = <uint32_t>(at - key) - 1
        for i in range(tracker.key_count):
            if tracker.key_lengths[i] == length and memcmp(tracker.keys[i], key, length) == 0:
                found |= <uint32_t>1 << i
        if found & wanted == wanted:
            return True
        at = past_value(past_space(at, end), end)


cdef void tell_unrouted(tracker_t* tracker, const envelope_t* envelope, int kind, int step, int64_t now_us) noexcept nogil:
    """Of a message that belongs to no conversation, or not yet."""
    cdef conversation_event_t event
    cdef const char* receiver = envelope_field(envelope, F_RECEIVER)
    cdef uint32_t length = envelope_field_length(envelope, F_RECEIVER), i = 0
    while i < length and receiver[i]:
        i += 1
    memset(&event, 0, sizeof(event))
    event.kind = <uint8_t>kind
    event.step = <uint8_t>step
    event.protocol = NO_PROTOCOL
    event.act = envelope.act
    event.at_us = now_us
    memcpy(event.message_id, envelope.message_id, 16)
    tell(
        tracker, event, envelope_field(envelope, F_CONVERSATION_ID), envelope_field_length(envelope, F_CONVERSATION_ID),
        envelope_field(envelope, F_SENDER), envelope_field_length(envelope, F_SENDER), receiver, i, NULL, 0
    )


cdef inline bint is_json(const envelope_t* envelope) noexcept nogil:
    cdef uint32_t word
    if envelope.fields[F_LANGUAGE].length != 4:
        return False
    memcpy(&word, envelope_field(envelope, F_LANGUAGE), 4)
    word |= 0x20202020
    return memcmp(&word, b"json", 4) == 0


cdef int tracker_admit(tracker_t* tracker, const envelope_t* envelope, int64_t now_us) noexcept nogil:
    cdef uint32_t hops = cx_peek_u32(&tracker.limits.hops)
    cdef int shapes = cx_peek_i32(&tracker.limits.shapes)
    if hops and envelope.hop_count > hops:
        # a chain is told of once, when it passes the limit
        if envelope.hop_count == hops + 1:
            tell_unrouted(tracker, envelope, TOLD_LOOP, LOOP_HOPS, now_us)
        if cx_peek_i32(&tracker.limits.stop):
            return SEND_HOPS
    if shapes != SHAPES_OFF and is_json(envelope) and not content_fits(tracker, envelope):
        tell_unrouted(tracker, envelope, TOLD_SHAPE, 0, now_us)
        if shapes == SHAPES_REFUSE:
            return SEND_SHAPE
    return 0


# -- loops -----------------------------------------------------------------------------------------------------------

cdef uint64_t hash_step(const session_t* session, const act_t* act) noexcept nogil:
    """Who says what to whom, the content by its length, beginning and end."""
    cdef const char* text = envelope_field(act.envelope, F_CONTENT)
    cdef uint32_t length = envelope_field_length(act.envelope, F_CONTENT), i = 0, end = min(length, <uint32_t>HASHED)
    cdef uint64_t digest = (<uint64_t>session.hash << 32 | length) ^ <uint64_t>act.act << 56 ^ <uint64_t>act.role << 62, word
    while i + 8 <= end:
        memcpy(&word, text + i, 8)
        digest = (digest ^ word) * 0x9E3779B97F4A7C15ULL
        digest ^= digest >> 32
        i += 8
        if i == HASHED and end == HASHED and length > 2 * HASHED:
            # the last of it
            text += length - 2 * HASHED
            end = 2 * HASHED
        elif i == HASHED and end == HASHED:
            end = length
    if i < length and i < end:
        word = 0
        memcpy(&word, text + i, end - i)
        digest = (digest ^ word) * 0x9E3779B97F4A7C15ULL
        digest ^= digest >> 32
    return digest


cdef bint is_looping(conversation_t* conversation, uint64_t step, uint32_t repeats, bint stop, int64_t now_ns) noexcept nogil:
    """The steps since this one was seen last are those before it, for the so-manieth time, or more often."""
    if now_ns - conversation.active_ns > LOOP_PAUSE_NS:
        conversation.loop_times = conversation.loop_told = 0
    if stop and conversation.loop_told and conversation.loop_times >= repeats:
        return step == conversation.loop_anchor         # it was stopped here, and is until there is a pause
    conversation.loop_since += 1
    conversation.loop_way = conversation.loop_way * 0x100000001B3ULL + step
    if step == conversation.loop_anchor:
        if conversation.loop_since == conversation.loop_period and conversation.loop_way == conversation.loop_last:
            conversation.loop_times += 1
        else:
            conversation.loop_times = 1
            conversation.loop_told = 0
        conversation.loop_period = conversation.loop_since
        conversation.loop_last = conversation.loop_way
        conversation.loop_since = 0
        conversation.loop_way = 0
        return conversation.loop_times >= repeats
    if conversation.loop_since > LOOP_STEPS:
        conversation.loop_anchor = step
        conversation.loop_since = 0
        conversation.loop_way = 0
        conversation.loop_times = conversation.loop_told = 0
    return False


cdef bint closes_cycle(const tracker_t* tracker, const conversation_t* conversation, const act_t* act) noexcept nogil:
    """Who is asked has asked somebody, who has asked somebody, ..., who asks now: in one protocol, and none of them has been answered."""
    cdef const session_t* asked[CYCLE_SESSIONS]
    cdef const session_t* session
    cdef const session_t* before = NULL
    cdef uint32_t count = 0, at = 0, i
    cdef bint known
    if conversation.sessions > CYCLE_SESSIONS or (
        not conversation.mixed and is_initiator(conversation.first, act.sender, act.sender_length)
    ):
        return False
    while True:
        session = conversation.first
        while session != NULL:
            if session.protocol == act.protocol and not is_final(tracker, session) and (
                is_initiator(session, act.receiver, act.receiver_length) if before == NULL
                else is_initiator(session, before.names + before.initiator_length, before.participant_length)
            ):
                if is_participant(session, act.sender, act.sender_length):
                    return True
                known = False
                for i in range(count):
                    known = known or asked[i] == session
                if not known:
                    asked[count] = session
                    count += 1
            session = session.following
        if at == count:
            return False
        before = asked[at]
        at += 1


cdef void tell_loop(tracker_t* tracker, const act_t* act, int why) noexcept nogil:
    cdef conversation_event_t event
    memset(&event, 0, sizeof(event))
    event.kind = TOLD_LOOP
    event.step = <uint8_t>why
    event.protocol = act.protocol
    event.act = act.act
    event.role = act.role
    event.at_us = act.now_us
    memcpy(event.message_id, act.envelope.message_id, 16)
    tell(
        tracker, event, envelope_field(act.envelope, F_CONVERSATION_ID), envelope_field_length(act.envelope, F_CONVERSATION_ID),
        act.sender, act.sender_length, act.receiver, act.receiver_length, NULL, 0
    )


cdef const char* find_key(const char* text, uint32_t length, const char* key, uint32_t key_length) noexcept nogil:
    """What stands behind the key's closing quote, or NULL."""
    cdef uint32_t i
    if length < key_length + 1:
        return NULL
    for i in range(length - key_length):
        if text[i] == key[0] and text[i + key_length] == c'"' and memcmp(text + i, key, key_length) == 0:
            return text + i + key_length + 1
    return NULL


cdef void note_parent(conversation_t* conversation, const envelope_t* envelope) noexcept nogil:
    """`parent_conversation` of params, with or without `X-`; one that needs unescaping is left out."""
    cdef const char* text = envelope_field(envelope, F_PARAMS)
    cdef uint32_t length = envelope_field_length(envelope, F_PARAMS), i = 0
    cdef const char* end = text + length
    cdef const char* at = find_key(text, length, PARENT, 19)
    if at == NULL:
        at = find_key(text, length, PARENT_TOO, 19)
    if at == NULL:
        return
    while at < end and (at[0] == c' ' or at[0] == c':' or at[0] == c'\t' or at[0] == c'\n' or at[0] == c'\r'):
        at += 1
    if at == end or at[0] != c'"':
        return
    at += 1
    while at + i < end and at[i] != c'"':
        if at[i] == c'\\' or i >= 256:
            return
        i += 1
    if i == 0 or at + i == end:
        return
    conversation.parent = <char*>malloc(i)
    if conversation.parent != NULL:
        memcpy(conversation.parent, at, i)
        conversation.parent_length = <unsigned short>i


cdef session_t* open_session(
    tracker_t* tracker, shard_t* shard, conversation_t* conversation, uint32_t hash, uint32_t pair, const act_t* act
) noexcept nogil:
    """The act opens a protocol; NULL: beyond a limit, or no memory."""
    cdef session_t* session
    cdef bint fresh = conversation == NULL
    if conversation == NULL or conversation.open == 0:
        if <uint32_t>cx_load_i32(&tracker.total) >= cx_peek_u32(&tracker.limits.conversations):
            return NULL
    if conversation == NULL:
        forget_ended(tracker, shard, act.now_ns)
        conversation = new_conversation(
            shard, hash, envelope_field(act.envelope, F_CONVERSATION_ID), envelope_field_length(act.envelope, F_CONVERSATION_ID)
        )
        if conversation == NULL:
            return NULL
        conversation.number = cx_add_u64(&tracker.numbers, 1)
        conversation.started_us = act.now_us
        conversation.started_ns = act.now_ns
        if envelope_field_length(act.envelope, F_PARAMS):
            note_parent(conversation, act.envelope)
    elif conversation.sessions >= cx_peek_u32(&tracker.limits.participants):
        return NULL
    session = new_session(
        shard, conversation, pair, act.protocol, act.sender, act.sender_length, act.receiver, act.receiver_length
    )
    if session == NULL:
        if fresh:
            drop_conversation(tracker, shard, conversation)
        return NULL
    if envelope_field_length(act.envelope, F_REPLY_TO):
        note_answers(shard, session, hash_of(tracker, act.receiver, act.receiver_length))
    if conversation.open == 0:
        not_ended(shard, conversation)
        cx_add_i32(&tracker.total, 1)
        if conversation.parent_length:
            count_branch(tracker, conversation, 1)
    conversation.open += 1
    if not is_initiator(conversation.first, act.sender, act.sender_length):
        conversation.mixed = 1
    return session


cdef inline void name_receiver(act_t* act, const char* name, uint32_t length) noexcept nogil:
    """*name* is the port's. There is one for all clients, and one for all agents of another platform: each of them has its own name."""
    act.receiver = name
    act.receiver_length = length
    if act.envelope.receivers == 1 and (name[0] == b"@" or length == 7 and memcmp(name, CLIENT, 7) == 0):
        act.receiver = envelope_field(act.envelope, F_RECEIVER)
        act.receiver_length = envelope_field_length(act.envelope, F_RECEIVER)


cdef int tracker_step(
    tracker_t* tracker, envelope_t* envelope, const char* receiver, uint32_t length, bint outside, bint durable, bint away,
    int64_t now_ns, int64_t now_us, ahead_t* ahead
) noexcept nogil:
    cdef act_t act
    cdef shard_t* shard
    cdef session_t* session
    cdef conversation_t* conversation = NULL
    cdef uint32_t hash, sender_hash, pair
    cdef int protocol, step
    cdef int64_t left
    cdef uint8_t before
    cdef uint32_t repeats = cx_peek_u32(&tracker.limits.repeats)
    cdef bint stop = cx_peek_i32(&tracker.limits.stop)
    if cx_peek_u32(&tracker.limits.conversations) == 0 or envelope.fields[F_CONVERSATION_ID].length == 0 or envelope.fields[F_SENDER].length == 0:
        return STEP_MOVED
    protocol = find_protocol(tracker, envelope_field(envelope, F_PROTOCOL), envelope_field_length(envelope, F_PROTOCOL))
    if protocol < 0:
        return STEP_MOVED
    act.envelope = envelope
    act.sender = envelope_field(envelope, F_SENDER)
    act.sender_length = envelope_field_length(envelope, F_SENDER)
    name_receiver(&act, receiver, length)
    act.protocol = <uint8_t>protocol
    act.act = envelope.act
    act.away = away
    act.role = ROLE_INITIATOR
    act.id = hash_id(envelope.message_id)
    act.now_ns = now_ns
    act.now_us = now_us
    act.deadline_ns = 0
    if envelope.reply_by_us:
        left = min(max(envelope.reply_by_us - now_us, -AWAY_AT_MOST), AWAY_AT_MOST)
        act.deadline_ns = max(now_ns + left * 1000 + (cx_peek_i64(&tracker.limits.skew_ns) if outside else 0), <int64_t>1)
    hash = hash_of(tracker, envelope_field(envelope, F_CONVERSATION_ID), envelope_field_length(envelope, F_CONVERSATION_ID))
    sender_hash = hash_of(tracker, act.sender, act.sender_length)
    pair = hash_pair(hash, sender_hash, hash_of(tracker, act.receiver, act.receiver_length), protocol)
    shard = shard_of(tracker, hash)
    pthread_mutex_lock(&shard.lock)
    shard.steps += 1
    session = find_session(shard, pair, &act)
    if session == NULL:
        conversation = find_conversation(shard, hash, envelope_field(envelope, F_CONVERSATION_ID), envelope_field_length(envelope, F_CONVERSATION_ID))
        if conversation != NULL:
            session = find_answered_elsewhere(
                shard, conversation, hash_answer(conversation, sender_hash, protocol), protocol, act.sender, act.sender_length
            )
        if session != NULL:
            act.role = ROLE_PARTICIPANT
        elif is_platform(tracker, &act):
            # it tells what became of a message; it is nobody's peer here
            pthread_mutex_unlock(&shard.lock)
            return STEP_MOVED
        elif tracker.protocols[protocol].next[act.act]:
            if conversation != NULL and repeats and closes_cycle(tracker, conversation, &act):
                tell_loop(tracker, &act, LOOP_REQUESTS)
                if stop:
                    pthread_mutex_unlock(&shard.lock)
                    return STEP_LOOP
            session = open_session(tracker, shard, conversation, hash, pair, &act)
            step = STEP_UNTRACKED
        else:
            act.role = 0
            step = STEP_UNOPENED
        if session == NULL:
            if step == STEP_UNTRACKED:
                shard.untracked += 1
            else:
                shard.illegal += 1
            if conversation != NULL:
                conversation.messages += 1
                conversation.illegal += 1
                keep_violation(conversation, &act, NULL, STEP_UNOPENED)
            tell_violation(tracker, &act, NULL, step)
            pthread_mutex_unlock(&shard.lock)
            return step
    elif is_initiator(session, act.sender, act.sender_length):
        if is_participant(session, act.sender, act.sender_length):
            act.role = role_of(tracker, session, act.act)
    else:
        act.role = ROLE_PARTICIPANT
    conversation = session.conversation
    before = session.main
    if ahead != NULL:
        note_ahead(&ahead.shard, shard)
        note_ahead(&ahead.place, &shard.sessions[pair & (shard.session_room - 1)])
        note_ahead(&ahead.session, &session.answer_hash)
        note_ahead(&ahead.conversation, &conversation.chain)
    if repeats and is_looping(conversation, hash_step(session, &act), repeats, stop, now_ns):
        if not conversation.loop_told:
            tell_loop(tracker, &act, LOOP_TRAJECTORY)
            conversation.loop_told = 1
        if stop:
            pthread_mutex_unlock(&shard.lock)
            return STEP_LOOP
    step = session_step(tracker, shard, session, &act)
    conversation.messages += 1
    conversation.active_ns = now_ns
    conversation.active_us = now_us
    if durable:
        conversation.durable = 1
    if step == STEP_MOVED:
        shard.moved += 1
        if before != session.main and is_final(tracker, session):
            ended(tracker, shard, session, before, now_ns, now_us)
        mark_dirty(tracker, shard, conversation)
    elif step == STEP_REPEATED:
        shard.repeated += 1
        conversation.repeated += 1
    else:
        if step == STEP_LATE:
            shard.late += 1
        else:
            shard.illegal += 1
        conversation.illegal += 1
        keep_violation(conversation, &act, session, step)
        tell_violation(tracker, &act, session, step)
    pthread_mutex_unlock(&shard.lock)
    return step


cdef bint is_platform(const tracker_t* tracker, const act_t* act) noexcept nogil:
    """A failure or a rejection that the platform sends in somebody's place."""
    return act.sender_length == 3 and memcmp(act.sender, b"ams", 3) == 0 and not tracker.protocols[act.protocol].next[act.act]


# -- what comes without a message ------------------------------------------------------------------------------------

cdef void end_session(
    tracker_t* tracker, shard_t* shard, session_t* session, uint8_t main, int told, int64_t now_ns, int64_t now_us
) noexcept nogil:
    """The session goes to *main*, which time or the platform has chosen."""
    cdef uint8_t before = session.main
    session.main = main
    session.cancelling = 0
    session.last_role = session.last_act = 0
    session.since_us = now_us
    session.held_ns = 0
    set_deadline(tracker, shard, session, 0)
    if told:
        tell_session(tracker, session, told, before, now_us)
    if is_final(tracker, session):
        ended(tracker, shard, session, before, now_ns, now_us)
    mark_dirty(tracker, shard, session.conversation)


cdef uint32_t tracker_tick(tracker_t* tracker, int64_t now_ns, int64_t now_us) noexcept nogil:
    cdef shard_t* shard
    cdef session_t* session
    cdef const protocol_t* protocol
    cdef uint32_t moved = 0
    cdef int i
    for i in range(SHARDS):
        shard = &tracker.shards[i]
        if cx_load_i64(&shard.next_ns) == 0 or cx_load_i64(&shard.next_ns) > now_ns:
            continue
        pthread_mutex_lock(&shard.lock)
        while shard.heap_count and shard.heap[0].at_ns <= now_ns:
            if put_right(shard):
                continue
            session = shard.heap[0].session
            protocol = &tracker.protocols[session.protocol]
            shard.timed_out += 1
            moved += 1
            end_session(
                tracker, shard, session, protocol.timed_out if session.cancelling else protocol.expiry[session.main], TOLD_TIMED_OUT, now_ns, now_us
            )
        publish_next(tracker, shard)
        pthread_mutex_unlock(&shard.lock)
    return moved


cdef bint is_abandoned(const tracker_t* tracker, const session_t* session, int64_t now_ns) noexcept nogil:
    """A promise, what lasts, or what waits for who is away, may be silent for as long as anything may be; the rest not, and goes on for no longer than that."""
    cdef const conversation_t* conversation = session.conversation
    cdef int64_t idle = cx_peek_i64(&tracker.limits.idle_ns), longest = cx_peek_i64(&tracker.limits.longest_ns)
    if cx_peek_u32(&tracker.limits.conversations) == 0:
        return True         # nobody sees its messages any more
    if longest and now_ns - conversation.active_ns >= longest:
        return True
    if tracker.protocols[session.protocol].flags[session.main] & (STATE_PROMISE | STATE_LASTING) or session.waits:
        return False
    if longest and now_ns - conversation.started_ns >= longest:
        return True
    # it waits for a time that somebody has named
    return not session.deadline_ns and idle and now_ns - conversation.active_ns >= idle


cdef bint tracker_reap(tracker_t* tracker, uint32_t most, int64_t now_ns, int64_t now_us) noexcept nogil:
    cdef shard_t* shard
    cdef conversation_t* conversation
    cdef session_t* session
    cdef uint32_t n
    cdef bint more = False
    cdef int i
    for i in range(SHARDS):
        shard = &tracker.shards[i]
        pthread_mutex_lock(&shard.lock)
        forget_ended(tracker, shard, now_ns)
        n = 0
        while n < most and shard.reap_at < shard.conversation_room:
            conversation = shard.conversations[shard.reap_at]
            while conversation != NULL:
                session = conversation.first if conversation.open else NULL
                while session != NULL:
                    if not is_final(tracker, session) and is_abandoned(tracker, session, now_ns):
                        shard.abandoned += 1
                        end_session(tracker, shard, session, tracker.protocols[session.protocol].abandoned, 0, now_ns, now_us)
                    session = session.following
                conversation = conversation.chain
            shard.reap_at += 1
            n += 1
        if shard.reap_at >= shard.conversation_room:
            shard.reap_at = 0
        else:
            more = True
        pthread_mutex_unlock(&shard.lock)
    return more


cdef session_t* find_last(tracker_t* tracker, act_t* act, const char* receiver, uint32_t length, shard_t** shard) noexcept nogil:
    """The session that this message was the last of, and has not ended, its shard locked; NULL: there is none, and nothing is locked."""
    cdef const envelope_t* envelope = act.envelope
    cdef uint32_t hash
    cdef session_t* session
    cdef int protocol
    if envelope.fields[F_PROTOCOL].length == 0 or envelope.fields[F_CONVERSATION_ID].length == 0:
        return NULL
    protocol = find_protocol(tracker, envelope_field(envelope, F_PROTOCOL), envelope_field_length(envelope, F_PROTOCOL))
    if protocol < 0:
        return NULL
    act.protocol = <uint8_t>protocol
    act.sender = envelope_field(envelope, F_SENDER)
    act.sender_length = envelope_field_length(envelope, F_SENDER)
    name_receiver(act, receiver, length)
    act.id = hash_id(envelope.message_id)
    hash = hash_of(tracker, envelope_field(envelope, F_CONVERSATION_ID), envelope_field_length(envelope, F_CONVERSATION_ID))
    shard[0] = shard_of(tracker, hash)
    pthread_mutex_lock(&shard[0].lock)
    session = find_session(
        shard[0],
        hash_pair(hash, hash_of(tracker, act.sender, act.sender_length), hash_of(tracker, act.receiver, act.receiver_length), protocol), act
    )
    if session != NULL and act.id and session.last_id == act.id and not is_final(tracker, session):
        return session
    pthread_mutex_unlock(&shard[0].lock)
    return NULL


cdef bint tracker_undelivered(
    tracker_t* tracker, const envelope_t* envelope, const char* receiver, uint32_t length, int64_t now_ns, int64_t now_us
) noexcept nogil:
    cdef act_t act
    cdef shard_t* shard
    cdef session_t* session
    act.envelope = envelope
    session = find_last(tracker, &act, receiver, length, &shard)
    if session == NULL:
        return False
    session.state_before = session.main
    end_session(tracker, shard, session, tracker.protocols[session.protocol].undelivered, 0, now_ns, now_us)
    pthread_mutex_unlock(&shard.lock)
    return True


cdef bint tracker_taken(tracker_t* tracker, const envelope_t* envelope, const char* receiver, uint32_t length, int64_t now_ns) noexcept nogil:
    cdef act_t act
    cdef shard_t* shard
    cdef session_t* session
    cdef int64_t first
    cdef bint waited
    act.envelope = envelope
    session = find_last(tracker, &act, receiver, length, &shard)
    if session == NULL:
        return False
    waited = session.waits
    if waited:
        first = cx_peek_i64(&tracker.limits.first_answer_ns)
        session.waits = 0
        session.held_ns = now_ns + first if first else 0
        if not session.cancelling:
            set_deadline(tracker, shard, session, session.held_ns)
        session.conversation.active_ns = now_ns
        mark_dirty(tracker, shard, session.conversation)
    pthread_mutex_unlock(&shard.lock)
    return waited


cdef uint32_t tracker_complete(tracker_t* tracker, const char* id, uint32_t length, int64_t now_ns, int64_t now_us) noexcept nogil:
    cdef uint32_t hash = hash_of(tracker, id, length), done = 0
    cdef shard_t* shard = shard_of(tracker, hash)
    cdef conversation_t* conversation
    cdef session_t* session
    cdef const protocol_t* protocol
    pthread_mutex_lock(&shard.lock)
    conversation = find_conversation(shard, hash, id, length)
    session = conversation.first if conversation != NULL else NULL
    while session != NULL:
        protocol = &tracker.protocols[session.protocol]
        if protocol.flags[session.main] & STATE_LASTING and protocol.done:
            end_session(tracker, shard, session, protocol.done, 0, now_ns, now_us)
            done += 1
        session = session.following
    pthread_mutex_unlock(&shard.lock)
    return done


# -- all of it -------------------------------------------------------------------------------------------------------

cdef int tracker_init(tracker_t* tracker) noexcept nogil:
    cdef int i
    cdef shard_t* shard
    memset(tracker, 0, sizeof(tracker_t))
    pthread_mutex_init(&tracker.lock, NULL)
    pthread_mutex_init(&tracker.branches, NULL)
    tracker.shards = <shard_t*>cx_alloc_lines(SHARDS * sizeof(shard_t))
    tracker.protocols = <protocol_t*>calloc(PROTOCOLS_AT_MOST, sizeof(protocol_t))
    tracker.endings = <uint64_t*>cx_alloc_lines(ENDING_STRIPES * PROTOCOLS_AT_MOST * STATES_AT_MOST * sizeof(uint64_t))
    if tracker.endings == NULL or tracker.shards == NULL or tracker.protocols == NULL or cx_random(tracker.secret, sizeof(tracker.secret)):
        return -1
    for i in range(SHARDS):
        shard = &tracker.shards[i]
        pthread_mutex_init(&shard.lock, NULL)
        shard.conversation_room = shard.session_room = SMALLEST
        shard.conversations = <conversation_t**>calloc(SMALLEST, sizeof(conversation_t*))
        shard.sessions = <session_t**>calloc(SMALLEST, sizeof(session_t*))
        if shard.conversations == NULL or shard.sessions == NULL:
            return -1
    return 0


cdef void tracker_free(tracker_t* tracker) noexcept nogil:
    """Nobody steps any more."""
    cdef shard_t* shard
    cdef conversation_event_t* event = tracker_take_events(tracker)
    cdef conversation_event_t* following
    cdef uint32_t i, k
    tracker.outbox = NULL
    while event != NULL:
        following = event.following
        conversation_event_free(event)
        event = following
    for i in range(SHARDS if tracker.shards != NULL else 0):
        shard = &tracker.shards[i]
        for k in range(shard.conversation_room if shard.conversations != NULL else 0):
            while shard.conversations[k] != NULL:
                drop_conversation(tracker, shard, shard.conversations[k])
        free(shard.conversations)
        free(shard.sessions)
        free(shard.answers)
        free(shard.heap)
        pthread_mutex_destroy(&shard.lock)
    free(tracker.shards)
    free(tracker.endings)
    free(tracker.protocols)
    free(tracker.parents)       # empty: each conversation took its own out
    pthread_mutex_destroy(&tracker.branches)
    pthread_mutex_destroy(&tracker.lock)
