"""The message inside the node: one block of memory, and the functions that make, copy and read it.

The block is a fixed header, then the bytes of its fields one after another. A field is a slice (offset from the block's start, length); length 0
means "not set". Strings are stored decoded (UTF-8, no JSON escapes); `content` and `params` are stored as the raw JSON text that arrived.
Several names in one field (`receiver`, `reply_to`) are joined by NUL, which no name can hold.

A block is immutable once routed, but for the words that say so, and shared by reference count: every queue that holds a message holds one reference.
Who writes what: the parser fills everything up to `fields`; the router sets `sender_port`, `receiver_port`, `accepted_us` and `queued_ns`; the
scheduler sets `sequence` and `kept`.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    # kinds: 0 is a message; the others are turns that the platform asks of one agent
    KIND_MESSAGE = 0
    KIND_INIT = 1
    KIND_TIMER = 2
    KIND_SHUTDOWN = 3
    KIND_CAPABILITIES = 4
    KIND_HEALTH = 5

    # fields
    F_SENDER = 0
    F_RECEIVER = 1
    F_CONTENT = 2
    F_CONVERSATION_ID = 3
    F_REPLY_WITH = 4
    F_IN_REPLY_TO = 5
    F_ONTOLOGY = 6
    F_LANGUAGE = 7
    F_PROTOCOL = 8
    F_REPLY_TO = 9
    F_ENCODING = 10
    F_TRACEPARENT = 11
    F_TRACESTATE = 12
    F_PARAMS = 13
    FIELD_COUNT = 14

    # the keys whose values stand in the header; they and the fields are what `envelope_error_t.field` names
    KEY_PERFORMATIVE = 14
    KEY_MESSAGE_ID = 15
    KEY_REPLY_BY = 16
    KEY_EXPIRES_AT = 17
    KEY_PRIORITY = 18
    KEY_HOP_COUNT = 19
    KEY_DELIVERY_ATTEMPT = 20
    KEY_REDELIVERED = 21
    KEY_DELIVERY = 22
    KEY_COUNT = 23

    # priorities, lowest first (names in JSON: low, normal, high, critical; or the number 1, 5, 8, 10 of the inventory 4.1)
    PRIORITY_LOW = 0
    PRIORITY_NORMAL = 1
    PRIORITY_HIGH = 2
    PRIORITY_CRITICAL = 3
    PRIORITY_COUNT = 4

    # what becomes of an accepted message when the server ends without warning
    DELIVERY_UNSAID = 0      # as the receiver's configuration says, else the node's
    DELIVERY_DURABLE = 1     # on the disk before it counts as accepted
    DELIVERY_RELAXED = 2     # written, but not synced
    DELIVERY_VOLATILE = 3    # in memory only
    DELIVERY_COUNT = 4

    # why bytes are not a message; 0 is "they are". envelope_error_text() gives the sentence.
    E_OK = 0
    E_MEMORY = -1            # no memory left
    E_TOO_LARGE = -2         # longer than the limit
    E_JSON = -3              # not JSON: `position` says where
    E_NOT_OBJECT = -4        # JSON, but not an object
    E_DEPTH = -5             # nested deeper than the limit
    E_UTF8 = -6              # not UTF-8, a lone surrogate, or a NUL in a string field
    E_DUPLICATE = -7         # the same key twice
    E_TYPE = -8              # a field of the wrong type: `field` names it
    E_PERFORMATIVE = -9      # missing or unknown performative
    E_FIELD_LENGTH = -10     # a field longer than its limit
    E_RECEIVERS = -11        # no receiver, or too many
    E_TIME = -12             # reply_by / expires_at is not RFC 3339
    E_MESSAGE_ID = -13       # message_id is not a UUID
    E_FRAME = -14            # a binary frame that is cut, of another version, or whose lengths do not add up
    E_PROTOCOL = -15         # protocol is set but conversation_id is not (FIPA00061)

ctypedef struct slice_t:
    uint32_t offset          # from the start of the block
    uint32_t length

ctypedef struct envelope_t:
    int32_t refs             # atomic
    uint32_t size            # bytes of the block, header included
    uint8_t kind
    uint8_t act              # FIPA00069 code of the performative, 0x01..0x16; 0 for a control turn
    uint8_t priority
    uint8_t hop_count
    uint16_t receivers       # names in F_RECEIVER
    uint16_t escapes         # bit i: field i needs escaping when it is written as JSON
    uint32_t sender_port     # 0: from outside
    uint32_t receiver_port   # 0: several, or not routed yet
    uint32_t delivery_attempt        # 0: the first; the second is 2. Above 0 it is written, with `redelivered`
    uint32_t argument        # control turns: the timer's id
    uint8_t message_id[16]   # UUIDv7; all zero: not set yet
    int64_t accepted_us      # wall clock, microseconds since the epoch
    int64_t reply_by_us      # 0: none
    int64_t expires_at_us    # 0: none
    int64_t queued_ns        # monotonic clock, when it entered the mailbox
    uint64_t sequence        # of this node's ledger; 0: none. Neither in JSON nor in a frame
    uint8_t delivery         # DELIVERY_*
    uint8_t kept             # DELIVERY_* that it was accepted with. Neither in JSON nor in a frame
    uint8_t passed           # the guard let it through. Neither in JSON nor in a frame
    slice_t fields[FIELD_COUNT]

ctypedef struct envelope_limits_t:
    uint32_t max_size        # bytes of the JSON text
    uint32_t max_name        # bytes of a name, conversation_id, reply_with, in_reply_to, ontology, language, protocol, encoding (256)
    uint32_t max_depth       # nesting of content (64)
    uint32_t max_receivers   # 1024

ctypedef struct envelope_error_t:
    int32_t code             # E_*
    uint32_t position        # byte in the input
    int32_t field            # F_* or KEY_*, or -1

cdef envelope_limits_t DEFAULT_LIMITS

cdef inline int64_t envelope_end(const envelope_t* envelope) noexcept nogil:
    """When its time has passed, by expires_at or reply_by; 0: never."""
    if envelope.expires_at_us and (envelope.reply_by_us == 0 or envelope.expires_at_us < envelope.reply_by_us):
        return envelope.expires_at_us
    return envelope.reply_by_us

# -- making: each returns a block with one reference, or NULL with *error* filled --
cdef envelope_t* envelope_parse(const char* json, size_t length, const envelope_limits_t* limits, envelope_error_t* error) noexcept nogil
cdef envelope_t* envelope_from_frame(const char* frame, size_t length, const envelope_limits_t* limits, envelope_error_t* error) noexcept nogil
# a turn that the platform asks for; NULL only when there is no memory
cdef envelope_t* envelope_control(int kind, uint32_t argument) noexcept nogil
# a copy for these receivers: *count* names, a NUL between two; NULL only when there is no memory
cdef envelope_t* envelope_to(const envelope_t* envelope, const char* names, uint32_t length, uint32_t count) noexcept nogil
# a copy whose sender is *name* (the runtime overwrites the sender); NULL only when there is no memory.
# Takes over the caller's reference to *envelope*: when the sender is already *name*, or the block is unshared and has room, no copy is made.
cdef envelope_t* envelope_with_sender(envelope_t* envelope, const char* name, uint32_t length) noexcept nogil
# a copy with this traceparent of *length* bytes; NULL only when there is no memory. Takes over the caller's reference to *envelope*.
cdef envelope_t* envelope_with_traceparent(envelope_t* envelope, const char* text, uint32_t length) noexcept nogil

# -- sharing --
cdef void envelope_retain(envelope_t* envelope) noexcept nogil
cdef void envelope_release(envelope_t* envelope) noexcept nogil

# -- reading --
cdef inline const char* envelope_field(const envelope_t* envelope, int field) noexcept nogil:
    return <const char*>envelope + envelope.fields[field].offset

cdef inline uint32_t envelope_field_length(const envelope_t* envelope, int field) noexcept nogil:
    return envelope.fields[field].length

# bytes that envelope_write_json() will write (exact), and the writer; `out` must hold that many
cdef size_t envelope_json_size(const envelope_t* envelope) noexcept nogil
cdef size_t envelope_write_json(const envelope_t* envelope, char* out) noexcept nogil
cdef size_t envelope_frame_size(const envelope_t* envelope) noexcept nogil
cdef size_t envelope_write_frame(const envelope_t* envelope, char* out) noexcept nogil

# sets message_id (UUIDv7 of *now_us*) when it is not set; cheap: per-thread randomness, no system call in the common case
cdef void envelope_stamp(envelope_t* envelope, int64_t now_us) noexcept nogil

# one sentence for E_* without Python (a guest reads it by last_error); returns bytes written, at most *room*
cdef size_t envelope_error_text(const envelope_error_t* error, char* out, size_t room) noexcept nogil

# -- the Python face --
cdef class Envelope:
    cdef envelope_t* block
    cdef str _string(self, int field)
    cdef bytes _bytes(self, int field)
    cdef list _list(self, int field)
    cdef object _one_or_list(self, int field)

cdef Envelope envelope_wrap(envelope_t* block)      # takes over the reference
