"""FIPA00084, the HTTP transport, as bytes: a multipart/mixed body of an envelope in XML (FIPA00085) and a message.

    POST /acc                                   Content-Type: multipart/mixed ; boundary="x"

    This is not part of the MIME multipart encoded message.
    --x
    Content-Type: application/xml

    <?xml version="1.0"?><envelope><params index="1"><to>...</to><from>...</from>...</params></envelope>
    --x
    Content-Type: application/text

    (REQUEST :sender ...)
    --x--

Rule 1: a body has two parts and is split by one expression over it; nothing is kept but the two slices.
Rule 2: what is written is what JADE's own reader needs: the boundary in quotes, the envelope in one line, the message
        in one line (JADE joins lines with blanks and drops empty ones).
"""

import re
from typing import Final

from msgspec import Struct

from caxton.core.acl import bits, string, xml
from caxton.core.acl.message import AclLimits, AclMessage, AgentId, fipa_moment
from caxton.core.acl.tree import Element, escape, parse
from caxton.core.errors import InvalidMessage

CONTENT_TYPE = re.compile(r'multipart/mixed\s*;.*?\bboundary\s*=\s*(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.I | re.S)
HEADERS_END = re.compile(rb"\r?\n\r?\n")
CHARSET = re.compile(rb'^content-type:[^\r\n]*;\s*charset\s*=\s*"?([\w.:-]{1,40})', re.I | re.M)
PREAMBLE: Final = "This is not part of the MIME multipart encoded message."
REPRESENTATIONS: Final = {"string": string.NAME, "xml": xml.NAME, "bitefficient": bits.NAME}
CHARSETS: Final = {
    "": "utf-8",
    "us-ascii": "utf-8",  # JADE says it whatever it sends
    "ascii": "utf-8",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
}


class Envelope(Struct, frozen=True, kw_only=True):
    """What the transport needs to know of a message."""

    to: tuple[AgentId, ...]
    sender: AgentId | None
    representation: str
    encoding: str = ""
    intended: tuple[AgentId, ...] = ()

    @property
    def receivers(self) -> tuple[AgentId, ...]:
        """Whom this copy of the message is for."""
        return self.intended or self.to


def read_request(content_type: str, body: bytes, *, now_ms: int, limits: AclLimits) -> tuple[Envelope, AclMessage]:
    """Envelope and message of one request. Raises InvalidMessage."""
    first, second = split(content_type, body)
    envelope = read_envelope(first[1], limits)
    return envelope, read_payload(envelope, *second, now_ms=now_ms, limits=limits)


def split(content_type: str, body: bytes) -> list[tuple[bytes, bytes]]:
    """Headers and content of the two parts."""
    found = CONTENT_TYPE.match(content_type.strip()[:1000])
    if found is None:
        raise InvalidMessage(
            f"Content-Type is {content_type[:100]!r}", hint='expected multipart/mixed ; boundary="..."'
        )
    boundary = re.escape((found[1] or found[2]).encode("latin-1", "replace"))
    marks = list(re.finditer(rb"(?:\A|\r?\n)--" + boundary + rb"(--)?[ \t]*(?=\r?\n|\Z)", body))
    closing = next((number for number, mark in enumerate(marks) if mark[1]), None)
    if closing is None:
        raise InvalidMessage("the multipart body has no closing boundary")
    if closing != 2:
        raise InvalidMessage(f"the multipart body has {closing} parts, expected 2: envelope and message")
    return [_part(body[marks[n].end() : marks[n + 1].start()]) for n in range(2)]


def _part(part: bytes) -> tuple[bytes, bytes]:
    """The line end of the boundary stands before the headers; without headers an empty line follows it."""
    end = HEADERS_END.search(part)
    if end is None:
        raise InvalidMessage("a part of the multipart body has no empty line between headers and content")
    return part[: end.start()], part[end.end() :]


# -- the envelope -----------------------------------------------------------------------------------------------------


def read_envelope(data: bytes, limits: AclLimits) -> Envelope:
    root = parse(data.strip(), limits)
    if root.tag != "envelope":
        raise InvalidMessage(f"expected the element envelope, found {root.tag[:40]!r}")
    params = [child for child in root.children if child.tag == "params"]
    params.sort(key=_index)  # each platform on the way may add one, and the last that says something counts
    found: dict[str, list[Element]] = {}
    for each in params:
        tags: dict[str, list[Element]] = {}
        for child in each.children:
            tags.setdefault(child.tag, []).append(child)
        found |= tags
    representation = _text(found, "acl-representation").lower() or string.NAME
    to = _agents(found, "to")
    if not to and "intended-receiver" not in found:
        raise InvalidMessage("the envelope names no receiver")
    senders = _agents(found, "from")
    return Envelope(
        to=to,
        sender=senders[0] if senders else None,
        representation=representation,
        encoding=_text(found, "payload-encoding"),
        intended=_agents(found, "intended-receiver"),
    )


def _index(params: Element) -> int:
    text = params.attributes.get("index", "1")
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise InvalidMessage(f"params of the envelope have the index {text[:20]!r}, expected a number")
    return int(text)


def _text(found: dict[str, list[Element]], tag: str) -> str:
    return found[tag][-1].text.strip() if tag in found else ""


def _agents(found: dict[str, list[Element]], tag: str) -> tuple[AgentId, ...]:
    return tuple(
        xml.read_agent(child)
        for element in found.get(tag, [])
        for child in element.children
        if child.tag == "agent-identifier"
    )


def write_envelope(envelope: Envelope, now_ms: int, size: int) -> str:
    out = ['<?xml version="1.0"?>\n<envelope><params index="1">']
    out += (f"<to>{_agent(agent)}</to>" for agent in envelope.to)
    if envelope.sender is not None:
        out.append(f"<from>{_agent(envelope.sender)}</from>")
    out.append(f"<acl-representation>{envelope.representation}</acl-representation>")
    out.append(f"<payload-length>{size}</payload-length>")
    if envelope.encoding:
        out.append(f"<payload-encoding>{envelope.encoding}</payload-encoding>")
    out.append(f"<date>{fipa_moment(now_ms)}</date>")
    out += (f"<intended-receiver>{_agent(agent)}</intended-receiver>" for agent in envelope.intended)
    out.append("</params></envelope>")
    return "".join(out)


def _agent(agent: AgentId) -> str:
    """Names and addresses as text: JADE reads no attributes here."""
    urls = "".join(f"<url>{escape(url)}</url>" for url in agent.addresses)
    return f"<agent-identifier><name>{escape(agent.name)}</name><addresses>{urls}</addresses></agent-identifier>"


# -- the message ------------------------------------------------------------------------------------------------------


def read_payload(envelope: Envelope, headers: bytes, data: bytes, *, now_ms: int, limits: AclLimits) -> AclMessage:
    said = CHARSET.search(headers)
    name = (envelope.encoding or (said[1].decode("ascii", "replace") if said else "")).lower()
    charset = CHARSETS.get(name)
    if charset is None:
        raise InvalidMessage(f"the message is in {name[:40]!r}", hint="send UTF-8, US-ASCII or ISO-8859-1")
    if envelope.representation == string.NAME:
        return string.decode(data, charset=charset, now_ms=now_ms, limits=limits)
    if envelope.representation == xml.NAME:
        return xml.decode(data.strip(), now_ms=now_ms, limits=limits)
    if envelope.representation == bits.NAME:
        return bits.decode(data, charset=charset, now_ms=now_ms, limits=limits)
    raise InvalidMessage(
        f"the message is in {envelope.representation[:60]!r}", hint=f"send one of {', '.join(REPRESENTATIONS.values())}"
    )


def write_payload(message: AclMessage, representation: str) -> bytes:
    if representation == xml.NAME:
        return xml.encode(message)
    return bits.encode(message) if representation == bits.NAME else string.encode(message)


def write_request(message: AclMessage, envelope: Envelope, *, boundary: str, now_ms: int) -> tuple[str, bytes]:
    """Content-Type and body. The boundary must not occur in the message: whoever makes it draws it at random."""
    payload = write_payload(message, envelope.representation)
    kind = (
        f"application/{envelope.representation}; charset={envelope.encoding}"
        if envelope.encoding
        else "application/text"
    )
    head = (
        f"{PREAMBLE}\r\n--{boundary}\r\nContent-Type: application/xml\r\n\r\n"
        f"{write_envelope(envelope, now_ms, len(payload))}\r\n--{boundary}\r\nContent-Type: {kind}\r\n\r\n"
    )
    return f'multipart/mixed ; boundary="{boundary}"', head.encode() + payload + f"\r\n--{boundary}--\r\n".encode()
