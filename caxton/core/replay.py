"""A conversation that nobody holds any more, made again from its messages by the machines of core/protocols.

Rule 1: the same messages lead to the same states as they did when they were followed; what time did is done between
        them, by the times at which they were accepted.
Rule 2: what the messages do not tell is not known: who was not delivered to, and who an address like `capability:x`
        stood for until it answered.
"""

from collections.abc import Iterable
from math import inf

import attrs

from caxton.core.conversations import Conversation, Expected, Session, Violation, expected_in
from caxton.core.performatives import Performative
from caxton.core.protocols import Kind, Machine, Role, Step, find
from caxton.core.protocols.protocol import CANCELLING, START


@attrs.frozen
class Spoken:
    """One accepted message. Times are seconds since the epoch."""

    at: float
    performative: str
    protocol: str
    sender: str
    receivers: tuple[str, ...]
    message_id: str = ""
    reply_with: str = ""
    in_reply_to: str = ""
    reply_by: float = 0.0
    reply_to: bool = False


@attrs.define(eq=False)
class _Session:
    initiator: str
    participant: str
    machine: Machine
    opened_with: str  # reply_with of its first message
    reply_to: bool


def replay(conversation_id: str, messages: Iterable[Spoken], now: float) -> Conversation | None:
    """How it stands; None: none of the messages belongs to a protocol of FIPA's."""
    sessions: list[_Session] = []
    violations: list[Violation] = []
    times: list[float] = []
    steps: list[Step] = []
    for message in messages:
        for session in sessions:
            session.machine.tick(message.at)
        for receiver in message.receivers:
            session_of = _find(sessions, message, receiver)
            if session_of is None:
                session_of = _open(message, receiver)
                if session_of is None:
                    continue
                sessions.append(session_of)
            before = session_of.machine.main
            step = _step(session_of, message)
            steps.append(step)
            if step.kind in (Kind.OUT_OF_SEQUENCE, Kind.LATE):
                violations.append(_violation(session_of, message, receiver, step, before))
        times.append(message.at)
    if not sessions:
        return None
    for session in sessions:
        session.machine.tick(now)
    seen = tuple(_seen(session) for session in sessions)
    states: dict[str, int] = {}
    for one in seen:
        states[one.state] = states.get(one.state, 0) + 1
    return Conversation(
        id=conversation_id,
        number=0,
        protocol=seen[0].protocol,
        initiator=seen[0].initiator,
        is_open=any(not one.is_final for one in seen),
        started_at=times[0],
        active_at=times[-1],
        messages=len(steps),
        repeated=sum(step.kind is Kind.REPEATED for step in steps),
        out_of_sequence=len(violations),
        parent="",
        participants=len(seen),
        sessions=seen,
        states=states,
        violations=tuple(violations[-32:]),
    )


def _find(sessions: Iterable[_Session], message: Spoken, receiver: str) -> _Session | None:
    protocol = find(message.protocol)
    candidates = [session for session in sessions if session.machine.protocol is protocol]
    pair = {message.sender, receiver}
    for session in candidates:
        if {session.initiator, session.participant} == pair:
            return session
    for session in candidates:
        if session.reply_to and session.participant == message.sender:
            return session
    for session in candidates:  # an address that stood for somebody, who shows now who it is
        answers = message.in_reply_to and message.in_reply_to == session.opened_with
        if ":" in session.participant and session.initiator == receiver and answers:
            session.participant = message.sender
            return session
    return None


def _open(message: Spoken, receiver: str) -> _Session | None:
    protocol = find(message.protocol)
    if protocol is None or message.performative not in protocol.opens_with:
        return None
    return _Session(message.sender, receiver, Machine(protocol), message.reply_with, message.reply_to)


def _step(session: _Session, message: Spoken) -> Step:
    act = Performative(message.performative)
    if session.initiator == session.participant:
        role = session.machine.role_of(act)
    else:
        role = Role.INITIATOR if message.sender == session.initiator else Role.PARTICIPANT
    return session.machine.step(
        role,
        act,
        now=message.at,
        message_id=message.message_id,
        reply_with=message.reply_with,
        in_reply_to=message.in_reply_to,
        deadline=message.reply_by or None,
    )


def _violation(session: _Session, message: Spoken, receiver: str, step: Step, before: str) -> Violation:
    protocol = session.machine.protocol
    return Violation(
        at=message.at,
        kind="round" if step.reason else "late" if step.kind is Kind.LATE else "out-of-sequence",
        role=Role.INITIATOR if message.sender == session.initiator else Role.PARTICIPANT,
        performative=message.performative,
        state=before,
        sender=message.sender,
        receiver=receiver,
        message_id=message.message_id,
        expected=expected_in(protocol, before, cancelling=step.before == CANCELLING),
    )


def _seen(session: _Session) -> Session:
    machine = session.machine
    owing = None if machine.is_final else machine.owes
    owes = "" if owing is None else session.initiator if owing is Role.INITIATOR else session.participant
    last = machine.last
    return Session(
        protocol=machine.protocol.name,
        initiator=session.initiator,
        participant=session.participant,
        state=machine.state,
        is_final=machine.is_final,
        owes=owes,
        owing_role=owing,
        expected=expected_in(machine.protocol, machine.main, cancelling=machine.state == CANCELLING)
        if machine.main != START
        else (),
        since=machine.since,
        deadline=machine.deadline if machine.deadline != inf else None,
        round=machine.round,
        messages=machine.messages,
        repeated=machine.repeated,
        out_of_sequence=machine.out_of_sequence,
        last=Expected(role=last[0], performative=last[1].value) if last is not None else None,
    )


# -- in words --

NAMES = {"cfp": "CFP"}


def waiting(session: Session, now: float) -> str:
    """Whom a session waits for, in words: `participant pricing has not answered the CFP, 4.1 s past reply_by`."""
    if not session.owes or session.owing_role is None:
        return ""
    last = session.last
    who = f"{session.owing_role} {session.owes}"
    if last is not None and last.role is not session.owing_role:
        what = f"has not answered the {NAMES.get(last.performative, last.performative)}"
    else:  # the same one goes on: it agreed, and owes the result
        acts = [each.performative for each in session.expected if each.role == session.owing_role]
        after = f" after its {last.performative}" if last is not None else ""
        what = f"has not sent {' or '.join(acts) or 'anything'}{after}"
    if (overdue := session.overdue(now)) > 0:
        return f"{who} {what}, {overdue:.1f} s past reply_by"
    if session.deadline is not None:
        return f"{who} {what}, {session.deadline - now:.1f} s before reply_by"
    return f"{who} {what} for {max(0.0, now - session.since):.1f} s"
