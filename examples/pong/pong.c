/* pong: answers every `request` with an `inform` that says "pong". */
#include "caxton.h"

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    static uint64_t count;
    message_t message;
    read_message(json, length, &message);
    if (!is(message.performative, "request")) return 0;
    if (log_is_due(++count)) LOG("Received ping, sending pong back");
    return inform(&message, JSON("\"pong\""));
}
