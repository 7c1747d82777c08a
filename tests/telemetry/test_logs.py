"""The log: what a line looks like in each format, and that it never raises."""

import base64
import io
import json
import logging
from collections.abc import Iterator
from typing import Literal
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.telemetry import logs
from caxton.telemetry.logs import TRACE, CompactFormatter, JsonFormatter, PrettyFormatter, configure

log = logging.getLogger("caxton.test")


@pytest.fixture(autouse=True)
def the_root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def lines(level: str, format: str, **values: object) -> list[str]:
    stream = io.StringIO()
    configure(level, format, stream=stream)  # type: ignore[arg-type]  # the cases are literals
    log.info("agent started", extra=values)
    return stream.getvalue().splitlines()


def test_json_is_one_object_per_line() -> None:
    (line,) = lines("info", "json", agent="ping", replicas=3)
    record = msgspec.json.decode(line)
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "level": "info",
        "logger": "caxton.test",
        "message": "agent started",
        "agent": "ping",
        "replicas": 3,
    }


def test_compact_is_one_line_for_people() -> None:
    (line,) = lines("info", "compact", agent="ping", reason="it is odd")
    assert line.split(" ", 1)[1] == 'info  caxton.test: agent started agent=ping reason="it is odd"'


def test_pretty_puts_values_below() -> None:
    first, second = lines("info", "pretty", agent="ping")
    assert first.endswith("INFO  agent started  (caxton.test)")
    assert second.strip() == "agent: ping"


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("trace", ["trace", "debug", "info", "warn", "error", "error"]),
        ("info", ["info", "warn", "error", "error"]),
        ("error", ["error", "error"]),
    ],
)
def test_levels(level: Literal["trace", "info", "error"], heard: list[str]) -> None:
    stream = io.StringIO()
    configure(level, "json", stream=stream)
    for number in (TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        log.log(number, "x")
    assert [msgspec.json.decode(line)["level"] for line in stream.getvalue().splitlines()] == heard


@pytest.mark.parametrize("format", ["json", "compact", "pretty"])
def test_exceptions_are_told(format: Literal["json", "compact", "pretty"]) -> None:
    stream = io.StringIO()
    configure("info", format, stream=stream)
    log.error("could not write", exc_info=RuntimeError("disk full"))
    text = stream.getvalue()
    assert "RuntimeError: disk full" in text
    assert format == "pretty" or text.count("\n") == 1


def test_configuring_again_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("info", "json", stream=first)
    configure("info", "json", stream=second)
    log.info("x")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def test_a_closed_stream_is_nobody_s_emergency() -> None:
    stream = io.StringIO()
    configure("info", "json", stream=stream)
    stream.close()
    log.info("x")


VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=5,
)


@given(st.text(st.characters()), VALUES)
def test_any_value_makes_one_line(message: str, value: object) -> None:
    record = logging.makeLogRecord({"name": "n", "msg": "%s", "args": (message,), "levelname": "INFO", "levelno": 20})
    record.value = value
    line = JsonFormatter(colour=False).format(record)
    assert "\n" not in line
    assert isinstance(msgspec.json.decode(line), dict | str)
    CompactFormatter(colour=True).format(record)
    PrettyFormatter(colour=True).format(record)


@pytest.mark.parametrize("format", ["json", "pretty", "compact"])
def test_a_secret_is_in_no_line(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_hidden", set())
    monkeypatch.setattr(logs, "_hiding", None)
    logs.hide(['hunt"er2', "hunter-and-more", "hunter", "of"])
    text = "\n".join(lines("info", format, held=['hunt"er2'], also="xhunter-and-more", short="of"))
    assert "hunt" not in text
    assert "-and-more" not in text
    assert "of" in text


def test_a_secret_is_hidden_however_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_hidden", set())
    monkeypatch.setattr(logs, "_hiding", None)
    secret = 'pa ss/w"o\u00fcrd+1'
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"
    logs.hide([secret, key])
    forms = [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        base64.b64encode(secret.encode()).decode(),
        base64.urlsafe_b64encode(secret.encode()).decode(),
        json.dumps(secret, ensure_ascii=False),
        repr({"a": secret}),
        key,
        "found hkiG9w0BAQEFAASC there",
        base64.b64encode(key.encode()).decode(),
    ]
    for name in ("json", "compact", "pretty"):
        stream = io.StringIO()
        logs.configure("info", name, stream=stream)  # type: ignore[arg-type]
        for form in forms:
            logging.getLogger("caxton.test").info("it is %s.", form, extra={"value": form})
        text = stream.getvalue()
        assert text.count("***") >= 2 * len(forms), text
        for part in ("ss/w", "w%22o", "hkiG9w0BAQ", "LS0tLS1CRUdJTiBLRVkt", "cGEgc3Mvd"):
            assert part not in text, (name, part)
