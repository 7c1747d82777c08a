"""FIPA00071: an ACL message as XML, `fipa.acl.rep.xml.std`.

    <fipa-message act="inform"><sender><agent-identifier><name id="a@here"/>...</agent-identifier></sender>
    <receiver>...</receiver><content>text</content><reply-by time="20261120T230000000Z"/>
    <user-defined href="X-key">value</user-defined></fipa-message>

Rule 1: elements come in any order, each once; a name may be the attribute `id` or the text.
Rule 2: blanks around a value that is not the content are indentation. A value that begins or ends with one, or holds
        characters that XML has not, is written as the inside of a JSON string and marked `caxton-text="json"`.
"""

from typing import Final

import msgspec

from caxton.core.acl.message import (
    TEXTS,
    AclLimits,
    AclMessage,
    AgentId,
    MessageBuilder,
    agent_id,
    check_text,
    fipa_moment,
    parameter_name,
    read_moment,
)
from caxton.core.acl.tree import Element, escape, is_exact, parse
from caxton.core.errors import InvalidMessage

NAME: Final = "fipa.acl.rep.xml.std"
LIMITS: Final = AclLimits()
MARK: Final = "caxton-text"

_decode_text = msgspec.json.Decoder(str).decode


# -- reading ----------------------------------------------------------------------------------------------------------


def decode(data: bytes, *, now_ms: int = 0, limits: AclLimits = LIMITS) -> AclMessage:
    """The message. Raises InvalidMessage for anything else."""
    root = parse(data, limits)
    if root.tag != "fipa-message":
        raise InvalidMessage(f"expected the element fipa-message, found {root.tag[:40]!r}")
    builder = MessageBuilder(root.attributes.get("act") or root.attributes.get("communicative-act") or "")
    for child in root.children:
        tag = child.tag
        if tag == "sender":
            agents = _agents(child)
            if len(agents) != 1:
                raise InvalidMessage(f"a message has one sender, this one {len(agents)}")
            builder.put("sender", agents[0])
        elif tag in ("receiver", "reply-to"):
            builder.put("receivers" if tag == "receiver" else "reply_to", _agents(child))
        elif tag == "content":
            builder.put_content(_marked(child, child.text) if MARK in child.attributes else child.text)
        elif tag == "reply-by":
            builder.put("reply_by_ms", read_moment((child.attributes.get("time") or child.text).strip(), now_ms))
        elif tag in TEXTS:
            builder.put_text(tag, _value(child, "href"))
        elif tag == "user-defined":
            builder.put_extra(child.attributes.get("href", ""), _value(child))
        else:
            raise InvalidMessage(f"unknown element {tag[:40]!r} in fipa-message")
    attribute = root.attributes.get("conversation-id")
    if attribute and root.find("conversation-id") is None:
        builder.put_text("conversation-id", attribute)
    return builder.build()


def _value(element: Element, attribute: str = "") -> str:
    """Its text, or the attribute when that says it."""
    text = element.attributes.get(attribute)
    if MARK in element.attributes:
        return _marked(element, element.text if text is None else text)
    return element.text.strip() if text is None else text


def _marked(element: Element, text: str) -> str:
    if element.attributes[MARK] != "json":
        raise InvalidMessage(f"{MARK} is {element.attributes[MARK][:40]!r}, expected 'json'")
    try:
        plain: str = _decode_text(f'"{text}"')
        plain.encode()
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidMessage(f"the text of {element.tag} is not the inside of a JSON string: {error}") from None
    return plain


def _agents(element: Element) -> tuple[AgentId, ...]:
    """Bounded by the depth of the tree."""
    for child in element.children:
        if child.tag != "agent-identifier":
            raise InvalidMessage(f"expected agent-identifier in {element.tag}, found {child.tag[:40]!r}")
    return tuple(map(read_agent, element.children))


def read_agent(element: Element) -> AgentId:
    name, addresses, resolvers, extras = None, None, None, []
    for child in element.children:
        if child.tag == "name" and name is None:
            name = _value(child, "id" if "id" in child.attributes else "refid")
        elif child.tag == "addresses" and addresses is None:
            addresses = [_value(url, "href") for url in child.children if url.tag == "url"]
        elif child.tag == "resolvers" and resolvers is None:
            resolvers = _agents(child)
        elif child.tag == "user-defined":
            value = _value(child)
            check_text(value)
            extras.append((parameter_name(child.attributes.get("href", "")), value))
        elif child.tag in ("name", "addresses", "resolvers"):
            raise InvalidMessage(f"{child.tag} of an agent-identifier comes twice")
        else:
            raise InvalidMessage(f"unknown element {child.tag[:40]!r} in agent-identifier")
    return agent_id(name, addresses or (), resolvers or (), extras)


# -- writing ----------------------------------------------------------------------------------------------------------


def encode(message: AclMessage) -> bytes:
    out = [f'<?xml version="1.0" encoding="UTF-8"?><fipa-message act="{message.performative}">']
    if message.sender is not None:
        out.append(f"<sender>{_agent(message.sender)}</sender>")
    for tag, agents in (("receiver", message.receivers), ("reply-to", message.reply_to)):
        if agents:
            out.append(f"<{tag}>{''.join(map(_agent, agents))}</{tag}>")
    if message.content is not None:
        out.append(_element("content", message.content, is_content=True))
    out += (_element(tag, value) for tag, field in TEXTS.items() if (value := getattr(message, field)))
    if message.reply_by_ms > 0:
        out.append(f'<reply-by time="{fipa_moment(message.reply_by_ms)}"/>')
    out += (_user_defined(name, value) for name, value in message.extras)
    out.append("</fipa-message>")
    return "".join(out).encode()


def _agent(agent: AgentId) -> str:
    out = ["<agent-identifier>", _attribute("name", "id", agent.name)]
    if agent.addresses:
        urls = "".join(_attribute("url", "href", url) for url in agent.addresses)
        out.append(f"<addresses>{urls}</addresses>")
    if agent.resolvers:
        out.append(f"<resolvers>{''.join(map(_agent, agent.resolvers))}</resolvers>")
    out += (_user_defined(name, value) for name, value in agent.extras)
    out.append("</agent-identifier>")
    return "".join(out)


def _user_defined(name: str, value: str) -> str:
    return _element("user-defined", value, f' href="{escape("X-" + name)}"')


def _element(tag: str, text: str, attributes: str = "", *, is_content: bool = False) -> str:
    if not is_exact(text) or (not is_content and text != text.strip()):
        return f'<{tag}{attributes} {MARK}="json">{escape(_inside(text))}</{tag}>'
    return f"<{tag}{attributes}>{escape(text)}</{tag}>"


def _attribute(tag: str, name: str, text: str) -> str:
    mark = "" if is_exact(text) else f' {MARK}="json"'
    return f'<{tag} {name}="{escape(_inside(text) if mark else text)}"{mark}/>'


def _inside(text: str) -> str:
    """The inside of a JSON string, with blanks and what XML lacks as escapes."""
    inside = msgspec.json.encode(text).decode()[1:-1]
    return "".join(
        letter if is_exact(letter) and not (letter.isspace() or ord(letter) == 0x85) else f"\\u{ord(letter):04x}"
        for letter in inside
    )
