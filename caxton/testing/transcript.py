"""What was said, held against the tables of the protocols: states of conversations, and what a test covered."""

from collections.abc import Iterable

import attrs
import msgspec

from caxton._fast.envelope import Envelope
from caxton.core.performatives import Performative
from caxton.core.protocols import Kind, Machine, Protocol, Role, find
from caxton.core.protocols.protocol import START


@attrs.frozen(eq=False)
class Conversation:
    """One conversation as far as it has come: a session for each participant."""

    conversation_id: str
    protocol: Protocol | None  # None: it names none of FIPA's, and nothing is checked
    initiator: str
    sessions: dict[str, Machine]
    moves: tuple[tuple[str, Role, Performative], ...]  # legal ones: the state, and who said what
    out_of_sequence: tuple[str, ...]  # the others, in words

    def state(self, peer: str = "") -> str:
        """The state of the session with this participant; of the only one when none is named."""
        if not peer:
            if len(self.sessions) != 1:
                raise AssertionError(f"there are {len(self.sessions)} sessions, name one of {sorted(self.sessions)}")
            (peer,) = self.sessions
        if peer not in self.sessions:
            raise AssertionError(f"{peer!r} takes no part in {self.conversation_id!r}; {sorted(self.sessions)} do")
        return self.sessions[peer].state

    @property
    def states(self) -> dict[str, str]:
        return {peer: machine.state for peer, machine in self.sessions.items()}

    @property
    def is_final(self) -> bool:
        return all(machine.is_final for machine in self.sessions.values())


@attrs.frozen(eq=False)
class Coverage:
    """Which rows of a protocol's table have been seen."""

    protocol: Protocol
    covered: frozenset[tuple[str, Role, Performative]]

    @property
    def rows(self) -> frozenset[tuple[str, Role, Performative]]:
        return frozenset((state, *move) for state, rows in self.protocol.table.items() for move in rows)

    @property
    def missing(self) -> list[str]:
        """Rows that no conversation has used, in words."""
        return sorted(_words(self.protocol, row) for row in self.rows - self.covered)

    @property
    def acts(self) -> set[str]:
        return {act.value for _, _, act in self.covered}

    @property
    def states(self) -> set[str]:
        """States that a conversation came to."""
        table = self.protocol.table
        return {START} | {table[state][role, act] for state, role, act in self.covered & self.rows}

    @property
    def ratio(self) -> float:
        return len(self.covered & self.rows) / len(self.rows)

    def __str__(self) -> str:
        seen = [_words(self.protocol, row) for row in self.covered & self.rows]
        lines = [f"{self.protocol.name}: {self.ratio:.0%}", *(f"  + {each}" for each in sorted(seen))]
        return "\n".join([*lines, *(f"  - {each}" for each in self.missing)])


def _words(protocol: Protocol, row: tuple[str, Role, Performative]) -> str:
    state, role, act = row
    return f"{state}: {role} {act} → {protocol.table[state][role, act]}"


def replay(conversation_id: str, messages: Iterable[tuple[float, Envelope]], now: float) -> Conversation:
    """The conversation from its messages with their times, oldest first."""
    protocol: Protocol | None = None
    initiator = ""
    sessions: dict[str, Machine] = {}
    moves: list[tuple[str, Role, Performative]] = []
    wrong: list[str] = []
    for at, message in messages:
        protocol = protocol or find(message.protocol or "")
        initiator = initiator or (message.sender or "")
        if protocol is None:
            continue
        for machine in sessions.values():
            machine.tick(at)
        if message.sender == "ams" and message.performative == "failure":
            lost = _lost(message)
            for machine in sessions.values():
                machine.undelivered(lost, at)
            continue
        peers = message.receivers if message.sender == initiator else [message.sender or ""]
        for peer in peers:
            machine = sessions.setdefault(peer, Machine(protocol))
            act = Performative(message.performative or "")
            role = Role.INITIATOR if message.sender == initiator else Role.PARTICIPANT
            if peer == initiator:
                role = machine.role_of(act)
            before = machine.main
            step = machine.step(
                role,
                act,
                now=at,
                message_id=message.message_id or "",
                reply_with=message.reply_with or "",
                in_reply_to=message.in_reply_to or "",
                deadline=message.reply_by_us / 1e6 if message.reply_by_us else None,
            )
            if step.kind is Kind.MOVED:
                moves.append((before, role, act))
            elif step.kind is not Kind.REPEATED:
                wrong.append(f"{message.sender} said {act} in {step.before}; expected {step.told}")
    for machine in sessions.values():
        machine.tick(now)
    return Conversation(conversation_id, protocol, initiator, sessions, tuple(moves), tuple(wrong))


class _Action(msgspec.Struct):
    message_id: str = ""


class _Failure(msgspec.Struct):
    action: _Action = msgspec.field(default_factory=_Action)


def _lost(message: Envelope) -> str:
    """Which message the platform could not deliver."""
    try:
        return msgspec.json.decode(message.content or b"{}", type=_Failure).action.message_id
    except msgspec.DecodeError:
        return ""
