"""What the command line says when something fails: what, why, how to fix it; and the exit code.

Rule 1: every failure that a person can meet is a Failure before it reaches the terminal; a traceback is a bug of ours.
Rule 2: 1 is an error, 2 a mistake in the command line, 3 a server that does not answer, 130 an interrupt.
"""

import textwrap
from collections.abc import Sequence

import click

from caxton.core.errors import CaxtonError

ERROR = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130

MARK = "✗"


class Failure(click.ClickException):
    """One failure as it is printed."""

    # click declares the exit code per class; here it is the failure's own
    exit_code: int  # type: ignore[misc]

    def __init__(
        self, what: str, *, why: str = "", fix: str | Sequence[str] = (), code: int = ERROR, trace_id: str = ""
    ) -> None:
        super().__init__(what)
        self.why = why
        self.fix = (fix,) if isinstance(fix, str) else tuple(fix)
        self.exit_code = code
        self.trace_id = trace_id

    def lines(self) -> list[str]:
        fix = [line for line in self.fix if line]
        return [
            f"{MARK} {self.message}",
            *_labelled("why", self.why.splitlines()),
            *_labelled("to fix", fix),
            *([f"  trace: {self.trace_id}"] if self.trace_id else []),
        ]

    def show(self, file: object = None) -> None:
        first, *rest = self.lines()
        click.secho(first, fg="red", err=True)
        for line in rest:
            click.echo(line, err=True)


def usage_failure(error: click.UsageError) -> Failure:
    """click's complaint about a command line, in our form."""
    path = error.ctx.command_path if error.ctx else "caxton"
    message = error.format_message().strip().rstrip(".")
    return Failure(message, fix=f"see `{path} --help`", code=USAGE)


def core_failure(error: CaxtonError) -> Failure:
    """An error of the house itself (the configuration, a data folder) in our form."""
    what, _, why = error.message.partition("\n")
    what = what.rstrip(":")
    is_name = "." in what.partition(" ")[0]  # of a file
    return Failure(what if is_name else what[:1].upper() + what[1:], why=why, fix=error.hint)


def nearest(word: str, known: Sequence[str]) -> str:
    """`Did you mean 'agent'?`, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=2, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""


def _labelled(label: str, lines: Sequence[str]) -> list[str]:
    """`  why: first line`, and the others below it, as they stand to each other."""
    if not lines:
        return []
    below = textwrap.dedent("\n".join(lines[1:])).splitlines()
    indent = " " * (len(label) + 4)
    return [f"  {label}: {lines[0].strip()}", *(f"{indent}{line}".rstrip() for line in below)]
