"""A contract net, message by message."""

import json
from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton.core.negotiation.bids import Strategy
from caxton.core.negotiation.contract_net import ContractNet, PeerState
from caxton.core.negotiation.messages import Heard, Said, Status
from caxton.core.performatives import Performative
from tests.core.negotiation.saying import acts, answer, content, read_back, to

CHEAPEST = Strategy(name="lowest_cost")


def net(*participants: str, **fields: Any) -> ContractNet:
    fields = {"strategy": CHEAPEST, "wait": 10.0, **fields}
    return ContractNet(id="t", action=msgspec.Raw(b'{"do":1}'), participants=list(participants), **fields)


def called(*participants: str, **fields: Any) -> tuple[ContractNet, dict[str, Said]]:
    """A contract net that has called everybody, and what it told each."""
    one = net(*participants, **fields)
    one.start(0.0)
    return one, {said.to: said for said in one.take_outbox()}


def state(one: ContractNet, name: str) -> PeerState:
    return one.rounds[-1].peers[name].state


def test_everybody_is_called_with_a_reply_with_of_its_own() -> None:
    one = net("a", "b", "a")
    one.start(100.0)
    said = one.take_outbox()
    assert acts(said) == [("a", "cfp"), ("b", "cfp")]
    assert len({each.reply_with for each in said}) == 2
    assert {each.conversation_id for each in said} == {"t"}
    assert {each.protocol for each in said} == {"fipa-contract-net"}
    assert {each.reply_by for each in said} == {110.0}
    assert content(said[0])["action"] == {"do": 1}
    message = json.loads(said[0].to_json("cnp", "tasks"))
    assert message["reply_by"] == "1970-01-01T00:01:50.000Z"


def test_the_cheapest_bid_wins_and_the_others_are_rejected() -> None:
    one, cfp = called("a", "b", "c", standby=0)
    for name, cost in (("a", 3), ("b", 1), ("c", 2)):
        assert not one.outbox
        one.receive(answer(cfp[name], "propose", {"cost": cost}), 1.0)
    said = one.take_outbox()
    assert acts(said) == [("b", "accept-proposal"), ("c", "reject-proposal"), ("a", "reject-proposal")]
    assert to(said, "b").in_reply_to == "of-b"
    assert content(to(said, "a"))["reason"] == "another proposal was better"
    assert one.status is Status.IN_PROGRESS
    one.receive(answer(to(said, "b"), "inform", {"result": 7}), 2.0)
    assert one.status is Status.COMPLETED
    assert [(name, bytes(peer.result)) for name, peer in one.results] == [("b", b'{"result": 7}')]
    assert not one.outbox
    read_back(one)


def test_a_round_ends_in_time_though_somebody_never_answers() -> None:
    one, cfp = called("a", "b")
    one.receive(answer(cfp["a"], "propose", {"cost": 3}), 1.0)
    assert one.next_deadline() == 10.0
    one.tick(9.9)
    assert not one.outbox
    one.tick(10.0)
    assert acts(one.take_outbox()) == [("a", "accept-proposal")]
    assert state(one, "b") is PeerState.NO_BID


def test_a_late_proposal_is_rejected_once_as_late() -> None:
    one, cfp = called("a", "b")
    one.tick(10.0)
    assert one.status is Status.FAILED
    for _ in range(3):
        one.receive(answer(cfp["a"], "propose", {"cost": 3}), 11.0)
    said = one.take_outbox()
    assert acts(said) == [("a", "reject-proposal")]
    assert content(said[0])["reason"] == "late"
    assert [note.what for note in one.notes] == ["out of sequence: propose while late"] * 2


def test_what_was_accepted_in_time_counts_though_it_is_seen_later() -> None:
    one, cfp = called("a")
    one.receive(answer(cfp["a"], "propose", {"cost": 3}, at=9.0), 20.0)
    assert acts(one.take_outbox()) == [("a", "accept-proposal")]
    two, cfp = called("a")
    two.receive(answer(cfp["a"], "propose", {"cost": 3}, at=10.0), 10.0)
    assert acts(two.take_outbox()) == [("a", "reject-proposal")]


def test_refusals_and_the_like_end_only_their_own_session() -> None:
    one, cfp = called("a", "b", "c", "d")
    one.receive(answer(cfp["a"], "refuse", {"reason": "busy"}), 1.0)
    one.receive(answer(cfp["b"], "not-understood", {"reason": "what?"}), 1.0)
    failure = answer(
        cfp["c"], "failure", {"reason": {"mts_error": "agent-not-found"}}, sender="ams", conversation_id=""
    )
    one.receive(failure, 1.0)
    assert one.status is Status.CALLING
    one.receive(answer(cfp["d"], "propose", {"cost": 1}), 1.0)
    assert acts(one.take_outbox()) == [("d", "accept-proposal")]
    found = {name: (peer.state.value, peer.reason) for name, peer in one.rounds[0].peers.items()}
    assert found["a"] == ("refused", "busy")
    assert found["b"] == ("not_understood", "what?")
    assert found["c"] == ("failed", "agent-not-found")


def test_without_any_proposal_it_fails_and_says_why() -> None:
    one, cfp = called("a", "b", "c")
    one.receive(answer(cfp["a"], "refuse"), 1.0)
    one.receive(answer(cfp["b"], "refuse"), 1.0)
    one.tick(10.0)
    assert (one.status, one.reason) == (Status.FAILED, "nobody proposed anything usable (1 no bid, 2 refused)")
    assert one.next_deadline() == inf


def test_a_bad_bid_is_rejected_with_the_reason_and_hurts_nobody() -> None:
    one, cfp = called("a", "b")
    one.receive(answer(cfp["a"], "propose", {"cost": -5}), 1.0)
    said = one.take_outbox()
    assert acts(said) == [("a", "reject-proposal")]
    assert content(said[0])["reason"] == "bad bid: cost is negative: -5"
    one.receive(answer(cfp["b"], "propose", {"cost": 5}), 1.0)
    assert acts(one.take_outbox()) == [("b", "accept-proposal")]


def test_a_liar_cannot_speak_for_another() -> None:
    one, cfp = called("a", "b")
    one.receive(answer(cfp["a"], "propose", {"cost": 0}, sender="mallory"), 1.0)
    one.receive(answer(cfp["a"], "propose", {"cost": 0}, sender="b"), 1.0)
    assert state(one, "a") is PeerState.CALLED
    assert state(one, "b") is PeerState.CALLED
    assert acts(one.take_outbox()) == [("mallory", "reject-proposal")]
    assert [note.who for note in one.notes] == ["mallory", "b"]
    one.receive(answer(cfp["b"], "inform", "done!"), 1.0)  # nobody asked
    assert state(one, "b") is PeerState.CALLED
    assert one.notes[-1].what == "out of sequence: inform while called"
    one.receive(answer(cfp["a"], "propose", {"cost": 0}, sender="ams"), 1.0)
    assert state(one, "a") is PeerState.CALLED


def test_who_forgets_in_reply_to_is_known_by_the_conversation() -> None:
    one, cfp = called("a")
    one.receive(answer(cfp["a"], "propose", {"cost": 3}, in_reply_to=""), 1.0)
    assert acts(one.take_outbox()) == [("a", "accept-proposal")]


def test_the_next_best_stands_by_and_takes_over() -> None:
    one, cfp = called("a", "b", "c")
    for name, cost in (("a", 1), ("b", 2), ("c", 3)):
        one.receive(answer(cfp[name], "propose", {"cost": cost}), 1.0)
    said = one.take_outbox()
    assert acts(said) == [("a", "accept-proposal"), ("c", "reject-proposal")]
    one.receive(answer(to(said, "a"), "failure", {"reason": "broke"}), 2.0)
    said = one.take_outbox()
    assert acts(said) == [("b", "accept-proposal")]
    one.receive(answer(said[0], "inform", 1), 3.0)
    assert one.status is Status.COMPLETED


def test_who_stands_by_is_released_when_the_work_is_done() -> None:
    one, cfp = called("a", "b")
    for name, cost in (("a", 1), ("b", 2)):
        one.receive(answer(cfp[name], "propose", {"cost": cost}), 1.0)
    said = one.take_outbox()
    assert acts(said) == [("a", "accept-proposal")]
    one.receive(answer(said[0], "inform", 1), 3.0)
    assert acts(one.take_outbox()) == [("b", "reject-proposal")]


def test_a_proposal_holds_only_as_long_as_it_says() -> None:
    one, cfp = called("a", "b")
    one.receive(answer(cfp["a"], "propose", {"cost": 1}), 1.0)
    one.receive(answer(cfp["b"], "propose", {"cost": 2}, reply_by=5.0), 1.0)
    award = to(one.take_outbox(), "a")
    assert one.next_deadline() == 5.0
    one.tick(5.0)
    assert acts(one.take_outbox()) == [("b", "reject-proposal")]
    one.receive(answer(award, "failure"), 6.0)
    # b may propose again, in a round of its own
    (again,) = one.take_outbox()
    assert (again.to, again.performative, again.conversation_id) == ("b", "cfp", "t/2")


def test_a_new_round_is_a_new_conversation_with_those_who_proposed() -> None:
    one, cfp = called("a", "b", "c", standby=0, max_rounds=2)
    one.receive(answer(cfp["a"], "propose", {"cost": 1}), 1.0)
    one.receive(answer(cfp["b"], "propose", {"cost": 2}), 1.0)
    one.receive(answer(cfp["c"], "refuse"), 1.0)
    said = one.take_outbox()
    one.receive(answer(to(said, "a"), "failure"), 2.0)
    said = one.take_outbox()
    assert acts(said) == [("b", "cfp")]
    assert said[0].conversation_id == "t/2"
    assert one.status is Status.CALLING
    one.receive(answer(said[0], "propose", {"cost": 2}), 3.0)
    said = one.take_outbox()
    one.receive(answer(said[0], "failure"), 4.0)
    assert one.status is Status.FAILED  # two rounds at most
    assert "a, b did not do the work" in one.reason


def test_a_winner_that_takes_too_long_is_told_to_stop_and_replaced() -> None:
    one, cfp = called("a", "b", work=60.0)
    for name, cost in (("a", 1), ("b", 2)):
        one.receive(answer(cfp[name], "propose", {"cost": cost}), 1.0)
    award = to(one.take_outbox(), "a")
    assert award.reply_by == 61.0
    assert one.next_deadline() == 61.0
    one.tick(61.0)
    said = one.take_outbox()
    assert acts(said) == [("a", "cancel"), ("b", "accept-proposal")]
    one.receive(answer(award, "inform", "late"), 62.0)
    assert one.notes[-1].what == "informs after its time"
    one.receive(answer(to(said, "b"), "inform", "in time"), 63.0)
    assert one.status is Status.COMPLETED


def test_a_result_out_of_time_counts_while_somebody_is_wanted() -> None:
    one, cfp = called("a", "b", work=60.0, standby=0)
    for name, cost in (("a", 1), ("b", 2)):
        one.receive(answer(cfp[name], "propose", {"cost": cost}), 1.0)
    award = to(one.take_outbox(), "a")
    one.tick(61.0)
    assert acts(one.take_outbox()) == [("a", "cancel"), ("b", "cfp")]
    one.receive(answer(award, "inform", "here"), 62.0)
    assert [name for name, _ in one.results] == ["a"]


def test_several_winners_and_what_is_missing_at_the_end() -> None:
    one, cfp = called(*"abcd", winners=2, standby=0, max_rounds=1)
    for name, cost in (("a", 1), ("b", 2), ("c", 3)):
        one.receive(answer(cfp[name], "propose", {"cost": cost}), 1.0)
    one.receive(answer(cfp["d"], "refuse"), 1.0)
    said = one.take_outbox()
    assert acts(said) == [("a", "accept-proposal"), ("b", "accept-proposal"), ("c", "reject-proposal")]
    one.receive(answer(to(said, "a"), "inform", 1), 2.0)
    assert one.status is Status.IN_PROGRESS
    one.receive(answer(to(said, "b"), "failure"), 2.0)
    assert one.status is Status.PARTIAL
    assert one.reason.startswith("1 of 2 results: b did not do the work")


def test_the_iterated_net_calls_again_those_who_proposed() -> None:
    one, cfp = called("a", "b", "c", improvements=1, standby=0)
    one.receive(answer(cfp["a"], "propose", {"cost": 5}), 1.0)
    one.receive(answer(cfp["b"], "propose", {"cost": 4}), 1.0)
    one.receive(answer(cfp["c"], "refuse"), 1.0)
    said = one.take_outbox()
    assert acts(said) == [("a", "cfp"), ("b", "cfp")]
    assert {each.protocol for each in said} == {"fipa-iterated-contract-net"}
    assert {each.conversation_id for each in said} == {"t"}
    assert content(said[0])["condition"]["best_bid"] == {"cost": 4.0}
    one.receive(answer(to(said, "a"), "propose", {"cost": 3}), 2.0)
    one.receive(answer(to(said, "b"), "propose", {"cost": 4}), 2.0)
    assert acts(one.take_outbox()) == [("a", "accept-proposal"), ("b", "reject-proposal")]


def test_cancelling_tells_everybody_and_ends_it() -> None:
    one, cfp = called("a", "b", "c")
    one.receive(answer(cfp["a"], "propose", {"cost": 5}), 1.0)
    one.receive(answer(cfp["b"], "refuse"), 1.0)
    one.cancel("no longer needed", 2.0)
    said = one.take_outbox()
    assert acts(said) == [("a", "reject-proposal"), ("c", "cancel")]
    assert one.status is Status.CANCELLED
    one.receive(answer(to(said, "c"), "inform", "done"), 3.0)  # the cancel meta-protocol's yes
    one.receive(answer(cfp["c"], "propose", {"cost": 1}), 3.0)
    assert [note.what for note in one.notes] == ["out of sequence: propose while cancelled"]
    one.cancel("again", 4.0)
    assert not one.outbox


def test_who_cannot_be_reached_at_all_is_out() -> None:
    one, cfp = called("a", "b")
    one.unreachable(cfp["a"].message_id, "a", "t", "no agent has the name", 0.0)
    one.receive(answer(cfp["b"], "propose", {"cost": 1}), 1.0)
    said = one.take_outbox()
    assert acts(said) == [("b", "accept-proposal")]
    one.unreachable(said[0].message_id, "b", "t", "gone", 2.0)
    assert one.status is Status.FAILED


def test_nobody_to_call_is_a_failure_at_once() -> None:
    one, _ = called()
    assert (one.status, one.reason) == (Status.FAILED, "there is nobody to call")


def test_a_thousand_participants() -> None:
    names = [f"p{i}" for i in range(1000)]
    one, cfp = called(*names, standby=2)
    for i, name in enumerate(names):
        one.receive(answer(cfp[name], "propose", {"cost": (i * 7919) % 1000}), 1.0)
    said = one.take_outbox()
    assert sum(each.performative == "accept-proposal" for each in said) == 1
    assert sum(each.performative == "reject-proposal" for each in said) == 997
    assert said[0].to == "p0"
    read_back(one)


def test_what_is_said_again_after_a_crash_has_the_same_ids() -> None:
    one, two = net("a", "b"), net("a", "b")
    one.start(0.0)
    two.start(0.0)
    assert [said.message_id for said in one.outbox] == [said.message_id for said in two.outbox]
    assert one.outbox[0].message_id != one.outbox[1].message_id


names = st.sampled_from(["a", "b", "c", "mallory", "ams", ""])
steps = st.lists(
    st.tuples(
        st.sampled_from([*Performative, "nonsense", ""]),
        names,
        st.integers(0, 12),  # which of the messages said it answers
        st.sampled_from([b"null", b'{"cost":1}', b'{"cost":-1}', b'{"cost":2,"confidence":0.5}', b"[", b'"x"']),
        st.sampled_from([0.0, 0.0, 1.0, 20.0]),  # time that passes before
        st.booleans(),  # the sender is who was asked
    ),
    max_size=25,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(steps, st.integers(1, 3), st.integers(0, 2), st.integers(1, 3), st.integers(0, 2))
def test_whatever_comes_nothing_breaks(
    script: list[Any], winners: int, standby: int, max_rounds: int, improvements: int
) -> None:
    one = net(
        *"abc", winners=winners, standby=standby, max_rounds=max_rounds, improvements=improvements, work=15.0, wait=10.0
    )
    one.start(0.0)
    said = one.take_outbox()
    now = 0.0
    for act, sender, which, raw, passes, honest in script:
        now += passes
        one.tick(now)
        assert one.next_deadline() > now
        said += one.take_outbox()
        asked = said[which % len(said)]
        heard = Heard(
            performative=act,
            sender=asked.to if honest else sender,
            conversation_id=asked.conversation_id,
            in_reply_to=asked.reply_with,
            reply_with="r",
            content=raw,
        )
        one.receive(heard, now)
        said += one.take_outbox()
        read_back(one)
        assert len(one.results) + len(one.working) <= winners
        assert len(one.rounds) <= max_rounds
    one.tick(now + 10_000)
    for _ in range(20):
        now = max(now, min(one.next_deadline(), now + 10_000))
        one.tick(now)
    assert one.is_over or one.next_deadline() < inf
    # every proposal that was taken has been answered when all is over
    if one.is_over:
        assert not one.of_state(PeerState.CALLED, PeerState.PROPOSED, PeerState.AWARDED)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(Performative)), st.sampled_from("ab")), max_size=15))
def test_an_act_out_of_order_changes_nothing_and_is_noted(script: list[tuple[Performative, str]]) -> None:
    one, cfp = called("a", "b")
    for act, name in script:
        before = [peer.state for round in one.rounds for peer in round.peers.values()]
        count, notes = one.said, len(one.notes) + one.notes_left_out
        one.receive(answer(cfp[name], act, {"cost": 1}), 1.0)
        if len(one.notes) + one.notes_left_out > notes:
            assert [peer.state for round in one.rounds for peer in round.peers.values()] == before
            assert one.said == count


def test_notes_are_bounded() -> None:
    one, cfp = called("a")
    for _ in range(1000):
        one.receive(answer(cfp["a"], "inform"), 1.0)
    assert len(one.notes) + one.notes_left_out == 1000
    assert len(one.notes) == 100
