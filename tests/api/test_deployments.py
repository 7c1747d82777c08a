"""Reading what is deployed: any bytes give a deployment or a refusal, and nothing else."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton.api.deployments import Deployment, read_deployment
from caxton.core.errors import InvalidConfig, RejectedError
from caxton.core.views import EdgeLimits

LIMITS = EdgeLimits(max_module_size=500)
TYPES = st.sampled_from(
    ["application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain", ""]
)
PIECES = st.sampled_from(
    [
        b"--x",
        b"--x--",
        b"\r\n",
        b'Content-Disposition: form-data; name="wasm"; filename="a"',
        b'name="config"',
        b":",
        b"\xff",
    ]
)


def read(body: bytes, kind: str) -> Deployment | None:
    try:
        deployment = read_deployment(body, kind, LIMITS)
        deployment.agent_config(LIMITS)
    except RejectedError:
        return None
    return deployment


@settings(deadline=None)
@given(st.binary(max_size=200) | st.lists(PIECES, max_size=12).map(b"".join), TYPES)
def test_any_bytes(body: bytes, kind: str):
    read(body, kind)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=9),
        lambda some: (
            st.dictionaries(
                st.sampled_from(["wasm_module", "config", "name", "kind", "strategy", "replicas"]), some, max_size=4
            )
            | st.lists(some, max_size=2)
        ),
    )
)
def test_any_json(value: object):
    read(json.dumps(value).encode(), "application/json")


def test_what_is_nested_too_deep_is_refused():
    deep = "[" * 3000 + "]" * 3000
    assert read(b'{"config": {"metadata": {"a": %b}}}' % (deep.encode() * 10), "application/json") is None
    for name, text in (("a.yaml", deep), ("a.toml", f"a = {deep}"), ("a.json", f'{{"a": {deep * 10}}}')):
        with pytest.raises(InvalidConfig):
            Deployment(config=text, config_name=name).agent_config(LIMITS)


@pytest.mark.parametrize("rule", ["[*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}]", "[*a{1}]"])
def test_aliases_of_aliases_do_not_blow_up(rule: str):
    lines = [f"  a{i}: &a{i} {rule.format(i - 1, i)}" for i in range(1, 9)]
    config = "\n".join(["name: a", "metadata:", "  a0: &a0 [x, x, x, x, x, x, x, x, x]", *lines])
    with pytest.raises(InvalidConfig):
        Deployment(config=config).agent_config(LIMITS)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_a_module_arrives_as_it_was_sent_both_ways(module: bytes):
    body = json.dumps({"wasm_module": base64.b64encode(module).decode(), "config": "name: a"}).encode()
    form = b'--x\r\nContent-Disposition: form-data; name="wasm"; filename="a.wasm"\r\n\r\n%b\r\n' % module
    form += b'--x\r\nContent-Disposition: form-data; name="config"\r\n\r\nname: a\r\n--x--\r\n'
    for deployment in (read(body, "application/json"), read(form, "multipart/form-data; boundary=x")):
        assert deployment is not None
        assert deployment.wasm_module == module
