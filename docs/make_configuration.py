"""Writes what docs/configuration.md says of each key, and docs/config.schema.json, from the model of the configuration.

`python docs/make_configuration.py` writes; with `--check` it only says whether something is to be written, and leaves
with 1. The text of the page outside the two marks is written by hand.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caxton.core.config_tree import Leaf, leaves, schema

DOCS = Path(__file__).parent
PAGE = DOCS / "configuration.md"
SCHEMA = DOCS / "config.schema.json"
MARKS = ("<!-- {} begin: docs/make_configuration.py writes this -->", "<!-- {} end -->")


def keys() -> Iterator[str]:
    yield "| key | default | meaning | changes while running |"
    yield "|---|---|---|---|"
    for leaf in leaves().values():
        if not leaf.key.inactive:
            options = leaf.allowed.removeprefix("one of ") if leaf.allowed.startswith("one of ") else ""
            meaning = f"{leaf.key.meaning}: {options}" if options and ", " in options else leaf.key.meaning
            yield f"| `{leaf.name}` |{shown(leaf)}| {meaning} | {leaf.key.dynamic} |"


def inactive() -> Iterator[str]:
    yield "| key | default | meaning | why it does nothing, and what does |"
    yield "|---|---|---|---|"
    for leaf in leaves().values():
        if leaf.key.inactive:
            yield f"| `{leaf.name}` |{shown(leaf)}| {leaf.key.meaning} | {leaf.key.inactive} |"


def variables() -> Iterator[str]:
    yield "| variable | key |"
    yield "|---|---|"
    rows = {name: leaf.name for leaf in leaves().values() for name in leaf.key.env.split()}
    for name, key in sorted(rows.items()):
        yield f"| `{name}` | `{key}` |"


def shown(leaf: Leaf) -> str:
    value: Any = leaf.shown_default
    if value in ("", [], {}, None):
        return " "
    return f" `{value if isinstance(value, str) else json.dumps(value)}` "


def page(text: str) -> str:
    """The page with its generated parts as they should be."""
    for name, rows in (("variables", variables()), ("keys", keys()), ("inactive keys", inactive())):
        begin, end = (mark.format(name) for mark in MARKS)
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{PAGE}: the marks {begin!r} and {end!r} are missing")
        table = "\n".join(rows)
        text = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return text


def wanted() -> dict[Path, str]:
    return {PAGE: page(PAGE.read_text()), SCHEMA: json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"}


def main() -> None:
    stale = [path for path, text in wanted().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.name} is older than the model: run `python docs/make_configuration.py`", file=sys.stderr)
        raise SystemExit(bool(stale))
    for path in stale:
        path.write_text(wanted()[path])
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
