"""What `df` and `ams` are asked, from the content of a message.

    {"action": "search", "description": {...}, "constraints": {...}}

Source: FIPA00023, with JSON for the content language: ontology `fipa-agent-management`, protocol `fipa-request`.
"""

from collections.abc import Collection
from typing import Any

import attrs
import msgspec

from caxton.core.answer import Unanswered
from caxton.core.decoding import UNREADABLE

ONTOLOGY = "fipa-agent-management"
ARGUMENTS = ("action", "description", "constraints")


@attrs.frozen
class Mail:
    """One message, as far as the directory reads it."""

    performative: str
    sender: str
    message_id: str = ""
    content: bytes = b""
    conversation_id: str = ""
    protocol: str = ""
    ontology: str = ""
    language: str = ""
    reply_with: str = ""
    reply_to: tuple[str, ...] = ()


@attrs.frozen
class Asked:
    """One action and its arguments; what they mean is the action's."""

    action: str
    content: dict[str, Any]  # the whole, to be named in answers; Any: decoded JSON, here and below
    description: Any = None
    constraints: Any = None


def check_mail(mail: Mail, *, acts: Collection[str], protocols: Collection[str]) -> None:
    """Raise Unanswered (not-understood) for an act, language, ontology or protocol that is not the directory's."""
    if mail.performative not in acts:
        raise Unanswered(
            "unsupported-act",
            f"only {', '.join(acts)} are understood here, not {mail.performative}",
            act=mail.performative,
        )
    if mail.language and mail.language.lower() not in ("json", "application/json"):
        raise Unanswered(
            "unsupported-value", f"the language {mail.language!r} is not read here; json is", parameter="language"
        )
    if mail.ontology and mail.ontology.lower() != ONTOLOGY:
        raise Unanswered(
            "unrecognised-value", f"the ontology here is {ONTOLOGY}, not {mail.ontology!r}", parameter="ontology"
        )
    if mail.protocol and mail.protocol.lower() not in protocols:
        raise Unanswered(
            "unsupported-value",
            f"the protocols here are {', '.join(protocols)}, not {mail.protocol!r}",
            parameter="protocol",
        )


def read_request(content: bytes, actions: Collection[str]) -> Asked:
    """Raise Unanswered for what is no request, or for another action than these."""
    try:
        value = msgspec.json.decode(content) if content else None
    except UNREADABLE as error:
        raise Unanswered("unrecognised-value", f"the content is not JSON: {error}", parameter="content") from None
    if not isinstance(value, dict):
        raise Unanswered(
            "unrecognised-value", 'the content is an object: {"action": ..., "description": {...}}', parameter="content"
        )
    action = value.get("action")
    if action is None:
        raise Unanswered(
            "missing-argument",
            f"the content names no action; one of {', '.join(actions)}",
            action=value,
            argument="action",
        )
    if action not in actions:
        raise Unanswered(
            "unsupported-function", f"{action!r} is none of {', '.join(actions)}", action=value, function=action
        )
    for key in value:
        if key not in ARGUMENTS:
            raise Unanswered(
                "unexpected-argument", f"{key!r} is no argument; {', '.join(ARGUMENTS)} are", action=value, argument=key
            )
    return Asked(action, value, value.get("description"), value.get("constraints"))


def need_description(asked: Asked) -> Any:
    if asked.description is None:
        raise Unanswered(
            "missing-argument", f"{asked.action} needs a description", action=asked.content, argument="description"
        )
    return asked.description
