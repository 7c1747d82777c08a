"""Moments at which the process kills itself when it is told to: how the proof of durability reaches them.

    CAXTON_FAILPOINT=commit-after:3    SIGKILL to itself at the third pass of the point `commit-after`

Rule 1: a point that is not armed costs one comparison.
Rule 2: POINTS is all of them. A name that is not there stops the start: a point that never comes would prove nothing.
"""

import os
import signal
from typing import Final

from caxton.core.errors import InvalidConfig

VARIABLE: Final = "CAXTON_FAILPOINT"

POINTS: Final = {
    "commit-before": "a transaction has written everything and has not committed",
    "commit-after": "COMMIT has returned, nobody has been told",
    "checkpoint-middle": "the database file is about to get its next page from the WAL",
    "turn-released": "what a turn sent is in mailboxes, that it ended is not recorded",
    "turn-recorded": "a turn is in its thread's ring, and about to be read out of it",
    "migration-middle": "a step of the schema is done, its number is not written",
    "retention-middle": "a segment of history is deleted, nothing is committed",
    "backup-middle": "some pages of the database are in the copy",
}


def parse(text: str) -> tuple[str, int]:
    """The name and the pass of `name:n`; ("", 0) for nothing. Raises InvalidConfig."""
    if not text:
        return "", 0
    name, _, number = text.partition(":")
    if name not in POINTS or not number.isdecimal() or int(number) < 1:
        raise InvalidConfig(
            f"{VARIABLE}={text} is not NAME:N", hint=f"N is 1 or more, NAME one of: {', '.join(sorted(POINTS))}"
        )
    return name, int(number)


armed, _passes_left = parse(os.environ.get(VARIABLE, ""))


def failpoint(name: str) -> None:
    """The process passes the point *name*."""
    if name == armed:
        _pass()


def passes_left(name: str) -> int:
    """For native code, which counts passes itself: at which pass of *name* it ends the process; 0: at none."""
    return _passes_left if name == armed else 0


def _pass() -> None:
    global _passes_left
    _passes_left -= 1
    if _passes_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
