"""Conversations written as tests: what docs/testing-agents.md promises."""

from pathlib import Path

import pytest
import trio

from caxton.core.errors import AgentNotFound
from caxton.testing import Actor, Message, Say, Stage, open_stage, run, virtual_time
from tests.node.wat import example, guest

CNP = "fipa-contract-net"


def bidder(price: int):  # type: ignore[no-untyped-def]  # a handler
    def handle(message: Message, agent: Actor) -> Say | None:
        if message.performative == "cfp":
            return message.reply("propose", {"price": price}, reply_with=f"bid-{agent.name}")
        if message.performative == "accept-proposal":
            return message.reply("inform", {"result": "sold"})
        return None

    return handle


async def call(stage: Stage, *bidders: str, **fields: object) -> Actor:
    buyer = await stage.agent("buyer")
    buyer.send(list(bidders), "cfp", {"item": "book"}, protocol=CNP, conversation_id="c1", **fields)
    return buyer


@virtual_time
async def test_a_contract_net_is_given_when_then() -> None:
    async with open_stage() as stage:
        await stage.agent("cheap", bidder(7))
        await stage.agent("dear", bidder(9))
        buyer = await call(stage, "cheap", "dear", reply_with="cfp-1")
        best = await buyer.expect("propose", sender="cheap")
        other = await buyer.expect("propose", sender="dear")
        assert (best.content, best.in_reply_to) == ({"price": 7}, "cfp-1")
        assert stage.conversation("c1").states == {"cheap": "PROPOSED", "dear": "PROPOSED"}
        buyer.reply(best, "accept-proposal")
        buyer.reply(other, "reject-proposal")
        assert (await buyer.expect("inform")).content == {"result": "sold"}
        done = stage.conversation("c1")
        assert done.states == {"cheap": "DONE", "dear": "REJECTED"}
        assert done.is_final
        assert done.out_of_sequence == ()
        covered = stage.coverage(CNP)
        assert covered.acts == {"cfp", "propose", "accept-proposal", "reject-proposal", "inform"}
        assert covered.states >= {"BIDDING", "PROPOSED", "COMMITTED", "DONE", "REJECTED"}
        assert "BIDDING: participant refuse → REFUSED" in covered.missing
        assert "+ START: initiator cfp → BIDDING" in str(covered)


@virtual_time
async def test_who_does_not_answer_in_time_has_not_bid() -> None:
    async with open_stage() as stage:
        await stage.agent("silent", lambda message, agent: None)
        buyer = await call(stage, "silent", reply_by=stage.moment(60))
        assert stage.conversation("c1").state("silent") == "BIDDING"
        await stage.passes(59)
        assert stage.conversation("c1").state() == "BIDDING"
        await stage.passes(2)
        assert stage.conversation("c1").state() == "NO_BID"
        assert buyer.heard == []


@pytest.mark.slow
@virtual_time
async def test_a_handler_may_take_its_time() -> None:
    async def slow(message: Message, agent: Actor) -> Say:
        agent.reply(message, "agree")
        await trio.sleep(3600)
        return message.reply("inform", {"result": "at last"})

    async with open_stage() as stage:
        await stage.agent("slow", slow)
        asker = await stage.agent("asker")
        start = stage.now()
        asker.send("slow", "request", {"action": "think"}, protocol="fipa-request", conversation_id="c1")
        await asker.expect("agree")
        assert stage.conversation("c1").state() == "WORKING"
        await asker.expect_nothing(within=3000)
        assert (await asker.expect("inform", within=1000)).content == {"result": "at last"}
        assert 3600 <= stage.now() - start < 3700
        assert stage.conversation("c1").state("slow") == "DONE"


@virtual_time
async def test_a_module_plays_with_agents_in_python() -> None:
    async with open_stage() as stage:
        await stage.wasm("echo", example("echo"))
        asker = await stage.agent("asker")
        asker.send("echo", "request", {"n": 1}, conversation_id="c1", reply_with="r1")
        answer = await asker.expect("inform", sender="echo")
        assert (answer.content, answer.in_reply_to) == ({"n": 1}, "r1")
        assert stage.status("echo") == "running"


@pytest.mark.slow
@virtual_time
async def test_timers_of_a_module_follow_virtual_time() -> None:
    async with open_stage() as stage:
        await stage.passes(1000)  # a clock that is ahead already
        await stage.wasm("alarm", guest("alarm"))
        asker = await stage.agent("asker")
        asker.send("alarm", "inform", "wake me")
        await stage.passes(3500)
        assert stage.log("alarm") == []
        await stage.passes(200)
        assert stage.log("alarm") == ["ring"]


@virtual_time
async def test_an_illegal_act_is_seen() -> None:
    async with open_stage() as stage:
        await stage.agent("rude", lambda message, agent: message.reply("accept-proposal"))
        await call(stage, "rude")
        await stage.settle()
        conversation = stage.conversation("c1")
        assert conversation.state("rude") == "BIDDING"
        assert conversation.out_of_sequence[0].startswith("rude said accept-proposal in BIDDING; expected ")


@virtual_time
async def test_what_is_not_heard_is_told_with_what_was() -> None:
    async with open_stage() as stage:
        await stage.agent("cheap", bidder(7))
        buyer = await call(stage, "cheap")
        unheard = r"(?s)buyer did not hear performative='refuse' within 5 s.*propose from"
        with pytest.raises(AssertionError, match=unheard):
            await buyer.expect("refuse")
        with pytest.raises(AssertionError, match="buyer should have heard nothing, and heard propose from cheap"):
            await buyer.expect_nothing()
        with pytest.raises(AgentNotFound):
            buyer.send("nobody", "inform")
        with pytest.raises(AssertionError, match="nothing was said in the conversation 'c9'"):
            stage.conversation("c9")


def test_an_error_in_a_handler_is_the_tests() -> None:
    def broken(message: Message, agent: Actor) -> None:
        raise ZeroDivisionError("in a handler")

    async def test() -> None:
        async with open_stage() as stage:
            await stage.agent("broken", broken)
            asker = await stage.agent("asker")
            asker.send("broken", "inform", 1)
            await stage.settle()

    with pytest.raises(ZeroDivisionError) as caught:
        run(test)
    assert "in the handler of 'broken'" in caught.value.__notes__[0]


def test_a_stage_needs_virtual_time() -> None:
    async def test() -> None:
        async with open_stage():
            pass

    with pytest.raises(TypeError, match="virtual time"):
        trio.run(test)


@virtual_time
async def test_the_directory_is_there_too() -> None:
    async with open_stage("directory.lease=60s") as stage:
        await stage.agent("cheap", bidder(7), capabilities=["books"])
        buyer = await stage.agent("buyer")
        buyer.send("df", "request", {"action": "search", "description": {"services": [{"type": "books"}]}})
        found = await buyer.expect("inform", sender="df")
        assert [each["name"] for each in found.content["result"]] == ["cheap"]
        mine = {"name": "buyer", "services": [{"name": "buying", "type": "buying"}], "lease_time": 600}
        buyer.send("df", "request", {"action": "register", "description": mine})
        await buyer.expect("inform", sender="df")
        buyer.send("capability:buying", "inform", "still listed")
        await buyer.expect("inform", sender="buyer")
        await stage.passes(601)
        with pytest.raises(AgentNotFound):
            buyer.send("capability:buying", "inform", "its lease has ended")


@virtual_time
async def test_what_was_not_delivered_ends_its_session() -> None:
    async with open_stage("messaging.retry_attempts=1") as stage:
        await stage.wasm("frail", guest("crash"))
        asker = await stage.agent("asker")
        asker.send("frail", "request", {"n": 1}, protocol="fipa-request", conversation_id="c1")
        assert (await asker.expect("failure", sender="ams")).conversation_id == "c1"
        assert stage.conversation("c1").state("frail") == "UNDELIVERED"


@virtual_time
async def test_what_was_compiled_serves_the_next_stage(tmp_path: Path) -> None:
    compiled = []
    for _ in range(2):
        async with open_stage(modules=tmp_path / "modules") as stage:
            await stage.wasm("counter", guest("crash"))
            compiled.append(stage.node.modules.compiled)
    assert compiled == [1, 0]
    assert [path.suffix for path in (tmp_path / "modules").glob("*/*")] == [".cwasm"]
