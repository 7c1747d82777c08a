"""What a signature covers."""

import json

import pytest
from hypothesis import assume, given, settings

from caxton._fast.envelope import Envelope
from caxton.core.acl import string
from caxton.core.acl.message import from_json, to_json
from caxton.core.acl.names import Home
from caxton.core.errors import InvalidMessage, RejectedError
from caxton.core.signatures import Signable
from tests._fast.messages import messages

HOME = Home("shop", frozenset({"node"}), "http://shop/acc")


def of(**fields: object) -> Signable:
    message = {"performative": "inform", "sender": "outside", "receiver": "pricing", **fields}
    return Signable(Envelope.from_json(json.dumps(message).encode()).to_json(), HOME)


def test_the_bytes_of_the_documents_example() -> None:
    signable = of(content="hello", message_id="0199c0de-0000-7000-8000-000000000001")
    assert signable.covered(signable.receivers) == (
        b"caxton-signature-1\nperformative 6\ninform\nsender 12\noutside@shop\nto 12\npricing@shop\n"
        b"content 6\nshello\nmessage_id 36\n0199c0de-0000-7000-8000-000000000001\n"
    )


def test_what_changes_on_the_way_is_not_covered() -> None:
    traced = of(hop_count=3, traceparent="00-a-b-01", tracestate="x=y", delivery_attempt=2)
    assert traced.covered(traced.receivers) == of().covered(("pricing@shop",))


def test_each_part_counts() -> None:
    plain = of(content=1).covered(("a",))
    for change in (
        {"content": "1"},
        {"content": 1.0},
        {"performative": "agree"},
        {"sender": "other"},
        {"reply_to": "x"},
        {"conversation_id": "c"},
        {"ontology": "c"},
        {"reply_by": "2099-01-01T00:00:00Z"},
        {"expires_at": "2099-01-01T00:00:00Z"},
        {"priority": "high"},
        {"delivery": "durable"},
        {"params": {"x": None}},
    ):
        assert of(**{"content": 1, **change}).covered(("a",)) != plain, change
    assert of(content=1).covered(("b",)) != plain


def test_a_node_has_one_name() -> None:
    assert (
        of(sender="outside@node").covered(("a",)) == of().covered(("a",)) == of(sender="outside@shop").covered(("a",))
    )


@pytest.mark.slow
@settings(max_examples=30)
@given(data=messages())
def test_a_signed_message_covers_the_same_and_after_a_transport_too(data: bytes) -> None:
    try:
        message = Envelope.from_json(data)
    except RejectedError:
        assume(False)
    signable = Signable(message.to_json(), HOME)
    covered = signable.covered(signable.receivers)
    signed = Envelope.from_json(signable.signed(bytes(64)), max_size=1 << 21)
    again = Signable(signed.to_json(), HOME)
    assert again.covered(again.signature().to) == covered
    crossed = Envelope.from_json(to_json(string.decode(string.encode(from_json(signed.to_json())))), max_size=1 << 21)
    after = Signable(crossed.to_json(), HOME)
    assert after.covered(after.signature().to) == covered


@pytest.mark.parametrize("signature", [7, {}, {"algorithm": "rsa", "to": [], "value": ""}, None])
def test_what_is_no_signature_is_said_to_be_none(signature: object) -> None:
    with pytest.raises(InvalidMessage):
        of(params={"signature": signature}).signature()
