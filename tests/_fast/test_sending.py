"""What a guest sends: whom it reaches, and what the guest is told when it reaches nobody."""

import json
import time
from typing import Any

import pytest

from caxton._fast import scheduler as native
from tests._fast.probe import EDGE, Probe, poke, step
from tests._fast.scheduling import Stage, both_kinds, open_stage, sender_guest, unharmed

ARGUMENT = -102
HERE, OUT = 0x100, 0x30000  # where the tests put what a call reads, and where it writes


def sends(message: Any) -> str:
    text = message if isinstance(message, bytes | str) else json.dumps(message)
    data = text.encode() if isinstance(text, str) else text
    return poke(HERE, data) + step("send_message", HERE, len(data))


# -- sending ---------------------------------------------------------------------------------------------------------


@both_kinds
@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (b"", native.SEND_INVALID, "JSON"),
        (b"\0", native.SEND_INVALID, "JSON"),
        (b"hello", native.SEND_INVALID, "JSON"),
        (b"[]", native.SEND_INVALID, "object"),
        (b'{"performative":"inform"}', native.SEND_INVALID, "receiver"),
        (b'{"receiver":"a"}', native.SEND_INVALID, "performative"),
        (b'{"performative":"shout","receiver":"a"}', native.SEND_INVALID, "performative"),
        (b'{"performative":7,"receiver":"a"}', native.SEND_INVALID, "performative"),
        (b'{"performative":"inform","receiver":"a\\u0000b"}', native.SEND_INVALID, ""),
        (b'{"performative":"inform","receiver":"a","receiver":"b"}', native.SEND_INVALID, "twice"),
        (b'{"performative":"inform","receiver":"' + b"a" * 257 + b'"}', native.SEND_INVALID, "long"),
        (b'{"performative":"inform","receiver":"a","content":' + b"[" * 1000, native.SEND_INVALID, ""),
        (b'{"performative":"inform","receiver":"nobody"}', native.SEND_NO_RECEIVER, "deploy"),
        (b'{"performative":"inform","receiver":"topic:none"}', native.SEND_NO_RECEIVER, "deploy"),
        (
            b'{"performative":"inform","receiver":"visitor","content":"' + b"x" * 4096 + b'"}',
            native.SEND_TOO_LARGE,
            "4096",
        ),
    ],
)
def test_what_is_no_message_is_an_error_code_and_a_sentence(message: bytes, code: int, text: str) -> None:
    send_wrong(message, code, text)


@pytest.mark.parametrize("where", [b'"receiver":"\xff\xfe"', b'"receiver":"a","content":"\xc3"'])
def test_what_is_no_text_is_no_message(where: bytes) -> None:
    """From a component it is a trap: a string of its is text."""
    send_wrong(b'{"performative":"inform",' + where + b"}", native.SEND_INVALID, "UTF-8")


def send_wrong(message: bytes, code: int, text: str) -> None:
    with open_stage(threads=1, max_message_size=4096) as stage, unharmed(stage):
        liar = Probe(stage)
        at = OUT + 0x1000
        scripts = [poke(at + i, message[i : i + 1000]) for i in range(0, len(message), 1000)]
        for script in scripts:
            liar.do(script)
        assert liar.call("send_message", at, len(message)) == code
        assert text in liar.last_error()


@both_kinds
def test_the_sender_of_a_message_is_who_sent_it() -> None:
    with open_stage(threads=1) as stage:
        me = stage.host()
        agent = Probe(stage)
        forged = {"performative": "inform", "receiver": "me", "sender": "ams", "content": 1, "hop_count": 200}
        assert agent.do(sends(forged)) == [0]
        message = stage.receive(me)[0]
        assert message.sender == "probe"
        assert message.as_dict()["hop_count"] == 1


@both_kinds
def test_an_agent_may_send_to_itself() -> None:
    with open_stage(threads=1) as stage:
        agent = Probe(stage)
        again = "#" + step("store_data", 0, 1, 1, 1) + step("end")
        assert agent.do(sends({"performative": "inform", "receiver": "probe", "content": again})) == [0]
        assert stage.wait_for(native.EVENT_STATE, agent.port) == (0, [(b"\0", b"\0")])


@both_kinds
def test_a_receiver_that_vanishes_before_the_turn_ends_is_told_of_by_an_event() -> None:
    with open_stage(threads=1) as stage:
        other = stage.seat("other", "quiet")
        agent = Probe(stage)
        message = {"performative": "inform", "receiver": "other", "content": "late"}
        agent.post(sends(message), step("mcp_call", 0, 0, OUT, 4))
        call, _ = stage.wait_for(native.EVENT_CALL, agent.port)
        stage.scheduler.close_port(other)
        stage.scheduler.complete_call(agent.port, call, b"")
        code, (lost, _) = stage.wait_for(native.EVENT_UNDELIVERED, agent.port)
        assert code in (native.SEND_NO_RECEIVER, native.SEND_STOPPED)
        assert (lost.sender, lost.as_dict()["content"]) == ("probe", "late")


@both_kinds
def test_a_full_mailbox_is_told_at_once_and_what_fills_up_meanwhile_by_an_event() -> None:
    with open_stage(threads=1) as stage:
        stage.host("me", queue_size=3)
        agent = Probe(stage)
        message = {"performative": "inform", "receiver": "me", "content": 1}
        assert agent.do(sends(message) * 5) == [0] * 5
        assert [code for code, _ in stage.of(native.EVENT_UNDELIVERED, agent.port)] == [native.SEND_MAILBOX_FULL] * 2
        assert agent.do(sends(message)) == [native.SEND_MAILBOX_FULL]
        assert "full" in agent.last_error()


@both_kinds
def test_what_one_turn_could_not_deliver_is_told_bit_by_bit() -> None:
    with open_stage() as stage:
        stage.host("me", queue_size=1)
        port = stage.seat("flood", sender_guest("me", 20_000))
        stage.send("flood")
        most = 0
        while len(stage.of(native.EVENT_UNDELIVERED, port)) < 19_999:
            before = len(stage.events)
            assert stage.pump(5)
            most = max(most, len(stage.events) - before)
        assert most == 4096
        codes = {code for code, _ in stage.of(native.EVENT_UNDELIVERED, port)}
        assert codes == {native.SEND_MAILBOX_FULL}


@both_kinds
def test_a_receiver_that_drains_is_told_at_once() -> None:
    with open_stage(threads=1) as stage:
        stage.scheduler.set_accepting(stage.host(), False)
        agent = Probe(stage)
        assert agent.do(sends({"performative": "inform", "receiver": "me"})) == [native.SEND_STOPPED]
        assert "drains" in agent.last_error()


# -- broadcast -------------------------------------------------------------------------------------------------------


def broadcasts(selector: str, message: str) -> str:
    operands = HERE, len(selector), HERE + 0x400, len(message)
    return poke(HERE, selector) + poke(HERE + 0x400, message) + step("broadcast_message", *operands)


def audience(stage: Stage) -> dict[str, int]:
    ports = {name: stage.host(name) for name in ("a", "b", "c", "d")}
    for name in ports:
        stage.scheduler.join_group(ports[name], "all")
    stage.scheduler.join_group(ports["a"], "vowels")
    stage.scheduler.add_capability(ports["b"], "pricing")
    stage.scheduler.add_capability(ports["c"], "pricing")
    return ports


@both_kinds
@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("{}", "abcd"),
        (" { } ", "abcd"),
        ('{"groups":["all"]}', "abcd"),
        ('{"groups":"vowels"}', "a"),
        ('{"capabilities":["pricing"]}', "bc"),
        ('{"agents":["a","d"]}', "ad"),
        ('{"agents":["a","a"],"groups":["vowels","vowels"]}', "a"),
        ('{"capabilities":"pricing" , "agents":[ "b","d" ]}', "bcd"),
        ('{"agents":[]}', ""),
        ('{"agents":["nobody"]}', ""),
    ],
)
@pytest.mark.parametrize(
    "message", ['{"performative":"inform","content":1}', ' \n{"performative":"inform","receiver":"x","content":1}']
)
def test_a_broadcast_reaches_each_whom_its_filter_names_once(selector: str, names: str, message: str) -> None:
    with open_stage(threads=1) as stage:
        ports = audience(stage)
        agent = Probe(stage)
        stage.scheduler.join_group(agent.port, "all")  # it does not hear itself
        assert agent.do(broadcasts(selector, message)) == [len(names)]
        heard = {
            name: [m.as_dict()["content"] for m in stage.scheduler.receive(port, 9)] for name, port in ports.items()
        }
        assert heard == {name: [1] if name in names else [] for name in ports}


@both_kinds
def test_a_broadcast_is_not_written_to_when_the_first_has_it() -> None:
    with open_stage(threads=1) as stage:
        ports = [stage.host(f"h{i}") for i in range(200)]
        for port in ports:
            stage.scheduler.join_group(port, "all")
        assert Probe(stage).do(broadcasts("{}", '{"performative":"inform"}')) == [200]
        assert all(len(stage.scheduler.receive(port, 9)) == 1 for port in ports)
        records = [m for _, m in stage.scheduler.history(None, 0, 1000)[0] if m.performative == "inform"]
        assert len(records) == 201  # each was copied when its receiver got it; the last is the probe's answer
        assert len({(m.message_id, m.accepted_us) for m in records[:-1]}) == 1


@both_kinds
@pytest.mark.parametrize(
    "selector",
    [
        *("", "[]", "null", "{", '{"', "{,}", '{"groups"}', '{"groups":}', '{"groups":1}', '{"groups":["all"}'),
        *(
            '{"groups":["all",]}',
            '{"groups":["all"]',
            '{"colours":["red"]}',
            '{"agents":["a\\u0062"]}',
            '{"agents":["a]}',
        ),
        '{"agents":["' + "a" * 400 + '"]}',
    ],
)
def test_a_filter_that_is_none_is_an_error(selector: str) -> None:
    with open_stage(threads=1) as stage:
        ports = audience(stage)
        agent = Probe(stage)
        assert agent.do(broadcasts(selector, '{"performative":"inform","content":1}')) == [ARGUMENT]
        assert "broadcast filter is an object" in agent.last_error()
        assert not any(stage.scheduler.receive(port, 9) for port in ports.values())


@both_kinds
def test_a_broadcast_of_no_message_is_an_error() -> None:
    with open_stage(threads=1) as stage:
        audience(stage)
        agent = Probe(stage)
        assert agent.do(broadcasts("{}", "{}"), broadcasts("{}", "")) == [native.SEND_INVALID] * 2


@both_kinds
@pytest.mark.parametrize(("name", "count", "code"), [("all", 100, 400), ("all", 10_500, ARGUMENT), ("n", 16_000, 0)])
def test_a_filter_holds_no_thread_for_long(name: str, count: int, code: int) -> None:
    selector = json.dumps({"groups": [name] * count}, separators=(",", ":")).encode()
    message = b'{"performative":"inform"}'
    with open_stage(threads=1) as stage:
        for i in range(400):
            stage.scheduler.join_group(stage.host(f"h{i}"), "all")
        agent = Probe(stage)
        agent.do(poke(HERE, message), step("grow", 2))
        for i in range(0, len(selector), 20_000):
            agent.do(poke(EDGE + i, selector[i : i + 20_000]))
        began = time.monotonic()
        assert agent.call("broadcast_message", EDGE, len(selector), HERE, len(message)) == code
        assert time.monotonic() - began < 1
