"""Who wants a message: topic globs and content filters, as a specification.

Rule 1: this is what they mean; `caxton/_fast/content_filter` is how they run. The two agree on every input, limits
included.
Rule 2: a filter sees only a message's content, and knows nothing of topics, agents or ports.

A topic is levels separated by `.`. In a pattern, a level `*` is any one level, and a last level `**` any number of
them, none included.

A content filter is an object of conditions, all of which must hold:

    {"order.total": {"gte": 100, "lt": 1000}, "order.currency": "EUR", "lines.0.sku": {"prefix": "A-"}}

The key is a path: names of members joined by `.`, or decimal indexes into an array. The value is a scalar, which the
content must equal, or an object of operators. Types never convert: neither `true` nor `"1"` is 1. Two integers compare
exactly; where a fraction or an exponent is written, both numbers are doubles. Strings are ordered by code point. A
missing path satisfies only `exists: false` and `ne`. Of a member that comes twice the last counts.
"""

import json
from typing import Any, Final

import attrs

from caxton.core.errors import InvalidRequest

MAX_TEXT: Final = 16384  # bytes of a filter
MAX_PATHS: Final = 64
MAX_NAMES: Final = 16  # of one path
MAX_OPERANDS: Final = 1024
MAX_TOPIC: Final = 256  # bytes of a topic pattern

ORDERS: Final = {
    "gt": {1},
    "gte": {0, 1},
    "lt": {-1},
    "lte": {-1, 0},
    "eq": {0},
}
OPERATORS: Final = (*ORDERS, "ne", "in", "prefix", "exists")

MISSING: Final = object()


def topic_matches(pattern: str, topic: str) -> bool:
    """Whether a subscription to *pattern* receives what is sent to *topic*."""
    wanted, levels = pattern.split("."), topic.split(".")
    if wanted[-1] == "**":
        wanted.pop()
        if len(levels) < len(wanted):
            return False
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(want in ("*", level) for want, level in zip(wanted, levels, strict=True))


def check_topic_pattern(pattern: str) -> str:
    """*pattern*, when a subscription to it can mean something; otherwise InvalidRequest."""
    levels = pattern.split(".")
    if len(pattern.encode()) > MAX_TOPIC:
        raise InvalidRequest(f"topic pattern has {len(pattern.encode())} bytes, the limit is {MAX_TOPIC}")
    if "" in levels:
        raise InvalidRequest(
            f"topic pattern {pattern!r} has an empty level", hint="levels are separated by single dots"
        )
    if "**" in levels[:-1]:
        raise InvalidRequest(f"topic pattern {pattern!r} has `**` before its end", hint="use `*` for one level there")
    for level in levels:
        if "*" in level and level not in ("*", "**"):
            raise InvalidRequest(
                f"topic pattern {pattern!r} has the level {level!r}", hint="a `*` stands for a whole level"
            )
    return pattern


@attrs.frozen
class Condition:
    """One operator on the value that one path leads to."""

    path: tuple[str, ...]
    operator: str
    operand: Any  # any JSON scalar, for `in` a tuple of them

    # Any: decoded JSON, here and below
    def holds(self, content: Any) -> bool:
        value = _value_at(content, self.path)
        if self.operator == "exists":
            return bool(self.operand) == (value is not MISSING)
        if value is MISSING:
            return self.operator == "ne"
        if self.operator == "in":
            return any(_relation(value, operand) == 0 for operand in self.operand)
        if self.operator == "prefix":
            return isinstance(value, str) and value.startswith(self.operand)
        if self.operator == "ne":
            return _relation(value, self.operand) != 0
        return _relation(value, self.operand) in ORDERS[self.operator]


@attrs.frozen
class Filter:
    """A content filter; without conditions it matches everything."""

    conditions: tuple[Condition, ...] = ()

    @classmethod
    def parse(cls, obj: Any) -> "Filter":
        """A filter from its decoded JSON (so any value may come); InvalidRequest when it is none."""
        if not isinstance(obj, dict):
            raise InvalidRequest(f"content filter is {_json_type(obj)}, expected an object of conditions")
        if len(obj) > MAX_PATHS:
            raise InvalidRequest(f"content filter has {len(obj)} paths, the limit is {MAX_PATHS}")
        conditions: list[Condition] = []
        for key, value in obj.items():
            path = tuple(_text(key).split("."))
            if len(path) > MAX_NAMES:
                raise InvalidRequest(f"path {key!r} has {len(path)} names, the limit is {MAX_NAMES}")
            if not isinstance(value, dict):
                value = {"eq": value}
            if not value:
                raise InvalidRequest(f"path {key!r} has no operator", hint=f"one of: {', '.join(OPERATORS)}")
            conditions += (
                Condition(path, operator, _operand(key, operator, operand)) for operator, operand in value.items()
            )
        operands = sum(len(c.operand) if c.operator == "in" else 1 for c in conditions)
        if operands > MAX_OPERANDS:
            raise InvalidRequest(f"content filter has {operands} operands, the limit is {MAX_OPERANDS}")
        return cls(tuple(conditions))

    @classmethod
    def parse_json(cls, text: bytes) -> "Filter":
        """A filter from its JSON text; an empty text matches everything."""
        if not text:
            return cls()
        if len(text) > MAX_TEXT:
            raise InvalidRequest(f"content filter has {len(text)} bytes, the limit is {MAX_TEXT}")
        try:
            obj = json.loads(text.decode(), object_pairs_hook=_unique_members, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"content filter is not JSON: {error}") from None
        return cls.parse(obj)

    def matches(self, content: Any = MISSING) -> bool:
        """Whether decoded JSON *content* satisfies every condition; without content every path is missing."""
        return all(condition.holds(content) for condition in self.conditions)


def _value_at(content: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if isinstance(content, dict):
            content = content.get(name, MISSING)
        elif isinstance(content, list) and _is_index(name) and int(name) < len(content):
            content = content[int(name)]
        else:
            return MISSING
    return content


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 9 and (name == "0" or name[0] != "0")


def _relation(value: Any, operand: Any) -> int | None:
    """-1, 0 or 1 as *value* is below, equal to or above *operand*; None when their types differ."""
    if _json_type(value) != _json_type(operand) or isinstance(value, dict | list):
        return None
    if value is None:
        return 0
    if isinstance(value, bool):
        return 0 if value is operand else None
    if isinstance(value, float) or isinstance(operand, float):
        value, operand = _double(value), _double(operand)
    return int(value > operand) - int(value < operand)


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def _operand(key: str, operator: str, operand: Any) -> Any:
    found = _json_type(operand)
    if operator == "in":
        if found != "an array":
            raise InvalidRequest(f"operator 'in' of path {key!r} has {found}, expected an array of scalars")
        return tuple(_scalar(key, operator, item) for item in operand)
    if operator == "exists" and found != "a boolean":
        raise InvalidRequest(f"operator 'exists' of path {key!r} has {found}, expected true or false")
    if operator == "prefix" and found != "a string":
        raise InvalidRequest(f"operator 'prefix' of path {key!r} has {found}, expected a string")
    if operator in ("gt", "gte", "lt", "lte") and found not in ("a number", "a string"):
        raise InvalidRequest(f"operator {operator!r} of path {key!r} has {found}, expected a number or a string")
    if operator not in OPERATORS:
        raise InvalidRequest(f"path {key!r} has the operator {operator!r}", hint=f"one of: {', '.join(OPERATORS)}")
    return _scalar(key, operator, operand)


def _scalar(key: str, operator: str, operand: Any) -> Any:
    if isinstance(operand, dict | list):
        raise InvalidRequest(
            f"operator {operator!r} of path {key!r} has {_json_type(operand)}, expected a scalar",
            hint="name a member by a longer path; use `in` for one of several values",
        )
    return _text(operand) if isinstance(operand, str) else operand


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{text!r} holds half of a surrogate pair") from None
    return text


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("the same member twice")
    return members


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
