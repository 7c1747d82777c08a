"""Somebody who finds somebody: brokering and recruiting. The participant is the broker.

Sources: SC00033H, SC00034H.
"""

from caxton.core.performatives import Performative as Act
from caxton.core.protocols.protocol import START, I, Move, P, Protocol

# what a broker may forward: any act of the embedded protocol but `failure`, which ends the brokering, and
# `not-understood`, which ends everything
_FORWARDED: dict[Move, str] = {
    (P, act): "PROXIED" for act in Act if act not in (Act.FAILURE, Act.NOT_UNDERSTOOD, Act.CANCEL)
}

BROKERING = Protocol(
    name="fipa-brokering",
    title="Brokering",
    source="SC00033H",
    table={
        START: {(I, Act.PROXY): "DECIDE"},
        "DECIDE": {(P, Act.REFUSE): "REFUSED", (P, Act.AGREE): "MATCHING"},
        "MATCHING": {(P, Act.FAILURE): "FAILED", (P, Act.INFORM): "PROXIED"},
        "PROXIED": {**_FORWARDED, (P, Act.FAILURE): "FAILED"},
        "REFUSED": {},
        "FAILED": {},
        "DONE": {},
    },
    awaited=frozenset({"DECIDE"}),
    lasting=frozenset({"PROXIED"}),
    remarks=(
        "`failure` in MATCHING is `no-match` or `proxy` (the sub-protocol could not be started), in PROXIED it is "
        "`brokering`; the reason stands in the content. A `failure` of the embedded protocol is forwarded inside an "
        "`inform`, else it would end the brokering.",
        "PROXIED lasts until the conversations that name this one as `parent_conversation` have ended; then it is "
        "DONE. A broker that opens none leaves it to `cancel` or to the reaper.",
    ),
)

RECRUITING = Protocol(
    name="fipa-recruiting",
    title="Recruiting",
    source="SC00034H",
    table={
        START: {(I, Act.PROXY): "DECIDE"},
        "DECIDE": {(P, Act.REFUSE): "REFUSED", (P, Act.AGREE): "MATCHING"},
        "MATCHING": {(P, Act.FAILURE): "FAILED", (P, Act.INFORM): "DONE"},
        "REFUSED": {},
        "FAILED": {},
        "DONE": {},
    },
    awaited=frozenset({"DECIDE"}),
    remarks=(
        "The recruiter is done when it has passed the embedded message on. Who was recruited answers the initiator, or "
        "the designated receiver (`reply_to` of the embedded message), in the conversation that the recruiter opened: "
        "a session whose first message has a `reply_to` takes the participant's answers to anybody.",
    ),
)
