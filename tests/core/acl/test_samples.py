"""Messages as the grammar allows them and as other platforms write them: samples/README.md."""

import json
from pathlib import Path

import pytest

from caxton._fast.envelope import Envelope
from caxton.core.acl import bits, string, xml
from caxton.core.acl.message import AclMessage, AgentId, read_moment, to_json
from caxton.core.errors import InvalidMessage

SAMPLES = Path(__file__).parent / "samples"
DEEP_ENTITIES = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>'
    b'<fipa-message act="inform"><content>&b;</content></fipa-message>'
)


def sample(name):
    return (SAMPLES / name).read_bytes()


def test_a_request_as_jade_writes_it():
    message = string.decode(sample("jade-request.acl"))
    assert message == AclMessage(
        performative="request",
        sender=AgentId("da0@192.168.1.5:1099/JADE", ("http://ping.example:7778/acc",)),
        receivers=(AgentId("pricing@caxton-1", ("http://127.0.0.1:8080/acc",)),),
        content='((action (agent-identifier :name pricing@caxton-1) (price "blue pen" 12)))',
        reply_with="da0@192.168.1.5:1099/JADE1409275609029",
        language="fipa-sl0",
        ontology="pens",
        reply_by_ms=1795302000000,
        protocol="fipa-request",
        conversation_id="C24156_1409275609025",
    )
    envelope = Envelope.from_json(to_json(message))
    assert envelope.sender == "da0@192.168.1.5:1099/JADE"
    assert envelope.reply_by == "2026-11-21T23:00:00.000Z"
    assert json.loads(envelope.content) == message.content


def test_an_answer_of_a_jade_directory():
    message = string.decode(sample("df-answer.acl"))
    assert message.in_reply_to == "rw-test1@10.131.252.41:1099/JADE1409275609025-1"
    assert message.ontology == "FIPA-Agent-Management"
    assert message.content.startswith("((result (action")


def test_what_jade_codes_is_text_again_when_it_is_text():
    message = string.decode(sample("jade-base64.acl"))
    assert json.loads(to_json(message)) == {
        "performative": "inform",
        "sender": "da0@here",
        "receiver": "b@there",
        "content": "grüße",
    }


def test_a_java_object_stays_base64_and_says_so():
    fields = json.loads(to_json(string.decode(sample("jade-object.acl"))))
    assert fields["content"] == "rO0ABXQAAmhp"
    assert fields["params"] == {"X-JADE-Encoding": "Base64"}


def test_bytes_that_are_no_text_become_base64_too():
    for message in (
        string.decode(b'(inform :receiver (set (agent-identifier :name b)) :content #2"\xff\xfe)'),
        bits.decode(b"\xfa\x10\x08\x03\x02\x10b\0\x01\x01\x04\x16\x02\xff\xfe\x01"),
    ):
        fields = json.loads(to_json(message))
        assert fields["content"] == "//4="
        assert fields["params"] == {"X-JADE-Encoding": "Base64"}


def test_lengths_count_bytes_and_relative_times_count_from_now():
    message = string.decode(sample("relative-time.acl"), now_ms=1_000_000_000_000)
    assert message.content == "grü"
    assert message.reply_by_ms == 1_000_000_010_000


def test_what_else_the_grammar_allows():
    message = string.decode(sample("grammar.acl"))
    resolver = AgentId("df", ("http://h/acc", "iiop://h"))
    assert message == AclMessage(
        performative="not-understood",
        receivers=(AgentId("b"), AgentId("c")),
        reply_to=(AgentId("a b", resolvers=(resolver,), extras=(("role", "boss"),)),),
        reply_with="12.5",
        in_reply_to='quoted "twice" \\ ',
        conversation_id="20260101T000000000",
        extras=(("Trace", '( a "b c" 12 (d) )'),),
    )


def test_a_message_in_xml():
    assert xml.decode(sample("message.xml")) == AclMessage(
        performative="inform",
        sender=AgentId("a@here", resolvers=(AgentId("df@here"),)),
        receivers=(AgentId("b@there", ("http://there:7778/acc",)), AgentId("c@there")),
        content=' <x> & "y" ',
        language="xml",
        reply_by_ms=1795302000000,
        conversation_id="c1",
        extras=(("role", "boss"),),
    )


def test_a_message_in_bits():
    assert bits.decode(sample("message.bits")) == AclMessage(
        performative="inform",
        sender=AgentId("a@here", ("http://h/acc",)),
        receivers=(AgentId("b"), AgentId("c")),
        content="hello",
        reply_with="12.5",
        in_reply_to='(done x "a b" )',
        reply_by_ms=1795302000000,
        conversation_id="c1",
        extras=(("role", "boss"),),
    )


def test_written_as_jade_reads_it():
    message = AclMessage(
        performative="request",
        sender=AgentId("a@here", ("http://h:8080/acc",)),
        receivers=(AgentId("b@there"), AgentId("2@there")),
        content='say "hi"',
        reply_with="12",
        language="fipa-sl0",
        reply_by_ms=1795302000000,
        protocol="fipa-request",
        conversation_id="0199 a",
        extras=(("role", "boss"),),
    )
    assert string.encode(message) == (
        b"(REQUEST :sender (agent-identifier :name a@here :addresses (sequence http://h:8080/acc)) "
        b':receiver (set (agent-identifier :name b@there) (agent-identifier :name "2@there")) '
        b':content "say \\"hi\\"" :reply-with 12 :language fipa-sl0 :reply-by 20261121T230000000Z '
        b':protocol fipa-request :conversation-id "0199 a" :X-role boss)'
    )


def test_written_in_bits_as_the_standard_says():
    message = AclMessage(performative="agree", receivers=(AgentId("b"),), content="x", reply_by_ms=1795302000000)
    assert bits.encode(message) == (
        b"\xfa\x10\x02\x03\x02\x10b\0\x01\x01\x04\x14x\0\x06\x24\x31\x37\x22\x32\x34\x11\x11\x11\x10Z\x01"
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "there is no message"),
        (b"hello", "begins with"),
        (b"(", "ends within"),
        (b"(greet)", "unknown performative 'greet'"),
        (b"(inform :language a :LANGUAGE b)", "language comes twice"),
        (b"(inform :X-a 1 :x-A 2)", "X-A comes twice"),
        (b"(inform :sender)", "has no value"),
        (b"(inform sender a)", "expected a parameter"),
        (b"(inform :colour blue)", "unknown parameter 'colour'"),
        (b'(inform :content "a)', "does not end"),
        (b'(inform :content #9"abc)', "9 bytes is announced, 4 are left"),
        (b'(inform :content "a\0b")', "a NUL stands at byte 19"),
        (b"(inform :receiver (set (agent-identifier)))", "no name"),
        (b"(inform :receiver bob)", "expected \\(set"),
        (b"(inform :reply-by tomorrow)", "no FIPA time"),
        (b"(inform :reply-by 20261341T000000000Z)", "is no time"),
        (b"(inform) (inform)", "something follows"),
        (b"(inform :content \xff :language \xff)", "is not utf-8"),
    ],
)
def test_a_message_that_is_wrong_says_what_is_wrong(data, problem):
    with pytest.raises(InvalidMessage, match=problem):
        string.decode(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no element found"),
        (b"<a/>", "expected the element fipa-message"),
        (DEEP_ENTITIES, "has no place in a message"),
        (b'<?xml-stylesheet href="x"?><fipa-message act="inform"/>', "has no place in a message"),
        (b'<fipa-message act="inform"><content/><content/></fipa-message>', "content comes twice"),
        (b'<fipa-message act="inform"><sender/></fipa-message>', "one sender, this one 0"),
        (b'<fipa-message act="inform"><colour/></fipa-message>', "unknown element 'colour'"),
        (b'<fipa-message act="inform"><content caxton-text="json">\\x</content></fipa-message>', "JSON string"),
        (b'<?xml version="1.0" encoding="klingon"?><fipa-message act="inform"/>', "not XML"),
    ],
)
def test_xml_that_is_wrong_says_what_is_wrong(data, problem):
    with pytest.raises(InvalidMessage, match=problem):
        xml.decode(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "ends too early"),
        (b"\xfb\x10\x08\x01", "only 0xfa"),
        (b"\xfa\x11\x08\x01", "version"),
        (b"\xfa\x10\x17\x01", "no communicative act"),
        (b"\xfa\x10\x08\x04\x11\x00\x01", "without a table"),
        (b"\xfa\x10\x08\x04\x19\xff\xff\xff\xffx\x01", "4294967295 bytes are announced"),
        (b"\xfa\x10\x08\x01\x01", "something follows"),
        (b"\xfa\x10\x08\x09\x14a\0\x09\x14b\0\x01", "language comes twice"),
        (b"\xfa\x10\x08\x05" + b"\x60" * 100 + b"\x40" * 100 + b"\x01", "nested deeper than 64"),
    ],
)
def test_bits_that_are_wrong_say_what_is_wrong(data, problem):
    with pytest.raises(InvalidMessage, match=problem):
        bits.decode(data)


def test_a_date_without_a_zone_is_utc():
    assert read_moment("19700101T000000001", 0) == read_moment("19700101T000000001Z", 0) == 1
