"""Whatever stands in a message to `df`: it is answered, or refused with a word of FIPA's."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from caxton.core.answer import Unanswered
from caxton.core.directory.descriptions import Description, service_of
from caxton.core.directory.facilitator import Facilitator
from caxton.core.directory.requests import Mail

WORDS = ("action", "register", "modify", "search", "description", "name", "services", "type", "lease_time", "anna")
TEXTS = st.sampled_from(WORDS) | st.text(max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
DESCRIPTIONS = st.fixed_dictionaries(
    {"name": st.just("anna") | JSON},
    optional={
        "services": st.lists(st.dictionaries(st.sampled_from(["name", "type", "properties", "languages"]), JSON))
        | JSON,
        "lease-time": JSON,
        "protocols": JSON,
        "scope": JSON,
    },
)
CONSTRAINTS = st.dictionaries(st.sampled_from(["max_results", "max-depth", "search_id", "cursor"]), JSON)
REQUESTS = st.fixed_dictionaries(
    {"action": st.sampled_from(["register", "modify", "deregister", "search"]) | JSON},
    optional={"description": DESCRIPTIONS | JSON, "constraints": CONSTRAINTS | JSON},
)


def contents() -> Any:
    return st.binary(max_size=40) | (JSON | REQUESTS).map(lambda value: json.dumps(value).encode())


@pytest.mark.slow
@given(contents(), st.sampled_from(["request", "subscribe", "cancel", "inform"]))
@example(b'{"action":"register","description":{"name":"anna","ontologies":["\\ud800"]}}', "request")
@example(b'{"action":"register","description":{"name":"anna","lease_time":1e308}}', "request")
@example(b'{"action":"register","description":{"name":"anna","lease_time":"9999-12-31T23:59:59"}}', "request")
@example(b'{"action":"search","constraints":{"max_results":-99999999999999999999,"cursor":1e30}}', "request")
@example(b'{"action":"search","description":{"services":[{"properties":{"x":[1]}}]}}', "request")
def test_any_content_is_answered_or_refused(content: bytes, act: str) -> None:
    df = Facilitator()
    df.declare("bob", Description(name="bob", services=(service_of("sums"),)), 0.0)
    mail = Mail(performative=act, sender="anna", content=content, conversation_id="c", message_id="m")
    try:
        answers = df.receive(mail, 0.0)
    except Unanswered as refusal:
        answers = [refusal.answer({})]
    for answer in answers:
        json.dumps(answer.content, allow_nan=False).encode()
    entry = df.directory.get("bob", 0.0)
    assert entry is not None
    assert entry.description.services == (service_of("sums"),)
