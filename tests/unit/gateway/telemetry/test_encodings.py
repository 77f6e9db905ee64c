"""Both encodings say the same, and what OpenTelemetry's own says where it has one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isnan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SdkEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link as SdkLink
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags, TraceState
from opentelemetry.trace import Status as SdkStatus

from gateway.telemetry.otlp_json import JsonSpans, json_to_spans, spans_to_json
from gateway.telemetry.otlp_protobuf import ProtobufSpans, protobuf_to_json
from gateway.telemetry.span import Attributes, Event, Kind, Link, Source, Span, Status
from gateway.telemetry.span_encoding import SpanEncoder, by_source, encode_span

ENCODER = ProtobufSpans()
SAMPLED = TraceFlags(TraceFlags.SAMPLED)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.one_of(
    texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.lists(texts, max_size=3)
)
# The SDK leaves out attributes without a name.
attributes = st.dictionaries(texts.filter(bool), values, max_size=4)
trace_ids, span_ids = st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1)
times = st.integers(0, 2**63 - 1)
SOURCES = [
    Source({"service.name": "ü", "host.cpus": 4}, "scope", "1.2"),
    Source({"service.name": "b"}, "scope"),
]
spans = st.builds(
    Span,
    source=st.sampled_from(SOURCES),
    trace_id=trace_ids,
    span_id=span_ids,
    parent_id=st.one_of(st.just(0), span_ids),
    name=texts,
    kind=st.sampled_from(list(Kind)[1:]),
    start_ns=times,
    end_ns=times,
    attributes=attributes,
    events=st.lists(st.builds(Event, texts, times, attributes), max_size=2),
    links=st.lists(st.builds(Link, trace_ids, span_ids, attributes), max_size=2),
    status=st.just(Status.UNSET),
) | st.builds(
    Span,
    source=st.sampled_from(SOURCES),
    trace_id=trace_ids,
    span_id=span_ids,
    parent_id=span_ids,
    name=texts,
    kind=st.just(Kind.CLIENT),
    start_ns=times,
    end_ns=times,
    status=st.just(Status.ERROR),
    message=texts,
    trace_state=st.sampled_from(["", "a=1", "vendor=x,other=y"]),
)


def protobuf(some: Sequence[Span]) -> bytes:
    return ENCODER.request(by_source(ENCODER, some).items())


def plain(one: Span) -> dict[str, Any]:
    """All that a span says, so that it can be compared; NaN equals NaN."""

    def comparable(said: Attributes) -> dict[str, Any]:
        return {
            key: "NaN" if isinstance(value, float) and isnan(value) else (type(value), value)
            for key, value in said.items()
        }

    return {
        name: getattr(one, name)
        for name in ("trace_id", "span_id", "parent_id", "name", "kind", "start_ns", "end_ns",
                     "status", "message", "trace_state")
    } | {
        "resource": (one.source.resource, one.source.scope, one.source.version),
        "attributes": comparable(one.attributes),
        "events": [(e.name, e.time_ns, comparable(e.attributes)) for e in one.events],
        "links": [(x.trace_id, x.span_id, comparable(x.attributes)) for x in one.links],
    }  # fmt: skip


def as_sdk_span(one: Span) -> ReadableSpan:
    """The same as OpenTelemetry's SDK holds it."""

    def context(trace_id: int, span_id: int, state: str = "") -> SpanContext:
        return SpanContext(trace_id, span_id, False, SAMPLED, TraceState.from_header([state]))

    return ReadableSpan(
        name=one.name,
        context=context(one.trace_id, one.span_id, one.trace_state),
        parent=context(one.trace_id, one.parent_id) if one.parent_id else None,
        resource=Resource(one.source.resource),
        attributes=one.attributes,
        events=[SdkEvent(e.name, e.attributes, e.time_ns) for e in one.events],
        links=[SdkLink(context(x.trace_id, x.span_id), x.attributes) for x in one.links],
        kind=SpanKind[one.kind.name],
        status=SdkStatus(StatusCode[one.status.name], one.message or None),
        start_time=one.start_ns,
        end_time=one.end_ns,
        instrumentation_scope=InstrumentationScope(one.source.scope, one.source.version),
    )


def without_flags(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """Whether a parent is remote, which we do not write; an empty status is none."""
    for part in request.resource_spans:
        part.ClearField("schema_url")
        for some in part.scope_spans:
            some.ClearField("schema_url")
            for one in some.spans:
                one.ClearField("flags")
                if not one.status.code:
                    one.ClearField("status")
                for link in one.links:
                    link.ClearField("flags")
    return request


@given(st.lists(spans, min_size=1, max_size=4))
def test_json_is_read_as_it_was_written(some: list[Span]) -> None:
    grouped = [one for source in dict.fromkeys(x.source for x in some)
               for one in some if one.source is source]  # fmt: skip
    read = json_to_spans(json.loads(spans_to_json(some)))
    assert [plain(one) for one in read] == [plain(one) for one in grouped]


@given(st.lists(spans, min_size=1, max_size=4))
def test_protobuf_says_what_json_says(some: list[Span]) -> None:
    from_json = json_to_spans(json.loads(spans_to_json(some)))
    from_protobuf = json_to_spans(protobuf_to_json(protobuf(some)))
    assert [plain(one) for one in from_protobuf] == [plain(one) for one in from_json]


@given(spans)
def test_protobuf_says_what_opentelemetrys_own_encoder_says(one: Span) -> None:
    ours = ExportTraceServiceRequest.FromString(protobuf([one]))
    theirs = encode_spans([as_sdk_span(one)])
    # As bytes: NaN is not equal to itself. The order of fields is that of the message.
    assert without_flags(ours).SerializeToString(deterministic=True) == without_flags(
        theirs
    ).SerializeToString(deterministic=True)


@pytest.mark.parametrize("encoder", [JsonSpans(), ProtobufSpans()], ids=["json", "protobuf"])
def test_what_is_encoded_apart_is_what_is_encoded_together(encoder: SpanEncoder) -> None:
    others = [(7, 8), (2**128 - 1, 2**64 - 1)]
    whole = Span(SOURCES[0], 1, 2, 3, "a", Kind.CLIENT, 4, 5, links=[Link(*one) for one in others],
                 events=[Event("e", 6)], trace_state="a=1")  # fmt: skip
    rest = [encoder.rest(trace_state="a=1"), encoder.rest(events=[Event("e", 6)])]
    parts = encoder.constant("a", Kind.CLIENT, {}), encoder.trace(1), 2, encoder.parent(3), 4, 5
    apart = encoder.span(*parts, b"".join([*rest, encoder.links(others)]))
    read = read_back(encoder, encoder.request([(SOURCES[0], [apart])]))
    assert read == read_back(
        encoder, encoder.request([(SOURCES[0], [encode_span(encoder, whole)])])
    )
    assert (read[0]["links"], read[0]["trace_state"]) == ([(*one, {}) for one in others], "a=1")


@pytest.mark.parametrize("encoder", [JsonSpans(), ProtobufSpans()], ids=["json", "protobuf"])
def test_a_text_that_looks_like_a_place_to_fill_is_a_text(encoder: SpanEncoder) -> None:
    text = '100% %d %(a)s %% {} "'
    odd = Span(SOURCES[0], 1, 2, 0, text, Kind.SERVER, 1, 2, {text: text}, [Event(text, 1)],
               status=Status.ERROR, message=text)  # fmt: skip
    (read,) = read_back(encoder, encoder.request([(SOURCES[0], [encode_span(encoder, odd)])]))
    assert read == plain(odd)


def test_a_request_of_nothing_is_one() -> None:
    for encoder in (JsonSpans(), ProtobufSpans()):
        assert read_back(encoder, encoder.request([])) == []
        assert read_back(encoder, encoder.request([(SOURCES[0], [])])) == []


def read_back(encoder: SpanEncoder, request: bytes) -> list[dict[str, Any]]:
    """What a request says of each span."""
    json_again = isinstance(encoder, JsonSpans)
    content = json.loads(request) if json_again else protobuf_to_json(request)
    return [plain(one) for one in json_to_spans(content)]


def test_text_that_is_no_unicode_costs_no_span() -> None:
    odd = Span(SOURCES[0], 1, 2, 0, "a\udcff", Kind.SERVER, 1, 2, {"k\udcff": "v\udcff"},
               [Event("e\udcff", 1)], status=Status.ERROR, message="m\udcff")  # fmt: skip
    (read,) = json_to_spans(protobuf_to_json(protobuf([odd])))
    assert (read.name, read.message, read.attributes) == ("a?", "m?", {"k?": "v?"})
    assert json_to_spans(json.loads(spans_to_json([odd])))[0].name.startswith("a")
