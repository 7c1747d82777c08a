/* A Caxton agent in C: the imports and exports of ABI 1 (docs/agents.md), and enough JSON to answer a message. docs/sdk-c.md is the manual.
 *
 * One file, no libc. Include it from exactly one .c file per agent and define `handle_message`.
 *
 * Rule 1: a field is a span of the raw JSON text that arrived. Copying a span into an answer needs no decoding, so escapes survive as they
 *         were; text() decodes one, is() compares one with plain text, quote() writes plain text with the escapes it needs.
 * Rule 2: memory is taken once and kept. The host asks caxton_alloc() for a buffer, reuses it, and asks again only for a larger message; the
 *         outgoing buffer grows by doubling. Nothing is freed: what a turn needs twice it finds again.
 * Rule 3: what arrives was checked by the host (it is one JSON object, UTF-8, no key twice), so the scanner here only has to stay inside it.
 */
#ifndef CAXTON_H
#define CAXTON_H

#include <stddef.h>
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("caxton"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name), used))

/* -- what the host gives -- */
IMPORT(send_message) int32_t send_message(const char *json, size_t length);
IMPORT(broadcast_message) int32_t broadcast_message(const char *filter, size_t filter_length, const char *json, size_t length);
IMPORT(subscribe_messages) int32_t subscribe_messages(const char *filter, size_t length);
IMPORT(console_log) void console_log(const char *text, size_t length);
IMPORT(console_error) void console_error(const char *text, size_t length);
IMPORT(current_timestamp) int64_t current_timestamp(void); /* microseconds since the epoch */
IMPORT(random_u32) uint32_t random_u32(void);
IMPORT(sleep_micros) void sleep_micros(int64_t duration);
IMPORT(set_timer) int32_t set_timer(int64_t delay_micros); /* the timer's id; handle_timer(id) follows */
IMPORT(cancel_timer) int32_t cancel_timer(int32_t id);
IMPORT(store_data) int32_t store_data(const char *key, size_t key_length, const char *value, size_t length);
IMPORT(load_data) int32_t load_data(const char *key, size_t key_length, char *out, size_t room);
IMPORT(delete_data) int32_t delete_data(const char *key, size_t key_length);
IMPORT(mcp_call) int32_t mcp_call(const char *request, size_t length, char *out, size_t room);
IMPORT(memory_search) int32_t memory_search(const char *request, size_t length, char *out, size_t room);
IMPORT(last_error) int32_t last_error(char *out, size_t room);
IMPORT(set_error) void set_error(const char *text, size_t length);

#define LOG(literal) console_log(literal, sizeof(literal) - 1)

/* -- what a call can end with; 0 and more is well -- */
typedef enum {
    INVALID_MESSAGE = -1,
    NO_RECEIVER = -2,
    MAILBOX_FULL = -3,
    TOO_LARGE = -4,
    STOPPED = -5,
    TOO_MANY_HOPS = -6,
    OUT_OF_MEMORY = -7,
    LIMIT_REACHED = -8,
    STORE_FAILED = -9,
    BAD_POINTER = -100,
    NOT_FOUND = -101,
    INVALID_ARGUMENT = -102,
    QUOTA_EXCEEDED = -103,
    UNAVAILABLE = -104,
    CALL_FAILED = -105,
} error_t;

/* The name that every SDK has for it. */
static inline const char *error_name(int32_t code) {
    switch (code) {
    case INVALID_MESSAGE: return "invalid-message";
    case NO_RECEIVER: return "no-receiver";
    case MAILBOX_FULL: return "mailbox-full";
    case TOO_LARGE: return "too-large";
    case STOPPED: return "stopped";
    case TOO_MANY_HOPS: return "too-many-hops";
    case OUT_OF_MEMORY: return "out-of-memory";
    case LIMIT_REACHED: return "limit";
    case STORE_FAILED: return "store-failed";
    case NOT_FOUND: return "not-found";
    case INVALID_ARGUMENT: return "invalid-argument";
    case QUOTA_EXCEEDED: return "quota";
    case UNAVAILABLE: return "unavailable";
    default: return "failed";
    }
}

/* `return FAIL("why");` ends the turn as failed: what it did is undone, and the sender gets a FIPA failure with the text. */
static inline int32_t fail(const char *why, size_t length) {
    console_error(why, length);
    set_error(why, length);
    return 1;
}

#define FAIL(literal) fail(literal, sizeof(literal) - 1)

/* CAPABILITIES("pricing", "books") once in a file: what others find the agent by, as `capability:pricing`. */
#define CAPABILITIES(...) \
    EXPORT(get_capabilities) int32_t get_capabilities(char *to, size_t room) { \
        static const char *const declared[] = {__VA_ARGS__}; \
        return declare(declared, sizeof declared / sizeof *declared, to, room); \
    }

static inline int32_t declare(const char *const *names, size_t count, char *to, size_t room) {
    static const char open[] = "{\"capabilities\":[", close[] = "]}";
    size_t n = 0;
    for (const char *from = open; *from && n < room; from++) to[n++] = *from;
    for (size_t i = 0; i < count; i++) {
        if (i && n < room) to[n++] = ',';
        if (n < room) to[n++] = '"';
        for (const char *from = names[i]; *from && n < room; from++) to[n++] = *from;
        if (n < room) to[n++] = '"';
    }
    for (const char *from = close; *from && n < room; from++) to[n++] = *from;
    return n < room ? (int32_t)n : 0;
}

/* -- memory: taken from the end of the heap, never given back -- */
extern char __heap_base;
static uintptr_t heap_top;

EXPORT(caxton_alloc) void *caxton_alloc(size_t length) {
    uintptr_t at = heap_top ? heap_top : ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
    uintptr_t end = at + ((length + 15) & ~(size_t)15), have = __builtin_wasm_memory_size(0) << 16;
    if (end < at || (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) >> 16) == (size_t)-1)) return NULL;
    heap_top = end;
    return (void *)at;
}

static inline void copy(char *to, const char *from, size_t length) {
    for (; length >= 8; length -= 8, to += 8, from += 8) __builtin_memcpy(to, from, 8);
    for (; length; length--) *to++ = *from++;
}

static inline int same(const char *a, const char *b, size_t length) {
    while (length && *a == *b) a++, b++, length--;
    return !length;
}

/* -- reading JSON -- */
typedef struct {
    const char *at; /* raw JSON text of one value, quotes included */
    size_t length;  /* 0: not there */
} span_t;

typedef struct {
    span_t performative, sender, receiver, content, conversation_id, reply_with, in_reply_to, reply_to, ontology, language, protocol;
} message_t;

/* From just behind an opening quote to just behind the closing one. Eight bytes at a time: messages are mostly strings. */
static inline const char *skip_string(const char *p, const char *end) {
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    for (;;) {
        while (end - p >= 8) {
            uint64_t word;
            __builtin_memcpy(&word, p, 8);
            uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
            uint64_t found = (((quote - ones) & ~quote) | ((slash - ones) & ~slash)) & high; /* the lowest bit set is exact */
            if (found) {
                p += __builtin_ctzll(found) >> 3;
                break;
            }
            p += 8;
        }
        if (p >= end) return end;
        if (*p == '"') return p + 1;
        p += *p == '\\' ? 2 : 1;
    }
}

static inline const char *skip_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

/* Behind one value: nesting is counted, not recursed into. */
static inline const char *skip_value(const char *p, const char *end) {
    unsigned depth = 0;
    while (p < end) {
        char c = *p;
        if (c == '"') {
            p = skip_string(p + 1, end);
        } else if (c == '{' || c == '[') {
            depth++, p++;
        } else if (c == '}' || c == ']') {
            if (!depth) return p;
            depth--, p++;
        } else if (c == ',' && !depth) {
            return p;
        } else {
            p++;
            continue;
        }
        if (!depth) return p < end ? p : end;
    }
    return end;
}

/* The next member of the object that *cursor walks; start with *cursor at its opening brace. 0: no more. */
static inline int next_member(const char **cursor, const char *end, span_t *key, span_t *value) {
    const char *p = skip_space(*cursor, end);
    if (p < end && (*p == '{' || *p == ',')) p = skip_space(p + 1, end);
    if (p >= end || *p != '"') return 0;
    key->at = p;
    p = skip_string(p + 1, end);
    key->length = (size_t)(p - key->at);
    p = skip_space(p, end);
    if (p >= end || *p != ':') return 0;
    value->at = p = skip_space(p + 1, end);
    p = skip_value(p, end);
    *cursor = p;
    while (p > value->at && (p[-1] == ' ' || p[-1] == '\n' || p[-1] == '\r' || p[-1] == '\t')) p--; /* `1 }`: the value is `1` */
    value->length = (size_t)(p - value->at);
    return 1;
}

static inline int hex4(const char *p) {
    int code = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0) return -1;
        code = code << 4 | digit;
    }
    return code;
}

/* Decodes a JSON string into UTF-8. Gives its length, or -1 when the span is no string or *room* is too small. */
static inline int32_t text(span_t span, char *out, size_t room) {
    if (span.length < 2 || span.at[0] != '"') return -1;
    const char *p = span.at + 1, *end = span.at + span.length - 1;
    size_t n = 0;
    while (p < end) {
        uint32_t c = (unsigned char)*p++;
        char bytes[4];
        size_t count = 1;
        bytes[0] = (char)c;
        if (c == '\\' && p < end) {
            char escape = *p++;
            const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t";
            for (int i = 0; i < 8; i++)
                if (escape == from[i]) bytes[0] = to[i];
            if (escape == 'u') {
                int code = end - p >= 4 ? hex4(p) : -1;
                if (code < 0) return -1;
                p += 4;
                c = (uint32_t)code;
                if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
                    int low = hex4(p + 2);
                    if (low >= 0xdc00 && low < 0xe000) c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)low - 0xdc00), p += 6;
                }
                if (c >= 0xd800 && c < 0xe000) return -1; /* half a character */
                count = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
                for (size_t i = count; i-- > 1; c >>= 6) bytes[i] = (char)(0x80 | (c & 0x3f));
                bytes[0] = (char)(count == 1 ? c : (0xf00u >> count & 0xf0) | c);
            }
        }
        if (n + count > room) return -1;
        for (size_t i = 0; i < count; i++) out[n++] = bytes[i];
    }
    return (int32_t)n;
}

/* Is the JSON string this plain text? (For names and acts: at most 64 bytes.) */
static inline int is(span_t span, const char *plain) {
    char decoded[64];
    int32_t length = text(span, decoded, sizeof decoded);
    for (int32_t i = 0; i < length; i++)
        if (plain[i] != decoded[i] || !plain[i]) return 0;
    return length >= 0 && !plain[length];
}

/* One member of an object by its name; length 0 when it is not there. */
static inline span_t field(span_t object, const char *name) {
    const char *cursor = object.at, *end = object.at + object.length;
    span_t key, value;
    if (object.length && *cursor == '{')
        while (next_member(&cursor, end, &key, &value))
            if (is(key, name)) return value;
    return (span_t){0};
}

/* All fields of a message in one walk. The host writes keys without escapes, so they are compared as they stand. */
static inline void read_message(const char *json, size_t length, message_t *m) {
    const char *cursor = json, *end = json + length;
    span_t key, value;
    *m = (message_t){0};
#define TAKE(name) \
    if (key.length == sizeof(#name) + 1 && same(key.at + 1, #name, sizeof(#name) - 1)) { \
        m->name = value; \
        continue; \
    }
    while (next_member(&cursor, end, &key, &value)) {
        TAKE(performative)
        TAKE(sender)
        TAKE(receiver)
        TAKE(content)
        TAKE(conversation_id)
        TAKE(reply_with)
        TAKE(in_reply_to)
        TAKE(reply_to)
        TAKE(ontology)
        TAKE(language)
        TAKE(protocol)
    }
#undef TAKE
}

/* -- writing JSON -- */
static char *out;
static size_t out_room, out_length;

static inline int make_room(size_t more) {
    if (out_length + more <= out_room) return 1;
    size_t room = out_room ? out_room : 2048;
    while (room < out_length + more) room *= 2;
    char *larger = caxton_alloc(room);
    if (!larger) return 0;
    copy(larger, out, out_length);
    out = larger;
    out_room = room;
    return 1;
}

/* JSON text as a span: JSON("\"done\"") */
#define JSON(literal) ((span_t){literal, sizeof(literal) - 1})

static inline void put(const char *raw, size_t length) {
    if (!make_room(length)) return;
    copy(out + out_length, raw, length);
    out_length += length;
}

#define PUT(literal) put(literal, sizeof(literal) - 1)

static inline void number(uint64_t value) {
    char digits[20];
    size_t n = sizeof digits;
    do digits[--n] = (char)('0' + value % 10);
    while (value /= 10);
    put(digits + n, sizeof digits - n);
}

/* Plain UTF-8 as the inside of a JSON string. */
static inline void escape(const char *plain, size_t length) {
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)plain[i];
        if (c == '"' || c == '\\') {
            char pair[2] = {'\\', (char)c};
            put(pair, 2);
        } else if (c < 0x20) {
            char code[6] = {'\\', 'u', '0', '0', (char)('0' + (c >> 4)), "0123456789abcdef"[c & 15]};
            put(code, 6);
        } else {
            put(plain + i, 1);
        }
    }
}

/* The same with its quotes. */
static inline void quote(const char *plain, size_t length) {
    PUT("\"");
    escape(plain, length);
    PUT("\"");
}

/* Starts a message: {"performative":"...". Go on with PUT(",\"receiver\":...") and so on, end with dispatch(). */
static inline void begin(const char *performative) {
    out_length = 0;
    PUT("{\"performative\":\"");
    while (*performative) put(performative++, 1);
    PUT("\"");
}

#define MEMBER(name, span) \
    do { \
        if ((span).length) { \
            PUT(",\"" name "\":"); \
            put((span).at, (span).length); \
        } \
    } while (0)

/* Ends the message and sends it: 0, or a negative error code (last_error() has the sentence). */
static inline int32_t dispatch(void) {
    PUT("}");
    return send_message(out, out_length);
}

/* A moment as FIPA writes it: "2026-01-31T12:00:00.000Z". */
static inline void moment(int64_t micros) {
    int64_t millis = micros / 1000, days = millis / 86400000, rest = millis % 86400000;
    /* days since 0000-03-01, in eras of 400 years: Howard Hinnant's civil_from_days */
    int64_t z = days + 719468, era = z / 146097, day_of_era = z % 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153, month = shifted < 10 ? shifted + 3 : shifted - 9;
    int64_t parts[] = {era * 400 + year_of_era + (month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1,
                       rest / 3600000, rest / 60000 % 60, rest / 1000 % 60, rest % 1000};
    const int digits[] = {4, 2, 2, 2, 2, 2, 3};
    const char behind[] = {'-', '-', 'T', ':', ':', '.', 'Z'};
    PUT("\"");
    for (int i = 0; i < 7; i++) {
        char text[5];
        int64_t value = parts[i];
        for (int d = digits[i]; d-- > 0; value /= 10) text[d] = (char)('0' + value % 10);
        text[digits[i]] = behind[i];
        put(text, (size_t)digits[i] + 1);
    }
    PUT("\"");
}

/* A JSON number; 0: the span is none, or one that is not finite. */
static inline int decimal(span_t span, double *value) {
    const char *p = span.at, *end = span.at + span.length;
    int negative = p < end && *p == '-', any = 0, exponent = 0;
    double found = 0;
    for (p += negative; p < end && *p >= '0' && *p <= '9'; any = 1) found = found * 10 + (*p++ - '0');
    if (p < end && *p == '.')
        for (p++; p < end && *p >= '0' && *p <= '9'; exponent--) found = found * 10 + (*p++ - '0');
    if (any && p < end && (*p | 32) == 'e') {
        int sign = 1, written = 0;
        if (++p < end && (*p == '-' || *p == '+')) sign = *p++ == '-' ? -1 : 1;
        for (; p < end && *p >= '0' && *p <= '9'; p++) written = written < 10000 ? written * 10 + (*p - '0') : written;
        exponent += sign * written;
    }
    for (; exponent > 0 && found - found == 0 && found; exponent--) found *= 10;
    for (; exponent < 0 && found; exponent++) found /= 10;
    *value = negative ? -found : found;
    return any && p == end && found - found == 0;
}

static inline void begin_reply(const message_t *m, const char *performative) {
    begin(performative);
    MEMBER("receiver", m->reply_to.length ? m->reply_to : m->sender);
    MEMBER("conversation_id", m->conversation_id);
    MEMBER("in_reply_to", m->reply_with);
    MEMBER("protocol", m->protocol);
    MEMBER("ontology", m->ontology);
    MEMBER("language", m->language);
}

/* An answer as FIPA wants it: to reply_to or else the sender, in the same conversation and protocol, in_reply_to what was reply_with. */
static inline int32_t reply(const message_t *m, const char *performative, span_t content) {
    begin_reply(m, performative);
    MEMBER("content", content);
    return dispatch();
}

/* The same, when it will be answered in its turn: with a reply_with of its own, the act and a number. */
static inline int32_t reply_and_expect(const message_t *m, const char *performative, span_t content) {
    static uint64_t count;
    begin_reply(m, performative);
    MEMBER("content", content);
    PUT(",\"reply_with\":\"");
    for (const char *p = performative; *p; p++) put(p, 1);
    PUT("-");
    number(++count);
    PUT("\"");
    return dispatch();
}

#define REPLY(act, performative, how) \
    static inline int32_t act(const message_t *m, span_t content) { return how(m, performative, content); }
REPLY(agree, "agree", reply)
REPLY(refuse, "refuse", reply)
REPLY(inform, "inform", reply)
REPLY(failure, "failure", reply)
REPLY(not_understood, "not-understood", reply)
REPLY(propose, "propose", reply_and_expect)
REPLY(accept, "accept-proposal", reply_and_expect) /* of a proposal: m is the `propose` */
REPLY(reject, "reject-proposal", reply)
#undef REPLY

/* The first message of a conversation. All but the acts and the protocol are raw JSON text, as JSON() and spans of messages are.
 * reply_by in microseconds since the epoch; 0: none. */
static inline int32_t ask(const char *performative, const char *protocol, span_t receiver, span_t conversation_id, span_t reply_with,
                          int64_t reply_by, span_t content) {
    begin(performative);
    PUT(",\"language\":\"json\",\"protocol\":\"");
    for (; *protocol; protocol++) put(protocol, 1);
    PUT("\"");
    MEMBER("receiver", receiver);
    MEMBER("conversation_id", conversation_id);
    MEMBER("reply_with", reply_with);
    if (reply_by) {
        PUT(",\"reply_by\":");
        moment(reply_by);
    }
    MEMBER("content", content);
    return dispatch();
}

/* A call for proposals. Give each receiver a reply_with of its own: its answer names it in in_reply_to. */
static inline int32_t cfp(span_t receiver, span_t conversation_id, span_t reply_with, int64_t reply_by, span_t content) {
    return ask("cfp", "fipa-contract-net", receiver, conversation_id, reply_with, reply_by, content);
}

/* A message that opens nothing: to one receiver (JSON text), with this content. */
static inline int32_t tell(span_t receiver, const char *performative, span_t content) {
    begin(performative);
    MEMBER("receiver", receiver);
    MEMBER("content", content);
    return dispatch();
}

/* To many; how many they are. The filter is {"agents":[...]}, {"groups":[...]}, {"capabilities":[...]}, or {} for the group `all`. */
static inline int32_t broadcast(span_t filter, const char *performative, span_t content) {
    begin(performative);
    MEMBER("content", content);
    PUT("}");
    return broadcast_message(filter.at, filter.length, out, out_length);
}

/* What an answer in a later turn needs, copied into *room*; 0: it does not fit. */
static inline int keep_message(const message_t *m, char *room, size_t size, message_t *kept) {
    span_t *to = (span_t *)kept;
    const span_t *from = (const span_t *)m;
    *kept = *m;
    kept->content = (span_t){0};
    for (size_t i = 0; i < sizeof *kept / sizeof(span_t); i++) {
        if (&to[i] == &kept->content) continue;
        if (to[i].length > size) return 0;
        copy(room, from[i].at, from[i].length);
        to[i].at = room;
        room += to[i].length;
        size -= to[i].length;
    }
    return 1;
}

/* -- state: JSON under a key of plain text, durable; and tools -- */
static char *scratch; /* what the last of these calls gave */
static size_t scratch_room;

static inline size_t length_of(const char *plain) {
    size_t n = 0;
    while (plain[n]) n++;
    return n;
}

static inline int scratch_of(size_t room) {
    if (room <= scratch_room) return 1;
    size_t size = 1024;
    while (size < room) size *= 2;
    scratch = caxton_alloc(size);
    scratch_room = scratch ? size : 0;
    return scratch != NULL;
}

/* Length 0: there is none. Holds until the next call of get_state, tool or search. */
static inline span_t get_state(const char *key) {
    int32_t length = scratch_of(1) ? load_data(key, length_of(key), scratch, scratch_room) : NOT_FOUND;
    if (length > (int32_t)scratch_room) length = scratch_of((size_t)length) ? load_data(key, length_of(key), scratch, scratch_room) : NOT_FOUND;
    return length < 0 ? (span_t){0} : (span_t){scratch, (size_t)length};
}

static inline int32_t set_state(const char *key, span_t value) { return store_data(key, length_of(key), value.at, value.length); }

/* NOT_FOUND: there was none. */
static inline int32_t remove_state(const char *key) { return delete_data(key, length_of(key)); }

static inline int32_t slow_call(int32_t (*call)(const char *, size_t, char *, size_t), span_t *answer) {
    if (!scratch_of(65536)) return OUT_OF_MEMORY;
    int32_t found = call(out, out_length, scratch, scratch_room);
    /* a code, or the size that is needed: always more than the room there was */
    if (found < 0 && (size_t)-found > scratch_room) found = scratch_of((size_t)-found) ? call(out, out_length, scratch, scratch_room) : OUT_OF_MEMORY;
    if (found >= 0) *answer = (span_t){scratch, (size_t)found};
    return found < 0 ? found : 0;
}

/* The same with a time limit; 0: the server's. */
static inline int32_t tool_within(int64_t milliseconds, const char *name, span_t arguments, span_t *answer) {
    out_length = 0;
    PUT("{\"tool\":");
    quote(name, length_of(name));
    MEMBER("arguments", arguments);
    if (milliseconds > 0) {
        PUT(",\"timeout_ms\":");
        number(milliseconds);
    }
    PUT("}");
    return slow_call(mcp_call, answer);
}

/* Calls a tool; the agent waits for its answer, no thread does. 0 or an error_t. */
static inline int32_t tool(const char *name, span_t arguments, span_t *answer) { return tool_within(0, name, arguments, answer); }

/* Searches the memory of the agent's workspace. */
static inline int32_t search(const char *query, span_t *answer) {
    out_length = 0;
    PUT("{\"query\":");
    quote(query, length_of(query));
    PUT("}");
    return slow_call(memory_search, answer);
}

/* FIPA: never answer these two, or two agents will tell each other for ever that they did not understand. */
static inline int is_complaint(const message_t *m) { return is(m->performative, "failure") || is(m->performative, "not-understood"); }

/* -- logging that does not cap the speed: the first lines, then about ten a second -- */
static inline int log_is_due(uint64_t count) {
    static int64_t last;
    if (count > 3 && count % 64) return 0;
    int64_t now = current_timestamp();
    if (count > 3 && now - last < 100000) return 0;
    last = now;
    return 1;
}

#endif
