/* ping: keeps one ball in the air with `pong`.
 *
 * A request goes out, its answer sends the next one. Answers are matched by in_reply_to, so a late or doubled one starts no second ball.
 * Nobody has to be deployed first: while no answer comes (pong is not there yet, or was restarted with the ball) a timer serves again.
 */
#include "caxton.h"

static uint64_t served, answered, served_at_timer;
static int32_t timer;

static int32_t serve(void) {
    served++;
    begin("request");
    PUT(",\"receiver\":\"pong\",\"conversation_id\":\"ping-pong\",\"reply_with\":\"");
    number(served);
    PUT("\",\"content\":\"ping\"");
    return dispatch();
}

static void watch(void) {
    served_at_timer = served;
    timer = set_timer(answered ? 1000000 : 250000);
}

EXPORT(agent_init) int32_t agent_init(void) {
    LOG("Sending ping to pong");
    serve(); /* may fail: pong may not be deployed yet */
    watch();
    return 0;
}

EXPORT(handle_timer) int32_t handle_timer(int32_t id) {
    if (id != timer) return 0; /* set by an earlier life of this agent */
    if (served == served_at_timer) serve();
    watch();
    return 0;
}

static int is_answer_to(const message_t *message, uint64_t number) {
    char digits[20];
    int32_t length = text(message->in_reply_to, digits, sizeof digits);
    uint64_t found = 0;
    for (int32_t i = 0; i < length; i++) found = found * 10 + (uint64_t)(digits[i] - '0');
    return found == number;
}

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    message_t message;
    read_message(json, length, &message);
    if (!is(message.performative, "inform") || !is_answer_to(&message, served)) return 0;
    if (log_is_due(++answered)) LOG("Received pong, sending ping to pong");
    return serve();
}
