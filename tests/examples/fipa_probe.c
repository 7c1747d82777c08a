/* Answers one message with every helper of sdk/c/caxton.h that makes a message. */
#include "caxton.h"

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    message_t m;
    double value = 0;
    read_message(json, length, &m);
    int32_t failed = agree(&m, JSON("1")) | refuse(&m, JSON("2")) | inform(&m, JSON("3")) | failure(&m, JSON("4"));
    failed |= not_understood(&m, JSON("5")) | propose(&m, JSON("6")) | accept(&m, JSON("7")) | reject(&m, JSON("8"));
    failed |= cfp(JSON("\"b\""), JSON("\"c-1\""), JSON("\"r-1\""), current_timestamp(), JSON("{\"do\":1}"));
    failed |= ask("query-ref", "fipa-query", JSON("[\"x\",\"y\"]"), JSON("\"c-2\""), (span_t){0}, 0, JSON("null"));
    int is_number = decimal(m.content, &value);
    begin("inform");
    PUT(",\"content\":");
    if (!is_number) PUT("null");
    else if (value < 0) PUT("-1");
    else number((uint64_t)(value * 1000 + 0.5));
    return failed | dispatch();
}
