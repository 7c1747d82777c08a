"""Reads a mapping, as YAML, TOML or JSON gives it, into msgspec Structs, and finds everything that is wrong at once.

msgspec's own conversion stops at the first mistake and knows no `100MB`. Someone who writes a configuration file wants
all mistakes in one go, each with its place and with what would be right.

Rule 1: the Struct is the schema. A field's type says what may stand there, `Meta` its bounds, and
        `Meta(extra={"unit": ...})` that people write it as an amount of `core/limits.py`.
Rule 2: an unknown key is a mistake, and the nearest known key is offered.
Rule 3: what is to be known of a key beside its type stands in its type too, as a `Key`.
Rule 4: nothing here knows a key by name; `core/config_keys.py` and `core/manifest.py` do.
"""

import difflib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from math import isfinite
from typing import Annotated, Any, Literal, TypeVar, Union

import msgspec
from msgspec import Meta

from caxton.core.errors import InvalidConfig
from caxton.core.limits import (
    format_bytes,
    format_duration,
    format_millicores,
    format_percent,
    parse_bytes,
    parse_duration,
    parse_millicores,
    parse_percent,
)
from caxton.core.secrets import MASK, SecretText

Bytes = Annotated[int, Meta(ge=0, extra={"unit": "bytes"})]
Millicores = Annotated[int, Meta(ge=1, extra={"unit": "millicores"})]
Seconds = Annotated[float, Meta(ge=0, extra={"unit": "duration"})]
Percent = Annotated[float, Meta(ge=0, le=1, extra={"unit": "percent"})]
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]

# Any: what a parser gives is an int or a float, by unit
PARSERS: dict[str, Callable[[Any], Any]] = {
    "bytes": parse_bytes,
    "millicores": parse_millicores,
    "duration": parse_duration,
    "percent": parse_percent,
}
FORMATTERS: dict[str, Callable[[Any], str]] = {
    "bytes": format_bytes,
    "millicores": format_millicores,
    "duration": format_duration,
    "percent": format_percent,
}
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}

# how people write each, for messages: "expected a size such as 100MB"
AMOUNTS = {
    "bytes": "a size such as 100MB",
    "millicores": "a processor share such as 100m",
    "duration": "a time such as 30s",
    "percent": "a share such as 5%",
}

S = TypeVar("S", bound=msgspec.Struct)


# what a change of a dynamic key holds for
YES = "yes"
NEXT = "for agents that start then"
FILES = "by its file and a reload"  # whoever may set other keys may not set this one


class Key(msgspec.Struct, frozen=True):
    """What is to be known of a key; it stands in the `Annotated` type of its field."""

    meaning: str  # one line, for the documents and the schema
    dynamic: str = ""  # "yes": it may change while the server runs; or what the change holds for then
    restart: str = ""  # why it does not, where that is not plain
    inactive: str = ""  # why it does nothing in this version, and what does instead; holds for the keys below as well
    env: str = ""  # variables that set it, the most binding first
    secret: bool = False  # its value is shown to nobody


def read(
    problems: list[str],
    schema: type[S],
    data: object,
    *,
    path: str = "",
    base: S | None = None,
    elsewhere: Mapping[str, Sequence[str]] | None = None,
) -> S | None:
    """The Struct that *data* describes; what it leaves out is taken from *base*, else from the Struct's defaults.

    Problems are added to the list, each beginning with its dotted path; a value that is wrong is read as if it were not
    there, so that the caller can look for more. None: what is wrong has no default. *elsewhere* says in which other
    tables a name is a key.
    """
    result = _Reader(problems, elsewhere or {}).struct(schema, data, path, base)
    return result if isinstance(result, schema) else None


def raise_problems(problems: Sequence[str], what: str) -> None:
    """Raise InvalidConfig with all of them, one per line, unless there is none."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InvalidConfig(
            f"the {what} has {count}:\n" + "\n".join(f"  {problem}" for problem in problems),
            details={"problems": list(problems)},
        )


def nearest(key: str, known: Sequence[str]) -> str:
    """A hint for an unknown key: `; did you mean 'port'?`, or what there is."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known here: {', '.join(sorted(known))}" if known else ""


def allowed(kind: Any) -> str:  # Any: a type form
    """What may stand there, in words: `a whole number from 0 to 65535`."""
    kind, metas = unwrap(kind)
    unit = unit_of(metas)
    origin = typing.get_origin(kind)
    if unit:
        return AMOUNTS[unit] + _bounds(metas, FORMATTERS[unit])
    if origin in (Union, types.UnionType):
        return allowed(next(option for option in typing.get_args(kind) if option is not type(None)))
    if origin is Literal:
        return "one of " + _options(typing.get_args(kind))
    if origin in (list, tuple, frozenset):
        return "a list"
    if origin is dict or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "a table of keys"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + _options([member.value for member in kind])
    return WORDS.get(kind, "anything") + _bounds(metas, str)


def _bounds(metas: list[Meta], show: Callable[[Any], str]) -> str:
    least = max((meta.ge for meta in metas if meta.ge is not None), default=None)
    most = min((meta.le for meta in metas if meta.le is not None), default=None)
    if least is not None and most is not None:
        return f" from {show(least)} to {show(most)}"
    if least:
        return f" of {show(least)} or more"
    return f" up to {show(most)}" if most is not None else ""


def _options(options: Sequence[object]) -> str:
    return ", ".join(str(option) for option in options if option != "")  # "" is as if nothing were said


def join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


@cache
def hints(schema: type[msgspec.Struct]) -> dict[str, Any]:
    """The field types of a Struct with their Meta. Any: a type form has no common type."""
    return typing.get_type_hints(schema, include_extras=True)


def plain(value: object) -> Any:
    """A Struct as builtins with amounts written as people write them; the inverse of read(). Any: JSON."""
    if isinstance(value, msgspec.Struct):
        kinds = hints(type(value))
        return {name: _plain_field(kinds[name], getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, SecretText):
        return MASK
    return value.value if isinstance(value, Enum) else value


def _plain_field(kind: object, value: object) -> Any:
    unit = unit_of(unwrap(kind)[1])
    return FORMATTERS[unit](value) if unit else plain(value)


def unwrap(kind: Any) -> tuple[Any, list[Meta]]:  # Any: a type form
    """A field's type without its annotations, and the bounds among them."""
    if typing.get_origin(kind) is Annotated:
        inner, *extras = typing.get_args(kind)
        return inner, [extra for extra in extras if isinstance(extra, Meta)]
    return kind, []


def key_of(kind: Any) -> Key:  # Any: a type form
    """What is to be known of the key whose field has this type."""
    extras = typing.get_args(kind)[1:] if typing.get_origin(kind) is Annotated else ()
    return next((extra for extra in extras if isinstance(extra, Key)), Key(""))


def unit_of(metas: list[Meta]) -> str:
    return next((meta.extra["unit"] for meta in metas if meta.extra and "unit" in meta.extra), "")


class _Bad:
    """Stands where a value could not be read; the problem has been noted."""


BAD = _Bad()


class _Reader:
    def __init__(self, problems: list[str], elsewhere: Mapping[str, Sequence[str]]) -> None:
        self.problems = problems
        self.elsewhere = elsewhere

    def problem(self, path: str, text: str) -> _Bad:
        self.problems.append(f"{path}: {text}" if path else text)
        return BAD

    def unknown(self, key: str, path: str, known: Sequence[str]) -> None:
        hint = nearest(key, known)
        places = self.elsewhere.get(key, ())
        if places and not hint.startswith("; did"):
            hint = f"; did you mean {' or '.join(places)}?"
        self.problem(join(path, key), f"unknown key{hint}")

    def struct(self, schema: type[msgspec.Struct], data: object, path: str, base: msgspec.Struct | None) -> Any:
        if data is None:  # `server:` with nothing under it
            data = {}
        if isinstance(data, schema):
            return data
        if not isinstance(data, Mapping):
            return self.problem(path, f"expected a table of keys, found {_describe(data)}")
        kinds = hints(schema)
        fields = {field.encode_name: field for field in msgspec.structs.fields(schema)}
        values: dict[str, Any] = {}
        sound = True
        for key in data:
            if key not in fields:
                self.unknown(str(key), path, list(fields))
        for key, field in fields.items():
            held = getattr(base, field.name) if base is not None else None
            value = self.value(kinds[field.name], data[key], join(path, key), held) if key in data else BAD
            if value is not BAD:
                values[field.name] = value
            elif base is not None:
                values[field.name] = held
            elif field.required:
                sound = False
                if key not in data:
                    self.problem(join(path, key), "missing")
        return schema(**values) if sound else BAD

    def value(self, kind: Any, value: object, path: str, held: object = None) -> Any:
        kind, metas = unwrap(kind)
        unit = unit_of(metas)
        if unit:
            return self.amount(unit, value, path, metas)
        origin = typing.get_origin(kind)
        if origin in (Union, types.UnionType):
            return self.optional(kind, value, path, held)
        if origin is Literal:
            return self.choice(typing.get_args(kind), value, path)
        if isinstance(kind, type) and issubclass(kind, Enum):
            chosen = self.choice([member.value for member in kind], value, path)
            return chosen if chosen is BAD else kind(chosen)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.struct(kind, value, path, held if isinstance(held, kind) else None)
        if origin in (list, tuple, frozenset):
            return self.items(origin, typing.get_args(kind)[0], value, path)
        if origin is dict:
            return self.mapping(typing.get_args(kind)[1], value, path)
        if kind is Any:
            return value
        return self.scalar(kind, value, path, metas)

    def amount(self, unit: str, value: object, path: str, metas: list[Meta]) -> Any:
        try:
            return self.bounded(PARSERS[unit](value), path, metas)
        except (ValueError, TypeError) as error:
            text = (
                str(error) if isinstance(error, ValueError) else f"expected {AMOUNTS[unit]}, found {_describe(value)}"
            )
            return self.problem(path, text)

    def optional(self, kind: Any, value: object, path: str, held: object) -> Any:
        inner = [option for option in typing.get_args(kind) if option is not type(None)]
        assert len(inner) == 1, "a setting is one type, or that type or nothing"
        return None if value is None else self.value(inner[0], value, path, held)

    def choice(self, options: Sequence[object], value: object, path: str) -> Any:
        if isinstance(value, str) and value.lower() in options:
            return value.lower()
        if value in options:
            return value
        if isinstance(value, str):
            close = difflib.get_close_matches(value.lower(), [str(option) for option in options], n=1, cutoff=0.7)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            return self.problem(path, f"{value!r} is not one of {_options(options)}{hint}")
        hint = _unquoted(value) if isinstance(value, bool) else ""
        return self.problem(path, f"expected one of {_options(options)}; found {_describe(value)}{hint}")

    def items(self, origin: Any, kind: Any, value: object, path: str) -> Any:
        if isinstance(value, str) or not isinstance(value, Sequence):
            return self.problem(path, f"expected a list, found {_describe(value)}")
        read_items = [self.value(kind, item, f"{path}[{index}]") for index, item in enumerate(value)]
        return BAD if any(item is BAD for item in read_items) else origin(read_items)

    def mapping(self, kind: Any, value: object, path: str) -> Any:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            return self.problem(path, f"expected a table of keys, found {_describe(value)}")
        result = {str(key): self.value(kind, item, join(path, key)) for key, item in value.items()}
        return BAD if any(item is BAD for item in result.values()) else result

    def scalar(self, kind: Any, value: object, path: str, metas: list[Meta]) -> Any:
        if isinstance(value, str) and kind is not str:
            # from an environment variable or --set everything is text
            try:
                value = msgspec.convert(value.strip().lower(), kind, strict=False)
            except (msgspec.ValidationError, UnicodeError):
                return self.problem(path, f"expected {WORDS[kind]}{_bounds(metas, str)}, found {_describe(value)}")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(value, float) and not isfinite(value):
            return self.problem(path, f"expected {WORDS[kind]}{_bounds(metas, str)}, found {value}")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            hint = _unquoted(value) if kind is str else ""
            return self.problem(path, f"expected {WORDS[kind]}{_bounds(metas, str)}, found {_describe(value)}{hint}")
        return self.bounded(value, path, metas)

    def bounded(self, value: Any, path: str, metas: list[Meta]) -> Any:
        for meta in metas:
            unit = unit_of([meta])
            show = FORMATTERS[unit] if unit else str
            if meta.ge is not None and not value >= meta.ge:
                return self.problem(path, f"{show(value)} is too small; the least is {show(meta.ge)}")
            if meta.le is not None and not value <= meta.le:
                return self.problem(path, f"{show(value)} is too large; the most is {show(meta.le)}")
            if meta.max_length is not None and len(value) > meta.max_length:
                return self.problem(path, f"{len(value)} characters are too many; the most is {meta.max_length}")
        return value


def _unquoted(value: object) -> str:
    """What may have happened to a text: in YAML `off` is false and `1.10` is 1.1."""
    return "; text needs quotes here" if isinstance(value, bool | int | float) else ""


def _describe(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"  # as it stands in the file
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
