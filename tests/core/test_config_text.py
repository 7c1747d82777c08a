"""Places of keys in files, and texts that are none."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.core.config_text import decode, decode_placed
from caxton.core.errors import InvalidConfig

TOML = '''\
# a comment = 1
title = "x" # y
[a.b]
"quoted key" = """
c = 1
"""
list = [
  1, # ] not here
  "]",
]
d.e = {f = 1, g = '#'}

[[rows]]
h = 1
[rows.sub]
i = 2
[[rows]]
h = 3
'''


def test_places_in_toml() -> None:
    places = decode_placed(TOML, "c.toml").places
    lines = {key: place.line for key, place in places.items()}
    assert lines == {
        "title": 2,
        "a.b": 3,
        "a.b.quoted key": 4,
        "a.b.list": 7,
        "a.b.d": 11,
        "a.b.d.e": 11,
        "rows": 13,
        "rows[0]": 13,
        "rows[0].h": 14,
        "rows[0].sub": 15,
        "rows[0].sub.i": 16,
        "rows[1]": 17,
        "rows[1].h": 18,
    }
    for key in ("title", "a.b.list", "a.b.d.e", "rows[0].h"):
        place = places[key]
        assert tomllib.loads(f"x = {TOML[place.start : place.end]}")


def test_places_in_yaml_and_json() -> None:
    places = decode_placed("a:\n  - b: 1\n  - {c: 2}\n", "c.yaml").places
    assert {key: place.line for key, place in places.items()} == {
        "a": 1,
        "a[0]": 2,
        "a[0].b": 2,
        "a[1]": 3,
        "a[1].c": 3,
    }
    assert decode_placed('{"a":\n {"b": 1}}', "c.json").places["a.b"].line == 2


def test_a_text_that_unfolds_without_end_is_refused() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    with pytest.raises(InvalidConfig, match="too large"):
        decode("\n".join(lines), "c.yaml")


@given(st.text(max_size=200), st.sampled_from(["c.yaml", "c.toml", "c.json"]))
def test_any_text_is_a_table_or_one_named_error(text: str, name: str) -> None:
    found: object
    try:
        found = decode(text, name)
    except InvalidConfig as error:
        found = error
    assert isinstance(found, dict) or str(found).startswith(name)


@given(st.binary(max_size=80).map(lambda data: "[a]\nb = " + data.decode("latin-1")))
def test_places_of_any_toml(text: str) -> None:
    try:
        tree, places = decode_placed(text, "c.toml")
    except InvalidConfig:
        return
    if "b" in tree.get("a", {}):
        assert places["a.b"].line == 2
