"""The keys of `observability.metrics` and `observability.tracing`: numbers over time, and the ways of messages.

Who counts: `node/meter.py`. Who traces: `node/tracer.py`.
"""

from itertools import pairwise
from math import isfinite
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta

from caxton.core.settings import YES, Key, Percent

MOST_BUCKETS = 64
MOST_AGENTS = 10_000
GRPC = "is where collectors speak gRPC"

Interval = Annotated[float, Meta(ge=0.1, extra={"unit": "duration"})]


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: Annotated[
        bool, Key("count and time what happens, for [Prometheus and OpenTelemetry](metrics.md)", dynamic=YES)
    ] = False
    export_interval: Annotated[Interval, Key("between two pushes to `endpoint`", dynamic=YES)] = 10.0
    histogram_buckets: Annotated[
        tuple[float, ...],
        Key("upper bounds in seconds; other ones are new histograms, which begin with 0", dynamic=YES),
    ] = (0.000_001, 0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
    endpoint: Annotated[
        str,
        Key(
            "where metrics are pushed to, beside being served: OTLP over HTTP, such as "
            "`http://localhost:4318/v1/metrics`; needs `caxton[otlp]`",
            dynamic=YES,
            env="OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        ),
    ] = ""
    agent_series: Annotated[
        Annotated[int, Meta(ge=0, le=MOST_AGENTS)],
        Key("agents with numbers of their own, the first that come; all others are one: `(other)`", dynamic=YES),
    ] = 100


class TracingConfig(msgspec.Struct, frozen=True, kw_only=True):
    enabled: Annotated[
        bool,
        Key("tell a collector of OpenTelemetry the [way of messages](tracing.md); needs `caxton[otlp]`", dynamic=YES),
    ] = False
    backend: Annotated[
        Literal["otlp", "jaeger", "zipkin"],
        Key("what the endpoint is; Jaeger takes OTLP, and Zipkin needs a collector before it", dynamic=YES),
    ] = "otlp"
    endpoint: Annotated[
        str, Key("where it is: OTLP over HTTP, `/v1/traces` is added", dynamic=YES, env="OTEL_EXPORTER_OTLP_ENDPOINT")
    ] = "http://localhost:4318"
    sample_rate: Annotated[
        Percent,
        Key(
            "share of the messages from outside that begin a trace; who comes with one has decided",
            dynamic=YES,
            env="OTEL_TRACES_SAMPLER_ARG",
        ),
    ] = 0.1
    export_timeout: Annotated[Interval, Key("of one export, with all its attempts", dynamic=YES)] = 10.0
    service_name: Annotated[
        str, Key("this server's name in traces and metrics", dynamic=YES, env="OTEL_SERVICE_NAME")
    ] = "caxton"
    resource_attributes: Annotated[
        str, Key("more about this server there: key=value,key=value", dynamic=YES, env="OTEL_RESOURCE_ATTRIBUTES")
    ] = ""

    @property
    def traces_url(self) -> str:
        """As OpenTelemetry says of `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        path = "/v1/traces"
        return self.endpoint if self.endpoint.endswith(path) else self.endpoint.rstrip("/") + path

    @property
    def attributes(self) -> dict[str, str]:
        """`resource_attributes`, read as OpenTelemetry says: values may be percent-encoded."""
        pairs = (pair.partition("=") for pair in self.resource_attributes.split(",") if pair.strip())
        return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


def check_tracing(problems: list[str], tracing: TracingConfig) -> None:
    """What no single value shows."""
    for pair in tracing.resource_attributes.split(","):
        name, found, _ = pair.partition("=")
        if pair.strip() and not (found and name.strip()):
            problems.append(f"observability.tracing.resource_attributes: {pair!r} is not key=value")
    if not tracing.service_name:
        problems.append("observability.tracing.service_name: missing; caxton is as good as any")
    if tracing.enabled and tracing.backend == "zipkin":
        problems.append(
            "observability.tracing.backend: Zipkin's own format is not spoken; write otlp, and let OpenTelemetry's "
            "collector hand traces on to it"
        )
    if not tracing.enabled:
        return  # variables of other programs' may stand here
    if not tracing.endpoint:
        problems.append("observability.tracing.endpoint: missing; http://localhost:4318 is a collector on this machine")
    elif (problem := _not_an_address(tracing.endpoint)) and GRPC not in problem:
        # the guide has the port of gRPC: `config lint` says what is to be there
        problems.append(f"observability.tracing.endpoint: {problem}")


def check_metrics(problems: list[str], metrics: MetricsConfig) -> None:
    """What no single value shows."""
    bounds = metrics.histogram_buckets
    key = "observability.metrics.histogram_buckets"
    if not 0 < len(bounds) <= MOST_BUCKETS:
        problems.append(f"{key}: {len(bounds)} bounds; there can be 1 to {MOST_BUCKETS}")
    for bound in bounds:
        if not (isfinite(bound) and 1e-9 <= bound <= 1e9):
            problems.append(f"{key}: {bound} is no bound; expected seconds from 0.000000001 to 1000000000")
    for before, after in pairwise(bounds):
        # a bound is held in nanoseconds
        if round(before * 1e9) >= round(after * 1e9):
            problems.append(f"{key}: {after} comes after {before}; expected bounds that grow")
    if metrics.enabled and (problem := _not_an_address(metrics.endpoint)):
        problems.append(f"observability.metrics.endpoint: {problem}")


def _not_an_address(endpoint: str) -> str:
    """What is wrong with it; empty: nothing, or there is none."""
    if not endpoint:
        return ""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        return f"{endpoint!r} is no address: {error}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"{endpoint!r} is no address; expected one such as http://localhost:4318/v1/metrics"
    if port == 4317:
        return f"{endpoint!r} {GRPC}; expected their port for HTTP, which is mostly 4318"
    return ""
