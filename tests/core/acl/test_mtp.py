"""The bodies of FIPA's HTTP transport, and names across platforms."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton.core.acl import mtp, string
from caxton.core.acl.message import AclLimits, AclMessage, AgentId, in_one_line
from caxton.core.acl.mtp import Envelope, read_request, split, write_request
from caxton.core.acl.names import Home, is_allowed
from caxton.core.errors import AgentNotFound, Forbidden, InvalidMessage
from tests.core.acl.values import acl_messages

LIMITS = AclLimits()
HOME = Home("caxton-1", frozenset({"0199-node"}), "http://here:8080/acc")
MESSAGE = AclMessage(performative="inform", sender=AgentId("a@x", ("http://x/acc",)), receivers=(AgentId("b@y"),))
JADE = (
    b"This is not part of the MIME multipart encoded message.\r\n--a31f\r\nContent-Type: application/xml\r\n\r\n"
    b'<?xml version="1.0"?>\n<envelope><params index="1"><to><agent-identifier><name>b@y</name><addresses>'
    b"<url>http://y/acc</url></addresses></agent-identifier></to><from><agent-identifier><name>a@x</name><addresses>"
    b"<url>http://x:7778/acc</url></addresses></agent-identifier></from><acl-representation>fipa.acl.rep.string.std"
    b"</acl-representation><payload-length>8</payload-length><date>20261121Z160000000</date><intended-receiver>"
    b"<agent-identifier><name>b@y</name><addresses></addresses></agent-identifier></intended-receiver></params>"
    b"</envelope>\n--a31f\r\nContent-Type: application/text\r\n\r\n(INFORM\n)\r\n--a31f--\r\n"
)


def read(body: bytes, boundary: str = "a31f"):
    return read_request(f'multipart/mixed ; boundary="{boundary}"', body, now_ms=1, limits=LIMITS)


def test_a_body_as_jade_writes_it():
    envelope, message = read(JADE)
    assert envelope.receivers == (AgentId("b@y"),)
    assert envelope.sender == AgentId("a@x", ("http://x:7778/acc",))
    assert message == AclMessage(performative="inform")


@pytest.mark.slow
@settings(max_examples=40)
@given(message=acl_messages, form=st.sampled_from(sorted(mtp.REPRESENTATIONS.values())))
def test_what_is_written_is_read(message, form):
    envelope = Envelope(to=(AgentId("b@y"),), sender=AgentId("a@x", ("http://x/acc",)), representation=form)
    kind, body = write_request(message, envelope, boundary="f" * 32, now_ms=1)
    assert read_request(kind, body, now_ms=1, limits=LIMITS) == (envelope, message)


def test_the_last_params_count():
    agent = b"<agent-identifier><name>c@y</name></agent-identifier>"
    extra = b'<params index="2"><intended-receiver>' + agent + b"</intended-receiver></params>"
    envelope, _ = read(JADE.replace(b'<params index="1">', extra + b'<params index="1">'))
    assert envelope.receivers == (AgentId("c@y"),)


def test_bytes_of_latin_1_are_read_as_such():
    body = JADE.replace(b"(INFORM\n)", b'(INFORM :content "gr\xfc\xdfe")')
    body = body.replace(b"<date>", b"<payload-encoding>ISO-8859-1</payload-encoding><date>")
    assert read(body)[1].content == "grüße"


@pytest.mark.parametrize(
    ("kind", "body", "problem"),
    [
        ("text/plain", JADE, "Content-Type is 'text/plain'"),
        ("multipart/mixed", JADE, "Content-Type"),
        ('multipart/mixed; boundary="b"', JADE, "no closing boundary"),
        ("multipart/mixed; boundary=a31f", b"--a31f\r\n\r\nx\r\n--a31f--", "1 parts, expected 2"),
        ("multipart/mixed; boundary=a31f", b"--a31f\r\nx\r\n--a31f\r\ny\r\n--a31f--", "no empty line"),
        ("multipart/mixed; boundary=a31f", JADE.replace(b"envelope>", b"letter>"), "expected the element envelope"),
        ("multipart/mixed; boundary=a31f", JADE.replace(b"string.std", b"smoke.std"), "smoke"),
        ("multipart/mixed; boundary=a31f", JADE.replace(b'index="1"', b'index="one"'), "expected a number"),
        ("multipart/mixed; boundary=a31f", JADE.replace(b"text\r", b"text; charset=EBCDIC\r"), "ebcdic"),
    ],
)
def test_a_body_that_is_wrong_says_what_is_wrong(kind, body, problem):
    with pytest.raises(InvalidMessage, match=problem):
        read_request(kind, body, now_ms=1, limits=LIMITS)


@pytest.mark.slow
@given(body=st.binary(max_size=60), cut=st.integers(0, len(JADE)), keep=st.booleans())
def test_any_body_is_a_message_or_one_error(body, cut, keep):
    changed = JADE[:cut] + body + (JADE[cut + 1 :] if keep else b"")
    with suppress(InvalidMessage):
        read(changed)


def test_a_boundary_is_no_pattern():
    with pytest.raises(InvalidMessage, match="no closing boundary"):
        split('multipart/mixed; boundary="a.1f"', JADE)


@pytest.mark.parametrize(
    ("name", "local"), [("b@caxton-1", "b"), ("b", "b"), ("b@0199-node", "b"), ("client:1@caxton-1", "client:1")]
)
def test_a_receiver_is_one_of_ours(name, local):
    assert HOME.receiver(AgentId(name)) == local


@pytest.mark.parametrize(
    "name", ["b@elsewhere", "@caxton-1", "topic:x@caxton-1", "broadcast://all", "capability:x@caxton-1"]
)
def test_anything_else_is_not_reached_from_outside(name):
    with pytest.raises(AgentNotFound):
        HOME.receiver(AgentId(name))


@pytest.mark.parametrize(
    "sender", [None, AgentId("a"), AgentId("@x"), AgentId("a@caxton-1"), AgentId("ams@0199-node"), AgentId("topic:a@x")]
)
def test_nobody_outside_is_a_local_agent(sender):
    with pytest.raises(Forbidden):
        HOME.platform_of_sender(sender)


def test_our_names_abroad_and_theirs_here():
    assert HOME.abroad("a", {}) == AgentId("a@caxton-1", ("http://here:8080/acc",))
    assert HOME.abroad("a@0199-node", {}) == AgentId("a@caxton-1", ("http://here:8080/acc",))
    assert HOME.abroad("a@x", {"x": "http://x/acc"}) == AgentId("a@x", ("http://x/acc",))
    assert HOME.at_home(AgentId("a@caxton-1", ("http://here/acc",))) == AgentId("a")
    assert HOME.at_home(AgentId("a@x")) == AgentId("a@x")
    assert HOME.platform_of_sender(AgentId("da0@10.0.0.1:1099/JADE")) == "10.0.0.1:1099/JADE"


def test_an_address_is_allowed_by_scheme_host_port_and_path():
    assert is_allowed("http://x:7778/acc", ("http://y", "http://x:7778/"))
    for url in (
        "http://x:7778.evil/acc",
        "http://x.evil:7778/acc",
        "https://x:7778/acc",
        "http://u@x:7778/acc",
        "http://x:1/",
    ):
        assert not is_allowed(url, ("http://x:7778/",))
    assert not is_allowed("http://[", ("http://x/",))


def test_content_with_lines_goes_to_jade_in_one():
    message = in_one_line(AclMessage(performative="inform", content="two\r\nlines"))
    assert b"\n" not in string.encode(message)
