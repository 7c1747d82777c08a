"""`caxton build`: the project's source to one checked .wasm, with its size and what it imports."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from caxton.cli.options import output_option, print_done, print_json
from caxton.cli.progress import progress
from caxton.cli.projects.project import Project, find_project

project_argument = click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(), required=False
)


@click.command()
@project_argument
@output_option
def build(folder: Path, output: str) -> None:
    """Compile the agent of a project; FOLDER is the current one when it is not given.

    The language is told by the source file. Its toolchain is called where it is found, or named with the way to
    install it.
    """
    project = find_project(folder)
    began = time.monotonic()
    with progress(f"Building {project.name}"):
        project.build()
    found = describe(project)
    seconds = time.monotonic() - began
    if output == "json":
        print_json({**found, "seconds": round(seconds, 2)})
        return
    where = project.wasm.relative_to(project.folder)
    print_done(f"Built {where} from {project.language.title}: {found['bytes']:,} bytes in {seconds:.1f} s")
    outside: dict[str, list[str]] = {interface: [] for interface in found["unavailable_imports"]}
    for package, names in _by_package({key: found["imports"][key] for key in found["imports"] if key not in outside}):
        click.echo(f"  imports {package}: {', '.join(names)}")
    if outside:
        click.echo("  imports what agents do not have; calling it ends the instance, `imports: strict` refuses it:")
        for package, names in _by_package(outside):
            click.echo(f"    {package}: {', '.join(names)}")


def _by_package(imports: dict[str, list[str]]) -> Iterable[tuple[str, list[str]]]:
    """A module's imports as they are; of a component's the names of interfaces under those of their packages."""
    found: dict[str, list[str]] = {}
    for interface, names in imports.items():
        package, slash, rest = interface.partition("/")
        name, _, version = rest.partition("@")
        version, _, function = version.partition("#")
        if slash:
            found.setdefault(f"{package}@{version}", []).append(f"{name}#{function}" if function else name)
        else:
            found[interface] = names
    return found.items()


# Any: JSON
def describe(project: Project) -> dict[str, Any]:
    """Size and imports; InvalidWasm when it could not be deployed."""
    from caxton.core import wasm_component_imports
    from caxton.core.wasm_abi import AgentLimits, check
    from caxton.core.wasm_binary import inspect
    from caxton.core.wasm_component import is_component

    wasm = project.wasm.read_bytes()
    imports: dict[str, list[str]] = {}
    outside: tuple[str, ...] = ()
    if is_component(wasm):
        found = wasm_component_imports.imports(wasm)
        outside = wasm_component_imports.outside(found)
        imports = {name: list(functions) for name, functions in found.items()}
    else:
        info = inspect(wasm)
        check(info, AgentLimits(memory=1 << 32))
        for item in info.imports:
            names = imports.setdefault(item.module, [])
            if item.name not in names:
                names.append(item.name)
    return {"name": project.name, "language": project.language.name, "file": str(project.wasm)} | {
        "bytes": len(wasm),
        "imports": imports,
        "unavailable_imports": list(outside),
    }
