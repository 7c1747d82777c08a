"""The native content filter beside `core/routing`, on generated texts of both filters and contents."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from caxton._fast.content_filter import ContentFilter, match_topic
from caxton.core.errors import InvalidRequest
from caxton.core.routing import MAX_NAMES, MAX_OPERANDS, MAX_PATHS, MAX_TEXT, OPERATORS, Filter, topic_matches

# -- JSON texts, written every way JSON allows --

NAMES = ["a", "b", "é", "0", "1", "01", "", "\x7f", "😀"]
SPACE = st.sampled_from(["", "", "", " ", "\n\t", "\r\n"])
NOTABLE_NUMBERS = [
    *("0", "-0", "-0.0", "1", "-1", "1.0", "10e-1", "100E-2", "2", "3.0e0", "0.1", "0.10"),
    *("9007199254740992", "9007199254740993", "9007199254740993.0", "-9007199254740993", "9223372036854775807"),
    *("18446744073709551616", "123456789012345678901234567890", "1e400", "-1e400", "1e-400"),
]
NUMBERS = st.one_of(
    st.sampled_from(NOTABLE_NUMBERS),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
)


@st.composite
def string_text(draw: st.DrawFn, alphabet: str = 'ab"\\/\n\x00é€😀\x7f', max_size: int = 10) -> str:
    return spell(draw, draw(st.text(alphabet, max_size=max_size)))


def spell(draw: st.DrawFn, text: str) -> str:
    """*text* with each character raw where that is allowed, or escaped."""
    spelled = ""
    for character in text:
        must = character in '"\\' or character < " "
        how = draw(st.integers(0 if not must else 1, 3))
        if how == 0:
            spelled += character
        elif how == 1:
            spelled += json.dumps(character)[1:-1]
        else:
            units = character.encode("utf-16-be", "surrogatepass").hex()
            units = units.upper() if how == 2 else units
            spelled += "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
    return f'"{spelled}"'


SCALARS = st.one_of(
    NUMBERS,
    string_text(),
    st.sampled_from(["true", "false", "null", '""', '"1"', '"ab"', '"\\ud800"', '"\\ude00\\ud83d"', '"\\ud83dx"']),
)


@st.composite
def name_text(draw: st.DrawFn) -> str:
    return spell(draw, draw(st.sampled_from(NAMES)))


def joined(items: list[tuple[str, str, str]], opening: str, closing: str) -> str:
    return opening + ",".join(f"{left}{item}{right}" for left, item, right in items) + closing


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(name_text(), SPACE, SPACE, inner).map(lambda m: f"{m[0]}{m[1]}:{m[2]}{m[3]}")
    arrays = st.lists(st.tuples(SPACE, inner, SPACE), max_size=3).map(lambda items: joined(items, "[", "]"))
    objects = st.lists(st.tuples(SPACE, member, SPACE), max_size=4).map(lambda items: joined(items, "{", "}"))
    return objects | arrays


CONTENTS = st.recursive(SCALARS, containers, max_leaves=12)
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(".".join)
OPERANDS = SCALARS.filter(lambda text: "\\ud83dx" not in text and not text.startswith(('"\\ud8', '"\\ude')))


@st.composite
def operator_text(draw: st.DrawFn) -> str:
    operator = draw(st.sampled_from(OPERATORS))
    if operator == "in":
        operand = joined(draw(st.lists(st.tuples(SPACE, OPERANDS, SPACE), max_size=4)), "[", "]")
    elif operator == "exists":
        operand = draw(st.sampled_from(["true", "false"]))
    elif operator == "prefix":
        operand = draw(string_text(max_size=3))
    elif operator in ("eq", "ne"):
        operand = draw(OPERANDS)
    else:
        operand = draw(NUMBERS | string_text())
    return f'"{operator}":{draw(SPACE)}{operand}'


@st.composite
def filter_text(draw: st.DrawFn) -> bytes:
    members = []
    for path in draw(st.lists(PATHS, max_size=4, unique=True)):
        operators = draw(st.lists(operator_text(), min_size=1, max_size=3, unique_by=lambda text: text.split(":")[0]))
        condition = draw(OPERANDS) if draw(st.booleans()) else "{" + ",".join(operators) + "}"
        members.append((draw(SPACE), f"{spell(draw, path)}{draw(SPACE)}:{draw(SPACE)}{condition}", draw(SPACE)))
    return joined(members, "{", "}").encode()


def both(text: bytes, content: bytes) -> bool:
    ours = ContentFilter(text).matches(content)
    assert ours == Filter.parse_json(text).matches(json.loads(content)), (text, content)
    return ours


# -- matching --


@pytest.mark.slow
@given(filter_text(), CONTENTS)
def test_a_match_is_what_the_specification_says(text: bytes, content: str) -> None:
    both(text, content.encode("utf-8", "surrogatepass"))


@pytest.mark.slow
@given(PATHS, operator_text(), SCALARS | CONTENTS)
def test_a_value_at_its_path_is_found(path: str, operator: str, value: str) -> None:
    nested = value
    for name in reversed(path.split(".")):
        nested = f'{{"x": "{{", {json.dumps(name)}: {nested}}}'
    both(f"{{{json.dumps(path)}: {{{operator}}}}}".encode(), nested.encode())


@pytest.mark.parametrize(
    ("text", "content", "expected"),
    [
        ('{"a": 1}', '{"a": 1.0}', True),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": 1}', '{"a": "1"}', False),
        ('{"a": null}', '{"a": null}', True),
        ('{"a": null}', "{}", False),
        ('{"a": {"ne": 1}}', "{}", True),
        ('{"a": {"ne": 1}}', '{"a": []}', True),
        ('{"a": {"exists": false}}', '{"a": null}', False),
        ('{"a": {"exists": true}}', '{"a": {}}', True),
        ('{"a": {"exists": false}}', "[1]", True),
        ('{"a": {"in": []}}', '{"a": 1}', False),
        ('{"a.1.b": "x"}', '{"a": [0, {"b": "x"}]}', True),
        ('{"a.01": 2}', '{"a": [1, 2]}', False),
        ('{"1": 2}', '{"1": 2}', True),
        ('{"a.b": 1}', '{"a.b": 1}', False),
        ('{"a": 1, "a.b": {"exists": false}}', '{"a": 1}', True),
        ('{"a": {"exists": true}, "a.b": 1}', '{"a": {"b": 1}}', True),
        ('{"a.b": 1}', '{"a": {"b": 1}, "a": {"c": 1}}', False),
        ('{"a.b": 1}', '{"a": {"c": 1}, "\\u0061": {"b": 1}}', True),
        ('{"a": "\\u20ac"}', '{"a": "€"}', True),
        ('{"a": "€"}', '{"a": "\\u20AC"}', True),
        ('{"a": {"prefix": "a€"}}', '{"a": "a\\u20ac and more"}', True),
        ('{"a": {"prefix": ""}}', '{"a": ""}', True),
        ('{"a": {"gt": "2026-01-01"}}', '{"a": "2026-05-01T00:00:00Z"}', True),
        ('{"a": {"gt": 1}}', '{"a": "2"}', False),
        ('{"a": {"gt": 9007199254740992}}', '{"a": 9007199254740993}', True),
        ('{"a": {"gt": 9007199254740992.0}}', '{"a": 9007199254740993}', False),
        ('{"a": 0}', '{"a": -0}', True),
        ('{"a": {"lt": -5, "gte": -10}}', '{"a": -10}', True),
        ("{}", "{}", True),
    ],
)
def test_a_case_of_the_specification(text: str, content: str, expected: bool) -> None:
    assert both(text.encode(), content.encode()) is expected


def test_without_content_every_path_is_missing() -> None:
    assert ContentFilter(b"").matches(b"")
    assert ContentFilter(b'{"a": {"exists": false}}').matches(b"")
    assert not ContentFilter(b'{"a": 1}').matches(b"")


@given(NUMBERS, NUMBERS)
@example("9007199254740993.0", "9007199254740992")
@example("0.5000000000000000000000000000000000001", "0.5")
@example("1" + "0" * 799 + "1e-800", "1")
@example("9007199254740993." + "0" * 900 + "1", "9007199254740994")
@example("9007199254740993." + "0" * 900, "9007199254740992.0")
@example("2.4703282292062327208e-324", "5e-324")
@example("2." + "4703282292062327208299439357" + "e-324", "0.0")
@example("0." + "0" * 400 + "1e401", "1.0")
@example("1e99999999999999999999", "1e400")
@example("1e-99999999999999999999", "-0.0")
def test_numbers_compare_by_value(left: str, right: str) -> None:
    for operator in ("eq", "ne", "lt", "lte", "gt", "gte"):
        both(f'{{"n": {{"{operator}": {right}}}}}'.encode(), f'{{"n":{left}}}'.encode())


@pytest.mark.slow
@given(CONTENTS.map(str.encode), st.data())
def test_broken_content_gives_some_answer(content: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(content)))
    junk = data.draw(st.binary(max_size=3) | st.sampled_from([b'"', b"\\", b"{", b"}", b"]", b"[", b"\\u12"]))
    text = data.draw(filter_text())
    for broken in (content[:at], content[:at] + junk + content[at:], content[:at] + junk):
        assert ContentFilter(text).matches(broken) in (True, False)


# -- compiling --


def accepts(parse: Any, text: bytes) -> bool:
    try:
        parse(text)
    except InvalidRequest:
        return False
    return True


@given(st.binary(max_size=40) | st.text('{}[]":,.ab01-e\\ ', max_size=30).map(str.encode))
def test_any_bytes_are_a_filter_or_an_invalid_request(text: bytes) -> None:
    assert accepts(ContentFilter, text) == accepts(Filter.parse_json, text)


@pytest.mark.slow
@given(filter_text(), st.data())
def test_a_filter_with_a_flaw_is_refused_by_both(text: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    until = data.draw(st.integers(at, min(at + 3, len(text))))
    flawed = (
        text[:at] + data.draw(st.binary(max_size=2) | st.sampled_from([b",", b'"', b"{", b".", b"\\"])) + text[until:]
    )
    assert accepts(ContentFilter, flawed) == accepts(Filter.parse_json, flawed)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (b"[]", 0),
        (b" ", 1),
        (b'{"a": 1', 7),
        (b'{"a": 1} x', 9),
        (b'{"a": {}}', 7),
        (b'{"a": [1]}', 6),
        (b'{"a": {"gt": true}}', 13),
        (b'{"a": {"like": 1}}', 7),
        (b'{"a": {"gt": 1, "gt": 2}}', 16),
        (b'{"a": 1, "\\u0061": 2}', 9),
        (b'{"a": 01}', 7),
        (b'{"a": "\xff"}', 7),
        (b'{"a": "\\ud800"}', 7),
        (b'{"a": {"in": 1}}', 13),
        (b'{"a": {"prefix": 1}}', 17),
        (b'{"a": {"exists": "yes"}}', 17),
    ],
)
def test_a_refusal_names_the_byte(text: bytes, position: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ContentFilter(text)
    assert caught.value.details["position"] == position
    assert not accepts(Filter.parse_json, text)


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (
            json.dumps({str(i): 1 for i in range(MAX_PATHS)}),
            json.dumps({str(i): 1 for i in range(MAX_PATHS + 1)}),
        ),
        (
            json.dumps({".".join("a" * MAX_NAMES): 1}),
            json.dumps({".".join("a" * (MAX_NAMES + 1)): 1}),
        ),
        (
            json.dumps({"a": {"in": [1] * MAX_OPERANDS}}),
            json.dumps({"a": {"in": [1] * (MAX_OPERANDS - 1)}, "b": {"exists": True}, "c": 1}),
        ),
        (
            json.dumps({"a": "x" * (MAX_TEXT - 9)}),
            json.dumps({"a": "x" * (MAX_TEXT - 8)}) + " ",
        ),
    ],
    ids=["paths", "names", "operands", "text"],
)
def test_limits_hold_exactly_and_in_both(within: str, beyond: str) -> None:
    for parse in (ContentFilter, Filter.parse_json):
        assert accepts(parse, within.encode())
        assert not accepts(parse, beyond.encode())


def test_a_filter_at_every_limit_matches() -> None:
    paths = {f"{i}" + ".n" * (MAX_NAMES - 1): {"gte": 0, "lte": i, "exists": True, "ne": "x"} for i in range(MAX_PATHS)}
    content: dict[str, Any] = {}
    for i in range(MAX_PATHS):
        nested: Any = i
        for _ in range(MAX_NAMES - 1):
            nested = {"n": nested}
        content[str(i)] = nested
    assert both(json.dumps(paths).encode(), json.dumps(content).encode())
    content["40"] = {"n": 1}
    assert not both(json.dumps(paths).encode(), json.dumps(content).encode())


def test_depth_of_content_does_not_matter() -> None:
    deep = '{"x":' + "[" * 900 + "]" * 900 + ', "a": 1}'
    assert both(b'{"a": 1}', deep.encode())
    assert ContentFilter(b'{"a": 1}').matches(b'{"x":' + b"[" * 10**6 + b"]" * 10**6 + b', "a": 1}')


# -- topics --

TOPICS = st.lists(st.sampled_from(["a", "b", "ab", "*", "**", "", "a*", "é"]), min_size=1, max_size=5).map(".".join)


@given(TOPICS, TOPICS)
def test_topics_match_as_the_specification_says(pattern: str, topic: str) -> None:
    assert match_topic(pattern, topic) == topic_matches(pattern, topic)


@given(st.text("a.*", max_size=8), st.text("a.*", max_size=8))
def test_any_text_is_a_topic(pattern: str, topic: str) -> None:
    assert match_topic(pattern, topic) == topic_matches(pattern, topic)
