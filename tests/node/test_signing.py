"""Signed messages through a whole node: guests, agents outside, refusals."""

import base64
import json
import logging
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from caxton.core.directory.descriptions import Constraints, Description
from caxton.core.errors import AgentNotFound, InvalidConfig, InvalidTransition, NotFound
from caxton.core.views import DeadLetterFilter
from caxton.node import Node
from tests.node.opened import config, open_a_node

ECHO = (Path(__file__).parents[2] / "examples" / "echo" / "echo.wasm").read_bytes()
ALWAYS = {"verify": "always"}
SIGNS = {"sign": True}


async def attach(node: Node, name: str, **signing: Any) -> None:
    await node.agents.attach(config(name, signing=signing))


async def received(node: Node, name: str) -> dict[str, Any]:
    async with node.bus.stream(name) as session:
        (message,) = await session.receive(1)
        session.ack([str(message.message_id)])
    fields: dict[str, Any] = json.loads(message.to_json())
    return fields


async def send(node: Node, sender: str, receiver: str | Sequence[str], **fields: Any) -> None:
    """As the attached agent *sender*."""
    message = {"performative": "request", "receiver": receiver, "content": {"n": 1}, **fields}
    async with node.bus.stream(sender, takeover=True) as session:
        (outcome,) = session.send([json.dumps(message).encode()])
    if isinstance(outcome, Exception):
        raise outcome


def covered(message: dict[str, Any], home: str, content: str) -> bytes:
    """The bytes of docs/signing.md, written a second time."""

    def abroad(name: str) -> str:
        return name if "@" in name else f"{name}@{home}"

    parts: list[tuple[str, str]] = [("performative", message["performative"]), ("sender", abroad(message["sender"]))]
    parts.append(("to", "\n".join(sorted(message["params"]["signature"]["to"]))))
    parts.append(("content", content))
    parts += [
        (key, message[key])
        for key in ("language", "ontology", "conversation_id", "in_reply_to", "message_id")
        if key in message
    ]
    others = {key: value for key, value in message["params"].items() if key != "signature"}
    if others:
        parts.append(("params", "\n".join(f'"{key}"=s{others[key]}' for key in sorted(others))))
    return b"caxton-signature-1\n" + b"".join(f"{name} {len(part.encode())}\n{part}\n".encode() for name, part in parts)


def check(node: Node, message: dict[str, Any], content: str) -> None:
    key = node.signing_keys.get(message["sender"])
    value = base64.b64decode(message["params"]["signature"]["value"])
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key["public_key"]))
    public.verify(value, covered(message, key["platform"], content))


def by_hand(private: Ed25519PrivateKey, home: str, sender: str, receiver: str) -> dict[str, Any]:
    """A message that its sender has signed itself."""
    message: dict[str, Any] = {"performative": "inform", "sender": sender, "receiver": receiver, "content": "hello"}
    message["message_id"] = str(uuid.uuid4())  # it is signed too, so the sender has to choose it
    message["params"] = {"X-colour": "blue", "signature": {"algorithm": "ed25519", "to": [f"{receiver}@{home}"]}}
    value = private.sign(covered(message, home, "shello"))
    message["params"]["signature"]["value"] = base64.b64encode(value).decode()
    return message


def public_text(private: Ed25519PrivateKey) -> str:
    return base64.b64encode(private.public_key().public_bytes_raw()).decode()


async def test_what_a_guest_sends_is_signed(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.deploy(ECHO, config("echo", signing=SIGNS))
        await attach(node, "strict", **ALWAYS, **SIGNS)
        await attach(node, "plain")
        await send(node, "plain", "echo", conversation_id="c", reply_with="r")
        answer = await received(node, "plain")
        assert (answer["sender"], answer["in_reply_to"]) == ("echo", "r")
        check(node, answer, 'j{"n": 1}')
        await send(node, "strict", "echo", conversation_id="d")
        check(node, await received(node, "strict"), 'j{"n": 1}')


async def test_an_unsigned_message_is_refused_where_it_must_be_signed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.deploy(ECHO, config("echo", signing=ALWAYS))
        await attach(node, "plain")
        with caplog.at_level(logging.WARNING, "caxton.audit"), node.bus.tap(1000) as events:
            await send(node, "plain", "echo", conversation_id="c")
            failure = await received(node, "plain")
            assert failure["performative"] == "failure"
            assert failure["content"]["reason"]["mts_error"] == "not-authorised"
            assert "is not signed" in failure["content"]["reason"]["text"]
            with trio.fail_after(5):
                while (event := await events.receive()).type != "message.refused":
                    pass
        assert (event.data["from"], event.data["to"]) == ("plain", "echo")
        assert [record.name for record in caplog.records] == ["caxton.audit"]
        letters, total = await node.dead_letters.list(DeadLetterFilter(reason="not-authentic"))
        assert (total, letters[0].sender) == (1, "plain")
        assert node.agents.get("echo").metrics.messages_processed == 0


async def test_who_signs_for_itself_is_believed_and_a_changed_message_is_not(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    async with open_a_node(tmp_path) as node:
        home = node.home.name
        await attach(node, "strict", **ALWAYS)
        await attach(node, "outside", public_key=public_text(private))
        good = by_hand(private, home, "outside", "strict")
        await send(node, "outside", **{key: good[key] for key in good if key != "sender"})
        assert (await received(node, "strict"))["params"] == good["params"]
        changes: tuple[dict[str, Any], ...] = (
            {},  # but for its id
            {"content": "hellO"},
            {"performative": "agree"},
            {"ontology": "new"},
            {"params": good["params"] | {"X-colour": "red"}},
            {"params": {"signature": good["params"]["signature"] | {"value": "AAAA"}}},
            {"params": {"signature": good["params"]["signature"] | {"to": [f"strict@{home}", "x"]}}},
            {"params": {"signature": 7}},
        )
        for number, change in enumerate(changes):
            other = good | change | {"message_id": good["message_id"][:-4] + f"{number:04}"}
            await send(node, "outside", **{key: value for key, value in other.items() if key != "sender"})
            assert (await received(node, "outside"))["performative"] == "failure", change
        _, total = await node.dead_letters.list(DeadLetterFilter(reason="not-authentic"))
        assert total == len(changes)


async def test_a_message_signed_for_another_is_refused(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    async with open_a_node(tmp_path) as node:
        await attach(node, "strict", **ALWAYS)
        await attach(node, "outside", public_key=public_text(private))
        stolen = by_hand(private, node.home.name, "outside", "friend") | {"receiver": "strict"}
        await send(node, "outside", **{key: value for key, value in stolen.items() if key != "sender"})
        assert "signed for others" in (await received(node, "outside"))["content"]["reason"]["text"]


async def test_a_signature_has_to_be_right_where_there_is_one(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    async with open_a_node(tmp_path) as node:
        await attach(node, "careful", verify="present")
        await attach(node, "outside", public_key=public_text(private))
        await send(node, "outside", "careful", content="unsigned")
        assert (await received(node, "careful"))["content"] == "unsigned"
        wrong = by_hand(private, node.home.name, "outside", "careful") | {"content": "changed"}
        await send(node, "outside", **{key: value for key, value in wrong.items() if key != "sender"})
        assert (await received(node, "outside"))["performative"] == "failure"


async def test_each_of_several_receivers_gets_it_once(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await attach(node, "sender", **SIGNS)
        await attach(node, "strict", **ALWAYS)
        await attach(node, "strict2", **ALWAYS)
        await attach(node, "plain")
        await send(node, "sender", ["strict", "plain", "strict2"], content="one")
        await send(node, "sender", ["strict", "plain", "strict2"], content="two")
        for name in ("strict", "plain", "strict2"):
            assert [(await received(node, name))["content"] for _ in range(2)] == ["one", "two"]
            assert node.scheduler.statistics(node.runtime.ports_of(name)[0]).waiting == 0


async def test_what_the_platform_says_reaches_who_takes_signed_messages_only(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.deploy(ECHO, config("echo", signing=ALWAYS))
        await attach(node, "strict", **ALWAYS)
        await send(node, "strict", "echo")
        failure = await received(node, "strict")
        assert (failure["sender"], failure["performative"]) == ("ams", "failure")
        check(node, failure, f"j{json.dumps(failure['content'], separators=(',', ':'), ensure_ascii=False)}")


async def test_keys_outlive_the_server_and_go_with_the_agent(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.deploy(ECHO, config("echo", signing=SIGNS, capabilities=["echoing"]))
        key = node.signing_keys.get("echo")
        assert node.agents.get("echo").public_key == key["public_key"]
        found, *_ = node.directory.search(Description(name="echo"), Constraints())
        assert [service.properties for service in found[0].description.services] == [{"public_key": key["public_key"]}]
    async with open_a_node(tmp_path) as node:
        assert node.signing_keys.get("echo") == key
        await attach(node, "plain")
        await send(node, "plain", "echo", conversation_id="c")
        check(node, await received(node, "plain"), 'j{"n": 1}')
        await node.agents.delete("echo")
        with pytest.raises(NotFound):
            node.signing_keys.get("echo")
        await node.agents.deploy(ECHO, config("echo", signing=SIGNS))
        assert node.signing_keys.get("echo")["public_key"] != key["public_key"]


async def test_what_waits_for_a_signature_outlives_the_server(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await attach(node, "sender", **SIGNS)
        await attach(node, "strict", **ALWAYS)
        await send(node, "sender", "strict", content="one")
    async with open_a_node(tmp_path) as node:
        assert (await received(node, "strict"))["content"] == "one"


async def test_no_private_key_is_told_and_no_message_reaches_the_checkpoints(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await node.agents.deploy(ECHO, config("echo", signing=SIGNS | ALWAYS))
        stored = (await node.store.signing_keys.all())["echo"]
        assert stored.private is not None
        told = repr((node.signing_keys.list(), await node.agents.inspect("echo"), stored, node.bus.events_since(0)))
        for text in (base64.b64encode(stored.private).decode(), stored.private.hex(), repr(stored.private)[2:-1]):
            assert text not in told
        for name in (".signer", ".guard"):
            with pytest.raises(AgentNotFound):
                node.bus.post(json.dumps({"performative": "inform", "sender": "echo", "receiver": name}).encode())


async def test_keys_are_registered_for_those_who_sign_for_themselves(tmp_path: Path) -> None:
    text = public_text(Ed25519PrivateKey.generate())
    async with open_a_node(tmp_path) as node:
        await node.agents.deploy(ECHO, config("echo", signing=SIGNS))
        await attach(node, "outside")
        keys = node.signing_keys
        assert (await keys.put("da0@jade", text))["held_by"] == "owner"
        assert (await keys.put("outside", text))["public_key"] == text
        await keys.remove("da0@jade")
        for agent, problem in (("nobody", NotFound), ("echo", InvalidTransition)):
            with pytest.raises(problem):
                await keys.put(agent, text)
        with pytest.raises(InvalidTransition):
            await keys.remove("echo")
        with pytest.raises(InvalidConfig):
            await node.agents.deploy(ECHO, config("other", signing={"public_key": text}))
        assert [each["agent"] for each in keys.list()["keys"]] == ["ams", "cnp", "df", "echo", "outside"]
