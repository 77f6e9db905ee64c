"""A file of OTLP/JSON lines that several processes append to.

One line is one ``ExportTraceServiceRequest``, as the OpenTelemetry protocol's file format
says. A line is written with one append, so the gateway, its clients and the spans of Triton
can share a file. At ``max_bytes`` the file becomes ``<name>.1``.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_log = logging.getLogger(__name__)
_MAX_BYTES = 64 * 1024 * 1024
_IDS = ("traceId", "spanId", "parentSpanId")


def request_to_json(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """Return a request as OTLP/JSON: numbers for enums, IDs in hex (not protobuf's base64)."""
    content: dict[str, Any] = MessageToDict(request, use_integers_for_enums=True)
    for carrier in _carriers_of_ids(content):
        for name in _IDS:
            if name in carrier:
                carrier[name] = base64.b64decode(carrier[name]).hex()
    return content


def json_to_request(content: dict[str, Any]) -> ExportTraceServiceRequest:
    """Read OTLP/JSON; unknown fields are skipped, as the protocol says.

    Raises:
        ValueError: If it is not an ``ExportTraceServiceRequest``.
    """
    try:
        for carrier in _carriers_of_ids(content):
            for name in _IDS:
                if name in carrier:
                    carrier[name] = base64.b64encode(bytes.fromhex(carrier[name])).decode()
        return ParseDict(content, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except (AttributeError, TypeError, ValueError) as error:  # ParseError is a ValueError
        raise ValueError(f"not OTLP/JSON: {error}") from error
    except Exception as error:  # json_format.ParseError derives from Exception alone
        raise ValueError(f"not OTLP/JSON: {error}") from error


def _carriers_of_ids(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource_spans in content.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                yield span
                yield from span.get("links", ())


class TraceFile:
    """Appends spans to a file. Never raises for a full or missing disk: counts what was lost."""

    def __init__(self, path: Path, max_bytes: int = _MAX_BYTES) -> None:
        self.path = path
        self.lost_spans = 0
        self._max_bytes = max_bytes

    def write(self, request: ExportTraceServiceRequest) -> bool:
        """Append one line; return whether it was written."""
        line = json.dumps(request_to_json(request), separators=(",", ":")) + "\n"
        try:
            self._append(line.encode())
        except OSError as error:
            if not self.lost_spans:
                _log.warning("Cannot write spans to %s: %s", self.path, error)
            self.lost_spans += sum(
                len(scope.spans) for part in request.resource_spans for scope in part.scope_spans
            )
            return False
        return True

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Opened anew for each line: another process may just have put the file away.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(descriptor, line)
            if written < len(line):  # the disk is full; end the torn line so that the next is whole
                os.write(descriptor, b"\n")
                raise OSError(28, "short write")
            full = os.fstat(descriptor).st_size > self._max_bytes
        finally:
            os.close(descriptor)
        if full:
            os.replace(self.path, self.path.with_name(self.path.name + ".1"))


class FileSpanExporter(SpanExporter):
    """Writes this process's spans to a :class:`TraceFile`."""

    def __init__(self, file: TraceFile) -> None:
        self._file = file

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write one line."""
        written = self._file.write(encode_spans(spans))
        return SpanExportResult.SUCCESS if written else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Do nothing: every line is in the file already."""
