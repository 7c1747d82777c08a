"""One manager, many bidders: contract net, and the one with several rounds.

Sources: SC00029H, SC00030H.
"""

from caxton.core.performatives import Performative as Act
from caxton.core.protocols.protocol import START, I, P, Protocol

NO_BID = "NO_BID"

_BIDDING = {(P, Act.REFUSE): "REFUSED", (P, Act.PROPOSE): "PROPOSED", (P, Act.FAILURE): "FAILED"}
_PROPOSED = {(I, Act.REJECT_PROPOSAL): "REJECTED", (I, Act.ACCEPT_PROPOSAL): "COMMITTED"}
_COMMITTED = {(P, Act.INFORM): "DONE", (P, Act.FAILURE): "FAILED"}

_REMARKS = (
    "A participant that fails before it could bid says `failure`; the standard has no such arrow, but its text lets "
    "only this peer's part end by any act that ends it.",
    "The deadline of BIDDING is the `reply_by` of the `cfp`. Who has not answered by then has not bid (NO_BID), and a "
    "proposal that still comes is answered with `reject-proposal` by the platform, reason `late`, as the standard asks "
    "of the initiator (SC00029H: proposals received after the deadline are automatically rejected).",
    "The deadline of PROPOSED is the `reply_by` of the proposal: how long the bidder stands by it. TIMED_OUT there is "
    "as good as a rejection for the bidder.",
    "COMMITTED means that the participant is bound.",
)

CONTRACT_NET = Protocol(
    name="fipa-contract-net",
    title="Contract Net",
    source="SC00029H",
    table={
        START: {(I, Act.CFP): "BIDDING"},
        "BIDDING": _BIDDING,
        "PROPOSED": _PROPOSED,
        "COMMITTED": _COMMITTED,
        "REFUSED": {},
        NO_BID: {},
        "REJECTED": {},
        "DONE": {},
        "FAILED": {},
    },
    many=True,
    awaited=frozenset({"BIDDING"}),
    expiry={"BIDDING": NO_BID},
    late={(NO_BID, Act.PROPOSE): Act.REJECT_PROPOSAL},
    remarks=_REMARKS,
)

ITERATED_CONTRACT_NET = Protocol(
    name="fipa-iterated-contract-net",
    title="Iterated Contract Net",
    source="SC00030H",
    table={
        START: {(I, Act.CFP): "BIDDING"},
        "BIDDING": _BIDDING,
        "PROPOSED": {**_PROPOSED, (I, Act.CFP): "BIDDING"},
        "COMMITTED": _COMMITTED,
        "REFUSED": {},
        NO_BID: {},
        "REJECTED": {},
        "DONE": {},
        "FAILED": {},
    },
    many=True,
    awaited=frozenset({"BIDDING"}),
    expiry={"BIDDING": NO_BID},
    late={(NO_BID, Act.PROPOSE): Act.REJECT_PROPOSAL},
    rounds=frozenset({("PROPOSED", I, Act.CFP)}),
    bounded=True,
    remarks=(
        *_REMARKS,
        "A new `cfp` goes to who has proposed, and begins the next round for it; those left out get `reject-proposal`. "
        "The number of rounds is bounded (`messaging.conversations.max_rounds`); the standard leaves it open.",
    ),
)
