"""How an exception becomes an answer: one shape, one table, every way in.

The tree is `core/errors.py`; the leaves here exist only because HTTP does. What Quart and werkzeug raise themselves (no
such route, a body too long) is turned into the same tree first, so that a client never meets an HTML page.
"""

import logging

import msgspec
import trio
from werkzeug.exceptions import HTTPException

from caxton.core.errors import (
    CaxtonError,
    Forbidden,
    InternalError,
    InvalidRequest,
    NotFound,
    RejectedError,
    StorageFull,
    StoreError,
    Unauthorized,
    UnavailableError,
    error_body,
)

log = logging.getLogger(__name__)


class MethodNotAllowed(RejectedError):
    """The path exists, the method does not."""

    code = "METHOD_NOT_ALLOWED"
    status = 405


class RequestTooLarge(RejectedError):
    """The body is longer than this path takes."""

    code = "REQUEST_TOO_LARGE"
    status = 413


class UnsupportedMediaType(RejectedError):
    """The body is of a type that this path does not read."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415


class RequestTimeout(UnavailableError):
    """The body did not arrive in time."""

    code = "REQUEST_TIMEOUT"
    status = 408


class GatewayTimeout(UnavailableError):
    """The node did not finish in the time that the edge allows."""

    code = "TIMEOUT"
    status = 504


BY_STATUS: dict[int, type[CaxtonError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    408: RequestTimeout,
    413: RequestTooLarge,
    415: UnsupportedMediaType,
}


def as_caxton_error(error: BaseException, trace_id: str) -> CaxtonError:
    """*error* in our own tree. What nobody expected is logged here, and only here."""
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return as_caxton_error(error.exceptions[0], trace_id)
    if isinstance(error, StoreError) and error.details.get("cause") == "disk_full":
        return StorageFull(error.message, hint=error.hint, details=error.details)
    if isinstance(error, CaxtonError):
        return error
    if isinstance(error, trio.TooSlowError):
        return GatewayTimeout(
            "the node did not finish in time", hint="it may still finish; ask for the state, then retry"
        )
    if isinstance(error, HTTPException) and error.code is not None:
        kind = BY_STATUS.get(error.code, InvalidRequest if error.code < 500 else InternalError)
        return kind(error.description or error.name)
    log.error("something failed unexpectedly", exc_info=error, extra={"trace_id": trace_id})
    return InternalError("something inside Caxton failed", hint="the server's log says what, under this trace_id")


def encode_error(error: CaxtonError, trace_id: str) -> bytes:
    return msgspec.json.encode(error_body(error, trace_id))
