"""Collectors that are not ours: OpenTelemetry's service over gRPC, Python's server over HTTP."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from certificates import authority, of_server
from collector_servers import grpc_server, http_server
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


@dataclass
class Taken:
    """What a collector was sent, and what it is to answer."""

    url: str = ""
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Of the bodies as they came, over HTTP."""
    refusals: list[Any] = field(default_factory=list)
    """Statuses to refuse the next requests with."""
    rejected: int = 0
    news: threading.Event = field(default_factory=threading.Event)

    @property
    def spans(self) -> list[Any]:
        """All spans that came."""
        return [
            span
            for request in self.requests
            for part in request.resource_spans
            for some in part.scope_spans
            for span in some.spans
        ]

    def response(self) -> ExportTraceServiceResponse:
        response = ExportTraceServiceResponse()
        if self.rejected:
            response.partial_success.rejected_spans = self.rejected
            response.partial_success.error_message = "too old"
        return response


@contextmanager
def grpc_collector() -> Iterator[Taken]:
    """OpenTelemetry's service over gRPC."""
    taken = Taken()

    class Service(TraceServiceServicer):  # type: ignore[misc]
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
            taken.headers.append({pair.key: pair.value for pair in context.invocation_metadata()})
            taken.news.set()
            if taken.refusals:
                context.abort(taken.refusals.pop(0), "not now")
            taken.requests.append(request)
            return taken.response()

    with grpc_server(partial(add_TraceServiceServicer_to_server, Service())) as taken.url:
        yield taken


@contextmanager
def http_collector(certificate: Path | None = None) -> Iterator[Taken]:
    """A server of the standard library, with TLS if there is a certificate with its key."""
    taken = Taken()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.headers.append({key.lower(): value for key, value in self.headers.items()})
            taken.sizes.append(len(body))
            status, answer = 200, b""
            if self.path != "/v1/traces":
                status = 404
            elif taken.refusals:
                status = taken.refusals.pop(0)
            else:
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                taken.requests.append(ExportTraceServiceRequest.FromString(body))
                answer = taken.response().SerializeToString()
            self.send_response(status)
            if status == 503:
                self.send_header("Retry-After", "0")
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            taken.news.set()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with http_server(Handler, certificate) as address:
        taken.url = f"{address}/v1/traces"
        yield taken


def write_certificate(path: Path) -> None:
    """Write a key, its certificate for this machine, and the one of who has signed it."""
    ca = authority("collectors")
    own = of_server(ca, "collector")
    path.write_bytes(own.key + own.pem + ca.pem)
