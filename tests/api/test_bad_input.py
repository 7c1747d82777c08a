"""Every route of the app, met by what a stranger may send: the answer is an error in the one shape, and never a 5xx.

The routes and their parameters come from the app itself, so that a new one is met too.
"""

import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import httpx
import pytest
from quart_trio import QuartTrio

from caxton.api.app import create_app
from tests.api.serving import Served, code_of
from tests.api.test_end_to_end import deploy_echo, open_real_server

# in the place of <name>, <int:id>, <path:...>
PLACES = ("nobody", "0", "99999999999999999999999", "x" * 1000, "ä🐘", "a\0b", "%", "..", "a b")
QUERIES = ("9" * 5000, "-1", "1e308", "nan", "99999999999999999999", "x" * 1000, "\0", "🐘", "", "1.5")
BODIES = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"1",
    b'"text"',
    b"\xff\xfe\0",
    b'{"\xed\xa0\x80": 1}',
    b"[" * 20_000,
    b'{"a":' * 20_000,
    '{"ä🐘": -1}'.encode(),
)
TYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "x" * 500, "application/json; charset=utf-16", "")
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"})
JSON = {"content-type": "application/json"}
# in the place of any member, at any depth, of the bodies below
VALUES: tuple[object, ...] = (
    None, -1, 1e308, 2**70, True, "", "\0", "ä🐘", "x" * 1000, [], {}, [None], [[]], {"": None}, ["\0"], {"x": 1}
)  # fmt: skip
SOUND: dict[str, object] = {
    "/api/v1/messages": {
        "performative": "request",
        "receiver": "echo",
        "sender": "me",
        "content": 1,
        "conversation_id": "c",
        "reply_with": "r",
        "reply_by": "2036-01-01T00:00:00Z",
        "protocol": "fipa-request",
        "message_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "priority": "low",
        "params": {"x": "y"},
    },
    "/api/v1/tasks": {
        "description": "d",
        "requirements": {"capabilities": ["sums"]},
        "participants": ["echo"],
        "strategy": "best_bid",
        "max_wait_seconds": 0,
        "deadline": "2036-01-01T00:00:00Z",
        "content": {"a": 1},
    },
    "/api/v1/capabilities": {
        "agent_id": "echo",
        "capability": "sums",
        "version": "1",
        "priority": 1,
        "metadata": {"a": 1},
        "health_check_url": "http://x/",
    },
    "/api/v1/directory/search": {
        "description": {"name": "echo", "services": [{"name": "a", "type": "b", "properties": [{"name": "a"}]}]},
        "constraints": {"max_results": 1, "max_depth": 0, "search_id": "x"},
    },
    "/api/v1/config": {"set": {"observability.logging.level": "info"}, "agent": ""},
    "/api/v1/config/rollback": {"version": 1},
    "/api/v1/backups": {"name": "../x"},
    "/api/v1/agents": {
        "kind": "attached",
        "name": "other",
        "config": {"name": "other", "capabilities": ["a"], "replicas": 1, "resources": {"memory": "1MB"}},
    },
    "/api/v1/agents/<path:name>/stop": {"grace_period_seconds": -1, "drain_messages": True},
}
ANOTHER_SHAPE = ("/acc",)  # FIPA00084 is another protocol
PARAMETER = re.compile(r'(?:arg\w*\.get(?:list)?\(|(?:args|arguments), |args\[)"(\w+)"')
CONVERTER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


@attrs.frozen
class Route:
    rule: str
    methods: frozenset[str]
    parameters: tuple[str, ...]  # of all routes in its file

    def path(self, place: str = "nobody") -> str:
        return CONVERTER.sub(quote(place, safe="").replace("\\", r"\\"), self.rule)

    @property
    def paths(self) -> Iterator[str]:
        yield from dict.fromkeys(self.path(place) for place in PLACES)


@cache
def parameters_in(file: str) -> tuple[str, ...]:
    return tuple(sorted(set(PARAMETER.findall(Path(file).read_text()))))


def routes_of(app: QuartTrio) -> list[Route]:
    found: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {}
    for rule in app.url_map.iter_rules():
        if not rule.websocket:
            methods, parameters = found.get(rule.rule, (frozenset(), ()))
            view = inspect.unwrap(app.view_functions[rule.endpoint])
            found[rule.rule] = (
                methods | frozenset(rule.methods or ()),
                parameters + parameters_in(inspect.getfile(view)),
            )
    return [Route(rule, methods, tuple(dict.fromkeys(names))) for rule, (methods, names) in sorted(found.items())]


def spoiled(value: object) -> Iterator[object]:
    """The same with one member, at any depth, that is wrong."""
    if isinstance(value, dict):
        for name in value:
            for bad in (*VALUES, *spoiled(value[name])):
                yield value | {name: bad}
        yield value | {"\0": 1}
    elif isinstance(value, list):
        for bad in (*VALUES, *(worse for item in value for worse in spoiled(item))):
            yield [bad]


@attrs.define
class Stranger:
    server: Served[Any]
    wrong: list[str] = attrs.field(factory=list)
    asked: int = 0

    async def ask(self, method: str, path: str, *, shape: bool = True, **more: Any) -> None:
        # an answer that goes on for ever is sound; its beginning is enough
        async with self.server.http.stream(method, path, **more) as response:
            self.asked += 1
            status, text = response.status_code, b""
            if status >= 400:
                text = await response.aread()
        if status >= 500 or (status >= 400 and shape and not is_error(response, text)):
            self.wrong.append(f"{method} {path[:200]} {str(more)[:200]}: {status} {text[:200]!r}")


def is_error(response: httpx.Response, text: bytes) -> bool:
    if response.headers["content-type"] != "application/json":
        return False
    error = json.loads(text)["error"]
    return bool(error["code"] and error["message"] and error["trace_id"] == response.headers["x-trace-id"])


@pytest.mark.slow
async def test_no_route_fails_over_what_a_stranger_sends(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server:
        await deploy_echo(server)
        stranger = Stranger(server)
        routes = routes_of(create_app(server.node))
        assert {"/health", "/api/v1/messages"} < {route.rule for route in routes}
        for route in routes:
            shape = route.rule not in ANOTHER_SHAPE
            for method in sorted(METHODS - route.methods):
                await stranger.ask(method, route.path(), shape=shape)
            for method in sorted(METHODS & route.methods):
                for path in route.paths if CONVERTER.search(route.rule) else ():
                    await stranger.ask(method, path, shape=shape)
                for name in route.parameters:
                    for value in QUERIES if method == "GET" else QUERIES[:2]:
                        await stranger.ask(method, route.path(), params={name: value}, shape=shape)
            for method in sorted({"POST", "PUT", "PATCH"} & route.methods):
                for body in BODIES:
                    await stranger.ask(method, route.path(), content=body, headers=JSON, shape=shape)
                for type in TYPES:
                    headers = {"content-type": type}
                    await stranger.ask(method, route.path(), content=b"{}", headers=headers, shape=shape)
        assert not stranger.wrong, "\n".join(stranger.wrong)


@pytest.mark.slow
async def test_no_route_fails_over_a_body_of_wrong_types(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server:
        await deploy_echo(server)
        stranger = Stranger(server)
        for route in routes_of(create_app(server.node)):
            for method in sorted({"POST", "PUT", "PATCH"} & route.methods):
                for body in spoiled(SOUND.get(route.rule)):
                    content = json.dumps(body).encode()
                    await stranger.ask(method, route.path(), content=content, headers=JSON)
        assert stranger.asked > 100
        assert not stranger.wrong, "\n".join(stranger.wrong)


async def test_a_body_that_is_no_json_by_its_type_is_refused(tmp_path: Path) -> None:
    async with open_real_server(tmp_path) as server:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        for route in routes_of(create_app(server.node)):
            for method in {"POST", "PATCH"} & route.methods if route.rule in SOUND else ():
                response = await server.http.request(method, route.path(), content=b"{}", headers=headers)
                assert code_of(response) == (415, "UNSUPPORTED_MEDIA_TYPE"), route.rule
