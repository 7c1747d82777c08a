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

NAMES = sorted(frozenset[str]().union(*SHAPES.values()))
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
        (Act.CFP, {"action": {"name": "move"}}, True),
        (Act.CFP, {"what": 1}, False),
        (Act.CFP, ["action"], False),
        (Act.CFP, "action", False),
        (Act.PROPOSE, {"price": 7}, False),
        (Act.PROPOSE, {"action": {"price": 7}}, True),
        (Act.REQUEST_WHEN, {"action": 1}, False),
        (Act.REQUEST_WHEN, {"condition": {"action": 2}}, False),
        (Act.REQUEST_WHEN, {"condition": {"x": [{"}": "]"}]}, "action": 1}, True),
        (Act.INFORM, {"price": 7}, True),
        (Act.INFORM, [1, 2], True),
        (Act.REQUEST, {"what": 1}, True),
        (Act.QUERY_REF, "price", True),
        (Act.AGREE, None, True),
        (Act.REFUSE, {"reason": "no", "action": None}, True),
        (Act.REFUSE, {"reason": "no"}, True),
        (Act.FAILURE, {"error": "no"}, False),
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


def test_what_would_be_right_is_said() -> None:
    assert told(Act.FAILURE) == "the content of failure in language json is an object with `reason`"
    assert told(Act.PROXY) == "the content of proxy in language json is an object with `message` and `target`"


@pytest.mark.parametrize(("act", "expected"), [(Act.CFP, False), (Act.ACCEPT_PROPOSAL, True), (Act.AGREE, True)])
def test_a_message_without_content(act: Act, expected: bool) -> None:
    message = Envelope.from_json(b'{"performative":"%s","receiver":"b","language":"json"}' % act.value.encode())
    assert TRACKER.content_fits(message) is expected
