"""A conversation as people and programs see it, and the row that it is kept as.

The tracker (_fast/conversation.pyx) writes a row for the store and for whoever looks: one format, so that what is shown
is what is kept.

Rule 1: a row names protocols and states by their names, not by numbers: it outlives changes of the tables.
Rule 2: any bytes give a conversation, or one InvalidMessage.
Rule 3: numbers are little-endian, a text is its length in two bytes and its UTF-8.
"""

import struct
from typing import Any, Literal

import msgspec

from caxton.core.errors import InvalidMessage
from caxton.core.performatives import ACTS_BY_CODE
from caxton.core.protocols import CANCEL, Role, find
from caxton.core.protocols.protocol import CANCELLING, START, Protocol

VERSION = 1
LATEST_US = 1 << 52  # microseconds since the epoch: the year 2112
ROLES = (None, Role.INITIATOR, Role.PARTICIPANT)
KINDS = ("out-of-sequence", "late", "round", "unopened")  # VIOLATION_* of conversation.pxd


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    role: Role
    performative: str


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """An act that changed nothing, and was not a repetition."""

    at: float  # seconds since the epoch
    kind: Literal["out-of-sequence", "late", "round", "unopened"]
    role: Role | None
    performative: str
    state: str  # that it met
    sender: str
    receiver: str
    message_id: str
    expected: tuple[Expected, ...] = ()


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What is between the initiator and one peer."""

    protocol: str
    initiator: str
    participant: str
    state: str
    is_final: bool
    owes: str  # who has to send the next message; empty: nobody
    owing_role: Role | None
    expected: tuple[Expected, ...]  # what may be sent now
    since: float  # of this state
    deadline: float | None
    round: int
    messages: int
    repeated: int
    out_of_sequence: int
    last: Expected | None  # the act that led into this state

    @property
    def told(self) -> str:
        """Who has not done what, in words; empty when nobody has to."""
        if not self.owes:
            return ""
        acts = ", ".join(
            sorted({expected.performative for expected in self.expected if expected.role == self.owing_role})
        )
        return f"{self.owing_role} {self.owes} owes {acts}"

    def overdue(self, now: float) -> float:
        """Seconds past the deadline; 0: not yet, or there is none."""
        return max(0.0, now - self.deadline) if self.deadline is not None and not self.is_final else 0.0


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    number: int  # grows with each conversation that begins: the cursor of lists
    protocol: str  # of the first session
    initiator: str  # of the first session
    is_open: bool
    started_at: float
    active_at: float
    messages: int
    repeated: int
    out_of_sequence: int
    parent: str  # the conversation that this one is a branch of; empty: none
    participants: int
    sessions: tuple[Session, ...]
    states: dict[str, int]  # how many sessions stand in each
    violations: tuple[Violation, ...]  # the newest ones


class ConversationPage(msgspec.Struct, frozen=True, kw_only=True):
    conversations: tuple[Conversation, ...]  # newest first
    cursor: int  # `before` of the next page; 0: this was the last


class ConversationEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What the tracker tells: conversation.out_of_sequence, .late, .timed_out, .ended, .limit, .shape, .loop."""

    type: str
    at: float
    conversation_id: str
    protocol: str
    sender: str  # of an act: who sent it; else the initiator
    receiver: str  # of an act: who got it; else the participant
    performative: str = ""
    message_id: str = ""
    state: str = ""  # before
    after: str = ""
    told: str = ""  # what was expected, or what happened, in words
    completes: str = ""  # the conversation of which the last open branch has ended with this


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is kept, for the tracker."""

    protocol: str
    main: str
    cancelling: bool
    last_role: int
    last_act: int
    round: int
    since_us: int
    deadline_us: int  # 0: none
    held_us: int
    messages: int
    repeated: int
    illegal: int
    made: tuple[int, int]
    ids: tuple[int, int, int, int]
    ids_at: int
    last_id: int
    cancel_reply: int
    reply_to: bool
    initiator: str
    participant: str


class ViolationRow(msgspec.Struct, frozen=True, kw_only=True):
    at_us: int
    kind: int
    role: int
    act: int
    message_id: bytes
    protocol: str
    state: str
    sender: str
    receiver: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    parent: str
    number: int
    started_us: int
    active_us: int
    messages: int
    repeated: int
    illegal: int
    sessions: tuple[SessionRow, ...]
    violations: tuple[ViolationRow, ...]


class _Reader:
    """Takes a row apart; struct.error and IndexError are the caller's."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    # Any: struct gives what the format says
    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return values

    def check(self, *times: int) -> None:
        for time in times:
            if not 0 <= time <= LATEST_US:
                raise IndexError(f"{time} is no time")

    def text(self) -> str:
        (length,) = self.take("H")
        piece = self._data[self._at : self._at + length]
        if len(piece) != length:
            raise IndexError("the row is cut")
        self._at += length
        return piece.decode()

    def end(self) -> None:
        if self._at != len(self._data):
            raise IndexError("there is more behind the row")


HEAD = "QqqQII"  # number, started, active, messages, repeated, illegal
SESSION = "BBBIqqqIIIIIQQQQBQQB"
VIOLATION = "qBBB16s"


def decode_row(data: bytes) -> Row:
    """The row; InvalidMessage when it is none."""
    reader = _Reader(data)
    try:
        (version,) = reader.take("B")
        if version != VERSION:
            raise InvalidMessage(f"a conversation's row of version {version}; this Caxton knows {VERSION}")
        number, started, active, messages, repeated, illegal = reader.take(HEAD)
        reader.check(started, active)
        id, parent = reader.text(), reader.text()
        (count,) = reader.take("I")
        sessions = tuple(_session(reader) for _ in range(count))
        (count,) = reader.take("I")
        violations = tuple(_violation(reader) for _ in range(count))
        reader.end()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise InvalidMessage(f"not a conversation's row: {error}") from None
    return Row(
        id=id,
        parent=parent,
        number=number,
        started_us=started,
        active_us=active,
        messages=messages,
        repeated=repeated,
        illegal=illegal,
        sessions=sessions,
        violations=violations,
    )


def _session(reader: _Reader) -> SessionRow:
    protocol, main = reader.text(), reader.text()
    cancelling, last_role, last_act, round, since, deadline, held, *rest = reader.take(SESSION)
    reader.check(since, deadline, held)
    messages, repeated, illegal, made_0, made_1, id_0, id_1, id_2, id_3, ids_at, last_id, cancel_reply, reply_to = rest
    return SessionRow(
        protocol=protocol,
        main=main,
        cancelling=bool(cancelling),
        last_role=last_role,
        last_act=last_act,
        round=round,
        since_us=since,
        deadline_us=deadline,
        held_us=held,
        messages=messages,
        repeated=repeated,
        illegal=illegal,
        made=(made_0, made_1),
        ids=(id_0, id_1, id_2, id_3),
        ids_at=ids_at,
        last_id=last_id,
        cancel_reply=cancel_reply,
        reply_to=bool(reply_to),
        initiator=reader.text(),
        participant=reader.text(),
    )


def _violation(reader: _Reader) -> ViolationRow:
    at, kind, role, act, message_id = reader.take(VIOLATION)
    reader.check(at)
    return ViolationRow(
        at_us=at,
        kind=kind,
        role=role,
        act=act,
        message_id=message_id,
        protocol=reader.text(),
        state=reader.text(),
        sender=reader.text(),
        receiver=reader.text(),
    )


# -- as people see it --


def expected_in(protocol: Protocol, state: str, cancelling: bool) -> tuple[Expected, ...]:
    """What may be sent, `not-understood` left out."""
    rows = dict(protocol.table.get(state, {}))
    if rows and state != START:
        rows.update(CANCEL.table[CANCELLING if cancelling else "GOING_ON"])
    return tuple(Expected(role=role, performative=act.value) for role, act in rows)


def _act(code: int) -> str:
    act = ACTS_BY_CODE.get(code)
    return act.value if act is not None else ""


def _seen_session(row: SessionRow) -> Session:
    protocol = find(row.protocol)
    is_final = protocol is None or protocol.is_final(row.main)
    cancelling = row.cancelling and not is_final
    owing = None
    if protocol is not None and not is_final:
        owing = Role.PARTICIPANT if cancelling else protocol.owes(row.main)
    owes = "" if owing is None else row.initiator if owing is Role.INITIATOR else row.participant
    role = ROLES[row.last_role] if row.last_role < len(ROLES) else None
    return Session(
        protocol=row.protocol,
        initiator=row.initiator,
        participant=row.participant,
        state=CANCELLING if cancelling else row.main,
        is_final=is_final,
        owes=owes,
        owing_role=owing,
        expected=expected_in(protocol, row.main, cancelling) if protocol is not None else (),
        since=row.since_us / 1e6,
        deadline=row.deadline_us / 1e6 if row.deadline_us else None,
        round=row.round,
        messages=row.messages,
        repeated=row.repeated,
        out_of_sequence=row.illegal,
        last=Expected(role=role, performative=_act(row.last_act)) if role is not None else None,
    )


def _seen_violation(row: ViolationRow) -> Violation:
    protocol = find(row.protocol)
    kind: Any = KINDS[row.kind] if row.kind < len(KINDS) else KINDS[0]  # Any: one of the literals
    return Violation(
        at=row.at_us / 1e6,
        kind=kind,
        role=ROLES[row.role] if row.role < len(ROLES) else None,
        performative=_act(row.act),
        state=row.state,
        sender=row.sender,
        receiver=row.receiver,
        message_id=format_id(row.message_id),
        expected=expected_in(protocol, row.state, False) if protocol is not None else (),
    )


def format_id(raw: bytes) -> str:
    """Sixteen bytes as a UUID is written; nothing when there is none."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}" if any(raw) else ""


def seen(row: Row) -> Conversation:
    """The row, for people."""
    sessions = tuple(_seen_session(session) for session in row.sessions)
    states: dict[str, int] = {}
    for session in sessions:
        states[session.state] = states.get(session.state, 0) + 1
    return Conversation(
        id=row.id,
        number=row.number,
        protocol=sessions[0].protocol if sessions else "",
        initiator=sessions[0].initiator if sessions else "",
        is_open=any(not session.is_final for session in sessions),
        started_at=row.started_us / 1e6,
        active_at=row.active_us / 1e6,
        messages=row.messages,
        repeated=row.repeated,
        out_of_sequence=row.illegal,
        parent=row.parent,
        participants=len(sessions),
        sessions=sessions,
        states=states,
        violations=tuple(_seen_violation(violation) for violation in row.violations),
    )


class TrackerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since the start; `open` and `ended` are what is held now."""

    open: int
    ended: int
    sessions: int
    steps: int  # messages that belonged to a conversation
    moved: int
    repeated: int
    out_of_sequence: int
    late: int
    timed_out: int  # sessions that a deadline moved, NO_BID included
    abandoned: int
    untracked: int  # messages beyond a limit: delivered, and not followed
    events_lost: int  # events that were not told, for nobody had read those before
    endings: dict[str, dict[str, int]]  # protocol -> state -> sessions that ended there
