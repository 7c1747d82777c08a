"""How an example of each language becomes WebAssembly, and where its toolchain is found.

Toolchains lie in build/sdk, where `make sdk-test` puts them, or on the PATH. Each function builds an example of its
language into a folder and gives the bytes; Absent says what is missing.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SDK = ROOT / "sdk"
WIT = ROOT / "wit"
INSTALLED = ROOT / "build/sdk"


class Absent(Exception):
    """A toolchain is not installed."""


def find(program: str, *folders: str) -> str:
    path = os.pathsep.join([*(str(INSTALLED / folder) for folder in folders), os.environ.get("PATH", "")])
    found = shutil.which(program, path=path)
    if found is None:
        raise Absent(f"{program} is not installed")
    return found


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}\n{done.stderr}"


def python(example: str, into: Path) -> bytes:
    tool = find("componentize-py", "python/bin")
    wasm = into / f"{example}.wasm"
    source = shutil.copytree(
        SDK / "python", into / "python", ignore=shutil.ignore_patterns("__pycache__", "componentize-py.toml")
    )
    paths = ("-p", source, "-p", source / "examples")
    run(tool, "-d", WIT, "-w", "agent", "componentize", *paths, example, "-o", wasm, cwd=into)
    return wasm.read_bytes()


def javascript(example: str, into: Path) -> bytes:
    node = find("node")
    modules = INSTALLED / "javascript/node_modules"
    if not (modules / "@bytecodealliance/componentize-js").is_dir():
        raise Absent("componentize-js is not installed")
    wasm = into / f"{example}.wasm"
    build = SDK / "javascript/build.mjs"
    environment = f"CAXTON_NODE_MODULES={modules}"
    run("/usr/bin/env", environment, node, build, SDK / f"javascript/examples/{example}.js", wasm, cwd=into)
    return wasm.read_bytes()


LANGUAGES: dict[str, Callable[[str, Path], bytes]] = {"python": python, "javascript": javascript}
