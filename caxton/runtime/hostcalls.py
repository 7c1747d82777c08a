"""Slow host calls of guests: what suspends the guest until Trio has an answer.

`mcp_call` and `memory_search` need rooms that this version does not have (tools, memory); a guest is told so at once
and can go on without.
"""

from collections.abc import Callable

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import Scheduler

# scheduler, port, call id, name, request, the message that the guest handles
CallDesk = Callable[[Scheduler, int, int, str, bytes, Envelope | None], None]

MISSING = {
    "mcp_call": "mcp_call is not available: this server has no tools yet",
    "memory_search": "memory_search is not available: this server has no memory yet",
}


def answer_call(
    scheduler: Scheduler, port: int, call_id: int, name: str, request: bytes, message: Envelope | None
) -> None:
    """Answer EVENT_CALL."""
    scheduler.complete_call(port, call_id, b"", MISSING[name])
