"""The table of a profile."""

import json
from collections.abc import Callable
from typing import Any

from click.testing import Result

from tests.cli.conftest import FakeServer, error

Run = Callable[..., Result]


def row(agent_id: str, share: float, messages: int, each: float | None, **shares: float) -> dict[str, Any]:
    return spent(**shares) | {"agent_id": agent_id, "share": share, "messages": messages, "us_per_message": each}


def spent(**shares: float) -> dict[str, float]:
    names = ("guest", "envelope", "router", "journal", "host", "instance", "scheduler")
    return {name: shares.get(name, 0.0) for name in names}


PROFILE = {
    "seconds": 10.004,
    "samples": 9301,
    "agents": [
        row("spinner", 50.0, 0, None, guest=50.0),
        row("ping", 24.96, 1156779, 1.294, guest=15.5, envelope=5.9, router=1.2, journal=0.96, host=0.7, scheduler=0.7),
    ],
    "others_count": 3,
    "others": row("", 1.04, 120, 1734.2, guest=0.04, instance=1.0),
    "unattributed": row("", 0.3, 0, None, scheduler=0.3),
    "total": row("", 76.3, 1156899, 13.3, guest=65.54, envelope=5.9, router=1.2, journal=0.96, host=2.7),
    "idle": 23.7,
    "threads": [
        spent(guest=100.0) | {"thread": 0, "idle": 0.0},
        spent(guest=31.1, envelope=11.8, router=2.4, journal=1.9, scheduler=5.4) | {"thread": 1, "idle": 47.4},
    ],
    "python_thread": 8.31,
}

TABLE = """\
10.0 s, 2 scheduler threads, 9,301 samples of each; in % of their time

AGENT       SHARE  GUEST  ENVELOPE  ROUTER  JOURNAL  OTHER   MESSAGES  µs/MESSAGE
spinner      50.0   50.0       0.0     0.0      0.0    0.0          0           -
ping         25.0   15.5       5.9     1.2      1.0    1.4  1,156,779        1.29
(3 others)    1.0    0.0       0.0     0.0      0.0    1.0        120       1,734
(no agent)    0.3    0.0       0.0     0.0      0.0    0.3          0           -
total        76.3   65.5       5.9     1.2      1.0    2.7  1,156,899        13.3

THREAD  IDLE  GUEST  ENVELOPE  ROUTER  JOURNAL  OTHER
0        0.0  100.0       0.0     0.0      0.0    0.0
1       47.4   31.1      11.8     2.4      1.9    5.4
all     23.7   65.5       5.9     1.2      1.0    2.7

The Python thread (API, supervision, store) used 8.3 % of one core.
"""


def test_every_share_has_its_row(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/debug/profile"] = PROFILE
    result = run("debug", "profile")
    assert (result.exit_code, result.stdout) == (0, TABLE)
    assert api.asked[0].query == "seconds=10.0&top=20"


def test_json_is_what_the_server_said(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/debug/profile"] = PROFILE
    result = run("debug", "profile", "--seconds", "2.5", "--top", "3", "-o", "json")
    assert json.loads(result.stdout) == PROFILE
    assert api.asked[0].query == "seconds=2.5&top=3"


def test_a_second_profile_is_told_to_wait(run: Run, api: FakeServer) -> None:
    api.answers["GET /api/v1/debug/profile"] = (409, error("INVALID_STATE", "a profile runs already", "wait"))
    result = run("debug", "profile")
    assert result.exit_code == 1
    assert result.stderr == (
        "✗ The server cannot be profiled: invalid state\n  why: a profile runs already\n  to fix: wait\n"
    )


def test_a_time_beyond_the_limits_is_not_asked_for(run: Run, api: FakeServer) -> None:
    assert run("debug", "profile", "--seconds", "301").exit_code == 2
    assert api.asked == []
