"""A message as the agent sees it, and the answers it gives."""

import json
from itertools import count
from types import CoroutineType
from typing import Any


def _refuse(value: Any) -> Any:
    hint = "; was it awaited?" if isinstance(value, CoroutineType) else ""
    raise TypeError(f"{type(value).__name__} is no JSON{hint}")


encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_refuse).encode
decode = json.JSONDecoder().decode
numbers = count(1)


class Reply:
    """An answer: what `handle` returns, or what `ctx.send` sends later. The host fills in what it does not say."""

    __slots__ = ("fields",)

    def __init__(self, performative: str, content: Any = None, **fields: Any) -> None:
        self.fields = {"performative": performative, "content": content, **fields}

    def text(self) -> str:
        return encode(self.fields)


class Message:
    """One FIPA message. Fields that it does not have are None; `message["params"]` reads any field.

    `ctx.state[key] = message.fields` keeps it, and `Message(ctx.state[key])` is it again in a later turn.
    """

    __slots__ = ("fields",)

    def __init__(self, fields: str | dict[str, Any]) -> None:
        self.fields: dict[str, Any] = decode(fields) if isinstance(fields, str) else fields

    def __getattr__(self, name: str) -> Any:
        return self.fields.get(name)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def answer(self, performative: str, content: Any = None, **fields: Any) -> Reply:
        """An answer that finds its way at any time: `ctx.send(message.answer("inform", ...))` in a later turn."""
        known = {
            "receiver": self.reply_to or self.sender,
            "conversation_id": self.conversation_id,
            "in_reply_to": self.reply_with,
            "protocol": self.protocol,
            "ontology": self.ontology,
            "language": self.language,
        }
        known = {name: value for name, value in known.items() if value is not None}
        return Reply(performative, content, **{**known, **fields})

    def _expecting(self, performative: str, content: Any, fields: dict[str, Any]) -> Reply:
        """An answer that will be answered in its turn, and so has a `reply_with` of its own."""
        return self.answer(performative, content, **{"reply_with": f"{performative}-{next(numbers)}", **fields})

    def agree(self, content: Any = None, **fields: Any) -> Reply:
        return self.answer("agree", content, **fields)

    def refuse(self, content: Any = None, **fields: Any) -> Reply:
        return self.answer("refuse", content, **fields)

    def inform(self, content: Any = None, **fields: Any) -> Reply:
        return self.answer("inform", content, **fields)

    def failure(self, content: Any = None, **fields: Any) -> Reply:
        return self.answer("failure", content, **fields)

    def propose(self, content: Any = None, **fields: Any) -> Reply:
        return self._expecting("propose", content, fields)

    def accept_proposal(self, content: Any = None, **fields: Any) -> Reply:
        return self._expecting("accept-proposal", content, fields)

    def reject_proposal(self, content: Any = None, **fields: Any) -> Reply:
        return self.answer("reject-proposal", content, **fields)

    def not_understood(self, content: Any = None, **fields: Any) -> Reply:
        return self.answer("not-understood", content, **fields)
