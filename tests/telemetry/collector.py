"""An OpenTelemetry collector, as far as who pushes sees it: OTLP over HTTP, decoded with the official protobuf."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import attrs
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

PATIENCE = 20


@attrs.define(eq=False)
class Collector:
    url: str = ""
    status: int = 200  # of its answers
    pushed: "Queue[ExportMetricsServiceRequest]" = attrs.field(factory=Queue)
    headers: list[dict[str, str]] = attrs.field(factory=list)

    def next(self) -> ExportMetricsServiceRequest:
        """What comes next; it waits, so it is for a thread."""
        return self.pushed.get(timeout=PATIENCE)


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
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            if self.path == "/v1/metrics" and collector.status == 200:
                collector.pushed.put(ExportMetricsServiceRequest.FromString(body))
            elif self.path == "/v1/metrics":
                collector.pushed.put(ExportMetricsServiceRequest())
            self.send_response(collector.status if self.path == "/v1/metrics" else 404)
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
