"""Names of tools, who may call them, and what comes of a call."""

from typing import Any

import pytest

from caxton.core.errors import Forbidden, InvalidRequest, NotFound
from caxton.core.tools import ToolRequest, answer_of, check_allowed, decode_request, find_tool, words_of

OFFERS = {"web": ("search", "fetch"), "files": ("read", "search"), "a": ("b.c", "x"), "b": ("c",)}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("web.fetch", ("web", "fetch")),
        ("fetch", ("web", "fetch")),
        ("a.b.c", ("a", "b.c")),
        ("b.c", ("b", "c")),  # a whole name before a tool's own
        ("files.search", ("files", "search")),
    ],
)
def test_a_name_finds_its_tool(asked: str, found: tuple[str, str]) -> None:
    assert find_tool(asked, OFFERS) == found


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("search", "2 servers have a tool 'search'; say web.search or files.search"),
        ("web.read", "the tool server 'web' has no tool 'read'; it has fetch, search"),
        ("wib.read", "there is no tool 'wib.read'; there are a.b.c, a.x, b.c, files.read, files.search, web.fetch"),
        ("", "there is no tool ''"),
    ],
)
def test_a_name_that_finds_none_says_what_there_is(asked: str, said: str) -> None:
    with pytest.raises(NotFound) as raised:
        find_tool(asked, OFFERS)
    assert str(raised.value).startswith(said)


def test_many_names_are_not_all_said() -> None:
    with pytest.raises(NotFound, match=r"tool0, s\.tool1, s\.tool10, .* and 15 more$"):
        find_tool("x", {"s": [f"tool{i}" for i in range(25)]})


@pytest.mark.parametrize(
    ("patterns", "server", "tool", "is_allowed"),
    [
        ((), "web", "fetch", False),
        (("web.fetch",), "web", "fetch", True),
        (("web.*",), "web", "fetch", True),
        (("web.*",), "files", "read", False),
        (("*",), "files", "read", True),
        (("fetch",), "web", "fetch", True),
        (("search",), "web", "search", False),  # two have it: the name stands for neither
        (("FETCH", "Web.fetch"), "web", "fetch", False),
        (("b.c",), "b", "c", True),
        (("b.c",), "a", "b.c", False),
    ],
)
def test_an_agent_calls_what_its_configuration_names(
    patterns: tuple[str, ...], server: str, tool: str, is_allowed: bool
) -> None:
    if is_allowed:
        check_allowed("ann", patterns, server, tool, OFFERS)
        return
    with pytest.raises(Forbidden) as raised:
        check_allowed("ann", patterns, server, tool, OFFERS)
    may = "may call " + ", ".join(sorted(patterns)) if patterns else "may call no tools"
    assert str(raised.value) == f"the agent 'ann' {may}, and asked for {server}.{tool}"
    assert f'"{server}.{tool}"]' in raised.value.hint


def test_a_request_is_read() -> None:
    assert decode_request(b'{"tool":"x"}') == ToolRequest(tool="x")
    found = decode_request(b'{"tool":"x","arguments":{"a":[1]},"timeout_ms":2.5,"full":true,"more":1}')
    assert found == ToolRequest(tool="x", arguments={"a": [1]}, timeout_ms=2.5, full=True)


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"\xff", b'{"tool":1}', b'{"tool":"x","arguments":[]}', b'{"tool":"x","timeout_ms":-1}',
     b'{"tool":"x","timeout_ms":1e300}', b'{"tool":"\xff"}', b'{"tool":"x","arguments":' + b'{"a":' * 20_000],
)  # fmt: skip
def test_or_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_request(text)


CONTENT = [{"type": "text", "text": "a"}, {"type": "image", "data": ""}, {"type": "text", "text": "b"}]


# Any: JSON
@pytest.mark.parametrize(
    ("result", "plain", "full"),
    [
        ({"content": CONTENT, "isError": False}, {"content": CONTENT}, {"content": CONTENT}),
        (
            {"content": CONTENT, "structuredContent": {"a": 1}, "_meta": {}},
            {"a": 1},
            {"content": CONTENT, "structuredContent": {"a": 1}},
        ),
    ],
)
def test_what_the_caller_gets(result: dict[str, Any], plain: Any, full: Any) -> None:
    assert (answer_of(result, False), answer_of(result, True)) == (plain, full)
    assert words_of(result) == "a\nb"
