"""One FIPA ACL message with all of its parameters, and how it becomes Caxton's JSON message and comes from it.

The codecs beside this file (`string.py`, `xml.py`, `bits.py`) write and read this value; they know no JSON.

Rule 1: JSON -> codec -> JSON changes nothing. What FIPA has no parameter for travels as `X-` parameters: Caxton's own
        fields as `X-caxton-...` (and `X-traceparent`, `X-tracestate`), members of `params` that are no text, or whose
        names are no words, together as JSON in `X-caxton-params`.
Rule 2: the content of an ACL message is text. With `language` json it is JSON text; otherwise a JSON string is its own
        text, and any other JSON value is its JSON text and marked with `X-caxton-content: json`.
Rule 3: whatever is not a message is InvalidMessage, and nothing else.
Rule 4: no clock: who reads a relative time says what time it is.

JADE sends bytes as Base64 with `X-JADE-Encoding: Base64`. Where they are UTF-8 text they become the text; where they
are not (a serialised Java object) the Base64 stays the content, and the parameter stays with it.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Raw, Struct

from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidMessage
from caxton.core.performatives import canonical

MAX_DEPTH = 64
PARAMETER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+*/-]{0,127}\Z", re.ASCII)  # what follows `X-`
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
JADE_ENCODING = "JADE-Encoding"
BASE64 = "base64"

# the parameters that hold one text: FIPA's name and the field, in the order in which JADE writes them
TEXTS: dict[str, str] = {
    "reply-with": "reply_with",
    "in-reply-to": "in_reply_to",
    "encoding": "encoding",
    "language": "language",
    "ontology": "ontology",
    "protocol": "protocol",
    "conversation-id": "conversation_id",
}

# Caxton's own fields and the X- parameters that carry them
CARRIED: dict[str, str] = {
    "message_id": "caxton-message-id",
    "expires_at": "caxton-expires-at",
    "priority": "caxton-priority",
    "delivery": "caxton-delivery",
    "hop_count": "caxton-hop-count",
    "traceparent": "traceparent",
    "tracestate": "tracestate",
}
REPLY_BY = "caxton-reply-by"  # where milliseconds do not say it
CONTENT = "caxton-content"
PARAMS = "caxton-params"
RESERVED = frozenset({*CARRIED.values(), REPLY_BY, CONTENT, PARAMS})


class AclLimits(Struct, frozen=True, kw_only=True):
    """What bytes may ask of whoever reads them."""

    size: int = 4 << 20  # bytes
    depth: int = MAX_DEPTH
    tokens: int = 65_536  # or elements


class AgentId(Struct, frozen=True):
    """An agent identifier; equality of agents is by name only, and this is a value, so it is not that equality."""

    name: str
    addresses: tuple[str, ...] = ()
    resolvers: "tuple[AgentId, ...]" = ()
    extras: tuple[tuple[str, str], ...] = ()  # X- slots, without the X-


class AclMessage(Struct, frozen=True, kw_only=True):
    """One message. None and () are "not set"."""

    performative: str
    sender: AgentId | None = None
    receivers: tuple[AgentId, ...] = ()
    reply_to: tuple[AgentId, ...] = ()
    content: str | None = None
    reply_with: str | None = None
    in_reply_to: str | None = None
    encoding: str | None = None
    language: str | None = None
    ontology: str | None = None
    reply_by_ms: int = 0  # milliseconds since the epoch
    protocol: str | None = None
    conversation_id: str | None = None
    extras: tuple[tuple[str, str], ...] = ()  # X- parameters, without the X-


class _Agent(Struct):
    name: str
    addresses: list[str] = []
    resolvers: "list[str | _Agent]" = []


_Agents = str | _Agent | list[str | _Agent]


class _Json(Struct):
    """Caxton's JSON message as `Envelope.to_json` writes it."""

    performative: str
    sender: str | _Agent | None = None
    receiver: _Agents | None = None
    reply_to: _Agents | None = None
    content: Raw = Raw()
    language: str | None = None
    encoding: str | None = None
    ontology: str | None = None
    protocol: str | None = None
    conversation_id: str | None = None
    reply_with: str | None = None
    in_reply_to: str | None = None
    reply_by: str | None = None
    message_id: str | None = None
    expires_at: str | None = None
    priority: str | None = None
    delivery: str | None = None
    hop_count: int | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    params: dict[str, Raw] = {}


_decode = msgspec.json.Decoder(_Json).decode
_decode_raw = msgspec.json.Decoder(Raw).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_params = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
WRONG = (*UNREADABLE, ValueError)


# -- from JSON --------------------------------------------------------------------------------------------------------


def from_json(data: bytes) -> AclMessage:
    """The ACL message of a JSON message that `Envelope.to_json` wrote. Raises InvalidMessage."""
    try:
        message = _decode(data)
    except WRONG as error:
        raise InvalidMessage(f"not a JSON message: {error}") from None
    extras: list[tuple[str, str]] = []
    content = _text_of(message, extras)
    reply_by_ms = _milliseconds(message.reply_by, extras)
    for field, name in CARRIED.items():
        value = getattr(message, field)
        if value not in (None, "", 0):
            extras.append((name, str(value)))
    _spread(message.params, content, extras)
    return AclMessage(
        performative=canonical(message.performative),
        sender=_identifier(message.sender) if message.sender else None,
        receivers=_identifiers(message.receiver),
        reply_to=_identifiers(message.reply_to),
        content=content,
        reply_by_ms=reply_by_ms,
        extras=tuple(extras),
        **{field: getattr(message, field) or None for field in TEXTS.values()},
    )


def _text_of(message: _Json, extras: list[tuple[str, str]]) -> str | None:
    raw = bytes(message.content).strip()
    if not raw or raw == b"null":
        return None
    if is_json(message.language):
        return raw.decode()
    if raw.startswith(b'"'):
        try:
            text: str = _decode_text(raw)
            text.encode()  # half of a surrogate pair is JSON, and no text
        except WRONG:
            text = "\0"
        if "\0" not in text:
            return text
    extras.append((CONTENT, "json"))
    return raw.decode()


def _milliseconds(moment: str | None, extras: list[tuple[str, str]]) -> int:
    if not moment:
        return 0
    try:
        micros = (datetime.fromisoformat(moment) - EPOCH) // timedelta(microseconds=1)
    except (ValueError, TypeError, OverflowError):
        raise InvalidMessage(f"reply_by {moment!r} is no RFC 3339 time", details={"field": "reply_by"}) from None
    if micros % 1000 or micros < 1:
        extras.append((REPLY_BY, moment))
    return max(micros // 1000, 0)


def _spread(params: dict[str, Raw], content: str | None, extras: list[tuple[str, str]]) -> None:
    """Members of params: those that can be X- parameters of their own, and the rest in one."""
    seen = {name.lower() for name, _ in extras}
    rest: dict[str, Raw] = {}
    for key, raw in params.items():
        name = key[2:]
        lower = name.lower()
        value = _plain_text(raw) if key.startswith("X-") and PARAMETER_NAME.match(name) else None
        is_own = lower not in RESERVED and lower not in seen and not lower.startswith("caxton-")
        if value and is_own and not (lower == JADE_ENCODING.lower() and _means_text(value, content)):
            seen.add(lower)
            extras.append((name, value))
        else:
            rest[key] = raw
    if rest:
        extras.append((PARAMS, _encode(rest).decode()))


def _plain_text(raw: Raw) -> str | None:
    try:
        text: str = _decode_text(raw)
        text.encode()
    except WRONG:
        return None
    return None if "\0" in text else text


def _identifiers(agents: _Agents | None) -> tuple[AgentId, ...]:
    if not agents:
        return ()
    return tuple(map(_identifier, agents if isinstance(agents, list) else [agents]))


def _identifier(agent: str | _Agent) -> AgentId:
    if isinstance(agent, str):
        return AgentId(agent)
    return AgentId(agent.name, tuple(agent.addresses), _identifiers(agent.resolvers))


# -- to JSON ----------------------------------------------------------------------------------------------------------


def to_json(message: AclMessage) -> bytes:
    """Caxton's JSON message. Raises InvalidMessage; the envelope's own rules are the envelope's to check."""
    fields: dict[str, object] = {"performative": message.performative}
    if message.sender is not None:
        fields["sender"] = _plain(message.sender)
    for name, agents in (("receiver", message.receivers), ("reply_to", message.reply_to)):
        if agents:
            fields[name] = _plain(agents[0]) if len(agents) == 1 else [_plain(agent) for agent in agents]
    extras = {name.lower(): (name, value) for name, value in message.extras}
    content = message.content
    if content is not None:
        if (coded := extras.get(JADE_ENCODING.lower())) and _means_text(coded[1], content):
            del extras[JADE_ENCODING.lower()]
            content = _base64_text(content) or ""
        as_json = extras.pop(CONTENT, ("", ""))[1] == "json" or is_json(message.language)
        fields["content"] = _json_value(content) if as_json else content
    for field in TEXTS.values():
        if value := getattr(message, field):
            fields[field] = value
    if exact := extras.pop(REPLY_BY, None):
        fields["reply_by"] = exact[1]
    elif message.reply_by_ms > 0:
        fields["reply_by"] = moment_text(message.reply_by_ms)
    for field, name in CARRIED.items():
        if carried := extras.pop(name, None):
            fields[field] = _number(carried[1]) if field == "hop_count" else carried[1]
    if params := _gathered(extras):
        fields["params"] = params
    try:
        return _encode(fields)
    except WRONG as error:
        raise InvalidMessage(f"the message cannot be written as JSON: {error}") from None


def _gathered(extras: dict[str, tuple[str, str]]) -> dict[str, object]:
    rest = extras.pop(PARAMS, None)
    params: dict[str, object] = {f"X-{name}": value for name, value in extras.values()}
    if rest is not None:
        try:
            members = _decode_params(rest[1].encode())
        except WRONG as error:
            raise InvalidMessage(f"X-{PARAMS} is no JSON object: {error}") from None
        if double := params.keys() & members.keys():
            raise InvalidMessage(f"parameter {min(double)} comes twice, by itself and in X-{PARAMS}")
        params.update(members)
    return params


def _json_value(text: str) -> Raw:
    """*text* as it is, when it is one JSON value: nothing that follows may become a field of the message."""
    try:
        return Raw(_decode_raw(text.encode()))
    except WRONG as error:
        raise InvalidMessage(
            f"the content is said to be JSON and is not: {error}",
            hint="leave :language json out, or send JSON",
            details={"field": "content"},
        ) from None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidMessage(f"X-{CARRIED['hop_count']} is {text!r}, expected a number")
    return int(text)


def _plain(agent: AgentId) -> object:
    if not agent.addresses and not agent.resolvers:
        return agent.name
    plain: dict[str, object] = {"name": agent.name}
    if agent.addresses:
        plain["addresses"] = agent.addresses
    if agent.resolvers:
        plain["resolvers"] = [_plain(each) for each in agent.resolvers]
    return plain


# -- what the codecs share --------------------------------------------------------------------------------------------


def is_json(language: str | None) -> bool:
    return language is not None and language.lower() == "json"


def _base64_text(text: str) -> str | None:
    """The text that this Base64 stands for; None when it is not Base64, or of other bytes."""
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return None if "\0" in decoded else decoded


def _means_text(coding: str, content: str | None) -> bool:
    """Whether X-JADE-Encoding with this value says that the content stands for another text."""
    return coding.lower() == BASE64 and content is not None and _base64_text(content) is not None


def in_one_line(message: AclMessage) -> AclMessage:
    """The same for JADE, whose HTTP transport joins lines with blanks: content that has lines goes as Base64."""
    content = message.content
    if content is None or is_json(message.language) or not re.search(r"[\r\n]|\\\Z", content):
        return message
    if any(name.lower() in (JADE_ENCODING.lower(), CONTENT) for name, _ in message.extras):
        return message
    coded = base64.b64encode(content.encode()).decode()
    return msgspec.structs.replace(message, content=coded, extras=(*message.extras, (JADE_ENCODING, "Base64")))


def bytes_content(data: bytes, charset: str) -> tuple[str, bool]:
    """The content that these bytes are, and whether it is their Base64 because they are no text."""
    try:
        text = data.decode(charset)
        if "\0" not in text:
            return text, False
    except UnicodeDecodeError:
        pass
    return base64.b64encode(data).decode(), True


def moment_text(ms: int) -> str:
    """RFC 3339 of milliseconds since the epoch."""
    return (EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fipa_moment(ms: int) -> str:
    """FIPA's DateTime of milliseconds since the epoch: 20261120T230000000Z."""
    at = EPOCH + timedelta(milliseconds=ms)
    return f"{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03}Z".rjust(19, "0")


MOMENT = re.compile(r"([+-]?)(\d{4})(\d\d)(\d\d)[Tt](\d\d)(\d\d)(\d\d)(\d{3})([A-Za-z]?)\Z", re.ASCII)


def read_moment(text: str, now_ms: int) -> int:
    """Milliseconds since the epoch of FIPA's DateTime; `+` and `-` count from *now_ms*.

    A time without `Z` is of the sender's zone, which nobody knows: it is taken for UTC. A relative month has 30 days, a
    relative year 365.
    """
    found = MOMENT.match(text)
    if found is None:
        raise InvalidMessage(
            f"{text[:40]!r} is no FIPA time; such as 20261120T230000000Z, or +00000000T000010000 for in ten seconds"
        )
    sign, *parts, _ = found.groups()
    year, month, day, hour, minute, second, ms = map(int, parts)
    if sign:
        span = timedelta(
            days=year * 365 + month * 30 + day, hours=hour, minutes=minute, seconds=second, milliseconds=ms
        )
        whole = span // timedelta(milliseconds=1)
        at = now_ms + whole if sign == "+" else now_ms - whole
    else:
        try:
            moment = datetime(year, month, day, hour, minute, second, ms * 1000, tzinfo=UTC)
        except ValueError as error:
            raise InvalidMessage(f"{text!r} is no time: {error}") from None
        at = (moment - EPOCH) // timedelta(milliseconds=1)
    if not 0 < at < 253_402_300_800_000:  # the year 10000
        raise InvalidMessage(f"the time {text!r} is not between 1970 and 9999")
    return at


class MessageBuilder:
    """Collects parameters as a codec meets them; a second of the same name is an error."""

    def __init__(self, performative: str) -> None:
        self._fields: dict[str, object] = {"performative": canonical(performative)}
        self._extras: dict[str, tuple[str, str]] = {}

    def put(self, field: str, value: object) -> None:
        if field in self._fields:
            raise InvalidMessage(f"parameter {field.replace('_', '-')} comes twice", details={"field": field})
        self._fields[field] = value

    def put_text(self, parameter: str, text: str) -> None:
        check_text(text)
        self.put(TEXTS[parameter], text or None)

    def put_extra(self, name: str, value: str) -> None:
        name = parameter_name(name)
        check_text(value)
        if name.lower() in self._extras:
            raise InvalidMessage(f"parameter X-{name} comes twice", details={"field": f"X-{name}"})
        self._extras[name.lower()] = (name, value)

    def put_content(self, text: str, is_base64: bool = False) -> None:
        check_text(text)
        self.put("content", text)
        if is_base64:
            self.put_extra(f"X-{JADE_ENCODING}", "Base64")

    def build(self) -> AclMessage:
        try:
            # the order in which they came is no part of a message
            return msgspec.convert({**self._fields, "extras": tuple(self._extras.values())}, AclMessage)
        except msgspec.ValidationError as error:
            raise InvalidMessage(f"not an ACL message: {error}") from None


def parameter_name(name: str) -> str:
    """The name of an X- parameter without its `X-`."""
    if name[:2] not in ("X-", "x-") or not PARAMETER_NAME.match(name[2:]):
        raise InvalidMessage(f"unknown parameter {name[:60]!r}", hint="a parameter of your own begins with X-")
    return name[2:]


def check_text(*texts: str) -> None:
    for text in texts:
        if "\0" in text:
            raise InvalidMessage("a NUL stands in the text of the message")


def agent_id(
    name: str | None, addresses: Sequence[str], resolvers: Iterable[AgentId], extras: Iterable[tuple[str, str]]
) -> AgentId:
    """An AID that a codec has read."""
    if not name:
        raise InvalidMessage("an agent-identifier has no name")
    check_text(name, *addresses)
    extras = tuple(extras)
    if len({slot.lower() for slot, _ in extras}) < len(extras):
        raise InvalidMessage(f"an agent-identifier has the same slot twice: {name[:60]!r}")
    return AgentId(name, tuple(addresses), tuple(resolvers), extras)
