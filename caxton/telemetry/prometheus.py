"""Metrics as Prometheus reads them: its text format, or OpenMetrics for who asks for that.

The official client writes the formats (escaping, content negotiation); it is imported when the first one asks.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from caxton.core.metrics import Collected, Distribution, Family

if TYPE_CHECKING:
    from prometheus_client import Metric


def render(collected: Collected, accept: str) -> tuple[bytes, str]:
    """The text, and what it is. *accept* is the header of the request."""
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(accept)
    return encode(_Collector(collected)), content_type


class _Collector:
    """What the client calls a registry: something to collect."""

    def __init__(self, collected: Collected) -> None:
        self._collected = collected

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import InfoMetricFamily

        who = {name.replace(".", "_"): value for name, value in self._collected.resource.items()}
        yield InfoMetricFamily("target", "Who this is, as OpenTelemetry has it.", value=who)
        for family in self._collected.families:
            yield _family(family)


def _family(family: Family) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.utils import floatToGoString

    metric = family.metric
    name, help_text = metric.prometheus, metric.meaning.replace("`", "")
    labels = [label.replace(".", "_") for label in metric.labels]
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, help_text, labels=labels)
        for point in family.points:
            assert isinstance(point.value, Distribution), "histograms have distributions"
            bounds = [*map(floatToGoString, point.value.bounds), "+Inf"]
            buckets = list(zip(bounds, accumulate(point.value.counts), strict=True))
            histogram.add_metric(point.labels, buckets, point.value.sum)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    single = kind(name, help_text, labels=labels)
    for point in family.points:
        single.add_metric(point.labels, point.value)  # type: ignore[arg-type]  # only histograms have distributions
    return single
