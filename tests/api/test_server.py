"""Listening: the real address, the end."""

import os
import socket
from functools import partial

import pytest
import trio

from caxton.api import server
from caxton.api.app import create_app
from caxton.api.server import Address, serve
from tests.api.serving import open_server
from tests.api.small_node import SmallNode


async def never() -> None:
    await trio.sleep_forever()


async def test_a_free_port_is_reported_and_its_server_answers(nursery: trio.Nursery):
    app = create_app(SmallNode())
    address = await nursery.start(partial(serve, app, "127.0.0.1", 0, shutdown_trigger=never))
    assert address.port != 0
    async with await trio.open_tcp_stream(address.host, address.port) as stream:
        await stream.send_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_addresses_of_version_6(nursery: trio.Nursery):
    try:
        address = await nursery.start(partial(serve, create_app(SmallNode()), "::1", 0, shutdown_trigger=never))
    except OSError:
        pytest.skip("no IPv6 loopback here")
    assert address.url == f"http://[::1]:{address.port}"


async def test_a_taken_port_is_an_error_of_the_system(nursery: trio.Nursery):
    async with open_server() as other:
        with pytest.raises(OSError, match="in use"):
            await serve(create_app(SmallNode()), other.address.host, other.address.port, shutdown_trigger=never)


async def test_the_end_does_not_wait_for_those_who_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "GRACE", 0.05)
    async with open_server() as small:
        stream = await trio.open_tcp_stream(small.address.host, small.address.port)
        await stream.send_all(b"GET /api/v1/events HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
    async with stream:
        while await stream.receive_some():
            pass


def test_urls():
    assert Address("127.0.0.1", 80).url == "http://127.0.0.1:80"


async def test_clients_that_have_left_leave_no_descriptors() -> None:
    request = b"GET /health HTTP/1.1\r\nHost: caxton\r\n\r\n"

    async def once(address: Address) -> None:
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            await stream.send_all(request)
            await stream.receive_some(16)  # and away, while the server is still at it

    async with open_server() as served:
        await once(served.address)
        before = len(os.listdir("/dev/fd"))
        for _ in range(100):
            await once(served.address)
        with trio.fail_after(10):
            while len(os.listdir("/dev/fd")) > before + 5:  # far below the keep-alive timeout, which used to run out
                await trio.lowlevel.checkpoint()
