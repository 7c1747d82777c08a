"""FIPA's interaction protocols as tables, and a machine that runs them.

    protocol.py   what a table is
    request.py contract_net.py subscribe.py brokering.py auctions.py cancel.py   the tables
    machine.py    one session: step, tick, next_deadline
    group.py      the sessions of one to many, counted
    arrays.py     the tables as arrays, for _fast/conversation.pyx

The diagrams in docs/protocols.md are drawn from the same tables.
"""

from caxton.core.protocols.auctions import DUTCH_AUCTION, ENGLISH_AUCTION
from caxton.core.protocols.brokering import BROKERING, RECRUITING
from caxton.core.protocols.cancel import CANCEL
from caxton.core.protocols.contract_net import CONTRACT_NET, ITERATED_CONTRACT_NET
from caxton.core.protocols.group import Group
from caxton.core.protocols.machine import Kind, Machine, Step, Timing
from caxton.core.protocols.protocol import Protocol, Role
from caxton.core.protocols.request import PROPOSE, QUERY, REQUEST, REQUEST_WHEN
from caxton.core.protocols.subscribe import SUBSCRIBE

__all__ = [
    "BROKERING",
    "BY_TOKEN",
    "CANCEL",
    "CONTRACT_NET",
    "DUTCH_AUCTION",
    "ENGLISH_AUCTION",
    "ITERATED_CONTRACT_NET",
    "PROPOSE",
    "PROTOCOLS",
    "QUERY",
    "RECRUITING",
    "REQUEST",
    "REQUEST_WHEN",
    "SUBSCRIBE",
    "Group",
    "Kind",
    "Machine",
    "Protocol",
    "Role",
    "Step",
    "Timing",
    "find",
]

PROTOCOLS: tuple[Protocol, ...] = (
    REQUEST,
    QUERY,
    REQUEST_WHEN,
    CONTRACT_NET,
    ITERATED_CONTRACT_NET,
    PROPOSE,
    SUBSCRIBE,
    BROKERING,
    RECRUITING,
    ENGLISH_AUCTION,
    DUTCH_AUCTION,
)

BY_TOKEN: dict[str, Protocol] = {
    token: protocol for protocol in PROTOCOLS for token in (protocol.name, *protocol.aliases)
}


def find(token: str) -> Protocol | None:
    """The protocol that a message's `protocol` names; None: one that is not FIPA's, which nobody checks."""
    return BY_TOKEN.get(token.lower())
