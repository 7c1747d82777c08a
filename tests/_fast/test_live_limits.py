"""Limits that change while threads deliver."""

import pytest

from caxton._fast import scheduler as native
from caxton.core.errors import InvalidConfig, MailboxFull, MessageTooLarge
from tests._fast.scheduling import Stage, both_kinds, guest, open_stage


def set_limits(stage: Stage, **limits: int) -> None:
    usual = {"max_message_size": 1 << 20, "retry_attempts": 0, "retry_delay_ns": 1000, "backlog_bytes": 1 << 30}
    stage.scheduler.set_limits(**usual | limits)


def test_messages_become_smaller_and_larger() -> None:
    with open_stage() as stage:
        stage.host()
        stage.host("b")
        text = "x" * 2000
        stage.send("b", text)
        set_limits(stage, max_message_size=1000)
        with pytest.raises(MessageTooLarge, match="the largest allowed has 1000"):
            stage.send("b", text)
        set_limits(stage, max_message_size=2 * (1 << 20) - 8192)
        stage.send("b", "x" * 1_500_000)


def test_the_journals_bound_the_largest_message() -> None:
    with open_stage(max_message_size=1 << 20) as stage:
        most = stage.scheduler.largest_message_size
        assert most > 1 << 20
        set_limits(stage, max_message_size=most)
        with pytest.raises(InvalidConfig, match="max_message_size"):
            set_limits(stage, max_message_size=most + 1)


@both_kinds
def test_another_attempt_from_now_on() -> None:
    with open_stage() as stage:
        stage.host()
        port = stage.seat("c", guest("crash", HOW="unreachable"))
        set_limits(stage, retry_attempts=2)
        stage.send("c")
        for count in (1, 2, 3):
            stage.exit_of(port, count)
            if count < 3:
                stage.start(port, guest("crash", HOW="unreachable"), ready=False)
        assert stage.scheduler.statistics(port).failed == 3


def test_a_mailbox_with_other_bounds() -> None:
    with open_stage() as stage:
        stage.host()
        port = stage.host("b", queue_size=2)
        stage.send("b")
        stage.scheduler.set_bounds(port, queue_size=1, backlog=0, backlog_bytes=0)
        with pytest.raises(MailboxFull):
            stage.send("b")
        stage.scheduler.set_bounds(port, queue_size=2, backlog=0, backlog_bytes=0)
        stage.send("b")
        with pytest.raises(MailboxFull):
            stage.send("b")
        assert len(stage.receive(port, 2)) == 2


@both_kinds
def test_a_turn_has_another_timeout() -> None:
    with open_stage() as stage:
        stage.host()
        port = stage.seat("s", guest("spin"), timeout=60)
        stage.scheduler.set_turn_limits(port, timeout_ns=20_000_000, cpu_millicores=1000)
        stage.send("s")
        reason, _ = stage.exit_of(port)
        assert reason == native.EXIT_TIMEOUT
        stage.scheduler.set_turn_limits(port, timeout_ns=1, cpu_millicores=1)  # nobody is there: nothing happens
