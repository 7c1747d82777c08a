"""One trace id per request: the caller's, when there is a sound W3C `traceparent`, else a new one."""

import random
import re
from collections.abc import Mapping

TRACE_ID = "caxton.trace_id"  # where the front leaves it in the ASGI scope

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_NONE = b"0" * 32  # the standard's "no trace"


def trace_id_from(traceparent: bytes | None) -> str:
    """The trace id in *traceparent* (W3C Trace Context, version 00 and what begins like it), or a fresh random one."""
    if traceparent is not None:
        match = _TRACEPARENT.match(traceparent)
        if match is not None and match[1] != _NONE and traceparent[:2] != b"ff":
            return match[1].decode()
    return f"{random.getrandbits(128):032x}"


def trace_id_of(scope: Mapping[str, object]) -> str:
    return str(scope[TRACE_ID])
