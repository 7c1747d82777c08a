"""Metrics as Prometheus reads them, read back by its own client."""

from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from caxton.core.metrics import CATALOGUE, Collected, Distribution, Family, Metric, Point
from caxton.telemetry.prometheus import render

NASTY = 'a "name"\\ of\ntwo lines, ünïcode {x="1"} 7'
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
COLLECTED = Collected(
    [
        Family(CATALOGUE["caxton.agent.messages"], [Point((NASTY, "handled"), 3), Point(("b", "failed"), 0)], 1.0),
        Family(CATALOGUE["caxton.mailbox.messages"], [Point((), 17)], 1.0),
        Family(CATALOGUE["caxton.commit.duration"], [Point((), Distribution((0.000_01, 0.5), (1, 2, 4), 9.25))], 1.0),
        Family(CATALOGUE["caxton.webhook.deliveries"], [], 1.0),
    ],
    {"service.name": NASTY},
    2.0,
)


def samples(families: Iterable[Any]) -> dict[tuple[str, tuple[str, ...]], float]:
    """Any: the client's metrics."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value for family in families for sample in family.samples
    }


@pytest.mark.parametrize(
    ("accept", "kind", "read"),
    [
        ("", "text/plain; version=0.0.4", read_text),
        ("text/html", "text/plain; version=0.0.4", read_text),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0", read_openmetrics),
    ],
)
def test_both_formats_give_back_what_was_collected(accept: str, kind: str, read: Any) -> None:
    text, content_type = render(COLLECTED, accept)
    assert content_type.startswith(kind)
    families = list(read(text.decode()))
    assert samples(families) == {
        ("target_info", (NASTY,)): 1,
        ("caxton_agent_messages_total", (NASTY, "handled")): 3,
        ("caxton_agent_messages_total", ("b", "failed")): 0,
        ("caxton_mailbox_messages", ()): 17,
        ("caxton_commit_duration_seconds_bucket", ("1e-05",)): 1,
        ("caxton_commit_duration_seconds_bucket", ("0.5",)): 3,
        ("caxton_commit_duration_seconds_bucket", ("+Inf",)): 7,
        ("caxton_commit_duration_seconds_count", ()): 7,
        ("caxton_commit_duration_seconds_sum", ()): 9.25,
    }
    assert {family.type for family in families} >= {"counter", "gauge", "histogram"}


@pytest.mark.parametrize(
    ("metric", "exposed"),
    [
        (Metric("a.b.count", "counter", "{message}", ""), "a_b_count_total"),
        (Metric("a.duration", "histogram", "s", ""), "a_duration_seconds"),
        (Metric("a.seconds", "counter", "s", ""), "a_seconds_total"),
        (Metric("a-b.size", "gauge", "By", ""), "a_b_size_bytes"),
        (Metric("a.count", "gauge", "{x}", "", prometheus_name="as"), "as"),
    ],
)
def test_names_are_made_as_opentelemetry_says(metric: Metric, exposed: str) -> None:
    assert metric.exposed == exposed


def test_no_two_metrics_have_one_name() -> None:
    names = [metric.prometheus for metric in CATALOGUE.values()]
    assert len(set(names)) == len(names)
