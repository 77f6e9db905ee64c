"""Spans as OTLP/JSON: numbers for enums, IDs in hex, times as decimal strings of ns; and back.

The encoding is written out here because it runs for every sampled call, beside the calls that
are served: a span is one formatting of bytes, which is done in C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii as _quoted
from math import isfinite
from typing import Any

from gateway.telemetry.span import Attributes, Event, Kind, Link, Source, Span, Status
from gateway.telemetry.span_encoding import by_source

Json = dict[str, Any]

_NOT_FINITE = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
"""JSON has no number for them; protobuf's JSON says them so, and Python reads them."""
_SPAN = (
    b'{"traceId":"%%b","spanId":"%%016x",%%b%b,'
    b'"startTimeUnixNano":"%%d","endTimeUnixNano":"%%d"%%b}'
)
_TIMES = b'%d","endTimeUnixNano":"%d'
_LINK = b'{"traceId":"%032x","spanId":"%016x"}'
_KINDS = tuple(Kind)
_FAULTS = (AttributeError, KeyError, TypeError, ValueError)


class JsonSpans:
    """Encodes spans for a file."""

    def constant(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        status: Status = Status.UNSET,
        message: str = "",
    ) -> bytes:
        """Encode what a span shares with others: a whole span, with places for what is its own."""
        members = _members(name, kind, attributes)
        if status:
            said = f',"message":{_quoted(message)}' if message else ""
            members += f',"status":{{"code":{status.value}{said}}}'
        return _SPAN % members.encode().replace(b"%", b"%%")

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
        members = _members(name, kind, attributes).replace("%", "%%")
        own = f'"spanId":"%b{"" if low is None else f"{low:02x}"}"'
        above = ',"parentSpanId":"%b"' if parent else ""
        rest = "%b" if rest_bytes else ""
        text = f'{{"traceId":"%b",{own}{above},{members},"startTimeUnixNano":"%b"{rest}}}'
        return text.encode()

    def trace(self, trace_id: int) -> bytes:
        """Return its ID in hex."""
        return b"%032x" % trace_id

    def parent(self, span_id: int) -> bytes:
        """Return the member of a span that names it; 0: nothing."""
        return b'"parentSpanId":"%016x",' % span_id if span_id else b""

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
        """Encode a span."""
        return constant % (trace, span_id, parent, start_ns, end_ns, rest)

    def number(self, span_id: int) -> bytes:
        """Return the ID in hex."""
        return b"%016x" % span_id

    def high(self, number: bytes) -> bytes:
        """Return an ID without its last two digits."""
        return number[:-2]

    def times(self, start_ns: int, end_ns: int) -> bytes:
        """Return the digits of both, and the name of the end between them."""
        return _TIMES % (start_ns, end_ns)

    def links(self, others: Iterable[tuple[int, int]]) -> bytes:
        """Return the member that a span has for its links."""
        return b',"links":[%b]' % b",".join([_LINK % one for one in others])

    def rest(
        self, links: Sequence[Link] = (), events: Sequence[Event] = (), trace_state: str = ""
    ) -> bytes:
        """Return the members that few spans have."""
        members = ""
        if links:
            members += f',"links":[{",".join([_link(one) for one in links])}]'
        if events:
            members += f',"events":[{",".join([_event(one) for one in events])}]'
        if trace_state:
            members += f',"traceState":{_quoted(trace_state)}'
        return members.encode()

    def together(self, spans: Sequence[bytes]) -> bytes:
        """Return them as elements of an array."""
        return b",".join(spans)

    def request(self, spans: Iterable[tuple[Source, Sequence[bytes]]]) -> bytes:
        """Return an ``ExportTraceServiceRequest``, on one line."""
        # What stands around the spans goes to the first and the last, so that all are copied once.
        whole: list[bytes] = []
        for source, some in spans:
            version = f',"version":{_quoted(source.version)}' if source.version else ""
            around = (
                f'{{"resource":{{"attributes":{_attributes(source.resource)}}},"scopeSpans":['
                f'{{"scope":{{"name":{_quoted(source.scope)}{version}}},"spans":['
            )
            first = len(whole)
            whole += some or (b"",)
            whole[first] = around.encode() + whole[first]
            whole[-1] += b"]}]}"
        whole = whole or [b""]
        whole[0] = b'{"resourceSpans":[' + whole[0]
        whole[-1] += b"]}"
        return b",".join(whole)


def spans_to_json(spans: Iterable[Span]) -> bytes:
    """Return an ``ExportTraceServiceRequest`` with the spans, on one line."""
    encoder = JsonSpans()
    return encoder.request(by_source(encoder, spans).items())


def json_to_spans(content: Any, default_service: str = "unknown_service") -> list[Span]:
    """Return the spans of an ``ExportTraceServiceRequest``; unknown fields are skipped.

    Args:
        content: Parsed OTLP/JSON.
        default_service: ``service.name`` of a resource that has none.

    Raises:
        ValueError: If it is not OTLP/JSON.
    """
    return [read_span(span, source) for span, source in raw_spans(content, default_service)]


def raw_spans(
    content: Any, default_service: str = "unknown_service"
) -> Iterator[tuple[Json, Source]]:
    """Give the spans of an ``ExportTraceServiceRequest`` as they stand, and where each is from.

    Args:
        content: Parsed OTLP/JSON.
        default_service: ``service.name`` of a resource that has none.

    Raises:
        ValueError: If it is not OTLP/JSON.
    """
    try:
        for part in content.get("resourceSpans", ()):
            resource = {"service.name": default_service} | _read_attributes(
                part.get("resource", {})
            )
            for some in part.get("scopeSpans", ()):
                scope = some.get("scope", {})
                source = Source(
                    resource, str(scope.get("name", "")), str(scope.get("version") or "")
                )
                for span in some.get("spans", ()):
                    yield span, source
    except _FAULTS as error:
        raise ValueError(f"not OTLP/JSON: {type(error).__name__}: {error}") from error


def read_span(span: Json, source: Source) -> Span:
    """Return a span.

    Args:
        span: As it stands in OTLP/JSON.
        source: Where it is from.

    Raises:
        ValueError: If it is none.
    """
    try:
        return _read_span(span, source)
    except _FAULTS as error:
        raise ValueError(f"not OTLP/JSON: {type(error).__name__}: {error}") from error


def _members(name: str, kind: Kind, attributes: Attributes) -> str:
    members = f'"name":{_quoted(name)},"kind":{kind.value}'
    return f'{members},"attributes":{_attributes(attributes)}' if attributes else members


def _link(link: Link) -> str:
    said = f',"attributes":{_attributes(link.attributes)}' if link.attributes else ""
    return f'{{"traceId":"{link.trace_id:032x}","spanId":"{link.span_id:016x}"{said}}}'


def _event(event: Event) -> str:
    said = f',"attributes":{_attributes(event.attributes)}' if event.attributes else ""
    return f'{{"name":{_quoted(event.name)},"timeUnixNano":"{event.time_ns}"{said}}}'


def _attributes(attributes: Mapping[str, Any]) -> str:
    members = [
        f'{{"key":{_quoted(key)},"value":{_value(value)}}}' for key, value in attributes.items()
    ]
    return f"[{','.join(members)}]"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return f'{{"stringValue":{_quoted(value)}}}'
    if isinstance(value, bool):
        return f'{{"boolValue":{"true" if value else "false"}}}'
    if isinstance(value, int):
        return f'{{"intValue":"{int(value)}"}}'
    if isinstance(value, float):
        number = repr(float(value)) if isfinite(value) else _NOT_FINITE[str(value)]
        return f'{{"doubleValue":{number}}}'
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return f'{{"arrayValue":{{"values":[{",".join([_value(one) for one in value])}]}}}}'
    return f'{{"stringValue":{_quoted(str(value))}}}'


def _read_span(span: Json, source: Source) -> Span:
    # Writers may leave out what is empty or 0; without IDs it is no span.
    status = span.get("status", {})
    kind = int(span.get("kind", 1))
    return Span(
        source=source,
        trace_id=_read_id(span["traceId"], 16),
        span_id=_read_id(span["spanId"], 8),
        parent_id=_read_id(span["parentSpanId"], 8) if span.get("parentSpanId") else 0,
        name=str(span.get("name", "")),
        kind=_KINDS[kind] if 0 <= kind < len(_KINDS) else Kind.UNSPECIFIED,
        start_ns=int(span.get("startTimeUnixNano", 0)),
        end_ns=int(span.get("endTimeUnixNano", 0)),
        attributes=_read_attributes(span),
        events=[
            Event(str(one.get("name", "")), int(one.get("timeUnixNano", 0)), _read_attributes(one))
            for one in span.get("events", ())
        ],
        links=[
            Link(_read_id(one["traceId"], 16), _read_id(one["spanId"], 8), _read_attributes(one))
            for one in span.get("links", ())
        ],
        status=Status(int(status.get("code", 0))),
        message=str(status.get("message") or ""),
        trace_state=str(span.get("traceState") or ""),
    )


def _read_id(text: str, size: int) -> int:
    content = bytes.fromhex(text)
    number = int.from_bytes(content, "big")
    if len(content) != size or not number:
        raise ValueError(f"an ID of {size} bytes in hex was expected, got {text!r}")
    return number


def _read_attributes(carrier: Json) -> Attributes:
    some = carrier.get("attributes")
    return {one["key"]: _read_value(one["value"]) for one in some} if some else {}


def _read_value(value: Json) -> Any:
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "doubleValue":
            return float(content)
        if kind == "boolValue":
            return bool(content)
        if kind == "arrayValue":
            return [_read_value(one) for one in content.get("values", ())]
        return content if isinstance(content, str) else str(content)
    return ""
