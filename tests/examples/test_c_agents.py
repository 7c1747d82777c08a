"""What the C examples do, message by message, and that their sources still build into what is committed."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import build
from tests.examples.guest import Guest

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
contents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


def agent(name: str) -> Guest:
    return Guest(build.source(name).with_suffix(".wasm"))


@settings(max_examples=100, deadline=None)
@given(sender=names, content=contents, conversation=names, reply_with=names)
def test_echo_gives_back_whatever_it_got(sender: str, content: Any, conversation: str, reply_with: str) -> None:
    echo = agent("echo")
    message = {"sender": sender, "content": content, "conversation_id": conversation, "reply_with": reply_with}
    assert echo.handle({"performative": "request", "receiver": "echo", **message}) == 0
    answer = {"receiver": sender, "content": content, "conversation_id": conversation, "in_reply_to": reply_with}
    assert echo.sent == [{"performative": "inform", **answer}]


def test_echo_honours_reply_to_and_keeps_the_protocol() -> None:
    echo = agent("echo")
    echo.handle({"performative": "query-ref", "sender": "a", "reply_to": ["b", "c"], "protocol": "fipa-query"})
    assert echo.sent == [{"performative": "inform", "receiver": ["b", "c"], "protocol": "fipa-query"}]


def test_echo_reads_json_with_spaces_anywhere() -> None:
    echo = agent("echo")
    echo.handle(b' { "performative" :\t"request" , "content" : [ 1 , { "a" : "}" } ] ,\r\n "sender" : "x" } ')
    assert echo.sent == [{"performative": "inform", "receiver": "x", "content": [1, {"a": "}"}]}]


@pytest.mark.parametrize("performative", ["failure", "not-understood"])
def test_echo_does_not_answer_complaints(performative: str) -> None:
    echo = agent("echo")
    assert echo.handle({"performative": performative, "sender": "x"}) == 0
    assert echo.sent == []


def test_echo_grows_for_a_large_message_and_stays_sound() -> None:
    echo = agent("echo")
    for size in (10, 1_000_000, 10, 900_000):
        echo.handle({"performative": "request", "sender": "x", "content": "y" * size})
        assert len(echo.sent[-1]["content"]) == size
    pages = echo.memory.size(echo.store)
    for _ in range(10):
        echo.handle({"performative": "request", "sender": "x", "content": "y" * 1_000_000})
    assert echo.memory.size(echo.store) == pages


def test_no_cut_message_makes_a_guest_trap() -> None:
    whole = b'{"performative":"request","sender":"a\\"b","content":{"x":[1,"\\u00e9"]},"reply_with":"r"}'
    for name in build.AGENTS:
        guest = agent(name)
        guest.send_result = -1  # as the host does with what is no message
        for end in range(len(whole)):
            assert guest.handle(whole[:end]) in (0, -1)


def test_pong_answers_requests_only() -> None:
    pong = agent("pong")
    pong.handle({"performative": "inform", "sender": "ping"})
    pong.handle({"performative": "request", "sender": "ping", "conversation_id": "c", "reply_with": "7"})
    answer = {"receiver": "ping", "conversation_id": "c", "in_reply_to": "7", "content": "pong"}
    assert pong.sent == [{"performative": "inform", **answer}]
    assert pong.logged == ["Received ping, sending pong back"]


def test_ping_serves_at_its_start_and_at_each_answer() -> None:
    ping = agent("ping")
    assert [message["reply_with"] for message in ping.sent] == ["1"]
    for number in ("1", "2"):
        ping.handle({"performative": "inform", "sender": "pong", "in_reply_to": number})
    assert [message["reply_with"] for message in ping.sent] == ["1", "2", "3"]
    assert ping.logged == ["Sending ping to pong", *["Received pong, sending ping to pong"] * 2]


def test_ping_ignores_late_and_doubled_answers() -> None:
    ping = agent("ping")
    for number in ("1", "1", "0", "x", ""):
        ping.handle({"performative": "inform", "sender": "pong", "in_reply_to": number})
    ping.handle({"performative": "inform", "sender": "pong"})
    assert [message["reply_with"] for message in ping.sent] == ["1", "2"]


def test_ping_serves_again_when_nobody_answers() -> None:
    ping = agent("ping")
    handle_timer = ping.exports["handle_timer"]
    assert ping.timers == 1
    handle_timer(ping.store, 1)
    assert [message["reply_with"] for message in ping.sent] == ["1", "2"]
    handle_timer(ping.store, 1)  # of an earlier life: its own is 2 by now
    ping.handle({"performative": "inform", "sender": "pong", "in_reply_to": "2"})
    handle_timer(ping.store, 2)  # an answer came: nothing to serve again
    assert [message["reply_with"] for message in ping.sent] == ["1", "2", "3"]
    assert ping.timers == 3


def test_logging_is_rare_at_full_speed() -> None:
    pong = agent("pong")
    for turn in range(10_000):
        pong.now = turn * 100  # µs: 10,000 messages in one second
        pong.handle({"performative": "request", "sender": "ping"})
    assert 10 <= len(pong.logged) <= 16


@pytest.mark.slow
@pytest.mark.parametrize("name", build.AGENTS)
def test_the_committed_agent_is_what_its_source_says(name: str, tmp_path: Path) -> None:
    messages: list[dict[str, Any]] = [
        {"performative": "request", "sender": "a", "content": {"k": 'q"\\'}, "reply_with": "1", "conversation_id": "c"},
        {"performative": "inform", "sender": "pong", "in_reply_to": "1"},
        {"performative": "failure", "sender": "ams"},
        {"performative": "request", "sender": "b", "content": "z" * 100_000},
    ]
    committed, rebuilt = agent(name), Guest(build.build(name, tmp_path))
    for guest in (committed, rebuilt):
        assert [guest.handle(message) for message in messages] == [0, 0, 0, 0]
    assert committed.sent == rebuilt.sent
    assert committed.logged == rebuilt.logged


@pytest.mark.slow
def test_the_header_decodes_and_writes_strings_as_json_says(tmp_path: Path) -> None:
    wasm = tmp_path / "probe.wasm"
    source = Path(__file__).with_name("json_probe.c")
    subprocess.run([*build.COMMAND, "-Wno-unused-function", "-o", str(wasm), str(source)], check=True)
    probe = Guest(wasm)

    @settings(max_examples=300, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.booleans())
    def check(content: str, escaped: bool) -> None:

        probe.handle(json.dumps({"a": {"content": 1}, "content": content}, ensure_ascii=escaped).encode())
        assert probe.sent[-1] == {"performative": "inform", "size": len(content.encode()), "content": content}

    check()
    for raw in (b"7", b"null", b'{"x":"y"}', rb'"\ud800"', rb'"\u12"', rb'"\u12zz"'):
        probe.handle(b'{"content":' + raw + b"}")
    assert [answer["size"] for answer in probe.sent[-6:]] == [-1, -1, -1, -1, -1, -1]
