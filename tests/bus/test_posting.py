"""Messages in from outside, answers back, and the failures that senders are told."""

import json
from typing import Any

import pytest
import trio

from caxton._fast.envelope import Envelope
from caxton._fast.scheduler import EXIT_TRAP, SEND_NO_RECEIVER
from caxton.bus.delivery import REASONS, failure_for, reason_of
from caxton.core.errors import (
    AgentNotFound,
    CaxtonError,
    InvalidMessage,
    InvalidTransition,
    MailboxFull,
    MessageTooLarge,
    ReplyTimeout,
)
from tests.bus.desk import LARGEST, PATIENCE, Desk, open_desk
from tests.node.wat import example, guest, message


async def mail_of(desk: Desk, name: str) -> dict[str, Any]:
    """The next message of an attached agent."""
    async with desk.bus.stream(name) as session:
        with trio.fail_after(PATIENCE):
            (mail,) = await session.receive(1)
        session.ack([str(mail.message_id)])
    return mail.as_dict()


# -- in --


async def test_a_message_is_in_the_mailbox_when_post_returns() -> None:
    async with open_desk() as desk:
        port = desk.attach("outside")
        receipt = desk.bus.post(message("outside", 1))
        assert (receipt.status, receipt.delivered_to) == ("queued", 1)
        (mail,) = desk.scheduler.receive(port, 10)
        assert mail.message_id == receipt.message_id


async def test_what_cannot_be_delivered_is_refused_by_name() -> None:
    async with open_desk() as desk:
        port = desk.attach("small", queue_size=1)
        desk.bus.post(message("small"))
        for data, refusal in (
            (b"{", InvalidMessage),
            (b"", InvalidMessage),
            (b"\xff\xfe", InvalidMessage),
            (message("x", "y" * LARGEST), MessageTooLarge),
            (message("nobody"), AgentNotFound),
            (message("small"), MailboxFull),
        ):
            with pytest.raises(refusal):
                desk.bus.post(data)
        desk.scheduler.receive(port, 10)
        desk.scheduler.set_accepting(port, False)
        with pytest.raises(InvalidTransition):
            desk.bus.post(message("small"))


async def test_each_line_of_a_batch_has_its_own_outcome() -> None:
    async with open_desk() as desk:
        port = desk.attach("outside")
        outcomes = desk.bus.post_many([message("outside", 1), b"{", message("nobody"), message("outside", 2)])
        assert [type(outcome).__name__ for outcome in outcomes] == [
            "Receipt",
            "InvalidMessage",
            "AgentNotFound",
            "Receipt",
        ]
        assert [mail.as_dict()["content"] for mail in desk.scheduler.receive(port, 10)] == [1, 2]


async def test_the_sender_is_who_it_was_authenticated_as() -> None:
    async with open_desk() as desk:
        port = desk.attach("outside")
        desk.bus.post(message("outside", sender="somebody"))
        desk.bus.post(message("outside", sender="somebody"), sender="me")
        desk.bus.post(message("outside"))
        assert [mail.sender for mail in desk.scheduler.receive(port, 10)] == ["somebody", "me", None]


async def test_validating_a_message_sends_nothing() -> None:
    async with open_desk() as desk:
        port = desk.attach("outside")
        assert desk.bus.validate(message("outside")).receiver == "outside"
        with pytest.raises(MessageTooLarge):
            desk.bus.validate(message("outside", "y" * LARGEST))
        with pytest.raises(InvalidMessage):
            desk.bus.validate(b"[]")
        assert desk.scheduler.receive(port, 10) == []


# -- answers --


async def test_a_guest_answers_a_request() -> None:
    async with open_desk() as desk:
        await desk.seat("echo", example("echo"))
        with trio.fail_after(PATIENCE):
            answer = await desk.bus.request(message("echo", {"n": 1}, reply_with="r"), timeout=10)
        assert (answer.sender, answer.as_dict()["content"], answer.in_reply_to) == ("echo", {"n": 1}, "r")


async def test_an_agreement_is_not_the_answer(nursery: trio.Nursery) -> None:
    async def work(desk: Desk) -> None:
        asked = await mail_of(desk, "worker")
        for act, content in (("agree", "soon"), ("agree", "very soon"), ("inform", "done"), ("inform", "again")):
            desk.bus.post(message(asked["sender"], content, performative=act), sender="worker")

    async with open_desk() as desk:
        desk.attach("worker")
        nursery.start_soon(work, desk)
        answer = await desk.bus.request(message("worker"), timeout=10)
        assert (answer.performative, answer.as_dict()["content"]) == ("inform", "done")


@pytest.mark.parametrize("agreed", [False, True])
async def test_no_answer_in_time_says_whether_there_was_an_agreement(nursery: trio.Nursery, agreed: bool) -> None:
    addresses: list[str] = []

    async def agree(desk: Desk) -> None:
        addresses.append((await mail_of(desk, "worker"))["sender"])
        if agreed:
            desk.bus.post(message(addresses[0], performative="agree"), sender="worker")

    async with open_desk() as desk:
        desk.attach("worker")
        nursery.start_soon(agree, desk)
        with pytest.raises(ReplyTimeout) as caught:
            await desk.bus.request(message("worker", reply_with="r"), timeout=0.05)
        assert caught.value.details["agreed"] is agreed
        ((_, asked), *_), _ = desk.scheduler.history(None, 0, 10)
        assert caught.value.details["message_id"] == asked.message_id
        assert ("agreed" in caught.value.message, bool(caught.value.hint)) == (agreed, True)
        # the late answer is accepted, dropped, and harms nobody
        desk.bus.post(message(addresses[0], performative="inform"), sender="worker")
        nursery.start_soon(agree, desk)
        with pytest.raises(ReplyTimeout):
            await desk.bus.request(message("worker"), timeout=0.05)
        assert len(set(addresses)) == 2
        assert desk.bus._replies._waiters == {}


async def test_many_clients_each_get_their_own_answer(nursery: trio.Nursery) -> None:
    answers: dict[int, object] = {}

    async def ask(desk: Desk, number: int) -> None:
        answers[number] = (await desk.bus.request(message("echo", number), timeout=10)).as_dict()["content"]

    async with open_desk() as desk:
        await desk.seat("echo", example("echo"))
        async with trio.open_nursery() as clients:
            for number in range(50):
                clients.start_soon(ask, desk, number)
        assert answers == {number: number for number in range(50)}


async def test_a_request_that_cannot_be_posted_fails_at_once() -> None:
    async with open_desk() as desk:
        with pytest.raises(AgentNotFound):
            await desk.bus.request(message("nobody"), timeout=1000)
        assert desk.bus._replies._waiters == {}


# -- failures --


@pytest.mark.parametrize(
    ("wasm", "reason"),
    [("crash", "agent-trapped"), ("spin", "agent-timeout"), ("refuse", "agent-refused")],
)
async def test_the_sender_is_told_what_became_of_the_message(wasm: str, reason: str) -> None:
    async with open_desk() as desk:
        desk.attach("outside")
        await desk.seat("guest", guest(wasm), timeout=0.02)
        asked = message("guest", conversation_id="c", reply_with="r", protocol="fipa-request")
        receipt = desk.bus.post(asked, sender="outside")
        failure = await mail_of(desk, "outside")
        assert (failure["performative"], failure["sender"]) == ("failure", "ams")
        assert (failure["conversation_id"], failure["in_reply_to"]) == ("c", "r")
        assert (failure["protocol"], failure["ontology"]) == ("fipa-request", "fipa-agent-management")
        assert failure["content"]["action"] == {"message_id": receipt.message_id, "performative": "request"}
        assert failure["content"]["reason"]["mts_error"] == reason
        (event,) = desk.events("message.undelivered")
        assert (event.data["reason"], event.data["from"], event.data["to"]) == (reason, "outside", "guest")


async def test_a_waiting_client_gets_the_failure() -> None:
    async with open_desk() as desk:
        await desk.seat("crash", guest("crash"))
        answer = await desk.bus.request(message("crash"), timeout=10)
        assert (answer.performative, answer.sender) == ("failure", "ams")


async def test_a_guest_whose_receiver_takes_no_more_is_told() -> None:
    async with open_desk() as desk:
        desk.attach("small", queue_size=1)
        await desk.seat("guest", guest("twice", '{"performative":"inform","receiver":"small","reply_with":"r"}'))
        desk.bus.post(message("guest"))
        await desk.until(lambda: len(desk.events("message.undelivered")) == 1)
        assert desk.events("message.undelivered")[0].data["reason"] == "mailbox-full"
        records, _ = desk.bus.history(None, 0, 10)
        assert [(record.performative, record.sender, record.receiver) for record in records] == [
            ("request", "", "guest"),
            ("inform", "guest", "small"),
            ("failure", "ams", "guest"),
        ]
        assert records[2].in_reply_to == "r"


@pytest.mark.parametrize("act", ["failure", "not-understood", "NOT_UNDERSTOOD"])
async def test_a_failure_is_never_answered_with_a_failure(act: str) -> None:
    async with open_desk() as desk:
        port = desk.attach("outside")
        await desk.seat("crash", guest("crash"))
        desk.bus.post(message("crash", performative=act), sender="outside")
        await desk.until(lambda: len(desk.events("message.undelivered")) == 1)
        assert desk.scheduler.receive(port, 10) == []


async def test_a_failure_that_cannot_be_told_ends_there() -> None:
    async with open_desk() as desk:
        await desk.seat("crash", guest("crash"))
        desk.bus.post(message("crash"), sender="gone")
        await desk.until(lambda: len(desk.events("message.undelivered")) == 1)
        records, _ = desk.bus.history(None, 0, 10)
        assert [record.performative for record in records] == ["request"]


async def test_messages_of_an_agent_that_vanished_go_back_to_their_senders() -> None:
    async with open_desk() as desk:
        port = desk.attach("going")
        desk.attach("outside")
        desk.bus.post(message("going", reply_with="r"), sender="outside")
        desk.bus.post(message("going"))  # of nobody: there is nobody to tell
        desk.bus.return_to_senders(desk.scheduler.close_port(port))
        failure = await mail_of(desk, "outside")
        assert failure["content"]["reason"]["mts_error"] == "agent-not-found"
        assert "deleted" in failure["content"]["reason"]["text"]
        assert len(desk.events("message.undelivered")) == 2


def test_every_reason_makes_a_message() -> None:
    asked = Envelope.from_json(message("x", sender="me"))
    for code in [*REASONS, 12345]:
        told = failure_for(asked, code, "")
        assert told is not None
        Envelope.from_json(told)
        assert json.loads(told)["content"]["reason"] == {
            "mts_error": reason_of(code)[0],
            "receiver": "x",
            "text": reason_of(code)[1],
        }


@pytest.mark.parametrize("sender", [{}, {"sender": "ams"}])
def test_nobody_is_told_when_there_is_nobody(sender: dict[str, str]) -> None:
    assert failure_for(Envelope.from_json(message("x", **sender)), EXIT_TRAP, "") is None


def test_the_receivers_of_a_message_to_many_are_named() -> None:
    told = failure_for(Envelope.from_json(message(["a", "b"], sender="me")), SEND_NO_RECEIVER, "gone")
    assert told is not None
    assert json.loads(told)["content"]["reason"]["receiver"] == ["a", "b"]


async def test_a_thousand_failures_do_not_stop_the_bus() -> None:
    async with open_desk() as desk:
        await desk.seat("refuse", guest("refuse"))
        outcomes = desk.bus.post_many([message("refuse", sender="refuse")] * 1000)
        assert not any(isinstance(outcome, CaxtonError) for outcome in outcomes)
        await desk.until(lambda: len(desk.events("message.undelivered")) == 2000)  # the failures are refused as well
        await desk.seat("echo", example("echo"))
        assert (await desk.bus.request(message("echo", 1), timeout=10)).as_dict()["content"] == 1
