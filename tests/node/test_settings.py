"""A configuration that changes while the node runs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import apsw
import msgspec
import pytest
import trio

from caxton.bus import http_client
from caxton.core.config import Loaded, load
from caxton.core.config_keys import Config
from caxton.core.config_tree import leaves, table_leaves, values
from caxton.core.errors import (
    AgentNotFound,
    InternalError,
    InvalidConfig,
    InvalidRequest,
    MailboxFull,
    MessageTooLarge,
    ResourceLimitExceeded,
    StoreError,
)
from caxton.core.manifest import AgentConfig, Resources
from caxton.core.secrets import Fetch
from caxton.core.views import DeadLetterFilter, DeadLetterInfo, EventFilter
from caxton.node import Node, open_node
from caxton.node import settings as settings_of_node
from caxton.node.live import PARTS, parts_of
from caxton.secrets import fetch
from caxton.store import settings as kept_settings
from caxton.store.settings import Held, Version
from caxton.telemetry import logs
from tests.node.opened import deploy, open_a_node
from tests.node.test_webhooks import open_receiver
from tests.node.wat import guest, message

WHO = "a test"


@pytest.fixture(autouse=True)
def keep_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A level that changes is for this process, which has other tests to run."""
    monkeypatch.setattr(logs, "configure", lambda *given, **named: None)


async def change(node: Node, **changes: object) -> None:
    await node.settings.set({key.replace("__", "."): value for key, value in changes.items()}, who=WHO)


def test_every_dynamic_key_belongs_to_a_part() -> None:
    dynamic = {key for key, leaf in leaves().items() if leaf.key.dynamic}
    assert {key for key in leaves() if parts_of(key)} == dynamic
    assert all(leaves()[key].key.inactive == "" for key in dynamic)
    tables = {".".join(parts[:depth]) for parts in (key.split(".") for key in dynamic) for depth in range(len(parts))}
    assert set(PARTS) <= dynamic | tables


async def test_a_change_takes_effect_and_is_kept(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        big = message("a", content="x" * 3000)
        node.bus.post(big)
        made = await node.settings.set({"messaging.max_message_size": "2KB"}, who=WHO)
        assert (made.version, made.action, made.who) == (1, "set", WHO)
        assert [(one.key, one.before, one.after) for one in made.changes] == [
            ("messaging.max_message_size", "1MB", "2KB")
        ]
        with pytest.raises(MessageTooLarge):
            node.bus.post(big)
        assert node.limits.max_message_size == 2048
        assert node.settings.describe()["origins"]["messaging.max_message_size"] == "version 1"
    async with open_a_node(tmp_path) as node:
        with pytest.raises(MessageTooLarge):
            node.bus.post(big)
        await node.settings.rollback(None, who=WHO)
        node.bus.post(big)
        assert node.settings.describe()["values"]["messaging.max_message_size"] == "1MB"
        versions = await node.settings.versions(10)
        assert [(one.version, one.action) for one in versions] == [(2, "rollback"), (1, "set")]


async def test_watchers_are_told(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        with node.bus.tap() as events:
            await change(node, messaging__retry_delay="2s")
            event = await events.receive()
            assert event.type == "config.changed"
            assert event.data["changes"] == [
                {"key": "messaging.retry_delay", "agent_id": "", "before": "1s", "after": "2s"}
            ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"server.port": 81}, "server.port: needs a restart"),
        ({"server.prt": 81}, "server.prt: unknown key; did you mean 'server.port'?"),
        ({"coordination.cluster.enabled": True}, "not active in this version: clusters are not built yet"),
        ({"messaging.queue_size": "many"}, "messaging.queue_size: expected a whole number"),
        ({"messaging.max_message_size": "1GB"}, "that this server can have without a restart"),
        ({"runtime.max_agents": 100_000}, "more than the 16 that this server can have without a restart"),
    ],
)
async def test_all_of_a_change_or_nothing(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    async with open_a_node(tmp_path) as node:
        before = values(node.settings.config)
        with pytest.raises(InvalidConfig) as caught:
            await node.settings.set({"messaging.retry_delay": "5s", **changes}, who=WHO)
        assert said in caught.value.message
        assert values(node.settings.config) == before
        assert await node.settings.versions(10) == []
        with pytest.raises(InvalidRequest):
            await node.settings.set({}, who=WHO)


# -- each part --


async def test_mailboxes_become_smaller_and_larger(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.enable_persistence=false") as node:
        await node.agents.attach(msgspec.convert({"name": "away"}, AgentConfig))
        for _ in range(10):
            node.bus.post(message("away"))
        await change(node, messaging__queue_size=10)
        with pytest.raises(MailboxFull):
            node.bus.post(message("away"))
        await change(node, messaging__queue_size=11)
        node.bus.post(message("away"))


async def test_fewer_agents(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        await change(node, runtime__max_agents=1)
        with pytest.raises(ResourceLimitExceeded):
            await deploy(node, "b")
        await change(node, runtime__max_agents=2, runtime__max_module_size=10)
        with pytest.raises(ResourceLimitExceeded, match="modules may have 10"):
            await deploy(node, "b")


async def buried(node: Node, name: str) -> DeadLetterInfo:
    """What becomes of a message that its agent cannot handle."""
    with node.bus.tap(100, EventFilter(types=("message.dead",))) as events:
        node.bus.post(message(name))
        await events.receive()
    (letter,), _ = await node.dead_letters.list(DeadLetterFilter())
    return letter


async def test_there_is_still_room_for_those_who_came_before(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a", resources={"memory": "50MB"})
        await change(node, runtime__max_memory_per_agent="2MB")
    async with open_a_node(tmp_path) as node:
        assert node.agents.get("a").status == "running"
        assert node.modules.engine.max_memory == 100 << 20
        assert node.limits.agent_defaults.resources.memory == 2 << 20


async def test_another_number_of_attempts(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.retry_delay=1ms") as node:
        await deploy(node, "c", guest("crash"), supervision={"max_restarts": 50})
        await change(node, messaging__retry_attempts=1)
        assert (await buried(node, "c")).attempts == 1


async def test_what_came_twice(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        twice = message("a", message_id="0190b5a0-0000-7000-8000-000000000001")
        assert node.bus.post(twice).status != "duplicate"
        assert node.bus.post(twice).status == "duplicate"
        await change(node, messaging__dedup_window=0)
        assert node.bus.post(twice).status != "duplicate"


async def test_patience_with_those_outside(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.delivery_timeout=0") as node:
        await node.agents.attach(msgspec.convert({"name": "out"}, AgentConfig))
        await change(node, messaging__delivery_timeout="20ms")
        async with node.bus.stream("out") as session:
            node.bus.post(message("out"))
            (first,) = await session.receive(1)
            (again,) = await session.receive(1)
            assert first.message_id == again.message_id


async def test_the_least_that_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr(logs, "configure", lambda *given, **named: told.append(given))
    async with open_a_node(tmp_path) as node:
        await change(node, observability__logging__level="debug")
        await change(node, messaging__retry_delay="2s")
    assert told == [("debug", "json")]


async def test_what_is_kept(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await change(node, messaging__retention_age="1h", messaging__dead_letter_size=5)
        assert node.housekeeping.limits.dead_letter_size == 5
        assert node.tasks.retention == 3600.0


HOOK = "integrations.webhooks.endpoints"
SECRETS = ("file-secret-0123456789", "given-secret-0123456789", "other-secret-0123456789")


def hooks(*rows: tuple[str, str]) -> dict[str, object]:
    return {HOOK: [{"url": f"https://{host}.example/", "secret": secret} for host, secret in rows]}


def signs(node: Node) -> list[str]:
    return [one.secret for one in node.settings.config.integrations.webhooks.endpoints]


async def test_a_list_with_secrets_is_given_back_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`***` is what the endpoint of this address has: from the file, as it is then, or from an earlier change."""
    monkeypatch.setattr(logs, "_hidden", set())
    monkeypatch.setattr(logs, "_hiding", None)
    in_file, given, other = SECRETS

    def reads(secret: str) -> Callable[[], Loaded]:
        row = f'{{url: "https://f.example/", secret: "{secret}"}}'
        return reading(tmp_path, f"integrations: {{webhooks: {{endpoints: [{row}]}}}}")

    caplog.set_level("INFO")
    read = reads(in_file)
    with trio.fail_after(30):
        async with open_node(read(), read) as node:
            await node.settings.set(hooks(("f", "***"), ("g", given)), who=WHO)
            assert signs(node) == [in_file, given]
            await node.settings.set(hooks(("g", "***"), ("f", "***")), who=WHO)
            assert signs(node) == [given, in_file]
            with pytest.raises(InvalidConfig, match=r"endpoints\[0\]: \*\*\* hides a secret that is not known here"):
                await node.settings.set(hooks(("h", "***")), who=WHO)
            reads(other)
            await node.settings.reload(who=WHO)
            assert signs(node) == [given, other]
            changes = [version.changes for version in await node.settings.versions(9)]
            told = f"{node.settings.describe()} {changes} {node.bus.events.since(0)}"
        async with open_node(read(), read) as node:
            assert signs(node) == [given, other]
            assert node.settings.describe()["origins"][HOOK].startswith("version ")
            reading(tmp_path, "")
            with pytest.raises(InvalidConfig, match="takes a secret from files that have it no more"):
                await node.settings.reload(who=WHO)
            await node.settings.rollback(0, who=WHO)
            assert signs(node) == [other]
    assert not [secret for secret in SECRETS if secret in told or secret in caplog.text]
    stored = (tmp_path / "data" / "local.db").read_bytes().decode("latin-1")
    assert [secret for secret in SECRETS if secret in stored] == [given]


async def test_who_changes_a_key_is_not_told_what_variables_hold(tmp_path: Path) -> None:
    read = reading(tmp_path, "", {"TOKEN": "a-token-of-the-server"})
    with trio.fail_after(30):
        async with open_node(read(), read) as node:
            for value in ("https://a.example/${TOKEN}", "https://a.example/${secret:env:TOKEN}"):
                await node.settings.set({HOOK: [{"url": value}]}, who=WHO)
                assert "a-token" not in str(node.settings.config)
                assert node.settings.config.integrations.webhooks.endpoints[0].url == value


async def test_webhooks_are_switched_on_and_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_receiver() as receiver, open_a_node(tmp_path) as node:
        on = {"integrations.webhooks.enabled": True, "integrations.webhooks.allowed_networks": ["127.0.0.1"]}
        await node.settings.set({HOOK: [{"url": receiver.url, "events": ["agent.*"]}], **on}, who=WHO)
        while not node.bus.events.wants("agent.deployed"):
            await trio.lowlevel.checkpoint()
        await deploy(node, "a")
        await receiver.wait(2)
        await change(node, integrations__webhooks__enabled=False)
        while node.bus.events.wants("agent.deployed"):
            await trio.lowlevel.checkpoint()
        monkeypatch.setattr(http_client, "find_spec", lambda name: None)
        with pytest.raises(InvalidConfig, match=r"not installed; pip install 'caxton\[webhooks\]'"):
            await change(node, integrations__webhooks__enabled=True)


# -- precedence, files --


def reading(
    folder: Path, text: str, environ: dict[str, str] | None = None, fetch: Fetch | None = None
) -> Callable[[], Loaded]:
    (folder / "config.yaml").write_text(text)
    environ = {"CAXTON_DATA_DIR": str(folder / "data"), **(environ or {})}
    return partial(load, str(folder / "config.yaml"), environ=environ, sets=["runtime.max_agents=16"], fetch=fetch)


async def test_files_are_read_again(tmp_path: Path) -> None:
    read = reading(tmp_path, "messaging: {retry_delay: 3s}\n")
    with trio.fail_after(30):
        async with open_node(read(), read) as node:
            reading(tmp_path, "messaging: {retry_delay: 4s}\nserver: {port: 81}\n")
            made = await node.settings.reload(who="SIGHUP")
            assert [(one.key, one.before, one.after) for one in made.changes] == [("messaging.retry_delay", "3s", "4s")]
            described = node.settings.describe()
            assert described["after_restart"] == {"server.port": 81}
            assert described["values"]["server.port"] == 8080
            assert (await node.settings.reload(who="SIGHUP")).changes == ()
            reading(tmp_path, "messaging: {retry_delay: soon}\n")
            with pytest.raises(InvalidConfig, match=r"config\.yaml:1: messaging\.retry_delay"):
                await node.settings.reload(who="SIGHUP")
            assert node.settings.config.messaging.retry_delay == 4.0


async def test_a_secret_that_changes_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logs, "_hidden", set())
    monkeypatch.setattr(logs, "_hiding", None)
    secret = tmp_path / "size"
    secret.write_text("471100\n")
    secret.chmod(0o600)
    text = f"""
messaging: {{queue_size: "${{secret:file:{secret}}}"}}
server: {{host: "${{secret:file:{secret}}}"}}
security: {{secrets: {{refresh_interval: 1h}}}}
"""
    read = reading(tmp_path, text, fetch=fetch)
    caplog.set_level("INFO")
    with trio.fail_after(30):
        async with open_node(read(), read) as node:
            assert await node.settings.refresh() is None, "nothing is new"
            with node.bus.tap(100) as events:
                secret.write_text("582200\n")
                await change(node, security__secrets__refresh_interval="1ms")
                while node.settings.config.messaging.queue_size != 582200:
                    await events.receive()
            await change(node, security__secrets__refresh_interval="1h")
            await node.settings.refresh()  # behind a round that had begun
            versions = await node.settings.versions(10)
            (made,) = [version for version in versions if version.action == "reload"]
            assert made.who == "refresh of secrets"
            assert [(one.key, one.before, one.after) for one in made.changes] == [
                ("messaging.queue_size", "***", "***")
            ]
            secret.write_text("693300\n")
            assert [one.after for one in (await node.settings.reload(who="SIGHUP")).changes] == ["***"]
            secret.chmod(0o644)
            with pytest.raises(InvalidConfig, match=r"config\.yaml:2: messaging\.queue_size: there is no .*others can"):
                await node.settings.refresh()
            with pytest.raises(InvalidConfig, match="others can read"):
                await node.settings.reload(who="SIGHUP")
            assert node.settings.config.messaging.queue_size == 693300, "what was had still holds"
            described = node.settings.describe()
            assert described["values"]["messaging.queue_size"] == "***"
            assert described["after_restart"] == {"server.host": "***"}
            made_by_hand = await node.settings.set({"messaging.queue_size": 20}, who=WHO)
            assert [(one.before, one.after) for one in made_by_hand.changes] == [("***", 20)]
            assert node.settings.describe()["values"]["messaging.queue_size"] == 20
            (undone,) = (await node.settings.rollback(None, who=WHO)).changes
            assert (undone.before, undone.after) == (20, "***")
            told = f"{described} {await node.settings.versions(100)} {node.bus.events.since(0)}"
    for value in ("471100", "582200", "693300"):
        assert value not in told
        assert value not in caplog.text
        assert value not in (tmp_path / "data" / "local.db").read_bytes().decode("latin-1")


async def test_the_last_who_spoke_is_heard_and_a_variable_at_the_next_start(tmp_path: Path) -> None:
    text = "messaging: {retry_delay: 3s}\nobservability: {logging: {format: compact}}\n"
    quiet = reading(tmp_path, text)
    loud = reading(tmp_path, text, {"CAXTON_LOG_LEVEL": "error"})
    with trio.fail_after(30):
        async with open_node(loud(), loud) as node:
            await change(node, observability__logging__level="debug", messaging__retry_delay="9s")
            assert node.settings.config.observability.logging.level == "debug"
            await node.settings.reload(who=WHO)
            assert node.settings.config.messaging.retry_delay == 9.0
        async with open_node(loud(), loud) as node:
            assert node.settings.config.observability.logging.level == "error"
            assert node.settings.config.messaging.retry_delay == 9.0
        async with open_node(quiet(), quiet) as node:
            assert node.settings.config.observability.logging.level == "debug"


async def test_what_does_not_fit_any_more_keeps_no_server_from_starting(tmp_path: Path) -> None:
    read = reading(tmp_path, "runtime: {pool_slots: 16}\n")
    with trio.fail_after(30):
        async with open_node(read(), read) as node:
            await change(node, runtime__max_agents=10)
            state = {"runtime.max_agents": {"value": 500, "version": 1}}
            await node.store.write(
                lambda connection: connection.execute(
                    "UPDATE config_versions SET state = ?", (msgspec.json.encode(state).decode(),)
                )
            )
        read = partial(load, str(tmp_path / "config.yaml"), environ={"CAXTON_DATA_DIR": str(tmp_path / "data")},
                       sets=["runtime.max_agents=16"])  # fmt: skip
        async with open_node(read(), read) as node:
            assert node.settings.config.runtime.max_agents == 16


async def test_back_to_a_version(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        for delay in ("2s", "3s", "4s"):
            await change(node, messaging__retry_delay=delay)
        await node.settings.set({"delivery": "volatile"}, agent="a", who=WHO)
        await node.settings.rollback(1, who=WHO)
        assert node.settings.config.messaging.retry_delay == 2.0
        assert node.agents.spec("a").config.delivery == ""
        await node.settings.rollback(0, who=WHO)
        assert node.settings.config.messaging.retry_delay == 1.0
        with pytest.raises(InvalidRequest, match="there is no version 99"):
            await node.settings.rollback(99, who=WHO)
    async with open_a_node(tmp_path) as node:
        assert node.settings.config.messaging.retry_delay == 1.0


async def test_many_at_a_time(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        keys = ["messaging.retry_delay", "messaging.retention_age", "messaging.delivery_timeout", "directory.lease"]
        async with trio.open_nursery() as nursery:
            for number in range(1, 6):
                for key in keys:
                    nursery.start_soon(partial(node.settings.set, {key: f"{number}s"}, who=WHO))
        found = await node.settings.versions(100)
        assert [version.version for version in found] == list(range(20, 0, -1))
        last = {change.key: change.after for version in reversed(found) for change in version.changes}
        assert {key: node.settings.describe()["values"][key] for key in keys} == last
        assert {key: held.value for key, held in found[0].state.items()} == last


@pytest.mark.parametrize("agent", ["", "a"])
async def test_who_leaves_meanwhile_has_changed_all_of_it_or_nothing(tmp_path: Path, agent: str) -> None:
    key = "resources.timeout" if agent else "messaging.delivery_timeout"
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        made = 0
        for steps in range(8):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(node.settings.set, {key: f"{steps + 3}s"}, who=WHO, agent=agent))
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            of_agent, of_all = node.agents.spec("a").config.resources.timeout, node.config.messaging.delivery_timeout
            versions = await node.settings.versions(100)
            made += (of_agent if agent else of_all) == steps + 3
            assert len(versions) == node.settings.describe()["version"] == made
        assert 0 < made < 8
        await node.settings.set({key: "1s"}, who=WHO, agent=agent)
        assert len(await node.settings.versions(100)) == made + 1


async def test_what_was_written_and_not_applied_holds_after_the_next_start(tmp_path: Path) -> None:
    """The process ended between the two."""
    async with open_a_node(tmp_path) as node:
        held = {"messaging.retry_delay": Held(value="7s", version=1)}
        await node.store.settings.add(Version(version=1, at=1.0, who=WHO, action="set", state=held))
        assert node.settings.config.messaging.retry_delay == 1.0
    async with open_a_node(tmp_path) as node:
        assert node.settings.config.messaging.retry_delay == 7.0


async def test_a_part_that_fails_takes_nothing_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(node: Node, config: Config) -> None:
        if config.messaging.dedup_window == 5:
            raise RuntimeError("no room")

    async with open_a_node(tmp_path) as node:
        monkeypatch.setitem(PARTS, "messaging.dedup_window", (fails,))  # type: ignore[arg-type]
        with pytest.raises(InternalError, match="a part of the server refused the change, and all is as it was"):
            await change(node, messaging__retention_age="1h", messaging__dedup_window=5)
        assert node.settings.config.messaging.retention_age == 86_400.0
        assert node.housekeeping.limits.retention_age == 86_400.0
        assert [version.action for version in await node.settings.versions(9)] == ["rollback", "set"]
        await change(node, messaging__retention_age="2h")
        assert node.housekeeping.limits.retention_age == 7200.0
    async with open_a_node(tmp_path) as node:
        assert node.settings.config.messaging.retention_age == 7200.0
        assert node.settings.config.messaging.dedup_window == 600.0


async def test_all_changes_are_undone_though_the_oldest_are_in_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_settings, "KEPT", 2)
    async with open_a_node(tmp_path) as node:
        await change(node, messaging__retry_delay="2s")
        for delay in ("2s", "3s", "4s"):
            await change(node, messaging__delivery_timeout=delay)
        assert [version.version for version in await node.settings.versions(9)] == [4, 3]
        await node.settings.rollback(3, who=WHO)
        assert node.settings.config.messaging.delivery_timeout == 3.0
        await node.settings.rollback(0, who=WHO)
        assert node.settings.config.messaging.delivery_timeout == 60.0
        assert node.settings.config.messaging.retry_delay == 1.0


async def test_a_value_that_was_there_already_is_undone_as_well(tmp_path: Path) -> None:
    """It was held, against another that the file may say later."""
    async with open_a_node(tmp_path) as node:
        assert (await node.settings.set({"messaging.retry_delay": "1s"}, who=WHO)).changes == ()
        assert "messaging.retry_delay" in (await node.settings.versions(1))[0].state
        await node.settings.rollback(None, who=WHO)
        assert (await node.settings.versions(1))[0].state == {}


async def test_nothing_to_undo(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        with pytest.raises(InvalidRequest, match="nothing was changed"):
            await node.settings.rollback(None, who=WHO)
        with pytest.raises(InvalidRequest, match="started without files"):
            await node.settings.reload(who=WHO)


# -- one agent --


async def test_an_agent_has_less_time_at_once(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, "messaging.retry_attempts=1") as node:
        await deploy(node, "s", guest("spin"), resources={"timeout": "25s"}, supervision={"max_restarts": 50})
        incarnation = node.runtime.get("s").replicas[0].incarnation
        made = await node.settings.set({"resources.timeout": "50ms"}, agent="s", who=WHO)
        assert [(one.agent, one.key, one.before, one.after) for one in made.changes] == [
            ("s", "resources.timeout", "25s", "50ms")
        ]
        assert node.runtime.get("s").replicas[0].incarnation == incarnation
        assert (await buried(node, "s")).reason == "timeout"
    async with open_a_node(tmp_path) as node:
        assert node.agents.spec("s").config.resources.timeout == 0.05


async def test_an_agent_s_messages_and_its_restarts(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        await deploy(node, "b", supervision={"group": "g"})
        await deploy(node, "c", supervision={"group": "g"})
        await node.settings.set({"delivery": "volatile", "supervision.max_restarts": 9}, agent="a", who=WHO)
        assert node.agents.spec("a").config.supervision.max_restarts == 9
        with pytest.raises(InvalidConfig, match="shares its supervisor"):
            await node.settings.set({"supervision.max_restarts": 9}, agent="b", who=WHO)
        assert node.agents.spec("b").config.supervision.max_restarts == 3


async def test_an_agent_s_change_and_its_version_are_written_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(connection: object, version: object) -> None:
        raise apsw.FullError("no room")

    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        with monkeypatch.context() as patch:
            patch.setattr(settings_of_node, "write_version", full)
            with pytest.raises(StoreError):
                await node.settings.set({"delivery": "volatile"}, agent="a", who=WHO)
        assert node.agents.spec("a").config.delivery == ""
        assert (await node.store.agents.get("a")).config.delivery == ""
        assert await node.settings.versions(9) == []


async def test_what_was_done_to_an_agent_meanwhile_is_not_undone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_a_node(tmp_path) as node:
        for name in ("a", "b"):
            await deploy(node, name)
            await node.settings.set({"resources.timeout": "9s", "delivery": "volatile"}, agent=name, who=WHO)
        await node.agents.delete("a")
        await deploy(node, "a", resources={"timeout": "9s"}, delivery="volatile")
        updated = msgspec.structs.replace(node.agents.spec("b").config, resources=Resources(timeout=5.0))
        await node.agents.update("b", None, updated)
        made = await node.settings.rollback(0, who=WHO)
        assert [(one.agent, one.key, one.after) for one in made.changes] == [("b", "delivery", "")]
        assert node.agents.spec("a").config.delivery == "volatile"
        assert node.agents.spec("b").config.resources.timeout == 5.0
        assert "version 1 changed an agent a that is no more" in caplog.text
        assert "agent b: resources.timeout stays 5s, which came by an update" in caplog.text


async def test_what_an_agent_cannot_be_told(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        with pytest.raises(
            InvalidConfig, match=r"circuit-breaker\.timeout: of an agent that runs these may be changed"
        ):
            await node.settings.set({"circuit-breaker.timeout": "10s"}, agent="a", who=WHO)
        with pytest.raises(InvalidConfig, match="limit exceeds maximum"):
            await node.settings.set({"resources.cpu": "5000m"}, agent="a", who=WHO)
        with pytest.raises(AgentNotFound):
            await node.settings.set({"delivery": "durable"}, agent="nobody", who=WHO)
        assert node.agents.spec("a").version == 1


def test_dynamic_keys_of_an_agent() -> None:
    dynamic = {key for key, leaf in table_leaves(AgentConfig).items() if leaf.key.dynamic}
    assert {"delivery", "resources.cpu", "resources.timeout", "health_check.interval"} <= dynamic
    assert "resources.memory" not in dynamic
