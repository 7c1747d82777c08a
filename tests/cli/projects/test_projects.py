"""From a name to a tested agent: create, build, test. C's toolchain is the one that every environment has."""

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import Result

from caxton.cli.projects.create import TEMPLATES, make
from caxton.cli.projects.languages import LANGUAGES, detect, mistake
from caxton.cli.projects.project import find_project
from caxton.testing import open_stage
from caxton.testing import run as run_stage

Run = Callable[..., Result]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_skeleton_is_whole(here: Path, run: Run, language: str, template: str) -> None:
    said = run("agent", "create", "hello", "--language", language, "--template", template, "--capability", "a.b")
    assert said.exit_code == 0, said.output
    found = find_project(here)
    assert (found.name, found.language.name, found.config["capabilities"]) == ("hello", language, ["a.b"])
    assert "a.b" in (found.folder / found.language.entry).read_text()
    texts = [path.read_text() for path in found.folder.rglob("*") if path.is_file() and "sdk" not in path.parts]
    assert not any("{{name" in text or "{{declare" in text for text in texts)
    assert [path.name for path in found.scenarios()] == ["scenarios.yaml"]
    assert any((found.folder / "sdk").iterdir())


@pytest.mark.parametrize("name", ["", "7up", "a/b", "../a", "a b", "x" * 65])
def test_a_name_that_no_language_takes_is_refused(here: Path, run: Run, name: str) -> None:
    said = run("agent", "create", name)
    assert said.exit_code == 1
    assert "Not a name for a project" in said.output
    assert list(here.iterdir()) == []


def test_what_is_there_is_not_written_over(here: Path, run: Run) -> None:
    (here / "hello").mkdir()
    assert "exists already" in run("agent", "create", "hello").output
    assert "Not a capability" in run("agent", "create", "other", "--capability", 'a"b').output


def test_without_a_project_the_way_to_one_is_told(here: Path, run: Run) -> None:
    for command in ("build", "test", "dev", "deploy"):
        said = run(command)
        assert said.exit_code == 1
        assert "caxton agent create NAME" in said.output
    for name in ("one", "two"):
        make(here / name, name, "bidder", LANGUAGES["c"], ())
    assert "one, two are projects" in run("build").output
    assert detect(here) is None


async def found_by_both(wasm: bytes) -> None:
    async with open_stage() as stage:
        await stage.wasm("hello", wasm)  # without agent.yaml: by what the source says
        asker = await stage.agent("asker")
        for name in ("greeting", "parting"):
            asker.send(f"capability:{name}", "request", name)
            assert (await asker.expect("inform", sender="hello")).content == {"done": name}


@pytest.mark.slow
def test_a_project_is_built_and_tested(here: Path, run: Run) -> None:
    make(here / "hello", "hello", "request-handler", LANGUAGES["c"], ("greeting", "parting"))
    built = run("build")
    assert built.exit_code == 0, built.output
    assert "imports caxton: send_message" in built.output
    wasm = (here / "hello/build/hello.wasm").read_bytes()
    run_stage(found_by_both, wasm)

    said = run("test", "-o", "json")
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert [each["error"] for each in told["scenarios"]] == [""] * 4
    (covered,) = told["coverage"]
    assert covered["said"] == ["inform", "not-understood", "refuse"]
    assert set(covered["states"]["fipa-request"]) >= {"DONE", "REFUSED"}
    compiled = [path.name for path in (here / "hello/build/modules").glob("*/*")]
    assert [name.partition(".")[0] for name in compiled] == [sha256(wasm).hexdigest()]

    shown = run("test").output
    assert "fipa-request: 43% of its table" in shown
    assert "    not seen: DECIDE: participant failure → FAILED\n" in shown
    source = here / "hello/agent.c"
    text = source.read_text().replace('\\"done', '\\"undone')
    source.write_text(text.replace("return dispatch()", 'LOG("it is undone"); return dispatch()'))
    os.utime(source, (2e9, 2e9))
    changed = run("test", "--only", "answered")
    assert changed.exit_code == 1
    assert "content is {'undone': {'item': 'book'}}" in changed.output
    assert "the agent's log:\n      it is undone\n" in changed.output
    assert "0 passed, 1 failed" in changed.output
    kept = {path.name for path in (here / "hello/build/modules").glob("*/*")}
    assert len(kept) == 1  # that of the newest build alone
    assert kept != set(compiled)

    source.write_text("no C\n")
    broken = run("build")
    assert broken.exit_code == 1
    assert "agent.c:1:1: error" in broken.output


def test_of_a_python_mistake_only_the_mistake_is_told() -> None:
    said = (
        "Traceback (most recent call last):\n  sys.exit(script())\n"
        'AssertionError:   File "/1/agent.py", line 1\n    def (\n        ^\nSyntaxError: invalid syntax\n\n\n'
        "Caused by:\n    SyntaxError: invalid syntax (agent.py, line 1)\n\nStack backtrace:\n   0: anyhow"
    )
    assert mistake(said) == '  File "agent.py", line 1\n    def (\n        ^\nSyntaxError: invalid syntax'
    assert mistake("no space left on device") == "no space left on device"
