"""One POST to an address that was looked at: a name is resolved here, once, and the connection goes to what was found.

Rule 1: a name whose addresses are not all allowed is not called. It is resolved for every attempt, and the connection
        is made to the address itself: what a name server says the next moment changes nothing.
Rule 2: no redirects, no proxies, no cookies, nothing from the environment: httpx's transport without its client.
        Connections are not kept, for they belong to an address and the next name at it may be another's.
Rule 3: an answer's body is not read: nobody is to learn by it what our network answers, nor fill our memory.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from caxton.bus.http_client import AGENT, DELIVERED, TEMPORARY, Outcome
from caxton.core.webhooks import forbidden

if TYPE_CHECKING:
    import httpx

CONNECTIONS = 64


class WebhookClient:
    """What may be called, and how long an attempt may take, may change between two attempts."""

    def __init__(self, transport: "httpx.AsyncHTTPTransport", allowed: tuple[str, ...], seconds: float) -> None:
        self._transport = transport
        self.allowed = allowed
        self.seconds = seconds

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Never raises but for cancellation: whatever goes wrong is the outcome, which does not name the path."""
        import httpx

        outcome = Outcome(False, True, f"no answer within {self.seconds:g} s")
        with trio.move_on_after(self.seconds):
            try:
                outcome = await self._post(httpx.URL(url), headers, body)
            except httpx.InvalidURL:
                outcome = Outcome(False, False, "the address is no http or https address")
            except (httpx.HTTPError, ssl.SSLError, OSError, ValueError) as error:
                outcome = Outcome(False, True, _said(error))
        return outcome

    async def _post(self, url: "httpx.URL", headers: Mapping[str, str], body: bytes) -> Outcome:
        import httpx

        port = url.port or (443 if url.scheme == "https" else 80)
        found = await trio.socket.getaddrinfo(url.host, port, type=trio.socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
        for address in addresses:
            if reason := forbidden(address, self.allowed):
                return Outcome(False, False, f"{url.host}: {reason}")
        name = url.raw_host.decode("ascii")
        for left, address in enumerate(addresses, 1 - len(addresses)):
            request = httpx.Request(
                "POST",
                url.copy_with(host=address, userinfo=b""),
                content=body,
                headers={**headers, "Host": url.netloc.decode("ascii"), "User-Agent": AGENT, "Accept": "*/*"},
                # of each step, the whole is the caller's; a connection that is closed takes no longer than that
                extensions={"sni_hostname": name, "timeout": httpx.Timeout(self.seconds).as_dict()},
            )
            try:
                response = await self._transport.handle_async_request(request)
            except httpx.ConnectError:
                if left == 0:
                    raise
                continue
            await response.aclose()
            status = response.status_code
            if 200 <= status < 300:
                return DELIVERED
            said = f"{name} answered {status}"
            if 300 <= status < 400:
                return Outcome(False, False, f"{said}; redirects are not followed")
            return Outcome(False, status >= 500 or status in TEMPORARY, said)
        return Outcome(False, True, f"{name} has no address")


def _said(error: BaseException) -> str:
    """What is wrong; httpx's own errors may be empty, and what they come from says it."""
    cause: BaseException | None = error
    while cause is not None and not str(cause):
        cause = cause.__cause__ or cause.__context__
    return str(cause or type(error).__name__)


@asynccontextmanager
async def open_webhook_client(
    allowed: tuple[str, ...], seconds: float, verify: ssl.SSLContext | bool = True
) -> AsyncIterator[WebhookClient]:
    import httpx

    async with httpx.AsyncHTTPTransport(
        verify=verify,
        trust_env=False,
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=0),
    ) as transport:
        yield WebhookClient(transport, allowed, seconds)
