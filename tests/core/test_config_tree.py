"""The model of the configuration, and what is made from it."""

import importlib.util
import json
import types
from pathlib import Path

import pytest

import caxton
from caxton.core.config import build_config
from caxton.core.config_keys import Config
from caxton.core.config_tree import leaf_at, leaves, schema, set_keys, shown, shown_values, unknown_key, values

ROOT = Path(caxton.__file__).parent.parent


@pytest.fixture
def script() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("make_configuration", ROOT / "docs" / "make_configuration.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_and_the_schema_are_made_from_the_model(script: types.ModuleType) -> None:
    for path, text in script.wanted().items():
        assert path.read_text() == text, f"{path.name} is stale: run `python docs/make_configuration.py`"


@pytest.mark.parametrize("leaf", leaves().values(), ids=lambda leaf: leaf.name)
def test_every_key_says_what_it_means(leaf: object) -> None:
    assert leaf.key.meaning, f"{leaf.name} has no Key"
    assert "\n" not in leaf.key.meaning
    # an example, not a date: what a key is set to by default is a value that it may have
    built = build_config(nested(leaf.name, leaf.shown_default), {})
    assert shown(leaf.name, values(built)[leaf.name]) == leaf.shown_default


def nested(name: str, value: object) -> dict[str, object]:
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def test_a_key_below_an_inactive_table_is_inactive() -> None:
    assert leaves()["coordination.cluster.seeds"].key.inactive == "clusters are not built yet"
    assert leaves()["server.port"].key.inactive == ""


def test_a_value_in_a_list_belongs_to_the_key_that_is_the_list() -> None:
    leaf = leaf_at("integrations.mcp.servers[0].url")
    assert leaf is not None
    assert leaf.name == "integrations.mcp.servers"
    assert leaf_at("nowhere") is None


def test_keys_that_were_set() -> None:
    tree = {"server": {"port": 1, "prt": 2}, "runtime": 3, "api_keys": {"a": {"b": 1}}}
    assert list(set_keys(tree)) == ["server.port", "server.prt", "runtime", "api_keys"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("server.prot", "server.prot: unknown key; did you mean 'server.port'?"),
        ("a.max_agents", "a.max_agents: unknown key; did you mean 'runtime.max_agents'?"),
        (
            "server.tls",
            "server.tls is a table of keys; known in it: enabled, cert_path, key_path, ca_path, min_version",
        ),
        ("zzz", "zzz: unknown key; `caxton config show --effective` lists all"),
    ],
)
def test_a_key_that_is_none(asked: str, said: str) -> None:
    assert unknown_key(asked) == said


def test_secrets_are_masked() -> None:
    config = build_config({"security": {"authentication": {"oauth2": {"client_secret": "s3cret"}}}}, {})
    assert shown_values(config)["security.authentication.oauth2.client_secret"] == "***"
    assert shown_values(Config())["security.authentication.oauth2.client_secret"] == ""


def test_the_schema_has_every_key() -> None:
    def names(table: dict[str, object], path: str) -> list[str]:
        found = []
        for name, shape in table["properties"].items():
            inner = f"{path}.{name}" if path else name
            found += names(shape, inner) if "properties" in shape else [inner]
        return found

    assert set(names(schema(), "")) == {*leaves(), "extends"}
    assert json.loads(json.dumps(schema())) == schema()
