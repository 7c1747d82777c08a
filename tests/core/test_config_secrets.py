"""Secrets in a configuration: which references are followed, and that nobody is shown what they stand for."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from caxton.core.config import Loaded, fetch_again, load, read_table
from caxton.core.config_lint import Machine, lint
from caxton.core.config_tree import secret_texts, shown_values
from caxton.core.errors import InvalidConfig
from caxton.core.secrets import NoSecret, SecretText

HOME = {"HOME": "/home/somebody", "WHICH": "url"}
URL = "integrations.fipa.http_mtp.public_url"


class Safe:
    """Knows the secrets of a test, and remembers what it was asked."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = secrets
        self.asked: list[str] = []
        self.patience = 0.0

    def __call__(
        self, texts: Sequence[str], environ: Mapping[str, str], patience: float
    ) -> dict[str, SecretText | NoSecret]:
        self.asked += texts
        self.patience = patience
        return {text: self._get(text) for text in texts}

    def _get(self, text: str) -> SecretText | NoSecret:
        name = text.partition("#")[2]
        return SecretText(self.secrets[name]) if name in self.secrets else NoSecret("the safe is shut")


def read(tmp_path: Path, text: str, safe: Safe | None, *sets: str, **environ: str) -> Loaded:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load(str(path), environ={**HOME, **environ}, sets=sets, fetch=safe)


def test_a_reference_is_followed(tmp_path: Path) -> None:
    safe = Safe(url="http://hunter2/acc")
    text = """
security: {secrets: {timeout: 7s}}
integrations: {fipa: {http_mtp: {public_url: "${secret:file:/s.yaml#${WHICH}}"}}}
"""
    loaded = read(tmp_path, text, safe)
    assert loaded.config.integrations.fipa.http_mtp.public_url == "http://hunter2/acc"
    assert (safe.asked, safe.patience) == (["file:/s.yaml#url"], 7.0)
    assert loaded.config.masked == (URL,)
    assert shown_values(loaded.config)[URL] == "***"
    assert "hunter2" not in repr(loaded) + json.dumps(shown_values(loaded.config))
    safe.secrets["url"] = "http://other/acc"
    assert fetch_again(loaded).config.integrations.fipa.http_mtp.public_url == "http://other/acc"
    assert shown_values(read(tmp_path, text, None).config)[URL] == "***", "who does not fetch has no right to need"


def test_the_guide_s_table_in_place_of_a_value(tmp_path: Path) -> None:
    table = "{valueFrom: {vaultKeyRef: {path: secret/data/x, key: url}}}"
    safe = Safe(url="http://hunter2/acc")
    loaded = read(tmp_path, f"integrations: {{fipa: {{http_mtp: {{public_url: {table}}}}}}}", safe)
    assert loaded.config.integrations.fipa.http_mtp.public_url == "http://hunter2/acc"
    assert safe.asked == ["vault:secret/data/x#url"]
    with pytest.raises(InvalidConfig, match=r"config.yaml:1: server.host: valueFrom is one of secretKeyRef"):
        read(tmp_path, "server: {host: {valueFrom: x}}", safe)


def test_a_number_and_a_part_of_a_list_are_masked_too(tmp_path: Path) -> None:
    text = """
messaging: {queue_size: "${secret:file:/s#size}"}
integrations: {fipa: {http_mtp: {platforms: [{name: a, url: "http://${secret:file:/s#host}/acc"}]}}}
"""
    loaded = read(tmp_path, text, Safe(size="4711", host="hunter2"))
    assert loaded.config.messaging.queue_size == 4711
    shown = shown_values(loaded.config)
    assert shown["messaging.queue_size"] == "***"
    (platform,) = shown["integrations.fipa.http_mtp.platforms"]
    assert (platform["name"], platform["url"]) == ("a", "***")
    assert loaded.config.integrations.fipa.http_mtp.platforms[0].url == "http://hunter2/acc"
    assert read(tmp_path, text, None).config.messaging.queue_size == 10_000, "nobody looked: the default"


def test_mistakes_name_the_reference_and_not_its_value(tmp_path: Path) -> None:
    text = """
runtime:
  max_agents: ${secret:file:/s#word}
  async_stack_size: ${secret:file:/s#stack}
server: {host: "${secret:vault:a/b#gone}"}
security: {cors: {allowed_origins: ["${secret:file:/s#word}"]}}
api_keys: {openai: {valueFrom: {vaultKeyRef: {path: a, key: gone}}}, other: "${secret:env:GONE}"}
"""
    safe = Safe(word="hunter2", stack="77777")
    with pytest.raises(InvalidConfig) as caught:
        read(tmp_path, text, safe)
    path = tmp_path / "config.yaml"
    assert [problem.removeprefix(f"{path}:") for problem in caught.value.details["problems"]] == [
        "3: runtime.max_agents: what the secret ${secret:file:/s#word} holds does not fit; "
        "expected a whole number from 1 to 1000000",
        "4: runtime.async_stack_size: what the secret ${secret:file:/s#stack} holds does not fit; "
        "expected a size such as 100MB from 64KB to 128MB",
        "5: server.host: there is no ${secret:vault:a/b#gone}: the safe is shut",
        "6: security.cors.allowed_origins[0]: what the secret ${secret:file:/s#word} holds does not fit",
    ]
    assert "vault:a#gone" not in safe.asked, "an inactive key needs nothing"
    assert "hunter2" not in str(caught.value)
    assert "77777" not in str(caught.value)


def test_a_problem_of_two_keys_does_not_show_the_secret_one(tmp_path: Path) -> None:
    text = "runtime: {max_agents: '${secret:file:/s#many}', pool_slots: 3}"
    with pytest.raises(InvalidConfig) as caught:
        read(tmp_path, text, Safe(many="98765"))
    assert "runtime.pool_slots: 3 is too small for runtime.max_agents ***" in str(caught.value)


def test_what_looks_like_a_reference_and_is_none(tmp_path: Path) -> None:
    safe = Safe(a="hunter2")
    loaded = read(tmp_path, "resources: {disk: {data_dir: '$${secret:env:A}'}}", safe)
    assert loaded.config.data_dir == "${secret:env:A}"
    loaded = read(tmp_path, "", safe, CAXTON_DATA_DIR="${secret:file:/s#a}")
    assert loaded.config.data_dir == "${secret:file:/s#a}", "what stands in a variable is meant as it stands"
    loaded = read(tmp_path, "resources: {disk: {data_dir: '${OTHER}'}}", safe, OTHER="${secret:file:/s#a}")
    assert loaded.config.data_dir == "${secret:file:/s#a}"
    assert safe.asked == []
    assert read(tmp_path, "", safe, "resources.disk.data_dir=/${secret:file:/s#a}").config.data_dir == "/hunter2"


def test_an_agent_s_environment(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("""
name: ping
environment:
  - {name: LOG_LEVEL, value: debug}
  - {name: API_KEY, valueFrom: {secretKeyRef: {name: keys, key: api}}}
  - {name: TOKEN, value: "${secret:env:T#api}"}
""")
    rows = read_table(path, HOME, Safe(api="hunter2"))["environment"]
    assert [row["value"] for row in rows] == ["debug", "hunter2", "hunter2"]
    path.write_text("environment: [{name: API_KEY, valueFrom: {secretRef: api-key-secret}}]")
    named = {"name": "API_KEY", "valueFrom": {"secretRef": "api-key-secret"}}
    assert read_table(path, HOME, Safe())["environment"] == [named], "the server has it"
    with pytest.raises(InvalidConfig, match="secretRef is for an agent's environment; here write one of"):
        read(tmp_path, "server: {host: {valueFrom: {secretRef: x}}}", Safe())


AGENTS = """
security:
  secrets:
    agents:
      api-key-secret:
        value: {valueFrom: {vaultKeyRef: {path: a/b, key: api}}}
        agents: ["my-agent", "billing/*"]
"""


def test_secrets_for_agents(tmp_path: Path) -> None:
    config = read(tmp_path, AGENTS, Safe(api="hunter2-hunter2")).config
    secret = config.security.secrets.agents["api-key-secret"]
    assert secret.value == "hunter2-hunter2"
    assert [secret.is_for(name) for name in ("my-agent", "billing/a", "my-agent2", "")] == [True, True, False, False]
    (shown,) = shown_values(config)["security.secrets.agents"].values()
    assert shown == {"value": "***", "agents": ["my-agent", "billing/*"]}
    assert "hunter2" not in repr(config)
    assert set(secret_texts(config)) == {"", "hunter2-hunter2"}
    plain = read(tmp_path, AGENTS.replace("{valueFrom: {vaultKeyRef: {path: a/b, key: api}}}", "hunter2"), None)
    assert shown_values(plain.config)["security.secrets.agents"]["api-key-secret"]["value"] == "***"
    found = {one.key: one.text for one in lint(plain, Machine()) if one.area == "security"}
    assert "a secret in" in found["security.secrets.agents.api-key-secret.value"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{api: hunter2}", "security.secrets.agents.api: expected a table of keys, found 'hunter2'"),
        ("{api: {agents: [a]}}", "security.secrets.agents.api.value: missing"),
        ("{api: {value: '', agents: [a]}}", "api.value: it is empty"),
        ("{a b: {value: x}}", "'a b' is no name"),
        ('{api: {value: "a\\0b"}}', "text without NUL"),
    ],
)
def test_secrets_that_agents_cannot_have(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        read(tmp_path, f"security: {{secrets: {{agents: {text}}}}}", Safe())
    assert said in str(caught.value)


def test_lint_is_content_with_a_reference(tmp_path: Path) -> None:
    text = "security: {authentication: {oauth2: {client_secret: '${secret:env:A}'}}}"
    assert [one for one in lint(read(tmp_path, text, None), Machine()) if one.area == "security"] == []
