"""Amounts: what people write, and back."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.core import limits

CASES: list[tuple[Callable[[Any], Any], object, object]] = [
    (limits.parse_bytes, "100MB", 100 << 20),
    (limits.parse_bytes, "64KiB", 65536),
    (limits.parse_bytes, "1 GB", 1 << 30),
    (limits.parse_bytes, "1.5mb", 3 << 19),
    (limits.parse_bytes, "100Mi", 100 << 20),
    (limits.parse_bytes, "0", 0),
    (limits.parse_bytes, 7, 7),
    (limits.parse_millicores, "100m", 100),
    (limits.parse_millicores, "1.5", 1500),
    (limits.parse_millicores, 2, 2000),
    (limits.parse_millicores, 0.25, 250),
    (limits.parse_duration, "30s", 30.0),
    (limits.parse_duration, "5m", 300.0),
    (limits.parse_duration, "200ms", 0.2),
    (limits.parse_duration, "30d", 2592000.0),
    (limits.parse_duration, "50us", 5e-05),
    (limits.parse_duration, "1.5h", 5400.0),
    (limits.parse_duration, "10", 10.0),
    (limits.parse_duration, 0.5, 0.5),
    (limits.parse_percent, "5%", 0.05),
    (limits.parse_percent, "0.5", 0.5),
    (limits.parse_percent, 1, 1.0),
]

REFUSED: list[tuple[Callable[[Any], Any], object]] = [
    *((limits.parse_bytes, value) for value in ("", "MB", "-1", "1PB", "1e3", "0.3KB", True, -1, 10**30, float("nan"))),
    *((limits.parse_millicores, value) for value in ("0m", "0.0001", "1k", True, float("inf"), float("nan"), "-1")),
    *((limits.parse_duration, value) for value in ("5 minutes", "-1s", "1y", True, float("inf"), 1e12, 10**400)),
    *((limits.parse_percent, value) for value in ("101%", "5%%", -0.1, 1.1, True, float("nan"))),
]

ROUND_TRIPS = [
    (limits.parse_bytes, limits.format_bytes, st.integers(0, limits.MAX_BYTES)),
    (limits.parse_millicores, limits.format_millicores, st.integers(1, 1_000_000)),
    (limits.parse_duration, limits.format_duration, st.integers(0, 10**12).map(lambda us: us / 1_000_000)),
    (limits.parse_duration, limits.format_duration, st.integers(0, 10**9).map(float)),
    (limits.parse_percent, limits.format_percent, st.integers(0, 10_000).map(lambda parts: parts / 10_000)),
]


@pytest.mark.parametrize(("parse", "text", "value"), CASES)
def test_amounts(parse: Callable[[object], object], text: object, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(("parse", "text"), REFUSED)
def test_what_is_no_amount_is_a_value_error_that_names_it(parse: Callable[[object], object], text: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@given(st.sampled_from(ROUND_TRIPS), st.data())
def test_formatting_is_the_inverse(
    case: tuple[Callable[[object], object], Callable[[Any], str], st.SearchStrategy[object]], data: st.DataObject
) -> None:
    parse, show, values = case
    value = data.draw(values)
    assert parse(show(value)) == value


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (limits.format_bytes, 65536, "64KB"),
        (limits.format_bytes, 100 << 20, "100MB"),
        (limits.format_bytes, 1000, "1000B"),
        (limits.format_bytes, 0, "0B"),
        (limits.format_duration, 90.0, "90s"),
        (limits.format_duration, 120.0, "2m"),
        (limits.format_duration, 0.2, "200ms"),
        (limits.format_duration, 0.0, "0s"),
        (limits.format_percent, 0.05, "5%"),
    ],
)
def test_the_largest_unit_that_divides(show: Callable[[object], str], value: object, text: str) -> None:
    assert show(value) == text


@given(st.text() | st.integers() | st.floats() | st.booleans())
def test_anything_is_an_amount_or_a_value_error(value: object) -> None:
    for parse in (limits.parse_bytes, limits.parse_millicores, limits.parse_duration, limits.parse_percent):
        try:
            amount = parse(value)  # type: ignore[arg-type]  # that is the test
        except ValueError:
            continue
        assert amount >= 0
