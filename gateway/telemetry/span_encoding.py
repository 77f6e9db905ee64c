"""Spans in OTLP's two encodings, made from parts that are encoded once and used again.

Of a span only its IDs, its times and its links are its own; name, kind, attributes and status are
those of thousands of others. An encoder therefore encodes these *constants* apart, and a span by
putting its own part beside them. Both encodings allow that: the members of a JSON object may come
in any order, and protobuf messages that are joined are one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from gateway.telemetry.span import Attributes, Event, Kind, Link, Source, Span, Status

T = TypeVar("T")


class SpanEncoder(Protocol[T]):
    """One of OTLP's encodings; ``T`` is what it makes of a part."""

    def constant(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        status: Status = Status.UNSET,
        message: str = "",
    ) -> T:
        """Encode what a span shares with others."""
        ...

    def trace_id(self, number: int) -> T:
        """Encode a trace's ID."""
        ...

    def span_id(self, number: int) -> T:
        """Encode a span's ID."""
        ...

    def root(self, trace_id: T, span_id: T, start_ns: int, end_ns: int, constant: T) -> T:
        """Encode a span that has no parent."""
        ...

    def child(
        self, trace_id: T, span_id: T, parent_id: T, start_ns: int, end_ns: int, constant: T
    ) -> T:
        """Encode a span that has one."""
        ...

    def linked(self, span: T, others: Iterable[tuple[T, T]]) -> T:
        """Return an encoded span with links to others, each a trace's ID and a span's."""
        ...

    def extended(
        self,
        span: T,
        links: Sequence[Link] = (),
        events: Sequence[Event] = (),
        trace_state: str = "",
    ) -> T:
        """Return an encoded span with what few spans have."""
        ...

    def request(self, spans: Iterable[tuple[Source, Sequence[T]]]) -> bytes:
        """Return an ``ExportTraceServiceRequest`` of encoded spans, by where they are from."""
        ...


def encode_span(encoder: SpanEncoder[T], span: Span) -> T:
    """Encode a span that is not like others."""
    constant = encoder.constant(span.name, span.kind, span.attributes, span.status, span.message)
    ids = encoder.trace_id(span.trace_id), encoder.span_id(span.span_id)
    if span.parent_id:
        parent = encoder.span_id(span.parent_id)
        encoded = encoder.child(*ids, parent, span.start_ns, span.end_ns, constant)
    else:
        encoded = encoder.root(*ids, span.start_ns, span.end_ns, constant)
    if span.links or span.events or span.trace_state:
        encoded = encoder.extended(encoded, span.links, span.events, span.trace_state)
    return encoded


def by_source(
    encoder: SpanEncoder[T], spans: Iterable[Span], groups: dict[Source, list[T]] | None = None
) -> dict[Source, list[T]]:
    """Encode spans, those of one source together; beside those in ``groups``, if given."""
    groups = {} if groups is None else groups
    for span in spans:
        groups.setdefault(span.source, []).append(encode_span(encoder, span))
    return groups
