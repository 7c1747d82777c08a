"""Over real connections: other sites' pages, and clients that ask too often."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from trio_websocket import ConnectionRejected

from caxton.api.gate import kind_of
from caxton.core.config import load_config
from caxton.core.config_web import CorsConfig, RateLimitConfig, RouteRate, RoutesConfig
from caxton.core.errors import InvalidConfig
from caxton.core.views import EdgeLimits
from tests.api.serving import code_of, open_server, request_to
from tests.node.opened import open_a_node

APP, OTHER = "https://app.example", "https://other.example"
HEALTH = "/health"


def sharing(**keys: Any) -> EdgeLimits:
    return EdgeLimits(cors=CorsConfig(enabled=True, **{"allowed_origins": (APP,), **keys}))


def preflight(origin: str = APP, method: str = "PUT", headers: str = "") -> dict[str, str]:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return asked | ({"Access-Control-Request-Headers": headers} if headers else {})


async def test_without_the_switch_there_is_nothing() -> None:
    async with open_server() as server:
        for answer in (
            await server.http.get(HEALTH, headers={"Origin": APP}),
            await server.http.options(HEALTH, headers=preflight()),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]
        for _ in range(50):
            assert (await server.post(request_to("nobody"))).status_code == 404


async def test_sites_that_are_listed() -> None:
    async with open_server(sharing(max_age=60.0)) as server:
        answer = await server.http.get(HEALTH, headers={"Origin": APP})
        assert answer.headers["access-control-allow-origin"] == APP
        assert answer.headers["vary"] == "Origin"
        assert "x-trace-id" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        failed = await server.http.post("/api/v1/messages", json={}, headers={"Origin": APP})
        assert failed.status_code == 400
        assert failed.headers["access-control-allow-origin"] == APP  # else the page would not see what is wrong
        asked = await server.http.options("/api/v1/agents/x", headers=preflight(headers="Content-Type, X-Mine"))
        assert (asked.status_code, asked.content) == (204, b"")
        assert asked.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE"
        assert asked.headers["access-control-allow-headers"] == "content-type, x-mine"
        assert asked.headers["access-control-max-age"] == "60"
        plain = await server.http.get(HEALTH)
        assert plain.headers["vary"] == "Origin"
        assert "access-control-allow-origin" not in plain.headers


async def test_what_is_not_listed_is_refused() -> None:
    async with open_server(sharing(allowed_headers=("content-type",))) as server:
        answer = await server.http.get(HEALTH, headers={"Origin": OTHER})
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
        for headers, said in [
            (preflight(OTHER), f"the site {OTHER} is not in security.cors.allowed_origins"),
            (preflight(method="PATCH"), "the method PATCH is not in security.cors.allowed_methods"),
            (preflight(headers="X-Mine"), "the header x-mine is not in security.cors.allowed_headers"),
        ]:
            refused = await server.http.options("/api/v1/agents", headers=headers)
            assert code_of(refused) == (403, "FORBIDDEN")
            assert refused.json()["error"]["message"] == said
            assert "access-control-allow-origin" not in refused.headers
        ok = await server.http.options("/api/v1/agents", headers=preflight(headers="Content-Type"))
        assert ok.headers["access-control-allow-headers"] == "content-type"


async def test_all_sites_and_credentials() -> None:
    async with open_server(sharing(allowed_origins=("*",))) as server:
        answer = await server.http.get(HEALTH, headers={"Origin": OTHER})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "vary" not in answer.headers
    async with open_server(sharing(allow_credentials=True)) as server:
        answer = await server.http.get(HEALTH, headers={"Origin": APP})
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "access-control-allow-credentials" not in (await server.http.get(HEALTH)).headers


async def test_a_page_of_another_site_has_no_websocket_unless_cors_lets_it() -> None:
    async with open_server() as server:
        async with server.websocket("/ws"):  # no browser
            pass
        with pytest.raises(ConnectionRejected) as caught:
            async with server.websocket("/ws", extra_headers=[("origin", APP)]):
                pass
        assert caught.value.status_code == 403


async def test_websockets_from_other_sites_are_refused() -> None:
    async with open_server(sharing()) as server:
        async with server.websocket("/ws", extra_headers=[("origin", APP)]):
            pass
        async with server.websocket("/ws"):  # no browser
            pass
        with pytest.raises(ConnectionRejected) as caught:
            async with server.websocket("/ws", extra_headers=[("origin", OTHER)]):
                pass
        assert caught.value.status_code == 403


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["security.cors.allowed_origins=[\"app.example\"]"], "'app.example' is no site"),
        (["security.cors.allowed_origins=[\"https://a.example/path\"]"], "without a path"),
        (["security.cors.allow_credentials=true"], "every site in security.cors.allowed_origins is named"),
        (["security.rate_limiting.trusted_proxies=[\"10.0.0.0/99\"]"], "trusted_proxies[0]: '10.0.0.0/99'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(sets: list[str], said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_config(environ={"HOME": "/home/x"}, sets=sets)
    assert said in str(caught.value)


# -- rates --

SLOW = RateLimitConfig(enabled=True, requests_per_second=0.01, burst_size=2)


async def test_more_than_a_client_may_ask() -> None:
    limits = EdgeLimits(rate_limiting=SLOW, cors=CorsConfig(enabled=True))
    async with open_server(limits) as server:
        for _ in range(2):
            assert (await server.http.get("/api/v1/agents")).status_code == 200
        refused = await server.http.get("/api/v1/agents", headers={"Origin": APP})
        assert code_of(refused) == (429, "RATE_LIMITED")
        assert 90 <= int(refused.headers["retry-after"]) <= 100
        assert refused.json()["error"]["trace_id"] == refused.headers["x-trace-id"]
        assert refused.headers["access-control-allow-origin"] == "*"
        with pytest.raises(ConnectionRejected) as caught:
            async with server.websocket("/ws"):
                pass
        assert caught.value.status_code == 429
        # each kind is counted by itself, and who watches the server is not counted
        assert (await server.post(request_to("nobody"))).status_code == 404
        for _ in range(5):
            assert (await server.http.get(HEALTH)).status_code == 200


async def test_each_kind_has_its_own_rate() -> None:
    routes = RoutesConfig(messages=RouteRate(burst_size=1), changes=RouteRate(requests_per_second=1e9))
    async with open_server(EdgeLimits(rate_limiting=replace(SLOW, routes=routes))) as server:
        assert [(await server.post(request_to("nobody"))).status_code for _ in range(2)] == [404, 429]
        assert {(await server.http.delete("/api/v1/agents/x")).status_code for _ in range(20)} == {404}


async def test_clients_behind_a_proxy_are_told_apart() -> None:
    def coming_from(address: str) -> dict[str, str]:
        return {"X-Forwarded-For": address}

    async with open_server(EdgeLimits(rate_limiting=replace(SLOW, burst_size=1))) as server:
        for address, status in (("192.0.2.1", 200), ("192.0.2.2", 429)):  # anybody can write this header
            assert (await server.http.get("/api/v1/agents", headers=coming_from(address))).status_code == status
    trusting = replace(SLOW, burst_size=1, trusted_proxies=("127.0.0.0/8",))
    async with open_server(EdgeLimits(rate_limiting=trusting)) as server:
        for address, status in (
            ("192.0.2.1", 200),
            ("192.0.2.2", 200),
            ("192.0.2.1", 429),
            ("6.6.6.6, 192.0.2.2", 429),
        ):
            assert (await server.http.get("/api/v1/agents", headers=coming_from(address))).status_code == status


async def test_who_was_silent_longest_is_forgotten() -> None:
    limits = replace(SLOW, burst_size=1, max_clients=1)
    async with open_server(EdgeLimits(rate_limiting=limits)) as server:
        assert (await server.http.get("/api/v1/agents")).status_code == 200
        await server.post(request_to("nobody"))
        assert (await server.http.get("/api/v1/agents")).status_code == 200


async def test_both_change_while_the_server_runs(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node, open_server(node=node) as server:
        await node.settings.set(
            {
                "security.rate_limiting.enabled": True,
                "security.rate_limiting.burst_size": 1,
                "security.rate_limiting.requests_per_second": 0.01,
                "security.cors.enabled": True,
            },
            who="a test",
        )
        statuses = [await server.http.get("/api/v1/agents", headers={"Origin": APP}) for _ in range(2)]
        assert [one.status_code for one in statuses] == [200, 429]
        assert statuses[0].headers["access-control-allow-origin"] == "*"
        await node.settings.set({"security.rate_limiting.enabled": False}, who="a test")
        assert (await server.http.get("/api/v1/agents")).status_code == 200


def test_kinds() -> None:
    assert kind_of("GET", "/api/v1/messages") == "reads"
    assert kind_of("POST", "/api/v1/messages/validate") == "messages"
    assert kind_of("POST", "/api/v1/agents") == "changes"
