"""Generated ACL messages, and what the laws compare."""

import json
from typing import Any

from hypothesis import strategies as st

from caxton._fast.envelope import Envelope
from caxton.core.acl.message import AclMessage, AgentId
from caxton.core.performatives import ACT_CODES

letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.one_of(
    st.text(letters, min_size=1, max_size=12),
    st.sampled_from(['"', "\\", 'a\\"', "a\\", "x y", " blank ", "12", "-3.5", "+7",
                     "#2\"ab", "@a", "20261120T230000000Z",
                     "a\r\nb", "\x01\ufffe", "]]>", "&lt;", "(a (b))", "da0@10.0.0.2:1099/JADE", ":sender", "ü€😀"]),
)  # fmt: skip
slots = st.lists(
    st.tuples(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True), texts),
    max_size=3,
    unique_by=lambda slot: slot[0].lower(),
).map(tuple)
agents = st.recursive(
    st.builds(AgentId, texts, st.lists(texts, max_size=2).map(tuple), st.just(()), slots),
    lambda inner: st.builds(
        AgentId, texts, st.lists(texts, max_size=2).map(tuple), st.lists(inner, max_size=2).map(tuple), slots
    ),
    max_leaves=3,
)
some = st.one_of(st.none(), texts)
acl_messages = st.builds(
    AclMessage,
    performative=st.sampled_from(sorted(ACT_CODES)),
    sender=st.one_of(st.none(), agents),
    receivers=st.lists(agents, max_size=3).map(tuple),
    reply_to=st.lists(agents, max_size=2).map(tuple),
    content=st.one_of(some, st.just("")),
    reply_with=some,
    in_reply_to=some,
    encoding=some,
    language=some,
    ontology=some,
    reply_by_ms=st.one_of(st.just(0), st.integers(1, 253_402_300_799_999)),
    protocol=some,
    conversation_id=some,
    extras=slots,
)


# Any: JSON
def said(message: Envelope) -> dict[str, Any]:
    """What a sender said; content and params as values, for their blanks are no part of the message."""
    fields = json.loads(message.to_json())
    if not fields.get("params", True):
        del fields["params"]
    return fields
