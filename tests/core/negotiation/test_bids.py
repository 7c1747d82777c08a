"""What a proposal offers, and which one is best."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.core.errors import InvalidRequest
from caxton.core.negotiation.bids import BadBid, Bid, Strategy, parse_strategy, rank, read_bid, scores

values = st.dictionaries(
    st.sampled_from(["cost", "estimated_time", "confidence", "colour"]), st.floats(0, 1, allow_nan=False)
)


def bid(**values: float) -> Bid:
    return Bid(values=values)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"cost": 3}, {"cost": 3.0}),
        ({"action": {"do": 1}, "condition": {"cost": 3}}, {"cost": 3.0}),
        ({"proposal": {"estimated_time": 1.5}, "note": "soon"}, {"estimated_time": 1.5}),
        ('{"cost": 3}', {"cost": 3.0}),
        ({"cost": 1, "bid": {"cost": 2}}, {"cost": 1.0}),
        ({}, {}),
    ],
)
def test_a_bid_is_found_where_people_put_it(content: Any, expected: dict[str, float]) -> None:
    assert read_bid(json.dumps(content).encode()).values == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"null", "no object"),
        (b"[1,2]", "no object"),
        (b"", "no object"),
        (b"{", "no object"),
        (b'"words"', "no object"),
        (b"\xff\xfe", "no object"),
        (b"[" * 100_000, "no object"),
        (b'{"cost":NaN}', "no object"),
        (b'{"cost":-1}', "cost is negative: -1"),
        (b'{"colour":-1}', "colour is negative"),
        (b'{"cost":"cheap"}', "cost is no number"),
        (b'{"cost":true}', "cost is no number"),
        (b'{"cost":null}', "cost is no number"),
        (b'{"confidence":1.5}', "confidence is 1.5; it goes from 0 to 1"),
        (b'{"cost":1e300}', "cost is 1e\\+300; the most is 1e\\+15"),
        (b'{"cost":' + b"9" * 400 + b"}", "cost is not finite|no object"),
        (b"{" + b",".join(b'"a%d":1' % i for i in range(40)) + b"}", "more than 32 numbers"),
    ],
)
def test_a_bad_bid_says_what_is_wrong_with_it(content: bytes, says: str) -> None:
    with pytest.raises(BadBid, match=says):
        read_bid(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_bid_or_a_bad_bid(content: bytes) -> None:
    with suppress(BadBid):
        assert all(value >= 0 for value in read_bid(content).values.values())


def test_the_cheapest_and_the_fastest_are_found() -> None:
    bids = {"a": bid(cost=2, estimated_time=1), "b": bid(cost=1, estimated_time=2), "c": bid(confidence=1)}
    assert rank(Strategy(name="lowest_cost"), bids) == ["b", "a", "c"]
    assert rank(Strategy(name="fastest"), bids) == ["a", "b", "c"]


def test_equal_bids_stand_in_the_order_of_their_arrival() -> None:
    bids = {name: bid(cost=1) for name in "zmab"}
    for strategy in ("best_bid", "lowest_cost", "fastest"):
        assert rank(Strategy(name=strategy), bids) == list("zmab")


def test_weights_decide_what_matters() -> None:
    bids = {"cheap": bid(cost=1, confidence=0.1), "sure": bid(cost=9, confidence=1.0)}
    assert rank(parse_strategy({"weighted": {"cost": 3, "confidence": 1}}), bids) == ["cheap", "sure"]
    assert rank(parse_strategy({"weighted": {"cost": 1, "confidence": 3}}), bids) == ["sure", "cheap"]


@given(st.dictionaries(st.text(max_size=3), values, max_size=8), st.dictionaries(st.text(max_size=3), st.floats(0, 10)))
def test_scores_are_shares_and_ranking_keeps_everybody(all_values: dict[str, Any], weights: dict[str, float]) -> None:
    bids = {name: Bid(values=found) for name, found in all_values.items()}
    assert all(0 <= score <= 1.000001 for score in scores(weights, bids).values())
    assert sorted(rank(Strategy(name="weighted", weights=weights), bids)) == sorted(bids)


@pytest.mark.parametrize(
    "value",
    [None, 3, "cheapest", {"weighted": {}}, {"weighted": {"cost": -1}}, {"weighted": {"cost": "x"}}, {"weighted": 3},
     {"weighted": {"cost": True}}, {"weighted": {"cost": 1e99}}, {"name": "weighted"}, [], {"name": ["x"]}],
)  # fmt: skip
def test_what_is_no_strategy_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"strategy|weight"):
        parse_strategy(value)
