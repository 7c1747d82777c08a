"""Participants that a machine can be played against, message by message, without time and without a net."""

import json
from typing import Any

from caxton.core.negotiation import Machine, decode_machine, encode_machine
from caxton.core.negotiation.messages import Heard, Said


def answer(said: Said, act: str, content: Any = None, **fields: Any) -> Heard:
    """What the one who was told this answers. Any: JSON."""
    return Heard(
        **{
            "performative": act,
            "sender": said.to,
            "conversation_id": said.conversation_id,
            "in_reply_to": said.reply_with,
            "reply_with": f"of-{said.to}",
            "content": content if isinstance(content, bytes) else json.dumps(content).encode(),
            **fields,
        }
    )


def acts(said: list[Said]) -> list[tuple[str, str]]:
    return [(one.to, one.performative) for one in said]


def content(said: Said) -> Any:
    return json.loads(bytes(said.content))


def to(said: list[Said], name: str) -> Said:
    """The last message for *name*."""
    return [one for one in said if one.to == name][-1]


def read_back(machine: Machine) -> None:
    """What is written down and read back is the same."""
    assert decode_machine(encode_machine(machine)) == machine
