"""FIPA00070: an ACL message as text in parentheses, `fipa.acl.rep.string.std`. JADE's own form.

    (request
     :sender (agent-identifier :name a@here :addresses (sequence http://here:7778/acc))
     :receiver (set (agent-identifier :name b@there))
     :content "text with \\" in it" :language json)

Rule 1: bytes are cut into tokens, tokens become a tree by a loop with a bounded stack, and only then is the tree read.
Rule 2: `\\"` is the only escape; a backslash before anything else is a backslash. So text that ends with one is written
        with its length in front, `#3"a.\\`, and lengths count bytes.
Rule 3: what is written is what JADE writes: a word where the value is one, a number bare, anything else quoted.
"""

import re
from typing import Final, NamedTuple

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

NAME: Final = "fipa.acl.rep.string.std"
LIMITS: Final = AclLimits()

# possessive, so that a megabyte in quotes is matched without a stack of as many steps
TOKEN = re.compile(rb'[ \t\r\n]*+(?:([()])|"((?:[^"\\]++|\\"?)*+)"|#(\d{1,9})"|([^\x00-\x20()"#][^\x00-\x20()]*+))')
BLANK = re.compile(rb"[ \t\r\n]*+\Z")
WORD = re.compile(r'[^\x00-\x20()#0-9"@:+-][^\x00-\x20()"]*\Z')
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?\Z", re.ASCII)

WORD_TOKEN, TEXT_TOKEN, LIST = "word", "text", "list"


class Node(NamedTuple):
    """A token, or a list of them with the place where it stands."""

    kind: str
    text: bytes
    items: "list[Node]"
    start: int
    end: int


# -- reading ----------------------------------------------------------------------------------------------------------


def decode(data: bytes, *, charset: str = "utf-8", now_ms: int = 0, limits: AclLimits = LIMITS) -> AclMessage:
    """The message. Raises InvalidMessage for anything else."""
    if len(data) > limits.size:
        raise InvalidMessage(f"the message has {len(data)} bytes, the limit is {limits.size}")
    if b"\0" in data:
        raise InvalidMessage(f"a NUL stands at byte {data.index(0)} of the message")
    return _Reader(data, charset, now_ms).message(parse(data, limits))


def parse(data: bytes, limits: AclLimits) -> Node:
    """The one list that *data* is."""
    stack: list[Node] = []
    at = count = 0
    while True:
        found = TOKEN.match(data, at)
        if found is None:
            raise InvalidMessage(_problem(data, at, bool(stack)), details={"position": at})
        count += 1
        if count > limits.tokens:
            raise InvalidMessage(f"the message has more than {limits.tokens} tokens")
        paren, quoted, length, word = found.groups()
        start, at = found.start(found.lastindex or 0), found.end()
        if paren == b"(":
            if len(stack) >= limits.depth:
                raise InvalidMessage(f"parentheses are nested deeper than {limits.depth}", details={"position": start})
            stack.append(Node(LIST, b"", [], start, 0))
            continue
        if not stack:
            raise InvalidMessage(f"a message begins with '(', not with {data[start : start + 20]!r}")
        if paren == b")":
            done = stack.pop()._replace(end=at)
            if not stack:
                if not BLANK.match(data, at):
                    raise InvalidMessage(f"something follows the message: {data[at : at + 20]!r}")
                return done
            stack[-1].items.append(done)
        elif word is not None:
            stack[-1].items.append(Node(WORD_TOKEN, word, [], start, at))
        elif quoted is not None:
            stack[-1].items.append(Node(TEXT_TOKEN, quoted.replace(b'\\"', b'"'), [], start, at))
        else:
            end = at + int(length)
            if end > len(data):
                raise InvalidMessage(f"a string of {int(length)} bytes is announced, {len(data) - at} are left")
            stack[-1].items.append(Node(TEXT_TOKEN, data[at:end], [], start, end))
            at = end


def _problem(data: bytes, at: int, inside: bool) -> str:
    rest = data[at:].lstrip(b" \t\r\n")
    if not rest:
        return "the message ends within a parenthesis" if inside else "there is no message"
    if rest.startswith(b'"'):
        return f"the string at byte {len(data) - len(rest)} does not end"
    return f"byte {len(data) - len(rest)} begins no token: {rest[:20]!r}"


class _Reader:
    """Reads the tree of one message; it is no deeper than the limit, so the one recursion here is bounded."""

    def __init__(self, data: bytes, charset: str, now_ms: int) -> None:
        self.data = data
        self.charset = charset
        self.now_ms = now_ms

    def text(self, data: bytes) -> str:
        try:
            return data.decode(self.charset)
        except UnicodeDecodeError as error:
            raise InvalidMessage(f"{data[:40]!r} is not {self.charset}: {error.reason}") from None

    def expression(self, node: Node) -> str:
        """A word, a number, a string, or anything in parentheses as it stands."""
        return self.text(self.data[node.start : node.end] if node.kind == LIST else node.text)

    def message(self, tree: Node) -> AclMessage:
        if not tree.items or tree.items[0].kind != WORD_TOKEN:
            raise InvalidMessage("the performative is missing", details={"field": "performative"})
        builder = MessageBuilder(self.text(tree.items[0].text))
        for name, value in self.slots(tree.items[1:]):
            known = name.lower()
            if known == "sender":
                builder.put("sender", self.agent(value))
            elif known in ("receiver", "reply-to"):
                builder.put("receivers" if known == "receiver" else "reply_to", self.agents(value))
            elif known == "content":
                builder.put_content(*self.content(value))
            elif known == "reply-by":
                builder.put("reply_by_ms", read_moment(self.expression(value), self.now_ms))
            elif known in TEXTS:
                builder.put_text(known, self.expression(value))
            else:
                builder.put_extra(name, self.expression(value))
        return builder.build()

    def slots(self, items: list[Node]) -> list[tuple[str, Node]]:
        """`:name value` pairs, names without the colon."""
        pairs = []
        for at in range(0, len(items), 2):
            name = items[at]
            if name.kind != WORD_TOKEN or not name.text.startswith(b":"):
                raise InvalidMessage(f"expected a parameter such as :sender, found {self.shown(name)}")
            if at + 1 == len(items):
                raise InvalidMessage(f"{self.shown(name)} has no value")
            pairs.append((self.text(name.text[1:]), items[at + 1]))
        return pairs

    def shown(self, node: Node) -> str:
        return repr(self.data[node.start : min(node.end, node.start + 40)])

    def content(self, value: Node) -> tuple[str, bool]:
        return bytes_content(self.data[value.start : value.end] if value.kind == LIST else value.text, self.charset)

    def agents(self, value: Node) -> tuple[AgentId, ...]:
        items = value.items
        if value.kind == LIST and items and items[0].kind == WORD_TOKEN:
            if items[0].text.lower() in (b"set", b"sequence"):
                return tuple(map(self.agent, items[1:]))
            return (self.agent(value),)  # one by itself, as some platforms write it
        raise InvalidMessage(f"expected (set (agent-identifier ...)), found {self.shown(value)}")

    def agent(self, value: Node) -> AgentId:
        items = value.items
        if not items or items[0].text.lower() != b"agent-identifier":
            raise InvalidMessage(f"expected (agent-identifier ...), found {self.shown(value)}")
        name, addresses, resolvers, extras = None, None, None, []
        for slot, each in self.slots(items[1:]):
            known = slot.lower()
            if known == "name" and name is None:
                name = self.expression(each)
            elif known == "addresses" and addresses is None:
                addresses = [self.expression(item) for item in self.sequence(each)]
            elif known == "resolvers" and resolvers is None:
                resolvers = [self.agent(item) for item in self.sequence(each)]
            elif known in ("name", "addresses", "resolvers"):
                raise InvalidMessage(f"slot {slot} of an agent-identifier comes twice")
            else:
                extras.append((parameter_name(slot), self.expression(each)))
                check_text(extras[-1][1])
        return agent_id(name, addresses or (), resolvers or (), extras)

    def sequence(self, value: Node) -> list[Node]:
        if value.kind != LIST or not value.items or value.items[0].text.lower() not in (b"sequence", b"set"):
            raise InvalidMessage(f"expected (sequence ...), found {self.shown(value)}")
        return value.items[1:]


# -- writing ----------------------------------------------------------------------------------------------------------


def encode(message: AclMessage) -> bytes:
    """In UTF-8, in one line as far as the values have none."""
    out = [f"({message.performative.upper()}"]
    if message.sender is not None:
        out.append(f":sender {_agent(message.sender)}")
    for name, agents in ((":receiver", message.receivers), (":reply-to", message.reply_to)):
        if agents:
            out.append(f"{name} (set {' '.join(map(_agent, agents))})")
    if message.content is not None:
        out.append(f":content {_quoted(message.content)}")
    for name, field in TEXTS.items():
        if name == "protocol" and message.reply_by_ms > 0:  # its place in JADE's order
            out.append(f":reply-by {fipa_moment(message.reply_by_ms)}")
        if value := getattr(message, field):
            out.append(f":{name} {_value(value)}")
    out += (f":X-{name} {_value(value)}" for name, value in message.extras)
    return (" ".join(out) + ")").encode()


def _agent(agent: AgentId) -> str:
    out = [f"(agent-identifier :name {_value(agent.name)}"]
    if agent.addresses:
        out.append(f":addresses (sequence {' '.join(map(_value, agent.addresses))})")
    if agent.resolvers:
        out.append(f":resolvers (sequence {' '.join(map(_agent, agent.resolvers))})")
    out += (f":X-{name} {_value(value)}" for name, value in agent.extras)
    return " ".join(out) + ")"


def _value(text: str) -> str:
    return text if WORD.match(text) or NUMBER.match(text) else _quoted(text)


def _quoted(text: str) -> str:
    if text.endswith("\\"):
        return f'#{len(text.encode())}"{text}'
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'
