"""The words of a message: its keys, acts, priorities, delivery classes and turns, and which of them some bytes spell. Knows no text around them."""

from libc.stdint cimport uint8_t, uint32_t

from caxton._fast.byte_scan cimport same_bytes
from caxton._fast.envelope cimport (
    F_CONTENT,
    F_CONVERSATION_ID,
    F_ENCODING,
    F_IN_REPLY_TO,
    F_LANGUAGE,
    F_ONTOLOGY,
    F_PARAMS,
    F_PROTOCOL,
    F_RECEIVER,
    F_REPLY_TO,
    F_REPLY_WITH,
    F_SENDER,
    F_TRACEPARENT,
    F_TRACESTATE,
    KEY_DELIVERY,
    KEY_DELIVERY_ATTEMPT,
    KEY_EXPIRES_AT,
    KEY_HOP_COUNT,
    KEY_MESSAGE_ID,
    KEY_PERFORMATIVE,
    KEY_PRIORITY,
    KEY_REDELIVERED,
    KEY_REPLY_BY,
)
from caxton._fast.json_scan cimport unescape

cdef extern from *:
    """
    /* by FIPA00069 code - 1 */
    #define ACT(name) { name, sizeof name - 1 }
    static const struct caxton_act { const char *name; uint8_t length; } caxton_acts[] = {
        ACT("accept-proposal"), ACT("agree"), ACT("cancel"), ACT("cfp"), ACT("confirm"), ACT("disconfirm"),
        ACT("failure"), ACT("inform"), ACT("inform-if"), ACT("inform-ref"), ACT("not-understood"),
        ACT("propagate"), ACT("propose"), ACT("proxy"), ACT("query-if"), ACT("query-ref"), ACT("refuse"),
        ACT("reject-proposal"), ACT("request"), ACT("request-when"), ACT("request-whenever"), ACT("subscribe"),
    };
    static const char *const caxton_keys[] = {
        "sender", "receiver", "content", "conversation_id", "reply_with", "in_reply_to", "ontology", "language", "protocol",
        "reply_to", "encoding", "traceparent", "tracestate", "params", "performative", "message_id", "reply_by", "expires_at",
        "priority", "hop_count", "delivery_attempt", "redelivered", "delivery",
    };
    /* by key: what its value is */
    static const char *const caxton_expected[] = {
        "a name, or an object with a name", "a name, an object with a name, or an array of those", "any JSON value", "a string",
        "a string", "a string", "a string", "a string", "a string", "a name, an object with a name, or an array of those", "a string",
        "a string", "a string", "an object", "a string", "a string", "a string", "a string", "low, normal, high, critical or an integer",
        "an integer from 0 to 255", "an integer from 0", "true or false",
        "durable, relaxed or volatile",
    };
    static const char *const caxton_priorities[] = { "low", "normal", "high", "critical" };
    static const char *const caxton_deliveries[] = { "", "durable", "relaxed", "volatile" };
    static const char *const caxton_turns[] = { "message", "init", "timer", "shutdown", "capabilities", "health" };
    /* every spelling of an act, short forms of the seeds included, by length */
    static const struct caxton_spelling { const char *name; uint8_t code; } caxton_spellings[] = {
        {"cfp", 4}, {"agree", 2}, {"proxy", 14}, {"query", 16}, {"cancel", 3}, {"inform", 8}, {"refuse", 17}, {"accept", 1},
        {"reject", 18}, {"confirm", 5}, {"failure", 7}, {"propose", 13}, {"request", 19}, {"query-if", 15}, {"inform-if", 9},
        {"propagate", 12}, {"query-ref", 16}, {"subscribe", 22}, {"disconfirm", 6}, {"inform-ref", 10}, {"request-when", 20},
        {"not-understood", 11}, {"accept-proposal", 1}, {"reject-proposal", 18}, {"request-whenever", 21},
    };
    /* those of n letters stand from [n] to [n + 1] */
    static const uint8_t caxton_by_length[] = {0, 0, 0, 0, 1, 1, 4, 9, 13, 14, 18, 20, 20, 21, 21, 22, 24, 25};
    """
    ctypedef struct act_t "struct caxton_act":
        const char* name
        uint8_t length
    const act_t* ACTS "caxton_acts"
    const char* const* KEYS "caxton_keys"
    const char* const* EXPECTED "caxton_expected"
    const char* const* PRIORITIES "caxton_priorities"
    const char* const* DELIVERIES "caxton_deliveries"
    const char* const* TURNS "caxton_turns"
    ctypedef struct spelling_t "struct caxton_spelling":
        const char* name
        uint8_t code
    const spelling_t* SPELLINGS "caxton_spellings"
    const uint8_t* SPELLINGS_BY_LENGTH "caxton_by_length"

cdef enum:
    ACT_COUNT = 22
    ACT_LONGEST = 16
    KEY_TEXT = 96            # a known key, every letter escaped


cdef inline int key_of(const char* p, size_t n) noexcept nogil:
    """Which key these bytes name: F_* or KEY_*, or -1."""
    if n == 8:
        if same_bytes(p, "receiver", 8):
            return F_RECEIVER
        if same_bytes(p, "language", 8):
            return F_LANGUAGE
        if same_bytes(p, "ontology", 8):
            return F_ONTOLOGY
        if same_bytes(p, "protocol", 8):
            return F_PROTOCOL
        if same_bytes(p, "reply_to", 8):
            return F_REPLY_TO
        if same_bytes(p, "reply_by", 8):
            return KEY_REPLY_BY
        if same_bytes(p, "priority", 8):
            return KEY_PRIORITY
        if same_bytes(p, "encoding", 8):
            return F_ENCODING
        if same_bytes(p, "delivery", 8):
            return KEY_DELIVERY
    elif n == 6:
        if same_bytes(p, "sender", 6):
            return F_SENDER
        if same_bytes(p, "params", 6):
            return F_PARAMS
    elif n == 7:
        if same_bytes(p, "content", 7):
            return F_CONTENT
    elif n == 12:
        if same_bytes(p, "performative", 12):
            return KEY_PERFORMATIVE
    elif n == 15:
        if same_bytes(p, "conversation_id", 15):
            return F_CONVERSATION_ID
    elif n == 10:
        if same_bytes(p, "reply_with", 10):
            return F_REPLY_WITH
        if same_bytes(p, "message_id", 10):
            return KEY_MESSAGE_ID
        if same_bytes(p, "tracestate", 10):
            return F_TRACESTATE
        if same_bytes(p, "expires_at", 10):
            return KEY_EXPIRES_AT
    elif n == 11:
        if same_bytes(p, "in_reply_to", 11):
            return F_IN_REPLY_TO
        if same_bytes(p, "traceparent", 11):
            return F_TRACEPARENT
        if same_bytes(p, "redelivered", 11):
            return KEY_REDELIVERED
    elif n == 9:
        if same_bytes(p, "hop_count", 9):
            return KEY_HOP_COUNT
    elif n == 16:
        if same_bytes(p, "delivery_attempt", 16):
            return KEY_DELIVERY_ATTEMPT
    return -1


cdef inline int escaped_key_of(const char* p, size_t n) noexcept nogil:
    """The same for a key that is spelled with escapes."""
    cdef char[KEY_TEXT] plain
    if n > KEY_TEXT:
        return -1
    return key_of(plain, unescape(p, p + n, plain))


cdef inline int _spelled(const char* p, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(SPELLINGS_BY_LENGTH[n], SPELLINGS_BY_LENGTH[n + 1]):
        if same_bytes(p, SPELLINGS[i].name, n):
            return SPELLINGS[i].code
    return 0


cdef inline int act_of(const char* p, uint32_t n) noexcept nogil:
    """The code of a performative, whatever its case and dashes; 0 when it is none."""
    cdef char[ACT_LONGEST] name
    cdef uint32_t i
    cdef int code
    if n > ACT_LONGEST:
        return 0
    code = _spelled(p, n)
    if code:
        return code
    for i in range(n):
        name[i] = p[i] + 32 if c'A' <= p[i] <= c'Z' else (c'-' if p[i] == c'_' else p[i])
    return _spelled(name, n)
