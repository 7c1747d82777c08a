"""HTTPS on the listener: who is trusted, who is refused, and what files that are wrong get to hear."""

import shutil
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import trio
from trio_websocket import open_websocket_url

from caxton.api.app import create_app
from caxton.api.server import Address, serve
from caxton.api.tls import Renewal, server_context
from caxton.core.config_tls import TlsConfig
from caxton.core.errors import InvalidConfig
from tests.api.small_node import SmallNode
from tests.certificates import Authority


async def never() -> None:
    await trio.sleep_forever()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def files(authority: Authority, name: str = "server", **keys: str) -> TlsConfig:
    cert, key = authority.issue(name)
    return TlsConfig(enabled=True, cert_path=str(cert), key_path=str(key), **keys)  # type: ignore[arg-type]


async def listen(nursery: trio.Nursery, context: ssl.SSLContext) -> Address:
    run = partial(serve, create_app(SmallNode()), "127.0.0.1", 0, shutdown_trigger=never, tls=context)
    address: Address = await nursery.start(run)
    return address


def trusting(authority: Authority, client: str = "", version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.path)
    if client:
        context.load_cert_chain(*authority.issue(client))
    if version is not None:
        context.maximum_version = version
    return context


async def ask(address: Address, context: ssl.SSLContext) -> int:
    async with httpx.AsyncClient(base_url=address.url, verify=context, trust_env=False) as http:
        return (await http.get("/health")).status_code


async def test_https_and_nothing_else(nursery: trio.Nursery, authority: Authority) -> None:
    address = await listen(nursery, server_context(files(authority)))
    assert address.url.startswith("https://127.0.0.1:")
    assert await ask(address, trusting(authority)) == 200
    with pytest.raises(httpx.HTTPError):
        await ask(Address(address.host, address.port), trusting(authority))
    with pytest.raises(httpx.ConnectError):
        await ask(address, trusting(Authority(authority.folder / "other")))
    url = address.url.replace("https", "wss") + "/ws"
    async with open_websocket_url(url, ssl_context=trusting(authority)):
        pass
    assert await ask(address, trusting(authority)) == 200  # after all of these


async def test_clients_without_a_certificate_are_refused(nursery: trio.Nursery, authority: Authority) -> None:
    tls = files(authority, ca_path=str(authority.path))
    address = await listen(nursery, server_context(tls))
    assert await ask(address, trusting(authority, "client")) == 200
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        await ask(address, trusting(authority))
    stranger = trusting(authority)
    stranger.load_cert_chain(*Authority(authority.folder / "other").issue("stranger"))
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        await ask(address, stranger)


async def test_old_versions_are_refused(nursery: trio.Nursery, authority: Authority) -> None:
    address = await listen(nursery, server_context(files(authority, min_version="tlsv1.3")))
    assert await ask(address, trusting(authority)) == 200
    with pytest.raises(httpx.ConnectError):
        await ask(address, trusting(authority, version=ssl.TLSVersion.TLSv1_2))
    older = await listen(nursery, server_context(files(authority)))
    assert await ask(older, trusting(authority, version=ssl.TLSVersion.TLSv1_2)) == 200


async def test_certificates_are_read_again(nursery: trio.Nursery, authority: Authority) -> None:
    tls = files(authority)
    context = server_context(tls)
    address = await listen(nursery, context)
    newer = Authority(authority.folder / "newer")
    cert, key = newer.issue("server")
    shutil.copy(cert, tls.cert_path)  # half of the pair: nothing changes
    renewal = Renewal(context)
    (problem,) = renewal.prepare(tls)
    assert "key of another certificate" in problem
    renewal.renew()
    assert await ask(address, trusting(authority)) == 200
    shutil.copy(key, tls.key_path)
    assert renewal.prepare(tls) == []
    renewal.renew()
    assert await ask(address, trusting(newer)) == 200


async def test_who_is_trusted_and_what_is_spoken_is_read_again(nursery: trio.Nursery, authority: Authority) -> None:
    tls = files(authority, ca_path=str(authority.path))
    context = server_context(tls)
    address, renewal = await listen(nursery, context), Renewal(context)
    other = Authority(authority.folder / "other")
    stranger = trusting(authority)
    stranger.load_cert_chain(*other.issue("stranger"))
    with pytest.raises((httpx.HTTPError, ssl.SSLError)):
        await ask(address, stranger)
    old = trusting(authority, "client", ssl.TLSVersion.TLSv1_2)
    async with httpx.AsyncClient(base_url=address.url, verify=old, trust_env=False) as kept:
        assert (await kept.get("/health")).status_code == 200
        changed = msgspec.structs.replace(tls, ca_path=str(other.path), min_version="tlsv1.3")
        assert renewal.prepare(changed) == []
        renewal.renew()
        assert await ask(address, stranger) == 200
        with pytest.raises((httpx.HTTPError, ssl.SSLError)):
            await ask(address, trusting(authority, "client"))
        stranger.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((httpx.HTTPError, ssl.SSLError)):
            await ask(address, stranger)
        assert (await kept.get("/health")).status_code == 200, "connections that there are stay"


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


BAD: dict[str, tuple[Callable[[Authority, TlsConfig], dict[str, str]], str]] = {
    "no certificate": (
        lambda authority, tls: {"cert_path": "/nowhere/cert.pem"},
        "server.tls.cert_path: the file /nowhere/cert.pem cannot be read: No such file",
    ),
    "no name": (lambda authority, tls: {"key_path": ""}, r"server.tls.key_path: the file \(empty\) cannot be read"),
    "a folder": (lambda authority, tls: {"key_path": "/"}, "server.tls.key_path: the file / cannot be read: Is a dir"),
    "no PEM": (
        lambda authority, tls: {"cert_path": write(authority.folder / "x", "hello")},
        "server.tls.cert_path: .*x with its key .* cannot be used",
    ),
    "no key": (lambda authority, tls: {"key_path": tls.cert_path}, "server.tls.key_path: .* holds no private key"),
    "another key": (
        lambda authority, tls: {"key_path": str(authority.issue("other")[1])},
        "server.tls.key_path: .* is the key of another certificate",
    ),
    "a password": (
        lambda authority, tls: dict(
            zip(("cert_path", "key_path"), map(str, authority.issue("locked", password=b"secret")), strict=True)
        ),
        "server.tls.key_path: .* is protected by a password",
    ),
    "no CA": (
        lambda authority, tls: {"ca_path": write(authority.folder / "x", "hello")},
        "server.tls.ca_path: .* holds no certificates",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_wrong(name: str, authority: Authority) -> None:
    make, said = BAD[name]
    right = files(authority)
    values = {"cert_path": right.cert_path, "key_path": right.key_path, **make(authority, right)}
    with pytest.raises(InvalidConfig, match=said):
        server_context(TlsConfig(enabled=True, **values))  # type: ignore[arg-type]
