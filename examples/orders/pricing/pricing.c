/* pricing: a book is 12, everything else is 5; from five on a tenth is off. */
#include "caxton.h"

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    message_t message;
    double quantity = 0;
    read_message(json, length, &message);
    if (!is(message.performative, "request")) return 0;
    if (!decimal(field(message.content, "quantity"), &quantity)) return not_understood(&message, JSON("\"no quantity\""));
    uint64_t count = (uint64_t)quantity, sum = count * (is(field(message.content, "item"), "book") ? 12 : 5);
    if (count >= 5) sum -= sum / 10;
    begin_reply(&message, "inform");
    PUT(",\"content\":");
    number(sum);
    return dispatch();
}
