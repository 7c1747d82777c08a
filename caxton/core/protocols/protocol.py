"""What a protocol is: a table of who may say what in which state, and a few words about its states.

Rule 1: a protocol is data; if it needs code, the table is wrong.
Rule 2: a table says what is between one initiator and one participant. Of one to many there are as many sessions.
Rule 3: what holds in every protocol (`not-understood`, the end of a time, the cancel meta-protocol) stands here and in
        cancel.py, not in each table.
Rule 4: START is the state before the first message, and only the initiator leaves it. A state without rows is final.

It does not run anything: machine.py does, and _fast/conversation.pyx with the same tables as arrays.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property

import attrs

from caxton.core.performatives import Performative


class Role(StrEnum):
    INITIATOR = "initiator"
    PARTICIPANT = "participant"

    @property
    def other(self) -> "Role":
        return Role.PARTICIPANT if self is Role.INITIATOR else Role.INITIATOR


I = Role.INITIATOR  # noqa: E741 (the tables read like those of the standard)
P = Role.PARTICIPANT

Move = tuple[Role, Performative]

START = "START"

# how every protocol can end, whatever its table says
NOT_UNDERSTOOD = "NOT_UNDERSTOOD"  # one of the two sent not-understood
TIMED_OUT = "TIMED_OUT"  # who owed the next message did not send it in time
CANCELLED = "CANCELLED"  # the initiator cancelled, and the participant said that it is done
UNDELIVERED = "UNDELIVERED"  # the platform could not deliver the last message
ABANDONED = "ABANDONED"  # nothing was said for too long; nobody was told
ENDINGS = (NOT_UNDERSTOOD, TIMED_OUT, CANCELLED, UNDELIVERED, ABANDONED)

# what a session says of itself while a cancel is not answered; the state of the table is remembered behind it
CANCELLING = "CANCELLING"


@attrs.frozen(eq=False)
class Protocol:
    name: str  # the token in `protocol`
    title: str
    source: str  # the document of FIPA
    table: Mapping[str, Mapping[Move, str]]
    aliases: tuple[str, ...] = ()
    many: bool = False  # one initiator to several participants is the usual case
    # states in which the first answer is awaited: without reply_by the platform's default is the deadline
    awaited: frozenset[str] = frozenset()
    # states that may last: nobody owes a message
    lasting: frozenset[str] = frozenset()
    # states that are promises: who waits here waits as long as it takes
    promises: frozenset[str] = frozenset()
    # where a state goes at its deadline; TIMED_OUT when it is not said
    expiry: Mapping[str, str] = attrs.field(factory=dict)
    # legal where it changes nothing: at-least-once delivery may let a message overtake another
    overtaken: frozenset[tuple[str, Role, Performative]] = frozenset()
    # what came too late, and what the platform answers in the initiator's place; it is not delivered
    late: Mapping[tuple[str, Performative], Performative] = attrs.field(factory=dict)
    # rows that open a round
    rounds: frozenset[tuple[str, Role, Performative]] = frozenset()
    bounded: bool = False  # rounds are limited by the configuration
    # what the tables add to the standard, or leave out, and why; for the documents
    remarks: tuple[str, ...] = ()

    @cached_property
    def states(self) -> tuple[str, ...]:
        """All of them: START first, then in the order of the table, then the endings of every protocol."""
        return (*self.table, *(ending for ending in ENDINGS if ending not in self.table))

    def is_final(self, state: str) -> bool:
        return not self.table.get(state)

    def rows(self, state: str) -> dict[Move, str]:
        """What may be sent in this state: the table's rows, and `not-understood` once there is a conversation."""
        rows = dict(self.table.get(state, {}))
        if rows and state != START:
            rows.setdefault((I, Performative.NOT_UNDERSTOOD), NOT_UNDERSTOOD)
            rows.setdefault((P, Performative.NOT_UNDERSTOOD), NOT_UNDERSTOOD)
        return rows

    def owes(self, state: str) -> Role | None:
        """Who has to send the next message; None: nobody has to."""
        if state in self.lasting:
            return None
        if state in self.awaited:
            return Role.PARTICIPANT
        roles = {role for role, _ in self.table.get(state, {})}
        return roles.pop() if len(roles) == 1 else None

    @property
    def opens_with(self) -> frozenset[Performative]:
        return frozenset(act for _, act in self.table[START])
