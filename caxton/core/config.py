"""Where configuration comes from: files that extend others, profiles, the environment, and flags.

Rule 1: flags bind more than the environment, the environment more than files, files more than defaults; within
        files, a profile more than the file, the file more than what it extends. Tables are merged key by key,
        everything else is replaced.
Rule 2: `${NAME}` and `${NAME:-default}` inside a file are replaced; `$${` is a plain `${`. A variable that is not
        set is a mistake where its value is read, and stays as it stands where the key is inactive. The same holds for
        `${secret:...}` (`core/secrets.py`): who gives `fetch` gets the values, for all others they are `***`.
Rule 3: all mistakes are told at once, each with the file and line, the variable or the flag that holds it; but a file
        that cannot be read at all is told alone.
Rule 4: the keys themselves are in `core/config_keys.py`, the languages of files in `core/config_text.py`.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from caxton.core.config_keys import (
    Config,
    Keys,
    MessagingConfig,
    RuntimeConfig,
    ServerConfig,
    check,
)
from caxton.core.config_logging import LoggingConfig
from caxton.core.config_substitute import is_inactive, substitute
from caxton.core.config_text import Place, Tree, decode, decode_placed
from caxton.core.config_tree import elsewhere, leaf_at, leaves, set_keys, values
from caxton.core.errors import InvalidConfig
from caxton.core.secrets import MASK, Fetch, Fetched, SecretText
from caxton.core.settings import raise_problems, read

__all__ = [
    "Config",
    "LoggingConfig",
    "MessagingConfig",
    "RuntimeConfig",
    "ServerConfig",
    "build_config",
    "decode",
    "load",
    "load_config",
    "read_table",
]

DEFAULT_PATH = Path("/etc/caxton/config.yaml")
PROFILE_NAMES = {"development": "dev", "production": "prod"}  # --env's long names
SUFFIXES = (".yaml", ".yml", ".toml", ".json")
SHIPPED = Path(__file__).parent / "profiles"  # profiles that come with this package
SHIPPED_MARK = "profile:"  # `extends: profile:latency`

# variables that are ours and no keys
OTHER_VARIABLES = frozenset(
    {"CAXTON_CONFIG_PATH", "CAXTON_ENV", "CAXTON_SERVER", "CAXTON_CA", "CAXTON_CERT", "CAXTON_FAILPOINTS"}
)
# of the guide; a server that asked for a database and got none would look as if it had one
REFUSED_VARIABLES = {
    f"CAXTON_DB_{part}": "there is no database server to name: all state is SQLite in the data folder, CAXTON_DATA_DIR"
    for part in ("HOST", "PORT", "NAME", "USER", "PASSWORD")
}

_MAX_EXTENDS = 16


class Layer(NamedTuple):
    """One source: a file, a variable or a flag."""

    name: str  # as people are told of it
    tree: Tree
    places: Mapping[str, Place]
    file: str = ""  # its absolute path, if it is one


class Loaded(NamedTuple):
    """A configuration, and all that was said about it."""

    config: Config
    layers: Sequence[Layer]  # the least binding first
    notes: Sequence[str]  # what is no mistake, but looks like one
    environ: Mapping[str, str]  # what `${NAME}` in the layers stands for
    fetched: Fetched | None = None  # what `${secret:...}` in them stands for; None: nobody looked
    fetch: Fetch | None = None  # looks again

    def origin(self, key: str) -> str:
        """Who says what *key* is: `config.yaml:3`, `CAXTON_PORT`; "" is nobody."""
        says = any(_raw(layer.tree, key) is not None for layer in self.layers)
        return find_origin(self.layers, key)[1] if says else ""


def load_config(
    path: str | None = None,
    *,
    profile: str | None = None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str],
) -> Config:
    """The configuration of a server that is started with these flags in this environment. Raises InvalidConfig."""
    return load(path, profile=profile, sets=sets, environ=environ).config


def load(
    path: str | None = None,
    *,
    profile: str | None = None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str],
    fetch: Fetch | None = None,
) -> Loaded:
    """The same, with the sources; and with the secrets where *fetch* gets them, which may take its time."""
    layers: list[Layer] = []
    for file in find_files(path, profile or environ.get("CAXTON_ENV") or None, environ, required=profile is not None):
        layers += load_layers(file)
    problems: list[str] = []
    layers += from_environment(environ, problems)
    layers += [from_flag(text) for text in sets]
    fetched = _fetch(merged(layers), environ, fetch) if fetch else None
    return Loaded(build(layers, environ, problems, fetched), layers, tuple(_notes(environ)), environ, fetched, fetch)


def fetch_again(loaded: Loaded) -> Loaded:
    """The same sources with their secrets as they are now. Raises InvalidConfig when one cannot be had."""
    assert loaded.fetch is not None, "nobody fetched them the first time"
    fetched = _fetch(merged(loaded.layers), loaded.environ, loaded.fetch)
    return loaded._replace(config=build(loaded.layers, loaded.environ, fetched=fetched), fetched=fetched)


def _fetch(tree: Tree, environ: Mapping[str, str], fetch: Fetch) -> Fetched:
    """What the references of the keys that act stand for."""
    held: dict[str, str] = {}
    plain = substitute(tree, environ, None, held=held)
    texts = dict.fromkeys(text for place, text in held.items() if not is_inactive(place))
    if not texts:
        return {}
    try:
        patience = value_in(plain, "security.secrets.timeout")
    except InvalidConfig:  # `build` says so
        patience = leaves()["security.secrets.timeout"].default
    return fetch(list(texts), environ, patience)


def loaded_as(config: Config) -> Loaded:
    """As if this configuration had been read from somewhere."""
    before, now = values(Keys()), values(config)
    tree: Tree = {}
    for key, leaf in leaves().items():
        if now[key] != before[key]:
            tree = merge(tree, nested(key, leaf._replace(default=now[key]).shown_default))
    return Loaded(config, [Layer("the start", tree, {})], (), {})


def build(
    layers: Sequence[Layer],
    environ: Mapping[str, str],
    problems: list[str] | None = None,
    fetched: Fetched | None = None,
) -> Config:
    """The configuration that these layers make together."""
    sources = [layer.file for layer in layers if layer.file]
    config = build_config(
        merged(layers), environ, sources=sources, layers=layers, problems=problems or [], fetched=fetched
    )
    disk = config.resources.disk
    data_dir = disk.data_dir or default_data_dir(environ)
    disk = msgspec.structs.replace(disk, data_dir=data_dir, temp_dir=disk.temp_dir or str(Path(data_dir) / "temp"))
    return msgspec.structs.replace(config, resources=msgspec.structs.replace(config.resources, disk=disk))


def merged(layers: Sequence[Layer]) -> Tree:
    data: Tree = {}
    for layer in layers:
        data = merge(data, layer.tree)
    return data


def build_config(
    data: Tree,
    environ: Mapping[str, str],
    *,
    sources: Sequence[str] = (),
    layers: Sequence[Layer] = (),
    problems: Sequence[str] = (),
    fetched: Fetched | None = None,
) -> Config:
    """The configuration in a decoded tree, its variables not replaced yet."""
    found = list(problems)
    unset: list[str] = []
    held: dict[str, str] = {}
    tree = substitute(data, environ, unset, held=held, fetched=fetched)
    for problem in unset:
        leaf = leaf_at(problem.partition(": ")[0])
        if leaf is not None and leaf.key.inactive:
            _remove(tree, leaf.name)
        else:
            found.append(problem)
    known = len(found)
    keys = read(found, Keys, tree, elsewhere=elsewhere())
    assert keys is not None, "every key has a default"
    unserved = [key for key in inactive_keys(data) if _asks(tree, key)]
    config = Config(
        **{name: getattr(keys, name) for name in Keys.__struct_fields__},
        sources=tuple(sources),
        unserved=tuple(unserved),
        masked=tuple({leaf.name: None for place in held if (leaf := leaf_at(place)) is not None}),
    )
    check(found, config)
    found[known:] = _without_secrets(found[known:], found[:known], held, fetched)
    raise_problems(located(found, layers), f"configuration {', '.join(sources)}".rstrip())
    return config


def _without_secrets(
    problems: Sequence[str], known: Sequence[str], held: Mapping[str, str], fetched: Fetched | None
) -> Iterator[str]:
    """The problems; of a value that holds a secret only which reference it is, and what would be right."""
    values = [value for value in (fetched or {}).values() if isinstance(value, SecretText) and len(value) > 3]
    for problem in problems:
        place = problem.partition(": ")[0]
        if place not in held:
            for value in values:  # a problem of several keys together names the values of all
                problem = problem.replace(value, MASK)
            yield problem
        elif fetched is not None and not any(told.startswith(f"{place}: ") for told in known):
            leaf = leaves().get(place)
            right = f"; expected {leaf.allowed}" if leaf and leaf.allowed not in ("text", "anything") else ""
            yield f"{place}: what the secret ${{secret:{held[place]}}} holds does not fit{right}"


def value_in(tree: Tree, key: str) -> Any:  # Any: a key's value
    """What *key* is in a decoded tree, whatever else is wrong there. Raises InvalidConfig when it is wrong itself."""
    problems: list[str] = []
    keys = read(problems, Keys, tree, elsewhere=elsewhere())
    wrong = [problem for problem in problems if problem.partition(": ")[0].partition("[")[0] == key]
    raise_problems(wrong, "configuration")
    assert keys is not None, "every key has a default"
    return values(keys)[key]


def inactive_keys(data: Tree) -> list[str]:
    """The keys in a decoded tree that have no effect in this version."""
    return sorted(key for key in set_keys(data) if key in leaves() and leaves()[key].key.inactive)


def _asks(tree: Tree, key: str) -> bool:
    """Whether the value of an inactive key asks for anything: `enabled: false`, and what stands beside it, does not."""
    table, _, _ = key.rpartition(".")
    return _raw(tree, key) not in (False, 0, "false", "0") and _raw(tree, f"{table}.enabled") is not False


def default_data_dir(environ: Mapping[str, str]) -> str:
    """A folder that the user may write to; packages and containers name /var/lib/caxton in their file."""
    share = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".local" / "share")
    return str(Path(share) / "caxton")


def read_table(path: str | Path, environ: Mapping[str, str], fetch: Fetch, patience: float = 5.0) -> Tree:
    """An agent's YAML, TOML or JSON file as a table: what it extends merged in, variables and secrets replaced.

    A text that holds a secret is a `SecretText`; those that the server has (`secretRef`) stay named.
    """
    problems: list[str] = []
    layers = load_layers(Path(path))
    held: dict[str, str] = {}
    substitute(merged(layers), environ, None, held=held, of_agent=True)
    fetched = fetch(list(dict.fromkeys(held.values())), environ, patience) if held else {}
    tree = substitute(merged(layers), environ, problems, held=held, fetched=fetched, of_agent=True)
    raise_problems(located(problems, layers), f"file {path}")
    return tree


# -- who says what --


def find_origin(layers: Sequence[Layer], key: str) -> tuple[int, str, Place | None]:
    """The number of the layer that says what *key* is, its name with the line, and the place in it."""
    asked = key
    while key:
        for index in range(len(layers) - 1, -1, -1):
            layer = layers[index]
            if (place := layer.places.get(key)) is not None:
                return index, f"{layer.name}:{place.line}", place
            raw = None if layer.file else _raw(layer.tree, key)
            if raw is not None and (not isinstance(raw, dict) or key == asked):
                return index, layer.name, None
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return len(layers), "", None


def located(problems: Sequence[str], layers: Sequence[Layer]) -> list[str]:
    """The problems with their places, in the order of the places."""
    rows = []
    for problem in problems:
        key = problem.partition(": ")[0]
        index, origin, place = find_origin(layers, key)
        raw = _raw(layers[index].tree, key) if index < len(layers) else None
        if key in leaves() and (index == len(layers) or (place and key not in layers[index].places)):
            # nobody wrote this one: of those that are wrong together with it, the first that somebody wrote
            for named in re.findall(r"[a-z_]+(?:\.[a-z_]+)+", problem):
                if any(_raw(layer.tree, named) is not None for layer in layers):
                    index, origin, place = find_origin(layers, named)
                    break
        if isinstance(raw, str) and "${" in raw and not any(told in problem for told in ("the variable ", "${secret:")):
            problem += f" (written {raw})"
        text = problem if origin in ("", key) else f"{origin}: {problem}".replace(f"--set {key}: {key}", f"--set {key}")
        rows.append(((index, place.line if place else 0), text))
    return [text for _, text in sorted(rows, key=lambda row: row[0])]


def _raw(tree: Tree, key: str) -> object:
    value: object = tree
    for part in key.partition("[")[0].split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def _remove(tree: Tree, key: str) -> None:
    *tables, last = key.split(".")
    held: Any = tree
    for table in tables:
        held = held.get(table) if isinstance(held, dict) else None
    if isinstance(held, dict):
        held.pop(last, None)


# -- trees --


def merge(below: Tree, above: Tree) -> Tree:
    """*above* laid over *below*; neither is changed."""
    result = dict(below)
    for key, value in above.items():
        held = result.get(key)
        result[key] = merge(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return result


# -- sources --


def from_environment(environ: Mapping[str, str], problems: list[str]) -> Iterator[Layer]:
    """A layer for each variable that sets a key."""
    for leaf in leaves().values():
        for name in leaf.key.env.split():
            text = environ.get(name)
            if not text:
                continue
            if name == "RUST_LOG" and text.lower() not in leaf.allowed:
                continue  # a filter by module, for some other program; `_notes` says so
            if text.startswith("tcp://"):
                problems.append(
                    f"{name}: {text!r} is what Kubernetes sets for a service named caxton; set enableServiceLinks: "
                    "false for the pod, or give the service another name"
                )
                continue
            # what stands in a variable is meant as it stands
            yield Layer(name, nested(leaf.name, text.replace("${", "$${")), {})
            break
    problems += [f"{name}: {text}" for name, text in REFUSED_VARIABLES.items() if environ.get(name)]


def _notes(environ: Mapping[str, str]) -> Iterator[str]:
    known = {name for leaf in leaves().values() for name in leaf.key.env.split()} | OTHER_VARIABLES
    for name in sorted(environ):
        if name.startswith("CAXTON_") and name not in known and name not in REFUSED_VARIABLES and environ[name]:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
            # Kubernetes names the services of a namespace in every container
            if close and not re.search(r"_SERVICE_|_PORT_\d|_TCP", name):
                yield f"the variable {name} sets nothing; did you mean {close[0]}?"
    level = environ.get("RUST_LOG", "")
    if level and "CAXTON_LOG_LEVEL" not in environ and level.lower() not in ("trace", "debug", "info", "warn", "error"):
        yield f"the variable RUST_LOG={level} is no level by itself and sets nothing; write CAXTON_LOG_LEVEL=debug"


def from_flag(text: str) -> Layer:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise InvalidConfig(f"--set {text!r} is not KEY=VALUE", hint="write --set server.port=9000")
    return Layer(f"--set {key}", nested(key, flag_value(value)), {})


def nested(key: str, value: object) -> Tree:
    """A tree in which *key* is *value*."""
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def flag_value(text: str) -> object:
    """Lists, tables and quoted text are JSON; the rest is text, which the reader turns into what the key wants."""
    if text[:1] in ("[", "{", '"'):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise InvalidConfig(f"{text!r} is not JSON: {error}", hint='a list is ["a", "b"]') from None
    return text


def find_files(path: str | None, profile: str | None, environ: Mapping[str, str], *, required: bool) -> list[Path]:
    """The file, then its profile: `<file>-<profile>.yaml` beside it, else one of ours."""
    named = path or environ.get("CAXTON_CONFIG_PATH")
    base = Path(named) if named else DEFAULT_PATH
    files = [base] if named or base.is_file() else []
    if profile:
        names = [profile, *([PROFILE_NAMES[profile]] if profile in PROFILE_NAMES else [])]
        folders = [base.parent] if named else [Path(), base.parent]
        wanted = [
            folder / f"{base.stem}-{name}{suffix}"
            for folder in folders
            for name in names
            for suffix in dict.fromkeys((base.suffix, *SUFFIXES))
        ]
        found = next((file for file in wanted if file.is_file()), None)
        if found is not None:
            files.append(found)
        elif profile in shipped():
            files.append(SHIPPED / f"{profile}.yaml")
        elif required:
            raise InvalidConfig(
                f"there is no file for the profile {profile!r}",
                hint=f"write {wanted[0]}, or take one that is always there: {', '.join(shipped())}",
            )
    return files


def shipped() -> list[str]:
    """The names of the profiles that need no file of the operator's."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_layers(file: Path, seen: tuple[Path, ...] = (), by: str = "") -> list[Layer]:
    """The file's own layer, and before it those of the files that it extends."""
    whole, shown = file.resolve(), os.path.normpath(file)
    if whole in seen or len(seen) >= _MAX_EXTENDS:
        chain = " -> ".join(str(step) for step in (*seen, whole))
        raise InvalidConfig(f"{by}: files extend each other in a circle: {chain}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        said = f"cannot read the file {shown}: {error.strerror or error}"
        if by:
            raise InvalidConfig(f"{by}: {said}", hint="`extends` is relative to the file that it stands in") from None
        raise InvalidConfig(said, hint="give another with --config or CAXTON_CONFIG_PATH") from None
    except UnicodeDecodeError as error:
        raise InvalidConfig(
            f"{shown} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}"
        ) from None
    tree, places = decode_placed(text, shown)
    layers: list[Layer] = []
    extends = tree.pop("extends", [])
    names = extends if isinstance(extends, list) else [extends]
    where = f"{shown}:{places['extends'].line if 'extends' in places else 1}"
    if not all(isinstance(name, str) for name in names):
        raise InvalidConfig(f"{where}: extends names a file, or a list of files")
    for name in names:
        if name.startswith(SHIPPED_MARK):
            profile = name.removeprefix(SHIPPED_MARK)
            if profile not in shipped():
                raise InvalidConfig(f"{where}: there is no profile {profile!r}; there are {', '.join(shipped())}")
            layers += load_layers(SHIPPED / f"{profile}.yaml", (*seen, whole), where)
        else:
            layers += load_layers(file.parent / name, (*seen, whole), where)
    return [*layers, Layer(shown, tree, places, str(whole))]
