"""The payload figures of `caxton benchmark hop`: the message that is thrown has the size that is said."""

import pytest

from caxton.cli.benchmarks import payloads


@pytest.mark.parametrize("size", payloads.SIZES)
def test_the_content_of_the_message_has_so_many_bytes(size):
    ball = payloads.Ball(size)
    try:
        assert ball.microseconds(0.01) > 0
        found, _ = ball.scheduler.history(None, ball.scheduler.newest_message - 1, 1)
    finally:
        ball.scheduler.stop()
    [(_, envelope)] = found
    assert envelope.content is not None
    assert len(envelope.content) == size


def test_megabytes_per_second_are_of_the_content(monkeypatch):
    monkeypatch.setattr(payloads, "hop", lambda size: size / 500)
    assert payloads.figures()["1048576"] == {"microseconds": 1_048_576 / 500, "megabytes_per_second": 500.0}
