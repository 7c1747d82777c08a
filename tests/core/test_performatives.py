"""The acts and their spellings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.core.errors import InvalidMessage
from caxton.core.performatives import ACT_CODES, ACTS_BY_CODE, ALIASES, Performative, canonical


def test_there_are_22_acts_with_the_codes_of_fipa() -> None:
    assert sorted(ACT_CODES.values()) == list(range(0x01, 0x17))
    # samples of FIPA00069, so that reordering the enum is noticed
    assert ACT_CODES["accept-proposal"] == 0x01
    assert ACT_CODES["inform"] == 0x08
    assert ACT_CODES["not-understood"] == 0x0B
    assert ACT_CODES["query-ref"] == 0x10
    assert ACT_CODES["request"] == 0x13
    assert ACT_CODES["subscribe"] == 0x16
    assert all(ACTS_BY_CODE[code] == name for name, code in ACT_CODES.items())


@pytest.mark.parametrize(
    ("text", "act"),
    [
        ("request", "request"),
        ("REQUEST", "request"),
        ("query_if", "query-if"),
        ("Query_Ref", "query-ref"),
        ("ACCEPT_PROPOSAL", "accept-proposal"),
        ("not_understood", "not-understood"),
        ("accept", "accept-proposal"),
        ("REJECT", "reject-proposal"),
        ("query", "query-ref"),
    ],
)
def test_spellings(text: str, act: str) -> None:
    assert canonical(text) == act


@pytest.mark.parametrize("text", ["", "counter-propose", "inform-done", "requests", "request ", "query-", "rëquest"])
def test_whatever_else_is_unknown(text: str) -> None:
    with pytest.raises(InvalidMessage, match="unknown performative"):
        canonical(text)


@given(st.text())
def test_any_text_is_an_act_or_an_invalid_message(text: str) -> None:
    try:
        name = canonical(text)
    except InvalidMessage:
        return
    assert canonical(name) == name
    assert Performative(name) in Performative
    assert text.isascii() or name not in ALIASES.values()
