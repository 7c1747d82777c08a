/* manager: the initiator of FIPA's contract net, in its simplest form.
 *
 * A request {"bidders": ["a", "b"], "task": ..., "wait_ms": 500} is answered by agree; then each bidder is called. When all have answered, or
 * the time is over, the lowest cost is accepted and the rest rejected; the winner's result is the answer to the request.
 *
 * Rule 1: an answer counts when its sender was called and its in_reply_to is what that one was sent. Everything else changes nothing.
 * Rule 2: a bid is a cost that is a number and not below zero; any other is rejected, with the reason.
 * Rule 3: one contract net at a time; a second request is refused. A winner that takes longer than WORK_MICROS is given up.
 *
 * The platform's own `cnp` (docs/tasks.md) does this and more; here it can be read in one page.
 */
#include "caxton.h"

#define MOST 64
#define WORK_MICROS 10000000

typedef enum { CALLED, PROPOSED, OUT, WINNER } state_t;

typedef struct {
    span_t name, answer; /* the reply_with of its proposal */
    double cost;
    state_t state;
} bidder_t;

static bidder_t bidders[MOST];
static size_t count, waiting;
static message_t request; /* as far as an answer needs it */
static span_t conversation, task;
static int32_t timer;
static int is_busy;

static char pool[32768]; /* what has to outlive its message: names, ids, the task */
static size_t pooled;

static span_t keep(span_t span) {
    if (pooled + span.length > sizeof pool) return (span_t){0};
    char *at = pool + pooled;
    copy(at, span.at, span.length);
    pooled += span.length;
    return (span_t){at, span.length};
}

static span_t quoted_number(const char *before, uint64_t value) {
    char digits[40];
    size_t n = sizeof digits;
    digits[--n] = '"';
    do digits[--n] = (char)('0' + value % 10);
    while (value /= 10);
    size_t length = 0;
    while (before[length]) length++;
    while (length) digits[--n] = before[--length];
    digits[--n] = '"';
    return keep((span_t){digits + n, sizeof digits - n});
}

static void say(span_t name, const char *what) {
    char line[160];
    int32_t n = text(name, line, 64);
    n = n < 0 ? 0 : n;
    while (*what && n < (int32_t)sizeof line) line[n++] = *what++;
    console_log(line, (size_t)n);
}

static int32_t award(void);

static int32_t start(const message_t *m) {
    span_t names = field(m->content, "bidders"), wait = field(m->content, "wait_ms");
    double wait_ms;
    if (is_busy) return refuse(m, JSON("{\"action\":{},\"reason\":\"one contract net at a time\"}"));
    if (!names.length || names.at[0] != '[') return refuse(m, JSON("{\"action\":{},\"reason\":\"bidders is no array of names\"}"));
    if (!decimal(wait, &wait_ms) || wait_ms < 1 || wait_ms > 60000) wait_ms = 500;
    int32_t failed = agree(m, JSON("{\"action\":{},\"condition\":{}}"));
    pooled = 0;
    request = (message_t){.sender = keep(m->sender), .reply_to = keep(m->reply_to), .conversation_id = keep(m->conversation_id),
                          .reply_with = keep(m->reply_with), .protocol = keep(m->protocol)};
    int64_t now = current_timestamp();
    conversation = quoted_number("net-", (uint64_t)now);
    task = keep(field(m->content, "task"));
    count = 0;
    const char *p = names.at + 1, *end = names.at + names.length;
    for (p = skip_space(p, end); p < end && *p == '"' && count < MOST; p = skip_space(p, end)) {
        const char *behind = skip_string(p + 1, end);
        bidders[count++] = (bidder_t){.name = keep((span_t){p, (size_t)(behind - p)}), .state = CALLED};
        p = skip_space(behind, end);
        if (p < end && *p == ',') p++;
    }
    is_busy = 1;
    waiting = count;
    for (size_t i = 0; i < count; i++) {
        span_t reply_with = quoted_number("", i);
        if (cfp(bidders[i].name, conversation, reply_with, now + (int64_t)(wait_ms * 1000), task) != 0) {
            say(bidders[i].name, " cannot be called");
            bidders[i].state = OUT;
            waiting--;
        }
    }
    if (!waiting) return failed | award();
    timer = set_timer((int64_t)(wait_ms * 1000));
    return failed;
}

static message_t proposal_of(const bidder_t *b) {
    return (message_t){.sender = b->name, .reply_with = b->answer, .conversation_id = conversation,
                       .protocol = JSON("\"fipa-contract-net\""), .language = JSON("\"json\"")};
}

/* All have answered, or the time is over. */
static int32_t award(void) {
    bidder_t *best = NULL;
    int32_t failed = 0;
    for (size_t i = 0; i < count; i++) {
        if (bidders[i].state == CALLED) {
            say(bidders[i].name, " has not answered in time");
            bidders[i].state = OUT;
        } else if (bidders[i].state == PROPOSED && (!best || bidders[i].cost < best->cost)) {
            best = &bidders[i];
        }
    }
    waiting = 0;
    for (size_t i = 0; i < count; i++) {
        if (bidders[i].state != PROPOSED || &bidders[i] == best) continue;
        message_t proposal = proposal_of(&bidders[i]);
        failed |= reject(&proposal, JSON("{\"action\":{},\"condition\":{},\"reason\":\"another proposal was better\"}"));
        bidders[i].state = OUT;
    }
    if (!best) {
        is_busy = 0;
        return failed | failure(&request, JSON("{\"action\":{},\"reason\":\"nobody proposed\"}"));
    }
    best->state = WINNER;
    say(best->name, " gets the work");
    timer = set_timer(WORK_MICROS);
    message_t proposal = proposal_of(best);
    return failed | accept(&proposal, task);
}

static int32_t proposed(bidder_t *b, const message_t *m) {
    if (b->state == CALLED) waiting--;
    if (!decimal(field(m->content, "cost"), &b->cost) || b->cost < 0) {
        say(b->name, " made a bid that is none");
        b->state = OUT;
        return reject(m, JSON("{\"action\":{},\"condition\":{},\"reason\":\"cost is no number from 0 on\"}"));
    }
    b->answer = keep(m->reply_with);
    b->state = PROPOSED;
    return 0;
}

static int32_t finish(bidder_t *b, const message_t *m) {
    b->state = OUT;
    is_busy = 0;
    begin_reply(&request, is(m->performative, "inform") ? "inform" : "failure");
    PUT(",\"content\":{\"winner\":");
    put(b->name.at, b->name.length);
    PUT(",\"cost\":");
    number((uint64_t)b->cost);
    PUT(",\"conversation_id\":");
    put(conversation.at, conversation.length);
    PUT(",\"result\":");
    put(m->content.at, m->content.length);
    PUT("}");
    return dispatch();
}

/* Is it the answer to a message that this very bidder was sent? A call's reply_with is the bidder's number. */
static int answers_its_call(size_t number, const message_t *m) {
    double found;
    span_t s = m->in_reply_to;
    return s.length > 2 && decimal((span_t){s.at + 1, s.length - 2}, &found) && found == (double)number;
}

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    message_t message;
    read_message(json, length, &message);
    if (is(message.performative, "request")) return start(&message);
    if (!is_busy || message.conversation_id.length != conversation.length ||
        !same(message.conversation_id.at, conversation.at, conversation.length))
        return 0;
    for (size_t i = 0; i < count; i++) {
        bidder_t *b = &bidders[i];
        /* about who could not be called the platform speaks, and names the call */
        int is_about = is(message.sender, "ams") && answers_its_call(i, &message);
        if (!is_about && (message.sender.length != b->name.length || !same(message.sender.at, b->name.at, b->name.length))) continue;
        int ends = is(message.performative, "refuse") || is_complaint(&message);
        if (b->state == WINNER && (is(message.performative, "inform") || ends)) return finish(b, &message);
        if (b->state == CALLED && answers_its_call(i, &message) && (is(message.performative, "propose") || ends)) {
            int32_t failed = 0;
            if (ends) {
                say(b->name, " does not bid");
                b->state = OUT;
                waiting--;
            } else {
                failed = proposed(b, &message);
            }
            return waiting ? failed : failed | award();
        }
        say(b->name, b->state == CALLED ? " answers what it was not asked" : " says something out of order");
        return 0;
    }
    say(message.sender, " was not called");
    return 0;
}

EXPORT(handle_timer) int32_t handle_timer(int32_t id) {
    if (id != timer || !is_busy) return 0; /* of a contract net that is over */
    if (waiting) return award();
    is_busy = 0;
    return failure(&request, JSON("{\"action\":{},\"reason\":\"the winner did not do the work in time\"}"));
}
