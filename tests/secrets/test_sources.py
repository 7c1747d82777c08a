"""What references stand for, from files, variables, and services that answer over HTTP."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from caxton.core.secrets import NoSecret, SecretText, from_table, parse_reference
from caxton.secrets import fetch
from tests.secrets import services
from tests.secrets.services import Service, open_service

NOTHING = MappingProxyType({"HOME": "/nowhere"})


def got(text: str, environ: dict[str, str] | None = None, patience: float = 30.0) -> str:
    """The value, or why there is none in brackets."""
    (value,) = fetch([text], environ or NOTHING, patience).values()
    return f"({value})" if isinstance(value, NoSecret) else value


def write(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


# -- how they are written --


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vault", "'vault' is no source of secrets; there are file:/path#key, env:NAME, "),
        ("safe:x", "'safe' is no source of secrets"),
        (
            "file:secrets.yaml#a",
            "'secrets.yaml' is no place of a secret; write file:/path#key; a path begins with",
        ),
        ("env:A B", "'A B' is no place of a secret; write env:NAME"),
        ("env:A#b", "a variable has no keys"),
        ("k8s:a/b/c#d", "'a/b/c' is no place"),
        ("vault:#key", "'' is no place"),
        ("aws:name?zone=1", "'zone=1' is not region=NAME"),
    ],
)
def test_a_reference_that_is_none(text: str, said: str) -> None:
    with pytest.raises(NoSecret) as caught:
        parse_reference(text)
    assert said in str(caught.value)
    assert said in got(text)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"secretKeyRef": {"name": "db-secret", "key": "password"}}, "k8s:db-secret#password"),
        ({"secretKeyRef": {"name": "a", "namespace": "b", "key": "c"}}, "k8s:b/a#c"),
        ({"vaultKeyRef": {"path": "secret/data/api-keys", "key": "openai"}}, "vault:secret/data/api-keys#openai"),
        ({"awsSecretRef": {"name": "caxton/prod/aws", "region": "us-east-1"}}, "aws:caxton/prod/aws?region=us-east-1"),
    ],
)
def test_the_guide_s_tables(table: object, text: str) -> None:
    assert from_table(table) == text
    parse_reference(text)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (None, "valueFrom is one of secretKeyRef"),
        ({"secretRef": "a"}, "secretRef is for an agent's environment; here write one of ${secret:file:/path#key}"),
        ({"vaultKeyRef": "x"}, "vaultKeyRef is a table of path, key"),
        ({"vaultKeyRef": {"key": "x"}}, "vaultKeyRef needs path"),
        ({"awsSecretRef": {"name": 3}}, "awsSecretRef is a table of name, key, region"),
    ],
)
def test_tables_that_are_none(table: object, said: str) -> None:
    with pytest.raises(NoSecret) as caught:
        from_table(table)
    assert said in str(caught.value)


def test_nobody_sees_a_secret() -> None:
    value = SecretText("hunter2")
    assert repr([value]) == "['***']"
    assert value == "hunter2"
    assert value.encode() == b"hunter2"


# -- files and variables --


def test_a_file_of_keys(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yaml", "tokens: {admin: a-token}\n'dotted.key': x\npin: 12\nswitch: true\n")
    assert got(f"file:{path}#tokens.admin") == "a-token"
    assert got(f"file:{path}#dotted.key") == "x"
    assert (got(f"file:{path}#pin"), got(f"file:{path}#switch")) == ("12", "true")
    assert got(f"file:{path}#tokens.root") == (
        "(there is no key 'tokens.root'; there are: dotted.key, pin, switch, tokens)"
    )
    assert got(f"file:{path}#tokens") == "('tokens' is no text, but a table or a list)"
    assert got(f"file:{path}") == "(there are 4 keys; say which: dotted.key, pin, switch, tokens)"
    assert got(f"file:{write(tmp_path / 'one.toml', 'only = 1')}") == "1"
    assert got(f"file:{write(tmp_path / 'bad.json', '{hunter2')}") == f"(the file {tmp_path}/bad.json is no JSON table)"


def test_a_file_that_is_the_secret(tmp_path: Path) -> None:
    assert got(f"file:{write(tmp_path / 'token', ' a token' + chr(10))}") == " a token"
    assert "there are no keys, and so no 'x'" in got(f"file:{tmp_path}/token#x")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o620, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "s.yaml", "a: hunter2", mode)
    if mode == 0o640 and os.geteuid() == 0:
        assert got(f"file:{path}#a") == "hunter2"  # root's, for a group that root has chosen
        return
    assert got(f"file:{path}#a") == (
        f"(others can read or write the file {path} (its mode is {mode:o}): `chmod 600 {path}`)"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yaml", "a: b")
    os.chown(path, 12345, -1)
    assert "belongs to another user" in got(f"file:{path}#a")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert got(f"file:{tmp_path}/none") == f"(the file {tmp_path}/none cannot be read: No such file or directory)"
    assert "Is a directory" in got(f"file:{tmp_path}")
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "is no file" in got(f"file:{tmp_path}/pipe")
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "bytes").chmod(0o600)
    assert "is not UTF-8 text" in got(f"file:{tmp_path}/bytes")
    (tmp_path / "large").write_bytes(b"x" * ((1 << 20) + 1))
    (tmp_path / "large").chmod(0o600)
    assert "is larger than 1MB" in got(f"file:{tmp_path}/large")


def test_a_variable() -> None:
    assert got("env:TOKEN", {"TOKEN": "t"}) == "t"
    assert got("env:TOKEN") == "(the variable TOKEN is not set)"


# -- Vault --


@pytest.fixture
def vault() -> Iterator[Service]:
    with open_service(services.vault) as service:
        service.secrets["secret/data/api-keys"] = {"openai": "sk-1", "other": "sk-2"}
        service.secrets["kv/plain"] = {"only": "one"}
        yield service


def test_vault(vault: Service) -> None:
    here = {"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}
    assert got("vault:secret/data/api-keys#openai", here) == "sk-1"
    assert got("vault:kv/plain", here) == "one"
    vault.asked.clear()
    both = fetch(["vault:secret/data/api-keys#openai", "vault:secret/data/api-keys#other"], here, 30)
    assert list(both.values()) == ["sk-1", "sk-2"]
    assert vault.asked == ["/v1/secret/data/api-keys"], "one place is asked once"
    assert "there is no key 'x'; there are: openai, other" in got("vault:secret/data/api-keys#x", here)
    assert f"Vault at {vault.url} has nothing there; in a versioned" in got("vault:secret/api-keys#openai", here)
    vault.secrets["secret/data/gone"] = None
    assert "has nothing there" in got("vault:secret/data/gone#a", here)


def test_vault_that_does_not_answer(vault: Service, tmp_path: Path) -> None:
    text = "vault:secret/data/api-keys#openai"
    assert "VAULT_ADDR is not set" in got(text)
    assert "VAULT_TOKEN is not set, and there is no ~/.vault-token" in got(
        text, {"VAULT_ADDR": vault.url, "HOME": "/x"}
    )
    (tmp_path / ".vault-token").write_text("old\n")
    here = {"VAULT_ADDR": vault.url, "HOME": str(tmp_path)}
    assert "does not allow it to this token" in got(text, here)
    (tmp_path / ".vault-token").write_text(f"{vault.token}\n")
    assert got(text, here) == "sk-1"
    assert "cannot be reached: ConnectionError" in got(text, {**here, "VAULT_ADDR": "http://127.0.0.1:1"})


def of(service: Service) -> dict[str, str]:
    return {"VAULT_ADDR": service.url, "VAULT_TOKEN": service.token}


def test_nobody_waits_for_ever(vault: Service) -> None:
    vault.silent = threading.Event()
    here = {"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}
    began = time.monotonic()
    assert got("vault:kv/plain", here, patience=0.05) in (
        "(no answer within 0.05 s)",
        f"(Vault at {vault.url} cannot be reached: ReadTimeout)",
    )
    assert time.monotonic() - began < 20


HERE = "vault:kv/plain#only"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_vault_that_leads_elsewhere_is_not_followed(vault: Service, status: int) -> None:
    """The token would go there as well."""
    with open_service(services.vault) as other:
        other.secrets["kv/plain"] = {"only": "of another"}
        vault.raw = lambda send: send(
            f"HTTP/1.1 {status} Elsewhere\r\nLocation: {other.url}/v1/kv/plain\r\nContent-Length: 0\r\n\r\n".encode()
        )
        assert "leads elsewhere, which is not followed" in got(HERE, of(vault))
        assert other.asked == []


@pytest.mark.slow
def test_answers_of_vault_without_an_end(vault: Service) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    sent = 0

    def much(send: Callable[[bytes], None]) -> None:
        nonlocal sent
        send(head)
        for _ in range(1000):
            send(b" " * (1 << 20))
            sent += 1

    vault.raw = much
    assert got(HERE, of(vault)) == f"(Vault at {vault.url} answered more than 4MB)"
    assert sent < 100, "and not a gigabyte"

    def slow(send: Callable[[bytes], None]) -> None:
        send(head)
        for _ in range(1000):
            send(b" ")
            time.sleep(0.005)

    vault.raw = slow
    before = threading.active_count()
    began = time.monotonic()
    text = got(HERE, of(vault), patience=0.1)
    assert "did not end within 0.1 s" in text or "no answer within 0.1 s" in text
    assert time.monotonic() - began < 3
    while threading.active_count() > before + 1 and time.monotonic() < began + 3:
        time.sleep(0.01)
    assert threading.active_count() <= before + 1, "nobody reads on"


def test_answers_of_vault_that_are_none(vault: Service) -> None:
    for body in (b"nonsense", b"[]", b'{"data": 7}', b"\xff\xfe", b'{"data": {"only": ["a"]}}'):
        vault.raw = lambda send, body=body: send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert got(HERE, of(vault)).startswith("("), body


def test_a_secret_is_not_its_mask(vault: Service) -> None:
    vault.secrets["kv/plain"] = {"only": "***"}
    assert "it is ***, which stands for what is not shown" in got(HERE, of(vault))


def test_a_secret_of_several_lines_is_as_it_is(vault: Service, tmp_path: Path) -> None:
    text = "-----BEGIN KEY-----\nab ***\n\u00fc=#${x}\n-----END KEY-----\n"
    vault.secrets["kv/plain"] = {"only": text}
    assert got(HERE, of(vault)) == text
    assert got(f"file:{write(tmp_path / 'key', text)}") == text.removesuffix("\n")


# -- Kubernetes --


@pytest.mark.slow
def test_kubernetes(tmp_path: Path) -> None:
    with open_service(services.kubernetes) as service:
        service.secrets["apps/db-secret"] = {"password": "p-1"}
        service.secrets["other/db-secret"] = {"password": "p-2", "user": "u"}
        here = {"KUBECONFIG": services.kube_config(tmp_path, service)}
        assert got("k8s:db-secret#password", here) == "p-1", "the namespace of the context"
        assert got("k8s:other/db-secret#password", here) == "p-2"
        assert got("k8s:none/db-secret#x", here) == "(Kubernetes has no secret db-secret in the namespace none)"
        service.token = "another"
        assert "answered 403 Forbidden to `get secret db-secret` in the namespace apps" in got("k8s:db-secret", here)
    assert "cannot be reached" in got("k8s:db-secret", here)
    assert "KUBECONFIG or ~/.kube/config names no cluster" in got("k8s:db-secret", {"KUBECONFIG": "/nowhere"})


# -- AWS --


@pytest.mark.slow
def test_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in os.environ if one.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    text = "aws:caxton/prod/aws?region=eu-west-1#key"
    with open_service(services.aws) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", service.url)
        assert "there are no credentials of AWS" in got(text)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
        service.secrets["caxton/prod/aws"] = '{"key": "k-1"}'
        service.secrets["plain"] = "not JSON"
        service.secrets["bytes"] = b"some bytes"
        assert got(text) == "k-1"
        assert service.asked == ["/", "eu-west-1"]
        assert "no region is named" in got("aws:plain")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        assert (got("aws:plain"), got("aws:bytes")) == ("not JSON", "some bytes")
        assert got("aws:none") == "(AWS Secrets Manager answered ResourceNotFoundException)"
        arn = "arn:aws:secretsmanager:ap-south-1:123456789012:secret:x-AbCdEf"
        service.secrets[arn] = "by its ARN"
        assert got(f"aws:{arn}") == "by its ARN"
        assert service.asked[-1] == "ap-south-1"
    assert "cannot be asked: EndpointConnectionError" in got(text)


def test_a_client_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hvac", None)
    assert got("vault:a#b") == "(hvac is not installed: `pip install caxton[vault]`)"
