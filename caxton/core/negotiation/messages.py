"""What a negotiation hears and says, and what contract nets and auctions share.

Rule 1: an act that the state does not expect changes nothing and is noted; no message of a participant raises.
Rule 2: who speaks is who the platform says it is. A message counts only for its sender, whatever it claims to answer.
Rule 3: everything said goes through `outbox`, numbered: its ids follow from the negotiation's id and that number. So
        a machine that is read back after a crash says the same again, and what arrived already is a duplicate.
Rule 4: times are seconds since the epoch, for they are written down and compared after a restart.
"""

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from math import inf
from typing import Any

import msgspec

from caxton.core.decoding import UNREADABLE
from caxton.core.performatives import Performative

PLATFORM = "ams"  # says `failure` for who could not be reached
NOTES = 100  # that are kept, the first ones; the rest is counted
TEXT = 300  # bytes of what somebody said that a note or a reason keeps

NULL = msgspec.Raw(b"null")

ENCODE = msgspec.json.Encoder().encode


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A message that arrived. `content` is JSON, and anything at all may stand there."""

    performative: str
    sender: str
    conversation_id: str = ""
    in_reply_to: str = ""
    reply_with: str = ""
    reply_by: float = 0.0
    content: bytes = b"null"
    at: float = 0.0  # when the platform accepted it, where that is earlier than now
    again: bool = False  # it was delivered before; whether it was heard is not known

    @property
    def act(self) -> Performative | None:
        """None: no act that there is."""
        try:
            return Performative(self.performative)
        except ValueError:
            return None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A message to send."""

    performative: str
    to: str
    conversation_id: str
    protocol: str
    content: msgspec.Raw
    message_id: str
    reply_with: str = ""
    in_reply_to: str = ""
    reply_by: float = 0.0
    parent: str = ""  # the conversation that this one is a branch of

    def to_json(self, sender: str, ontology: str) -> bytes:
        fields: dict[str, Any] = {
            "performative": self.performative,
            "sender": sender,
            "receiver": self.to,
            "content": self.content,
            "language": "json",
            "ontology": ontology,
            "message_id": self.message_id,
        }
        if self.conversation_id:
            fields["conversation_id"] = self.conversation_id
            if self.protocol:
                fields["protocol"] = self.protocol
        if self.reply_with:
            fields["reply_with"] = self.reply_with
        if self.in_reply_to:
            fields["in_reply_to"] = self.in_reply_to
        if self.reply_by:
            fields["reply_by"] = rfc3339(self.reply_by)
        if self.parent:
            fields["params"] = {"parent_conversation": self.parent}
        return ENCODE(fields)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something out of the order, or worth knowing."""

    at: float
    who: str
    what: str


class Status(StrEnum):
    """Of a negotiation."""

    CREATED = "created"  # nothing was said yet
    CALLING = "calling"  # proposals are awaited
    IN_PROGRESS = "in_progress"  # awarded, and the result is awaited
    COMPLETED = "completed"
    PARTIAL = "partial"  # over, with fewer results than were wanted
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({Status.COMPLETED, Status.PARTIAL, Status.FAILED, Status.CANCELLED})


class Negotiation(msgspec.Struct, kw_only=True):
    """What contract nets and auctions share."""

    id: str  # of the first conversation too
    action: msgspec.Raw  # what is to be done, or sold: JSON
    participants: list[str]
    parent: str = ""  # the conversation in which it was asked for
    status: Status = Status.CREATED
    reason: str = ""  # why it ended as it did
    started_at: float = 0.0
    ended_at: float = 0.0
    said: int = 0  # messages
    outbox: list[Said] = []
    notes: list[Note] = []
    notes_left_out: int = 0

    @property
    def is_over(self) -> bool:
        return self.status.is_final

    def say(
        self,
        act: Performative,
        to: str,
        # Any: JSON
        content: dict[str, Any],
        *,
        conversation: str,
        protocol: str,
        in_reply_to: str = "",
        reply_by: float = 0.0,
        expects: bool = True,
    ) -> str:
        """Put a message into the outbox; its reply_with, when an answer is expected."""
        self.said += 1
        reply_with = f"{self.id}.{self.said}" if expects else ""
        self.outbox.append(
            Said(
                performative=act,
                to=to,
                conversation_id=conversation,
                protocol=protocol,
                content=msgspec.Raw(ENCODE(content)),
                message_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.id}.{self.said}")),
                reply_with=reply_with,
                in_reply_to=in_reply_to,
                reply_by=reply_by,
                parent=self.parent if conversation == self.id else self.id if conversation.startswith(self.id) else "",
            )
        )
        return reply_with

    def note(self, now: float, who: str, what: str) -> None:
        if len(self.notes) < NOTES:
            self.notes.append(Note(at=now, who=who[:TEXT], what=what))
        else:
            self.notes_left_out += 1

    def take_outbox(self) -> list[Said]:
        """What is to be sent; the caller has written the machine down first."""
        outbox, self.outbox = self.outbox, []
        return outbox

    def end(self, status: Status, reason: str, now: float) -> None:
        self.status, self.reason, self.ended_at = status, reason, now

    def next_deadline(self) -> float:
        """When tick() has something to do; infinity: never."""
        return inf


def rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shown(content: bytes) -> str:
    """What somebody said, short enough to be kept."""
    text = content[: TEXT + 1].decode(errors="replace")
    return text if len(text) <= TEXT else f"{text[: TEXT - 1]}…"


# Any: JSON, or None for what is none
def read_json(content: bytes) -> Any:
    """The content; a JSON string that holds JSON is what it holds."""
    try:
        value = msgspec.json.decode(content)
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            value = msgspec.json.decode(value)
    except UNREADABLE:
        return None
    return value


def keep_json(content: bytes) -> msgspec.Raw:
    """The content as it is; what is no JSON, as a string."""
    try:
        msgspec.json.decode(content)
    except UNREADABLE:
        return msgspec.Raw(ENCODE(content.decode(errors="replace")))
    return msgspec.Raw(bytes(content))


def why(content: bytes, default: str = "no reason given") -> str:
    """The reason in a refuse, failure or not-understood, for people."""
    value = read_json(content)
    if isinstance(value, dict):
        for name in ("reason", "error", "details"):
            found = value.get(name)
            if isinstance(found, dict) and isinstance(found.get("mts_error"), str):
                return shown(str(found["mts_error"]).encode())
            if found is not None:
                return shown(found.encode(errors="replace") if isinstance(found, str) else ENCODE(found))
        return default
    if isinstance(value, str) and value:
        return shown(value.encode(errors="replace"))
    return default if value is None else shown(content)
