"""What several commands share: the global settings, `--output`, JSON and tables on standard output.

Rule 1: data goes to standard output, everything about the work (progress, errors) to standard error.
Rule 2: `--output json` prints what the server said; a table prints what a person asked for.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from pathlib import Path

    from caxton.cli.client import Client
    from caxton.core.config import Config, Loaded
    from caxton.core.config_salvage import Salvaged
    from caxton.core.errors import InvalidConfig

F = TypeVar("F", bound=Callable[..., Any])

SHOWN = 60  # characters of a value in a table

DELIVERIES = ("durable", "relaxed", "volatile")

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Form of the output.",
)


class Settings(NamedTuple):
    """The global options, as given; the configuration is read only by those who need it."""

    config: str | None = None
    profile: str | None = None
    sets: tuple[str, ...] = ()
    server: str | None = None
    ca: str | None = None  # whose signature on the server's certificate counts
    cert: str | None = None  # ours, with its key

    def load(self) -> "Config":
        """The server's configuration. Raises InvalidConfig."""
        return self.read().config

    def read(self, file: str | None = None, *, secrets: bool = False) -> "Loaded":
        """The same with its sources; of *file*, where one is named. Raises InvalidConfig.

        Only who runs a server needs its secrets: nobody else has to have a right to them.
        """
        from caxton.core.config import load

        fetch = None
        if secrets:
            from caxton import secrets as sources

            fetch = sources.fetch
        return load(file or self.config, profile=self.profile, sets=self.sets, environ=os.environ, fetch=fetch)

    def arguments(self) -> list[str]:
        """The same options for another process of ours."""
        named = [("--config", self.config), ("--profile", self.profile)]
        chosen = [argument for option, value in named if value is not None for argument in (option, value)]
        return [*chosen, *(argument for one in self.sets for argument in ("--set", one))]

    def url(self) -> str:
        """Where the server is: `--server`, or the host and port of the configuration; who took a free port tells it."""
        if self.server:
            return self.server if "://" in self.server else f"http://{self.server}"
        from caxton.core.errors import InvalidConfig

        try:
            config = self.load()
        except InvalidConfig as error:
            return self._url_all_the_same(error)
        told = _address_in(config.data_dir) if config.server.port == 0 else ""
        return told or server_url(config.server.host, config.server.port, secure=config.server.tls.enabled)

    def data_dir(self) -> "Path":
        """The data folder; of a configuration with mistakes too, where it can be told. Raises InvalidConfig."""
        from pathlib import Path

        from caxton.core.errors import InvalidConfig

        try:
            return Path(self.load().data_dir)
        except InvalidConfig as error:
            if not (found := self._salvage()).data_dir:
                raise
            warn(f"the configuration has mistakes; the data folder is {found.data_dir}", error.message)
            return Path(found.data_dir)

    def _url_all_the_same(self, error: "InvalidConfig") -> str:
        """Of a configuration with mistakes: whoever holds the data folder says where he answers."""
        found = self._salvage()
        url = _address_in(found.data_dir) or server_url(found.host, found.port, secure=found.tls)
        warn(f"the configuration has mistakes; the server is looked for at {url}", error.message)
        return url

    def _salvage(self) -> "Salvaged":
        from caxton.core.config_salvage import salvage

        return salvage(self.config, profile=self.profile, sets=self.sets, environ=os.environ)

    def client(self) -> "Client":
        from caxton.cli.client import Client

        return Client(self.url(), ca=self.ca, cert=self.cert)


def _address_in(data_dir: str) -> str:
    """Of the server that holds this data folder; "" when there is none, or no folder."""
    from pathlib import Path

    from caxton.store.lock import read_holder

    holder = read_holder(Path(data_dir)) if data_dir else None
    return holder.address if holder else ""


def duration_option(*names: str, help: str, default: str | None = None) -> Callable[[F], F]:
    """An option that takes a length of time as people write it (`30s`, `5m`) or seconds, and gives seconds."""
    return click.option(
        *names, default=default, show_default=default is not None, metavar="TIME", callback=_seconds, help=help
    )


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    from caxton.core.limits import parse_duration

    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def delivery_option(help: str) -> Callable[[F], F]:
    """The option for one of the delivery classes, in any case."""
    return click.option("--delivery", type=click.Choice(DELIVERIES, case_sensitive=False), help=help)


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def server_url(host: str, port: int, *, secure: bool = False) -> str:
    """What a person types to reach a server bound to *host*: a wildcard is no address to go to."""
    if host in ("", "0.0.0.0", "127.0.0.1", "::", "*"):
        host = "localhost"
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


# Any: JSON
def print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def read_value(text: str, name: str) -> Any:
    """What a person wrote: JSON when it is JSON, else a string; `-` is standard input. Any: JSON."""
    import json

    from caxton.cli.errors import Failure

    if text == "-":
        text = sys.stdin.read()
    try:
        return json.loads(text)
    except ValueError:
        if text.lstrip()[:1] in ("{", "["):
            raise Failure(f"{name} is not JSON", why=shortened(text), fix="check the quotes and braces") from None
        return text


def shortened(text: str) -> str:
    """For a cell of a table."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Left-aligned columns two spaces apart, as wide as their widest cell."""
    widths = [max(len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    for row in (columns, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def warn(text: str, why: str) -> None:
    """What is wrong, and does not keep a command from its work."""
    click.echo(f"{click.style('!', fg='yellow')} {text}", err=True)
    for line in why.splitlines():
        click.echo(f"  {line}", err=True)


def print_done(text: str) -> None:
    click.echo(f"{click.style('✓', fg='green')} {text}")


def age(seconds: float) -> str:
    """Two units of a length of time: `3d 4h`, `12m 5s`, `0s`."""
    whole = max(0, int(seconds))
    units = (("d", whole // 86400), ("h", whole // 3600 % 24), ("m", whole // 60 % 60), ("s", whole % 60))
    parts = [f"{amount}{unit}" for unit, amount in units if amount]
    return " ".join(parts[:2]) or "0s"
