"""The framing of batches: any bytes are a list of texts or one named error."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton.api.batch import BrokenBatch, join_batch, split_batch
from caxton.api.stream import Close, read_ack, split_frame


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300)))
def test_what_is_joined_is_split(bodies: list[bytes]):
    assert split_batch(join_batch(bodies)) == bodies


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_a_batch_or_broken(frame: bytes):
    try:
        bodies = split_batch(frame)
    except BrokenBatch:
        return
    assert join_batch(bodies) == frame


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1), st.data())
def test_a_frame_cut_inside_a_record_is_broken(bodies: list[bytes], data: st.DataObject):
    frame = join_batch(bodies)
    last = len(frame) - len(bodies[-1]) - 4
    with pytest.raises(BrokenBatch):
        split_batch(frame[: data.draw(st.integers(last + 1, len(frame) - 1))])


def test_what_is_nested_too_deep_ends_the_connection():
    with pytest.raises(Close):
        split_frame("[" * 100_000)
    assert read_ack(b'{"message_ids": ' + b"[" * 100_000) is None


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60) | st.text('[]{}",1 \\', max_size=30))
def test_any_frame_holds_texts_or_ends_the_connection(frame: str | bytes):
    ending: Close | None = None
    try:
        for text in split_frame(frame):
            read_ack(text)
    except Close as close:
        ending = close
    assert ending is None or (ending.code == 1007 and len(ending.reason.encode()) <= 123)
