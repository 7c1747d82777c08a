"""Puts into a decoded configuration what its texts refer to: `${NAME}`, `${NAME:-default}` and `${secret:...}`.

Rule 1: in one pass: what comes out of a variable or a secret is a text, and no reference.
Rule 2: a text that holds a secret becomes a `SecretText` (`core/secrets.py`).
"""

import re
from collections.abc import Mapping

from caxton.core.config_text import Tree
from caxton.core.config_tree import leaf_at
from caxton.core.secrets import INNER, MASK, Fetched, NoSecret, SecretText, from_table, named_secret
from caxton.core.settings import join

_VARIABLE = re.compile(rf"\$(\$)?\{{(?:secret:({INNER})|([A-Za-z_][A-Za-z0-9_]*)(?::-([^}}]*))?)\}}")


def substitute(
    tree: Tree,
    environ: Mapping[str, str],
    problems: list[str] | None,
    *,
    held: dict[str, str] | None = None,
    fetched: Fetched | None = None,
    of_agent: bool = False,
) -> Tree:
    """The tree with its variables replaced; without a list of problems, unset ones stay as they are.

    *of_agent*: a secret that is only named (`secretRef`) is the server's to look up.

    Which place holds which reference to a secret is noted in *held*. *fetched* says what they stand for; without it
    that is `***`.
    """

    def told(problem: str, text: str) -> str:
        if problems is not None:
            problems.append(problem)
        return text

    def secret(place: str, text: str) -> str:
        if held is not None:
            held[place] = text
        if fetched is None:
            return MASK
        value = fetched.get(text)
        if value is None:  # of a key that nobody reads
            return f"${{secret:{text}}}"
        if isinstance(value, NoSecret):
            return told(f"{place}: there is no ${{secret:{text}}}: {value}", MASK)
        return value

    def variable(place: str, match: re.Match[str]) -> str:
        escaped, reference, name, default = match.groups()
        if escaped:
            return match[0][1:]
        if reference is not None:
            return secret(place, _VARIABLE.sub(lambda inner: variable(place, inner), reference))
        # as in a shell: an empty variable counts as unset where there is a default
        found = (environ.get(name) or default) if default is not None else environ.get(name)
        if found is not None:
            return found
        return told(f"{place}: the variable {name} is not set; set it, or write ${{{name}:-default}}", match[0])

    def walk(value: object, place: str) -> object:
        if isinstance(value, dict) and "valueFrom" in value and set(value) <= {"name", "valueFrom"}:
            is_named = of_agent and named_secret(value["valueFrom"])
            return value if is_named or is_inactive(place) else whole(value, place)
        if isinstance(value, dict):
            return {key: walk(item, join(place, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, f"{place}[{index}]") for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        text = _VARIABLE.sub(lambda match: variable(place, match), value)
        return SecretText(text) if held and place in held else text

    def whole(value: dict[str, object], place: str) -> object:
        """The guide's table in place of a value; with a name it is a row of an agent's environment."""
        try:
            text: object = walk(f"${{secret:{from_table(value['valueFrom'])}}}", place)
        except NoSecret as error:
            text = told(f"{place}: {error}", "")
        return {"name": value["name"], "value": text} if "name" in value else text

    return {key: walk(item, str(key)) for key, item in tree.items()}


def is_inactive(place: str) -> bool:
    leaf = leaf_at(place)
    return leaf is not None and bool(leaf.key.inactive)
