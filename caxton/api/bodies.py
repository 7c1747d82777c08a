"""Reading a request's body: bounded while it arrives, and in bounded time.

A client that has begun to send does not listen for an answer: close the connection on it and it sees a reset, not the
413. So a body over the limit is read on and thrown away, up to LINGER, before the error is raised.
"""

from collections.abc import AsyncIterator

import trio

from caxton.api.errors import RequestTimeout, RequestTooLarge
from caxton.core.errors import CaxtonError
from caxton.core.limits import format_bytes

BODY_TIMEOUT = 60.0
LINGER = 64 << 20


async def read_body(
    chunks: AsyncIterator[bytes], *, length: int | None, limit: int, error: type[CaxtonError] = RequestTooLarge
) -> bytes:
    """The whole body. Raises *error* when it is longer than *limit*, RequestTimeout when it does not come."""
    body = bytearray()
    size = 0
    if length is None or length <= limit + LINGER:
        with trio.move_on_after(BODY_TIMEOUT) as scope:
            async for chunk in chunks:
                size += len(chunk)
                if size <= limit:
                    body += chunk
                elif size > limit + LINGER:
                    break
        if scope.cancelled_caught:
            raise RequestTimeout(f"the body did not arrive within {BODY_TIMEOUT:g} s")
    if max(size, length or 0) > limit:
        raise error(
            f"the body has more than {format_bytes(limit)} ({max(size, length or 0)} bytes)",
            details={"limit": limit, "size": max(size, length or 0)},
        )
    return bytes(body)
