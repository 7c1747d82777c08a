"""JSON that others have written, nested far too deep: each door says no, as it does to what is no JSON."""

from collections.abc import Callable
from typing import Any

import pytest

from caxton.bus.subscriptions import subscribe
from caxton.core.answer import Unanswered
from caxton.core.directory.facilitator import _query
from caxton.core.directory.requests import read_request
from caxton.core.errors import InvalidConfig, InvalidRequest
from caxton.core.manifest import parse_agent_config
from caxton.core.negotiation.messages import keep_json, read_json
from caxton.core.negotiation.task import read_order
from caxton.core.tools import decode_request
from caxton.runtime.replica import declared_capabilities

DEPTH = 100_000
DEEP = b'{"x":%s%s}' % (b"[" * DEPTH, b"]" * DEPTH)

DOORS: list[tuple[Callable[[bytes], Any], type[Exception]]] = [
    (lambda text: read_request(text, ()), Unanswered),
    (_query, Unanswered),
    (parse_agent_config, InvalidConfig),
    (read_order, InvalidRequest),
    (decode_request, InvalidRequest),
    (lambda text: subscribe(None, 1, text), InvalidRequest),  # type: ignore[arg-type]  # it does not come so far
]


@pytest.mark.parametrize(("door", "error"), DOORS)
@pytest.mark.parametrize("text", [DEEP, b"{", b'{"\xff": 1}'])
def test_what_cannot_be_read_is_refused(door: Callable[[bytes], Any], error: type[Exception], text: bytes) -> None:
    with pytest.raises(error):
        door(text)


@pytest.mark.parametrize("text", [DEEP, b"{", b'{"\xff": 1}'])
def test_or_says_nothing(text: bytes) -> None:
    assert declared_capabilities(text) == ()
    assert read_json(text) is None
    assert bytes(keep_json(text)).startswith(b'"{')
