"""What the content of an act needs: the table, and the native check that reads the same one."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton._fast.envelope import Envelope
from caxton._fast.tracker import Tracker
from caxton.core.performatives import Performative as Act
from caxton.core.shapes import SHAPES, fits, told

NAMES = sorted({name for ways in SHAPES.values() for members in ways for name in members})
TRACKER = Tracker()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('a"\\{}[],:ü', max_size=5) | st.sampled_from(NAMES),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, 'a"b', "\\"]), inner, max_size=3)
    ),
    max_leaves=12,
)
CONTENTS = JSON | st.dictionaries(st.sampled_from([*NAMES, 'other"', "\\"]), JSON, max_size=4)


def natively(act: Act, content: bytes) -> bool:
    head = b'{"performative":"%s","receiver":"b","language":"json","content":' % act.value.encode()
    return TRACKER.content_fits(Envelope.from_json(head + content + b"}"))


@pytest.mark.parametrize(
    ("act", "content", "expected"),
    [
        (Act.REQUEST, {"action": {"name": "move"}}, True),
        (Act.REQUEST, {"what": 1}, False),
        (Act.REQUEST, ["action"], False),
        (Act.REQUEST, "action", False),
        (Act.REQUEST_WHEN, {"action": 1}, False),
        (Act.REQUEST_WHEN, {"condition": {"action": 2}}, False),
        (Act.REQUEST_WHEN, {"condition": {"x": [{"}": "]"}]}, "action": 1}, True),
        (Act.INFORM, {"done": 1}, True),
        (Act.INFORM, {"proposition": 1}, True),
        (Act.INFORM, {}, False),
        (Act.REFUSE, {"reason": "no", "action": None}, True),
    ],
)
def test_members_make_the_shape(act: Act, content: Any, expected: bool) -> None:
    assert fits(act, content) is expected
    assert natively(act, msgspec.json.encode(content)) is expected


@pytest.mark.slow
@given(act=st.sampled_from(list(Act)), content=CONTENTS, spaced=st.booleans())
def test_both_checks_give_one_answer(act: Act, content: Any, spaced: bool) -> None:
    text = msgspec.json.encode(content)
    assert natively(act, msgspec.json.format(text, indent=2) if spaced else text) is fits(act, content)


def test_every_act_has_a_shape_and_says_it() -> None:
    assert set(SHAPES) == set(Act)
    assert told(Act.FAILURE) == "the content of failure in language json is an object with `action` and `reason`"
    assert " or " in told(Act.INFORM)


def test_a_message_without_content_has_not_the_shape() -> None:
    message = Envelope.from_json(b'{"performative":"request","receiver":"b","language":"json"}')
    assert not TRACKER.content_fits(message)
