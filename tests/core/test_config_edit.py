"""A key is changed in a file, and nothing else is."""

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton.core.config import build_config, flag_value, nested, value_in
from caxton.core.config_edit import set_key
from caxton.core.config_text import decode
from caxton.core.config_tree import leaves, values
from caxton.core.errors import InvalidConfig


def change(text: str, name: str, key: str, value: str) -> str:
    wanted = value_in(nested(key, flag_value(value)), key)
    return set_key(text, name, key, value, lambda tree: value_in(tree, key) == wanted)


def changed_lines(before: str, after: str) -> list[str]:
    rows = difflib.ndiff(before.splitlines(), after.splitlines())
    return [row for row in rows if row[:2] in ("- ", "+ ")]


YAML = """\
# at the top
server:
  # the door
  port: 8080    # REST
  host: 'localhost'

messaging: {queue_size: 100, retry_delay: 1s}
security:
  cors:
    allowed_origins:
    - a   # one
    - b
    # no more
    max_age: 3600
runtime:
# the end
"""

TOML = """\
# at the top
[server]
port = 8080    # REST
host = "localhost"

# speaks of runtime
[runtime]
max_agents = 5

[observability]
logging = {level = "info"}
[security.cors]
allowed_origins = [
  "a",  # one
  "b",
]
"""


@pytest.mark.parametrize(
    ("key", "value", "lines"),
    [
        ("server.port", "9000", ["-   port: 8080    # REST", "+   port: 9000    # REST"]),
        ("server.host", "no", ["-   host: 'localhost'", '+   host: "no"']),
        ("server.metrics_port", "0", ["+   metrics_port: 0"]),
        ("server.tls.enabled", "false", ["+   tls:", "+     enabled: false"]),
        (
            "messaging.queue_size",
            "50",
            [
                "- messaging: {queue_size: 100, retry_delay: 1s}",
                "+ messaging: {queue_size: 50, retry_delay: 1s}",
            ],
        ),
        (
            "messaging.dedup_size",
            "5",
            [
                "- messaging: {queue_size: 100, retry_delay: 1s}",
                "+ messaging: {queue_size: 100, retry_delay: 1s, dedup_size: 5}",
            ],
        ),
        (
            "security.cors.allowed_origins",
            '["c"]',
            ["-     - a   # one", "-     - b", '+       ["c"]'],
        ),
        ("runtime.max_agents", "7", ["+   max_agents: 7"]),
        ("observability.logging.level", "debug", ["+ observability:", "+   logging:", "+     level: debug"]),
    ],
)
def test_yaml(key: str, value: str, lines: list[str]) -> None:
    assert sorted(changed_lines(YAML, change(YAML, "c.yaml", key, value))) == sorted(lines)


@pytest.mark.parametrize(
    ("key", "value", "lines"),
    [
        ("server.port", "9000", ["- port = 8080    # REST", "+ port = 9000    # REST"]),
        ("server.host", "x", ['- host = "localhost"', '+ host = "x"']),
        ("server.metrics_port", "0", ["+ metrics_port = 0"]),
        ("runtime.state_quota", "2MB", ['+ state_quota = "2MB"']),
        (
            "observability.logging.format",
            "pretty",
            ['- logging = {level = "info"}', '+ logging = {level = "info", format = "pretty" }'],
        ),
        (
            "security.cors.allowed_origins",
            '["c"]',
            ["- allowed_origins = [", '-   "a",  # one', '-   "b",', "- ]", '+ allowed_origins = ["c"]'],
        ),
        ("messaging.retry_attempts", "4", ["+ ", "+ [messaging]", "+ retry_attempts = 4"]),
    ],
)
def test_toml(key: str, value: str, lines: list[str]) -> None:
    assert sorted(changed_lines(TOML, change(TOML, "c.toml", key, value))) == sorted(lines)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("", "c.yaml", "server:\n  port: 9000\n"),
        ("", "c.toml", "[server]\nport = 9000\n"),
        ("{}", "c.json", '{"server": {"port": 9000}}'),
        ('{"server": {"host": "a"}}\n', "c.json", '{"server": {"host": "a", "port": 9000}}\n'),
        ("server.host = 'a'\n", "c.toml", "server.host = 'a'\nserver.port = 9000\n"),
        ("server:", "c.yaml", "server:\n  port: 9000\n"),
        ("server:\r\n  host: a\r\n", "c.yaml", "server:\r\n  host: a\r\n  port: 9000\r\n"),
        ("server:\n  port:\n", "c.yaml", "server:\n  port: 9000\n"),
        ("server: {port: 1,\n  }\n", "c.yaml", "server: {port: 9000,\n  }\n"),
    ],
)
def test_edges(text: str, name: str, expected: str) -> None:
    assert change(text, name, "server.port", "9000") == expected


def test_a_table_that_ends_with_a_table_and_is_followed_by_another() -> None:
    text = "a:\n  b:\n    c:\n      d: 1\n  e: 2\n"
    found = set_key(text, "c.yaml", "a.b.f", "3", lambda tree: True)
    assert found == "a:\n  b:\n    c:\n      d: 1\n    f: 3\n  e: 2\n"


def test_a_place_that_cannot_be_changed_alone_is_named() -> None:
    text = "a: &same {level: info}\nobservability: {logging: *same}\nx: *same\n".replace("a:", "experimental:")
    with pytest.raises(InvalidConfig, match=r"c\.yaml:\d: observability\.logging\.level cannot be changed here"):
        set_key(text, "c.yaml", "observability.logging.level", "debug", lambda tree: True)


@pytest.mark.slow
@given(data=st.data(), name=st.sampled_from(["c.yaml", "c.toml", "c.json"]))
def test_any_key_in_any_file(data: st.DataObject, name: str) -> None:
    keys = sorted(key for key, leaf in leaves().items() if leaf.default not in (None, {}, ()))
    text = "{}" if name.endswith("json") else "# kept\n"
    said = {}
    for key in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=6)):
        default = leaves()[key].shown_default
        value = str(default).lower() if isinstance(default, bool) else str(default).replace("'", '"')
        if not value:
            continue
        text = change(text, name, key, value)
        said[key] = value
        tree = decode(text, name)
        built = values(build_config(tree, {}))
        assert all(built[one] == leaves()[one].default for one in said)
    assert name.endswith("json") or text.startswith("# kept")
