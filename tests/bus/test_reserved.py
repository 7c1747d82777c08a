"""Agents of the platform: who is answered how, and when a message counts as handled."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from caxton._fast.envelope import Envelope
from caxton.bus.reserved import LATER, Answers, Later
from caxton.core.answer import Answer, Unanswered
from caxton.core.errors import Forbidden
from tests.bus.desk import Desk, open_desk
from tests.node.opened import open_a_node, until


def request(receiver: str, **fields: object) -> bytes:
    return json.dumps({"performative": "request", "sender": "anna", "receiver": receiver, **fields}).encode()


async def ask(desk: Desk, data: bytes, *, of: str = "anna") -> dict[str, Any]:
    """The answer to one message of an attached agent's."""
    async with desk.bus.streams.attach(of, takeover=False) as session:
        session.send([data])
        [answer] = await session.receive(1)
        session.ack([str(answer.message_id)])
        return answer.as_dict()


def echo(message: Envelope) -> Answers:
    return Answer("inform", {"result": message.as_dict()["content"]})


async def test_an_answer_carries_what_the_question_has(nursery: trio.Nursery) -> None:
    async with open_desk() as desk:
        desk.bus.reserved.host("df", echo)
        nursery.start_soon(desk.bus.reserved.run)
        desk.attach("anna")
        answer = await ask(
            desk,
            request(
                "df",
                content=7,
                conversation_id="c1",
                reply_with="r1",
                protocol="fipa-request",
                ontology="fipa-agent-management",
            ),
        )
        wanted = {
            "performative": "inform",
            "sender": "df",
            "receiver": "anna",
            "content": {"result": 7},
            "conversation_id": "c1",
            "in_reply_to": "r1",
            "protocol": "fipa-request",
            "ontology": "fipa-agent-management",
            "language": "json",
        }
        assert {key: answer.get(key) for key in wanted} == wanted


async def test_the_answer_goes_to_reply_to(nursery: trio.Nursery) -> None:
    async with open_desk() as desk:
        desk.bus.reserved.host("df", echo)
        nursery.start_soon(desk.bus.reserved.run)
        desk.attach("anna")
        desk.attach("bob")
        desk.bus.post(request("df", reply_to=["bob"]))
        async with desk.bus.streams.attach("bob", takeover=False) as session:
            [answer] = await session.receive(1)
        assert answer.receiver == "bob"


@pytest.mark.parametrize(
    ("word", "act", "key"),
    [
        ("unsupported-act", "not-understood", "event"),
        ("missing-parameter", "refuse", "action"),
        ("already-registered", "failure", "action"),
    ],
)
async def test_a_no_becomes_the_act_of_its_word(word: str, act: str, key: str, nursery: trio.Nursery) -> None:
    def handle(message: Envelope) -> Answers:
        raise Unanswered(word, "because", parameter="name")

    async with open_desk() as desk:
        desk.bus.reserved.host("df", handle)
        nursery.start_soon(desk.bus.reserved.run)
        desk.attach("anna")
        answer = await ask(desk, request("df"))
        assert answer["performative"] == act
        assert answer["content"]["reason"] == {"error": word, "parameter": "name", "text": "because"}
        assert answer["content"][key]["performative"] == "request"


@pytest.mark.parametrize("act", ["failure", "not-understood"])
async def test_a_failure_is_not_answered_by_not_understood(act: str, nursery: trio.Nursery) -> None:
    def handle(message: Envelope) -> Answers:
        if message.performative == "request":
            return Answer("inform", "the end")
        raise Unanswered("unsupported-act", f"{message.performative} is none of mine")

    async with open_desk() as desk:
        desk.bus.reserved.host("df", handle)
        nursery.start_soon(desk.bus.reserved.run)
        desk.attach("anna")
        desk.bus.post(json.dumps({"performative": act, "sender": "anna", "receiver": "df"}).encode())
        assert (await ask(desk, request("df")))["content"] == "the end"  # and nothing came before it


async def test_an_error_of_a_handler_is_a_failure_and_ends_nothing(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(message: Envelope) -> Answers:
        await trio.lowlevel.checkpoint()
        return Answer("inform", 1 // int(message.as_dict()["content"]))

    async with open_desk() as desk:
        desk.bus.reserved.host("df", handle)
        nursery.start_soon(desk.bus.reserved.run)
        desk.attach("anna")
        answer = await ask(desk, request("df", content=0))
        assert answer["performative"] == "failure"
        assert answer["content"]["reason"]["error"] == "internal-error"
        assert "ZeroDivisionError" in answer["content"]["reason"]["text"]
        assert (await ask(desk, request("df", content=1)))["content"] == 1
    assert "df failed over message" in caplog.text


async def test_who_has_no_room_for_the_answer_has_a_dead_letter(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        node.scheduler.open_port("anna", host=True, queue_size=1)
        node.bus.reserved.host("echo", echo)
        await node.bus.settle([node.bus.post(request("echo", content=number)) for number in (1, 2)])
        await until(node, lambda: node.dead_letters.figures["kept"] == 1)
        [letter], _ = await node.dead_letters.list()
        assert (letter.agent, letter.reason) == ("echo", "queue-full")
        assert "echo answered, but" in letter.detail


async def test_an_answer_that_is_too_long_is_a_failure(nursery: trio.Nursery) -> None:
    async with open_desk() as desk:
        desk.bus.reserved.host("df", lambda message: Answer("inform", "x" * 20_000))
        nursery.start_soon(desk.bus.reserved.run)
        desk.attach("anna")
        answer = await ask(desk, request("df"))
        assert answer["performative"] == "failure"
        assert "too long an answer" in answer["content"]["reason"]["text"]


async def test_an_answer_that_is_no_json_ends_nothing(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    def handle(message: Envelope) -> Answers:
        return Answer("inform", object() if message.content == b'"odd"' else "well")

    async with open_desk() as desk:
        desk.bus.reserved.host("df", handle)
        nursery.start_soon(desk.bus.reserved.run)
        desk.attach("anna")
        desk.bus.post(request("df", content="odd"))
        assert (await ask(desk, request("df")))["content"] == "well"
    assert "came to nothing" in caplog.text


async def test_nobody_is_attached_as_an_agent_of_the_platform() -> None:
    async with open_desk() as desk:
        desk.bus.reserved.host("df", echo)
        with pytest.raises(Forbidden, match="'df' is an agent of the platform"):
            async with desk.bus.streams.attach("df", takeover=False):
                pass


async def test_what_was_not_settled_comes_again_after_a_restart(tmp_path: Path) -> None:
    came: list[str] = []

    def keep_waiting(message: Envelope) -> Later:
        came.append(str(message.message_id))
        return LATER

    async with open_a_node(tmp_path) as node:
        hosted = node.bus.reserved.host("later", keep_waiting)
        receipt = node.bus.post(request("later", content="first"))
        await node.bus.settle([receipt])
        while not came:
            await trio.testing.wait_all_tasks_blocked()
    again: list[Envelope] = []

    def take(message: Envelope) -> Later:
        again.append(message)
        return LATER

    async with open_a_node(tmp_path) as node:
        hosted = node.bus.reserved.host("later", take)
        while not again:
            await trio.testing.wait_all_tasks_blocked()
        assert again[0].message_id == came[0]
        await hosted.settle(again[0])
    async with open_a_node(tmp_path) as node:
        node.bus.reserved.host("later", keep_waiting)
        receipt = node.bus.post(request("later", content="second"))
        await node.bus.settle([receipt])
        while len(came) < 2:
            await trio.testing.wait_all_tasks_blocked()
        assert came == [again[0].message_id, receipt.message_id]
