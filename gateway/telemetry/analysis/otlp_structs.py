"""OTLP/JSON as typed structures: only what a report needs, unknown fields are skipped.

They are decoded by msgspec, which leaves out the dictionaries that a JSON parser would make:
a third of the time and of the memory.
"""

from __future__ import annotations

from typing import Any

import msgspec

# Names are the protocol's, so ruff's are not: see per-file-ignores.


class Value(msgspec.Struct, gc=False):
    """One of OTLP's ``AnyValue``."""

    stringValue: str | None = None
    intValue: int | str | None = None
    doubleValue: float | str | None = None
    boolValue: bool | None = None

    def plain(self) -> Any:
        """Return the value; lists and maps are not kept."""
        if self.stringValue is not None:
            return self.stringValue
        if self.intValue is not None:
            return self.intValue
        return self.boolValue if self.doubleValue is None else self.doubleValue


class Attribute(msgspec.Struct, gc=False):
    """A key and its value."""

    key: str
    value: Value


class Event(msgspec.Struct, gc=False):
    """What happened at a time."""

    timeUnixNano: str | int
    name: str = ""


class Link(msgspec.Struct, gc=False):
    """Another span."""

    traceId: str
    spanId: str


class Status(msgspec.Struct, gc=False, frozen=True):
    """How a span ended."""

    code: int | str = 0


class Span(msgspec.Struct, gc=False):
    """One span."""

    traceId: str
    spanId: str
    startTimeUnixNano: str | int
    endTimeUnixNano: str | int
    name: str = ""
    parentSpanId: str = ""
    kind: int | str = 1
    attributes: list[Attribute] = []
    events: list[Event] = []
    links: list[Link] = []
    status: Status = Status()


class Resource(msgspec.Struct, gc=False, frozen=True):
    """What made the spans."""

    attributes: list[Attribute] = []

    @property
    def service(self) -> str:
        """``service.name``."""
        names = (one.value.plain() for one in self.attributes if one.key == "service.name")
        return str(next(names, "unknown_service"))


class Scopes(msgspec.Struct, gc=False):
    """Spans of one instrumentation."""

    spans: list[Span] = []


class LooseScopes(msgspec.Struct, gc=False):
    """The same, each still JSON: a bad span must not cost the others."""

    spans: list[msgspec.Raw] = []


class ResourceSpans(msgspec.Struct, gc=False):
    """Spans of one process."""

    resource: Resource = Resource()
    scopeSpans: list[Scopes] = []


class LooseResourceSpans(msgspec.Struct, gc=False):
    """As :class:`ResourceSpans`, where a span is bad."""

    resource: Resource = Resource()
    scopeSpans: list[LooseScopes] = []


class Request(msgspec.Struct, gc=False):
    """An ``ExportTraceServiceRequest``: a line of a traces file."""

    resourceSpans: list[ResourceSpans]


class LooseRequest(msgspec.Struct, gc=False):
    """As :class:`Request`, where a span is bad."""

    resourceSpans: list[LooseResourceSpans]
