"""The benchmark of languages: what is measured, and what is named when it cannot be."""

from pathlib import Path

import pytest

from caxton._fast.wasm.module import wat2wasm
from caxton.cli.benchmarks import languages
from caxton.cli.benchmarks.guests import relay
from caxton.cli.projects.languages import Language
from caxton.cli.projects.toolchains import Absent


def test_a_language_that_is_absent_has_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    ANSWER = '{"performative":"inform","receiver":"%s","content":1}'
    driver, first = wat2wasm(relay(ANSWER % "driver")), wat2wasm(relay(ANSWER % "me"))
    monkeypatch.setattr(languages, "SECONDS", 0.01)
    monkeypatch.setattr(languages, "STARTS", 1)

    def build(language: Language, entry: Path, out: Path) -> None:
        assert entry.is_file()
        if language.name != "c":
            raise Absent(f"{language.name}-compiler", "install it")
        out.write_bytes(first)

    def rate(bench: languages._Bench, module: object) -> tuple[float, int]:
        return original(bench, languages.Module.compile(bench.core, driver))

    original = languages._Bench.rate
    monkeypatch.setattr(languages._Bench, "rate", rate)
    monkeypatch.setattr(languages, "build_example", build)
    found = languages.measure()
    assert found["absent"]["python"] == "python-compiler is not installed; install it"
    assert set(found["absent"]) == {"rust", "go", "assemblyscript", "javascript", "python"}
    figures = found["figures"]["c"]
    assert isinstance(figures, dict)
    assert all(figures[name] > 0 for name in ("artefact_bytes", "cold_start_ms", "warm_start_ms", "memory_bytes"))
    assert figures["messages_per_second"] > 1000
