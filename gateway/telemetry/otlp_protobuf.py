"""Spans as OTLP's protobuf messages."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, cast

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from gateway.telemetry.span import Attribute, Attributes, Event, Kind, Link, Source, Status

# Tags of trace.proto: field number and wire type in a byte, and the length where it is fixed.
_TRACE_ID, _SPAN_ID, _PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_START, _END = 0x39, 0x41
_OWN = Struct("<2s8sBQBQ")
_TIMES = Struct("<BQBQ")
_OWN_BYTES = len(_TRACE_ID) + 16 + _OWN.size
"""Of a span that has trace, ID and times only."""
_LINK = Struct("<2s2s16s2s8s")
_LINKS = b"\x6a\x1c"
_SPANS_OF_SCOPE = _SCOPES_OF_RESOURCE = b"\x12"
_RESOURCES = b"\x0a"

_IDS = ("traceId", "spanId", "parentSpanId")


class ProtobufSpans:
    """Encodes spans for a collector."""

    def constant(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        status: Status = Status.UNSET,
        message: str = "",
    ) -> bytes:
        """Encode what a span shares with others."""
        span = trace_pb2.Span(name=_text(name), attributes=_attributes(attributes))
        span.kind = cast(trace_pb2.Span.SpanKind.ValueType, kind.value)
        if status:
            span.status.code = cast(trace_pb2.Status.StatusCode.ValueType, status.value)
            span.status.message = _text(message)
        return span.SerializeToString()

    def frame(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        *,
        low: int | None = None,
        parent: bool = True,
        rest_bytes: int = 0,
    ) -> bytes:
        """Return a whole span, with places for what is its own."""
        constant = self.constant(name, kind, attributes)
        size = _OWN_BYTES + (len(_PARENT_ID) + 8) * parent + len(constant) + rest_bytes
        parts = [
            _SPANS_OF_SCOPE + _varint(size), None,
            _SPAN_ID, None, b"" if low is None else bytes([low]),
            *((_PARENT_ID, None) if parent else ()),
            constant, None,
            *((None,) if rest_bytes else ()),
        ]  # fmt: skip
        # Any byte may be a "%".
        return b"".join([b"%b" if one is None else one.replace(b"%", b"%%") for one in parts])

    def trace(self, trace_id: int) -> bytes:
        """Return the field of its ID."""
        return _TRACE_ID + trace_id.to_bytes(16, "big")

    def parent(self, span_id: int) -> bytes:
        """Return the field that names it; 0: nothing."""
        return _PARENT_ID + span_id.to_bytes(8, "big") if span_id else b""

    def span(
        self,
        constant: bytes,
        trace: bytes,
        span_id: int,
        parent: bytes,
        start_ns: int,
        end_ns: int,
        rest: bytes = b"",
    ) -> bytes:
        """Encode a span, as a field of its scope's."""
        own = _OWN.pack(_SPAN_ID, span_id.to_bytes(8, "big"), _START, start_ns, _END, end_ns)
        size = _OWN_BYTES + len(parent) + len(constant) + len(rest)
        return b"%b%b%b%b%b%b%b" % (
            _SPANS_OF_SCOPE, _varint(size), trace, own, parent, constant, rest,
        )  # fmt: skip

    def number(self, span_id: int) -> bytes:
        """Return its 8 bytes."""
        return span_id.to_bytes(8, "big")

    def high(self, number: bytes) -> bytes:
        """Return an ID without its last byte."""
        return number[:-1]

    def times(self, start_ns: int, end_ns: int) -> bytes:
        """Return the fields of both."""
        return _TIMES.pack(_START, start_ns, _END, end_ns)

    def links(self, others: Iterable[tuple[int, int]]) -> bytes:
        """Return the fields that a span has for its links."""
        return b"".join(
            [
                _LINK.pack(
                    _LINKS, _TRACE_ID, trace.to_bytes(16, "big"), _SPAN_ID, one.to_bytes(8, "big")
                )
                for trace, one in others
            ]
        )

    def rest(
        self, links: Sequence[Link] = (), events: Sequence[Event] = (), trace_state: str = ""
    ) -> bytes:
        """Return the fields that few spans have."""
        return _rest(links, events, trace_state) if links or events or trace_state else b""

    def together(self, spans: Sequence[bytes]) -> bytes:
        """Return them one after the other: each is a field."""
        return b"".join(spans)

    def request(self, spans: Iterable[tuple[Source, Sequence[bytes]]]) -> bytes:
        """Return an ``ExportTraceServiceRequest``."""
        parts: list[bytes] = []
        for source, some in spans:
            scope = trace_pb2.ScopeSpans(
                scope=InstrumentationScope(name=source.scope, version=source.version)
            )
            resource = trace_pb2.ResourceSpans(
                resource=Resource(attributes=_attributes(source.resource))
            )
            content = b"".join((scope.SerializeToString(), *some))
            head = resource.SerializeToString() + _SCOPES_OF_RESOURCE + _varint(len(content))
            parts += (_RESOURCES, _varint(len(head) + len(content)), head, content)
        return b"".join(parts)


def protobuf_to_json(data: bytes) -> dict[str, Any]:
    """Return a serialised ``ExportTraceServiceRequest`` as OTLP/JSON.

    Raises:
        ValueError: If it is no such message.
    """
    try:
        request = ExportTraceServiceRequest.FromString(data)
    except DecodeError as error:
        raise ValueError("not an ExportTraceServiceRequest") from error
    content: dict[str, Any] = MessageToDict(request, use_integers_for_enums=True)
    for carrier in _carriers_of_ids(content):
        for name in _IDS:  # protobuf's own JSON has them in base64
            if name in carrier:
                carrier[name] = b64decode(carrier[name]).hex()
    return content


def _carriers_of_ids(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in content.get("resourceSpans", ()):
        for some in part.get("scopeSpans", ()):
            for span in some.get("spans", ()):
                yield span
                yield from span.get("links", ())


def _rest(links: Sequence[Link], events: Sequence[Event], trace_state: str) -> bytes:
    span = trace_pb2.Span(trace_state=trace_state)
    for link in links:
        span.links.add(
            trace_id=link.trace_id.to_bytes(16, "big"),
            span_id=link.span_id.to_bytes(8, "big"),
            attributes=_attributes(link.attributes),
        )
    for event in events:
        span.events.add(
            name=_text(event.name),
            time_unix_nano=event.time_ns,
            attributes=_attributes(event.attributes),
        )
    return span.SerializeToString()


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _attributes(attributes: Mapping[str, Attribute]) -> list[KeyValue]:
    return [KeyValue(key=_text(key), value=_value(value)) for key, value in attributes.items()]


def _text(text: str) -> str:
    """Return it as UTF-8 can say it: errors may quote bytes that are none."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _value(value: Attribute) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=_text(value))
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    message = AnyValue()
    message.array_value.values.extend(_value(one) for one in value)
    return message
