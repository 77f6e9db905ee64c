from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from span_makers import names, span

from gateway.telemetry.analysis.reading import (
    TraceNotFound,
    complete_id,
    newest_trace,
    read_trace,
)
from gateway.telemetry.otlp_json import spans_to_json
from gateway.telemetry.span import Kind, Span
from gateway.telemetry.span_rules import METHOD

OLD, NEW, UNSERVED = 0xAA01, 0xAA02, 0xBB03


def hex_id(trace_id: int) -> str:
    return f"{trace_id:032x}"


def line(*spans: Span) -> str:
    return spans_to_json(spans).decode() + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two served calls and one that no server has seen; the newer call is written first."""
    path = tmp_path / "traces.jsonl"
    served: dict[str, Any] = {"kind": Kind.SERVER, "attributes": {"rpc.method": "a.B/C"}}
    path.write_text(
        line(
            span("new", 1, trace_id=NEW, times=(50, 90), **served),
            span("old", 2, trace_id=OLD, times=(10, 20), **served),
        )
        + line(span("unserved", 3, trace_id=UNSERVED, kind=Kind.CLIENT, times=(95, 99)))
        + line(span("below", 4, 2, trace_id=OLD, times=(12, 13)))
    )
    return path


def test_the_newest_trace_is_the_one_whose_server_span_ended_last(path: Path) -> None:
    assert newest_trace(path) == hex_id(NEW)


@pytest.mark.parametrize("said", [{}, {"rpc.method": METHOD}], ids=["raw", "repaired"])
def test_a_trace_of_triton_alone_is_no_served_call(said: dict[str, str], path: Path) -> None:
    alone = span("InferRequest", 9, trace_id=UNSERVED, kind=Kind.SERVER, times=(95, 99),
                 attributes=said)  # fmt: skip
    path.write_text(path.read_text() + line(alone))
    assert newest_trace(path) == hex_id(NEW)


def test_a_trace_is_gathered_from_all_lines(path: Path) -> None:
    assert names(read_trace(path, hex_id(OLD))) == ["old", "below"]


def test_the_file_that_was_put_away_is_read_too(path: Path) -> None:
    os.replace(path, path.with_name("traces.jsonl.1"))
    path.write_text(line(span("later", 5, 2, trace_id=OLD)))
    assert names(read_trace(path, hex_id(OLD))) == ["old", "below", "later"]
    assert newest_trace(path) == hex_id(NEW)


@pytest.mark.parametrize(
    "torn",
    [
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"' + hex_id(OLD),
        "\x00\x00",
        "[1, 2]",
        '{"resourceSpans": 7}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":[7, {"kind": 2, "traceId": "'
        + hex_id(OLD)
        + '"}]}]}]}',
    ],
    ids=["cut off", "zeros", "a list", "a number", "half a span"],
)
def test_a_torn_line_costs_only_itself(path: Path, torn: str) -> None:
    path.write_text(torn + "\n" + path.read_text() + torn)
    assert newest_trace(path) == hex_id(NEW)
    assert names(read_trace(path, hex_id(OLD))) == ["old", "below"]


def test_bytes_that_are_no_text_cost_only_their_line(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\n" + path.read_bytes())
    assert newest_trace(path) == hex_id(NEW)


@pytest.mark.parametrize("prefix", [hex_id(NEW), hex_id(NEW).upper(), hex_id(NEW)[:31] + "2"])
def test_an_id_or_its_first_digits_name_a_trace(path: Path, prefix: str) -> None:
    assert complete_id(path, prefix) == hex_id(NEW)


def test_digits_that_several_traces_start_with_are_refused(path: Path) -> None:
    with pytest.raises(TraceNotFound, match="3 traces start with '0000'"):
        complete_id(path, "0000")


@pytest.mark.parametrize("prefix", ["", "xyz", "-1", "0" * 33])
def test_what_is_no_id_is_refused(path: Path, prefix: str) -> None:
    with pytest.raises(TraceNotFound, match="is no trace ID"):
        complete_id(path, prefix)


def test_an_id_that_is_not_there_is_said_so(path: Path) -> None:
    with pytest.raises(TraceNotFound, match="holds no trace 'ffff'"):
        complete_id(path, "ffff")


def test_without_a_served_call_there_is_no_newest_trace(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text(line(span("client", 3, kind=Kind.CLIENT)))
    with pytest.raises(TraceNotFound, match="no trace of a served call"):
        newest_trace(path)


def test_without_a_file_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceNotFound, match=r"there is no file .*gone\.jsonl"):
        newest_trace(tmp_path / "gone.jsonl")
