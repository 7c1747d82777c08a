"""The sessions of one initiator with many, and what they come to.

Contract net: as many calls as there are refusals, proposals, not-understoods, failures and no-bids; when none is left
open, or at reply_by, the initiator evaluates.
"""

from collections.abc import Iterator

import attrs

from caxton.core.protocols.machine import Machine, Timing
from caxton.core.protocols.protocol import Protocol


@attrs.define(eq=False)
class Group:
    protocol: Protocol
    timing: Timing = attrs.field(factory=Timing)
    sessions: dict[str, Machine] = attrs.field(factory=dict)

    def session(self, peer: str) -> Machine:
        """The peer's session; it begins when it is asked for."""
        if (machine := self.sessions.get(peer)) is None:
            machine = self.sessions[peer] = Machine(self.protocol, self.timing)
        return machine

    def counts(self) -> dict[str, int]:
        """How many sessions stand in each state."""
        found: dict[str, int] = {}
        for machine in self.sessions.values():
            found[machine.state] = found.get(machine.state, 0) + 1
        return found

    @property
    def waiting(self) -> list[str]:
        """Peers whose first answer is awaited."""
        return [peer for peer, machine in self.sessions.items() if machine.main in self.protocol.awaited]

    @property
    def is_answered(self) -> bool:
        """Nobody's first answer is awaited: the initiator can evaluate."""
        return not self.waiting

    @property
    def is_final(self) -> bool:
        return all(machine.is_final for machine in self.sessions.values())

    def tick(self, now: float) -> Iterator[tuple[str, str]]:
        """Each peer whose time is over, and the state it went to."""
        for peer, machine in self.sessions.items():
            if (state := machine.tick(now)) is not None:
                yield peer, state

    def next_deadline(self) -> float:
        return min((machine.deadline for machine in self.sessions.values()), default=float("inf"))
