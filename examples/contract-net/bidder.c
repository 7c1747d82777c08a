/* bidder: proposes to every call, and does the work when it is accepted.
 *
 * What it asks for follows from its name, so several of one module bid differently and the same way each time.
 */
#include "caxton.h"

static char cost_text[64];

static span_t bid(span_t name) {
    char decoded[64];
    int32_t length = text(name, decoded, sizeof decoded);
    uint32_t sum = 7;
    for (int32_t i = 0; i < length; i++) sum = sum * 31 + (unsigned char)decoded[i];
    uint32_t cost = 10 + (sum * 2654435761u >> 16) % 90; /* names that differ little shall not bid alike */
    const char *before = "{\"cost\":", *behind = ",\"confidence\":0.9}";
    size_t n = 0;
    while (*before) cost_text[n++] = *before++;
    cost_text[n++] = (char)('0' + cost / 10);
    cost_text[n++] = (char)('0' + cost % 10);
    while (*behind) cost_text[n++] = *behind++;
    return (span_t){cost_text, n};
}

EXPORT(handle_message) int32_t handle_message(const char *json, size_t length) {
    message_t message;
    read_message(json, length, &message);
    if (is(message.performative, "cfp")) return propose(&message, bid(message.receiver));
    if (is(message.performative, "accept-proposal")) {
        LOG("I got the work, and do it");
        return inform(&message, JSON("{\"done\":true}"));
    }
    return 0;
}
