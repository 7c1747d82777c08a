"""Metrics as OpenTelemetry's collectors take them: OTLP over HTTP, by the official exporter.

It belongs to the extra `caxton[otlp]` and is imported when a server pushes. It blocks while it sends, so whoever calls
`push` does that in a thread of its own. Its own variables (`OTEL_EXPORTER_OTLP_HEADERS`, `…_CERTIFICATE`,
`…_COMPRESSION`) hold here too.
"""

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import caxton
from caxton.core.errors import InvalidConfig
from caxton.core.metrics import Collected, Distribution, Family, Metric, Point

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import export

SCOPE = "caxton"


def check_exporter(key: str) -> None:
    """Raises InvalidConfig when what *key* asks for needs the exporter, and it is not installed."""
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:  # of a package above it
        found = None
    if found is None:
        raise InvalidConfig(f"{key}: OpenTelemetry's exporter is not installed", hint="pip install 'caxton[otlp]'")


class MetricsPusher:
    """One connection to a collector. Made and used in threads, one at a time."""

    def __init__(self, endpoint: str, seconds: float) -> None:
        self._endpoint = endpoint
        self._seconds = seconds
        self._exporter: Any = None  # Any: of the extra

    def push(self, collected: Collected) -> bool:
        """Whether the collector has taken it. It is tried again for a while where that may help; never raises."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import MetricExportResult

        if self._exporter is None:
            self._exporter = OTLPMetricExporter(self._endpoint, timeout=self._seconds)
        is_taken = bool(self._exporter.export(metrics_data(collected)) is MetricExportResult.SUCCESS)
        # what it says of a failure is of use once, not at each push until the collector is back
        logging.getLogger("opentelemetry").setLevel(logging.NOTSET if is_taken else logging.CRITICAL)
        return is_taken

    def close(self) -> None:
        """A push that waits for its next attempt ends."""
        if self._exporter is not None:
            self._exporter.shutdown()


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
