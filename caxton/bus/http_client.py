"""The client's side of the HTTP transport: one POST, and what became of it.

httpx is only imported when a platform is spoken to: it belongs to the extras `caxton[fipa]` and `caxton[webhooks]`.

Rule 1: nothing in the environment (proxies, certificates, `.netrc`) and no answer (redirects) changes where a message
        goes.
Rule 2: an answer's body is not waited for. JADE sends one without a length and leaves the connection open.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import attrs

import caxton
from caxton.core.errors import InvalidConfig

if TYPE_CHECKING:
    import httpx

TEMPORARY = frozenset({408, 421, 425, 429})  # of the answers that blame the request, those that may change
CONNECTIONS = 64
AGENT = f"caxton/{caxton.__version__}"


@attrs.frozen
class Outcome:
    """What one attempt came to."""

    is_delivered: bool
    may_retry: bool = False
    reason: str = ""


DELIVERED = Outcome(True)


class HttpClient:
    def __init__(self, client: "httpx.AsyncClient") -> None:
        self._client = client

    async def post(self, url: str, content_type: str, body: bytes, timeout: float) -> Outcome:  # noqa: ASYNC109
        """Never raises but for cancellation: whatever goes wrong is the outcome."""
        import httpx

        headers = {"Content-Type": content_type, "Cache-Control": "no-cache", "Mime-Version": "1.0"}
        try:
            async with self._client.stream("POST", url, content=body, headers=headers, timeout=timeout) as response:
                status = response.status_code
                if response.headers.get("content-length") == "0":
                    await response.aread()  # the connection can be used again
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
            text = str(error) or type(error).__name__
            return Outcome(False, not isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol), text)
        if 200 <= status < 300:
            return DELIVERED
        return Outcome(False, status >= 500 or status in TEMPORARY, f"{url} answered {status}")


@asynccontextmanager
async def open_http_client() -> AsyncIterator[HttpClient]:
    """Raises InvalidConfig when httpx is not installed."""
    check_http_client("integrations.fipa.http_mtp.enabled", "fipa")
    import httpx

    async with httpx.AsyncClient(
        trust_env=False,
        follow_redirects=False,
        headers={"User-Agent": AGENT},
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
    ) as client:
        yield HttpClient(client)


def check_http_client(key: str, extra: str) -> None:
    """Raises InvalidConfig when what *key* asks for needs httpx, and it is not installed."""
    if find_spec("httpx") is None:
        raise InvalidConfig(f"{key}: the HTTP client is not installed", hint=f"pip install 'caxton[{extra}]'")
