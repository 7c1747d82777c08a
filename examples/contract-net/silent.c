/* silent: gets every call and never answers. */
#include "caxton.h"

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    (void)json;
    (void)length;
    return 0;
}
