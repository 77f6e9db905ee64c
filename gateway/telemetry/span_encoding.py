"""Spans in OTLP's two encodings, made from parts that are encoded once and used again.

Of a span only its IDs, its times and its links are its own; name, kind, attributes and status are
those of thousands of others. An encoder therefore encodes these *constants* apart, and makes a span
by putting its own part beside them. Both encodings allow that: the members of a JSON object may
come in any order, and protobuf messages that are joined are one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from gateway.telemetry.span import Attributes, Event, Kind, Link, Source, Span, Status


class SpanEncoder(Protocol):
    """One of OTLP's encodings. IDs are numbers, times ns since 1970."""

    def constant(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        status: Status = Status.UNSET,
        message: str = "",
    ) -> bytes:
        """Encode what a span shares with others."""
        ...

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
        """Return a whole span without status, with a place ``%b`` for each thing of its own.

        These are, in this order: its :meth:`trace`; its ID, a :meth:`number`; its parent's, if it
        has one; its :meth:`times`; its :meth:`rest`, if that is not empty.

        Args:
            name: The span's.
            kind: The span's.
            attributes: The span's.
            low: The lowest byte of its ID, which is then no part of what goes into its place.
            parent: Whether it will have one.
            rest_bytes: How long its rest will be.
        """
        ...

    def trace(self, trace_id: int) -> bytes:
        """Encode which trace spans lie in."""
        ...

    def number(self, span_id: int) -> bytes:
        """Encode a span's ID for a frame."""
        ...

    def high(self, number: bytes) -> bytes:
        """Return an encoded ID without its lowest byte."""
        ...

    def times(self, start_ns: int, end_ns: int) -> bytes:
        """Encode start and end for a frame."""
        ...

    def parent(self, span_id: int) -> bytes:
        """Encode which span others lie below; 0: none."""
        ...

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
        """Encode a span, from what the other methods return."""
        ...

    def links(self, others: Iterable[tuple[int, int]]) -> bytes:
        """Encode a span's links to others, each a trace's ID and a span's, as its rest."""
        ...

    def rest(
        self, links: Sequence[Link] = (), events: Sequence[Event] = (), trace_state: str = ""
    ) -> bytes:
        """Encode what few spans have. What is encoded apart, links too, may be joined."""
        ...

    def together(self, spans: Sequence[bytes]) -> bytes:
        """Encode several spans, or frames, as one piece."""
        ...

    def request(self, spans: Iterable[tuple[Source, Sequence[bytes]]]) -> bytes:
        """Return an ``ExportTraceServiceRequest`` of encoded spans, by where they are from.

        Spans may be alone or several in a piece.
        """
        ...


def encode_span(encoder: SpanEncoder, span: Span) -> bytes:
    """Encode a span that is not like others."""
    return encoder.span(
        encoder.constant(span.name, span.kind, span.attributes, span.status, span.message),
        encoder.trace(span.trace_id),
        span.span_id,
        encoder.parent(span.parent_id),
        span.start_ns,
        span.end_ns,
        encoder.rest(span.links, span.events, span.trace_state),
    )


def by_source(
    encoder: SpanEncoder, spans: Iterable[Span], groups: dict[Source, list[bytes]] | None = None
) -> dict[Source, list[bytes]]:
    """Encode spans, those of one source together; beside those in ``groups``, if given."""
    groups = {} if groups is None else groups
    for span in spans:
        groups.setdefault(span.source, []).append(encode_span(encoder, span))
    return groups
