"""FIPA00069: an ACL message in bytes, `fipa.acl.rep.bitefficient.std`, without code tables (0xFA).

    0xFA 0x10 act parameter* 0x01

Rule 1: a message that wants a table of codes kept between messages (0xFB, 0xFC) is refused: two platforms that lose
        one message would read every later one wrongly.
Rule 2: what is written is words and strings only; what is read may also hold numbers, dates and nested expressions,
        which become the text that stands for them in FIPA00070.
Rule 3: text is UTF-8, as JADE's add-on writes and reads with that payload encoding.

Numbers and dates have one digit in four bits: 0 pads, 1 to 10 are the digits '0' to '9'.
"""

from typing import Final

from caxton.core.acl.message import (
    TEXTS,
    AclLimits,
    AclMessage,
    AgentId,
    MessageBuilder,
    agent_id,
    bytes_content,
    check_text,
    fipa_moment,
    parameter_name,
    read_moment,
)
from caxton.core.errors import InvalidMessage
from caxton.core.performatives import ACT_CODES, ACTS_BY_CODE

NAME: Final = "fipa.acl.rep.bitefficient.std"
LIMITS: Final = AclLimits()

PLAIN, VERSION, END = 0xFA, 0x10, 0x01
WORD, DECIMAL, HEXADECIMAL, STRING = 0x10, 0x12, 0x13, 0x14
LENGTHS: Final = {0x16: 1, 0x17: 2, 0x19: 4}  # strings by the size of their length
CODED: Final = frozenset({0x11, 0x15, 0x18})  # in the table of codes
DATES: Final = {0x20: "", 0x21: "+", 0x22: "-", 0x24: "", 0x25: "+", 0x26: "-"}
DESIGNATED: Final = frozenset({0x24, 0x25, 0x26})  # followed by the letter of a zone
LEVEL_UP, LEVEL_DOWN = 0x60, 0x40  # alone, or with the low bits of a token 0x1n: 0x70 + n, 0x50 + n
AGENT, ADDRESSES, RESOLVERS, USER_SLOT = 0x02, 0x02, 0x03, 0x04
SENDER, RECEIVER, CONTENT, REPLY_BY, REPLY_TO, USER = 0x02, 0x03, 0x04, 0x06, 0x08, 0x00
PARAMETERS: Final = {
    0x05: "reply-with",
    0x07: "in-reply-to",
    0x09: "language",
    0x0A: "encoding",
    0x0B: "ontology",
    0x0C: "protocol",
    0x0D: "conversation-id",
}
CODES: Final = {name: code for code, name in PARAMETERS.items()}
NIBBLES: Final = " 0123456789 +E-."
DIGITS: Final = {letter: code for code, letter in enumerate(NIBBLES) if letter != " "} | {"e": NIBBLES.index("E")}


# -- reading ----------------------------------------------------------------------------------------------------------


def decode(data: bytes, *, charset: str = "utf-8", now_ms: int = 0, limits: AclLimits = LIMITS) -> AclMessage:
    """The message. Raises InvalidMessage for anything else."""
    if len(data) > limits.size:
        raise InvalidMessage(f"the message has {len(data)} bytes, the limit is {limits.size}")
    return _Reader(data, charset, now_ms, limits).message()


class _Reader:
    def __init__(self, data: bytes, charset: str, now_ms: int, limits: AclLimits) -> None:
        self.data = data
        self.charset = charset
        self.now_ms = now_ms
        self.limits = limits
        self.at = 0
        self.tokens = 0

    # -- bytes --

    def wrong(self, text: str) -> InvalidMessage:
        return InvalidMessage(f"bit-efficient message, byte {self.at}: {text}", details={"position": self.at})

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise self.wrong("it ends too early")
        self.at += 1
        return self.data[self.at - 1]

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise self.wrong(f"{count} bytes are announced, {len(self.data) - self.at} are left")
        self.at += count
        return self.data[self.at - count : self.at]

    def until_nul(self) -> bytes:
        end = self.data.find(0, self.at)
        if end < 0:
            raise self.wrong("a word or string does not end")
        found = self.data[self.at : end]
        self.at = end + 1
        return found

    def count(self) -> None:
        self.tokens += 1
        if self.tokens > self.limits.tokens:
            raise self.wrong(f"more than {self.limits.tokens} tokens")

    def decoded(self, data: bytes) -> str:
        try:
            text = data.decode(self.charset)
        except UnicodeDecodeError as error:
            raise self.wrong(f"{data[:40]!r} is not {self.charset}: {error.reason}") from None
        check_text(text)
        return text

    # -- tokens --

    def string(self, kind: int) -> bytes:
        """A word or a string, by its first byte."""
        self.count()
        if kind in (WORD, STRING):
            return self.until_nul()
        if kind in LENGTHS:
            return self.take(int.from_bytes(self.take(LENGTHS[kind]), "big"))
        if kind in CODED:
            raise self.wrong("a code without a table of codes")
        raise self.wrong(f"0x{kind:02x} is neither a word nor a string")

    def text(self) -> str:
        return self.decoded(self.string(self.byte()))

    def number(self, kind: int) -> str:
        self.count()
        letters = []
        while True:
            pair = self.byte()
            for code in (pair >> 4, pair & 15):
                if code == 0:
                    break
                letters.append(NIBBLES[code])
            else:
                continue
            break
        digits = "".join(letters)
        if not digits or " " in digits:
            raise self.wrong("a number without digits")
        if kind == DECIMAL:
            return digits
        if not digits.isdigit():
            raise self.wrong(f"{digits!r} is no number of digits")
        return f"0x{int(digits[:40]):x}" if len(digits) <= 40 else digits

    def date(self, kind: int) -> str:
        self.count()
        if kind not in DATES:
            raise self.wrong(f"0x{kind:02x} is no date")
        digits = "".join(NIBBLES[pair >> 4] + NIBBLES[pair & 15] for pair in self.take(9))[:17]
        zone = chr(self.byte()) if kind in DESIGNATED else ""
        return f"{DATES[kind]}{digits[:8]}T{digits[8:]}{zone}"

    def simple(self, kind: int) -> str:
        if kind in (DECIMAL, HEXADECIMAL):
            return self.number(kind)
        if kind in DATES:
            return self.date(kind)
        return self.decoded(self.string(kind))

    def expression(self) -> str:
        """One expression; nested ones become the text in parentheses that they stand for."""
        kind = self.byte()
        if kind == 0xFF:  # an expression of FIPA00070 in one string
            return self.text()
        if kind != LEVEL_UP and kind >> 4 != 7:
            return self.simple(kind)
        pieces: list[str] = []
        depth = 0
        while True:
            if kind == LEVEL_UP or kind >> 4 == 7:
                depth += 1
                if depth > self.limits.depth:
                    raise self.wrong(f"expressions are nested deeper than {self.limits.depth}")
                self.count()
                pieces.append("(" if kind == LEVEL_UP else "(" + self.nested(kind))
            elif kind == LEVEL_DOWN or kind >> 4 == 5:
                depth -= 1
                self.count()
                pieces.append(")" if kind == LEVEL_DOWN else self.nested(kind) + ")")
                if depth == 0:
                    return " ".join(pieces)
            else:
                pieces.append(self.nested(kind))
            kind = self.byte()

    def nested(self, kind: int) -> str:
        if kind >> 4 in (5, 7):
            kind = 0x10 | kind & 15
        text = self.simple(kind)
        if kind in (STRING, *LENGTHS):
            escaped = text.replace('"', '\\"')
            return f'"{escaped}"'
        return text

    # -- the message --

    def message(self) -> AclMessage:
        coding, version = self.byte(), self.byte()
        if coding != PLAIN:
            raise self.wrong(f"it begins with 0x{coding:02x}; only 0xfa, without a table of codes, is read")
        if version != VERSION:
            raise self.wrong(f"version 0x{version:02x}, only 0x10 is known")
        act = self.byte()
        if act and act not in ACTS_BY_CODE:
            raise self.wrong(f"0x{act:02x} is no communicative act")
        builder = MessageBuilder(ACTS_BY_CODE[act].value if act else self.text())
        while (code := self.byte()) != END:
            self.count()
            if code == SENDER:
                builder.put("sender", self.agent(self.byte(), 1))
            elif code in (RECEIVER, REPLY_TO):
                builder.put("receivers" if code == RECEIVER else "reply_to", self.agents(1))
            elif code == CONTENT:
                builder.put_content(*bytes_content(self.string(self.byte()), self.charset))
            elif code == REPLY_BY:
                builder.put("reply_by_ms", read_moment(self.date(self.byte()), self.now_ms))
            elif code in PARAMETERS:
                builder.put_text(PARAMETERS[code], self.expression())
            elif code == USER:
                builder.put_extra(self.text(), self.expression())
            else:
                raise self.wrong(f"0x{code:02x} is no parameter")
        if self.at != len(self.data):
            raise self.wrong("something follows the message")
        return builder.build()

    def agents(self, depth: int) -> tuple[AgentId, ...]:
        found = []
        while (code := self.byte()) != END:
            found.append(self.agent(code, depth))
        return tuple(found)

    def agent(self, code: int, depth: int) -> AgentId:
        """An agent-identifier. It holds others as resolvers, so deep as the limit says."""
        if code != AGENT:
            raise self.wrong(f"0x{code:02x} is no agent-identifier")
        if depth > self.limits.depth:
            raise self.wrong(f"agent-identifiers are nested deeper than {self.limits.depth}")
        self.count()
        name = self.text()
        addresses: list[str] = []
        resolvers: tuple[AgentId, ...] = ()
        extras: list[tuple[str, str]] = []
        while (slot := self.byte()) != END:
            if slot == ADDRESSES and not addresses:
                while (kind := self.byte()) != END:
                    addresses.append(self.decoded(self.string(kind)))
            elif slot == RESOLVERS and not resolvers:
                resolvers = self.agents(depth + 1)
            elif slot == USER_SLOT:
                extras.append((parameter_name(self.text()), self.expression()))
            else:
                raise self.wrong(f"0x{slot:02x} is no slot of an agent-identifier, or one that comes twice")
        return agent_id(name, addresses, resolvers, extras)


# -- writing ----------------------------------------------------------------------------------------------------------


def encode(message: AclMessage) -> bytes:
    out = bytearray((PLAIN, VERSION, ACT_CODES[message.performative]))
    if message.sender is not None:
        out.append(SENDER)
        _put_agent(out, message.sender)
    for code, agents in ((RECEIVER, message.receivers), (REPLY_TO, message.reply_to)):
        if agents:
            out.append(code)
            _put_agents(out, agents)
    if message.content is not None:
        out.append(CONTENT)
        _put_string(out, message.content)
    for name, field in TEXTS.items():
        if value := getattr(message, field):
            out.append(CODES[name])
            _put_string(out, value)
    if message.reply_by_ms > 0:
        out.append(REPLY_BY)
        _put_date(out, fipa_moment(message.reply_by_ms))
    for name, value in message.extras:
        out.append(USER)
        _put_word(out, f"X-{name}")
        _put_string(out, value)
    out.append(END)
    return bytes(out)


def _put_agents(out: bytearray, agents: tuple[AgentId, ...]) -> None:
    for agent in agents:
        _put_agent(out, agent)
    out.append(END)


def _put_agent(out: bytearray, agent: AgentId) -> None:
    out.append(AGENT)
    _put_word(out, agent.name)
    if agent.addresses:
        out.append(ADDRESSES)
        for url in agent.addresses:
            _put_word(out, url)
        out.append(END)
    if agent.resolvers:
        out.append(RESOLVERS)
        _put_agents(out, agent.resolvers)
    for name, value in agent.extras:
        out.append(USER_SLOT)
        _put_word(out, f"X-{name}")
        _put_string(out, value)
    out.append(END)


def _put_word(out: bytearray, text: str) -> None:
    out.append(WORD)
    out += text.encode()
    out.append(0)


def _put_string(out: bytearray, text: str) -> None:
    out.append(STRING)
    out += text.encode()
    out.append(0)


def _put_date(out: bytearray, moment: str) -> None:
    """With its zone, which is Z."""
    out.append(0x24)
    digits = moment[:8] + moment[9:18]
    codes = [DIGITS[digit] for digit in digits] + [0]
    out += bytes(high << 4 | low for high, low in zip(codes[::2], codes[1::2], strict=True))
    out.append(ord(moment[18]))
