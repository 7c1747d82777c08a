"""English and Dutch auctions, message by message."""

import json
from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton.core.negotiation.auctions import BidderState, DutchAuction, EnglishAuction
from caxton.core.negotiation.messages import Heard, Said, Status
from caxton.core.performatives import Performative
from tests.core.negotiation.saying import acts, answer, content, read_back, to


def english(*participants: str, **fields: Any) -> EnglishAuction:
    fields = {"price": 10.0, "step": 5.0, "wait": 1.0, **fields}
    return EnglishAuction(id="e", action=msgspec.Raw(b'"a lamp"'), participants=list(participants), **fields)


def dutch(*participants: str, **fields: Any) -> DutchAuction:
    fields = {"price": 100.0, "step": 30.0, "reserve": 20.0, "wait": 1.0, **fields}
    return DutchAuction(id="d", action=msgspec.Raw(b'"tulips"'), participants=list(participants), **fields)


def calls(said: list[Said]) -> dict[str, float]:
    """Whom, and for how much."""
    return {one.to: content(one)["condition"]["price"] for one in said if one.performative == "cfp"}


def test_an_english_auction_rises_until_nobody_bids() -> None:
    one = english("a", "b")
    one.start(0.0)
    said = one.take_outbox()
    assert acts(said) == [("a", "inform"), ("b", "inform"), ("a", "cfp"), ("b", "cfp")]
    assert calls(said) == {"a": 10.0, "b": 10.0}
    one.receive(answer(to(said, "a"), "propose"), 0.1)
    one.receive(answer(to(said, "b"), "propose"), 0.2)
    called = one.take_outbox()
    assert acts(called) == [("a", "accept-proposal"), ("b", "reject-proposal"), ("b", "cfp")]
    assert calls(called) == {"b": 15.0}  # who holds the price is not called
    one.receive(answer(to(called, "b"), "propose"), 0.3)
    called = one.take_outbox()
    assert calls(called) == {"a": 20.0}
    one.receive(answer(to(said, "a"), "propose"), 0.3)  # at an older price
    assert acts(one.take_outbox()) == [("a", "reject-proposal")]
    one.receive(answer(to(called, "a"), "refuse", {"reason": "too much"}), 0.4)
    said = one.take_outbox()
    assert acts(said) == [("a", "inform"), ("b", "inform"), ("b", "request")]
    assert content(said[0]) == {"auction": "end", "item": "a lamp", "sold": True, "winner": "b", "price": 15.0}
    assert (said[2].protocol, said[2].conversation_id) == ("fipa-request", "e/buy")
    assert one.status is Status.IN_PROGRESS
    one.receive(answer(said[2], "agree"), 0.5)
    assert one.next_deadline() == inf
    one.receive(answer(said[2], "inform", "paid"), 0.6)
    assert one.status is Status.COMPLETED
    read_back(one)


def test_an_english_auction_below_the_reserve_sells_nothing() -> None:
    one = english("a", reserve=50.0)
    one.start(0.0)
    one.receive(answer(to(one.take_outbox(), "a"), "propose"), 0.1)
    assert (one.status, one.reason) == (Status.FAILED, "the best price, 10 of a, is below the reserve of 50")
    assert acts(one.take_outbox()) == [("a", "accept-proposal"), ("a", "inform")]


def test_an_english_auction_without_any_bid_ends_in_time() -> None:
    one = english("a", "b")
    one.start(0.0)
    assert one.next_deadline() == 1.0
    one.tick(1.0)
    assert (one.status, one.reason) == (Status.FAILED, "nobody bid 10")


def test_a_winner_that_does_not_answer_the_request_to_buy() -> None:
    one = english("a")
    one.start(0.0)
    one.receive(answer(to(one.take_outbox(), "a"), "propose"), 0.1)
    assert one.status is Status.IN_PROGRESS
    one.tick(one.next_deadline())
    assert one.status is Status.FAILED
    assert one.next_deadline() == inf


def test_bids_that_mean_another_price_or_none() -> None:
    one = english("a", "b")
    one.start(0.0)
    said = one.take_outbox()
    one.receive(answer(to(said, "a"), "propose", {"price": 3}), 0.1)
    one.receive(answer(to(said, "b"), "propose", {"price": -3}), 0.1)
    reasons = [content(each)["reason"] for each in one.take_outbox() if each.performative == "reject-proposal"]
    assert reasons == ["the price called is 10, not 3", "bad bid: price is negative: -3"]
    assert one.status is Status.FAILED  # both have had their say
    two = english("a")
    two.start(0.0)
    two.receive(answer(to(two.take_outbox(), "a"), "propose", in_reply_to=""), 0.1)
    (said,) = (two.take_outbox(),)
    assert "in_reply_to is missing" in content(said[0])["reason"]
    assert two.status is Status.FAILED


def test_who_passed_may_think_better_of_it_while_the_call_lasts() -> None:
    one = english("a", "b")
    one.start(0.0)
    said = one.take_outbox()
    one.receive(answer(to(said, "a"), "refuse"), 0.1)
    one.receive(answer(to(said, "a"), "propose"), 0.2)
    one.receive(answer(to(said, "b"), "not-understood"), 0.3)
    assert acts(one.take_outbox()) == [("a", "accept-proposal"), ("a", "inform"), ("a", "request")]


def test_a_dutch_auction_falls_until_somebody_buys() -> None:
    one = dutch("a", "b")
    one.start(0.0)
    assert calls(one.take_outbox()) == {"a": 100.0, "b": 100.0}
    one.tick(1.0)
    said = one.take_outbox()
    assert calls(said) == {"a": 70.0, "b": 70.0}
    one.receive(answer(to(said, "b"), "propose"), 1.1)
    one.receive(answer(to(said, "a"), "propose"), 1.2)
    assert acts(one.take_outbox()) == [("b", "accept-proposal"), ("a", "inform"), ("b", "inform")]
    assert one.notes[0].what == "out of sequence: propose while silent"
    assert one.status is Status.COMPLETED
    assert [(sale.bidder, sale.price) for sale in one.sales] == [("b", 70.0)]
    read_back(one)


def test_a_dutch_auction_of_several_goods_goes_on() -> None:
    one = dutch("a", "b", "c", goods=2)
    one.start(0.0)
    said = one.take_outbox()
    one.receive(answer(to(said, "a"), "propose"), 0.1)
    assert one.status is Status.CALLING
    one.tick(1.0)
    said = one.take_outbox()
    assert calls(said) == {"b": 70.0, "c": 70.0}
    one.receive(answer(to(said, "c"), "propose"), 1.1)
    assert one.status is Status.COMPLETED
    assert [(sale.bidder, sale.price) for sale in one.sales] == [("a", 100.0), ("c", 70.0)]


def test_a_dutch_auction_ends_at_its_reserve() -> None:
    one = dutch("a")
    one.start(0.0)
    prices = []
    while not one.is_over:
        prices += calls(one.take_outbox()).values()
        one.tick(one.next_deadline())
    assert prices == [100.0, 70.0, 40.0]
    assert one.reason == "nobody bid at 40, and the reserve is 20"
    assert content(one.take_outbox()[-1])["reason"] == "no-bids"


def test_who_is_gone_or_a_stranger_is_noted() -> None:
    one = dutch("a", "b")
    one.start(0.0)
    said = one.take_outbox()
    one.receive(answer(to(said, "a"), "failure", {"reason": {"mts_error": "agent-not-found"}}, sender="ams"), 0.1)
    one.receive(answer(to(said, "a"), "propose", sender="mallory"), 0.1)
    assert one.bidders["a"].state is BidderState.LEFT
    assert [(note.who, note.what) for note in one.notes] == [
        ("a", "left: agent-not-found"),
        ("mallory", "sent propose, but takes no part"),
    ]
    one.unreachable("", "b", "d", "no agent has the name", 0.2)
    assert one.reason == "nobody is left to buy"


def test_cancelling_is_told_as_the_end() -> None:
    for one in (english("a"), dutch("a")):
        one.start(0.0)
        one.take_outbox()
        one.cancel("changed my mind", 0.1)
        assert acts(one.take_outbox()) == [("a", "inform")]
        assert one.status is Status.CANCELLED
        assert one.next_deadline() == inf


steps = st.lists(
    st.tuples(
        st.sampled_from([*Performative, "nonsense"]),
        st.sampled_from(["a", "b", "mallory", "ams"]),
        st.integers(0, 30),
        st.sampled_from([b"null", b'{"price":10}', b'{"price":-1}', b"[", b'{"condition":{"price":70}}']),
        st.sampled_from([0.0, 0.0, 0.5, 1.0]),
        st.booleans(),
    ),
    max_size=30,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(steps, st.booleans(), st.integers(1, 3))
def test_whatever_comes_nothing_breaks(script: list[Any], is_english: bool, goods: int) -> None:
    one: EnglishAuction | DutchAuction = english("a", "b") if is_english else dutch("a", "b", goods=goods)
    one.start(0.0)
    said = one.take_outbox()
    now = 0.0
    for act, sender, which, raw, passes, honest in script:
        now += passes
        one.tick(now)
        assert one.next_deadline() > now
        said += one.take_outbox()
        asked = said[-1 - which % len(said)]
        one.receive(
            Heard(
                performative=act,
                sender=asked.to if honest else sender,
                conversation_id=asked.conversation_id,
                in_reply_to=asked.reply_with,
                content=raw,
            ),
            now,
        )
        said += one.take_outbox()
        read_back(one)
        assert one.waiting == sum(bidder.state is BidderState.CALLED for bidder in one.bidders.values())
    if isinstance(one, DutchAuction):
        assert len(one.sales) <= goods
    prices = [json.loads(bytes(each.content))["condition"]["price"] for each in said if each.performative == "cfp"]
    assert prices == sorted(prices, reverse=not is_english)
