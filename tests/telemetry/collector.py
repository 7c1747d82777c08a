"""An OpenTelemetry collector, as far as who pushes sees it: OTLP over HTTP, decoded with the official protobuf."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import attrs
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PATIENCE = 20


@attrs.define(eq=False)
class Collector:
    url: str = ""
    status: int = 200  # of its answers
    pushed: "Queue[ExportMetricsServiceRequest]" = attrs.field(factory=Queue)
    traced: "Queue[ExportTraceServiceRequest]" = attrs.field(factory=Queue)

    @property
    def base(self) -> str:
        return self.url.removesuffix("/v1/metrics")

    def next(self) -> ExportMetricsServiceRequest:
        """What comes next; it waits, so it is for a thread."""
        return self.pushed.get(timeout=PATIENCE)


def spans_of(request: ExportTraceServiceRequest) -> list[Span]:
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def metrics_of(request: ExportMetricsServiceRequest) -> dict[str, Metric]:
    return {
        metric.name: metric
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def texts(attributes: "Iterator[KeyValue] | list[KeyValue]") -> dict[str, str]:
    return {each.key: each.value.string_value for each in attributes}


@contextmanager
def open_collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces" and collector.status == 200:
                collector.traced.put(ExportTraceServiceRequest.FromString(body))
            elif self.path == "/v1/traces":
                collector.traced.put(ExportTraceServiceRequest())
            elif self.path == "/v1/metrics" and collector.status == 200:
                collector.pushed.put(ExportMetricsServiceRequest.FromString(body))
            elif self.path == "/v1/metrics":
                collector.pushed.put(ExportMetricsServiceRequest())
            self.send_response(collector.status if self.path in ("/v1/metrics", "/v1/traces") else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}/v1/metrics"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
