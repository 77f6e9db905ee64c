"""A collector of metrics, over gRPC and over HTTP: it keeps what it is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

from collector_servers import grpc_server, http_server
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)


class Collected:
    """What arrived, the last of each metric."""

    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.target = ""
        self._came = threading.Condition()

    def take(self, request: ExportMetricsServiceRequest) -> None:
        with self._came:
            self.requests.append(request)
            self._came.notify_all()

    def wait(self, count: int, timeout_s: float = 20) -> None:
        """Wait until so many requests came."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.requests) >= count, timeout_s)

    @property
    def metrics(self) -> dict[str, Any]:
        return {
            metric.name: metric
            for request in self.requests
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def resource(self) -> dict[str, str]:
        (resource,) = self.requests[-1].resource_metrics
        return {one.key: one.value.string_value for one in resource.resource.attributes}


@contextmanager
def grpc_collector() -> Iterator[Collected]:
    """opentelemetry-proto's own service."""
    collected = Collected()

    class Service(MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - named by its proto
            collected.take(request)
            return ExportMetricsServiceResponse()

    add = partial(add_MetricsServiceServicer_to_server, Service())
    with grpc_server(add) as collected.target:
        yield collected


@contextmanager
def http_collector() -> Iterator[Collected]:
    """OTLP/HTTP, protobuf."""
    collected = Collected()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known = self.path == "/v1/metrics"
            if known:
                collected.take(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200 if known else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing."""

    with http_server(Handler) as collected.target:
        yield collected
