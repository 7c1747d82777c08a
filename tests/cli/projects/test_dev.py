"""`caxton dev`: what it notices, and what it does with it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from caxton.cli.projects import dev
from caxton.cli.projects.create import make
from caxton.cli.projects.languages import LANGUAGES
from caxton.cli.projects.project import find_project


async def test_every_change_is_noticed_once(tmp_path: Path, autojump_clock: object) -> None:
    make(tmp_path / "hello", "hello", "bidder", LANGUAGES["c"], ())
    project = find_project(tmp_path)
    folder = project.folder
    changes = dev.changes(project)
    assert await anext(changes) == []  # the first build
    (folder / "agent.c").write_text("other")
    assert await anext(changes) == [folder / "agent.c"]
    (folder / "build").mkdir()
    (folder / "build/hello.wasm").write_bytes(b"")
    with trio.move_on_after(10) as scope:
        await anext(changes)
    assert scope.cancelled_caught  # what is built is no source


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_change_is_built_and_swapped(tmp_path: Path, number: signal.Signals) -> None:
    make(tmp_path / "hello", "hello", "request-handler", LANGUAGES["c"], ())
    source = tmp_path / "hello/agent.c"
    source.write_text(source.read_text().replace("    begin_reply", '    LOG("asked for something");\n    begin_reply'))
    command = [sys.executable, "-m", "caxton.cli", "dev", str(tmp_path / "hello")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            found = re.search(r"http://\S+(?=;)", process.stdout.readline())
            assert found
            assert "hello runs" in process.stdout.readline()
            assert ask(found[0]) == {"done": 7}
            assert "[hello] asked for something" in process.stdout.readline()
            text = source.read_text()
            source.write_text("no C\n")
            assert "changed: agent.c" in process.stdout.readline()
            assert "Building hello failed" in until(process, "Building")
            assert ask(found[0]) == {"done": 7}  # as it was
            assert "[hello] asked for something" in process.stdout.readline()
            source.write_text(text.replace('"done', '"swapped'))
            assert "changed: agent.c" in process.stdout.readline()
            assert "hello runs" in process.stdout.readline()
            assert ask(found[0]) == {"swapped": 7}
            assert "[hello] asked for something" in process.stdout.readline()
            kept = [path for path in (tmp_path / "hello/build/dev/modules").glob("*/*") if path.suffix == ".wasm"]
            assert len(kept) == 1  # of the newest build
        finally:
            process.send_signal(number)
            process.wait(20)
        with pytest.raises(httpx.ConnectError):
            ask(found[0])  # its server has ended with it


def until(process: "subprocess.Popen[str]", text: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"never said {text}")


def ask(url: str) -> object:
    message = {"performative": "request", "receiver": "hello", "content": 7}
    answer = httpx.post(f"{url}/api/v1/messages?wait=10", json=message, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()["content"]
