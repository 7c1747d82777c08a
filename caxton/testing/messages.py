"""Messages as tests read and write them."""

from typing import Any

import attrs

from caxton._fast.envelope import Envelope


# Any: JSON, here and below
@attrs.frozen(eq=False)
class Say:
    """One message to be sent: its fields as in docs/api.md, without the sender."""

    fields: dict[str, Any]


@attrs.frozen(eq=False)
class Message:
    """One message that was received."""

    performative: str
    sender: str
    receiver: str | list[str]
    content: Any
    conversation_id: str
    protocol: str
    reply_with: str
    in_reply_to: str
    ontology: str
    language: str
    message_id: str
    fields: dict[str, Any] = attrs.field(repr=False)  # all of it

    @classmethod
    def of(cls, envelope: Envelope) -> "Message":
        fields = envelope.as_dict()
        names = [field.name for field in attrs.fields(cls)][:-1]
        return cls(
            **{name: fields.get(name) or "" for name in names} | {"content": fields.get("content")}, fields=fields
        )

    def reply(self, performative: str, content: Any = None, **fields: Any) -> Say:
        """An answer by FIPA's rules: to reply_to or the sender, in the conversation, in_reply_to its reply_with."""
        said = {
            "performative": performative,
            "receiver": self.fields.get("reply_to") or self.sender,
            "content": content,
            "conversation_id": self.conversation_id,
            "protocol": self.protocol,
            "in_reply_to": self.reply_with,
            "ontology": self.ontology,
            "language": self.language,
            **fields,
        }
        return Say({key: value for key, value in said.items() if value not in (None, "")})

    def __str__(self) -> str:
        about = f" in {self.conversation_id}" if self.conversation_id else ""
        return f"{self.performative} from {self.sender}{about}: {self.content!r}"
