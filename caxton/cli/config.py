"""`caxton config …`: look at a configuration, check it and change it.

`validate`, `show`, `lint`, `diff` and `init` read files and ask no server: they speak of the server that would start
here with these options. `get` and `set` speak of the one that runs, unless `--file` names a file; so do `rollback`,
`reload` and `history`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from caxton.cli.errors import ERROR, UNREACHABLE, Failure
from caxton.cli.lazy import Group
from caxton.cli.options import Settings, output_option, pass_settings, print_done, print_json, print_table

if TYPE_CHECKING:
    from caxton.core.config import Loaded
    from caxton.core.config_lint import Machine

TEMPLATES = Path(__file__).parent / "templates"

file_option = click.option("--file", "-f", metavar="FILE", help="This file instead of the one that would be read.")


@click.group(cls=Group)
def config() -> None:
    """Look at the configuration, check it and change it."""


@config.command()
@click.option("--secrets", is_flag=True, help="Also fetch what ${secret:...} names, as a server would.")
@file_option
@output_option
@pass_settings
def validate(settings: Settings, secrets: bool, file: str | None, output: str) -> None:
    """Check the configuration, and tell all mistakes at once."""
    from caxton.core.config import inactive_keys, merged
    from caxton.core.config_tree import leaves, set_keys
    from caxton.core.errors import InvalidConfig

    try:
        loaded = settings.read(file, secrets=secrets)
    except InvalidConfig as error:
        if output == "table":
            raise
        problems = error.details.get("problems", [error.message])
        print_json({"valid": False, "problems": problems})
        raise SystemExit(ERROR) from None
    tree = merged(loaded.layers)
    count = sum(key in leaves() for key in set_keys(tree))
    inactive = inactive_keys(tree)
    if output == "json":
        print_json({"valid": True, "problems": [], "sources": loaded.config.sources, "inactive": inactive})
        return
    where = ", ".join(layer.name for layer in loaded.layers if layer.file) or "the configuration, without a file"
    print_done(f"{where}: valid, {count} {'key' if count == 1 else 'keys'} set")
    if not loaded.config.sources and Path("config.yaml").is_file():
        click.echo("  config.yaml, which is here, was not read: name it, `caxton --config config.yaml ...`")
    for note in loaded.notes:
        click.echo(f"  note: {note}")
    if inactive:
        click.echo(f"  {len(inactive)} of them not active in this version: `caxton config lint` lists them")


@config.command()
@click.argument("key", required=False, default="")
@click.option("--effective", is_flag=True, help="All keys, those with their defaults too.")
@file_option
@output_option
@pass_settings
def show(settings: Settings, key: str, effective: bool, file: str | None, output: str) -> None:
    """Print the configuration of a server that would start here, and who says each key."""
    from caxton.core.config_tree import shown_values

    loaded = settings.read(file)
    rows = _below(key, shown_values(loaded.config))
    origins = {name: loaded.origin(name) for name in rows}
    if not effective and not key:
        rows = {name: value for name, value in rows.items() if origins[name]}
    if output == "json":
        print_json(_nested(rows))
    elif rows:
        _print_yaml(rows, {name: origin or "default" for name, origin in origins.items()})
    else:
        click.echo("# nothing is set: all keys have their defaults, see `caxton config show --effective`")


@config.command()
@click.option("--security", is_flag=True, help="Only what concerns security.")
@click.option("--performance", is_flag=True, help="Only what concerns speed and memory.")
@file_option
@output_option
@pass_settings
def lint(settings: Settings, security: bool, performance: bool, file: str | None, output: str) -> None:
    """Name what may be regretted, and the keys that are not active in this version."""
    from caxton.core.config_lint import lint as find

    loaded = settings.read(file)
    findings = find(loaded, _machine(loaded))
    if security or performance:
        wanted = {area for area, chosen in (("security", security), ("performance", performance)) if chosen}
        findings = [finding for finding in findings if finding.area in wanted]
    rows = [(finding, loaded.origin(finding.key) if finding.key else "") for finding in findings]
    if output == "json":
        print_json([{**finding._asdict(), "origin": origin} for finding, origin in rows])
        return
    inactive: dict[str, list[str]] = {}
    for finding, origin in rows:
        if finding.area == "inactive":
            inactive.setdefault(finding.text, []).append(f"{finding.key}  ({origin})")
        else:
            where = ": ".join(part for part in (origin.removesuffix(finding.key).rstrip(), finding.key) if part)
            click.echo(f"{finding.area}: {where}{': ' if where else ''}{finding.text}")
    for text, keys in inactive.items():
        click.echo(f"not active in this version: {text}")
        for key in keys:
            click.echo(f"  {key}")
    if not rows:
        print_done("Nothing to say")


@config.command()
@click.argument("files", nargs=-1, metavar="[FILE [FILE]]")
@output_option
@pass_settings
def diff(settings: Settings, files: tuple[str, ...], output: str) -> None:
    """Show which keys differ.

    Of two files; of one file and the defaults; or, without any, of the running server and one that would start here.
    """
    from caxton.core.config import build, load
    from caxton.core.config_tree import shown_values

    if len(files) > 2:
        raise click.UsageError("name two files at most")
    if files:
        loaded = [load(file, environ={**_without_layers(os.environ)}) for file in files]
        after = loaded[-1]
        old = shown_values(loaded[0].config if len(files) == 2 else build([], os.environ))
        names = (files[0], files[1]) if len(files) == 2 else ("default", files[0])
        origins = {name: after.origin(name) for name in old}
    else:
        found = _running(settings)
        after = settings.read()
        old, origins = found["values"], {name: after.origin(name) for name in found["values"]}
        names = ("running", "here")
    new = shown_values(after.config)
    rows = [(key, old.get(key), new[key], origins.get(key, "")) for key in new if old.get(key) != new[key]]
    if output == "json":
        print_json([dict(zip(("key", "before", "after", "origin"), row, strict=True)) for row in rows])
    elif rows:
        print_table(("KEY", *names, "SAID BY"), [(key, _text(a), _text(b), who) for key, a, b, who in rows])
    else:
        print_done("No key differs")


@config.command()
@click.option(
    "--template",
    type=click.Choice(["dev", "prod", "minimal"]),
    default="minimal",
    show_default=True,
    help="What the file is for.",
)
@click.option("--force", is_flag=True, help="Also if FILE exists.")
@click.argument("file", default="config.yaml")
def init(template: str, force: bool, file: str) -> None:
    """Write a configuration file to begin with; `-` prints it."""
    text = (TEMPLATES / f"{template}.yaml").read_text(encoding="utf-8").replace("THIS", file)
    if file == "-":
        click.echo(text, nl=False)
        return
    try:
        with open(file, "w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise Failure("No file was written", why=f"{file} exists", fix="choose another name, or add --force") from None
    except OSError as error:
        raise Failure("No file was written", why=f"{file}: {error.strerror}") from None
    print_done(f"{file} written")
    click.echo(f"  start a server with it: `caxton --config {file} serve`")


@config.command()
@click.argument("key", required=False, default="")
@click.option("--agent", metavar="NAME", default="", help="What may be changed of this agent instead.")
@file_option
@output_option
@pass_settings
def get(settings: Settings, key: str, agent: str, file: str | None, output: str) -> None:
    """Print a key, a table of keys, or all keys of the running server."""
    if agent and file is not None:
        raise click.UsageError("--agent is of a running server, --file of none")
    if file is not None:
        from caxton.core.config_tree import shown_values

        rows = shown_values(settings.read(file).config)
        origins: Mapping[str, str] = {}
    else:
        found = _running(settings, agent)
        rows, origins = found["values"], found.get("origins", {})
    rows = _below(key, rows)
    if output == "json":
        print_json(rows[key] if key in rows else _nested(rows))
    elif key in rows:
        click.echo(_text(rows[key]))
    else:
        _print_yaml(rows, origins)


def _running(settings: Settings, agent: str = "") -> Any:  # Any: JSON
    """The configuration of the running server, or of one of its agents."""
    query = {"agent": agent} if agent else None
    try:
        return settings.client().request("GET", "/api/v1/config", what="No configuration", query=query)
    except Failure as failure:
        if failure.exit_code == UNREACHABLE:
            failure.fix = (*failure.fix, "or look at what one would start with: `caxton config show --effective`")
        raise


@config.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("changes", nargs=-1, required=True, metavar="KEY=VALUE...", type=click.UNPROCESSED)
@click.option("--agent", metavar="NAME", default="", help="A key of this agent instead of the server's.")
@file_option
@output_option
@pass_settings
def set_(settings: Settings, changes: tuple[str, ...], agent: str, file: str | None, output: str) -> None:
    """Change keys: of the running server, or with --file in a file, whose comments stay."""
    pairs = dict(_pair(change) for change in changes)
    if file is not None:
        if agent:
            raise click.UsageError("--agent changes a running agent; it has no place in a server's file")
        _set_in_file(settings, file, pairs)
        return
    from caxton.core.config import flag_value

    values = {key: flag_value(value) for key, value in pairs.items()}
    body = {"set": values, "agent": agent}
    _show_change(_ask(settings, "PATCH", "", body, "Nothing was changed"), output)


@config.command()
@click.argument("version", type=click.IntRange(min=0), required=False)
@output_option
@pass_settings
def rollback(settings: Settings, version: int | None, output: str) -> None:
    """Undo the last change of the running server, or all that were made after VERSION (0: all)."""
    _show_change(_ask(settings, "POST", "/rollback", {"version": version}, "Nothing was changed"), output)


@config.command()
@output_option
@pass_settings
def reload(settings: Settings, output: str) -> None:
    """Let the running server read its files again, as SIGHUP does."""
    _show_change(_ask(settings, "POST", "/reload", {}, "Nothing was changed"), output)


@config.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many versions.")
@output_option
@pass_settings
def history(settings: Settings, limit: int, output: str) -> None:
    """List what was changed while the server ran, by whom, the newest first."""
    from datetime import datetime

    query = {"limit": limit}
    found = settings.client().request("GET", "/api/v1/config/versions", query=query, what="No history")["versions"]
    if output == "json":
        print_json(found)
        return
    rows = []
    for version in found:
        at = datetime.fromtimestamp(version["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        head = (str(version["version"]), at, version["action"], version["who"])
        for index, change in enumerate(version["changes"] or [None]):
            rows.append((*(head if not index else ("", "", "", "")), _change(change) if change else ""))
    if rows:
        print_table(("VERSION", "AT", "ACTION", "WHO", "CHANGE"), rows)
    else:
        print_done("Nothing was changed while the server ran")


# Any: JSON
def _ask(settings: Settings, method: str, path: str, body: Any, what: str) -> Any:
    return settings.client().request(method, f"/api/v1/config{path}", body=body, what=what)


def _show_change(version: Mapping[str, Any], output: str) -> None:
    if output == "json":
        print_json(version)
    elif version["changes"]:
        print_done(f"Changed (version {version['version']})")
        for change in version["changes"]:
            click.echo(f"  {_change(change)}")
    else:
        print_done("No key changed")


def _change(change: Mapping[str, Any]) -> str:
    place = f"agent {change['agent_id']}: " if change["agent_id"] else ""
    return f"{place}{change['key']}: {_text(change['before'])} -> {_text(change['after'])}"


def _set_in_file(settings: Settings, file: str, pairs: Mapping[str, str]) -> None:
    from caxton.core.config import build, flag_value, load, nested, value_in
    from caxton.core.config_edit import set_key
    from caxton.core.config_text import decode_placed
    from caxton.core.config_tree import leaves, unknown_key

    path = Path(file)
    what = "Nothing was changed"
    # the file and what it extends, whatever profile is chosen; one with mistakes is not made worse
    environ = {name: value for name, value in os.environ.items() if name != "CAXTON_ENV"}
    before = load(file, environ=environ)
    *_, layer = [layer for layer in before.layers if layer.file]
    found = text = _read(path)
    for key, value in pairs.items():
        if key not in leaves():
            raise Failure(what, why=unknown_key(key))
        wanted = None if "${" in value else value_in(nested(key, flag_value(value)), key)

        def is_right(tree: dict[str, Any], key: str = key, wanted: object = wanted) -> bool:
            return wanted is None or value_in(tree, key) == wanted

        text = set_key(text, file, key, value, is_right)
    tree, places = decode_placed(text, file)
    tree.pop("extends", None)
    changed = [one if one is not layer else layer._replace(tree=tree, places=places) for one in before.layers]
    build(changed, environ)  # the keys together
    if _read(path) != found:
        raise Failure(what, why=f"{file} was changed by somebody else just now", fix="look at it, and try again")
    _write(path.resolve(), text)
    print_done(f"{file} changed")
    for key in pairs:
        if origin := _said_above(settings, file, layer.file, key):
            click.echo(f"  note: {origin} is set here and binds more than the file")


def _said_above(settings: Settings, file: str, own: str, key: str) -> str:
    """Who says this key here, above the file: a profile, a variable, a flag; "" is nobody."""
    from caxton.core.errors import InvalidConfig

    try:
        layers = settings.read(file).layers
    except InvalidConfig:  # of a profile or a flag, which the file has nothing to do with
        return ""
    above = layers[[layer.file for layer in layers].index(own) + 1 :]
    return next((layer.name for layer in reversed(above) if _says(layer.tree, key)), "")


def _read(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as stream:
        return stream.read()


def _write(path: Path, text: str) -> None:
    """The whole file or nothing, with the rights that it has."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        mode = path.stat().st_mode & 0o777
        with open(
            os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8", newline=""
        ) as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Failure("Nothing was changed", why=f"{path}: {error.strerror}") from None


# -- what the commands share --


def _without_layers(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables without those that set keys: a file is compared as it stands."""
    from caxton.core.config_tree import leaves

    names = {name for leaf in leaves().values() for name in leaf.key.env.split()} | {"CAXTON_ENV"}
    return {name: value for name, value in environ.items() if name not in names}


def _pair(change: str) -> tuple[str, str]:
    key, equals, value = change.partition("=")
    if key.startswith("--"):  # as options are written: --circuit-breaker.timeout=10s
        key = key.removeprefix("--").replace("-", "_")
    if not equals or not key:
        raise click.UsageError(f"{change!r} is not KEY=VALUE, such as observability.logging.level=debug")
    return key, value


# Any: a key's value, as JSON
def _below(key: str, rows: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that are *key* or lie in it. Raises Failure when there are none."""
    from caxton.core.config_tree import unknown_key

    found = {name: value for name, value in rows.items() if not key or name == key or name.startswith(f"{key}.")}
    if not found:
        why = unknown_key(key) if "server.port" in rows else f"{key}: of an agent there are {', '.join(rows)}"
        raise Failure("No such key", why=why)
    return found


def _nested(rows: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in rows.items():
        table = tree
        *tables, last = name.split(".")
        for part in tables:
            table = table.setdefault(part, {})
        table[last] = value
    return tree


def _says(tree: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


def _print_yaml(rows: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    for line in _yaml_lines(rows, origins):
        click.echo(line)


def _yaml_lines(rows: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[str]:
    open_tables: Sequence[str] = ()
    for name, value in rows.items():
        *tables, last = name.split(".")
        same = 0
        while same < min(len(tables), len(open_tables)) and tables[same] == open_tables[same]:
            same += 1
        for depth in range(same, len(tables)):
            yield f"{'  ' * depth}{tables[depth]}:"
        open_tables = tables
        comment = f"  # {origins[name]}" if origins.get(name) else ""
        yield f"{'  ' * len(tables)}{last}: {_text(value, quoted=True)}{comment}"


def _text(value: Any, *, quoted: bool = False) -> str:
    """A value as a file has it."""
    import json
    import re

    # what YAML would read as something else, or as the end of the value
    odd = r"(?i:true|false|yes|no|on|off|null|~|[-+.\d]\d*(\.\d*)?(e\d+)?)|.*(: |:$| #)|[^A-Za-z0-9/$.].*|\s|"
    if isinstance(value, str) and (not quoted or not re.fullmatch(odd, value)):
        return value
    return json.dumps(value, ensure_ascii=False)


def _machine(loaded: "Loaded") -> "Machine":
    from caxton.core.config_lint import Machine

    modes = {layer.file: Path(layer.file).stat().st_mode for layer in loaded.layers if layer.file}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        memory=memory,
        readable_by_others=[file for file, mode in modes.items() if mode & 0o044],
        writable_by_others=[file for file, mode in modes.items() if mode & 0o022],
    )
