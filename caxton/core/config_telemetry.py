"""The keys of `observability.metrics`: numbers over time. Who counts: `node/meter.py`."""

from itertools import pairwise
from math import isfinite
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from caxton.core.settings import YES, Key

MOST_BUCKETS = 64
MOST_AGENTS = 10_000

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
    problem = _not_an_address(metrics.endpoint)
    if problem:
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
        return f"{endpoint!r} is where collectors speak gRPC; expected their port for HTTP, which is mostly 4318"
    return ""
