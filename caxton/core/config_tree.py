"""Walks the model of the configuration: its leaves, one key by its name, and the JSON Schema.

A leaf is a key that holds a value: everything but the Structs that are tables of keys.
"""

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar, Union

import msgspec

from caxton.core.config_keys import Keys
from caxton.core.secrets import MASK
from caxton.core.settings import (
    AMOUNTS,
    FORMATTERS,
    Key,
    allowed,
    hints,
    join,
    key_of,
    nearest,
    plain,
    unit_of,
    unwrap,
)

C = TypeVar("C", bound=msgspec.Struct)


class Leaf(NamedTuple):
    """One key that holds a value."""

    name: str  # dotted
    kind: Any  # the field's type form, which has no common type
    key: Key
    default: Any  # as Python holds it; None where an item of a list must say it

    @property
    def shown_default(self) -> Any:  # Any: JSON
        """As a person writes it."""
        unit = unit_of(unwrap(self.kind)[1])
        return FORMATTERS[unit](self.default) if unit else plain(self.default)

    @property
    def allowed(self) -> str:
        return allowed(self.kind)


@cache
def leaves() -> Mapping[str, Leaf]:
    """All keys of the server's configuration, in the order of the model."""
    return {leaf.name: leaf for leaf in _leaves(Keys, "", "")}


@cache
def table_leaves(schema: type[msgspec.Struct]) -> Mapping[str, Leaf]:
    """The keys of another table, such as an agent's configuration."""
    return {leaf.name: leaf for leaf in _leaves(schema, "", "")}


@cache
def elsewhere() -> Mapping[str, list[str]]:
    """For each last part of a key, the keys that have it."""
    found: dict[str, list[str]] = {}
    for name in leaves():
        found.setdefault(name.rpartition(".")[2], []).append(name)
    return {part: names for part, names in found.items() if len(names) <= 3}


def leaf_at(name: str) -> Leaf | None:
    """The leaf that *name* is or lies in: `a.b[0].c` is in the list `a.b`."""
    name = name.partition("[")[0]
    while name:
        if (leaf := leaves().get(name)) is not None:
            return leaf
        name = name.rpartition(".")[0]
    return None


def unknown_key(name: str) -> str:
    """What to say to somebody who asked for a key that is not there."""
    below = [known for known in leaves() if known.startswith(f"{name}.")]
    if below:
        return f"{name} is a table of keys; known in it: {', '.join(key[len(name) + 1 :] for key in below)}"
    hint = nearest(name, list(leaves()))
    places = elsewhere().get(name.rpartition(".")[2], [])
    if not hint.startswith("; did"):
        hint = f"; did you mean {' or '.join(places)}?" if places else "; `caxton config show --effective` lists all"
    return f"{name}: unknown key{hint}"


def values(config: Keys) -> dict[str, Any]:
    """Every key with its value as Python holds it."""
    found: dict[str, Any] = {}
    for name in leaves():
        value: Any = config
        for part in name.split("."):
            value = getattr(value, part)
        found[name] = value
    return found


def shown_values(config: Keys) -> dict[str, Any]:
    """Every key with its value as a person writes it; secrets are masked."""
    return {name: seen(name, value, config) for name, value in values(config).items()}


def seen(name: str, value: Any, config: Keys) -> Any:
    """A value of this key as anybody may see it: secrets are `***`, those inside a list of tables too."""
    # in a list or a table each text that was fetched knows by itself that it is not to be seen
    if name in getattr(config, "masked", ()) and not isinstance(value, list | tuple | dict):
        return MASK
    return masked(name, shown(name, value))


def masked(name: str, written: Any) -> Any:
    """The same of a value as a person writes it."""
    leaf = leaves()[name]
    if leaf.key.secret:
        return MASK if written else written
    hidden = secret_members(leaf)

    def row(held: Mapping[str, Any]) -> dict[str, Any]:
        return {key: MASK if key in hidden and value else value for key, value in held.items()}

    if not hidden:
        return written
    if isinstance(written, Mapping):
        return {key: row(held) for key, held in written.items()}
    return [row(held) for held in written]


def unmasked(name: str, written: Any, known: Sequence[msgspec.Struct]) -> Any:
    """A list of tables in which `***` is what the table of *known* has that is named alike; else it stays.

    Whoever was shown a list can so give it back, changed, without knowing its secrets. A table's name is its first key.
    """
    hidden = secret_members(leaves()[name])
    if not hidden or isinstance(written, Mapping):
        return written
    rows = []
    for row in written:
        first = next(iter(row), "")
        there = next((one for one in known if getattr(one, first) == row[first]), None)
        rows.append({key: getattr(there, key) if key in hidden and held == MASK and there else held
                     for key, held in row.items()})  # fmt: skip
    return rows


def secret_members(leaf: Leaf) -> frozenset[str]:
    """In a list, or a table, of tables, their keys that are secrets."""
    inner, _ = unwrap(leaf.kind)
    place = {tuple: 0, dict: 1}.get(typing.get_origin(inner))
    struct = None if place is None else _table(typing.get_args(inner)[place])
    return frozenset(name for name, kind in hints(struct).items() if key_of(kind).secret) if struct else frozenset()


def secret_texts(config: Keys) -> Iterator[str]:
    """What the configuration holds and nobody is to see."""
    for name, value in values(config).items():
        leaf = leaves()[name]
        if leaf.key.secret and isinstance(value, str):
            yield value
        for key in secret_members(leaf):
            yield from (str(getattr(row, key)) for row in (value.values() if isinstance(value, dict) else value))


def shown(name: str, value: Any) -> Any:
    """A value of this key as a person writes it."""
    return leaves()[name]._replace(default=value).shown_default


def with_values(config: C, changes: Mapping[str, Any]) -> C:
    """The configuration in which these keys have these values, as Python holds them."""
    for name, value in changes.items():
        config = _with(config, name.split("."), value)
    return config


def _with(table: C, path: Sequence[str], value: Any) -> C:
    head, *rest = path
    return msgspec.structs.replace(table, **{head: _with(getattr(table, head), rest, value) if rest else value})


def set_keys(tree: Mapping[str, Any], schema: type[msgspec.Struct] = Keys, path: str = "") -> Iterator[str]:
    """The leaves that a decoded tree says something about, and the names in it that are no keys."""
    kinds = hints(schema)
    for name, value in tree.items():
        place = join(path, name)
        inner = _table(kinds.get(name))
        if inner is not None and isinstance(value, Mapping):
            yield from set_keys(value, inner, place)
        else:
            yield place


def schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file."""
    properties = _schema(Keys)
    properties["properties"] = {
        "extends": {
            "description": "file or files that this one is laid over",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
        **properties["properties"],
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Configuration of Caxton", **properties}


def _leaves(schema: type[msgspec.Struct], path: str, inactive: str) -> Iterator[Leaf]:
    kinds = hints(schema)
    for field in msgspec.structs.fields(schema):
        kind = kinds[field.name]
        key = key_of(kind)
        key = msgspec.structs.replace(key, inactive=key.inactive or inactive)
        inner = _table(kind)
        if inner is not None:
            yield from _leaves(inner, join(path, field.name), key.inactive)
        else:
            yield Leaf(join(path, field.name), kind, key, _default(field))


def _table(kind: Any) -> type[msgspec.Struct] | None:
    kind, _ = unwrap(kind)
    if typing.get_origin(kind) in (Union, types.UnionType):  # a table, or nothing
        kind = next(option for option in typing.get_args(kind) if option is not type(None))
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None


def _schema(struct: type[msgspec.Struct]) -> dict[str, Any]:
    properties, required = {}, []
    kinds = hints(struct)
    for field in msgspec.structs.fields(struct):
        kind = kinds[field.name]
        key = key_of(kind)
        shape = _shape(kind)
        if key.meaning:
            shape["description"] = key.meaning
        if key.inactive:
            shape["description"] = (
                f"{shape.get('description', '')} (not active in this version: {key.inactive})".strip()
            )
        if key.dynamic:
            shape["x-dynamic"] = key.dynamic
        if field.required:
            required.append(field.name)
        elif _table(kind) is None:
            shape["default"] = Leaf(field.name, kind, key, _default(field)).shown_default
        properties[field.name] = shape
    table: dict[str, Any] = {"type": ["object", "null"], "additionalProperties": False, "properties": properties}
    return {**table, "required": required} if required else table


VARIABLE = {"type": "string", "pattern": r"\$\{"}  # a value may come from the environment
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def _shape(kind: Any) -> dict[str, Any]:
    inner, metas = unwrap(kind)
    origin = typing.get_origin(inner)
    if unit := unit_of(metas):
        return {"type": ["string", "number"], "examples": [AMOUNTS[unit].rpartition(" ")[2]]}
    if origin in (Union, types.UnionType):
        return _shape(next(option for option in typing.get_args(inner) if option is not type(None)))
    if origin is Literal or (isinstance(inner, type) and issubclass(inner, Enum)):
        options = list(typing.get_args(inner)) or [member.value for member in inner]
        return {"anyOf": [{"enum": [*options, *(one.upper() for one in options)]}, VARIABLE]}
    if origin in (list, tuple, frozenset):
        return {"type": "array", "items": _shape(typing.get_args(inner)[0])}
    if (struct := _table(inner)) is not None:
        return _schema(struct)
    if origin is dict:
        return {"type": ["object", "null"]}
    if inner is str:
        return {"type": "string"}
    bounds: dict[str, Any] = {"type": TYPES[inner]}
    for meta in metas:
        bounds |= {"minimum": meta.ge} if meta.ge is not None else {}
        bounds |= {"maximum": meta.le} if meta.le is not None else {}
    return {"anyOf": [bounds, VARIABLE]}
