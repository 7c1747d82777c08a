/* echo: answers any message with an `inform` of the same content. */
#include "caxton.h"

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    message_t message;
    read_message(json, length, &message);
    return is_complaint(&message) ? 0 : inform(&message, message.content);
}
