"""Metrics of a node: what is counted, by whom, and that nothing is while they are off."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

import caxton
from caxton.core.config import load_config
from caxton.core.config_keys import Config
from caxton.core.errors import AgentNotFound, InvalidConfig, NotFound
from caxton.core.metrics import CATALOGUE, OTHER, Distribution
from caxton.node import Node
from caxton.telemetry import otlp
from tests.node.opened import deploy, eventually, open_a_node, until
from tests.node.wat import guest, message
from tests.telemetry.collector import metrics_of, open_collector, texts

ON = "observability.metrics.enabled=true"
Held = Mapping[tuple[str, ...], Any]  # Any: a number or a distribution


def held(node: Node, name: str) -> Held:
    """One metric now."""
    (family,) = [family for family in node.meter.collect().families if family.metric.name == name]
    return {tuple(point.labels): point.value for point in family.points}


def count(distribution: Distribution) -> int:
    return sum(distribution.counts)


async def set_keys(node: Node, **changes: object) -> None:
    keys = {f"observability.metrics.{key}": value for key, value in changes.items()}
    await node.settings.set(keys, who="a test")


async def handle(node: Node, name: str, messages: int = 1) -> None:
    """Post so many, and wait until they are handled."""
    before = node.scheduler.totals()["handled"]
    for _ in range(messages):
        node.bus.post(message(name))
    await eventually(lambda: node.scheduler.totals()["handled"] >= before + messages)


async def test_off_means_off(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        assert node.scheduler.records.meters is None
        assert node.meter.requests is None
        with pytest.raises(NotFound, match="keeps no metrics") as caught:
            await node.meter.exposition("")
        assert "observability.metrics.enabled=true" in caught.value.hint


async def test_everything_in_the_catalogue_is_collected_and_nothing_else(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ON) as node:
        collected = node.meter.collect()
        names = [family.metric.name for family in collected.families]
        assert sorted(names) == sorted(CATALOGUE)
        for family in collected.families:
            for point in family.points:
                assert len(point.labels) == len(family.metric.labels)
                assert isinstance(point.value, Distribution) is (family.metric.kind == "histogram")
        text, _ = await node.meter.exposition("")
        families = {family.name for family in text_string_to_metric_families(text.decode())}
        assert families == {metric.prometheus for metric in CATALOGUE.values()} | {"target_info"}


async def test_messages_and_turns(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ON) as node:
        await deploy(node, "a")
        await handle(node, "a", 3)
        with pytest.raises(AgentNotFound):
            node.bus.post(message("nobody"))
        assert held(node, "caxton.messages.accepted") == {("request", "outside"): 3}
        assert held(node, "caxton.messages.refused") == {("agent-not-found",): 1}
        turns = held(node, "caxton.turns")
        assert (turns["message", "handled"], turns["init", "handled"]) == (3, 1)
        for name in ("caxton.messages.wait.duration", "messaging.process.duration"):
            (duration,) = held(node, name).values()
            assert count(duration) == 3
            assert duration.sum > 0
        assert held(node, "caxton.agents")["running",] == 1


async def test_crashes_and_dead_letters(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ON, "messaging.retry_attempts=1") as node:
        await deploy(node, "c", guest("crash"), supervision={"max_restarts": 50})
        node.bus.post(message("c"))
        await until(node, lambda: node.dead_letters.since_start == 1)
        await eventually(lambda: bool(held(node, "caxton.agent.exits")))
        assert held(node, "caxton.agent.exits") == {("trap",): 1}
        assert held(node, "caxton.agent.restarts")["c",] == 1
        assert held(node, "caxton.dead_letters") == {("agent-trapped",): 1}
        assert held(node, "caxton.dead_letters.kept") == {("agent-trapped",): 1}
        assert held(node, "caxton.turns")["message", "agent-trapped"] == 1
        assert held(node, "caxton.agent.messages")["c", "failed"] == 1
        await node.dead_letters.purge()
        assert held(node, "caxton.dead_letters") == {("agent-trapped",): 1}
        assert held(node, "caxton.dead_letters.kept") == {}


async def test_commits_are_timed(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ON) as node:
        (before,) = map(count, held(node, "caxton.commit.duration").values())
        await deploy(node, "a")
        await node.bus.settle([node.bus.post(message("a"))])
        (after,) = held(node, "caxton.commit.duration").values()
        assert count(after) > before
        assert after.sum > 0


async def test_agents_beyond_the_bound_share_one_series(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ON, "observability.metrics.agent_series=2") as node:
        for name in ("a", "b", "c", "d"):
            await deploy(node, name)
            await handle(node, name)
        messages = held(node, "caxton.agent.messages")
        assert {name for name, _ in messages} == {"a", "b", OTHER}
        assert (messages["a", "handled"], messages[OTHER, "handled"]) == (1, 2)
        await node.agents.delete("a")
        await handle(node, "c")
        messages = held(node, "caxton.agent.messages")
        assert {name for name, _ in messages} == {"b", "c", OTHER}, "the next one has the place"
        assert (messages["c", "handled"], messages[OTHER, "handled"]) == (1, 2), "no number falls"
        await set_keys(node, agent_series=0)
        assert {name for name, _ in held(node, "caxton.agent.messages")} == {OTHER}


async def test_turned_on_and_off_while_it_runs(tmp_path: Path) -> None:
    async with open_a_node(tmp_path) as node:
        await deploy(node, "a")
        await handle(node, "a", 2)
        await set_keys(node, enabled=True)
        await handle(node, "a")
        assert held(node, "caxton.messages.accepted") == {("request", "outside"): 1}, "from now on"
        await set_keys(node, enabled=False)
        assert node.scheduler.records.meters is None
        with pytest.raises(NotFound):
            node.meter.collect()
        await node.settings.rollback(None, who="a test")
        assert node.meter.is_on


async def test_other_buckets_are_new_histograms(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ON) as node:
        await deploy(node, "a")
        await handle(node, "a")
        with pytest.raises(InvalidConfig, match="bounds that grow"):
            await set_keys(node, histogram_buckets=[0.5, 0.1])
        counting = node.scheduler.records.meters
        await set_keys(node, export_interval="5s")
        assert node.scheduler.records.meters is counting, "nothing begins anew"
        await set_keys(node, histogram_buckets=[0.25, 2])
        await handle(node, "a")
        (duration,) = held(node, "messaging.process.duration").values()
        assert (duration.bounds, count(duration)) == ((0.25, 2.0), 1)


async def test_the_loop_is_looked_at(tmp_path: Path) -> None:
    async with open_a_node(tmp_path, ON) as node:
        await eventually(lambda: count(held(node, "caxton.event_loop.lag")[()]) > 0)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["histogram_buckets=[]"], "0 bounds; there can be 1 to 64"),
        (["histogram_buckets=[0, 1]"], "0.0 is no bound"),
        (["histogram_buckets=[1, 1]"], "1.0 comes after 1.0; expected bounds that grow"),
        (["endpoint=localhost"], "'localhost' is no address; expected one such as http://localhost:4318/v1/metrics"),
        (["endpoint=http://localhost:x/"], "is no address"),
        (["endpoint=http://localhost:4317"], "where collectors speak gRPC"),
        (["export_interval=0s"], "too small"),
        (["agent_series=-1"], "too small"),
    ],
)
def test_what_cannot_be_meant(sets: list[str], said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_config(
            environ={"HOME": "/x"}, sets=["server.port=0", ON, *(f"observability.metrics.{each}" for each in sets)]
        )
    assert said in str(caught.value)


def test_two_listeners_at_one_port_only_matter_when_there_are_two() -> None:
    def load(*sets: str) -> Config:
        return load_config(environ={"HOME": "/x"}, sets=["server.port=9090", *sets])

    assert load().server.metrics_port == 9090
    with pytest.raises(InvalidConfig, match="9090 is taken by"):
        load(ON)
    assert load(ON, "server.metrics_port=0")


async def test_pushed_to_a_collector(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_collector() as collector:
        sets = (ON, f"observability.metrics.endpoint={collector.url}", "observability.metrics.export_interval=100ms")
        collector.status = 400
        caplog.set_level(logging.INFO)
        async with open_a_node(tmp_path, *sets) as node:
            await deploy(node, "a")
            await handle(node, "a", 2)
            for _ in range(3):
                await trio.to_thread.run_sync(collector.next)
            collector.status = 200
            metrics: Mapping[str, Any] = {}
            while not metrics:
                request = await trio.to_thread.run_sync(collector.next)
                metrics = metrics_of(request)
            resource = texts(list(request.resource_metrics[0].resource.attributes))
            assert resource["service.name"] == "caxton"
            assert resource["service.version"] == caxton.__version__
            assert resource["service.instance.id"] == node.store.meta.node_id
            assert {name: metric.unit for name, metric in metrics.items()}.items() <= {
                name: metric.unit for name, metric in CATALOGUE.items()
            }.items()
            accepted = metrics["caxton.messages.accepted"].sum
            assert (accepted.is_monotonic, accepted.aggregation_temporality) == (True, 2), "cumulative"
            (point,) = accepted.data_points
            assert texts(list(point.attributes)) == {"performative": "request", "source": "outside"}
            assert point.as_int == 2
            assert 0 < point.start_time_unix_nano < point.time_unix_nano
            (turns,) = metrics["messaging.process.duration"].histogram.data_points
            assert texts(list(turns.attributes))["messaging.system"] == "caxton"
            assert list(turns.explicit_bounds) == list(node.config.observability.metrics.histogram_buckets)
            assert (turns.count, sum(turns.bucket_counts)) == (2, 2)
            assert not turns.HasField("min"), "nobody knows it"
            assert metrics["caxton.agents"].WhichOneof("data") == "gauge"
            await eventually(lambda: "again" in caplog.text)
    ours = [record.message for record in caplog.records if record.name == "caxton.node.meter"]
    assert [text.partition(" to ")[0] for text in ours] == ["metrics could not be pushed", "metrics are pushed"]


async def test_pushed_elsewhere_while_it_runs(tmp_path: Path) -> None:
    with open_collector() as one, open_collector() as other:
        async with open_a_node(tmp_path, ON, "observability.metrics.export_interval=100ms") as node:
            for collector in (one, other):
                await set_keys(node, endpoint=collector.url)
                assert metrics_of(await trio.to_thread.run_sync(collector.next))
            await set_keys(node, endpoint="")
            while not other.pushed.empty():
                other.next()
            await set_keys(node, endpoint=one.url)
            assert metrics_of(await trio.to_thread.run_sync(one.next))
            assert other.pushed.empty()


async def test_a_collector_that_does_not_answer_holds_up_nobody(tmp_path: Path) -> None:
    with trio.socket.socket() as silent:
        await silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/metrics"
        sets = (ON, f"observability.metrics.endpoint={url}", "observability.metrics.export_interval=100ms")
        with trio.fail_after(5):  # a push has ten
            async with open_a_node(tmp_path, *sets) as node:
                connection, _ = await silent.accept()
                await deploy(node, "a")
                await handle(node, "a")
            connection.close()


async def test_without_the_exporter_a_server_that_should_push_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "find_spec", lambda name: None)
    with pytest.raises(InvalidConfig, match="exporter is not installed") as caught:
        async with open_a_node(tmp_path, ON, "observability.metrics.endpoint=http://localhost:4318/v1/metrics"):
            pass
    assert caught.value.hint == "pip install 'caxton[otlp]'"
    async with open_a_node(tmp_path, ON) as node:
        with pytest.raises(InvalidConfig, match="exporter is not installed"):
            await set_keys(node, endpoint="http://localhost:4318/v1/metrics")
