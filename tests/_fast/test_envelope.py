"""The native envelope against its specification, tests/oracles/envelope.py, on the same generated input."""

import json
import random
import re
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton._fast.envelope import Envelope
from caxton.core.errors import InvalidMessage, MessageTooLarge
from caxton.core.performatives import ACT_CODES, ALIASES
from tests._fast.agreement import agree, by_native, by_twin, frames_agree, seen
from tests._fast.messages import messages, names
from tests.oracles import envelope as twin

settings.register_profile("envelope", derandomize=True, deadline=None, max_examples=60)
quick = settings(settings.get_profile("envelope"))


@given(messages())
@quick
def test_both_read_the_same(data: bytes) -> None:
    agree(data)


BYTES = b'"\\{}[]:,0-.eEu \x00\x1f\x7f\xc3\xed\xa0\x80\xf4tn'


@pytest.mark.slow
@given(messages(), st.randoms(use_true_random=False))
@quick
def test_both_say_the_same_of_a_damaged_message(data: bytes, random_: random.Random) -> None:
    for _ in range(20):
        broken = bytearray(data)
        for _ in range(random_.randint(1, 2)):
            place = random_.randrange(len(broken) + 1)
            byte = bytes([random_.choice(BYTES) if random_.random() < 0.7 else random_.randrange(256)])
            broken[place : place + random_.randint(0, 2)] = byte if random_.random() < 0.8 else b""
        agree(bytes(broken))


@given(st.binary(max_size=40))
@quick
def test_any_bytes_give_a_message_or_one_error(data: bytes) -> None:
    agree(data)


@given(
    st.text(
        '"\\{}[]:,019-+.eEtruefalsn \ud83d\ude00'.encode("utf-16", "surrogatepass").decode("utf-16") + "\n\x00",
        max_size=30,
    )
)
@quick
def test_content_is_checked_to_its_last_byte(text: str) -> None:
    agree(b'{"performative":"inform","receiver":"a","content":' + text.encode() + b"}")


@pytest.mark.parametrize(
    "content",
    [
        "0", "-0", "00", "01", "-", "+1", "1.", ".5", "1.5e", "1e+", "1E-07", "1e999", "-1.25e+3", "9" * 5000,
        "NaN", "Infinity", "-Infinity", "true", "tru", "truee", "false", "falsE", "null", "nul", "'a'", "/**/1", "1//",
        '""', '"\\u00', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00"', '"\\ud83d\\u0041"', '"\\x"', '"\\u00g0"',
        '"\t"', '"\x7f"', '"é€😀"', '"' + "\\u0041" * 500 + '"',
        "[]", "[ ]", "[,]", "[1,]", "[1 2]", "[}", "[[[]]]", "[" * 64 + "]" * 64, "[" * 65 + "]" * 65, "[" * 70000,
        "{}", "{ }", '{"a"}', '{"a":}', '{"a":1,}', "{1:2}", '{"a":1 "b":2}', "{]", '[{"a":[{}]}]',
        '{"a":' * 64 + "1" + "}" * 64, '{"a":' * 70000,
    ],
)  # fmt: skip
def test_content(content: str) -> None:
    agree(f'{{"performative":"inform","receiver":"a","content":{content}}}'.encode())


def test_every_truncation_is_refused() -> None:
    data = json.dumps(FULL).encode()
    for end in range(len(data)):
        assert by_native(data[:end]) is None
        if end % 7 == 0:
            assert by_twin(data[:end]) is None


FULL = {
    "performative": "request",
    "sender": "agent_1",
    "receiver": ["agent_2", "agent_3"],
    "reply_to": "agent_4",
    "content": {"action": "process_data", "text": 'ä \\ " \n'},
    "language": "json",
    "encoding": "utf-8",
    "ontology": "caxton-v1",
    "protocol": "fipa-request",
    "conversation_id": "conv_789",
    "reply_with": "msg_001",
    "in_reply_to": "msg_000",
    "reply_by": "2026-11-20T23:00:00.000Z",
    "message_id": "0193a5b2-7c1e-7d3f-8a4b-5c6d7e8f9a0b",
    "expires_at": "2026-11-20T23:00:00.123456Z",
    "priority": "high",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=1",
    "hop_count": 3,
    "params": {"x_colour": "blue"},
    "delivery": "relaxed",
}


def test_every_field_is_kept_and_written_in_order() -> None:
    envelope = agree(json.dumps(FULL).encode())
    assert envelope is not None
    assert envelope.as_dict() == FULL
    assert list(envelope.as_dict()) == twin.ORDER


@given(st.integers(1, (twin.LAST - twin.EPOCH) // timedelta(microseconds=1)), st.randoms(use_true_random=False))
@quick
def test_a_moment_is_read_as_it_is_written(us: int, random_: random.Random) -> None:
    def at(moment: str) -> Envelope | None:
        return agree(json.dumps({"performative": "inform", "receiver": "a", "reply_by": moment}).encode())

    text = twin.format_moment(us)
    envelope = at(text)
    assert envelope is not None
    assert (envelope.reply_by_us, envelope.reply_by) == (us, text)
    place = random_.randrange(len(text))
    at(text[:place] + random_.choice("0123456789-+:.TZtz ") + text[place + random_.randint(0, 1) :])


def test_numbers_beyond_a_machine_word_are_still_values() -> None:
    content = b"[1e999, -1E+400, 123456789012345678901234567890, 0.1, %s]" % (b"9" * 5000)
    envelope = Envelope.from_json(b'{"performative":"inform","receiver":"a","content":%s}' % content)
    infinite = float("inf")
    assert envelope.as_dict()["content"] == [infinite, -infinite, 123456789012345678901234567890, 0.1, infinite]


@pytest.mark.parametrize("act", [*twin.ACTS, *ALIASES])
def test_an_act_may_be_spelled_in_any_case_with_either_dash(act: str) -> None:
    for spelled in (act, act.upper(), act.title().replace("-", "_")):
        envelope = agree(json.dumps({"performative": spelled, "receiver": "a"}).encode())
        assert envelope is not None
        assert envelope.performative == ALIASES.get(act, act)
        assert envelope.act == ACT_CODES[envelope.performative]


# -- what is refused, and how it is said --


@pytest.mark.parametrize(
    ("data", "reason", "key", "position"),
    [
        (b"", "json", None, 0),
        (b"[1]", "not-object", None, 0),
        (b"{}", "performative", "performative", 0),
        (b'{"performative":"shout","receiver":"a"}', "performative", "performative", 16),
        (b'{"performative":"inform"}', "receivers", "receiver", 0),
        (b'{"performative":"inform","receiver":[]}', "receivers", "receiver", 0),
        (b'{"performative":"inform","receiver":""}', "receivers", "receiver", 0),
        (b'{"performative":"inform","receiver":null}', "receivers", "receiver", 0),
        (b'{"performative":"inform","receiver":["a",""]}', "field-length", "receiver", 41),
        (b'{"performative":"inform","receiver":{"title":"a"}}', "type", "receiver", 36),
        (b'{"performative":"inform","receiver":{"name":"a","name":"b"}}', "duplicate", "receiver", 55),
        (b'{"performative":"inform","receiver":7}', "type", "receiver", 36),
        (b'{"performative":"inform","receiver":"a","sender":["a"]}', "type", "sender", 49),
        (b'{"performative":"inform","receiver":"a","receiver":"b"}', "duplicate", "receiver", 40),
        (b'{"performative":"inform","receiver":"a","x":1,"\\u0078":2}', "duplicate", None, 46),
        (b'{"performative":"inform","receiver":"a","x":1,"params":{"x":2}}', "duplicate", "params", 40),
        (b'{"performative":"inform","receiver":"a","protocol":"p"}', "protocol", "protocol", 51),
        (b'{"performative":"inform","receiver":"a","language":1}', "type", "language", 51),
        (b'{"performative":"inform","receiver":"a","params":[]}', "type", "params", 49),
        (b'{"performative":"inform","receiver":"a","priority":5.0}', "type", "priority", 51),
        (b'{"performative":"inform","receiver":"a","hop_count":256}', "type", "hop_count", 52),
        (b'{"performative":"inform","receiver":"a","delivery":"safe"}', "type", "delivery", 51),
        (b'{"performative":"inform","receiver":"a","delivery":1}', "type", "delivery", 51),
        (b'{"performative":"inform","receiver":"a","reply_by":"soon"}', "time", "reply_by", 51),
        (b'{"performative":"inform","receiver":"a","message_id":"1"}', "message-id", "message_id", 53),
        (b'{"performative":"inform","receiver":"a\\u0000b"}', "utf8", "receiver", 36),
        (b'{"performative":"inform","receiver":"a","content":"\\ud800"}', "utf8", None, 51),
        (b'{"performative":"inform","receiver":"a","content":"\xff"}', "utf8", None, 51),
        (b'{"performative":"inform","receiver":"a","content":' + b"[" * 65 + b"]" * 65 + b"}", "depth", None, 114),
        (b'{"performative":"inform","receiver":"a","sender":"' + b"n" * 257 + b'"}', "field-length", "sender", 49),
        (b'{"performative":"inform","receiver":"a"} x', "json", None, 41),
        (b'{"performative":"inform","receiver":"a"', "json", None, 39),
        (b'{"performative":"inform" "receiver":"a"}', "json", None, 25),
    ],
)
def test_an_error_names_the_fault_the_key_and_the_byte(
    data: bytes, reason: str, key: str | None, position: int
) -> None:
    with pytest.raises(InvalidMessage) as caught:
        Envelope.from_json(data)
    details = caught.value.details
    assert (details["reason"], details.get("key"), details["position"]) == (reason, key, position)
    assert f"(byte {position})" in str(caught.value)
    with pytest.raises(twin.Refused) as refused:
        twin.read(data)
    assert refused.value.reason == reason


def test_an_error_says_what_would_be_right() -> None:
    for wrong, sentence in (
        ('"hop_count": 3.5', "hop_count: expected an integer from 0 to 255 (byte 57), found near"),
        ('"delivery": "safe"', "delivery: expected durable, relaxed or volatile (byte 56), found near"),
        ('"sender": 7', "sender: expected a name, or an object with a name (byte 54), found near"),
        (
            '"reply_by": "soon"',
            "reply_by: the time is not RFC 3339 like 2026-11-20T23:00:00Z, or not after 1970 (byte 56)",
        ),
    ):
        with pytest.raises(InvalidMessage, match=re.escape(sentence)):
            Envelope.from_json(f'{{"performative": "inform", "receiver": "a", {wrong}}}'.encode())


@given(
    messages(),
    st.fixed_dictionaries(
        {"max_depth": st.integers(0, 3), "max_name": st.integers(1, 4), "max_receivers": st.integers(1, 2)},
        optional={"max_size": st.integers(0, 200)},
    ),
)
@quick
def test_both_keep_the_same_limits(data: bytes, limits: dict[str, int]) -> None:
    agree(data, **limits)


def test_limits_are_the_callers() -> None:
    small = b'{"performative":"inform","receiver":["ab","cd"],"content":[[1]]}'
    for limits in ({"max_size": len(small)}, {"max_name": 2}, {"max_depth": 2}, {"max_receivers": 2}):
        assert agree(small, **limits) is not None
    for limits in ({"max_size": len(small) - 1}, {"max_name": 1}, {"max_depth": 1}, {"max_receivers": 1}):
        assert agree(small, **limits) is None
    with pytest.raises(MessageTooLarge, match=f"has {len(small)} bytes, the limit is 10") as caught:
        Envelope.from_json(small, max_size=10)
    assert caught.value.status == 413


def test_receivers_are_a_set_of_at_most_a_thousand_and_twenty_four() -> None:
    def to(count: int) -> bytes:
        return json.dumps(
            {"performative": "inform", "receiver": [f"agent-{i % count}" for i in range(count + 40)]}
        ).encode()

    envelope = agree(to(1024))
    assert envelope is not None
    assert len(envelope.receivers) == 1024
    assert agree(to(1025)) is None


def test_at_most_sixty_four_unknown_keys_are_carried() -> None:
    def extras(count: int) -> bytes:
        return json.dumps({"performative": "inform", "receiver": "a", **{f"x_{i}": i for i in range(count)}}).encode()

    envelope = agree(extras(64))
    assert envelope is not None
    assert len(envelope.as_dict()["params"]) == 64
    assert agree(extras(65)) is None


def test_an_unknown_key_is_as_deep_as_it_is_in_params() -> None:
    def nested(depth: int) -> bytes:
        return b'{"performative":"inform","receiver":"a","x":%s1%s}' % (b"[" * depth, b"]" * depth)

    for depth in (62, 63):
        assert agree(nested(depth)) is not None
    for depth in (64, 65):
        assert agree(nested(depth)) is None
    assert agree(nested(1), max_depth=2) is not None
    assert agree(nested(1), max_depth=1) is None
    assert agree(nested(0), max_depth=0) is None


def test_white_space_is_not_kept_while_the_message_waits() -> None:
    padded = b" " * 100_000 + b'{"performative":"inform","receiver":"a"}' + b"\n" * 100_000
    envelope = agree(padded)
    assert envelope is not None
    assert envelope.size < 500


# -- frames --

received = messages().map(by_native).filter(lambda envelope: envelope is not None)


@pytest.mark.slow
@given(received, st.randoms(use_true_random=False))
@quick
def test_a_damaged_frame_is_a_message_or_an_error(envelope: Envelope, random_: random.Random) -> None:
    frame = envelope.to_frame()
    for _ in range(20):
        flipped = bytearray(frame)
        for _ in range(random_.randint(1, 2)):
            flipped[random_.randrange(random_.choice([120, len(frame)]))] = random_.choice(
                [*BYTES, random_.randrange(256)]
            )
        frames_agree(bytes(flipped))


def test_every_truncation_and_every_flipped_bit_of_a_frame() -> None:
    frame = Envelope.from_json(json.dumps(FULL).encode()).to_frame()
    for end in range(len(frame)):
        with pytest.raises(InvalidMessage, match="frame is cut short"):
            Envelope.from_frame(frame[:end])
    for bit in range(0, len(frame) * 8, 5):
        flipped = bytearray(frame)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        frames_agree(bytes(flipped))


@given(st.binary(max_size=300))
@quick
def test_any_bytes_give_a_frame_or_an_error(data: bytes) -> None:
    frames_agree(data)
    frames_agree(twin.MAGIC + data)


def test_a_frame_cannot_smuggle_in_what_json_could_not_say() -> None:
    good = twin.Message(performative="inform", receiver=("a",), content="1")
    assert seen(Envelope.from_frame(twin.write_frame(good))) == good
    for bad in (
        {"content": '1,"sender":"ams"'},
        {"content": " 1"},
        {"content": "null"},
        {"content": '"\\ud83d"'},
        {"content": "[" * 65 + "]" * 65},
        {"params": "[]"},
        {"params": '{"a":1'},
        {"receiver": ("a", "a")},
        {"receiver": ("a", "")},
        {"sender": "a\0b"},
        {"sender": "n" * 257},
        {"protocol": "p"},
        {"reply_by": -5},
        {"expires_at": 1 << 62},
        {"argument": 7},
        {"kind": "timer", "performative": None, "receiver": (), "content": None, "delivery": "durable"},
    ):
        frame = twin.write_frame(replace(good, **bad))
        with pytest.raises((InvalidMessage, twin.Refused)):
            twin.read_frame(frame)
        with pytest.raises(InvalidMessage) as caught:
            Envelope.from_frame(frame)
        assert caught.value.details["reason"] == "frame"


def test_a_turn_of_the_platform_crosses_in_a_frame() -> None:
    timer = Envelope.control("timer", 41)
    assert (timer.kind, timer.argument, timer.performative) == ("timer", 41, None)
    assert Envelope.from_frame(timer.to_frame()) == timer
    assert seen(timer) == twin.read_frame(timer.to_frame())
    assert timer.as_dict() == {"turn": "timer", "argument": 41}


# -- the sender, the stamp, the Python face --


@given(
    messages().map(by_native).filter(lambda envelope: envelope is not None),
    names.filter(lambda name: name and "\0" not in name),
)
@quick
def test_the_runtime_names_the_sender(envelope: Envelope, name: str) -> None:
    before = envelope.to_json()
    renamed = envelope.with_sender(name)
    assert seen(renamed) == replace(seen(envelope), sender=name)
    assert renamed.with_sender("x" * 200).with_sender(name) == renamed
    assert envelope.to_json() == before
    assert Envelope.from_json(renamed.to_json()) == renamed


def test_a_stamp_is_a_version_7_uuid_and_stays() -> None:
    ids: list[str] = []

    def stamp_all() -> None:
        for now_us in [1763766000123456] * 50 + [1763766000123000] * 50 + [1763766999000000]:
            envelope = Envelope.make(performative="inform", receiver="a")
            assert envelope.message_id is None
            envelope.stamp(now_us)
            assert envelope.message_id is not None
            ids.append(envelope.message_id)
            envelope.stamp(now_us + 10**9)
            assert envelope.message_id == ids[-1]

    # a thread never goes back behind the latest time that it has stamped; another test may have stamped later ones here
    thread = threading.Thread(target=stamp_all)
    thread.start()
    thread.join()
    assert len(ids) == 101
    assert ids == sorted(set(ids))
    assert all(id_[14] == "7" and id_[19] in "89ab" for id_ in ids)
    assert int(ids[-1].replace("-", "")[:12], 16) == 1763766999000


@pytest.mark.parametrize("said", ["durable", "relaxed", "volatile"])
def test_a_message_says_how_safe_it_is(said: str) -> None:
    for spelled in (said, said.upper(), said.title()):
        envelope = agree(json.dumps({"performative": "inform", "receiver": "a", "delivery": spelled}).encode())
        assert envelope is not None
        assert envelope.delivery == said
        assert envelope.as_dict() == {"performative": "inform", "receiver": "a", "delivery": said}
        assert envelope.to_frame()[15] == ["durable", "relaxed", "volatile"].index(said) + 1
        assert envelope.with_sender("a name that does not fit the room " * 5).delivery == said
        assert envelope.again().delivery == said
    unsaid = Envelope.make(performative="inform", receiver="a")
    assert unsaid.delivery is None
    assert unsaid != envelope
    assert Envelope.make(performative="inform", receiver="a", delivery=None) == unsaid


def test_a_frame_with_an_unknown_delivery_is_refused() -> None:
    frame = bytearray(Envelope.make(performative="inform", receiver="a").to_frame())
    assert frame[15] == 0
    for byte in range(256):
        frame[15] = byte
        if byte < 4:
            assert Envelope.from_frame(frame).delivery == twin.DELIVERIES[byte]
        else:
            with pytest.raises(InvalidMessage) as caught:
                Envelope.from_frame(frame)
            assert caught.value.details["reason"] == "frame"
        frames_agree(bytes(frame))


def test_another_delivery_says_so() -> None:
    first = Envelope.make(performative="inform", receiver="a", hop_count=2)
    second = first.again()
    assert second.as_dict() == {**first.as_dict(), "delivery_attempt": 2, "redelivered": True}
    assert second.again().delivery_attempt == 3
    assert first.delivery_attempt == 0
    # the first delivery is 0; whatever is above says that there was one before
    once = bytearray(first.to_frame())
    for attempt in (1, 2, 300):
        once[16:20] = attempt.to_bytes(4, "little")
        counted = Envelope.from_frame(once)
        assert counted.as_dict() == {**first.as_dict(), "delivery_attempt": attempt, "redelivered": True}
        assert Envelope.from_json(counted.to_json()).delivery_attempt == 0
    # what the platform says of one delivery is not part of the message: read over, and not equal or unequal
    assert agree(second.to_json()) == first == second
    assert Envelope.from_frame(second.to_frame()).delivery_attempt == 2


def test_a_message_is_built_from_fields() -> None:
    envelope = Envelope.make(performative="query", sender="a", receiver=["b", "c"], content=b'{"x": [1]}', priority=9)
    assert envelope.as_dict() == {
        "performative": "query-ref",
        "sender": "a",
        "receiver": ["b", "c"],
        "content": {"x": [1]},
        "priority": "high",
    }
    assert repr(envelope) == "<Envelope query-ref a -> b, c, 10 bytes of content>"
    assert envelope != Envelope.make(performative="query", sender="a", receiver="b")
    assert envelope != "a message"
    with pytest.raises(InvalidMessage):
        Envelope.make(performative="inform", receiver="a", content=b'1,"sender":"ams"')
    with pytest.raises(TypeError):
        Envelope()


@pytest.mark.parametrize(
    "data", [bytearray(b'{"performative":"cfp","receiver":"a"}'), memoryview(b'{"performative":"cfp","receiver":"a"}')]
)
def test_any_buffer_will_do(data: bytearray | memoryview) -> None:
    assert Envelope.from_json(data).performative == "cfp"
