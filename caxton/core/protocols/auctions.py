"""One sells, many bid: the English and the Dutch auction. The initiator is the auctioneer.

Sources: XC00031F, XC00032F; both are experimental and were never made standards.
"""

from caxton.core.performatives import Performative as Act
from caxton.core.protocols.contract_net import NO_BID
from caxton.core.protocols.protocol import START, I, P, Protocol

_CALL = {(I, Act.CFP): "CALLED", (I, Act.INFORM): "ENDED"}


def _auction(kind: str, source: str, accepted: str, remarks: tuple[str, ...]) -> Protocol:
    """*accepted*: the state of who has bid and was accepted. All else the two share."""
    return Protocol(
        name=f"fipa-auction-{kind}",
        title=f"{kind.title()} Auction",
        source=source,
        aliases=(f"fipa-{kind}-auction",),
        table={
            START: {(I, Act.INFORM): "OPEN"},
            "OPEN": _CALL,
            "CALLED": {(P, Act.PROPOSE): "BID", **_CALL},
            "BID": {(I, Act.ACCEPT_PROPOSAL): accepted, (I, Act.REJECT_PROPOSAL): "OPEN"},
            accepted: _CALL,
            NO_BID: _CALL,
            "ENDED": {},
        },
        many=True,
        awaited=frozenset({"CALLED"}),
        expiry={"CALLED": NO_BID},
        late={(NO_BID, Act.PROPOSE): Act.REJECT_PROPOSAL},
        rounds=frozenset((state, I, Act.CFP) for state in ("OPEN", "CALLED", NO_BID, accepted)),
        remarks=remarks,
    )


ENGLISH_AUCTION = _auction(
    "english",
    "XC00031F",
    accepted="LEADING",
    remarks=(
        "Each `cfp` calls a higher price. Who does not bid is not out: the next `cfp` may come before its time is over "
        "(another has bid), or after (NO_BID), and the auction goes on.",
        "LEADING: this bidder's price was accepted last. The `inform` at the end says who has won.",
        "When the price reached is not below the reserve, the auctioneer asks the winner to buy by a `request`: the "
        "standard draws it into the same diagram; here it is a fipa-request of its own, whose `conversation_id` may be "
        "the same.",
    ),
)

DUTCH_AUCTION = _auction(
    "dutch",
    "XC00032F",
    accepted="WON",
    remarks=(
        "Each `cfp` calls a lower price, and the first proposal wins. Of several equal goods the next one is called "
        "the same way, also to who has won before.",
        "The `inform` at the end says that all is sold, or that the price fell below the reserve without a bid.",
    ),
)
