"""What is decided about a webhook without a socket: which events, the signature, where it may go, how long to wait.

Rule 1: the signature covers the time, so that what was recorded on the way cannot be sent again later.
Rule 2: an address is allowed when it is public, or in a network that the operator named. Every form in which an IPv6
        address carries another one is looked through.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from fnmatch import fnmatchcase
from random import Random

from caxton.core.rate import networks
from caxton.core.retry import backoff

SIGNATURE = "Caxton-Signature"
OWN = "webhook."  # events about webhooks go to none: a dead endpoint would be told that it is dead

EVENTS = frozenset(
    {
        "agent.deployed", "agent.updated", "agent.removed",
        "agent.started", "agent.draining", "agent.stopped", "agent.failed", "agent.log",
        "capability.registered", "capability.updated", "capability.unregistered",
        "config.changed",
        "conversation.out_of_sequence", "conversation.late", "conversation.timed_out", "conversation.ended",
        "conversation.limit", "conversation.loop", "conversation.shape",
        "key.set", "key.removed",
        "message.sent", "message.undelivered", "message.dead", "message.refused",
        "platform.learned", "platform.refused",
        "system.alert",
        "task.started", "task.completed",
        "tool.server_connected", "tool.server_failed", "tool.list_changed",
        "tool.breaker_opened", "tool.breaker_closed",
    }
)  # fmt: skip

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# not public, whatever `ipaddress` of this Python says: IANA's special purposes, and where clouds answer their guests
SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; metadata of Oracle's cloud
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # Azure, to its guests
        "fec0::/10",  # site-local
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "64:ff9b:1::/48",  # NAT64 of a network's own
    )
)


def wants(patterns: Sequence[str], event: str) -> bool:
    return not event.startswith(OWN) and any(fnmatchcase(event, pattern) for pattern in patterns)


def endpoint_ids(urls: Sequence[str]) -> list[str]:
    """What each endpoint is called, in the store and by people: of its address, which may be a secret, nothing shows.

    A second one of the same address is another endpoint.
    """
    ids: list[str] = []
    for url in urls:
        name = hashlib.sha256(url.encode()).hexdigest()[:12]
        number = sum(other.partition("-")[0] == name for other in ids)
        ids.append(f"{name}-{number + 1}" if number else name)
    return ids


def sign(secret: str, at: int, body: bytes) -> str:
    """`t=1700000000,v1=<hex>`: HMAC-SHA256 of `1700000000.` and the body."""
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def forbidden(address: str, allowed: tuple[str, ...]) -> str:
    """Why this address is not called; "" when it may be."""
    try:
        found: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address} is no address"
    for one in _meant(found):
        if _is_public(one):
            continue
        if not any(one in network for network in networks(allowed)):
            return f"{address} is not public, and in no network of integrations.webhooks.allowed_networks"
    return ""


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in SPECIAL)


def _meant(address: Address) -> list[Address]:
    """The address, or those that it carries."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.sixtofour is not None:
        return [address, address.sixtofour]
    return [address, *(address.teredo or ())]


def wait_before(attempt: int, growth: str, delay: float, most: float, rng: Random) -> float:
    """Seconds before attempt number *attempt*, of which 2 is the first repetition."""
    if growth == "exponential":
        return backoff(attempt - 2, delay, 2.0, most, rng)
    return backoff(0, delay * (attempt - 1 if growth == "linear" else 1), 1.0, most, rng)
