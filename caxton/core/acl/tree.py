"""XML from outside as a small tree: for ACL messages (`xml.py`) and for the envelopes of the HTTP transport.

Expat reads, and handlers here refuse what makes XML dangerous: a document type (so no entity can be declared and none
can expand), processing instructions, too many elements, too deep a nesting. That is what defusedxml does as well; with
every handler in thirty lines there is nothing left for a dependency to do. Expat keeps its own stack on the heap.
"""

from typing import Final
from xml.parsers import expat

import attrs

from caxton.core.acl.message import AclLimits
from caxton.core.errors import InvalidMessage

ATTRIBUTES: Final = 32  # of one element


@attrs.define(eq=False)
class Element:
    tag: str
    attributes: dict[str, str]
    children: "list[Element]" = attrs.field(factory=list)
    pieces: list[str] = attrs.field(factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def find(self, tag: str) -> "Element | None":
        return next((child for child in self.children if child.tag == tag), None)


def parse(data: bytes, limits: AclLimits) -> Element:
    """The root. Raises InvalidMessage for what is no XML, or more of it than the limits allow."""
    if len(data) > limits.size:
        raise InvalidMessage(f"the XML has {len(data)} bytes, the limit is {limits.size}")
    top = Element("", {})
    stack = [top]
    count = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > limits.tokens:
            raise InvalidMessage(f"the XML has more than {limits.tokens} elements")
        if len(stack) > limits.depth:
            raise InvalidMessage(f"XML elements are nested deeper than {limits.depth}")
        if len(attributes) > ATTRIBUTES:
            raise InvalidMessage(f"element {tag[:40]!r} has {len(attributes)} attributes, the limit is {ATTRIBUTES}")
        element = Element(tag, attributes)
        stack[-1].children.append(element)
        stack.append(element)

    def refuse(*_: object) -> int:
        raise InvalidMessage("a document type, an entity or a processing instruction has no place in a message")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: stack.pop() and None
    parser.CharacterDataHandler = lambda text: stack[-1].pieces.append(text)
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.ProcessingInstructionHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise InvalidMessage(f"not XML: {error}") from None
    return top.children[0]


def escape(text: str) -> str:
    """*text* between tags or in an attribute, so that exactly it is read again; see `is_exact` for what cannot be."""
    for plain, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(plain, safe)
    for plain in "\t\n\r":  # line ends are normalised, and in attributes all blanks
        text = text.replace(plain, f"&#{ord(plain)};")
    return text


def is_exact(text: str) -> bool:
    """Whether XML 1.0 can hold these characters."""
    return all(
        "\x20" <= letter <= "\ud7ff" or letter in "\t\n\r" or "\ue000" <= letter <= "\ufffd" or letter > "\uffff"
        for letter in text
    )
