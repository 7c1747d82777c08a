"""The keys of `security.cors` and `security.rate_limiting`: what a request meets first (`api/gate.py`)."""

import ipaddress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from caxton.core.settings import YES, Count, Key, Positive, Seconds

Texts = tuple[str, ...]
RouteClass = Literal["messages", "changes", "reads"]


class CorsConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: Annotated[
        bool, Key("answer browsers that come from other sites; their WebSockets are refused unless it lists them",
                  dynamic=YES)
    ] = False  # fmt: skip
    allowed_origins: Annotated[Texts, Key("sites, such as `https://app.example`; * is all", dynamic=YES)] = ("*",)
    allowed_methods: Annotated[Texts, Key("HTTP methods", dynamic=YES)] = ("GET", "POST", "PUT", "DELETE")
    allowed_headers: Annotated[Texts, Key("HTTP headers; * is all", dynamic=YES)] = ("*",)
    allow_credentials: Annotated[
        bool, Key("browsers may send cookies and client certificates; then the sites have to be named", dynamic=YES)
    ] = False
    max_age: Annotated[Seconds, Key("how long a browser remembers this", dynamic=YES)] = 3600.0


class RouteRate(msgspec.Struct, frozen=True, kw_only=True):
    requests_per_second: Annotated[Annotated[float, Meta(ge=0)], Key("of one client; 0 is as for all", dynamic=YES)] = (
        0.0
    )
    burst_size: Annotated[Count, Key("at once; 0 is as for all", dynamic=YES)] = 0


class RoutesConfig(msgspec.Struct, frozen=True, kw_only=True):
    messages: RouteRate = RouteRate()
    changes: RouteRate = RouteRate()
    reads: RouteRate = RouteRate()


class RateLimitConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: Annotated[bool, Key("bound the requests of one client", dynamic=YES)] = False
    requests_per_second: Annotated[
        Annotated[float, Meta(ge=0.001)],
        Key("that a client may make, of each kind: posting messages, other changes, reading", dynamic=YES),
    ] = 100.0
    burst_size: Annotated[Positive, Key("that it may make at once", dynamic=YES)] = 200
    routes: RoutesConfig = RoutesConfig()
    max_clients: Annotated[
        Positive,
        Key(
            "that are remembered, for each kind by itself; who was silent longest is forgotten, and begins anew",
            dynamic=YES,
        ),
    ] = 10_000
    trusted_proxies: Annotated[
        Texts, Key("networks whose `X-Forwarded-For` says who the client is; of others it is ignored", dynamic=YES)
    ] = ()

    def of(self, kind: RouteClass) -> tuple[float, int]:
        """Requests per second and burst of one kind of routes."""
        own: RouteRate = getattr(self.routes, kind)
        return own.requests_per_second or self.requests_per_second, own.burst_size or self.burst_size


def check_web(problems: list[str], cors: CorsConfig, rate: RateLimitConfig) -> None:
    """What no single value shows."""
    for index, origin in enumerate(cors.allowed_origins):
        scheme, found, rest = origin.partition("://")
        if origin != "*" and not (scheme and found and rest and not set(rest) & set("/?#@* ")):
            problems.append(
                f"security.cors.allowed_origins[{index}]: {origin!r} is no site; write https://app.example, "
                "with the port if it has one, and without a path"
            )
    if cors.allow_credentials and "*" in cors.allowed_origins:
        problems.append(
            "security.cors.allow_credentials: with credentials every site in security.cors.allowed_origins is named; "
            "there is a *"
        )
    check_networks(problems, "security.rate_limiting.trusted_proxies", rate.trusted_proxies)


def check_networks(problems: list[str], key: str, networks: Texts) -> None:
    for index, network in enumerate(networks):
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            problems.append(f"{key}[{index}]: {error}; write 10.0.0.0/8, or one address")
