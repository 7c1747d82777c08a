"""Token buckets: a client may make `burst` requests at once, and `rate` a second from then on.

Rule 1: the number of buckets is bounded; the one that was not used for the longest time is forgotten first. A bucket
        that is forgotten is full when it comes back: this errs for the client.
Rule 2: a client that is refused pays nothing, so it may come as soon as it was told.
Rule 3: rate and burst are arguments, so that a change holds for the next request.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from functools import lru_cache

IPV6_PREFIX = 64  # what a provider gives to one customer, who has all addresses in it


class Buckets:
    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # tokens left, at this time

    def __len__(self) -> int:
        return len(self._held)

    def take(self, key: Hashable, now: float, *, rate: float, burst: int, room: int) -> float:
        """Take one token: 0, or the seconds until there is one."""
        tokens, at = self._held.pop(key, (float(burst), now))
        tokens = min(float(burst), tokens + max(0.0, now - at) * rate)
        wait = 0.0
        if tokens >= 1.0 - 1e-9:  # a client that waited as long as it was told is not refused for a rounding error
            tokens = max(0.0, tokens - 1.0)
        else:
            wait = (1.0 - tokens) / rate
        self._held[key] = (tokens, now)
        while len(self._held) > room:
            self._held.popitem(last=False)
        return wait


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=8)
def networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def client_of(peer: str, forwarded: str, trusted: tuple[str, ...]) -> str:
    """Whose request it is: the last address on its way that is no proxy of ours; of IPv6 its network of 64 bits."""
    if not (forwarded and trusted):
        return _client_at(peer)
    way = [part.strip() for part in forwarded.split(",")]
    address = _address(peer)
    while way and address is not None and any(address in network for network in networks(trusted)):
        found = _address(way.pop())
        if found is None:  # somebody wrote nonsense: the last who is known is meant
            break
        address = found
    return peer if address is None else _shown(address)


@lru_cache(maxsize=4096)  # of peers alone: what stands in a header may be long, and is anybody's
def _client_at(peer: str) -> str:
    address = _address(peer)
    return peer if address is None else _shown(address)


def _shown(address: Address) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return str(address)


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
