"""The examples of the SDKs, built by what `caxton build` uses."""

from pathlib import Path

from caxton.cli.projects.languages import LANGUAGES, build_example
from caxton.cli.projects.toolchains import Absent, sources

__all__ = ["LANGUAGES", "Absent", "build"]

PLACES = {
    "c": "{}.c",
    "rust": "{}.rs",
    "go": "{}/main.go",
    "assemblyscript": "{}.ts",
    "javascript": "{}.js",
    "python": "{}.py",
}


def build(language: str, example: str, into: Path) -> bytes:
    """Absent says what is missing."""
    wasm = into / f"{language}-{example}.wasm"
    entry = sources() / language / "examples" / PLACES[language].format(example)
    build_example(LANGUAGES[language], entry, wasm)
    return wasm.read_bytes()
