from caxton._fast.envelope import Envelope
from caxton._fast.meters import Meters
from caxton._fast.router import Router
from caxton._fast.spans import Spans

class History:
    accepted: int
    handled: int
    failed: int
    newest: int
    spans: Spans | None  # is told of every turn of a message that it keeps; None: nothing is traced
    meters: Meters | None  # is told of every record too; None: metrics are off

    def __init__(self, router: Router, messages: int, size: int) -> None: ...
    def accept(self, envelope: Envelope) -> None: ...
    def count_hop(self, ns: int) -> None: ...
    watched: set[int]

    def receipt(self, message_id: bytes) -> tuple[int, int, int, int, int, int, int, int] | None:
        """Of the newest kept message with this id (16 bytes).

        (number, receivers, waiting in the store, handled, failed, why, accepted_us, changed_us)
        """
    def watch(self, sequence: int) -> None:
        """Say by take_ended() when every receiver is done with the message."""
    def take_ended(self) -> list[tuple[int, int, int, int]]:
        """(sequence, how many receivers failed, why the last one, when in µs)"""
    def messages(
        self, conversation_id: str | None, after: int, limit: int
    ) -> tuple[list[tuple[int, Envelope]], int]: ...
    def hop_quantile(self, fraction: float) -> int: ...
    def forget_hops(self) -> None: ...
