"""The spinner: nothing for what is quick, a line that goes away for what is not."""

import threading
from collections.abc import Iterator

import pytest

from caxton.cli import progress


class Countdown(threading.Event):
    """Lets the spinner turn so many times; nobody waits."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.results: Iterator[bool] = iter([False] * turns + [True])
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return next(self.results)


def test_a_quick_one_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress._spin("Deploying ping", Countdown(0))
    assert capsys.readouterr() == ("", "")


def test_a_slow_one_shows_what_and_how_long_and_wipes_it(capsys: pytest.CaptureFixture[str]) -> None:
    done = Countdown(2)
    progress._spin("Deploying ping", done)
    assert (
        capsys.readouterr().err == "\r⠋ Deploying ping … 0 s\r⠙ Deploying ping … 0 s\r"
    )  # click leaves the escape out here
    assert done.waits[0] == progress.PATIENCE == 1.0


def test_without_a_terminal_there_is_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with progress.progress("Deploying ping"):
        assert threading.active_count() == before
    assert capsys.readouterr() == ("", "")
