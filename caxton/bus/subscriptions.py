"""What a guest says with `subscribe_messages`:

{"topics": ["orders.*"], "content": {"total": {"gte": 100}}, "performatives": ["inform"]}
"""

import msgspec

from caxton._fast.scheduler import Scheduler
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidRequest
from caxton.core.performatives import ACT_CODES, canonical


class _Subscription(msgspec.Struct, forbid_unknown_fields=True):
    topics: list[str]
    content: msgspec.Raw = msgspec.Raw(b"")
    performatives: list[str] = []


MAX_ADDRESSES = 1000  # of one port, its name included: routes are memory of the node

_decode = msgspec.json.Decoder(_Subscription).decode


def subscribe(scheduler: Scheduler, port: int, text: bytes) -> None:
    """Carry it out. Raises InvalidRequest for what is no subscription."""
    try:
        wanted = _decode(text)
    except UNREADABLE as error:
        raise InvalidRequest(
            f"not a subscription: {error}", hint='such as {"topics": ["orders.*"], "performatives": ["inform"]}'
        ) from None
    acts = 0
    for name in wanted.performatives:
        acts |= 1 << ACT_CODES[canonical(name)]
    known = scheduler.router.keys(port)
    more = {f"topic:{topic}" for topic in wanted.topics}.difference(known)
    if len(known) + len(more) > MAX_ADDRESSES:
        raise InvalidRequest(
            f"{len(more)} more topics for an agent that has {len(known)} addresses; {MAX_ADDRESSES} is the most",
            hint='say it with fewer patterns: "orders.**" is every topic below orders',
        )
    for topic in wanted.topics:
        scheduler.subscribe(port, topic, bytes(wanted.content), acts)
