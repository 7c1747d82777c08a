"""What a signature of a message covers, as bytes, and how it stands in the message. Knows no keys and no mathematics.

    "params": {"signature": {"algorithm": "ed25519", "to": ["pricing@shop"], "value": "<Base64 of 64 bytes>"}}

The bytes that are signed: a line `caxton-signature-1`, then for each part below that the message has, in this order,
the line `<part> <number of bytes>`, the bytes, and a line end:

    performative, sender, to, reply_to, content, language, encoding, ontology, protocol, conversation_id, reply_with,
    in_reply_to, reply_by, expires_at, message_id, priority, delivery, params

Rule 1: what changes on the way is not in it: hop_count, delivery_attempt, redelivered, traceparent, tracestate.
Rule 2: agents are named as all platforms know them, `agent@platform`. `to` is what the sender wrote as receivers; the
        message may then be for any of these, and for nobody else. Sets of agents are sorted, one per line.
Rule 3: text is itself. `content` is the letter `s` and the text when it is a JSON string, else `j` and its JSON text as
        it was sent. `params` is, for each member but the signature, sorted by key, the key as JSON, `=`, and such a
        letter with text; joined by line ends. Times are as Caxton writes them.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Raw, Struct

from caxton.core.acl.names import Home, split_name
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidMessage

MARK = b"caxton-signature-1\n"
PARAMETER = "signature"
ALGORITHM = "ed25519"
SIGNATURE_BYTES = 64
TEXTS = ("language", "encoding", "ontology", "protocol", "conversation_id", "reply_with", "in_reply_to", "reply_by")
LAST = ("expires_at", "message_id", "priority", "delivery")


class Signature(Struct, frozen=True, kw_only=True):
    algorithm: str
    to: tuple[str, ...]
    value: str

    @property
    def bytes(self) -> bytes:
        """Raises InvalidMessage."""
        try:
            found = base64.b64decode(self.value, validate=True)
        except (binascii.Error, ValueError):
            found = b""
        if len(found) != SIGNATURE_BYTES:
            raise InvalidMessage(f"the signature's value is not the Base64 of {SIGNATURE_BYTES} bytes")
        return found


_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_signature = msgspec.json.Decoder(Signature).decode
_text = msgspec.json.Decoder(str).decode
_names = msgspec.json.Decoder(str | list[str]).decode
_encode = msgspec.json.Encoder().encode


class Signable:
    """A message as Caxton writes it (`Envelope.to_json`), ready to be signed or checked."""

    def __init__(self, message: bytes, home: Home) -> None:
        self._home = home
        self._fields: dict[str, Raw] = _fields(message)
        self._params: dict[str, Raw] = _fields(self._fields["params"]) if "params" in self._fields else {}
        self.sender = self._abroad(_text(self._fields["sender"])) if "sender" in self._fields else ""
        self.receivers = self._agents("receiver")

    @property
    def is_signed(self) -> bool:
        return PARAMETER in self._params

    def signature(self) -> Signature:
        """Raises InvalidMessage for what is none."""
        try:
            found = _signature(self._params[PARAMETER])
        except UNREADABLE as error:
            raise InvalidMessage(f"params.{PARAMETER} is no signature: {error}") from None
        if found.algorithm != ALGORITHM:
            raise InvalidMessage(f"the signature is of {found.algorithm[:40]!r}; only {ALGORITHM!r} is known")
        return found

    def _abroad(self, name: str) -> str:
        """Addresses that are no agents' (topics, groups) are of the platform, too."""
        local, platform = split_name(name)
        return name if platform and not self._home.is_own(platform) else f"{local}@{self._home.name}"

    def _agents(self, field: str) -> tuple[str, ...]:
        if field not in self._fields:
            return ()
        names = _names(self._fields[field])
        return tuple(sorted({self._abroad(name) for name in ([names] if isinstance(names, str) else names)}))

    def covered(self, to: Iterable[str]) -> bytes:
        """The bytes to sign, for these receivers."""
        parts: dict[str, bytes] = {}
        if "performative" in self._fields:
            parts["performative"] = _plain(self._fields["performative"])
        if self.sender:
            parts["sender"] = self.sender.encode()
        parts["to"] = _lines(to)
        if reply_to := self._agents("reply_to"):
            parts["reply_to"] = _lines(reply_to)
        if "content" in self._fields:
            parts["content"] = _lettered(self._fields["content"])
        parts |= {name: _plain(self._fields[name]) for name in (*TEXTS, *LAST) if name in self._fields}
        others = {key: value for key, value in self._params.items() if key != PARAMETER}
        if others:
            parts["params"] = b"\n".join(_encode(key) + b"=" + _lettered(others[key]) for key in sorted(others))
        return MARK + b"".join(b"%s %d\n%s\n" % (name.encode(), len(part), part) for name, part in parts.items())

    def signed(self, value: bytes) -> bytes:
        """The message with this signature, made of `covered(self.receivers)`."""
        signature = Signature(algorithm=ALGORITHM, to=self.receivers, value=base64.b64encode(value).decode())
        params: Mapping[str, object] = {**self._params, PARAMETER: signature}
        return _encode({**self._fields, "params": params})


def _lines(names: Iterable[str]) -> bytes:
    return "\n".join(sorted(set(names))).encode()


def _plain(raw: Raw) -> bytes:
    return _text(raw).encode()


def _lettered(raw: Raw) -> bytes:
    text = bytes(raw).strip()
    if text.startswith(b'"'):
        try:
            return b"s" + _text(text).encode()
        except UNREADABLE:  # half of a surrogate pair
            pass
    return b"j" + text
