"""The documents and the program say the same."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import caxton
from caxton.cli.main import cli

DOCS = Path(caxton.__file__).parent.parent / "docs"
UNWRITTEN = {"benchmark", "demo"}  # not of this room


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        if name in UNWRITTEN:
            continue
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize(("path", "command"), list(commands(cli, "caxton")), ids=lambda value: str(value))
def test_every_command_and_option_is_documented(path: str, command: click.Command) -> None:
    text = (DOCS / "cli.md").read_text()
    assert f"`{path}" in text
    for parameter in [*command.params, *cli.params]:
        for option in [*parameter.opts, *parameter.secondary_opts] if isinstance(parameter, click.Option) else []:
            assert f"`{option}" in text, f"{option} of {path}"
    assert command.help
