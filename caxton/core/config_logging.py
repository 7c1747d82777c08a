"""The keys of `observability.logging`: the server's own log. Who writes it: `telemetry/logs.py`."""

from typing import Annotated, Literal

import msgspec

from caxton.core.settings import YES, Bytes, Count, Key, Seconds, nearest

Level = Literal["trace", "debug", "info", "warn", "error"]

ROOMS = (
    "api",
    "app",
    "bus",
    "cli",
    "core",
    "deploy",
    "memory",
    "node",
    "runtime",
    "secrets",
    "store",
    "telemetry",
    "tools",
)
OTHERS = ("asyncio", "httpcore", "httpx", "hypercorn", "quart", "trio_websocket")


class LoggingConfig(msgspec.Struct, frozen=True, kw_only=True):
    level: Annotated[Level, Key("the least that is logged", env="CAXTON_LOG_LEVEL RUST_LOG", dynamic=YES)] = "info"
    levels: Annotated[
        dict[str, Level],
        Key("the same of parts, by their names: `{caxton.node: debug, hypercorn: error}`", dynamic=YES),
    ] = {}
    format: Annotated[Literal["json", "pretty", "compact"], Key("of a line of the log", dynamic=YES)] = "json"
    output: Annotated[Literal["stdout", "stderr", "file"], Key("where the log goes")] = "stderr"
    file_path: Annotated[str, Key("the log's file, where it goes to one")] = "/var/log/caxton/caxton.log"
    max_file_size: Annotated[Bytes, Key("of it, before another is begun; 0 is no bound", dynamic=YES)] = 100 << 20
    max_backups: Annotated[Count, Key("files before it that are kept", dynamic=YES)] = 10
    max_age: Annotated[Seconds, Key("how long they are kept; 0 is no bound", dynamic=YES)] = 30 * 86_400.0
    compress: Annotated[bool, Key("they are compressed (gzip)", dynamic=YES)] = True


def check_logging(problems: list[str], logging: LoggingConfig) -> None:
    """What no single value shows."""
    for name in logging.levels:
        top, _, rest = name.partition(".")
        if top not in ("caxton", *OTHERS):
            hint = nearest(top, ["caxton", *OTHERS])
            problems.append(f"observability.logging.levels.{name}: nothing logs under this name{hint}")
        elif top == "caxton" and rest and rest.partition(".")[0] not in ROOMS:
            hint = nearest(rest.partition(".")[0], ROOMS)
            problems.append(f"observability.logging.levels.{name}: there is no such part of caxton{hint}")
    if logging.output == "file" and not logging.file_path:
        problems.append("observability.logging.file_path: missing, and observability.logging.output is file")
