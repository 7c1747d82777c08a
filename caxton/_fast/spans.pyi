"""Spans of messages that are traced. See spans.pxd for the rules."""

MOST: int  # spans that wait to be taken; more are dropped
SEND: int
PROCESS: int

# SEND or PROCESS, trace id, span id, parent's span id or empty, the receiver's address or the agent's name, begin and
# end in µs since the epoch, EXIT_* of a turn or 0, message_id, conversation_id or empty, code of the act, sender or ""
Span = tuple[int, str, str, str, str, int, int, int, str, str, int, str]

class Spans:
    dropped: int  # since it was made

    def __init__(self, rate: float) -> None:
        """*rate*: the share of messages from outside without a trace that begin one."""
    def set_rate(self, rate: float) -> None:
        """From now on."""
    def take(self) -> list[Span]:
        """What ended since the last call."""
