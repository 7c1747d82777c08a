"""The specification itself: cases a reader can check by eye. `tests/_fast/test_content_filter.py` has the rest."""

import pytest

from caxton.core.errors import InvalidRequest
from caxton.core.routing import MAX_TOPIC, Filter, check_topic_pattern, topic_matches

ORDER = {
    "order": {"total": 152.5, "currency": "EUR", "paid": True, "coupon": None},
    "lines": [{"sku": "A-1", "count": 2}, {"sku": "B-7", "count": 1}],
}


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("orders.created", "orders.created", True),
        ("orders.created", "orders.created.eu", False),
        ("orders.*", "orders.created", True),
        ("orders.*", "orders", False),
        ("orders.*", "orders.created.eu", False),
        ("*.created", "orders.created", True),
        ("orders.*.eu", "orders.created.eu", True),
        ("orders.**", "orders", True),
        ("orders.**", "orders.created.eu", True),
        ("orders.**", "ordersx", False),
        ("orders.*.**", "orders", False),
        ("**", "anything.at.all", True),
        ("ord*", "orders", False),
        ("**.eu", "orders.eu", False),
        ("**.eu", "**.eu", True),
    ],
)
def test_a_pattern_and_a_topic(pattern: str, topic: str, expected: bool) -> None:
    assert topic_matches(pattern, topic) is expected


@pytest.mark.parametrize("pattern", ["orders", "orders.*", "*.eu", "orders.**", "**", "a-b_c.1"])
def test_a_pattern_that_can_match_is_given_back(pattern: str) -> None:
    assert check_topic_pattern(pattern) == pattern


@pytest.mark.parametrize("pattern", ["", ".", "a..b", "a.", "**.a", "ord*", "a.***", "x" * (MAX_TOPIC + 1)])
def test_a_pattern_that_cannot_mean_anything_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match="topic pattern"):
        check_topic_pattern(pattern)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, True),
        ({"order.currency": "EUR"}, True),
        ({"order.currency": "EUR", "order.total": {"gt": 200}}, False),
        ({"order.total": {"gte": 100, "lt": 152.5}}, False),
        ({"order.total": {"gte": 100, "lte": 152.5}}, True),
        ({"order.paid": 1}, False),
        ({"order.paid": True}, True),
        ({"order.coupon": None}, True),
        ({"order.coupon": {"exists": True}}, True),
        ({"order.refund": {"exists": False}}, True),
        ({"order.refund": {"ne": 5}}, True),
        ({"order.refund": {"lt": 5}}, False),
        ({"lines.1.sku": {"prefix": "B-"}}, True),
        ({"lines.2.sku": {"prefix": "B-"}}, False),
        ({"lines.sku": {"exists": True}}, False),
        ({"order.currency": {"in": ["GBP", "EUR"]}}, True),
        ({"order.currency": {"in": [1, None]}}, False),
        ({"lines": {"ne": 1}}, True),
    ],
)
def test_conditions_on_an_order(conditions: dict[str, object], expected: bool) -> None:
    assert Filter.parse(conditions).matches(ORDER) is expected


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([], "content filter is an array"),
        ({"a": {}}, "path 'a' has no operator"),
        ({"a": [1]}, "operator 'eq' of path 'a' has an array"),
        ({"a": {"like": 1}}, "operator 'like'"),
        ({"a": {"gt": None}}, "operator 'gt' of path 'a' has null"),
        ({"a": {"in": 1}}, "operator 'in' of path 'a' has a number"),
        ({"a": {"in": [{}]}}, "operator 'in' of path 'a' has an object"),
        ({"a": {"prefix": 1}}, "operator 'prefix' of path 'a' has a number"),
        ({"a": {"exists": 1}}, "operator 'exists' of path 'a' has a number"),
        ({"a": {"eq": {}}}, "operator 'eq' of path 'a' has an object"),
        ({"\ud800": 1}, "surrogate"),
        ({f"{n}": 1 for n in range(65)}, "65 paths"),
        ({".".join("abcdefghijklmnopq"): 1}, "17 names"),
        ({"a": {"in": [1] * 1025}}, "1025 operands"),
    ],
)
def test_what_is_no_filter_says_why(conditions: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        Filter.parse(conditions)


@pytest.mark.parametrize("text", [b"{", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 5000, b" ", b"x" * 20000])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest, match="content filter"):
        Filter.parse_json(text)


def test_no_text_is_no_condition() -> None:
    assert Filter.parse_json(b"").matches()
    assert not Filter.parse_json(b'{"a": 1}').matches()
    assert Filter.parse_json(b'{"a": {"exists": false}}').matches()
