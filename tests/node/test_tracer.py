"""Traces of a node, as its collector sees them."""

import logging
from pathlib import Path
from typing import Any

import pytest
import trio
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from caxton.core.config import load, load_config
from caxton.core.config_lint import Machine, lint
from caxton.core.config_telemetry import TracingConfig
from caxton.core.errors import InvalidConfig
from caxton.node import Node, tracer
from caxton.telemetry import otlp
from tests.node.opened import deploy, eventually, open_a_node
from tests.node.wat import example, guest, message
from tests.telemetry.collector import PATIENCE, Collector, open_collector, spans_of, texts

ON = "observability.tracing.enabled=true"
ALL = "observability.tracing.sample_rate=100%"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "EXPORT_SECONDS", 0.02)


async def spans(collector: Collector, number: int) -> list[Span]:
    """The next ones, in the order of their begin."""
    found: list[Span] = []
    while len(found) < number:
        found += spans_of(await trio.to_thread.run_sync(collector.traced.get, True, PATIENCE))
    return sorted(found, key=lambda span: span.start_time_unix_nano)


async def set_keys(node: Node, **changes: object) -> None:
    keys = {f"observability.tracing.{key}": value for key, value in changes.items()}
    await node.settings.set(keys, who="a test")


async def test_a_request_and_the_turns_that_it_causes_are_one_trace(tmp_path: Path) -> None:
    with open_collector() as collector:
        sets = (ON, f"observability.tracing.endpoint={collector.base}", "observability.tracing.service_name=orders")
        more = "observability.tracing.resource_attributes=deployment.environment=test,team=a%20b"
        async with open_a_node(tmp_path, *sets, more) as node:
            await deploy(node, "echo", example("echo"))
            traceparent = f"00-{TRACE}-{CALLER}-01"
            reply = await node.bus.request(
                message("echo", 1, conversation_id="c1"), timeout=10, traceparent=traceparent
            )
            request: Any = await trio.to_thread.run_sync(collector.traced.get, True, PATIENCE)
            resource = texts(list(request.resource_spans[0].resource.attributes))
            found = spans_of(request)
            while len(found) < 2:
                found += await spans(collector, 1)
            sent, turn = sorted(found, key=lambda span: span.start_time_unix_nano)
            assert (
                resource.items()
                >= {
                    "service.name": "orders",
                    "service.instance.id": node.store.meta.node_id,
                    "deployment.environment": "test",
                    "team": "a b",
                }.items()
            )
    assert {span.trace_id.hex() for span in (sent, turn)} == {TRACE}
    assert (sent.parent_span_id.hex(), turn.parent_span_id) == (CALLER, sent.span_id)
    assert (sent.name, sent.kind) == ("send echo", Span.SPAN_KIND_PRODUCER)
    assert (turn.name, turn.kind) == ("process echo", Span.SPAN_KIND_CONSUMER)
    about = texts(list(turn.attributes))
    assert about.pop("messaging.message.id") == texts(list(sent.attributes))["messaging.message.id"]
    assert about.pop("caxton.sender").startswith("client:")
    assert about == {
        "messaging.system": "caxton",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "echo",
        "messaging.message.conversation_id": "c1",
        "caxton.performative": "request",
    }
    assert sent.start_time_unix_nano <= turn.start_time_unix_nano <= turn.end_time_unix_nano
    assert (reply.traceparent or "") == f"00-{TRACE}-{turn.span_id.hex()}-01", "its caller can go on"


async def test_a_turn_that_fails_is_an_error(tmp_path: Path) -> None:
    with open_collector() as collector:
        sets = (ON, ALL, f"observability.tracing.endpoint={collector.base}/v1/traces", "messaging.retry_attempts=1")
        async with open_a_node(tmp_path, *sets) as node:
            await deploy(node, "c", guest("crash"), supervision={"max_restarts": 50})
            node.bus.post(message("c"))
            found = await spans(collector, 2)
            (turn,) = [span for span in found if span.name == "process c"]
            assert (turn.status.code, turn.status.message) == (Status.STATUS_CODE_ERROR, "agent-trapped")
            assert texts(list(turn.attributes))["error.type"] == "agent-trapped"
            (root,) = [span for span in found if span.name == "send c"]
            assert not root.parent_span_id


async def test_a_trace_goes_on_after_a_restart(tmp_path: Path) -> None:
    with open_collector() as collector:
        sets = (ON, ALL, f"observability.tracing.endpoint={collector.base}")
        async with open_a_node(tmp_path, *sets) as node:
            await deploy(node, "a")
            await node.agents.stop("a", grace=1, drain=False)
            await node.bus.settle([node.bus.post(message("a"))])
            (sent,) = await spans(collector, 1)
        async with open_a_node(tmp_path, *sets) as node:
            await node.agents.start("a")
            (turn,) = await spans(collector, 1)
            assert (turn.name, turn.trace_id, turn.parent_span_id) == ("process a", sent.trace_id, sent.span_id)


async def test_changed_while_it_runs(tmp_path: Path) -> None:
    with open_collector() as collector, open_collector() as other:
        async with open_a_node(tmp_path, f"observability.tracing.endpoint={collector.base}") as node:
            await deploy(node, "a")
            assert node.scheduler.records.spans is None
            await set_keys(node, enabled=True, sample_rate="100%")
            node.bus.post(message("a"))
            assert len(await spans(collector, 2)) == 2
            await set_keys(node, endpoint=other.base)
            node.bus.post(message("a"))
            assert len(await spans(other, 2)) == 2
            await set_keys(node, sample_rate="0%")
            node.bus.post(message("a"))
            await set_keys(node, sample_rate="100%", service_name="another")
            node.bus.post(message("a"))
            assert len(await spans(other, 2)) == 2
            with pytest.raises(InvalidConfig, match="Zipkin's own format"):
                await set_keys(node, backend="zipkin")
            await set_keys(node, enabled=False)
            assert node.scheduler.records.spans is None


async def test_what_nobody_takes_is_lost_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_collector() as collector:
        collector.status = 400
        caplog.set_level(logging.INFO)
        async with open_a_node(tmp_path, ON, ALL, f"observability.tracing.endpoint={collector.base}") as node:
            await deploy(node, "a")
            for _ in range(2):
                before = node.tracer.outcomes.get("failed", 0)
                node.bus.post(message("a"))
                await eventually(lambda before=before: node.tracer.outcomes.get("failed", 0) >= before + 2)
            collector.status = 200
            node.bus.post(message("a"))
            await eventually(lambda: node.tracer.outcomes.get("exported", 0) == 2)
            assert node.tracer.outcomes["failed"] == 4
    ours = [record.message for record in caplog.records if record.name == "caxton.node.tracer"]
    assert [text.partition(" to ")[0] for text in ours] == ["spans could not be pushed", "spans are pushed"]


async def test_an_export_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with trio.socket.socket() as silent:
        await silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sets = (f"observability.tracing.endpoint={url}", "observability.tracing.export_timeout=200ms")
        async with open_a_node(tmp_path, ON, ALL, *sets) as node:
            await deploy(node, "a")
            node.bus.post(message("a"))
            with trio.fail_after(5):  # the exporter's own patience is ten
                await eventually(lambda: node.tracer.outcomes.get("failed", 0) >= 1)


async def test_without_the_exporter_a_server_that_should_trace_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "find_spec", lambda name: None)
    with pytest.raises(InvalidConfig, match="exporter is not installed"):
        async with open_a_node(tmp_path, ON):
            pass
    # what is set for other programs does not matter while it is off
    async with open_a_node(tmp_path, "observability.tracing.endpoint=collector:4317"):
        pass


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["backend=zipkin"], "let OpenTelemetry's collector hand traces on to it"),
        (["endpoint=localhost:4318"], "'localhost:4318' is no address"),
        (["endpoint="], "observability.tracing.endpoint: missing"),
        (["service_name="], "observability.tracing.service_name: missing"),
        (["resource_attributes=a=1,b"], "'b' is not key=value"),
        (["sample_rate=101%"], "sample_rate"),
        (["export_timeout=0s"], "too small"),
    ],
)
def test_what_cannot_be_meant(sets: list[str], said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_config(environ={"HOME": "/x"}, sets=[ON, *(f"observability.tracing.{each}" for each in sets)])
    assert said in str(caught.value)


def test_jaeger_takes_otlp_and_the_port_of_grpc_is_told(tmp_path: Path) -> None:
    sets = [ON, "observability.tracing.backend=jaeger", "observability.tracing.endpoint=http://localhost:4317"]
    loaded = load(None, environ={"HOME": str(tmp_path)}, sets=sets)
    (finding,) = [one for one in lint(loaded, Machine()) if one.key == "observability.tracing.endpoint"]
    assert "speak gRPC" in finding.text


def test_the_standard_s_variables() -> None:
    environ = {
        "HOME": "/x",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
        "OTEL_SERVICE_NAME": "orders",
        "OTEL_RESOURCE_ATTRIBUTES": "a=1, b = x%2Cy",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318/v1/metrics",
    }
    observability = load_config(environ=environ).observability
    tracing = observability.tracing
    assert (tracing.traces_url, tracing.sample_rate) == ("http://collector:4318/v1/traces", 0.25)
    assert (tracing.service_name, tracing.attributes) == ("orders", {"a": "1", "b": "x,y"})
    assert observability.metrics.endpoint == "http://collector:4318/v1/metrics"
    assert TracingConfig(endpoint="http://x/v1/traces").traces_url == "http://x/v1/traces"
