"""Decodes traces: lines of OTLP/JSON, or one document of OTLP, Jaeger or Tempo.

What cannot be decoded is noted with its line and costs nothing but itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from gateway.telemetry.analysis.jaeger_structs import Answer, jaeger_spans
from gateway.telemetry.analysis.otlp_structs import LooseRequest, Request, Span
from gateway.telemetry.analysis.span_columns import BadSpan, SpanColumns

_request = msgspec.json.Decoder(Request)
_loose_request = msgspec.json.Decoder(LooseRequest)
_span = msgspec.json.Decoder(Span)
_jaeger = msgspec.json.Decoder(Answer)
_FIRST_KEY = re.compile(rb'\s*\{\s*"resourceSpans"')


@dataclass(frozen=True)
class Decoded:
    """What some lines, or a document, hold; line numbers start with 1."""

    spans: pl.DataFrame
    links: pl.DataFrame
    lines: int
    bad_lines: list[tuple[int, str]]
    bad_spans: list[tuple[int, str]]


def decode_lines(content: bytes) -> Decoded:
    """Decode lines, each an ``ExportTraceServiceRequest``."""
    columns, bad = SpanColumns(), _Bad()
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                _add_request(line, columns, bad, number)
            except msgspec.DecodeError as error:
                start = line[:40].decode(errors="replace")
                bad.lines.append((number, f"not OTLP/JSON ({start!r}): {error}"))
    return Decoded(*columns.frames(), len(lines) - 1, bad.lines, bad.spans)


def decode_document(content: bytes) -> Decoded | None:
    """Decode one document; ``None`` if it is not one."""
    columns, bad = SpanColumns(), _Bad()
    try:
        document = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return None
    try:
        for raw in _requests_of(document):
            _add_request(raw, columns, bad, 1)
        if "data" in document:
            for span, service in jaeger_spans(_jaeger.decode(content)):
                _add(span, service, columns, bad, 1)
    except msgspec.DecodeError as error:
        bad.lines.append((1, f"neither OTLP/JSON nor an answer of Jaeger or Tempo: {error}"))
    return Decoded(*columns.frames(), 1, bad.lines, bad.spans)


def is_line(line: bytes) -> bool:
    """Return whether a line is an ``ExportTraceServiceRequest`` of its own."""
    if not _FIRST_KEY.match(line):
        return False
    try:
        _loose_request.decode(line)
    except msgspec.DecodeError:
        return False
    return True


@dataclass
class _Bad:
    lines: list[tuple[int, str]] = field(default_factory=list)
    spans: list[tuple[int, str]] = field(default_factory=list)


def _requests_of(document: dict[str, Any]) -> Iterator[bytes]:
    """Give each ``ExportTraceServiceRequest`` in a document; Tempo names them otherwise."""
    if "trace" in document:  # Tempo, version 2 of its API
        document = msgspec.json.decode(document["trace"], type=dict[str, msgspec.Raw])
    for name in ("resourceSpans", "batches"):
        if name in document:
            yield b'{"resourceSpans":' + bytes(document[name]) + b"}"


def _add_request(content: bytes, columns: SpanColumns, bad: _Bad, line: int) -> None:
    """Add the spans of a request.

    Raises:
        msgspec.DecodeError: If it is none.
    """
    try:
        request = _request.decode(content)
    except msgspec.ValidationError:
        _add_loosely(content, columns, bad, line)
        return
    for part in request.resourceSpans:
        service = part.resource.service
        for scope in part.scopeSpans:
            for span in scope.spans:
                _add(span, service, columns, bad, line)


def _add_loosely(content: bytes, columns: SpanColumns, bad: _Bad, line: int) -> None:
    """Add the good spans of a request that has bad ones."""
    for part in _loose_request.decode(content).resourceSpans:
        service = part.resource.service
        for scope in part.scopeSpans:
            for raw in scope.spans:
                try:
                    span = _span.decode(raw)
                except msgspec.ValidationError as error:
                    bad.spans.append((line, f"a span that cannot be read: {error}"))
                else:
                    _add(span, service, columns, bad, line)


def _add(span: Span, service: str, columns: SpanColumns, bad: _Bad, line: int) -> None:
    try:
        columns.add(span, service)
    except BadSpan as error:
        bad.spans.append((line, f"a span that cannot be used: {error}"))
