"""The keys of `integrations.mcp`: servers whose tools agents may use. Who calls them: `caxton/tools`."""

import re
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from caxton.core.manifest import CircuitBreaker
from caxton.core.settings import YES, Key, Positive

Texts = tuple[str, ...]
SomeTime = Annotated[float, Meta(ge=0.001, le=3600, extra={"unit": "duration"})]
ResultSize = Annotated[int, Meta(ge=1 << 10, le=64 << 20, extra={"unit": "bytes"})]
SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z", re.ASCII)  # a dot ends it: `server.tool`


class McpServer(msgspec.Struct, frozen=True, kw_only=True):
    """One server: by HTTP (`url`), or a program that is started and spoken to over its standard streams (`command`)."""

    name: Annotated[str, Key("what stands before the dot of its tools' names")]
    url: Annotated[str, Key("where it answers, Streamable HTTP")] = ""
    command: Annotated[str, Key("or the program to start")] = ""
    args: Annotated[Texts, Key("of the program")] = ()
    env: Annotated[dict[str, str], Key("variables of the program, beside PATH, HOME and the like", secret=True)] = {}
    headers: Annotated[dict[str, str], Key("of each HTTP request, such as Authorization", secret=True)] = {}
    capabilities: Annotated[Texts, Key("tools that may be used, `*` for any characters; empty: all")] = ()
    timeout: Annotated[SomeTime, Key("of one call, at most")] = 30.0
    max_concurrent: Annotated[Positive, Key("calls at a time; more wait")] = 16


class McpConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: Annotated[bool, Key("agents may use [tools](tools.md)")] = False
    servers: Annotated[
        tuple[McpServer, ...],
        Key(
            "list of {name, url, headers, capabilities, timeout, max_concurrent}, "
            "or with {command, args, env} in place of {url, headers}"
        ),
    ] = ()
    max_concurrent_per_agent: Annotated[
        Positive, Key("calls at a time of one agent's replicas together; more wait", dynamic=YES)
    ] = 8
    max_result_size: Annotated[ResultSize, Key("of a tool's answer; a larger one is a failed call", dynamic=YES)] = (
        1 << 20
    )
    circuit_breaker: CircuitBreaker = CircuitBreaker()


def check_mcp(problems: list[str], mcp: McpConfig) -> None:
    """What no single value shows."""
    names: set[str] = set()
    for index, server in enumerate(mcp.servers):
        place = f"integrations.mcp.servers[{index}]"
        if not SERVER_NAME.match(server.name):
            problems.append(f"{place}.name: {server.name!r} is not 1 to 64 letters, digits, '_' and '-'")
        if server.name in names:
            problems.append(f"{place}.name: {server.name!r} is taken")
        names.add(server.name)
        if bool(server.url) == bool(server.command):
            both = "both are said" if server.url else "missing"
            problems.append(f"{place}.url: {both}; a server has either a url or a command")
        elif server.url:
            if wrong := _wrong_url(server.url):
                problems.append(f"{place}.url: {wrong}; write http://host:port/mcp")
            if server.args or server.env:
                problems.append(f"{place}: args and env are for a server with a command; of one with a url: headers")
        elif server.headers:
            problems.append(f"{place}.headers: they are for a server with a url; of one with a command: env")
        for key, held in (("env", server.env), ("headers", server.headers)):
            for name, value in held.items():
                if not name or not name.isascii() or {"\0", "\r", "\n"} & set(name + value) or "=" in name:
                    problems.append(f"{place}.{key}.{name}: a name or value that cannot be sent")


def _wrong_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or not url.isprintable() or " " in url:
        return f"{url!r} is no http or https address"
    if parts.username or parts.password:
        return "there is a user in it, which everybody would see who sees the address; use headers instead"
    return ""
