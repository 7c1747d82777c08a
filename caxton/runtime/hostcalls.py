"""Slow host calls of guests: what suspends the guest until Trio has an answer.

`mcp_call` goes to the room of tools. `memory_search` needs a room that this version does not have; a guest is told so
at once and can go on without.
"""

from collections.abc import Callable

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import Scheduler

# scheduler, port, call id, name, request, the message that the guest handles
CallDesk = Callable[[Scheduler, int, int, str, bytes, Envelope | None], None]
ToolDesk = Callable[[Scheduler, int, int, bytes, Envelope | None], None]


def call_desk(tools: ToolDesk) -> CallDesk:
    """Who answers EVENT_CALL."""

    def answer(scheduler: Scheduler, port: int, call: int, name: str, request: bytes, message: Envelope | None) -> None:
        if name == "mcp_call":
            tools(scheduler, port, call, request, message)
        else:
            scheduler.complete_call(port, call, b"", f"{name} is not available: this server has no memory yet")

    return answer
