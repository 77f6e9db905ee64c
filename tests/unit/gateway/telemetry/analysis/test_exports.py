from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb
from synthetic_traces import Planted, batch, call

from gateway.telemetry.analysis.chrome_trace import write_chrome_trace
from gateway.telemetry.analysis.perfetto_trace import write_perfetto_trace
from gateway.telemetry.analysis.report import Traces
from gateway.telemetry.analysis.tracks import NoSuchTrace, complete_ids

Analysed = Callable[..., Traces]
SPANS_OF_BATCH = 9


@pytest.fixture
def traces(analysed: Analysed) -> Traces:
    """Calls that overlap, and a batch of three."""
    return analysed(*[call(Planted(), at=n) for n in range(5)], batch(Planted(), 3, window=2))


def chrome(traces: Traces, *only: str) -> list[dict[str, Any]]:
    file = io.BytesIO()
    count = write_chrome_trace(traces.forest, file, only)
    events: list[dict[str, Any]] = json.loads(file.getvalue())["traceEvents"]
    assert sum(one["ph"] == "X" for one in events) == count
    return events


def perfetto(traces: Traces, *only: str) -> Any:
    file = io.BytesIO()
    write_perfetto_trace(traces.forest, file, only)
    return pb.Trace.FromString(file.getvalue())


def test_chrome_has_every_span_where_it_was_for_as_long(traces: Traces) -> None:
    events = [one for one in chrome(traces) if one["ph"] == "X"]
    assert len(events) == len(traces.forest.spans)
    decode = [one for one in events if one["name"] == "decode" and one["cat"] != "triton"]
    assert {round(one["dur"], 3) for one in decode} == {300.0}  # µs
    assert min(one["ts"] for one in events) == 0


def test_spans_on_one_lane_lie_within_or_after_each_other(traces: Traces) -> None:
    lanes = defaultdict(list)
    for one in chrome(traces):
        if one["ph"] == "X":
            lanes[one["pid"], one["tid"]].append((one["ts"], one["ts"] + one["dur"]))
    for spans in lanes.values():
        for n, (begin, end) in enumerate(spans):
            for other_begin, other_end in spans[n + 1 :]:
                apart = other_begin >= end - 0.001 or other_end <= begin + 0.001
                within = begin <= other_begin and other_end <= end + 0.001
                assert apart or within


def test_arrows_lead_from_the_calls_into_their_batch(traces: Traces) -> None:
    events = chrome(traces)
    starts = {one["id"] for one in events if one["ph"] == "s"}
    ends = {one["id"] for one in events if one["ph"] == "f"}
    assert starts == ends
    assert len(starts) == 2
    flows = [one.track_event.flow_ids for one in perfetto(traces).packet]
    assert sorted(map(len, flows))[-3:] == [1, 1, 2]


def test_one_trace_brings_its_batch_and_no_other_call(traces: Traces) -> None:
    spans = traces.forest.spans
    names = spans["name"].to_list()
    row = len(names) - 1 - names[::-1].index("batch")  # of the last call: the batch is elsewhere
    trace = f"{spans['trace_high'][row]:016x}{spans['trace'][row]:016x}"
    events = [one for one in chrome(traces, trace) if one["ph"] == "X"]
    assert sum(one["name"] == "batch" for one in events) == 1
    assert sum(one["name"] == "score" for one in events) == 1
    assert len(events) == 6 + SPANS_OF_BATCH


def test_perfetto_opens_and_closes_every_span_on_its_track_in_order(traces: Traces) -> None:
    packets = perfetto(traces).packet
    tracks = {p.track_descriptor.uuid for p in packets if p.HasField("track_descriptor")}
    names = {p.track_descriptor.name for p in packets if p.HasField("track_descriptor")}
    assert {"trident-client", "trident-gateway", "triton", "lane 0"} <= names
    events = [p for p in packets if p.HasField("track_event")]
    assert [e.timestamp for e in events] == sorted(e.timestamp for e in events)
    depth: dict[int, int] = defaultdict(int)
    begun = 0
    for event in events:
        track = event.track_event.track_uuid
        assert track in tracks
        begin = event.track_event.type == pb.TrackEvent.TYPE_SLICE_BEGIN
        begun += begin
        depth[track] += 1 if begin else -1
        assert depth[track] >= 0
    assert set(depth.values()) == {0}
    assert begun == len(traces.forest.spans)


def test_nothing_can_be_exported_too(analysed: Analysed) -> None:
    assert chrome(analysed()) == []
    assert len(perfetto(analysed()).packet) == 0


def test_the_first_digits_of_a_trace_stand_for_it(traces: Traces) -> None:
    ids = sorted({one["args"]["trace_id"] for one in chrome(traces) if one["ph"] == "X"})
    starts = [ids[-1][:count] for count in range(1, 33)]
    short = next(one for one in starts if sum(other.startswith(one) for other in ids) == 1)
    assert complete_ids(traces.forest, [short.upper(), ids[0]]) == (ids[-1], ids[0])
    low = "f" * 16 + ids[0][16:]  # as of a file where only the last half is known
    assert complete_ids(traces.forest, [low]) == (low,)


def test_every_start_of_no_trace_or_of_several_is_named(traces: Traces) -> None:
    ids = {one["args"]["trace_id"] for one in chrome(traces) if one["ph"] == "X"}
    with pytest.raises(NoSuchTrace) as caught:
        complete_ids(traces.forest, ["abc", "0000000000abcdef"])
    text = str(caught.value)
    assert text.startswith(
        f"no trace starts with 'abc'; {len(ids)} traces start with '0000000000abcdef': "
    )
    assert text.endswith(f" and {len(ids) - 3} more")
