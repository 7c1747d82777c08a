"""Cross-origin resource sharing (the Fetch standard, 3.2): which headers tell a browser that a site may see an answer.

Rule 1: nothing is refused here but a preflight: it is the browser that keeps the answer from the page.
Rule 2: an answer that depends on `Origin` says so (`Vary`), or a cache would give one site's answer to another.
"""

from collections.abc import Mapping

from caxton.core.config_web import CorsConfig

EXPOSED = b"x-trace-id, retry-after, location"
SIMPLE = frozenset({"GET", "HEAD", "POST"})  # need no permission (Fetch, CORS-safelisted methods)
Headers = list[tuple[bytes, bytes]]


def allows(cors: CorsConfig, origin: str) -> bool:
    return "*" in cors.allowed_origins or origin.lower() in (site.lower() for site in cors.allowed_origins)


def is_preflight(method: str, headers: Mapping[bytes, bytes]) -> bool:
    return method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers


def answer_headers(cors: CorsConfig, origin: str) -> Headers:
    """What is added to the answer of a request that has this origin; "" is none."""
    if "*" in cors.allowed_origins:
        return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)] if origin else []
    headers = [(b"vary", b"Origin")]
    if origin and allows(cors, origin):
        headers += [(b"access-control-allow-origin", origin.encode()), (b"access-control-expose-headers", EXPOSED)]
        if cors.allow_credentials:
            headers.append((b"access-control-allow-credentials", b"true"))
    return headers


def refusal(cors: CorsConfig, headers: Mapping[bytes, bytes]) -> str:
    """Why this preflight is refused; "" when it is not."""
    origin = headers[b"origin"].decode("latin-1")
    if not allows(cors, origin):
        return f"the site {origin} is not in security.cors.allowed_origins"
    method = headers[b"access-control-request-method"].decode("latin-1")
    if method not in SIMPLE and method not in {one.upper() for one in cors.allowed_methods}:
        return f"the method {method} is not in security.cors.allowed_methods"
    if "*" not in cors.allowed_headers:
        known = {one.lower() for one in cors.allowed_headers}
        for name in requested_headers(headers):
            if name not in known:
                return f"the header {name} is not in security.cors.allowed_headers"
    return ""


def preflight_headers(cors: CorsConfig, headers: Mapping[bytes, bytes]) -> Headers:
    """Of the answer to a preflight that is not refused."""
    named = requested_headers(headers) if "*" in cors.allowed_headers else cors.allowed_headers
    found = answer_headers(cors, headers[b"origin"].decode("latin-1"))
    found.append((b"access-control-allow-methods", ", ".join(cors.allowed_methods).upper().encode()))
    if named:
        found.append((b"access-control-allow-headers", ", ".join(named).encode()))
    found.append((b"access-control-max-age", str(int(cors.max_age)).encode()))
    return found


def requested_headers(headers: Mapping[bytes, bytes]) -> list[str]:
    text = headers.get(b"access-control-request-headers", b"").decode("latin-1")
    return [name for part in text.split(",") if (name := part.strip().lower())]
