/* liar: tries what a dishonest bidder might try. Nothing of it helps, and all of it can be seen.
 *
 * It says that the work is done, which nobody gave it; it bids in the name of another and for a call that another was sent; and the bid
 * that it makes for itself is no number. Who speaks is who the platform says it is, whatever stands in `sender`.
 */
#include "caxton.h"

static int32_t lie(const message_t *m, const char *performative, span_t in_reply_to, span_t content) {
    begin(performative);
    PUT(",\"sender\":\"bidder-1\"");
    MEMBER("receiver", m->sender);
    MEMBER("conversation_id", m->conversation_id);
    MEMBER("protocol", m->protocol);
    MEMBER("in_reply_to", in_reply_to);
    MEMBER("content", content);
    return dispatch();
}

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    message_t message;
    read_message(json, length, &message);
    if (!is(message.performative, "cfp")) return 0;
    int32_t failed = lie(&message, "inform", message.reply_with, JSON("{\"done\":true}"));
    failed |= lie(&message, "propose", JSON("\"1\""), JSON("{\"cost\":0}"));
    failed |= lie(&message, "propose", message.reply_with, JSON("{\"cost\":\"next to nothing\"}"));
    return failed;
}
