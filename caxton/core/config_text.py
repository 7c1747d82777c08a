"""Reads the text of a configuration file, and remembers in which line each key stands.

Rule 1: what cannot be read is one InvalidConfig that begins with file and line.
Rule 2: a text from somebody else (an agent's configuration comes over the network) ends in a table or in that error:
        a YAML text that refers to itself, or that unfolds to far more than it is, is refused.
Rule 3: the places of YAML are exact; those of TOML come from a look at the lines, and where that look fails the key is
        told without a line. No value is ever taken from it: values are `tomllib`'s.
"""

import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from caxton.core.errors import InvalidConfig
from caxton.core.settings import join

if TYPE_CHECKING:
    import yaml

MAX_NODES = 100_000

Tree = dict[str, Any]  # Any: a decoded file

# what PyYAML says, and what a person can do
YAML_HELP = (
    (r"'\\t' that cannot start any token", "indent with spaces, not with tabs"),
    (
        r"mapping values are not allowed here",
        "a value that has ': ' in it needs quotes, or the line before is indented otherwise",
    ),
    (r"could not find expected ':'", "a key is followed by ': ' and a value"),
    (r"expected <block end>", "the line is indented more or less than its neighbours"),
    (r"expected ',' or '[\]}]'", "the '[' or '{' of line {begun} is not closed"),
    (r"found unexpected end of stream", "the quote of line {begun} is not closed"),
    (r"found undefined alias", "no '&' names this before"),
)


class Place(NamedTuple):
    """Where a key stands: line and column count from 1; start and end are the offsets of its value in the text."""

    line: int
    column: int
    start: int
    end: int


class Text(NamedTuple):
    """A decoded file."""

    tree: Tree
    places: dict[str, Place]  # by dotted key; `[0]` counts in lists


def decode(text: str, name: str) -> Tree:
    """The table in *text*; the ending of *name* says in which language."""
    return decode_placed(text, name).tree


def decode_placed(text: str, name: str) -> Text:
    """The same, with the place of every key."""
    places: dict[str, Place] = {}
    if name.endswith(".toml"):
        try:
            tree: object = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _toml_error(error, text, name) from None
        places = dict(toml_places(text))
    elif name.endswith(".json"):
        try:
            tree = msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise _json_error(error, text, name) from None
        with suppress(InvalidConfig):  # most of JSON is YAML; where it is not, a mistake is told without its line
            places = _decode_yaml(text, name).places
    else:
        tree, places = _decode_yaml(text, name)
    if tree is None:
        return Text({}, {})
    if not isinstance(tree, dict):
        words = "a list" if isinstance(tree, list) else repr(tree)
        raise InvalidConfig(f"{name}:1: expected a table of keys such as `server:`, found {words}")
    return Text(tree, places)


# -- YAML --


def _decode_yaml(text: str, name: str) -> Text:
    import yaml  # here, because most commands read no YAML and it takes 20 ms to import

    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        said = f"the character {chr(error.character)!r} may not stand here"
        raise InvalidConfig(f"{name}:{line}: not YAML: {said}") from None
    try:
        node = loader.get_single_node()
        if node is None:
            return Text({}, {})
        places = dict(_walk(node, "", name, [MAX_NODES], ()))
        return Text(loader.construct_document(node), places)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = error.problem or error.context or "it cannot be read"
        where = f"{name}:{mark.line + 1}" if mark else name
        help = next((text for pattern, text in YAML_HELP if re.search(pattern, said)), "")
        if error.context_mark:
            help = help.replace("{begun}", str(error.context_mark.line + 1))
        raise InvalidConfig(f"{where}: not YAML: {said}" + (f"; {help}" if help else "")) from None
    except (ValueError, OverflowError, RecursionError) as error:  # 2026-13-45 is a date to YAML; so many brackets
        raise InvalidConfig(f"{name}: not YAML: {error}") from None
    finally:
        loader.dispose()


# Any: PyYAML's nodes
def _walk(node: Any, path: str, name: str, left: list[int], above: tuple[Any, ...]) -> Iterator[tuple[str, Place]]:
    """The places below *node*. Raises InvalidConfig for what rule 2 forbids, and for a key that stands twice."""
    import yaml

    left[0] -= 1
    where = f"{name}:{node.start_mark.line + 1}"
    if node in above:
        raise InvalidConfig(f"{where}: what the alias here stands for contains the alias itself")
    if left[0] < 0:
        raise InvalidConfig(f"{where}: too large: more than {MAX_NODES} values, aliases counted as often as used")
    above = (*above, node)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            place = f"{path}[{index}]"
            yield place, _place(item, item)
            yield from _walk(item, place, name, left, above)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    yield from _walk(part, path, name, left, above)
                continue
            key = key_node.value
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise InvalidConfig(f"{name}:{line}: a key is text, not a table or a list")
            if key in seen:
                raise InvalidConfig(
                    f"{name}:{line}: {join(path, key)} stands here a second time, first in line {seen[key]}; "
                    "put both together"
                )
            seen[key] = line
            place = join(path, key)
            yield place, _place(key_node, value)
            yield from _walk(value, place, name, left, above)


def _place(key: "yaml.Node", value: "yaml.Node") -> Place:
    assert key.start_mark is not None
    assert value.start_mark is not None
    assert value.end_mark is not None
    return Place(key.start_mark.line + 1, key.start_mark.column + 1, value.start_mark.index, value.end_mark.index)


# -- JSON --


def _json_error(error: msgspec.DecodeError, text: str, name: str) -> InvalidConfig:
    found = re.search(r" \(byte (\d+)\)", str(error))
    if found is None:
        return InvalidConfig(f"{name}: not JSON: {error}")
    line = text.encode()[: int(found[1])].count(b"\n") + 1
    said = str(error).replace(found[0], "").removeprefix("JSON is malformed: ")
    return InvalidConfig(f"{name}:{line}: not JSON: {said}")


# -- TOML --

_BARE = r"[A-Za-z0-9_-]+"
_QUOTED = r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'"
_PART = re.compile(rf"\s*(?:({_BARE})|({_QUOTED}))\s*")
_STRING = re.compile(r"\"\"\"(?:[^\\]|\\.)*?\"\"\"\"{0,2}|'''.*?''''{0,2}|" + _QUOTED, re.DOTALL)


def _toml_error(error: tomllib.TOMLDecodeError, text: str, name: str) -> InvalidConfig:
    said = str(error)
    found = re.search(r" \(at line (\d+), column \d+\)| \(at end of document\)", said)
    if found is None:
        return InvalidConfig(f"{name}: not TOML: {said}")
    line = int(found[1]) if found[1] else text.rstrip("\n").count("\n") + 1
    said = said.replace(found[0], "")
    written = text.split("\n")[line - 1].split("\r")[0]
    said = f"{said[:1].lower()}{said[1:]}"
    if twice := re.fullmatch(r"cannot declare \((.*?),?\) twice", said):
        table = twice[1].replace("'", "").replace(", ", ".")
        said = f"the table [{table}] stands here a second time; put both together"
    if said == "invalid value" and "=" in written:
        said += f" {written.partition('=')[2].strip()!r}; text needs quotes"
    return InvalidConfig(f"{name}:{line}: not TOML: {said}")


def toml_places(text: str) -> Iterator[tuple[str, Place]]:
    """The places of the keys in a text that tomllib has read; a header's value is its line's end."""
    position, prefix = 0, ""
    counts: dict[str, int] = {}  # tables in each [[array]]
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end + 1
        line = text[position:end]
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            position = end
            continue
        number, column = text.count("\n", 0, position) + 1, len(line) - len(line.lstrip()) + 1
        if stripped.startswith("["):
            brackets = 2 if stripped.startswith("[[") else 1
            parts, _ = _parts(text, position + column - 1 + brackets)
            plain = ".".join(parts)
            if brackets == 2:
                counts[plain] = counts.get(plain, -1) + 1
                for held in [key for key in counts if key.startswith(f"{plain}.")]:
                    del counts[held]
            prefix = ""
            for depth, part in enumerate(parts, 1):
                array = counts.get(".".join(parts[:depth]))
                prefix = join(prefix, part) + (f"[{array}]" if array is not None else "")
            yield prefix, Place(number, column, end, end)
            if brackets == 2 and counts[plain] == 0:
                yield prefix.rpartition("[")[0], Place(number, column, end, end)
            position = end
            continue
        parts, position = _parts(text, position)
        if not text.startswith("=", position):  # nothing that tomllib would have taken
            return
        start = position + 1 + len(text[position + 1 :]) - len(text[position + 1 :].lstrip(" \t"))
        position = _value_end(text, start)
        place = prefix
        for part in parts:
            place = join(place, part)
            yield place, Place(number, column, start, len(text[:position].rstrip()))
        end = text.find("\n", position)
        position = len(text) if end < 0 else end + 1


def _parts(text: str, position: int) -> tuple[list[str], int]:
    """A dotted key, and where it ends."""
    parts = []
    while (match := _PART.match(text, position)) is not None:
        parts.append(match[1] or (tomllib.loads(f"x={match[2]}")["x"] if match[2][0] == '"' else match[2][1:-1]))
        position = match.end()
        if not text.startswith(".", position):
            break
        position += 1
    return parts, position


def _value_end(text: str, position: int) -> int:
    """Where the value that begins here ends: at a comment or the line's end outside all brackets and quotes."""
    depth = 0
    while position < len(text):
        char = text[position]
        if char in "\"'" and (match := _STRING.match(text, position)) is not None:
            position = match.end()
            continue
        if char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "#":
            if depth <= 0:
                return position
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
            continue
        elif char == "\n" and depth <= 0:
            return position
        position += 1
    return position
