"""What can be told of a configuration with mistakes: which data folder it means, and where its server listens.

Whoever stops a server whose file was broken meanwhile needs no more than that. Nothing is guessed: where a file that
cannot be read may name another data folder, there is no answer.

Rule 1: what binds more than a broken file (variables, flags) is known all the same.
Rule 2: a file that is no YAML, TOML or JSON any more is searched as text, for the one key that matters.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from caxton.core.config import (
    Layer,
    build,
    default_data_dir,
    find_files,
    from_environment,
    from_flag,
    load_layers,
    merged,
    nested,
    value_in,
)
from caxton.core.config_keys import Keys
from caxton.core.config_substitute import substitute
from caxton.core.config_tree import elsewhere, leaves
from caxton.core.errors import InvalidConfig
from caxton.core.secrets import MASK
from caxton.core.settings import read

DATA_DIR = "resources.disk.data_dir"
# as YAML, TOML and JSON write it, in a line of its own or among others; a comment is none
WRITTEN = re.compile(r"""^[^#\n]*?["']?\bdata_dir["']?\s*[:=]\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s"',}#]+))""", re.M)
MEANT = re.compile(r"did you mean .*(data_dir|'disk'|'resources')")
EXTENDS = re.compile(r"""^\s*["']?extends["']?\s*[:=]""", re.M)


class Salvaged(NamedTuple):
    data_dir: str  # "": it cannot be told
    host: str
    port: int
    tls: bool


def salvage(path: str | None, *, profile: str | None, sets: Sequence[str], environ: Mapping[str, str]) -> Salvaged:
    """The same sources as `core/config.py` has, as far as they can be read.

    Raises InvalidConfig for wrong flags and variables: whoever gave them is there to mend them.
    """
    problems: list[str] = []
    above = [*from_environment(environ, problems), *(from_flag(text) for text in sets)]
    build(above, environ, problems)
    layers: list[Layer] = []
    is_sure = True
    for file in find_files(path, profile or environ.get("CAXTON_ENV") or None, environ, required=profile is not None):
        try:
            layers += load_layers(file)
        except InvalidConfig:
            found = _search(file)
            is_sure = is_sure and found is not None
            layers += [Layer(str(file), nested(DATA_DIR, found), {})] if found else []
    tree = substitute(merged([*layers, *above]), environ, None)
    said = _data_dir(merged(above))
    if not said and is_sure and not _is_misspelt(tree):
        said = _data_dir(tree)
        if said == "":
            said = default_data_dir(environ)
    return Salvaged(
        data_dir="" if said is None or "${" in said or MASK in said else said,
        host=_value(tree, "server.host"),
        port=_value(tree, "server.port"),
        tls=_value(tree, "server.tls.enabled"),
    )


def _search(file: Path) -> str | None:
    """What a file that cannot be decoded says of the data folder: "" is nothing, None cannot be told."""
    try:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return None
    found = {next(filter(None, groups), "") for groups in WRITTEN.findall(text)}
    if len(found) == 1:
        return found.pop()
    return None if found or EXTENDS.search(text) else ""


def _data_dir(tree: object) -> str | None:
    """ "" is nothing, None cannot be told."""
    for part in DATA_DIR.split("."):
        if tree is None:
            return ""
        if not isinstance(tree, dict):
            return None
        tree = tree.get(part)
    return "" if tree is None else tree if isinstance(tree, str) else None


def _is_misspelt(tree: dict[str, Any]) -> bool:
    """Whether a key that there is not may have been meant to name the data folder."""
    problems: list[str] = []
    read(problems, Keys, tree, elsewhere=elsewhere())
    return any("unknown key" in problem and MEANT.search(problem) for problem in problems)


def _value(tree: dict[str, Any], key: str) -> Any:  # Any: a key's value
    try:
        return value_in(tree, key)
    except InvalidConfig:
        return leaves()[key].default
