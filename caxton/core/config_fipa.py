"""Keys of `integrations.fipa`: other agent platforms, JADE's for one, and what they may do here."""

import ipaddress
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from caxton.core.settings import YES, Key

Bounded = Annotated[int, Meta(ge=1 << 10, le=64 << 20, extra={"unit": "bytes"})]
SomeTime = Annotated[float, Meta(ge=0.001, le=3600, extra={"unit": "duration"})]
Attempts = Annotated[int, Meta(ge=1, le=100)]
Few = Annotated[int, Meta(ge=0, le=10_000)]
Texts = tuple[str, ...]

# an address is a URL; these characters would end it in an HTTP request or an ACL message
UNSAFE = frozenset(' \t\r\n"<>()\\\0')


class PlatformConfig(msgspec.Struct, frozen=True, kw_only=True):
    name: Annotated[str, Key("what stands behind the `@` of its agents' names")]
    url: Annotated[str, Key("where it takes messages, such as `http://host:7778/acc`")]
    representation: Annotated[
        Literal["string", "xml", "bitefficient"], Key("form of the messages sent to it; JADE alone reads `string`")
    ] = "string"
    accept_from: Annotated[
        Texts, Key("networks that its messages may come from; empty: those of `http_mtp.accept_from`")
    ] = ()


class HttpMtpConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: Annotated[
        bool,
        Key(
            "exchange messages with other platforms at `/acc`",
            restart="the ports of other platforms open with the server",
        ),
    ] = False
    platform_name: Annotated[
        str,
        Key(
            "what stands behind the `@` of our agents' names elsewhere; empty: the node's id",
            restart="others know our agents by it",
        ),
    ] = ""
    public_url: Annotated[
        str, Key("where others reach `/acc`; empty: `http://<server.host>:<server.port>/acc`", dynamic=YES)
    ] = ""
    accept_from: Annotated[Texts, Key("networks that messages may come from", dynamic=YES)] = ("127.0.0.0/8", "::1/128")
    platforms: Annotated[
        tuple[PlatformConfig, ...],
        Key("list of {name, url, representation, accept_from}; these may send and are sent to", dynamic=YES),
    ] = ()
    learn: Annotated[
        Texts,
        Key(
            "beginnings of addresses: who is not listed and shows such an address may send, and is answered there",
            dynamic=YES,
        ),
    ] = ()
    max_learned: Annotated[Few, Key("platforms that are remembered so", dynamic=YES)] = 100
    max_request_size: Annotated[Bounded, Key("of one HTTP request, envelope and message", dynamic=YES)] = 4 << 20
    timeout: Annotated[SomeTime, Key("of one attempt to deliver", dynamic=YES)] = 10.0
    attempts: Annotated[Attempts, Key("in all, before a message is a dead letter", dynamic=YES)] = 8
    retry_delay: Annotated[SomeTime, Key("before the second attempt; it doubles with each", dynamic=YES)] = 1.0
    max_retry_delay: Annotated[SomeTime, Key("at most", dynamic=YES)] = 60.0


class FipaConfig(msgspec.Struct, frozen=True, kw_only=True):
    http_mtp: HttpMtpConfig = HttpMtpConfig()


def check_fipa(problems: list[str], config: FipaConfig) -> None:
    """What no single value shows."""
    mtp, path = config.http_mtp, "integrations.fipa.http_mtp"
    names: set[str] = {mtp.platform_name}
    check_networks(problems, f"{path}.accept_from", mtp.accept_from)
    for key, url in (("public_url", mtp.public_url), *((f"learn[{i}]", url) for i, url in enumerate(mtp.learn))):
        if url and (problem := url_problem(url)):
            problems.append(f"{path}.{key}: {url!r} {problem}")
    if mtp.platform_name and (problem := platform_problem(mtp.platform_name)):
        problems.append(f"{path}.platform_name: {mtp.platform_name!r} {problem}")
    for index, platform in enumerate(mtp.platforms):
        place = f"{path}.platforms[{index}]"
        if problem := platform_problem(platform.name):
            problems.append(f"{place}.name: {platform.name!r} {problem}")
        if platform.name in names:
            problems.append(f"{place}.name: {platform.name!r} is taken")
        names.add(platform.name)
        if problem := url_problem(platform.url):
            problems.append(f"{place}.url: {platform.url!r} {problem}")
        check_networks(problems, f"{place}.accept_from", platform.accept_from)


def check_networks(problems: list[str], place: str, networks: Texts) -> None:
    for index, network in enumerate(networks):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError as error:
            problems.append(f"{place}[{index}]: {error}")


def url_problem(url: str) -> str:
    """Why this is no address of the HTTP transport; empty when it is one."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_url = False
    if not is_url or UNSAFE & set(url) or not url.isascii():
        return "is no http:// or https:// address"
    if parts.username is not None:
        return "has a user name, which would stand in every message"
    return ""


def platform_problem(name: str) -> str:
    """Why this cannot stand behind the `@` of a name; empty when it can."""
    if not 0 < len(name.encode()) <= 128 or "@" in name or UNSAFE & set(name):
        return "is no platform's name: 1 to 128 bytes without '@', blanks, quotes and parentheses"
    return ""
