"""The keys of `integrations.webhooks`: whom to call when something happens. Who calls: `node/webhooks.py`."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from caxton.core.config_web import check_networks
from caxton.core.secrets import MASK, SecretText
from caxton.core.settings import YES, Key, Positive, Seconds
from caxton.core.webhooks import EVENTS, wants

Texts = tuple[str, ...]
SomeTime = Annotated[float, Meta(ge=0.001, le=3600, extra={"unit": "duration"})]
LEAST_SECRET = 16  # characters; a guessed secret signs as well as a known one


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    max_attempts: Annotated[Positive, Key("in all")] = 3
    backoff: Annotated[Literal["exponential", "linear", "constant"], Key("how the wait grows")] = "exponential"
    delay: Annotated[SomeTime, Key("before the second attempt")] = 1.0
    max_delay: Annotated[SomeTime, Key("between two attempts at most")] = 300.0


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    url: Annotated[str, Key("that is called")]
    events: Annotated[Texts, Key("which events, such as `agent.*`")] = (
        "agent.deployed",
        "agent.failed",
        "message.dead",
        "system.alert",
    )
    secret: Annotated[str, Key("signs what is sent; empty: it is not signed", secret=True)] = ""
    retry_policy: RetryPolicy = RetryPolicy()


class WebhooksConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: Annotated[bool, Key("[tell other servers](webhooks.md) what happens", dynamic=YES)] = False
    endpoints: Annotated[
        tuple[WebhookEndpoint, ...],
        Key("list of {url, events, secret, retry_policy: {max_attempts, backoff, delay, max_delay}}", dynamic=YES),
    ] = ()
    allowed_networks: Annotated[
        Texts, Key("private networks that may be called; others than public addresses are refused", dynamic=YES)
    ] = ()
    timeout: Annotated[SomeTime, Key("of one attempt", dynamic=YES)] = 10.0
    queue_size: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)],
        Key("events that wait for one endpoint; more are left out, and it is told how many", dynamic=YES),
    ] = 1000
    retention: Annotated[
        Seconds,
        Key("how long is kept what was given up, and what waits for an endpoint that is no more", dynamic=YES),
    ] = 7 * 86_400.0


def check_webhooks(problems: list[str], webhooks: WebhooksConfig) -> None:
    """What no single value shows."""
    for index, endpoint in enumerate(webhooks.endpoints):
        key = f"integrations.webhooks.endpoints[{index}]"
        if wrong := _wrong_url(endpoint.url):
            problems.append(f"{key}.url: {wrong}; write https://host/path")
        unseen = isinstance(endpoint.secret, SecretText) and endpoint.secret == MASK  # nobody fetched it
        if endpoint.secret and not unseen and len(endpoint.secret) < LEAST_SECRET:
            problems.append(f"{key}.secret: {len(endpoint.secret)} characters are too few; the least is {LEAST_SECRET}")
        for place, pattern in enumerate(endpoint.events):
            if not any(wants((pattern,), event) for event in EVENTS):
                problems.append(
                    f"{key}.events[{place}]: no event is called {pattern!r}; there are {', '.join(sorted(EVENTS))}"
                )
        if not endpoint.events:
            problems.append(f"{key}.events: none is named; `*` is all")
    check_networks(problems, "integrations.webhooks.allowed_networks", webhooks.allowed_networks)


def _wrong_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"{error}"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "it is no http or https address"
    if parts.username or parts.password:
        return "there is a user in it, which everybody would see who sees the address; sign with secret instead"
    if parts.fragment or not url.isprintable() or " " in url:
        return "it has parts that are not sent: a #fragment, spaces or control characters"
    return ""
