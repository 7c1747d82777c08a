"""Amounts as people write them: `100MB`, `500m`, `30s`, `5%`.

Rule 1: 1MB is 2**20 bytes, the same as 1MiB, and likewise 1KB, 1GB, 1TB. The configuration guide writes `100MB` for
        limits that the engine enforces in pages of 64 KiB; a decimal megabyte would be no whole number of them.
Rule 2: inside, sizes are whole bytes, processor shares whole millicores (1000m = one core), times seconds, shares
        fractions of 1.
Rule 3: what a parser does not know is a ValueError that says what would be right; who knows the place (a key of a file)
        adds it.
Rule 4: `parse_x(format_x(value)) == value` wherever the value is one that `parse_x` can give.
"""

import math
import re

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([A-Za-z%µ]*)\s*\Z", re.ASCII)

BYTE_UNITS = {
    "": 1,
    "b": 1,
    **{
        f"{prefix}{suffix}": 1 << (10 * power)
        for power, prefix in enumerate("kmgt", 1)
        for suffix in ("", "b", "i", "ib")
    },
}
# longest first, so that format_duration() finds the largest unit that divides
DURATION_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}

MAX_BYTES = 1 << 62
MAX_SECONDS = 1e9  # thirty years; anything longer is a slip of the keyboard


def _split(value: str | float, example: str) -> tuple[float, str]:
    """The number and the unit of an amount; a bare number has no unit."""
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not an amount; write {example}")  # noqa: TRY004 (rule 3: one error)
    if isinstance(value, int | float):
        return (value if abs(value) < 1e300 else math.inf), ""
    match = _NUMBER.match(value)
    if match is None:
        raise ValueError(f"{value!r} is not an amount; write {example}")
    # whole numbers stay whole: a float has 53 bits, a size has 62
    return (int(match[1]) if match[1].isdigit() and len(match[1]) < 300 else float(match[1])), match[2]


def parse_bytes(value: str | int) -> int:
    """`100MB`, `64KiB`, `1.5GB`, or a number of bytes."""
    number, unit = _split(value, "100MB or 64KiB")
    factor = BYTE_UNITS.get(unit.lower())
    if factor is None:
        raise ValueError(f"unknown unit {unit!r} in {value!r}; write KB, MB, GB or TB")
    size = number * factor
    if not 0 <= size <= MAX_BYTES:
        raise ValueError(f"{value!r} is out of range; a size is between 0 and {format_bytes(MAX_BYTES)}")
    if size != int(size):
        raise ValueError(f"{value!r} is not a whole number of bytes")
    return value if isinstance(value, int) else int(size)


def format_bytes(size: int) -> str:
    """The largest unit that divides: 65536 -> `64KB`."""
    for unit, power in (("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10)):
        if size and size % (1 << power) == 0:
            return f"{size >> power}{unit}"
    return f"{size}B"


def parse_millicores(value: str | float) -> int:
    """`100m` is a tenth of a core; a bare number (`1.5`, 2) counts cores, as in Kubernetes."""
    number, unit = _split(value, "100m or 1.5")
    if unit not in ("", "m"):
        raise ValueError(f"unknown unit {unit!r} in {value!r}; write 100m (millicores) or 1.5 (cores)")
    millicores = number if unit == "m" else number * 1000
    if not 1 <= millicores <= 1_000_000 or round(millicores, 6) != round(millicores):
        raise ValueError(f"{value!r} is out of range; a processor share is a whole number of millicores from 1m")
    return round(millicores)


def format_millicores(millicores: int) -> str:
    return f"{millicores}m"


def parse_duration(value: str | float) -> float:
    """`30s`, `5m`, `200ms`, `30d`, or a number of seconds."""
    number, unit = _split(value, "30s, 5m or 200ms")
    factor = DURATION_UNITS.get({"": "s", "µs": "us"}.get(unit, unit))
    if factor is None:
        raise ValueError(f"unknown unit {unit!r} in {value!r}; write us, ms, s, m, h or d")
    # dividing by the whole number of units in a second keeps 200ms == 0.2 exact
    seconds = number * factor if factor >= 1 else number / round(1 / factor)
    if not (math.isfinite(seconds) and 0 <= seconds <= MAX_SECONDS):
        raise ValueError(f"{value!r} is out of range; a time is between 0s and {format_duration(MAX_SECONDS)}")
    return seconds


def format_duration(seconds: float) -> str:
    """The largest unit that divides: 90.0 -> `90s`, 120.0 -> `2m`, 0.2 -> `200ms`."""
    if seconds == int(seconds):
        whole = int(seconds)
        for unit in "dhm":
            if whole and whole % int(DURATION_UNITS[unit]) == 0:
                return f"{whole // int(DURATION_UNITS[unit])}{unit}"
        return f"{whole}s"
    milliseconds = round(seconds * 1e3)
    if milliseconds / 1000 == seconds:
        return f"{milliseconds}ms"
    microseconds = round(seconds * 1e6)
    if microseconds / 1_000_000 == seconds:
        return f"{microseconds}us"
    return f"{seconds!r}s"


def parse_percent(value: str | float) -> float:
    """`5%` -> 0.05; a bare number is a fraction already (0.05)."""
    number, unit = _split(value, "5% or 0.05")
    if unit not in ("", "%"):
        raise ValueError(f"unknown unit {unit!r} in {value!r}; write 5% or 0.05")
    share = number / 100 if unit == "%" else number
    if not 0 <= share <= 1:
        raise ValueError(f"{value!r} is out of range; a share is between 0% and 100%")
    return share


def format_percent(share: float) -> str:
    percent = f"{share * 100:.12g}"
    return f"{percent}%" if "e" not in percent and float(percent) / 100 == share else repr(share)
