"""What a message is, in plain Python: the specification of caxton/_fast/envelope.

Rule 1: whatever the bytes are, read() and read_frame() return a Message or raise Refused with one reason.
Rule 2: read(write(message)) == message, and read_frame(write_frame(message)) == message.

`content` and `params` stay the text that arrived. Top-level keys that are none of ours become members of `params`,
behind those it has.
Where a text has two faults, which of them is named is not specified.
"""

import json
import re
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter

from caxton.core.errors import InvalidMessage
from caxton.core.performatives import ACT_CODES, canonical

ACTS = [act for act, _ in sorted(ACT_CODES.items(), key=itemgetter(1))]
PRIORITIES = ["low", "normal", "high", "critical"]
DELIVERIES = [None, "durable", "relaxed", "volatile"]  # None: not said
TURNS = ["message", "init", "timer", "shutdown", "capabilities", "health"]
MOMENTS = ["reply_by", "expires_at"]
# fmt: off
# the order in which keys are written
ORDER = [
    "performative", "sender", "receiver", "reply_to", "content", "language", "encoding", "ontology", "protocol",
    "conversation_id", "reply_with", "in_reply_to", "reply_by", "message_id", "expires_at", "priority", "traceparent",
    "tracestate", "hop_count", "params", "delivery",
]
# the order of the fields in a frame
FIELDS = [
    "sender", "receiver", "content", "conversation_id", "reply_with", "in_reply_to", "ontology", "language", "protocol",
    "reply_to", "encoding", "traceparent", "tracestate", "params",
]
# fmt: on
STRINGS = set(FIELDS) - {"sender", "receiver", "content", "reply_to", "params"}
KNOWN = {*ORDER, "delivery_attempt", "redelivered"}
MAX_EXTRAS = 64
MAX_TRACESTATE = 512
MAGIC = b"CXE\x01"
FRAME = struct.Struct("<4sIBBBBHBBII16sqqq14I")
SPACE = " \t\r\n"


class Refused(Exception):
    """The bytes are no message; `reason` is the name of the one error."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Limits:
    max_size: int = 1 << 20
    max_name: int = 256
    max_depth: int = 64
    max_receivers: int = 1024


@dataclass(frozen=True, kw_only=True)
class Message:
    """None, an empty tuple and 0 mean "not set"."""

    performative: str | None = None
    sender: str | None = None
    receiver: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    content: str | None = None
    language: str | None = None
    encoding: str | None = None
    ontology: str | None = None
    protocol: str | None = None
    conversation_id: str | None = None
    reply_with: str | None = None
    in_reply_to: str | None = None
    reply_by: int = 0  # microseconds since the epoch
    message_id: str | None = None
    expires_at: int = 0
    priority: str = "normal"
    delivery: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    hop_count: int = 0
    params: str | None = None
    # not of the JSON text
    kind: str = "message"
    argument: int = 0


# -- reading JSON --


def read(data: bytes, limits: Limits = Limits()) -> Message:
    if len(data) > limits.max_size:
        raise Refused("too-large")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Refused("utf8") from None
    values: dict[str, str] = {}
    extras: dict[str, str] = {}
    for key, member, raw in members(text):
        if key in values or key in extras:
            raise Refused("duplicate")
        if key in KNOWN:
            values[key] = raw
        else:
            check_depth(f"[{raw}]", limits)  # in params it is one level deeper
            extras[key] = member
    if len(extras) > MAX_EXTRAS:
        raise Refused("field-length")
    found = {key: field(key, raw, limits) for key, raw in values.items() if raw != "null"}
    message = Message(**{key: value for key, value in found.items() if key in ORDER})  # type: ignore[arg-type]  # checked by field()
    if message.performative is None:
        raise Refused("performative")
    if not message.receiver:
        raise Refused("receivers")
    if message.protocol and not message.conversation_id:
        raise Refused("protocol")
    return replace(message, params=merge(message.params, extras)) if extras else message


def members(text: str) -> Iterator[tuple[str, str, str]]:
    """Each member of the object: its key, its whole text, the text of its value."""
    start = skip(text, 0)
    if text[start : start + 1] != "{":
        if skip(text, value(text, start)) != len(text):
            raise Refused("json")
        raise Refused("not-object")
    place = skip(text, start + 1)
    closed = text[place : place + 1] == "}"
    while not closed:
        if text[place : place + 1] != '"':
            raise Refused("json")
        end = value(text, place)
        colon = skip(text, end)
        if text[colon : colon + 1] != ":":
            raise Refused("json")
        begin = skip(text, colon + 1)
        stop = value(text, begin)
        yield json.loads(text[place:end]), text[place:stop], text[begin:stop]
        place = skip(text, stop)
        closed = text[place : place + 1] == "}"
        if not closed:
            if text[place : place + 1] != ",":
                raise Refused("json")
            place = skip(text, place + 1)
    if skip(text, place + 1) != len(text):
        raise Refused("json")


def skip(text: str, place: int) -> int:
    while text[place : place + 1] and text[place] in SPACE:
        place += 1
    return place


def refuse_constant(name: str) -> None:
    raise Refused("json")  # NaN and Infinity are not JSON


# objects become lists of pairs: nothing hides behind a second key; numbers stay text: any length is legal
DECODER = json.JSONDecoder(object_pairs_hook=list, parse_int=str, parse_float=str, parse_constant=refuse_constant)


def value(text: str, place: int) -> int:
    """Where the value ends that starts at *place*."""
    try:
        found, end = DECODER.raw_decode(text, place)
    except RecursionError:
        raise Refused("depth") from None
    except ValueError:
        raise Refused("json") from None
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused("utf8") from None  # half a surrogate pair
    return end


def check_depth(raw: str, limits: Limits) -> None:
    deepest = level = 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[][{}]', raw):
        level += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, level)
    if deepest > limits.max_depth:
        raise Refused("depth")


def field(key: str, raw: str, limits: Limits) -> object:
    if key in ("content", "params"):
        check_depth(raw, limits)
        if key == "params" and raw[0] != "{":
            raise Refused("type")
        return raw
    if key == "sender" and raw[0] == "{":
        return agent(raw, limits)
    if key == "sender" or key in STRINGS:
        return bounded(raw, MAX_TRACESTATE if key == "tracestate" else limits.max_name)
    if key in ("receiver", "reply_to"):
        return agents(raw, limits)
    if key == "performative":
        return performative(string(raw))
    if key == "message_id":
        return message_id(string(raw))
    if key in MOMENTS:
        return moment(string(raw))
    if key == "priority":
        return priority(raw)
    if key == "delivery":
        return delivery(raw)
    if key == "redelivered":
        # this and the next one are the platform's words about one delivery: checked, and not kept
        if raw not in ("true", "false"):
            raise Refused("type")
        return None
    number = whole(raw)
    if number < 0 or (key == "hop_count" and number > 255):
        raise Refused("type")
    return number


def string(raw: str) -> str:
    if raw[0] != '"':
        raise Refused("type")
    text: str = json.loads(raw)
    if "\0" in text:
        raise Refused("utf8")
    return text


def bounded(raw: str, limit: int) -> str | None:
    text = string(raw)
    if len(text.encode()) > limit:
        raise Refused("field-length")
    return text or None


def agent(raw: str, limits: Limits) -> str:
    """A name, or an object with a name; equality is by name, so its addresses and resolvers are not kept."""
    if raw[0] == "{":
        names = [found for key, _, found in members(raw) if key == "name"]
        for key, _, found in members(raw):
            if key != "name":
                check_depth(found, limits)
        if not names:
            raise Refused("type")
        if len(names) > 1:
            raise Refused("duplicate")
        raw = names[0]
    name = string(raw)
    if not 1 <= len(name.encode()) <= limits.max_name:
        raise Refused("field-length")
    return name


def agents(raw: str, limits: Limits) -> tuple[str, ...]:
    """A set, in the order of first appearance."""
    if raw == '""':
        return ()
    if raw[0] != "[":
        return (agent(raw, limits),)
    names = dict.fromkeys(agent(element, limits) for element in elements(raw))
    if len(names) > limits.max_receivers:
        raise Refused("receivers")
    return tuple(names)


def elements(raw: str) -> Iterator[str]:
    place = skip(raw, 1)
    while raw[place] != "]":
        end = value(raw, place)
        yield raw[place:end]
        place = skip(raw, end)
        place = skip(raw, place + 1) if raw[place] == "," else place


def performative(text: str) -> str:
    try:
        return canonical(text)
    except InvalidMessage:
        raise Refused("performative") from None


def message_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text) or not int(
        text.replace("-", ""), 16
    ):
        raise Refused("message-id")
    return text.lower()


MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def moment(text: str) -> int:
    """RFC 3339 to microseconds; what a fraction says beyond them is cut."""
    match = MOMENT.fullmatch(text)
    if match is None:
        raise Refused("time")
    *date, fraction, sign, hours, minutes = match.groups()
    try:
        civil = datetime(*map(int, date), tzinfo=UTC)  # type: ignore[arg-type,misc]  # six numbers
    except ValueError:
        raise Refused("time") from None
    us = (civil - EPOCH) // timedelta(microseconds=1) + int((fraction or "").ljust(6, "0")[:6])
    if sign:
        us -= int(sign + "1") * (int(hours) * 60 + int(minutes)) * 60_000_000
    if not is_moment(us):
        raise Refused("time")
    return us


def is_moment(us: int) -> bool:
    return 0 < us <= (LAST - EPOCH) // timedelta(microseconds=1)


def whole(raw: str) -> int:
    if not re.fullmatch(r"-?\d+", raw, re.ASCII):
        raise Refused("type")
    return int(raw[:8])  # eight characters decide everything that is decided by a number here


def priority(raw: str) -> str:
    if raw[0] == '"':
        if string(raw) not in PRIORITIES:
            raise Refused("type")
        return string(raw)
    number = whole(raw)
    return PRIORITIES[(number > 2) + (number > 6) + (number > 9)]


def delivery(raw: str) -> str:
    # case does not matter; only that of ASCII, so that no other letter becomes one of these
    text = string(raw)
    if not text.isascii() or text.lower() not in DELIVERIES:
        raise Refused("type")
    return text.lower()


def merge(params: str | None, extras: dict[str, str]) -> str:
    """*params* with the unknown members at its end."""
    params = params or "{}"
    if any(key in extras for key, _, _ in members(params)):
        raise Refused("duplicate")
    inside = params[:-1].rstrip(SPACE)
    return inside + ("," if inside != "{" else "") + ",".join(extras.values()) + "}"


# -- writing JSON --


def write(message: Message) -> bytes:
    if message.kind != "message":
        return f'{{"turn":"{message.kind}","argument":{message.argument}}}'.encode()
    pieces = [f'"{key}":{text}' for key in ORDER if (text := written(key, getattr(message, key))) is not None]
    return ("{" + ",".join(pieces) + "}").encode()


def written(key: str, found: object) -> str | None:
    if not found or (key, found) == ("priority", "normal"):
        return None
    if key in ("content", "params"):
        return str(found)
    if key in MOMENTS:
        assert isinstance(found, int)
        return f'"{format_moment(found)}"'
    if isinstance(found, tuple):
        found = found[0] if len(found) == 1 else list(found)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def format_moment(us: int) -> str:
    text = (EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").removesuffix("+00:00")
    return text.removesuffix("000") + "Z"


# -- frames --


def write_frame(message: Message, *, delivery_attempt: int = 0, accepted_us: int = 0) -> bytes:
    fields = [b"" if not (found := getattr(message, name)) else in_frame(found) for name in FIELDS]
    head = FRAME.pack(
        MAGIC,
        FRAME.size + sum(map(len, fields)),
        TURNS.index(message.kind),
        ACTS.index(message.performative) + 1 if message.performative else 0,
        PRIORITIES.index(message.priority),
        message.hop_count,
        len(message.receiver),
        len(FIELDS),
        DELIVERIES.index(message.delivery),
        delivery_attempt,
        message.argument,
        uuid.UUID(message.message_id).bytes if message.message_id else bytes(16),
        accepted_us,
        message.reply_by,
        message.expires_at,
        *map(len, fields),
    )
    return head + b"".join(fields)


def in_frame(found: str | tuple[str, ...]) -> bytes:
    return (found if isinstance(found, str) else "\0".join(found)).encode()


def read_frame(frame: bytes, limits: Limits = Limits()) -> Message:
    if len(frame) < FRAME.size:
        raise Refused("frame")
    (
        magic,
        size,
        kind,
        act,
        level,
        hops,
        receivers,
        count,
        safety,
        _,
        argument,
        id_,
        _,
        reply_by,
        expires_at,
        *lengths,
    ) = FRAME.unpack_from(frame)
    if (magic, size, count, sum(lengths)) != (MAGIC, len(frame), len(FIELDS), len(frame) - FRAME.size):
        raise Refused("frame")
    if len(frame) > limits.max_size + 4096:
        raise Refused("too-large")
    if (
        kind >= len(TURNS)
        or level >= len(PRIORITIES)
        or safety >= len(DELIVERIES)
        or act > len(ACTS)
        or (act == 0) != (kind != 0)
        or (kind == 0 and argument)
        or (kind != 0 and safety)
    ):
        raise Refused("frame")
    if kind == 0 and any(us and not is_moment(us) for us in (reply_by, expires_at)):
        raise Refused("frame")
    texts: dict[str, str | tuple[str, ...]] = {}
    place = FRAME.size
    for name, length in zip(FIELDS, lengths, strict=True):
        try:
            text = frame[place : place + length].decode()
        except UnicodeDecodeError:
            raise Refused("frame") from None
        if length:
            texts[name] = tuple(text.split("\0")) if name in ("receiver", "reply_to") else text
        place += length
    message = Message(
        kind=TURNS[kind],
        performative=ACTS[act - 1] if act else None,
        priority=PRIORITIES[level],
        delivery=DELIVERIES[safety],
        hop_count=hops,
        argument=argument,
        message_id=str(uuid.UUID(bytes=id_)) if any(id_) else None,
        reply_by=reply_by,
        expires_at=expires_at,
        **texts,  # type: ignore[arg-type]  # tuples where tuples belong
    )
    if receivers != len(message.receiver) or (kind and texts):
        raise Refused("frame")
    if kind == 0 and not could_be_read(message, limits):
        raise Refused("frame")
    return message


def could_be_read(message: Message, limits: Limits) -> bool:
    """A frame holds nothing that JSON could not have brought."""
    try:
        return read(write(message), replace(limits, max_size=1 << 40)) == message
    except Refused:
        return False
