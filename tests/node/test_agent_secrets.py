"""Secrets that agents name and the server has."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from caxton._fast.wasm.module import wat2wasm
from caxton.core.config import Loaded, load
from caxton.core.errors import CaxtonError, Forbidden, InvalidConfig
from caxton.node import Node, open_node
from caxton.secrets import fetch
from caxton.telemetry import logs
from tests._fast.components import Guest, text
from tests.node.opened import config, deploy, states, tell
from tests.node.wat import guest

WHO = "a test"
VALUE, OTHER = "hunter2-hunter2", "correct-horse-battery"
NAMED = [{"name": "API_KEY", "valueFrom": {"secretRef": "api"}}]  # as in the configuration guide


@pytest.fixture(autouse=True)
def hide_for_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_hidden", set())
    monkeypatch.setattr(logs, "_hiding", None)


def reading(folder: Path, agents: str = "[scout, 'billing/*']", value: str = VALUE) -> Callable[[], Loaded]:
    secret = folder / "api-key"
    secret.write_text(value)
    secret.chmod(0o600)
    file = folder / "config.yaml"
    file.write_text(
        f"security: {{secrets: {{agents: {{api: {{value: '${{secret:file:{secret}}}', agents: {agents}}}}}}}}}"
    )
    environ = {"CAXTON_DATA_DIR": str(folder / "data")}
    return partial(load, str(file), environ=environ, sets=["runtime.max_agents=16"], fetch=fetch)


async def environment(node: Node, name: str) -> list[str]:
    """What the agent sees."""
    text = (await tell(node, name, 1))[-1]
    return [each for each in text.split("\0") if each]


async def test_an_agent_has_the_secret_that_it_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    read = reading(tmp_path)
    with trio.fail_after(30):
        async with open_node(read(), read) as node:
            with node.bus.tap(1000) as events:
                wasm = guest("environ")
                await deploy(node, "scout", wasm, environment=[{"name": "LEVEL", "value": "x"}, *NAMED])
                assert await environment(node, "scout") == ["LEVEL=x", f"API_KEY={VALUE}"]
                await deploy(node, "billing/a", wasm, secrets={"KEY": "api"})
                assert await environment(node, "billing/a") == [f"KEY={VALUE}"]
                told: list[object] = [
                    json.loads(msgspec.json.encode(await node.agents.inspect("scout"), enc_hook=str)),
                    node.settings.describe(),
                    node.agents.spec("scout"),
                ]
                assert '"API_KEY": "api"' in json.dumps(told[0])
                while True:
                    try:
                        event = events.receive_nowait()
                    except trio.WouldBlock:
                        break
                    if event.type != "agent.log":  # what an agent says of itself is its own affair
                        told.append(event)
            backup = await node.backups.create()
            path = node.backups.find(backup.name)
    assert VALUE not in str(told)
    assert VALUE not in caplog.text
    assert VALUE.encode() not in path.read_bytes()
    assert VALUE.encode() not in (tmp_path / "data" / "local.db").read_bytes()


COMPONENT = Guest(  # logs the name and the value of its first variable
    """(call $environment.get-environment (i32.const 0x1000)) (local.set $i (i32.load (i32.const 0x1000)))
    (call $log.info (i32.load (local.get $i)) (i32.load offset=4 (local.get $i)))
    (call $log.info (i32.load offset=8 (local.get $i)) (i32.load offset=12 (local.get $i)))""",
    ("environment.get-environment", "log.info"),
)


async def test_a_component_has_it_too(tmp_path: Path) -> None:
    read = reading(tmp_path)
    with trio.fail_after(30):
        async with open_node(read(), read) as node:
            await deploy(node, "scout", wat2wasm(text(COMPONENT)), environment=NAMED)
            assert await tell(node, "scout", 2) == ["API_KEY", VALUE]


async def test_who_may_not_have_it_is_refused(tmp_path: Path) -> None:
    read = reading(tmp_path)
    with trio.fail_after(30):
        async with open_node(read(), read) as node:
            for name, secret in (("other", "api"), ("scout", "nothing")):
                with pytest.raises(Forbidden, match=f"the agent '{name}' may not have the secret '{secret}'") as caught:
                    await deploy(node, name, secrets={"KEY": secret})
                assert f"agents: [{name}]" in str(caught.value.hint)
            assert states(node) == {}
            await deploy(node, "other")
            with pytest.raises(Forbidden):
                await node.agents.update("other", None, config("other", secrets={"KEY": "api"}))
            assert node.agents.spec("other").version == 1
            with pytest.raises(InvalidConfig, match="an attached agent lives outside"):
                await node.agents.attach(config("scout", secrets={"KEY": "api"}))


async def test_nobody_gives_himself_a_secret_while_the_server_runs(tmp_path: Path) -> None:
    read = reading(tmp_path)
    with trio.fail_after(30):
        async with open_node(read(), read) as node:
            for value in ({"api": {"value": "***", "agents": ["*"]}}, {"mine": {"value": "${secret:env:HOME}"}}):
                with pytest.raises(InvalidConfig, match=r"security\.secrets\.agents: only files say this"):
                    await node.settings.set({"security.secrets.agents": value}, who=WHO)


async def test_a_rotated_secret_is_for_the_next_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read = reading(tmp_path)
    with trio.fail_after(30):
        async with open_node(read(), read) as node:
            await deploy(node, "scout", guest("environ"), environment=NAMED)
            await deploy(node, "billing/a", guest("environ"))
            reading(tmp_path, value=OTHER)
            (made,) = (await node.settings.reload(who=WHO)).changes
            assert made.key == "security.secrets.agents"
            assert OTHER not in str(made)
            assert VALUE not in str(made)
            assert "until their next start scout have the old one" in caplog.text
            assert await environment(node, "scout") == [f"API_KEY={VALUE}"]
            await node.agents.stop("scout", 1, True)
            await node.agents.start("scout")
            assert (await tell(node, "scout", 2))[-1] == f"API_KEY={OTHER}\0"


async def test_a_secret_that_is_taken_away(tmp_path: Path) -> None:
    """Who runs goes on; who starts is refused, and says why."""
    read = reading(tmp_path)
    with trio.fail_after(30):
        async with open_node(read(), read) as node:
            await deploy(node, "scout", guest("environ"), environment=NAMED)
            reading(tmp_path, agents="[]")
            await node.settings.reload(who=WHO)
            assert await environment(node, "scout") == [f"API_KEY={VALUE}"]
            await node.agents.stop("scout", 1, True)
            with pytest.raises(CaxtonError, match="may not have the secret 'api'"):
                await node.agents.start("scout")
        async with open_node(read(), read) as node:
            assert states(node) == {"scout": "stopped"}
            reading(tmp_path)
            await node.settings.reload(who=WHO)
            await node.agents.start("scout")
            reading(tmp_path, agents="[]")
        async with open_node(read(), read) as node:
            info = node.agents.get("scout")
            assert (info.status, "may not have the secret 'api'" in info.reason) == ("failed", True)
            await node.agents.update("scout", None, config("scout"))
            assert node.agents.get("scout").status == "running"
