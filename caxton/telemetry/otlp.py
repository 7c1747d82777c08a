"""Metrics and spans as OpenTelemetry's collectors take them: OTLP over HTTP, by the official exporters.

They belong to the extra `caxton[otlp]` and are imported when a server pushes. They block while they send, so whoever
calls `push` does that in a thread of its own. Its own variables (`OTEL_EXPORTER_OTLP_HEADERS`, `…_CERTIFICATE`,
`…_COMPRESSION`) hold here too.
"""

import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import caxton
from caxton.core.errors import InvalidConfig
from caxton.core.metrics import Collected, Distribution, Family, Metric, Point

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import export
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

SCOPE = "caxton"


def check_exporter(key: str) -> None:
    """Raises InvalidConfig when what *key* asks for needs the exporter, and it is not installed."""
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:  # of a package above it
        found = None
    if found is None:
        raise InvalidConfig(f"{key}: OpenTelemetry's exporter is not installed", hint="pip install 'caxton[otlp]'")


class SpanRecord(NamedTuple):
    name: str
    kind: Literal["PRODUCER", "CONSUMER"]
    trace: str
    span: str
    parent: str  # empty: a root
    began_us: int  # since the epoch
    ended_us: int
    attributes: Mapping[str, str]
    error: str  # empty: it ended well


class Pusher:
    """One connection to a collector. Made and used in threads, one at a time."""

    def __init__(self, endpoint: str, seconds: float) -> None:
        self._endpoint = endpoint
        self._seconds = seconds
        self._exporter: Any = None  # Any: of the extra

    def push_metrics(self, collected: Collected) -> bool:
        """Whether the collector has taken it. It is tried again for a while where that may help; never raises."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import MetricExportResult

        if self._exporter is None:
            self._exporter = OTLPMetricExporter(self._endpoint, timeout=self._seconds)
        return _said_once(
            self._exporter.export(metrics_data(collected)) is MetricExportResult.SUCCESS, "metric_exporter"
        )

    def push_spans(self, spans: Sequence[SpanRecord], who: Mapping[str, str]) -> bool:
        """The same with spans of this server."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import SpanExportResult

        if self._exporter is None:
            self._exporter = OTLPSpanExporter(self._endpoint, timeout=self._seconds)
        resource = Resource(dict(who))
        readable = [_readable(span, resource) for span in spans]
        return _said_once(self._exporter.export(readable) is SpanExportResult.SUCCESS, "trace_exporter")

    def close(self) -> None:
        """A push that waits for its next attempt ends."""
        if self._exporter is not None:
            self._exporter.shutdown()


def _said_once(is_taken: bool, exporter: str) -> bool:
    """What an exporter says of a failure is of use once, not at each push until the collector is back."""
    name = f"opentelemetry.exporter.otlp.proto.http.{exporter}"
    logging.getLogger(name).setLevel(logging.NOTSET if is_taken else logging.CRITICAL)
    return is_taken


def _readable(span: SpanRecord, resource: "Resource") -> "ReadableSpan":
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    trace, sampled = int(span.trace, 16), TraceFlags(TraceFlags.SAMPLED)
    parent = SpanContext(trace, int(span.parent, 16), is_remote=False, trace_flags=sampled) if span.parent else None
    return ReadableSpan(
        name=span.name,
        context=SpanContext(trace, int(span.span, 16), is_remote=False, trace_flags=sampled),
        parent=parent,
        resource=resource,
        attributes=span.attributes,
        kind=SpanKind[span.kind],
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
        start_time=span.began_us * 1000,
        end_time=span.ended_us * 1000,
        instrumentation_scope=InstrumentationScope(SCOPE, caxton.__version__),
    )


def metrics_data(collected: Collected) -> "export.MetricsData":
    """The same in the exporter's words."""
    from opentelemetry.sdk.metrics import export
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    at = round(collected.at * 1e9)
    metrics = [_metric(family, at) for family in collected.families if family.points]
    scope = export.ScopeMetrics(scope=InstrumentationScope(SCOPE, caxton.__version__), metrics=metrics, schema_url="")
    resource = Resource(dict(collected.resource))
    return export.MetricsData([export.ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")])


def _metric(family: Family, at: int) -> "export.Metric":
    from opentelemetry.sdk.metrics import export

    metric, since = family.metric, round(family.since * 1e9)
    cumulative = export.AggregationTemporality.CUMULATIVE
    data: export.Histogram | export.Sum | export.Gauge
    if metric.kind == "histogram":
        data = export.Histogram([_histogram_point(metric, point, since, at) for point in family.points], cumulative)
    else:
        points = [
            export.NumberDataPoint(
                attributes=_attributes(metric, point),
                start_time_unix_nano=since if metric.kind == "counter" else 0,
                time_unix_nano=at,
                value=point.value,  # type: ignore[arg-type]  # only histograms have distributions
            )
            for point in family.points
        ]
        data = export.Sum(points, cumulative, is_monotonic=True) if metric.kind == "counter" else export.Gauge(points)
    return export.Metric(name=metric.name, description=metric.meaning, unit=metric.unit, data=data)


def _histogram_point(metric: Metric, point: Point, since: int, at: int) -> "export.HistogramDataPoint":
    from opentelemetry.sdk.metrics import export

    assert isinstance(point.value, Distribution), "histograms have distributions"
    return export.HistogramDataPoint(
        attributes=_attributes(metric, point),
        start_time_unix_nano=since,
        time_unix_nano=at,
        count=sum(point.value.counts),
        sum=point.value.sum,
        bucket_counts=list(point.value.counts),
        explicit_bounds=list(point.value.bounds),
        min=None,  # type: ignore[arg-type]  # not known, which the encoder leaves out
        max=None,  # type: ignore[arg-type]
    )


def _attributes(metric: Metric, point: Point) -> dict[str, str]:
    """Without those that say nothing: OpenTelemetry leaves out what Prometheus writes as an empty label."""
    return {name: value for name, value in zip(metric.labels, point.labels, strict=True) if value}
