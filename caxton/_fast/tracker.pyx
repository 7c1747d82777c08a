"""See tracker.pxd and tracker.pyi.

Rows (core/conversations.py says how they are laid out) are written under a shard's lock, without Python; everything else about them is done behind it.
"""

# Over 500 lines: one class; what it writes of a conversation, reads back and shows are the same rows.

from math import inf

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset, strlen
from caxton._fast.conversation cimport *
from caxton._fast.envelope cimport Envelope, envelope_t, envelope_wrap, F_CONVERSATION_ID
from caxton._fast.platform cimport (
    cx_add_i32,
    cx_fence,
    cx_load_u64,
    cx_monotonic_ns,
    cx_peek_ptr,
    cx_peek_u32,
    cx_poke_i32,
    cx_poke_i64,
    cx_poke_u32,
    cx_realtime_us,
    cx_store_i32,
    cx_store_u64,
    pthread_mutex_lock,
    pthread_mutex_unlock,
)

from caxton.core.conversations import (
    ConversationEvent,
    ConversationPage,
    TrackerStatistics,
    decode_row,
    expected_in,
    format_id,
    seen,
)
from caxton.core.performatives import ACT_CODES, ACTS_BY_CODE
from caxton.core.protocols import BY_TOKEN, PROTOCOLS
from caxton.core.protocols.arrays import arrays_of
from caxton.core.protocols.protocol import CANCELLING
from caxton.core.shapes import SHAPES
from caxton.core.shapes import told as shape_told

cdef enum:
    LIST_AT_MOST = 1000

cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF

globals().update({
    "MOVED": STEP_MOVED, "REPEATED": STEP_REPEATED, "ILLEGAL": STEP_ILLEGAL, "LATE": STEP_LATE,
    "ROUNDS": STEP_ROUNDS, "UNOPENED": STEP_UNOPENED, "UNTRACKED": STEP_UNTRACKED, "LOOP": STEP_LOOP,
})  # fmt: skip

VIOLATION_TYPES = {
    STEP_ILLEGAL: "conversation.out_of_sequence", STEP_LATE: "conversation.late", STEP_ROUNDS: "conversation.out_of_sequence",
    STEP_UNOPENED: "conversation.out_of_sequence", STEP_UNTRACKED: "conversation.limit",
}  # fmt: skip


LOOPS = {
    LOOP_HOPS: "each message was the answer to one before, more often than messaging.loops.max_hops allows",
    LOOP_TRAJECTORY: "the same messages go to and fro, as often as messaging.loops.max_repeats says",
    LOOP_REQUESTS: "who is asked has asked, over others, who asks now",
}


# -- rows ------------------------------------------------------------------------------------------------------------

ctypedef struct bytes_t:
    char* bytes
    size_t used
    size_t room
    bint failed


cdef void put(bytes_t* out, const void* data, size_t length) noexcept nogil:
    cdef char* larger
    if out.failed or length == 0:
        return
    if out.used + length > out.room:
        larger = <char*>realloc(out.bytes, (out.used + length) * 2)
        if larger == NULL:
            out.failed = True
            return
        out.bytes = larger
        out.room = (out.used + length) * 2
    memcpy(out.bytes + out.used, data, length)
    out.used += length


cdef inline void put_u8(bytes_t* out, uint8_t value) noexcept nogil:
    put(out, &value, 1)


cdef inline void put_u32(bytes_t* out, uint32_t value) noexcept nogil:
    cdef uint8_t[4] laid
    cdef int i
    for i in range(4):
        laid[i] = <uint8_t>(value >> (8 * i))
    put(out, laid, 4)


cdef inline void put_u64(bytes_t* out, uint64_t value) noexcept nogil:
    cdef uint8_t[8] laid
    cdef int i
    for i in range(8):
        laid[i] = <uint8_t>(value >> (8 * i))
    put(out, laid, 8)


cdef inline void put_text(bytes_t* out, const char* text, size_t length) noexcept nogil:
    put_u8(out, <uint8_t>length)
    put_u8(out, <uint8_t>(length >> 8))
    put(out, text, length)


cdef inline int64_t wall(int64_t at_ns, int64_t now_ns, int64_t now_us) noexcept nogil:
    """A deadline on the wall clock, in microseconds."""
    return max(now_us + (at_ns - now_ns) // 1000, <int64_t>1) if at_ns else 0


cdef void write_session(const tracker_t* tracker, bytes_t* out, const session_t* session, int64_t now_ns, int64_t now_us) noexcept nogil:
    cdef const protocol_t* protocol = &tracker.protocols[session.protocol]
    cdef int i
    put_text(out, protocol.name, strlen(protocol.name))
    put_text(out, protocol.state_names[session.main], strlen(protocol.state_names[session.main]))
    put_u8(out, session.cancelling)
    put_u8(out, session.last_role)
    put_u8(out, session.last_act)
    put_u32(out, session.round)
    put_u64(out, <uint64_t>session.since_us)
    put_u64(out, <uint64_t>wall(session.deadline_ns, now_ns, now_us))
    put_u64(out, <uint64_t>wall(session.held_ns, now_ns, now_us))
    put_u32(out, session.messages)
    put_u32(out, session.repeated)
    put_u32(out, session.illegal)
    put_u32(out, session.made[0])
    put_u32(out, session.made[1])
    for i in range(IDS):
        put_u64(out, session.ids[i])
    put_u8(out, session.ids_at)
    put_u64(out, session.last_id)
    put_u64(out, session.cancel_reply)
    put_u8(out, session.reply_to)
    put_text(out, session.names, session.initiator_length)
    put_text(out, session.names + session.initiator_length, session.participant_length)


cdef void write_row(const tracker_t* tracker, bytes_t* out, const conversation_t* conversation, int64_t now_ns, int64_t now_us) noexcept nogil:
    cdef const session_t* session = conversation.first
    cdef const violation_t* violation = conversation.violations
    cdef const protocol_t* protocol
    put_u8(out, 1)
    put_u64(out, conversation.number)
    put_u64(out, <uint64_t>conversation.started_us)
    put_u64(out, <uint64_t>conversation.active_us)
    put_u64(out, conversation.messages)
    put_u32(out, conversation.repeated)
    put_u32(out, conversation.illegal)
    put_text(out, conversation.id, conversation.id_length)
    put_text(out, conversation.parent, conversation.parent_length)
    put_u32(out, conversation.sessions)
    while session != NULL:
        write_session(tracker, out, session, now_ns, now_us)
        session = session.following
    put_u32(out, conversation.violation_count)
    while violation != NULL:
        protocol = &tracker.protocols[violation.protocol]
        put_u64(out, <uint64_t>violation.at_us)
        put_u8(out, violation.kind)
        put_u8(out, violation.role)
        put_u8(out, violation.act)
        put(out, violation.message_id, 16)
        put_text(out, protocol.name, strlen(protocol.name))
        put_text(out, protocol.state_names[violation.state], strlen(protocol.state_names[violation.state]))
        put_text(out, violation.names, violation.sender_length)
        put_text(out, violation.names + violation.sender_length, violation.receiver_length)
        violation = violation.following


# -- a page of a list --------------------------------------------------------------------------------------------------

ctypedef struct found_t:
    uint64_t number
    uint32_t hash


ctypedef struct wanted_t:
    int protocol            # -1: any
    int main                # a state's number, -1: any
    int cancelling          # 1: only such
    int is_open             # -1: both
    const char* state       # by name, in any protocol; NULL: any
    const char* participant
    uint32_t participant_length
    const char* parent
    uint32_t parent_length
    uint64_t before


cdef inline bint is_named(const char* text, uint32_t length, const char* name, uint32_t name_length) noexcept nogil:
    return length == name_length and memcmp(text, name, length) == 0


cdef bint session_fits(const tracker_t* tracker, const session_t* session, const wanted_t* wanted) noexcept nogil:
    cdef const protocol_t* protocol = &tracker.protocols[session.protocol]
    cdef const char* state
    cdef bint cancelling
    if wanted.protocol >= 0 and session.protocol != wanted.protocol:
        return False
    if wanted.participant != NULL and not (
        is_named(session.names, session.initiator_length, wanted.participant, wanted.participant_length)
        or is_named(session.names + session.initiator_length, session.participant_length, wanted.participant, wanted.participant_length)
    ):
        return False
    if wanted.state == NULL and not wanted.cancelling:
        return True
    cancelling = session.cancelling and not protocol.flags[session.main] & STATE_FINAL
    if wanted.cancelling or cancelling:
        return wanted.cancelling and cancelling
    state = protocol.state_names[session.main]
    return is_named(state, <uint32_t>strlen(state), wanted.state, <uint32_t>strlen(wanted.state))


cdef bint fits(const tracker_t* tracker, const conversation_t* conversation, const wanted_t* wanted) noexcept nogil:
    cdef const session_t* session = conversation.first
    if conversation.number >= wanted.before or (wanted.is_open >= 0 and (conversation.open != 0) != wanted.is_open):
        return False
    if wanted.parent != NULL and not is_named(conversation.parent, conversation.parent_length, wanted.parent, wanted.parent_length):
        return False
    while session != NULL:
        if session_fits(tracker, session, wanted):
            return True
        session = session.following
    return False


cdef void keep_newest(found_t* page, uint32_t* count, uint32_t limit, found_t item) noexcept nogil:
    """*page* is ordered, the newest first."""
    cdef uint32_t at = count[0]
    if at == limit:
        if limit == 0 or page[at - 1].number > item.number:
            return
        at -= 1
    else:
        count[0] += 1
    while at and page[at - 1].number < item.number:
        page[at] = page[at - 1]
        at -= 1
    page[at] = item


cdef class Tracker:
    """See tracker.pyi."""

    def __cinit__(self):
        if tracker_init(&self.tracker):
            tracker_free(&self.tracker)
            raise MemoryError
        self.made = True
        self.names = []
        self.states = []
        self.numbers = {}
        self.tracker.numbers = 0
        for protocol in PROTOCOLS:
            self._load(protocol)
        for token, protocol in BY_TOKEN.items():
            self._name(token.encode(), PROTOCOLS.index(protocol))
        self._load_shapes()
        self.configure()

    def __dealloc__(self):
        if self.made:
            tracker_free(&self.tracker)

    cdef _load(self, protocol):
        arrays = arrays_of(protocol)
        cdef uint32_t number = self.tracker.protocol_count, i
        cdef protocol_t* item = &self.tracker.protocols[number]
        cdef bytes following = arrays.next, overtaken = arrays.overtaken, late = arrays.late, flags = arrays.flags
        cdef bytes owes = arrays.owes, expiry = arrays.expiry, endings = arrays.endings, text
        assert number < PROTOCOLS_AT_MOST and len(following) == sizeof(item.next) and len(late) == sizeof(item.late)
        memcpy(item.next, <const char*>following, sizeof(item.next))
        memcpy(item.overtaken, <const char*>overtaken, sizeof(item.overtaken))
        memcpy(item.late, <const char*>late, sizeof(item.late))
        memcpy(item.flags, <const char*>flags, sizeof(item.flags))
        memcpy(item.owes, <const char*>owes, sizeof(item.owes))
        memcpy(item.expiry, <const char*>expiry, sizeof(item.expiry))
        item.not_understood, item.timed_out, item.cancelled, item.undelivered, item.abandoned = endings
        item.done = arrays.done
        item.bounded = arrays.bounded
        item.states = len(arrays.states)
        text = protocol.name.encode()
        self.names.append(text)
        item.name = text
        for i, state in enumerate(arrays.states):
            text = state.encode()
            self.names.append(text)
            item.state_names[i] = text
            self.numbers[protocol.name, state] = (number, i)
        self.states.append(arrays.states)
        self.tracker.protocol_count += 1

    cdef _load_shapes(self):
        cdef bytes key
        names = sorted(frozenset().union(*SHAPES.values()))
        assert len(names) <= SHAPE_KEYS
        for i, name in enumerate(names):
            key = name.encode()
            self.names.append(key)
            self.tracker.keys[i] = key
            self.tracker.key_lengths[i] = <uint32_t>len(key)
        self.tracker.key_count = <uint32_t>len(names)
        for act, members in SHAPES.items():
            self.tracker.wanted[ACT_CODES[act]] = sum(1 << names.index(name) for name in members)

    def content_fits(self, Envelope message not None):
        return content_fits(&self.tracker, message.block)

    cdef _name(self, bytes token, uint32_t protocol):
        cdef token_t* item = &self.tracker.tokens[self.tracker.token_count]
        assert self.tracker.token_count < PROTOCOLS_AT_MOST and len(token) < TOKEN_AT_MOST
        memcpy(item.text, <const char*>token, len(token))
        item.length = <uint32_t>len(token)
        item.protocol = protocol
        self.tracker.token_count += 1

    def configure(
        self, *, uint32_t max_conversations=100_000, uint32_t max_participants=4096, uint32_t kept_ended=10_000, double kept_seconds=600.0,
        double first_answer=60.0, uint32_t max_rounds=10, double clock_skew=2.0, double idle=1800.0, double longest=86_400.0, bint keeps=False,
        int content_shapes=SHAPES_OFF, uint32_t max_hops=0, uint32_t max_repeats=0, bint stop_loops=False
    ):
        cdef bounds_t* bounds = &self.tracker.limits
        cx_poke_u32(&bounds.conversations, max_conversations)
        cx_poke_u32(&bounds.participants, max(max_participants, 1))
        cx_poke_u32(&bounds.ended, kept_ended)
        cx_poke_u32(&bounds.rounds, max_rounds)
        cx_poke_i64(&bounds.ended_ns, <int64_t>(kept_seconds * 1e9))
        cx_poke_i64(&bounds.first_answer_ns, <int64_t>(first_answer * 1e9))
        cx_poke_i64(&bounds.skew_ns, <int64_t>(clock_skew * 1e9))
        cx_poke_i64(&bounds.idle_ns, <int64_t>(idle * 1e9))
        cx_poke_i64(&bounds.longest_ns, <int64_t>(longest * 1e9))
        cx_poke_u32(&bounds.hops, max_hops)
        cx_poke_u32(&bounds.repeats, max_repeats)
        cx_poke_i32(&bounds.stop, stop_loops)
        cx_poke_i32(&bounds.shapes, content_shapes)
        cx_poke_i32(&bounds.keeps, keeps)

    def watch_ended(self, bint wanted):
        cx_store_i32(&self.tracker.watch_ended, wanted)

    # -- looking --

    def forget(self):
        self.forget_at(cx_monotonic_ns())

    def forget_at(self, int64_t now_ns):
        with nogil:
            tracker_forget(&self.tracker, now_ns)

    cdef bytes _row(self, uint32_t hash, bytes id, uint64_t number):
        """The row of the conversation with this id, or (*id* None) with this number; None: there is none."""
        cdef bytes_t out
        cdef shard_t* shard = shard_of(&self.tracker, hash)
        cdef conversation_t* conversation
        cdef int64_t now_ns = cx_monotonic_ns(), now_us = cx_realtime_us()
        memset(&out, 0, sizeof(out))
        pthread_mutex_lock(&shard.lock)
        if id is not None:
            conversation = find_conversation(shard, hash, id, <uint32_t>len(id))
        else:
            conversation = shard.conversations[hash & (shard.conversation_room - 1)]
            while conversation != NULL and conversation.number != number:
                conversation = conversation.chain
        if conversation != NULL:
            write_row(&self.tracker, &out, conversation, now_ns, now_us)
        pthread_mutex_unlock(&shard.lock)
        try:
            if out.failed:
                raise MemoryError
            return out.bytes[:out.used] if out.used else None
        finally:
            free(out.bytes)

    def get(self, str conversation_id not None):
        cdef bytes id = conversation_id.encode()
        row = self._row(hash_of(&self.tracker, id, <uint32_t>len(id)), id, 0)
        return None if row is None else seen(decode_row(row))

    def list(self, *, str protocol="", str state="", str participant="", str parent="", is_open=None, uint64_t before=0, uint32_t limit=100):
        cdef wanted_t wanted
        cdef bytes state_name = state.upper().encode(), name = participant.encode(), above = parent.encode()
        cdef shard_t* shard
        cdef conversation_t* conversation
        cdef found_t* page
        cdef found_t item
        cdef uint32_t count = 0, k
        cdef int i
        memset(&wanted, 0, sizeof(wanted))
        wanted.protocol = -1
        if protocol:
            known = BY_TOKEN.get(protocol.lower())
            if known is None:
                return ConversationPage(conversations=(), cursor=0)
            wanted.protocol = PROTOCOLS.index(known)
        wanted.cancelling = state.upper() == CANCELLING
        if state and not wanted.cancelling:
            wanted.state = state_name
        wanted.is_open = -1 if is_open is None else bool(is_open)
        if participant:
            wanted.participant = name
            wanted.participant_length = <uint32_t>len(name)
        if parent:
            wanted.parent = above
            wanted.parent_length = <uint32_t>len(above)
        wanted.before = before or <uint64_t>-1
        limit = min(max(limit, <uint32_t>1), <uint32_t>LIST_AT_MOST)
        page = <found_t*>malloc((limit + 1) * sizeof(found_t))
        if page == NULL:
            raise MemoryError
        self.forget()
        try:
            with nogil:
                for i in range(SHARDS):
                    shard = &self.tracker.shards[i]
                    pthread_mutex_lock(&shard.lock)
                    for k in range(shard.conversation_room):
                        conversation = shard.conversations[k]
                        while conversation != NULL:
                            if fits(&self.tracker, conversation, &wanted):
                                item.number = conversation.number
                                item.hash = conversation.hash
                                keep_newest(page, &count, limit + 1, item)
                            conversation = conversation.chain
                    pthread_mutex_unlock(&shard.lock)
            rows = [self._row(page[k].hash, None, page[k].number) for k in range(min(count, limit))]
            more = page[limit - 1].number if count > limit else 0
        finally:
            free(page)
        # one may have been forgotten in between
        return ConversationPage(conversations=tuple(seen(decode_row(row)) for row in rows if row is not None), cursor=more)

    def statistics(self):
        cdef shard_t* shard
        cdef uint64_t is_open = 0, ended = 0, sessions = 0, steps = 0, moved = 0, repeated = 0, illegal = 0, late = 0, timed_out = 0
        cdef uint64_t abandoned = 0, untracked = 0
        cdef uint64_t* endings = <uint64_t*>calloc(PROTOCOLS_AT_MOST * STATES_AT_MOST, sizeof(uint64_t))
        cdef int i, k
        if endings == NULL:
            raise MemoryError
        self.forget()
        try:
            for i in range(SHARDS):
                shard = &self.tracker.shards[i]
                pthread_mutex_lock(&shard.lock)
                is_open += shard.conversation_count - shard.ended_count
                ended += shard.ended_count
                sessions += shard.session_count
                steps += shard.steps
                moved += shard.moved
                repeated += shard.repeated
                illegal += shard.illegal
                late += shard.late
                timed_out += shard.timed_out
                abandoned += shard.abandoned
                untracked += shard.untracked
                pthread_mutex_unlock(&shard.lock)
            for i in range(ENDING_STRIPES * PROTOCOLS_AT_MOST * STATES_AT_MOST):
                endings[i % (PROTOCOLS_AT_MOST * STATES_AT_MOST)] += cx_load_u64(&self.tracker.endings[i])
            by_protocol = {}
            for i, protocol in enumerate(PROTOCOLS):
                found = {state: endings[i * STATES_AT_MOST + k] for k, state in enumerate(self.states[i]) if endings[i * STATES_AT_MOST + k]}
                if found:
                    by_protocol[protocol.name] = found
        finally:
            free(endings)
        return TrackerStatistics(
            open=is_open, ended=ended, sessions=sessions, steps=steps, moved=moved, repeated=repeated, out_of_sequence=illegal, late=late,
            timed_out=timed_out, abandoned=abandoned, untracked=untracked, events_lost=self.tracker.events_lost, endings=by_protocol,
        )

    # -- time --

    def wait_seconds(self):
        cdef int64_t next_ns = tracker_next(&self.tracker)
        cx_store_u64(<uint64_t*>&self.tracker.sleeping_ns, <uint64_t>(next_ns or NEVER))
        cx_fence()
        # one that came in between has told nobody
        next_ns = tracker_next(&self.tracker)
        cx_store_u64(<uint64_t*>&self.tracker.sleeping_ns, <uint64_t>(next_ns or NEVER))
        return max(next_ns - cx_monotonic_ns(), <int64_t>0) / 1e9 if next_ns else inf

    def tick(self):
        return self.tick_at(cx_monotonic_ns(), cx_realtime_us())

    def tick_at(self, int64_t now_ns, int64_t now_us):
        return tracker_tick(&self.tracker, now_ns, now_us)

    def next_deadline_ns(self):
        return tracker_next(&self.tracker)

    def reap(self, uint32_t most=1024):
        return self.reap_at(cx_monotonic_ns(), cx_realtime_us(), most)

    def reap_at(self, int64_t now_ns, int64_t now_us, uint32_t most=1024):
        cdef bint more
        with nogil:
            more = tracker_reap(&self.tracker, most, now_ns, now_us)
        return more

    # -- what happened --

    def read_events(self, uint32_t wrong_at_once=EVENTS_AT_MOST):
        cdef conversation_event_t* event = tracker_take_events(&self.tracker)
        cdef conversation_event_t* following
        cdef uint32_t wrong = 0
        told, late = [], []
        while event != NULL:
            following = event.following
            try:
                wrong += event.kind != TOLD_TIMED_OUT and event.kind != TOLD_ENDED
                if wrong <= wrong_at_once or event.kind == TOLD_TIMED_OUT or event.kind == TOLD_ENDED:
                    told.append(self._told(event))
                else:
                    self.untold += 1
                if event.late != NULL:
                    late.append(envelope_wrap(event.late))
                    event.late = NULL
            finally:
                conversation_event_free(event)
            event = following
        return told, late

    cdef _told(self, conversation_event_t* event):
        protocol = PROTOCOLS[event.protocol] if event.protocol != NO_PROTOCOL else None
        states = self.states[event.protocol] if event.protocol != NO_PROTOCOL else ("",)
        cdef uint32_t a = event.id_length, b = a + event.sender_length, c = b + event.receiver_length
        cdef bytes text = event.text[:c + event.parent_length]
        before, after = states[event.before], states[event.after]
        act = ACTS_BY_CODE[event.act].value if event.act else ""
        if event.kind == TOLD_VIOLATION or event.kind == TOLD_LIMIT:
            type = VIOLATION_TYPES[event.step]
            if event.step == STEP_UNTRACKED:
                told = "more conversations, or participants of one, than are followed: it is delivered, and not checked"
            elif event.step == STEP_UNOPENED:
                opens = " or ".join(sorted(protocol.opens_with))
                told = f"there is no conversation between the two that it belongs to; {opens} opens one"
            elif event.step == STEP_ROUNDS:
                told = f"no further round: {cx_peek_u32(&self.tracker.limits.rounds)} at most"
            else:
                expected = expected_in(protocol, before, event.cancelling)
                told = " or ".join(f"{move.performative} by the {move.role}" for move in expected) or "nothing: it has ended"
                told = "expected " + told
            if event.cancelling and not protocol.is_final(before):
                before = after = CANCELLING
        elif event.kind == TOLD_LOOP:
            type = "conversation.loop"
            told = LOOPS[event.step]
            before = after = ""
        elif event.kind == TOLD_SHAPE:
            type = "conversation.shape"
            told = shape_told(ACTS_BY_CODE[event.act])
        elif event.kind == TOLD_TIMED_OUT:
            type = "conversation.timed_out"
            who = ("nobody", "the initiator", "the participant")[event.role]
            told = f"{who} did not go on in time"
        else:
            type = "conversation.ended"
            told = ""
        return ConversationEvent(
            type=type, at=event.at_us / 1e6, conversation_id=text[:a].decode(), protocol=protocol.name if protocol is not None else "", sender=text[a:b].decode(),
            receiver=text[b:c].decode(), completes=text[c:].decode(), performative=act, message_id=format_id(event.message_id[:16]), state=before, after=after, told=told,
        )

    def undelivered(self, Envelope message not None, str receiver=""):
        cdef bytes name = (receiver or message.receiver or "").encode()
        return tracker_undelivered(&self.tracker, message.block, name, <uint32_t>len(name), cx_monotonic_ns(), cx_realtime_us())

    def taken(self, messages not None, str receiver not None):
        cdef bytes name = receiver.encode()
        cdef Envelope message
        cdef int64_t now_ns = cx_monotonic_ns()
        cdef uint32_t waited = 0
        for message in messages:
            waited += tracker_taken(&self.tracker, message.block, name, <uint32_t>len(name), now_ns)
        return waited

    def complete(self, str conversation_id not None):
        cdef bytes id = conversation_id.encode()
        return tracker_complete(&self.tracker, id, <uint32_t>len(id), cx_monotonic_ns(), cx_realtime_us())

    # -- over a restart --

    def collect(self):
        cdef bytes_t out
        cdef shard_t* shard
        cdef conversation_t* conversation
        cdef int64_t now_ns = cx_monotonic_ns(), now_us = cx_realtime_us()
        cdef size_t at
        cdef int i
        cdef bint is_gone
        rows = []
        for i in range(SHARDS):
            shard = &self.tracker.shards[i]
            if cx_peek_ptr(<void**>&shard.dirty_first) == NULL:      # one that becomes so now is in the next batch
                continue
            while True:
                memset(&out, 0, sizeof(out))
                pthread_mutex_lock(&shard.lock)
                conversation = shard.dirty_first
                if conversation == NULL:
                    pthread_mutex_unlock(&shard.lock)
                    break
                put_text(&out, conversation.id, conversation.id_length)
                at = out.used
                is_gone = conversation.open == 0
                if not is_gone:
                    write_row(&self.tracker, &out, conversation, now_ns, now_us)
                if not out.failed:
                    not_dirty(shard, conversation)
                    conversation.stored = not is_gone
                pthread_mutex_unlock(&shard.lock)
                try:
                    if out.failed:
                        raise MemoryError
                    rows.append((out.bytes[2:at].decode(), None if is_gone else out.bytes[at:out.used]))
                finally:
                    free(out.bytes)
        return rows

    def recover(self, bytes row not None):
        found = decode_row(row)
        cdef bytes id = found.id.encode(), parent = found.parent.encode(), initiator, participant
        cdef uint32_t hash = hash_of(&self.tracker, id, <uint32_t>len(id)), pair
        cdef shard_t* shard = shard_of(&self.tracker, hash)
        cdef conversation_t* conversation
        cdef session_t* session
        cdef int64_t now_ns = cx_monotonic_ns(), now_us = cx_realtime_us()
        cdef int i, protocol, main
        places = [self.numbers.get((kept.protocol, kept.main)) for kept in found.sessions]
        if None in places or not places:
            return False
        pthread_mutex_lock(&shard.lock)
        try:
            if find_conversation(shard, hash, id, <uint32_t>len(id)) != NULL:
                return False
            conversation = new_conversation(shard, hash, id, <uint32_t>len(id))
            if conversation == NULL:
                raise MemoryError
            if parent:
                conversation.parent = <char*>malloc(len(parent))
                if conversation.parent != NULL:
                    memcpy(conversation.parent, <const char*>parent, len(parent))
                    conversation.parent_length = <uint16_t>len(parent)
            conversation.number = found.number
            self.tracker.numbers = max(self.tracker.numbers, conversation.number)
            conversation.started_us = found.started_us
            conversation.active_us = found.active_us
            conversation.started_ns = now_ns - max(now_us - conversation.started_us, <int64_t>0) * 1000
            conversation.active_ns = now_ns - max(now_us - conversation.active_us, <int64_t>0) * 1000
            conversation.messages = found.messages
            conversation.repeated = found.repeated
            conversation.illegal = found.illegal
            conversation.durable = conversation.stored = 1
            for item, (protocol, main) in zip(found.sessions, places, strict=True):
                initiator, participant = item.initiator.encode(), item.participant.encode()
                pair = hash_pair(
                    hash, hash_of(&self.tracker, initiator, <uint32_t>len(initiator)), hash_of(&self.tracker, participant, <uint32_t>len(participant)),
                    protocol
                )
                session = new_session(
                    shard, conversation, pair, protocol, initiator, <uint32_t>len(initiator), participant, <uint32_t>len(participant)
                )
                if session == NULL:
                    raise MemoryError
                self._fill(session, item, main)
                if item.reply_to:
                    note_answers(shard, session, hash_of(&self.tracker, participant, <uint32_t>len(participant)))
                conversation.mixed = conversation.mixed or item.initiator != found.sessions[0].initiator
                if not self.tracker.protocols[protocol].flags[main] & STATE_FINAL:
                    conversation.open += 1
                    session.held_ns = now_ns + (item.held_us - now_us) * 1000 if item.held_us else 0
                    # what is owed and has no deadline waited for who was away; its message comes again, and is taken
                    session.waits = is_waited_for(&self.tracker, session)
                    if item.deadline_us:
                        set_deadline(&self.tracker, shard, session, max(now_ns + (item.deadline_us - now_us) * 1000, <int64_t>1))
            for kept in found.violations:
                self._keep(conversation, kept)
            cx_add_i32(&self.tracker.total, 1)
            if conversation.open and conversation.parent_length:
                count_branch(&self.tracker, conversation, 1)
            if conversation.open == 0:
                mark_ended(&self.tracker, shard, conversation)
            return True
        finally:
            pthread_mutex_unlock(&shard.lock)

    cdef _keep(self, conversation_t* conversation, kept):
        cdef bytes sender = kept.sender.encode(), receiver = kept.receiver.encode(), message_id = kept.message_id
        cdef violation_t* item
        place = self.numbers.get((kept.protocol, kept.state))
        if place is None or conversation.violation_count == VIOLATIONS_AT_MOST:
            return
        item = <violation_t*>malloc(sizeof(violation_t) + len(sender) + len(receiver))
        if item == NULL:
            return
        memset(item, 0, sizeof(violation_t))
        item.at_us = kept.at_us
        item.kind = kept.kind
        item.role = kept.role
        item.act = kept.act
        item.protocol, item.state = place
        memcpy(item.message_id, <const char*>message_id, 16)
        item.sender_length = <uint16_t>len(sender)
        item.receiver_length = <uint16_t>len(receiver)
        memcpy(item.names, <const char*>sender, len(sender))
        memcpy(item.names + len(sender), <const char*>receiver, len(receiver))
        if conversation.violations_last != NULL:
            conversation.violations_last.following = item
        else:
            conversation.violations = item
        conversation.violations_last = item
        conversation.violation_count += 1

    cdef _fill(self, session_t* session, item, int main):
        cdef int i
        session.main = <uint8_t>main
        session.cancelling = item.cancelling
        session.last_role = item.last_role
        session.last_act = item.last_act
        session.recovered = 1
        session.ids_at = item.ids_at % IDS
        session.round = item.round
        session.made[0], session.made[1] = item.made
        session.messages = item.messages
        session.repeated = item.repeated
        session.illegal = item.illegal
        for i in range(IDS):
            session.ids[i] = item.ids[i]
        session.last_id = item.last_id
        session.cancel_reply = item.cancel_reply
        session.since_us = item.since_us

    # -- for tests and measuring --

    def observe(self, Envelope message not None, str receiver not None, *, int64_t now_ns, int64_t now_us, bint outside=False, bint durable=False, bint away=False):
        cdef bytes name = receiver.encode()
        cdef int step = tracker_step(&self.tracker, message.block, name, <uint32_t>len(name), outside, durable, away, now_ns, now_us, NULL)
        return step

    def time_steps(self, list messages not None, uint32_t times, bint fresh=False):
        """Nanoseconds per step of these messages, *times* over, without Python's share; *fresh*: each time in other conversations."""
        cdef char* id
        cdef int digit
        cdef uint32_t n = <uint32_t>len(messages), i, k
        cdef envelope_t** blocks = <envelope_t**>malloc(max(n, <uint32_t>1) * sizeof(envelope_t*))
        cdef const char** names = <const char**>malloc(max(n, <uint32_t>1) * sizeof(char*))
        cdef uint32_t* lengths = <uint32_t*>malloc(max(n, <uint32_t>1) * sizeof(uint32_t))
        cdef int64_t started, now_us = cx_realtime_us()
        cdef bytes name
        kept = []
        try:
            if blocks == NULL or names == NULL or lengths == NULL:
                raise MemoryError
            for i, (message, receiver) in enumerate(messages):
                name = receiver.encode()
                kept.append(name)
                blocks[i] = (<Envelope?>message).block
                names[i] = name
                lengths[i] = <uint32_t>len(name)
            with nogil:
                started = cx_monotonic_ns()
                for k in range(times):
                    for i in range(n):
                        # nobody else has these blocks: each time they are other messages
                        blocks[i].message_id[0] ^= <uint8_t>(k ^ k + 1)
                        blocks[i].message_id[1] ^= <uint8_t>((k ^ k + 1) >> 8)
                        blocks[i].message_id[2] ^= <uint8_t>((k ^ k + 1) >> 16)
                        if fresh and blocks[i].fields[F_CONVERSATION_ID].length >= 8:
                            id = <char*>blocks[i] + blocks[i].fields[F_CONVERSATION_ID].offset
                            for digit in range(5):
                                id[digit] = <char>(c'a' + (k >> (4 * digit) & 15))
                        tracker_step(&self.tracker, blocks[i], names[i], lengths[i], False, False, False, started, now_us, NULL)
                started = cx_monotonic_ns() - started
            return started / max(<uint64_t>n * times, <uint64_t>1)
        finally:
            free(blocks)
            free(names)
            free(lengths)
