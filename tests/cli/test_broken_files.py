"""Files with mistakes, and what is said of each.

Every file in `broken/` has its golden text beside it. `python -m tests.cli.test_broken_files` writes the texts anew:
read each aloud, as somebody who was woken by it, before it is committed.
"""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from caxton.cli.main import cli

FOLDER = Path(__file__).parent / "broken"
FILES = sorted(file.name for file in FOLDER.iterdir() if file.suffix != ".txt")


def said_of(name: str) -> str:
    before = Path.cwd()
    os.chdir(FOLDER)
    try:
        result = CliRunner().invoke(cli, ["config", "validate", "--file", name], prog_name="caxton", env={})
    finally:
        os.chdir(before)
    assert result.exit_code == 1, f"{name} has no mistake: {result.stdout}"
    assert result.stdout == ""
    return result.stderr.replace(f"{FOLDER}/", "")


@pytest.mark.parametrize("name", FILES)
def test_what_is_said_of_a_file_with_mistakes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [one for one in os.environ if one.startswith(("CAXTON_", "OTEL_", "RUST_"))]:
        monkeypatch.delenv(variable)
    said = said_of(name)
    assert said == (FOLDER / f"{name}.txt").read_text()
    assert name in said


if __name__ == "__main__":
    for file in FILES:
        (FOLDER / f"{file}.txt").write_text(said_of(file))
