"""Conversations made again from their messages, and who is waited for, in words."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton.core.conversations import Conversation
from caxton.core.performatives import Performative
from caxton.core.protocols import PROTOCOLS
from caxton.core.replay import Spoken, replay, waiting

NET = "fipa-contract-net"


def said(at: float, sender: str, performative: str, *receivers: str, protocol: str = NET, **fields: Any) -> Spoken:
    """Any: members of Spoken."""
    return Spoken(at=at, performative=performative, protocol=protocol, sender=sender, receivers=receivers, **fields)


def again(*messages: Spoken, now: float = 10.0) -> Conversation:
    found = replay("c", messages, now)
    assert found is not None
    return found


def states(found: Conversation) -> dict[str, str]:
    return {session.participant: session.state for session in found.sessions}


def test_each_peer_of_a_contract_net_has_its_state() -> None:
    found = again(
        said(1, "m", "cfp", "a", "b", "c", reply_by=5),
        said(2, "a", "propose", "m"),
        said(2, "b", "refuse", "m"),
        said(3, "b", "propose", "m", message_id="x"),
        said(6, "m", "accept-proposal", "a"),
    )
    assert states(found) == {"a": "COMMITTED", "b": "REFUSED", "c": "NO_BID"}
    assert (found.is_open, found.messages, found.out_of_sequence, found.started_at) == (True, 7, 1, 1)
    (violation,) = found.violations
    assert (violation.sender, violation.performative, violation.state) == ("b", "propose", "REFUSED")
    assert [waiting(session, 10.0) for session in found.sessions] == [
        "participant a has not answered the accept-proposal for 4.0 s",
        "",
        "",
    ]


def test_an_address_is_whoever_answers_it() -> None:
    call = said(1, "m", "cfp", "capability:weighing", reply_with="r")
    found = again(call, said(2, "scale", "propose", "m", in_reply_to="r"))
    assert states(found) == {"scale": "PROPOSED"}


def test_what_has_no_protocol_of_fipas_is_no_conversation() -> None:
    assert replay("c", [said(1, "a", "inform", "b", protocol=""), said(1, "a", "agree", "b")], 2.0) is None
    assert replay("c", [], 2.0) is None


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (9.1, "participant pricing has not answered the CFP, 4.1 s past reply_by"),
        (4.0, "participant pricing has not answered the CFP, 1.0 s before reply_by"),
    ],
)
def test_who_is_waited_for_is_said_in_words(now: float, words: str) -> None:
    (session,) = again(said(1, "m", "cfp", "pricing", reply_by=5), now=2.0).sessions
    assert waiting(session, now) == words


def test_who_goes_on_after_its_own_message_is_said_too() -> None:
    found = again(
        said(1, "i", "request", "p", protocol="fipa-request"), said(2, "p", "agree", "i", protocol="fipa-request")
    )
    assert waiting(found.sessions[0], 12.0) == "participant p has not sent inform or failure after its agree for 10.0 s"


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([protocol.name for protocol in PROTOCOLS]),
    st.lists(st.tuples(st.sampled_from(list(Performative)), st.sampled_from("ab"), st.floats(0, 5)), max_size=12),
)
def test_any_messages_are_a_conversation_or_none(protocol: str, acts: list[tuple[Performative, str, float]]) -> None:
    now = 0.0
    messages = []
    for act, sender, passes in acts:
        now += passes
        messages.append(said(now, sender, act, "b" if sender == "a" else "a", protocol=protocol))
    found = replay("c", messages, now)
    if found is not None:
        assert found.messages <= len(messages)
        assert len(found.violations) <= found.out_of_sequence
        for session in found.sessions:
            assert bool(waiting(session, now)) == bool(session.owes)
