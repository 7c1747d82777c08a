"""Mail that waits for the end of its turn."""

from types import SimpleNamespace
from typing import Any

from caxton.bus.held import HeldMail

PORT = 7


class Records:
    """A scheduler with mail for one port, and the sequence number up to which turns have ended."""

    def __init__(self, *mail: Any) -> None:
        self.mail = list(mail)
        self.ended = 0
        self.ledger = SimpleNamespace(is_committed=lambda sequence: sequence <= self.ended)

    def receive(self, port: int, count: int) -> list[Any]:
        taken, self.mail = self.mail[:count], self.mail[count:]
        return taken


def message(sequence: int) -> Any:

    return SimpleNamespace(sequence=sequence, expires_at_us=0, reply_by_us=0)


def test_a_turn_that_ended_without_a_write_frees_its_mail() -> None:
    # its end wakes nobody and nothing goes to the disk: who looks at the records has to see it
    records = Records(message(1), message(2))
    mail = HeldMail(records)  # type: ignore[arg-type]
    assert mail.receive(PORT, 8) == []
    assert (mail.ports(), mail.freed()) == ([PORT], [])
    records.ended = 1
    assert mail.freed() == [PORT]
    assert [each.sequence for each in mail.receive(PORT, 8)] == [1]
    assert (mail.ports(), mail.freed()) == ([PORT], [])
    records.ended = 2
    assert [each.sequence for each in mail.receive(PORT, 8)] == [2]
    assert (mail.ports(), mail.freed()) == ([], [])
