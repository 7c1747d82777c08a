/* refuser: has no time for anything. */
#include "caxton.h"

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    message_t message;
    read_message(json, length, &message);
    if (!is(message.performative, "cfp")) return 0;
    return refuse(&message, JSON("{\"action\":{},\"reason\":\"busy until Tuesday\"}"));
}
