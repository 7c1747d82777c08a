"""Compares what the clients know with what is on the disk, and says what was broken.

lost        acknowledged, and neither its effects are there nor a dead letter; or accepted inside (an agent's turn took
            effect, what it sent in that turn did not arrive)
corrupt     anything else that must not be: an effect twice, an effect of what nobody sent, an effect without its cause,
            a message or a value that changed on its way, a database that does not pass its check
duplicates  deliveries beyond the first to an agent outside: at-least-once allows them, with the same message_id
"""

import re
from collections import Counter
from pathlib import Path

import apsw
import attrs
import numpy as np

from tests.torture.diary import Known, number_in

BLOCK = 128  # numbers in one value of a guest's state
COMPLAINT = b"!"
PASSED_ON = 15  # the mask of numbers that go on to the agent outside
RECORDS = re.compile(rb"#[0-9a-f]{16}:[0-9a-f]{16}")


@attrs.frozen
class Verdict:
    acknowledged: int = 0
    lost: int = 0
    corrupt: int = 0
    duplicates: int = 0
    findings: Counter[str] = attrs.field(factory=Counter)

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(
            self.acknowledged + other.acknowledged,
            self.lost + other.lost,
            self.corrupt + other.corrupt,
            self.duplicates + other.duplicates,
            self.findings + other.findings,
        )

    @property
    def is_good(self) -> bool:
        return self.lost == self.corrupt == 0

    def __str__(self) -> str:
        return (
            f"acknowledged {self.acknowledged}, lost {self.lost}, corrupt {self.corrupt}, duplicates {self.duplicates}"
        )


@attrs.define(eq=False)
class Effects:
    """What the agents have kept: how often each number was counted, by the first and by the second agent."""

    first: np.ndarray
    second: np.ndarray
    dead: set[int]
    findings: Counter[str] = attrs.field(factory=Counter)


def read_effects(database: Path, size: int) -> Effects:
    """From the file itself, beside a server that may be running."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5000)
    try:
        with connection:  # one moment of all tables
            effects = Effects(np.zeros(size, np.uint16), np.zeros(size, np.uint16), set())
            for owner, key, value in connection.execute("SELECT owner, key, value FROM state"):
                _count(effects, owner, key, value)
            if connection.table_exists(None, "dead_letters"):
                for row in connection.execute("SELECT * FROM dead_letters"):
                    _bury(effects, row)
    finally:
        connection.close()
    return effects


def _count(effects: Effects, owner: str, key: bytes, value: bytes) -> None:
    if key == COMPLAINT:
        effects.findings[f"{owner} was given a damaged message or value"] += 1
        return
    counts = effects.second if owner.startswith("second") else effects.first
    start = int.from_bytes(key, "little") * BLOCK
    if len(key) != 4 or len(value) != BLOCK or start + BLOCK > len(counts):
        effects.findings["a value of state that no agent wrote"] += 1
        return
    counts[start : start + BLOCK] += np.frombuffer(value, np.uint8)


def _bury(effects: Effects, row: tuple[object, ...]) -> None:
    for value in row:
        data = value.encode() if isinstance(value, str) else value
        if isinstance(data, bytes):
            effects.dead.update(
                number for text in RECORDS.findall(data) if (number := number_in(text.decode())) is not None
            )


def check(database: Path) -> str:
    """`ok`, or what SQLite finds wrong with the file."""
    connection = apsw.Connection(str(database))
    try:
        finding = connection.pragma("integrity_check", 1)
    except apsw.Error as error:
        finding = str(error)
    finally:
        connection.close()
    return str(finding)


def judge(known: Known, effects: Effects) -> Verdict:
    attempted = np.frombuffer(known.attempted, np.uint8) > 0
    acknowledged = np.frombuffer(known.acknowledged, np.uint8) > 0
    first, second = effects.first, effects.second
    size = len(attempted)
    dead = np.zeros(size, bool)
    dead[[number for number in effects.dead if number < size]] = True
    delivered = np.zeros(size, bool)
    delivered[[number for number in known.delivered if number < size]] = True
    leaves = np.arange(size) & PASSED_ON == 0

    lost = {
        "acknowledged, without effect and not a dead letter": acknowledged & (first == 0) & (second == 0) & ~dead,
        "handled by the first agent, did not arrive at the second": (first > 0) & (second == 0) & ~dead,
        "handled by the second agent, did not arrive outside": (second > 0) & leaves & ~delivered & ~dead,
    }
    repeated = np.zeros(size, bool)
    repeated[list(known.repeated)] = True
    twice = (first > 1) | (second > 1)
    corrupt = {
        "counted more than once, sent once": twice & ~repeated,
        "counted more than once, sent again with its message_id": twice & repeated,
        "an effect without its cause": (second > 0) & (first == 0),
        "an effect of what nobody sent": ~attempted & ((first > 0) | (second > 0)),
        "arrived outside, but the turn that sent it was undone": delivered & (second == 0),
    }
    findings = Counter(effects.findings)
    findings["a message outside that nobody sent"] += sum(number >= size for number in known.delivered)
    corrupt_count = findings.total()
    for what, where in {**lost, **corrupt}.items():
        findings[what] += int(np.count_nonzero(where))
    return Verdict(
        acknowledged=int(np.count_nonzero(acknowledged)),
        lost=int(np.count_nonzero(np.logical_or.reduce(list(lost.values())))),
        corrupt=corrupt_count + int(np.count_nonzero(np.logical_or.reduce(list(corrupt.values())))),
        duplicates=sum(times - 1 for times in known.delivered.values()),
        findings=+findings,
    )
