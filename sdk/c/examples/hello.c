/* Greets whoever writes to it. */
#include "caxton.h"

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    char name[128];
    message_t message;
    read_message(json, length, &message);
    int32_t size = text(message.content, name, sizeof name);
    if (is_complaint(&message)) return 0;
    if (size < 0) return not_understood(&message, JSON("\"I need a name\""));
    begin_reply(&message, "inform");
    PUT(",\"content\":\"hello, ");
    escape(name, (size_t)size);
    PUT("\"");
    return dispatch();
}
