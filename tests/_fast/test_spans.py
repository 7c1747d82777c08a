"""Traces of messages: who has one, what the turns are called, and what is told of them."""

import json
from typing import Any

import pytest

from caxton._fast import scheduler as native
from caxton._fast.spans import MOST, PROCESS, SEND, Spans
from caxton.core.performatives import ACT_CODES
from tests._fast.scheduling import Stage, guest, open_stage, sender_guest

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
BAD = ("", "x", SAMPLED[:-1], f"01-{TRACE}-{CALLER}-01", f"00-{'0' * 32}-{CALLER}-01", f"00-{TRACE}-{'0' * 16}-01",
       SAMPLED.upper(), SAMPLED.replace("-", "_"), f"00-{TRACE[:-1]}ü-{CALLER}-01")  # fmt: skip


def traced(stage: Stage, rate: float = 1.0) -> Spans:
    spans = Spans(rate)
    stage.scheduler.set_tracing(spans)
    return spans


def send(stage: Stage, receiver: str, caller: str = "", **fields: Any) -> None:
    """*caller*: its traceparent."""
    message = json.dumps({"performative": "request", "receiver": receiver, **fields}).encode()
    stage.scheduler.submit(message, sender="me", traceparent=caller)


def test_a_chain_of_agents_is_one_trace() -> None:
    with open_stage() as stage:
        end = stage.host("end")
        stage.seat("b", sender_guest("end", conversation_id="c1"))
        stage.seat("a", sender_guest("b", conversation_id="c1"))
        spans = traced(stage)
        send(stage, "a", SAMPLED, conversation_id="c1")
        (mail,) = stage.receive(end)
        told: list[Any] = []
        stage.watch(lambda: told.extend(spans.take()) or len(told) == 3)
        sent, first, second = told
        assert [each[0] for each in told] == [SEND, PROCESS, PROCESS]
        assert {each[1] for each in told} == {TRACE}
        assert [each[4] for each in told] == ["a", "a", "b"]
        assert sent[3] == CALLER, "it goes on with its caller's"
        assert [first[3], second[3]] == [sent[2], first[2]], "each is the child of the one that caused it"
        assert mail.traceparent == f"00-{TRACE}-{second[2]}-01", "whoever is outside can go on"
        assert len({each[2] for each in told}) == 3
        for _, _, span, _, _, began, ended, outcome, message_id, conversation, act, _ in told:
            assert len(span) == 16
            assert 0 < began <= ended
            assert (outcome, conversation) == (0, "c1")
            assert len(message_id) == 36
            assert act in (ACT_CODES["request"], ACT_CODES["inform"])
        assert [each[11] for each in told] == ["me", "me", "a"]
        assert (first[8], spans.dropped) == (sent[8], 0)


def test_a_trace_begins_by_chance() -> None:
    with open_stage() as stage:
        stage.seat("a", guest("quiet"))
        for rate in (0.0, 0.5, 1.0):
            spans = traced(stage, rate)
            before = stage.scheduler.totals()["handled"]
            for _ in range(200):
                send(stage, "a")
            stage.watch(lambda before=before: stage.scheduler.totals()["handled"] == before + 200)
            told = spans.take()
            begun = [each for each in told if each[0] == SEND]
            assert len(told) == 2 * len(begun), "each with its turn"
            assert all(each[3] == "" for each in begun), "a root has no parent"
            assert len({each[1] for each in begun}) == len(begun)
            assert {0.0: len(begun) == 0, 0.5: 50 < len(begun) < 150, 1.0: len(begun) == 200}[rate]


def test_who_comes_with_a_trace_has_decided() -> None:
    with open_stage() as stage:
        end = stage.host("end")
        stage.seat("a", sender_guest("end"))
        spans = traced(stage, 1.0)
        send(stage, "a", UNSAMPLED)
        assert stage.receive(end)[0].traceparent == UNSAMPLED
        assert spans.take() == []
        spans = traced(stage, 0.0)
        send(stage, "a", "", traceparent=SAMPLED)  # in the message itself
        assert (stage.receive(end)[0].traceparent or "").startswith(f"00-{TRACE}-")
        told: list[Any] = []
        stage.watch(lambda: told.extend(spans.take()) or len(told) == 2)
        assert told[0][3] == CALLER


def test_the_message_s_own_goes_before_its_caller_s() -> None:
    with open_stage() as stage:
        end = stage.host("end")
        other = SAMPLED.replace("0af7", "1bf7")
        for spans in (None, Spans(1.0)):
            stage.scheduler.set_tracing(spans)
            send(stage, "end", other, traceparent=SAMPLED)
            assert (stage.receive(end)[0].traceparent or "")[3:35] == TRACE


def test_without_tracing_a_trace_is_carried_on_as_it_is() -> None:
    with open_stage() as stage:
        end = stage.host("end")
        stage.seat("a", sender_guest("end"))
        stage.seat("says", sender_guest("end", traceparent=UNSAMPLED))
        send(stage, "a", SAMPLED)
        assert stage.receive(end)[0].traceparent == SAMPLED
        send(stage, "says", SAMPLED)
        assert stage.receive(end)[0].traceparent == UNSAMPLED, "what an agent says itself stays"
        send(stage, "a")
        assert stage.receive(end)[0].traceparent is None


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_traceparent_is_as_if_there_were_none(bad: str) -> None:
    with open_stage() as stage:
        end = stage.host("end")
        stage.seat("a", sender_guest("end"))
        send(stage, "a", bad)
        assert stage.receive(end)[0].traceparent is None
        send(stage, "a", "", **({"traceparent": bad} if bad else {}))
        assert stage.receive(end)[0].traceparent is None, "it is not carried on"
        spans = traced(stage, 0.0)
        send(stage, "a", bad)
        stage.receive(end)
        assert spans.take() == []


def test_a_turn_that_fails_says_why_and_each_attempt_is_a_span() -> None:
    with open_stage(retry_attempts=1, retry_delay_ns=1) as stage:
        port = stage.seat("a", guest("crash", HOW="unreachable"))
        spans = traced(stage)
        send(stage, "a")
        stage.exit_of(port)
        stage.start(port, guest("crash", HOW="unreachable"))
        stage.exit_of(port, 2)
        told: list[Any] = []
        stage.watch(lambda: told.extend(spans.take()) or len(told) == 3)
        assert [each[7] for each in told] == [0, native.EXIT_TRAP, native.EXIT_TRAP]
        assert told[1][3] == told[2][3] == told[0][2]
        assert told[1][2] != told[2][2]


def test_a_refused_message_is_no_span() -> None:
    with open_stage() as stage:
        spans = traced(stage)
        with pytest.raises(Exception, match="no agent"):
            send(stage, "nobody")
        assert spans.take() == []


def test_what_nobody_takes_is_dropped_and_counted() -> None:
    with open_stage() as stage:
        host = stage.host("end", queue_size=100)
        spans = traced(stage)
        for n in range(MOST + 50):
            send(stage, "end")
            if n % 100 == 99:
                stage.scheduler.receive(host, 100)
        assert (len(spans.take()), spans.dropped) == (MOST, 50)
        stage.scheduler.receive(host, 100)
        send(stage, "end")
        assert len(spans.take()) == 1


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_0_and_1(rate: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Spans(rate)
