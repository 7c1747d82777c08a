"""Where configuration comes from: files that extend others, profiles, the environment, and flags.

Rule 1: flags bind more than the environment, the environment more than files, files more than defaults; within
        files, a profile more than the file, the file more than what it extends. Tables are merged key by key,
        everything else is replaced.
Rule 2: `${NAME}` and `${NAME:-default}` inside a file are replaced; `$${` is a plain `${`. A variable that is not
        set is a mistake where its value is read, and stays as it stands where the value is only kept.
Rule 3: all mistakes are told at once, but a file that cannot be read at all is told alone.
Rule 4: the keys themselves are in `core/config_keys.py`.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from caxton.core.config_keys import (
    Config,
    DiskConfig,
    HostConfig,
    LoggingConfig,
    MessagingConfig,
    RuntimeConfig,
    ServerConfig,
    check,
    split,
)
from caxton.core.errors import InvalidConfig
from caxton.core.settings import join, raise_problems, read

__all__ = [
    "Config",
    "LoggingConfig",
    "MessagingConfig",
    "RuntimeConfig",
    "ServerConfig",
    "build_config",
    "decode",
    "load_config",
    "read_table",
]

DEFAULT_PATH = Path("/etc/caxton/config.yaml")
PROFILE_NAMES = {"development": "dev", "production": "prod"}  # --env's long names
SUFFIXES = (".yaml", ".yml", ".toml", ".json")

ENVIRONMENT: dict[str, str] = {
    "CAXTON_DATA_DIR": "resources.disk.data_dir",
    "CAXTON_HOST": "server.host",
    "CAXTON_PORT": "server.port",
    "CAXTON_METRICS_PORT": "server.metrics_port",
    "CAXTON_GRPC_PORT": "server.grpc_port",
    "CAXTON_LOG_LEVEL": "observability.logging.level",
    "CAXTON_AUTH_ENABLED": "security.authentication.enabled",
    "CAXTON_TLS_ENABLED": "server.tls.enabled",
}

_VARIABLE = re.compile(r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_MAX_EXTENDS = 16

Tree = dict[str, Any]  # Any: a decoded file


def load_config(
    path: str | None = None,
    *,
    profile: str | None = None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str],
) -> Config:
    """The configuration of a server that is started with these flags in this environment. Raises InvalidConfig."""
    sources: list[str] = []
    data: Tree = {}
    for file in _files(path, profile or environ.get("CAXTON_ENV") or None, environ, required=profile is not None):
        data = merge(data, _load(file, sources))
    for variable, key in ENVIRONMENT.items():
        if environ.get(variable):
            data = merge(data, _nested(key, environ[variable]))
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise InvalidConfig(f"--set {text!r} is not KEY=VALUE", hint="write --set server.port=9000")
        data = merge(data, _nested(key, _flag_value(value)))
    return build_config(data, environ, sources=sources)


def build_config(data: Tree, environ: Mapping[str, str], *, sources: Sequence[str] = ()) -> Config:
    """The configuration in a decoded tree, its variables not replaced yet."""
    problems: list[str] = []
    served, kept = split(problems, data)
    served = substitute(served, environ, problems)
    config = read(problems, Config, served)
    if config is not None:
        check(problems, config)
    raise_problems(problems, f"configuration {', '.join(sources)}".rstrip())
    assert config is not None
    config = msgspec.structs.replace(config, other=substitute(kept, environ, None), sources=tuple(sources))
    if not config.data_dir:
        disk = DiskConfig(data_dir=default_data_dir(environ))
        config = msgspec.structs.replace(config, resources=HostConfig(disk=disk))
    return config


def default_data_dir(environ: Mapping[str, str]) -> str:
    """A folder that the user may write to; packages and containers name /var/lib/caxton in their file."""
    share = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".local" / "share")
    return str(Path(share) / "caxton")


def read_table(path: str | Path, environ: Mapping[str, str]) -> Tree:
    """A YAML, TOML or JSON file as a table: what it extends merged in, variables replaced."""
    problems: list[str] = []
    tree = substitute(_load(Path(path), []), environ, problems)
    raise_problems(problems, f"file {path}")
    return tree


def decode(text: str, name: str) -> Tree:
    """The table in *text*; the ending of *name* says in which language."""
    try:
        if name.endswith(".toml"):
            tree: object = tomllib.loads(text)
        elif name.endswith(".json"):
            tree = msgspec.json.decode(text)
        else:
            tree = _decode_yaml(text)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise InvalidConfig(f"{name}: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InvalidConfig(f"{name}: expected a table of keys, found {type(tree).__name__}")
    return tree


def _decode_yaml(text: str) -> object:
    import yaml  # here, because most commands read no YAML and it takes 20 ms to import

    class Loader(yaml.SafeLoader):
        """Refuses a key that stands twice, which YAML forbids and PyYAML lets pass."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen: set[object] = set()
            for key_node, _ in node.value:
                if isinstance(key_node, yaml.ScalarNode) and key_node.value != "<<":
                    if key_node.value in seen:
                        line = key_node.start_mark.line + 1
                        raise yaml.constructor.ConstructorError(None, None, f"line {line}: {key_node.value!r} twice")
                    seen.add(key_node.value)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise InvalidConfig(f"not YAML: {error}") from None


def merge(below: Tree, above: Tree) -> Tree:
    """*above* laid over *below*; neither is changed."""
    result = dict(below)
    for key, value in above.items():
        held = result.get(key)
        result[key] = merge(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return result


def substitute(tree: Tree, environ: Mapping[str, str], problems: list[str] | None, path: str = "") -> Tree:
    """The tree with its variables replaced; without a list of problems, unset ones stay as they are."""

    def walk(value: object, place: str) -> object:
        if isinstance(value, dict):
            return {key: walk(item, join(place, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, f"{place}[{index}]") for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value

        def put(match: re.Match[str]) -> str:
            escaped, name, default = match.groups()
            if escaped:
                return match[0][1:]
            # as in a shell: an empty variable counts as unset where there is a default
            found = (environ.get(name) or default) if default is not None else environ.get(name)
            if found is not None:
                return found
            if problems is not None:
                problems.append(f"{place}: the variable {name} is not set; set it, or write ${{{name}:-default}}")
            return match[0]

        return _VARIABLE.sub(put, value)

    return {key: walk(item, join(path, key)) for key, item in tree.items()}


def _files(path: str | None, profile: str | None, environ: Mapping[str, str], *, required: bool) -> list[Path]:
    """The file, then its profile `<file>-<profile>.yaml` beside it."""
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
        elif required:
            raise InvalidConfig(
                f"there is no file for the profile {profile!r}", hint=f"write {wanted[0]}, or leave --profile out"
            )
    return files


def _load(file: Path, sources: list[str], seen: tuple[Path, ...] = ()) -> Tree:
    file = file.resolve()
    if file in seen or len(seen) >= _MAX_EXTENDS:
        chain = " -> ".join(str(step) for step in (*seen, file))
        raise InvalidConfig(f"files extend each other in a circle: {chain}")
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        hint = f"{seen[-1]} extends it" if seen else "give another with --config or CAXTON_CONFIG_PATH"
        raise InvalidConfig(
            f"cannot read the file {file}: {error.strerror or error}",
            hint=hint,
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidConfig(f"{file} is not UTF-8 text: {error}") from None
    try:
        tree = decode(text, file.name)
    except InvalidConfig as error:
        raise InvalidConfig(f"{file}: {error}") from None
    below: Tree = {}
    extends = tree.pop("extends", [])
    names = extends if isinstance(extends, list) else [extends]
    if not all(isinstance(name, str) for name in names):
        raise InvalidConfig(f"{file}: extends names a file, or a list of files")
    for name in names:
        below = merge(below, _load(file.parent / name, sources, (*seen, file)))
    sources.append(str(file))
    return merge(below, tree)


def _nested(key: str, value: object) -> Tree:
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def _flag_value(text: str) -> object:
    """Lists, tables and quoted text are JSON; the rest is text, which the reader turns into what the key wants."""
    if text[:1] in ("[", "{", '"'):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise InvalidConfig(f"--set: {text!r} is not JSON: {error}") from None
    return text
