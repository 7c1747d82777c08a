"""The native envelope held against its specification, tests/oracles/envelope.py: on one text, on one frame.

For the tests beside it and for the fuzz targets, so it knows no test runner.
"""

from caxton._fast.envelope import Envelope
from caxton.core.errors import InvalidMessage, MessageTooLarge
from tests.oracles import envelope as twin

Buffer = bytes | memoryview
# what a text can be refused for, but for its size
REASONS = {
    *("json", "not-object", "utf8", "depth", "duplicate", "type", "field-length"),
    *("performative", "receivers", "time", "message-id", "protocol"),
}


def seen(envelope: Envelope) -> twin.Message:
    """A native message as the twin says it."""

    def text(raw: bytes | None) -> str | None:
        return None if raw is None else raw.decode()

    def several(found: str | list[str] | None) -> tuple[str, ...]:
        return () if found is None else (found,) if isinstance(found, str) else tuple(found)

    words = {
        name: getattr(envelope, name)
        for name in (*twin.STRINGS, "sender", "performative", "message_id", "priority", "delivery")
    }
    return twin.Message(
        receiver=several(envelope.receiver),
        reply_to=several(envelope.reply_to),
        content=text(envelope.content),
        params=text(envelope.params),
        reply_by=envelope.reply_by_us,
        expires_at=envelope.expires_at_us,
        hop_count=envelope.hop_count,
        kind=envelope.kind,
        argument=envelope.argument,
        **words,
    )


def by_twin(data: bytes, **limits: int) -> twin.Message | None:
    try:
        return twin.read(data, twin.Limits(**limits))
    except twin.Refused:
        return None


def by_native(data: Buffer, **limits: int) -> Envelope | None:
    try:
        return Envelope.from_json(data, **limits)
    except InvalidMessage as error:
        details = error.details
    except MessageTooLarge:
        return None
    assert 0 <= details["position"] <= len(data), details
    assert details["reason"] in REASONS, details
    return None


def agree(data: Buffer, **limits: int) -> Envelope | None:
    """Both accept with the same value, or both refuse."""
    expected, found = by_twin(bytes(data), **limits), by_native(data, **limits)
    assert (None if found is None else seen(found)) == expected
    if found is not None and expected is not None and not limits:
        assert found.to_json() == twin.write(expected)
        assert Envelope.from_json(found.to_json()) == found
        assert found.to_frame() == twin.write_frame(expected)
        assert Envelope.from_frame(found.to_frame()) == found
    return found


def frames_agree(frame: Buffer) -> Envelope | None:
    """Both accept the frame with the same value, or both refuse; what is accepted is written as the same bytes."""
    try:
        expected = twin.read_frame(bytes(frame))
    except twin.Refused:
        expected = None
    found, reason = None, "frame"
    try:
        found = Envelope.from_frame(frame)
    except InvalidMessage as error:
        reason = error.details["reason"]
    except MessageTooLarge:
        pass
    assert reason == "frame"
    assert (None if found is None else seen(found)) == expected
    if found is not None:
        assert found.to_frame() == frame
        assert Envelope.from_frame(found.to_frame()) == found
        if found.kind == "message":
            assert Envelope.from_json(found.to_json()) == found
    return found
