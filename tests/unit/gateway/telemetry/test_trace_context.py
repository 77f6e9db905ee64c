"""Our reader of ``traceparent`` says what OpenTelemetry's own says."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.telemetry.trace_context import Parent, read_parent, write_traceparent

HEX = "0123456789abcdef"
VALID = f"00-{'a' * 32}-{'b' * 16}-01"


def theirs(header: str) -> Parent | None:
    context = TraceContextTextMapPropagator().extract({"traceparent": header}, Context())
    parent = get_current_span(context).get_span_context()
    if not parent.is_valid:
        return None
    return Parent(parent.trace_id, parent.span_id, parent.trace_flags.sampled)


def field(size: int) -> st.SearchStrategy[str]:
    usual = st.text(HEX, min_size=size, max_size=size)
    return st.one_of(usual, st.just("0" * size), st.just("f" * size))


well_formed = st.builds("-".join, st.tuples(field(2), field(32), field(16), field(2)))
# All that a header can hold: gRPC's metadata is printable ASCII.
printable = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A header with a piece taken out and another put in."""
    header = draw(well_formed)
    start = draw(st.integers(0, len(header)))
    end = draw(st.integers(start, min(len(header), start + 3)))
    return header[:start] + draw(st.text(printable, max_size=3)) + header[end:]


@given(st.one_of(well_formed, damaged(), st.text(printable, max_size=70)))
@example(VALID)
@example(" \t" + VALID + " ")
@example(VALID + "-more")
@example("01" + VALID[2:] + "-more")
@example("01" + VALID[2:] + "more")
@example("ff" + VALID[2:])
@example(VALID.upper())
@example("")
def test_a_header_is_read_as_opentelemetry_reads_it(header: str) -> None:
    assert read_parent(header) == theirs(header)


def test_the_comparison_has_seen_parents() -> None:
    assert theirs(VALID) == read_parent(VALID) == Parent(int("a" * 32, 16), int("b" * 16, 16), True)


@pytest.mark.parametrize(("trace_id", "span_id"), [(1, 1), (2**128 - 1, 2**64 - 1)])
def test_what_is_written_is_read_again_as_sampled(trace_id: int, span_id: int) -> None:
    header = write_traceparent(trace_id, span_id)
    assert read_parent(header) == theirs(header) == Parent(trace_id, span_id, True)
