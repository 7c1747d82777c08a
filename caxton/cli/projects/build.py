"""`caxton build`: the project's source to one checked .wasm, with its size and what it imports."""

import time
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
    for module, names in found["imports"].items():
        click.echo(f"  imports {module}: {', '.join(names)}")


# Any: JSON
def describe(project: Project) -> dict[str, Any]:
    """Size and imports; InvalidWasm when it could not be deployed."""
    from caxton.core.wasm_abi import AgentLimits, check
    from caxton.core.wasm_binary import inspect
    from caxton.core.wasm_component import is_component

    wasm = project.wasm.read_bytes()
    imports: dict[str, list[str]] = {}
    if is_component(wasm):
        # what a component imports are interfaces with types, which the server reads when it is deployed
        imports["wit"] = ["caxton:agent@1.0.0"]
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
    }
