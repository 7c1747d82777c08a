"""The cancel meta-protocol, which runs beside any other: the initiator takes back what it asked for.

Sources: SC00026H section 3 and the same words in SC00027H to SC00036H ("the cancel meta-protocol").

Rule 1: only the initiator cancels, with the same conversation_id. A participant that cannot go on sends `failure`.
Rule 2: while the cancel is not answered the main protocol goes on: the result may have been on its way, and wins.
Rule 3: `inform` and `failure` are told from those of the main protocol by in_reply_to. They answer the cancel when they
        have none, or the cancel's reply_with.
Rule 4: a cancel that crosses the participant's last word is legal and changes nothing, and so is the answer to it.
"""

from caxton.core.performatives import Performative as Act
from caxton.core.protocols.protocol import CANCELLED, CANCELLING, I, P, Protocol

GOING_ON = "GOING_ON"  # the main protocol's state counts

CANCEL = Protocol(
    name="cancel",
    title="Cancel meta-protocol",
    source="SC00026H 3",
    table={
        GOING_ON: {(I, Act.CANCEL): CANCELLING},
        CANCELLING: {(P, Act.INFORM): CANCELLED, (P, Act.FAILURE): GOING_ON},
        CANCELLED: {},
    },
    remarks=(
        "After `failure` the protocol goes on in the state that it had.",
        "A `cancel` that is not answered by its `reply_by`, or by the platform's default, ends in TIMED_OUT.",
    ),
)
