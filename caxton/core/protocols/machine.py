"""One session: one initiator and one participant in one protocol.

Rule 1: an illegal act changes nothing. The step says so, and what would have been legal.
Rule 2: what at-least-once delivery brings is legal and changes nothing: the same message again, the act that led into
        the state again by the same role, `agree` behind the result.
Rule 3: time is an argument, in seconds of any clock; `tick` does what is due, `next_deadline` says when to come back.
Rule 4: the deadline of a session is the reply_by of the last message, when the other one owes the next; without it the
        platform's default where a first answer is awaited. There is none where somebody works, has promised, or lasts.

It does not know who the two are, nor what was delivered. tests/oracles/conversation.py is built on it.
"""

from collections import deque
from enum import StrEnum
from math import inf

import attrs

from caxton.core.performatives import Performative
from caxton.core.protocols.cancel import CANCEL, GOING_ON
from caxton.core.protocols.protocol import (
    ABANDONED,
    CANCELLED,
    CANCELLING,
    START,
    TIMED_OUT,
    UNDELIVERED,
    Move,
    Protocol,
    Role,
)

IDS = 4  # message ids that a session remembers, newest last


class Kind(StrEnum):
    """What a message was to its session."""

    MOVED = "moved"
    REPEATED = "repeated"  # legal, and nothing changed
    LATE = "late"  # too late: the platform answers, and the other side does not get it
    OUT_OF_SEQUENCE = "out-of-sequence"  # illegal, and nothing changed


@attrs.frozen
class Timing:
    """Seconds, and how many rounds."""

    first_answer: float = 60.0  # where a first answer is awaited and the message has no reply_by; 0: for ever
    max_rounds: int = 10


@attrs.frozen
class Step:
    kind: Kind
    before: str
    after: str
    expected: tuple[Move, ...] = ()  # of OUT_OF_SEQUENCE: what would have been legal
    answer: Performative | None = None  # of LATE
    reason: str = ""  # of OUT_OF_SEQUENCE, when no act would do

    @property
    def told(self) -> str:
        """What was expected, in words."""
        if self.reason:
            return self.reason
        return " or ".join(f"{act} by the {role}" for role, act in self.expected) or "nothing: it has ended"


@attrs.define(eq=False)
class Machine:
    protocol: Protocol
    timing: Timing = attrs.field(factory=Timing)
    main: str = START  # the state in the protocol's own table
    cancel: str = GOING_ON  # and in that of the cancel meta-protocol
    round: int = 0
    deadline: float = inf
    held: float = inf  # the deadline of the main protocol, while a cancel has one of its own
    messages: int = 0  # that moved it, or repeated what had
    repeated: int = 0
    out_of_sequence: int = 0
    last: Move | None = None  # what led into this state
    since: float = -inf  # when that was
    last_id: str = ""
    made: frozenset[Move] = frozenset()  # acts that were legal so far
    recovered: bool = False  # it was loaded, and nobody has gone on since
    cancel_reply_with: str = ""
    undelivered_from: str = ""  # the state before UNDELIVERED
    _ids: deque[str] = attrs.field(factory=lambda: deque(maxlen=IDS))

    @property
    def state(self) -> str:
        """What people are shown: CANCELLING hides the state that is remembered behind it."""
        if self.cancel == CANCELLING and not self.protocol.is_final(self.main):
            return CANCELLING
        return self.main

    @property
    def is_final(self) -> bool:
        return self.protocol.is_final(self.main)

    @property
    def owes(self) -> Role | None:
        """Who has to send the next message."""
        return Role.PARTICIPANT if self.state == CANCELLING else self.protocol.owes(self.main)

    @property
    def expected(self) -> tuple[Move, ...]:
        """What may be sent now; `not-understood`, which always may, is left out."""
        rows = list(self.protocol.table.get(self.main, {}))
        if not self.is_final and self.main != START:
            rows += [move for move in CANCEL.table[self.cancel] if move not in rows]
        return tuple(rows)

    def role_of(self, act: Performative) -> Role:
        """Whose act it is when the two are the same agent: of who may make it now, else of who made it last."""
        for role in Role:
            if (role, act) in self.protocol.rows(self.main) or (role, act) in CANCEL.table[self.cancel]:
                return role
        if self.last is not None and self.last[1] is act:
            return self.last[0]
        for role in Role:
            if (self.main, role, act) in self.protocol.overtaken:
                return role
        return self.owes or Role.INITIATOR

    def step(
        self,
        role: Role,
        act: Performative,
        *,
        now: float,
        message_id: str = "",
        reply_with: str = "",
        in_reply_to: str = "",
        deadline: float | None = None,
    ) -> Step:
        """A message was accepted. *deadline*: its reply_by, on the clock of *now*."""
        before = self.state
        if self.main == UNDELIVERED and message_id and message_id == self.last_id:
            return self._sent_again(before, (role, act), now, deadline)
        if message_id and message_id in self._ids:
            return self._repeat(before)
        if act is Performative.CANCEL and role is Role.INITIATOR and self.main != START:
            return self._cancelled(before, now, message_id, reply_with, deadline)
        if self.cancel == CANCELLING and self._answers_cancel(role, act, in_reply_to):
            return self._cancel_answered(before, act, now, message_id)
        move = (role, act)
        after = self.protocol.rows(self.main).get(move)
        if after is None:
            return self._illegal(before, move, message_id)
        if (self.main, role, act) in self.protocol.rounds:
            if self.protocol.bounded and self.round >= self.timing.max_rounds:
                self.out_of_sequence += 1
                return Step(
                    Kind.OUT_OF_SEQUENCE, before, before, reason=f"no further round: {self.timing.max_rounds} at most"
                )
            self.round += 1
        elif self.main == START:
            self.round = 1
        self._move(after, move, now, message_id)
        self.held = self._deadline(role, now, deadline)
        if self.cancel != CANCELLING or self.is_final:
            self.deadline = self.held
        return Step(Kind.MOVED, before, self.state)

    def tick(self, now: float) -> str | None:
        """The state that the session goes to at its deadline, when that has come."""
        if self.deadline > now:
            return None
        self.deadline = inf
        if self.is_final:
            return None
        self.main = TIMED_OUT if self.cancel == CANCELLING else self.protocol.expiry.get(self.main, TIMED_OUT)
        self.cancel = GOING_ON
        self.last, self.since, self.held = None, now, inf
        return self.main

    def next_deadline(self) -> float:
        """When to tick; never: inf."""
        return self.deadline

    def undelivered(self, message_id: str, now: float) -> bool:
        """The platform could not deliver the message; it ends the session when nothing was said after it."""
        if self.is_final or not message_id or message_id != self.last_id:
            return False
        self.undelivered_from = self.main
        self._end(UNDELIVERED, now)
        return True

    def abandon(self, now: float) -> bool:
        if self.is_final:
            return False
        self._end(ABANDONED, now)
        return True

    def complete(self, now: float) -> bool:
        """What it lasted for has ended."""
        if self.main not in self.protocol.lasting or "DONE" not in self.protocol.table:
            return False
        self._end("DONE", now)
        return True

    # -- how --

    def _end(self, state: str, now: float) -> None:
        self.main, self.cancel = state, GOING_ON
        self.last, self.since, self.deadline, self.held = None, now, inf, inf

    def _sent_again(self, before: str, move: Move, now: float, deadline: float | None) -> Step:
        """The dead letter has another chance, and the session with it."""
        self.main, self.last, self.since = self.undelivered_from, move, now
        self.messages += 1
        self.deadline = self.held = self._deadline(move[0], now, deadline)
        return Step(Kind.MOVED, before, self.state)

    def _move(self, after: str, move: Move, now: float, message_id: str) -> None:
        self.main = after
        self.last, self.since = move, now
        self.last_id = message_id
        self.made |= {move}
        self.recovered = False
        self.messages += 1
        self._remember(message_id)

    def _remember(self, message_id: str) -> None:
        if message_id:
            self._ids.append(message_id)

    def _repeat(self, before: str) -> Step:
        self.messages += 1
        self.repeated += 1
        return Step(Kind.REPEATED, before, self.state)

    def _illegal(self, before: str, move: Move, message_id: str) -> Step:
        """No row. What at-least-once delivery explains is a repetition, the rest is out of sequence."""
        if (
            move == self.last
            or (self.recovered and move in self.made)
            or ((self.main, *move) in self.protocol.overtaken and move not in self.made)
        ):
            self._remember(message_id)
            return self._repeat(before)
        role, act = move
        if role is Role.PARTICIPANT and (answer := self.protocol.late.get((self.main, act))) is not None:
            self.out_of_sequence += 1
            return Step(Kind.LATE, before, before, expected=self.expected, answer=answer)
        self.out_of_sequence += 1
        return Step(Kind.OUT_OF_SEQUENCE, before, before, expected=self.expected)

    def _deadline(self, role: Role, now: float, deadline: float | None) -> float:
        owes = self.protocol.owes(self.main)
        if owes is None or owes is role:
            return inf
        if deadline is not None:
            return deadline
        if self.main in self.protocol.awaited and self.timing.first_answer:
            return now + self.timing.first_answer
        return inf

    def _cancelled(self, before: str, now: float, message_id: str, reply_with: str, deadline: float | None) -> Step:
        """The initiator cancels."""
        if self.is_final or self.cancel == CANCELLING:
            if self.cancel != CANCELLING and self.main != CANCELLED:
                # it crossed the last word; its answer is still legal
                self.cancel, self.cancel_reply_with = CANCELLING, reply_with
            self._remember(message_id)
            return self._repeat(before)
        self.cancel, self.cancel_reply_with = CANCELLING, reply_with
        self._move(self.main, (Role.INITIATOR, Performative.CANCEL), now, message_id)
        first = now + self.timing.first_answer if self.timing.first_answer else inf
        self.deadline = deadline if deadline is not None else first
        return Step(Kind.MOVED, before, self.state)

    def _answers_cancel(self, role: Role, act: Performative, in_reply_to: str) -> bool:
        if (role, act) not in CANCEL.table[CANCELLING]:
            return False
        return not in_reply_to or in_reply_to == self.cancel_reply_with

    def _cancel_answered(self, before: str, act: Performative, now: float, message_id: str) -> Step:
        if self.is_final:
            self.cancel = GOING_ON
            self._remember(message_id)
            return self._repeat(before)
        self.cancel = GOING_ON
        after = CANCELLED if act is Performative.INFORM else self.main
        self._move(after, (Role.PARTICIPANT, act), now, message_id)
        self.deadline = inf if self.is_final else self.held
        return Step(Kind.MOVED, before, self.state)
