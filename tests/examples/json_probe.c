/* Shows what sdk/c/caxton.h does with JSON: every message is answered by what the header made of it. */
#include "caxton.h"

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    static char decoded[1 << 16];
    span_t found = field((span_t){json, length}, "content");
    int32_t size = text(found, decoded, sizeof decoded);
    begin("inform");
    PUT(",\"size\":");
    if (size < 0) PUT("-1");
    else number((uint64_t)size);
    if (size >= 0) {
        PUT(",\"content\":");
        quote(decoded, (size_t)size);
    }
    return dispatch();
}
