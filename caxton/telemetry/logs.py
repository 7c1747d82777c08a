"""The server's own log: stdlib logging, one record per line on stderr, stdout or in a file, as JSON or for people.

Rule 1: code logs with `logging.getLogger(__name__)` and puts values into `extra=`, not into the sentence.
Rule 2: `configure()` is the only place that touches handlers; calling it again replaces what it did before.
Rule 3: logging never raises and never blocks on anything but its output. What agents write is not logged here; it goes
        by the record stream (`bus`).
"""

import base64
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TextIO
from urllib.parse import quote, quote_plus

import msgspec

from caxton.core.config_logging import Level, LoggingConfig
from caxton.core.errors import InvalidConfig
from caxton.telemetry.log_files import LogFile

Format = Literal["json", "pretty", "compact"]

TRACE = 5
LEVELS: dict[str, int] = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
# logging's name for a level -> ours
NAMES = {"WARNING": "warn", "CRITICAL": "error"}
COLOURS = {"trace": "2", "debug": "2", "info": "32", "warn": "33", "error": "31"}

# what every record has; whatever else stands in it came by `extra=`
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_encoder = msgspec.json.Encoder(enc_hook=str)

LONG = 12  # characters of a line that is hidden by itself
SHORTEST = 6  # characters; of less, every other word of the log would be hidden
_hidden: set[str] = set()
_hiding: re.Pattern[str] | None = None


output: "LogFile | None" = None  # instead of a standard stream
_levels: set[str] = set()  # loggers that have one of their own


def start(config: LoggingConfig) -> None:
    """Log as the configuration says, to where it says; a server does this once. Raises InvalidConfig."""
    global output  # of the process, as logging itself is
    if output is not None:
        output.close()
        output = None
    if config.output == "file":
        try:
            output = LogFile(Path(config.file_path), config)
        except OSError as error:
            raise InvalidConfig(
                f"observability.logging.file_path: {config.file_path} cannot be written to: {error.strerror}",
                hint="make its folder, for the user that the server runs as, or choose another file",
            ) from None
    change(config)


def change(config: LoggingConfig) -> None:
    """What may change while a server runs: everything but where the log goes."""
    if output is not None:
        output.limits = config
    standard = sys.stdout if config.output == "stdout" else sys.stderr
    configure(config.level, config.format, stream=output or standard, levels=config.levels)


def configure(
    level: Level = "info",
    format: Format = "json",
    *,
    stream: "TextIO | LogFile | None" = None,
    levels: Mapping[str, Level] | None = None,
) -> None:
    """Log *level* and above of everything in this process, of some parts by a level of their own."""
    logging.addLevelName(TRACE, "TRACE")
    stream = stream or sys.stderr
    handler = _Handler(stream)
    handler.setFormatter(FORMATTERS[format](colour=stream.isatty()))
    root = logging.getLogger()
    for old in [held for held in root.handlers if isinstance(held, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    # a server's access log is a debugging aid; the record stream says what matters
    logging.getLogger("hypercorn.access").setLevel(logging.WARNING)
    for name in _levels:
        logging.getLogger(name).setLevel(logging.NOTSET)
    _levels.clear()
    for name, own in (levels or {}).items():
        logging.getLogger(name).setLevel(LEVELS[own])
        _levels.add(name)


def hide(secrets: Iterable[str]) -> None:
    """Let no line show these from here on; those of before stay hidden."""
    global _hiding
    known = len(_hidden)
    for secret in secrets:
        if len(secret) >= SHORTEST:
            _hidden.update(_forms(str(secret)))
    if len(_hidden) > known:
        # the longest first: one may begin with another
        _hiding = re.compile("|".join(re.escape(one) for one in sorted(_hidden, key=len, reverse=True)))


def _forms(secret: str) -> Iterator[str]:
    """How a log may have it: as it is, line by line, in a URL, in a header, and all of these in JSON."""
    data = secret.encode("utf-8", "surrogatepass")
    plain = [secret, quote(secret, safe=""), quote(secret), quote_plus(secret), repr(secret)[1:-1]]
    plain += [base64.b64encode(data).decode().rstrip("="), base64.urlsafe_b64encode(data).decode().rstrip("=")]
    plain += [line for line in secret.splitlines() if len(line) >= LONG and not line.startswith("-----")]
    for form in plain:
        for _ in range(3):  # as it is, in a JSON line, and in JSON inside of that
            if len(form) >= SHORTEST:
                yield form
            form = _encode(form)[1:-1]


class _Handler(logging.StreamHandler["TextIO | LogFile"]):
    """Ours, so that configure() can find and replace it, and leaves pytest's alone."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if _hiding is None else _hiding.sub("***", text)

    def handleError(self, record: logging.LogRecord) -> None:
        """A closed or full stderr is nobody's emergency (rule 3)."""


class _Formatter(logging.Formatter):
    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self.colour = colour


class JsonFormatter(_Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level_name(record),
            "logger": record.name,
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
        return _encode(line)


class CompactFormatter(_Formatter):
    """`02:14:55.120 info  caxton.node: agent started agent=ping`."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{level_name(record):5}"
        if self.colour:
            level = f"\x1b[{COLOURS[level.strip()]}m{level}\x1b[0m"
        clock = _time(record).strftime("%H:%M:%S.%f")[:-3]
        values = "".join(f" {key}={_show(value)}" for key, value in extras(record).items())
        line = f"{clock} {level} {record.name}: {record.getMessage()}{values}"
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line += f" exception={_show(f'{type(error).__name__}: {error}')}"
        return line


class PrettyFormatter(_Formatter):
    """The sentence first, its values indented below it, and whole tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        level = level_name(record)
        mark = f"{level.upper():5}"
        if self.colour:
            mark = f"\x1b[{COLOURS[level]}m{mark}\x1b[0m"
        clock = _time(record).strftime("%H:%M:%S.%f")[:-3]
        lines = [f"{clock} {mark} {record.getMessage()}  ({record.name})"]
        lines += [f"             {key}: {_show(value)}" for key, value in extras(record).items()]
        if record.exc_info and record.exc_info[1] is not None:
            lines.append("".join(traceback.format_exception(record.exc_info[1])).rstrip())
        return "\n".join(lines)


FORMATTERS: dict[str, type[_Formatter]] = {
    "json": JsonFormatter,
    "pretty": PrettyFormatter,
    "compact": CompactFormatter,
}


def level_name(record: logging.LogRecord) -> str:
    """The nearest of our five levels at or below the record's own number."""
    name = NAMES.get(record.levelname, record.levelname.lower())
    if name in LEVELS:
        return name
    return max((ours for ours in LEVELS if LEVELS[ours] <= record.levelno), key=LEVELS.__getitem__, default="trace")


def extras(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _encode(value: object) -> str:
    try:
        return _encoder.encode(value).decode()
    except (TypeError, ValueError, UnicodeEncodeError, msgspec.MsgspecError):
        # keys that are no text, numbers or surrogates that JSON cannot hold: better a line that is less exact than none
        return _encoder.encode(repr(value)).decode()


def _show(value: object) -> str:
    text = value if isinstance(value, str) else _encode(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else _encode(text)
