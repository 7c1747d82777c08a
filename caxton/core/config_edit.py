"""Changes one key in the text of a configuration file, and leaves everything else as somebody wrote it.

Rule 1: comments, order and spacing stay. What is written is the shortest change: the value in its place, or a new line
        at the end of its table.
Rule 2: no change is trusted. The new text is read again, and must say what the old one said and the new value; if it
        does not, or the place is one that this file does not understand, nothing is changed and the line is named.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from caxton.core.config_text import Place, Tree, decode_placed
from caxton.core.errors import InvalidConfig

STEP = 2  # spaces that a new table in YAML is indented by


def set_key(text: str, name: str, key: str, value: str, is_right: Callable[[Tree], bool]) -> str:
    """*text* in which *key* is *value*, as somebody typed it. Raises InvalidConfig.

    *is_right* is asked whether a tree holds the value that is meant: it knows the key's type.
    """
    tree, places = decode_placed(text, name)
    wanted = _without(tree, key)
    toml = name.endswith(".toml")
    for written in _spellings(
        value, plain=not toml or bool(re.fullmatch(r"true|false|[-+]?\d+(\.\d+)?|\[.*\]", value))
    ):
        for changed in (_toml if toml else _yaml)(text, places, key, written, is_json=name.endswith(".json")):
            try:
                found = decode_placed(changed, name).tree
                if _without(found, key) == wanted and _at(found, key) is not None and is_right(found):
                    return changed
            except InvalidConfig:
                continue
    line = next((places[part].line for part in _above(key) if part in places), None)
    where = f"{name}:{line}" if line else name
    raise InvalidConfig(f"{where}: {key} cannot be changed here without changing more than it", hint="edit the file")


def _spellings(value: str, *, plain: bool) -> Iterator[str]:
    """As it was typed, where that may be read as it was meant, then in quotes."""
    if plain and value and value == value.strip() and "\n" not in value:
        yield value
    yield json.dumps(value, ensure_ascii=False)


def _above(key: str) -> Iterator[str]:
    """The key, then the tables that it is in, the nearest first."""
    while key:
        yield key
        key = key.rpartition(".")[0]


def _at(tree: Tree, key: str) -> Any:  # Any: a decoded file
    value: Any = tree
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _without(tree: Tree, key: str) -> Tree:
    """The tree without *key*, and without tables that hold nothing then."""
    head, _, rest = key.partition(".")
    result = dict(tree)
    held = result.get(head)
    if rest and isinstance(held, dict):
        held = _without(held, rest)
        result[head] = held
    if not rest or not held:
        result.pop(head, None)
    return result


def _line_end(text: str, position: int) -> int:
    """Behind the newline of the line that *position* is in."""
    if position and text[position - 1] == "\n":
        return position
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _insert_lines(text: str, position: int, lines: list[str]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    before = text[:position]
    if before and not before.endswith("\n"):
        before += newline
    return before + "".join(line + newline for line in lines) + text[position:]


# -- YAML and JSON --


def _yaml(text: str, places: dict[str, Place], key: str, written: str, *, is_json: bool) -> Iterator[str]:
    if (place := places.get(key)) is not None:
        yield _replaced(text, places, key, place, written)
        return
    parent = next((part for part in _above(key) if part in places), "")
    rest = key[len(parent) + 1 :] if parent else key
    start = places[parent].start if parent else len(text) - len(text.lstrip())
    if text[start : start + 1] == "{":
        end = places[parent].end if parent else len(text.rstrip())
        inner = written
        for part in reversed(rest.split(".")[1:]):
            inner = f'{{"{part}": {inner}}}' if is_json else f"{{{part}: {inner}}}"
        first = rest.split(".")[0]
        pair = f'"{first}": {inner}' if is_json else f"{first}: {inner}"
        head = text[: end - 1].rstrip()
        comma = "" if head.endswith(("{", ",")) else ","
        gap = "" if head.endswith("{") else " "
        yield head + comma + gap + pair + text[len(head) :]
        return
    below = {name: place for name, place in places.items() if name.startswith(f"{parent}." if parent else "")}
    children = list(below.values())
    column = min((place.column for place in children), default=places[parent].column + STEP if parent else 1)
    lines = []
    parts = rest.split(".")
    for depth, part in enumerate(parts):
        value = f" {written}" if depth == len(parts) - 1 else ""
        lines.append(" " * (column - 1 + STEP * depth) + f"{part}:{value}")
    if parent:
        # a block ends where the next thing begins, which may be another table's line: what is in it ends where it ends
        ends = [place.end for name, place in below.items() if not _is_block(text, below, name)]
        position = _line_end(text, max(ends, default=places[parent].end))
    else:
        position = len(text)
    yield _insert_lines(text, position, lines)


def _is_block(text: str, places: dict[str, Place], name: str) -> bool:
    start = places[name].start
    return text[start : start + 1] not in "[{" and any(one.startswith((f"{name}.", f"{name}[")) for one in places)


def _replaced(text: str, places: dict[str, Place], key: str, place: Place, written: str) -> str:
    start, end = place.start, place.end
    inner = [held.end for name, held in places.items() if name.startswith((f"{key}[", f"{key}."))]
    if inner and text[start : start + 1] not in "[{":
        end = max(inner)  # the end of a block in YAML is behind the comments that follow it
    if start == end:  # `key:` and nothing
        return f"{text[:start]} {written}{text[end:]}"
    column = start - (text.rfind("\n", 0, start) + 1)
    line = text.count("\n", 0, start) + 1
    if line > place.line and column <= place.column - 1:  # a list may be indented as its key is, a value may not
        written = " " * STEP + written
    return text[:start] + written + text[end:]


# -- TOML --


def _toml(text: str, places: dict[str, Place], key: str, written: str, *, is_json: bool) -> Iterator[str]:
    if (place := places.get(key)) is not None:
        yield text[: place.start] + written + text[place.end :]
        return
    for parent in list(_above(key))[1:]:
        if parent not in places:
            continue
        place, rest = places[parent], key[len(parent) + 1 :]
        if place.start == place.end:  # a header
            heads = [held.start for held in places.values() if held.start == held.end and held.start > place.start]
            stop = text.rfind("\n", 0, min(heads) - 1) + 1 if heads else len(text)
            block = text[:stop].rstrip()
            while block.rpartition("\n")[2].lstrip().startswith("#"):  # it speaks of the next table
                block = block.rpartition("\n")[0].rstrip()
            yield _insert_lines(text, _line_end(text, len(block)), [f"{rest} = {written}"])
        elif text[place.start] == "{":
            head = text[: place.end - 1].rstrip()
            gap = " " if head.endswith("{") else ", "
            yield f"{head}{gap}{rest} = {written} {text[place.end - 1 :]}"
        else:  # a dotted key
            yield _insert_lines(text, _line_end(text, place.end), [f"{key} = {written}"])
        return
    table, _, last = key.rpartition(".")
    above = [""] if text.strip() else []
    yield _insert_lines(text, len(text), [*above, f"[{table}]", f"{last} = {written}"])
