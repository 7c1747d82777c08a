"""A command group that imports a command only when it is called, so that `caxton version` pays for nothing else.

Rule 1: the table holds what `--help` needs (name, place, one line); listing the commands imports none of them.
Rule 2: an unknown command is answered with the nearest known one.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click

from caxton.cli.errors import INTERRUPTED, USAGE, Failure, core_failure, nearest, usage_failure
from caxton.core.errors import CaxtonError


class Place(NamedTuple):
    """Where a command lives: `module:attribute`, and its line in the help."""

    target: str
    help: str
    hidden: bool = False


class Group(click.Group):
    """A group with lazily imported members beside ordinary ones."""

    # Any: what click passes on to its own constructor
    def __init__(self, *args: Any, lazy: Mapping[str, Place] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        visible = [name for name, place in self.lazy.items() if not place.hidden]
        return sorted({*super().list_commands(ctx), *visible})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self.lazy.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.lazy and name not in self.commands:
            known = [*self.lazy, *self.commands]
            fix = nearest(name, known) or f"see `{ctx.command_path} --help`"
            raise Failure(f"Unknown command: '{name}'", fix=fix, code=USAGE)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            if name in self.lazy:
                rows.append((name, self.lazy[name].help))
            elif not (command := self.commands[name]).hidden:
                rows.append((name, command.get_short_help_str(80)))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,  # click's
    ) -> Any:
        """Run, and leave with an exit code and an error in our form."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.UsageError as error:
            failure = usage_failure(error)
        except click.Abort:
            raise SystemExit(INTERRUPTED) from None
        except Failure as error:
            failure = error
        except CaxtonError as error:
            failure = core_failure(error)
        else:
            raise SystemExit(code if isinstance(code, int) else 0)
        failure.show()
        raise SystemExit(failure.exit_code)
