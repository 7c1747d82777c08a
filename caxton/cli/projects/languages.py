"""The languages that agents are written in: how a project of each is recognised, and how its source is compiled.

Rule 1: a build is (entry file, folder of the SDK, folder of the WIT package) to one .wasm; where projects keep these is
`Language`'s table, and examples of the SDKs are built by the same functions.
Rule 2: what is built is stripped of what only debuggers read. Modules are optimised by binaryen's wasm-opt where there
is one: for speed in Rust and AssemblyScript, for size in C, whose compiler was told so. Go's runtime gains nothing, and
its megabytes take long; interpreters are optimised by who made them, and binaryen reads no components.
Rule 3: rustc is enough for a crate of its own; one that uses others, or has a build script, is cargo's.
"""

import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from caxton.cli.projects import toolchains
from caxton.cli.projects.toolchains import BuildFailed, run
from caxton.core.wasm_strip import strip

# what compilers of these languages emit; binaryen must be told, and would use more if it were allowed to
FEATURES = ("bulk-memory", "mutable-globals", "nontrapping-float-to-int", "sign-ext", "simd")


@attrs.frozen
class Source:
    """What is compiled."""

    entry: Path
    sdk: Path  # the language's SDK
    wit: Path


Build = Callable[[Source, Path], None]


@attrs.frozen
class Language:
    name: str
    title: str
    entry: str  # in a project
    sdk: tuple[str, ...]  # what a project has of the SDK, in its folder `sdk`
    build: Build
    is_component: bool = False


def _c(source: Source, out: Path) -> None:
    command = [*toolchains.zig(), "cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-nostdlib"]
    command += ["-std=c11", "-Os", "-s", "-Wall", "-Wextra", "-fno-builtin", f"-I{source.sdk}"]
    # the stack first in memory: overflowing it is a trap and not a silent overwrite
    command += ["-Wl,--no-entry", "-Wl,-z,stack-size=16384", "-o", str(out), str(source.entry)]
    run(*command, cwd=source.entry.parent)
    _optimise(out, "-Os", source.entry.parent)


def _rust(source: Source, out: Path) -> None:
    rustc, linker = toolchains.rust()
    root = source.entry.parent.parent
    manifest = _manifest(root) if source.entry.name == "lib.rs" else {}
    if _needs_cargo(manifest) or (root / "build.rs").exists():
        _cargo(root, manifest, rustc, linker, out)
    else:
        _rustc(source, rustc, linker, out)
    _optimise(out, "-O3", source.entry.parent)


def _rustc(source: Source, rustc: str, linker: str, out: Path) -> None:
    common = [rustc, "--edition", "2021", "--target", toolchains.RUST_TARGET, "-C", "panic=abort", "-C", "opt-level=3"]
    common += ["-C", "codegen-units=1"]
    with tempfile.TemporaryDirectory(prefix="caxton-rust-") as folder:
        library = Path(folder) / "libcaxton.rlib"
        crate = ["--crate-name", "caxton", "--crate-type", "rlib", "--cfg", 'feature="std"', "-C", "embed-bitcode=yes"]
        run(*common, *crate, "-o", library, source.sdk / "src/lib.rs", cwd=source.entry.parent)
        agent = ["--crate-name", "agent", "--crate-type", "cdylib", "-C", "lto", "-C", "strip=symbols"]
        agent += [*_linking(linker), "--extern", f"caxton={library}", "-o", str(out)]
        run(*common, *agent, source.entry, cwd=source.entry.parent)


def _linking(linker: str) -> list[str]:
    return ["-C", f"linker={linker}", "-C", "link-arg=-zstack-size=49152", "-C", "link-arg=--stack-first"]


# Any: TOML
def _manifest(root: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((root / "Cargo.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise BuildFailed(f"Cargo.toml: {error}") from None


def _needs_cargo(manifest: dict[str, Any]) -> bool:
    tables = [manifest, *manifest.get("target", {}).values()]
    kinds = ("dependencies", "build-dependencies")
    return any(name != "caxton" for table in tables for kind in kinds for name in table.get(kind, {}))


def _cargo(root: Path, manifest: dict[str, Any], rustc: str, linker: str, out: Path) -> None:
    package = manifest.get("package", {}).get("name", "")
    name = manifest.get("lib", {}).get("name", package.replace("-", "_"))
    profile = {"PANIC": "abort", "OPT_LEVEL": "3", "CODEGEN_UNITS": "1", "LTO": "true", "STRIP": "symbols"}
    environment = {f"CARGO_PROFILE_RELEASE_{key}": value for key, value in profile.items()}
    target = root / "target"
    command = [toolchains.cargo(rustc), "rustc", "--quiet", "--lib", "--release"]
    command += ["--target", toolchains.RUST_TARGET, "--target-dir", str(target)]
    try:
        run(*command, "--", *_linking(linker), cwd=root, environment=environment | {"RUSTC": rustc})
    except BuildFailed as error:
        if "failed to get" in (said := str(error)) or "failed to download" in said:
            hint = "without a network: `cargo vendor` where there is one; what it prints is for .cargo/config.toml"
            raise BuildFailed(f"{said}\n{hint}") from None
        raise
    made = target / toolchains.RUST_TARGET / "release" / f"{name}.wasm"
    if not made.exists():
        raise BuildFailed(f'cargo made no {made.name}: Cargo.toml needs [lib] with crate-type = ["cdylib"]')
    shutil.copyfile(made, out)


def _go(source: Source, out: Path) -> None:
    environment = {"GOOS": "wasip1", "GOARCH": "wasm", "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    command = [toolchains.go(), "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", str(out), "."]
    if (source.entry.parent / "vendor").is_dir():
        del environment["GOFLAGS"]
    try:
        run(*command, cwd=source.entry.parent, environment=environment)
    except BuildFailed as error:
        if "GOPROXY=off" in (said := str(error)):
            raise BuildFailed(f"{said}\nnothing is downloaded here: `go get` it, or `go mod vendor`") from None
        raise


def _assemblyscript(source: Source, out: Path) -> None:
    # names of modules are relative to the base, and so are those of the functions that replace the compiler's own
    base = Path(os.path.commonpath([source.entry.parent, source.sdk]))
    own = (source.sdk / "caxton/agent").relative_to(base).as_posix()
    command = [toolchains.asc(source.entry.parent), source.entry.relative_to(base).as_posix(), "--outFile", str(out)]
    command += ["-O3", "--runtime", "incremental", "--exportStart", "_initialize"]
    command += ["--use", f"abort={own}/abort", "--use", f"seed={own}/seed"]
    run(*command, cwd=base)


def _python(source: Source, out: Path) -> None:
    tool = toolchains.componentize_py()
    with tempfile.TemporaryDirectory(prefix="caxton-python-") as folder:
        # the SDK alone, without caches and settings of others
        package = shutil.copytree(
            source.sdk / "caxton_agent",
            Path(folder) / "sdk/caxton_agent",
            ignore=shutil.ignore_patterns("__pycache__", "componentize-py.toml"),
        )
        paths = ("-p", package.parent, "-p", source.entry.parent)
        target = ("-d", source.wit, "-w", "agent", "componentize")
        try:
            run(tool, *target, *paths, source.entry.stem, "-o", out, cwd=Path(folder))
        except BuildFailed as error:
            raise BuildFailed(mistake(str(error))) from None


def mistake(said: str) -> str:
    """What is wrong with the agent: componentize-py wraps it in tracebacks of its own, and calls its folder /1."""
    _, marked, mistake = said.partition("AssertionError: ")
    return mistake.partition("\n\nCaused by:")[0].rstrip().replace('File "/1/', 'File "') if marked else said


def _javascript(source: Source, out: Path) -> None:
    node, modules = toolchains.componentize_js(source.entry.parent)
    environment = {"CAXTON_NODE_MODULES": str(modules.resolve()), "CAXTON_WIT": str(source.wit)}
    run(node, source.sdk / "build.mjs", source.entry, out, cwd=source.entry.parent, environment=environment)


LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        Language("c", "C", "agent.c", ("caxton.h",), _c),
        Language("rust", "Rust", "src/lib.rs", ("Cargo.toml", "src"), _rust),
        Language("go", "Go", "main.go", ("go.mod", "*.go"), _go),
        Language("assemblyscript", "AssemblyScript", "agent.ts", ("caxton",), _assemblyscript),
        Language("javascript", "JavaScript", "agent.js", ("caxton.js", "build.mjs"), _javascript, True),
        Language("python", "Python", "agent.py", ("caxton_agent",), _python, True),
    )
}


def detect(project: Path) -> Language | None:
    """The language of a project: the one whose entry file it has."""
    for language in LANGUAGES.values():
        if (project / language.entry).is_file():
            return language
    return None


def build_project(language: Language, project: Path, out: Path) -> None:
    """Raises Absent or BuildFailed."""
    project = project.resolve()
    _build(language, Source(project / language.entry, project / "sdk", project / "sdk/wit"), out)


def build_example(language: Language, entry: Path, out: Path) -> None:
    """An agent that lies in no project, with the SDK of this installation."""
    _build(language, Source(entry.resolve(), toolchains.sources() / language.name, toolchains.wit()), out)


def _build(language: Language, source: Source, out: Path) -> None:
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")  # who watches the file shall see it whole
    try:
        language.build(source, part)
        part.write_bytes(strip(part.read_bytes()))
        part.chmod(0o644)  # linkers mark it executable; it is not
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _optimise(wasm: Path, level: str, project: Path) -> None:
    optimiser = toolchains.wasm_opt(project)
    if optimiser is None:
        return
    features = [f"--enable-{feature}" for feature in FEATURES]
    smaller = wasm.with_name(f"{wasm.name}.opt")
    try:
        run(optimiser, level, "--strip-debug", "--strip-producers", *features, wasm, "-o", smaller, cwd=project)
    except BuildFailed:
        smaller.unlink(missing_ok=True)  # an older binaryen than the compiler: the module is sound as it is
    else:
        smaller.replace(wasm)
