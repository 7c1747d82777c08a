"""One asks, one does: request, query, request-when, propose.

Sources: SC00026H, SC00027H, SC00028H, SC00036H.
"""

from caxton.core.performatives import Performative as Act
from caxton.core.protocols.protocol import START, I, P, Protocol

# `agree` may be left out, so it may also come behind what it announces
_AGREE_IS_LATE = frozenset((state, P, Act.AGREE) for state in ("DONE", "FAILED"))
_WORK = {(P, Act.INFORM): "DONE", (P, Act.FAILURE): "FAILED"}

REQUEST = Protocol(
    name="fipa-request",
    title="Request",
    source="SC00026H",
    table={
        START: {(I, Act.REQUEST): "DECIDE"},
        "DECIDE": {(P, Act.REFUSE): "REFUSED", (P, Act.AGREE): "WORKING", **_WORK},
        "WORKING": _WORK,
        "REFUSED": {},
        "DONE": {},
        "FAILED": {},
    },
    awaited=frozenset({"DECIDE"}),
    overtaken=_AGREE_IS_LATE,
    remarks=(
        "`agree` may be left out: the standard makes it depend on whether a notification is necessary, which only the "
        "participant knows. So `inform` and `failure` are legal at once.",
    ),
)

_TELL = {
    (P, Act.INFORM): "DONE",
    (P, Act.INFORM_IF): "DONE",
    (P, Act.INFORM_REF): "DONE",
    (P, Act.FAILURE): "FAILED",
}

QUERY = Protocol(
    name="fipa-query",
    title="Query",
    source="SC00027H",
    table={
        START: {(I, Act.QUERY_IF): "DECIDE", (I, Act.QUERY_REF): "DECIDE"},
        "DECIDE": {(P, Act.REFUSE): "REFUSED", (P, Act.AGREE): "WORKING", **_TELL},
        "WORKING": _TELL,
        "REFUSED": {},
        "DONE": {},
        "FAILED": {},
    },
    awaited=frozenset({"DECIDE"}),
    overtaken=_AGREE_IS_LATE,
    remarks=(
        "The result is an `inform` by the standard's act library (SC00037J: inform-if and inform-ref are macro acts). "
        "Some implementations send `inform-if` or `inform-ref` on the wire, as the diagram's labels (inform-t/f, "
        "inform-result) invite to; both are taken as results.",
    ),
)

REQUEST_WHEN = Protocol(
    name="fipa-request-when",
    title="Request When",
    source="SC00028H",
    table={
        START: {(I, Act.REQUEST_WHEN): "DECIDE"},
        "DECIDE": {(P, Act.REFUSE): "REFUSED", (P, Act.AGREE): "ARMED"},
        "ARMED": {(P, Act.INFORM): "DONE", (P, Act.FAILURE): "FAILED", (P, Act.REFUSE): "REFUSED"},
        "REFUSED": {},
        "DONE": {},
        "FAILED": {},
    },
    awaited=frozenset({"DECIDE"}),
    promises=frozenset({"ARMED"}),
    overtaken=_AGREE_IS_LATE,
    remarks=(
        "Unlike in a request, `agree` is not optional: it says that the participant holds the condition from now on. "
        "ARMED is a promise and survives a restart.",
        "`refuse` in ARMED is of older texts (the condition has become impossible). It is taken; `failure` is what to "
        "send.",
    ),
)

PROPOSE = Protocol(
    name="fipa-propose",
    title="Propose",
    source="SC00036H",
    table={
        START: {(I, Act.PROPOSE): "OFFERED"},
        "OFFERED": {(P, Act.ACCEPT_PROPOSAL): "ACCEPTED", (P, Act.REJECT_PROPOSAL): "REJECTED"},
        "ACCEPTED": {},
        "REJECTED": {},
    },
    awaited=frozenset({"OFFERED"}),
    remarks=("The initiator is who proposes, and who would act: here the participant is asked for consent.",),
)
