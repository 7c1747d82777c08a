/* Does what sdk/acceptance/scenarios.yaml asks of an agent in any language. */
#include "caxton.h"

CAPABILITIES("acceptance")

enum { WAITING = 4, ROOM = 1024 };
static message_t waiting[WAITING];
static char rooms[WAITING][ROOM];
static int32_t timers[WAITING];

EXPORT(agent_init) int32_t agent_init(void) {
    LOG("started");
    return 0;
}

/* The answer {"NAME": VALUE}, both JSON text. */
static int32_t answer(const message_t *m, const char *name, span_t value) {
    begin_reply(m, "inform");
    PUT(",\"content\":{");
    quote(name, length_of(name));
    PUT(":");
    if (value.length) put(value.at, value.length);
    else PUT("null");
    PUT("}");
    return dispatch();
}

static int32_t done(const message_t *m, const char *name) { return answer(m, name, JSON("true")); }

/* What the host says no to, as a value. */
static int32_t told(const message_t *m, int32_t code, const char *name) {
    if (code >= 0) return done(m, name);
    begin_reply(m, "inform");
    PUT(",\"content\":{\"error\":");
    quote(error_name(code), length_of(error_name(code)));
    PUT("}");
    return dispatch();
}

static int64_t microseconds(span_t asked) {
    double seconds = 0;
    decimal(field(asked, "seconds"), &seconds);
    return (int64_t)(seconds * 1e6 + 0.5);
}

static int32_t broadcast_to(const message_t *m, span_t agents) {
    static char filter[256];
    const char *head = "{\"agents\":";
    size_t n = length_of(head);
    if (n + agents.length + 1 > sizeof filter) return FAIL("too many agents");
    copy(filter, head, n);
    copy(filter + n, agents.at, agents.length);
    filter[n + agents.length] = '}';
    int32_t count = broadcast((span_t){filter, n + agents.length + 1}, "inform", JSON("\"hello\""));
    if (count < 0) return told(m, count, "");
    begin_reply(m, "inform");
    PUT(",\"content\":{\"receivers\":");
    number((uint64_t)count);
    PUT("}");
    return dispatch();
}

static int32_t subscribe(const message_t *m, span_t topic) {
    out_length = 0;
    PUT("{\"topics\":[");
    put(topic.at, topic.length);
    PUT("]}");
    return told(m, subscribe_messages(out, out_length), "subscribed");
}

static int32_t wait_for_timer(const message_t *m, span_t asked) {
    for (int i = 0; i < WAITING; i++)
        if (!timers[i] && keep_message(m, rooms[i], ROOM, &waiting[i])) {
            timers[i] = set_timer(microseconds(asked));
            return timers[i] < 0;
        }
    return FAIL("too many timers");
}

EXPORT(handle_timer) int32_t handle_timer(int32_t timer) {
    for (int i = 0; i < WAITING; i++)
        if (timers[i] == timer) {
            timers[i] = 0;
            return done(&waiting[i], "timer");
        }
    return 0;
}

static int32_t act(const message_t *m, span_t asked, span_t what, const char *key) {
    span_t value = field(asked, "value"), found;
    if (is(what, "send")) return told(m, tell(field(asked, "to"), "inform", JSON("\"hello\"")), "sent");
    if (is(what, "broadcast")) return broadcast_to(m, field(asked, "agents"));
    if (is(what, "subscribe")) return subscribe(m, field(asked, "topic"));
    if (is(what, "set")) {
        int32_t code = set_state(key, value);
        return is(field(asked, "then"), "fail") ? FAIL("broken on purpose") : told(m, code, "set");
    }
    if (is(what, "get")) return answer(m, "value", get_state(key));
    if (is(what, "remove")) return answer(m, "removed", remove_state(key) ? JSON("false") : JSON("true"));
    if (is(what, "timer")) return wait_for_timer(m, asked);
    if (is(what, "cancel")) return told(m, cancel_timer(set_timer(60000000)), "cancelled");
    if (is(what, "tool")) {
        char name[64];
        int32_t size = text(field(asked, "name"), name, sizeof name - 1);
        name[size < 0 ? 0 : size] = 0;
        int32_t code = tool(name, field(asked, "arguments"), &found);
        return code ? told(m, code, "") : answer(m, "answer", found);
    }
    if (is(what, "now")) return answer(m, "now", current_timestamp() > 1600000000000000 ? JSON("true") : JSON("false"));
    if (is(what, "random")) return answer(m, "different", random_u32() != random_u32() ? JSON("true") : JSON("false"));
    if (is(what, "sleep")) {
        int64_t before = current_timestamp(), time = microseconds(asked);
        sleep_micros(time);
        return answer(m, "slept", current_timestamp() - before >= time ? JSON("true") : JSON("false"));
    }
    if (is(what, "log")) {
        char line[256];
        int32_t length = text(field(asked, "line"), line, sizeof line);
        console_log(line, length < 0 ? 0 : (size_t)length);
        return done(m, "logged");
    }
    return FAIL("broken on purpose");
}

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    char key[64];
    message_t m;
    read_message(json, length, &m);
    span_t what = field(m.content, "do"), value = field(m.content, "value"), with = field(m.content, "with");
    if (!what.length) return 0; /* an inform of a partner */
    int32_t size = text(field(m.content, "key"), key, sizeof key - 1);
    key[size < 0 ? 0 : size] = 0;
    if (is(what, "echo")) return inform(&m, value);
    if (is(what, "reply"))
        return is(with, "refuse")           ? refuse(&m, value)
               : is(with, "failure")        ? failure(&m, value)
               : is(with, "propose")        ? propose(&m, value)
               : is(with, "not-understood") ? not_understood(&m, value)
                                            : inform(&m, value);
    if (is(what, "work")) {
        agree(&m, JSON("true"));
        return inform(&m, value);
    }
    return act(&m, m.content, what, key);
}
