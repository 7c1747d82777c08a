"""The conversation tracker, readable: the machine of core/protocols for each session, and dictionaries around it.

The specification of caxton/_fast/conversation.pyx. Not here: what people are told, rows, and what is forgotten.
"""

from math import inf

import attrs

from caxton.core.performatives import Performative
from caxton.core.protocols import Kind, Machine, Role, Timing, find

CODES = {Kind.MOVED: 0, Kind.REPEATED: 1, Kind.OUT_OF_SEQUENCE: 2, Kind.LATE: 3}
ROUNDS, UNOPENED, UNTRACKED = 4, 5, 6


@attrs.frozen
class Message:
    conversation_id: str
    protocol: str
    performative: str
    sender: str
    receiver: str
    message_id: str = ""
    reply_with: str = ""
    in_reply_to: str = ""
    reply_to: bool = False
    reply_in: float | None = None  # seconds to its reply_by


@attrs.define(eq=False)
class Session:
    initiator: str
    participant: str
    machine: Machine
    reply_to: bool


@attrs.define(eq=False)
class Conversation:
    sessions: list[Session] = attrs.field(factory=list)
    messages: int = 0
    repeated: int = 0
    out_of_sequence: int = 0


@attrs.define(eq=False)
class Tracker:
    timing: Timing = attrs.field(factory=Timing)
    max_participants: int = 4096
    clock_skew: float = 0.0
    conversations: dict[str, Conversation] = attrs.field(factory=dict)

    def observe(self, message: Message, now: float, outside: bool = False) -> int:
        protocol = find(message.protocol)
        if protocol is None:
            return 0
        act = Performative(message.performative)
        conversation = self.conversations.get(message.conversation_id)
        session = self._session(conversation, message)
        if session is None:
            opens = act in protocol.opens_with
            if message.sender == "ams" and not opens:
                return 0
            if opens and (conversation is None or len(conversation.sessions) < self.max_participants):
                conversation = self.conversations.setdefault(message.conversation_id, Conversation())
                session = Session(message.sender, message.receiver, Machine(protocol, self.timing), message.reply_to)
                conversation.sessions.append(session)
            else:
                if conversation is not None:
                    conversation.messages += 1
                    conversation.out_of_sequence += 1
                return UNTRACKED if opens else UNOPENED
        assert conversation is not None
        machine = session.machine
        if session.initiator == session.participant == message.sender:
            role = machine.role_of(act)
        else:
            role = Role.INITIATOR if message.sender == session.initiator else Role.PARTICIPANT
        deadline = None
        if message.reply_in is not None:
            deadline = now + message.reply_in + (self.clock_skew if outside else 0.0)
        step = machine.step(
            role,
            act,
            now=now,
            message_id=message.message_id,
            reply_with=message.reply_with,
            in_reply_to=message.in_reply_to,
            deadline=deadline,
        )
        conversation.messages += 1
        conversation.repeated += step.kind is Kind.REPEATED
        conversation.out_of_sequence += step.kind in (Kind.OUT_OF_SEQUENCE, Kind.LATE)
        return ROUNDS if step.reason else CODES[step.kind]

    def _session(self, conversation: Conversation | None, message: Message) -> Session | None:
        if conversation is None:
            return None
        sessions = [s for s in conversation.sessions if s.machine.protocol is find(message.protocol)]
        pair = [message.sender, message.receiver]
        for session in sessions:
            if pair in ([session.initiator, session.participant], [session.participant, session.initiator]):
                return session
        for session in sessions:
            # told by reply_to to answer somebody else
            if session.reply_to and session.participant == message.sender:
                return session
        return None

    def tick(self, now: float) -> int:
        machines = [session.machine for c in self.conversations.values() for session in c.sessions]
        return sum(machine.tick(now) is not None for machine in machines)

    def next_deadline(self) -> float:
        return min((s.machine.deadline for c in self.conversations.values() for s in c.sessions), default=inf)

    def undelivered(self, message: Message, now: float) -> bool:
        conversation = self.conversations.get(message.conversation_id)
        for session in conversation.sessions if conversation is not None else ():
            pair = {session.initiator, session.participant}
            if session.machine.protocol is find(message.protocol) and pair == {message.sender, message.receiver}:
                return session.machine.undelivered(message.message_id, now)
        return False
