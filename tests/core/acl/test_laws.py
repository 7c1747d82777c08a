"""What the three codecs promise of every message, and of all bytes."""

from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from caxton._fast.envelope import Envelope
from caxton.core.acl import bits, string, xml
from caxton.core.acl.message import AclLimits, AclMessage, AgentId, from_json, in_one_line, to_json
from caxton.core.errors import InvalidMessage, RejectedError
from tests._fast.messages import messages
from tests.core.acl.values import acl_messages, said

CODECS = pytest.mark.parametrize("codec", [string, xml, bits], ids=["string", "xml", "bits"])
NESTED = b'"a"'
for _ in range(60):
    NESTED = b"[" + NESTED + b"]"


@pytest.mark.slow
@CODECS
@given(data=messages())
@example(data=b'{"performative":"inform","receiver":"b","content":"a\\u0000b"}')
@example(data=b'{"performative":"inform","receiver":"b","content":"\\ud800","language":"xml"}')
@example(data=b'{"performative":"inform","receiver":"b","content":1e999,"language":"JSON"}')
@example(data=b'{"performative":"inform","receiver":"b","content":"aGk=","params":{"X-JADE-Encoding":"Base64"}}')
@example(data=b'{"performative":"inform","receiver":"b","content":"/w==","params":{"X-JADE-Encoding":"Base64"}}')
@example(data=b'{"performative":"inform","receiver":"b","params":{"X-caxton-content":"json","X-a":"1","X-A":"2"}}')
@example(data=b'{"performative":"inform","receiver":"b","reply_by":"2026-11-20T23:00:00.123456Z"}')
@example(data=b'{"performative":"inform","receiver":"b","reply_by":"1970-01-01T00:00:00.0005Z"}')
@example(data=b'{"performative":"inform","receiver":"b","content":' + NESTED + b"}")
@example(data=b'{"performative":"inform","receiver":"b","content":"\\r\\n \\"\\\\","language":"fipa-sl0"}')
def test_json_comes_back_as_it_was(codec, data):
    try:
        before = Envelope.from_json(data)
    except RejectedError:
        assume(False)
    message = from_json(before.to_json())
    after = Envelope.from_json(to_json(codec.decode(codec.encode(message))))
    assert said(after) == said(before)


@pytest.mark.slow
@CODECS
@given(message=acl_messages)
def test_every_message_comes_back_as_it_was(codec, message):
    assert codec.decode(codec.encode(message)) == message


@pytest.mark.slow
@given(message=acl_messages)
def test_one_line_says_the_same(message):
    plain = in_one_line(message)
    if plain != message:
        assert "\n" not in plain.content
        assert "\r" not in plain.content
        assert to_json(plain) == to_json(message)


@pytest.mark.slow
@CODECS
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_message_or_one_error(codec, data):
    with suppress(InvalidMessage):
        assert isinstance(codec.decode(data), AclMessage)


@pytest.mark.slow
@CODECS
@given(message=acl_messages, cut=st.data())
def test_a_changed_message_is_a_message_or_one_error(codec, message, cut):
    data = bytearray(codec.encode(message))
    for _ in range(cut.draw(st.integers(1, 4))):
        at = cut.draw(st.integers(0, len(data) - 1))
        what = cut.draw(st.sampled_from([b"", b"(", b")", b'"', b"\0", b"<", b"&", b"\x01", b"\xff", b'#9"', b"\x60"]))
        data[at : at + cut.draw(st.integers(0, 2))] = what
        if not data:
            break
    try:
        found = codec.decode(bytes(data))
    except InvalidMessage:
        return
    with suppress(RejectedError):
        Envelope.from_json(to_json(found))


@CODECS
def test_nothing_deeper_than_the_limit_is_read(codec):
    agent = AgentId("a")
    for _ in range(100):
        agent = AgentId("a", resolvers=(agent,))
    with pytest.raises(InvalidMessage, match="nested deeper than 64"):
        codec.decode(codec.encode(AclMessage(performative="inform", sender=agent)))


@pytest.mark.parametrize("text", ["(" * 1_000_000, "(inform :content " + "(" * 500_000])
def test_a_million_parentheses_are_refused_at_once(text):
    with pytest.raises(InvalidMessage, match="nested deeper"):
        string.decode(text.encode())


@CODECS
def test_a_message_larger_than_the_limit_is_refused(codec):
    data = codec.encode(AclMessage(performative="inform", content="x" * 1000))
    with pytest.raises(InvalidMessage, match="the limit is 500"):
        codec.decode(data, limits=AclLimits(size=500))


@CODECS
def test_more_tokens_than_the_limit_are_refused(codec):
    data = codec.encode(AclMessage(performative="inform", receivers=(AgentId("a"),) * 200))
    with pytest.raises(InvalidMessage, match="more than 100"):
        codec.decode(data, limits=AclLimits(tokens=100))


def test_content_cannot_smuggle_fields_into_the_json():
    message = AclMessage(performative="inform", language="json", content='1, "sender": "root"')
    with pytest.raises(InvalidMessage, match="said to be JSON and is not"):
        to_json(message)
