"""Tell me, and tell me again: subscribe.

Source: SC00035H.
"""

from caxton.core.performatives import Performative as Act
from caxton.core.protocols.protocol import START, I, P, Protocol

SUBSCRIBE = Protocol(
    name="fipa-subscribe",
    title="Subscribe",
    source="SC00035H",
    table={
        START: {(I, Act.SUBSCRIBE): "DECIDE"},
        "DECIDE": {(P, Act.REFUSE): "REFUSED", (P, Act.AGREE): "ACTIVE", (P, Act.INFORM): "ACTIVE"},
        "ACTIVE": {(P, Act.INFORM): "ACTIVE", (P, Act.FAILURE): "FAILED"},
        "REFUSED": {},
        "FAILED": {},
    },
    awaited=frozenset({"DECIDE"}),
    lasting=frozenset({"ACTIVE"}),
    overtaken=frozenset({("ACTIVE", P, Act.AGREE), ("FAILED", P, Act.AGREE)}),
    remarks=(
        "The first notification may come without an `agree` (JADE takes it as well), or before it.",
        "`failure` ends the subscription, as the standard has it; JADE keeps it open.",
        "A subscription ends by `cancel`, which the participant answers with `inform`. A notification that crosses the "
        "cancel and has its own `in_reply_to` is still a notification.",
    ),
)
