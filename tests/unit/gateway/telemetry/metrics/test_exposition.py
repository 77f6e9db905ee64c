from __future__ import annotations

import io
import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from call_records import family, folded, record, records, shown
from google.protobuf.proto import parse_length_prefixed
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from gateway.telemetry.metrics.exposition import choose_format, openmetrics_text, plain_text
from gateway.telemetry.metrics.grid import SCALE, SECONDS
from gateway.telemetry.metrics.instruments import (
    ACTIVE_CALLS,
    CACHE_HITS,
    CACHE_SIZE,
    INSTRUMENTS,
    REFUSED_CALLS,
)
from gateway.telemetry.metrics.native import METRIC_FAMILY, protobuf
from gateway.telemetry.metrics.snapshot import Snapshot
from gateway.telemetry.metrics.tally import OVERFLOW, Tally
from gateway.telemetry.record import CallRecord

DURATION = "rpc_server_call_duration_seconds"
RESOURCE = {"service.name": 'a "name"\n', "service.version": "1"}
TRACE = 0x0AF7651916CD43DD8448EB211C80319C
WHOLE = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"


def some() -> Snapshot:
    tally = folded(
        record(("decode", 0.2), ("triton", 4), trace_id=TRACE), record(("decode", 40000)), record()
    )
    tally.count(REFUSED_CALLS, ("queue", 'a"b\\c\n', "full"), 2)
    tally.count(REFUSED_CALLS, OVERFLOW, 1)
    tally.count(CACHE_HITS, (), 5)
    return shown(tally, {(ACTIVE_CALLS, ()): 3.0, (CACHE_SIZE, ()): 1e9})


def by_name(metrics: list[Metric]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


@pytest.mark.parametrize(
    ("write", "parse"),
    [(plain_text, parse_plain), (openmetrics_text, parse_openmetrics)],
    ids=["text", "openmetrics"],
)
@settings(deadline=None, max_examples=30)
@given(calls=st.lists(records(), max_size=15))
def test_a_parser_reads_back_what_was_counted(
    write: Callable[..., bytes], parse: Callable[[str], list[Metric]], calls: list[CallRecord]
) -> None:
    snapshot = shown(folded(*calls))

    found = by_name(list(parse(write(snapshot, {}).decode())))

    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for metric in found.values()
        for sample in metric.samples
    }
    for one in snapshot.families:
        name = one.instrument.prometheus_name
        for point in one.histograms:
            labels = sorted((key.replace(".", "_"), v) for key, v in point.attributes.items())
            bounds = (*one.instrument.grid.explicit, math.inf)
            for bound, count in zip(bounds, accumulate(point.explicit.tolist()), strict=True):
                text = "+Inf" if bound == math.inf else str(float(bound))
                key = (f"{name}_bucket", *sorted([("le", text), *labels]))
                assert samples.pop(key) == count
            assert samples.pop((f"{name}_count", *labels)) == point.count
            assert samples.pop((f"{name}_sum", *labels)) == point.sum
    counters = {key for key in samples if key[0].endswith("_total")}
    assert {key[0] for key in samples.keys() - counters} == {"target_info"}
    assert all(found[one.instrument.prometheus_name] for one in snapshot.families)


def test_names_are_in_the_standard_translation() -> None:
    found = by_name(list(parse_openmetrics(openmetrics_text(some(), RESOURCE).decode())))

    assert found[DURATION].unit == "seconds"
    assert found["trident_cache_size_bytes"].samples[0].value == 1e9
    assert found["trident_cache_hits"].samples[0].name == "trident_cache_hits_total"
    assert found["target"].samples[0].labels == {
        "service_name": 'a "name"\n', "service_version": "1",
    }  # fmt: skip
    refused = found["trident_calls_refused"].samples
    assert [(one.labels, one.value) for one in refused] == [
        ({"otel_metric_overflow": "true"}, 1),
        ({"trident_place": "queue", "trident_line": 'a"b\\c\n', "trident_reason": "full"}, 2),
    ]


def test_openmetrics_has_the_trace_of_a_call_beside_its_bucket() -> None:
    found = by_name(list(parse_openmetrics(openmetrics_text(some(), {}).decode())))

    exemplars = [
        (one.labels["le"], one.exemplar) for one in found[DURATION].samples if one.exemplar
    ]
    ((bound, exemplar),) = exemplars
    assert bound == "0.005"
    assert exemplar.labels == {"trace_id": f"{TRACE:032x}"}
    assert exemplar.value == 0.0042
    assert "trace_id" not in plain_text(some(), {}).decode()


def read_protobuf(data: bytes) -> dict[str, Any]:
    stream = io.BytesIO(data)
    messages = {}
    while (message := parse_length_prefixed(METRIC_FAMILY, stream)) is not None:
        messages[message.name] = message
    return messages


@settings(deadline=None, max_examples=30)
@given(st.lists(records(), max_size=15))
def test_native_histograms_hold_what_the_exponential_ones_do(calls: list[CallRecord]) -> None:
    snapshot = shown(folded(*calls))

    messages = read_protobuf(protobuf(snapshot, {}))

    for one in snapshot.families:
        if one.instrument.kind != "histogram":
            continue
        metrics = messages[one.instrument.prometheus_name].metric
        for metric, point in zip(metrics, one.histograms, strict=True):
            native = metric.histogram
            assert (native.sample_count, native.schema) == (point.count, SCALE)
            assert native.zero_count == point.exponential.zero_count
            counts = list(accumulate(native.positive_delta))
            places = []
            end = 0
            for span in native.positive_span:
                places += range(end + span.offset, end + span.offset + span.length)
                end += span.offset + span.length
            expected = {
                point.exponential.first + 1 + offset: count
                for offset, count in enumerate(point.exponential.counts.tolist())
                if count
            }
            assert dict(zip(places, counts, strict=True)) == expected
            assert [one.cumulative_count for one in native.bucket] == list(
                accumulate(point.explicit.tolist())
            )


def test_protobuf_has_all_the_rest_too() -> None:
    messages = read_protobuf(protobuf(some(), RESOURCE))

    (hits,) = messages["trident_cache_hits_total"].metric
    assert (messages["trident_cache_hits_total"].type, hits.counter.value) == (0, 5)
    (active,) = messages["trident_calls_active"].metric
    assert (messages["trident_calls_active"].type, active.gauge.value) == (1, 3)
    (info,) = messages["target_info"].metric
    assert {one.name: one.value for one in info.label}["service_version"] == "1"
    exemplars = [one for metric in messages[DURATION].metric for one in metric.histogram.exemplars]
    assert [one.label[0].value for one in exemplars] == [f"{TRACE:032x}"]
    assert exemplars[0].timestamp.seconds > 0


def test_a_histogram_without_any_bucket_is_no_native_one() -> None:
    tally = Tally()
    step = INSTRUMENTS["trident.step.duration"]
    tally.observe(step, ("t", "a", "r", "score", "queue"), np.array([4, 5]), 7.5)

    (metric,) = read_protobuf(protobuf(shown(tally), {}))["trident_step_duration_seconds"].metric

    assert (metric.histogram.sample_count, metric.histogram.sample_sum) == (9, 7.5)
    assert not metric.histogram.HasField("schema")
    assert [one.upper_bound for one in metric.histogram.bucket] == [math.inf]


def test_an_instrument_that_nothing_was_counted_of_is_not_shown() -> None:
    assert family(some(), "trident.stage.duration")
    assert not any(one.instrument.name == "trident.batch.rows" for one in some().families)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "text/plain"),
        ("application/openmetrics-text", "application/openmetrics-text"),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2", "application/openm"),
        ("text/plain;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5", "text/plain"),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", "text/plain"),
        (f"{WHOLE};q=0.6,application/openmetrics-text;version=1.0.0;q=0.5", "application/vnd"),
        (f"application/openmetrics-text;version=1.0.0;q=0.9,{WHOLE};q=0.6", "application/openm"),
        (WHOLE.replace("delimited", "text") + ",text/plain;q=0.1", "text/plain"),
        (f"{WHOLE};q=0,text/plain;q=0.1", "text/plain"),
        ("application/openmetrics-text;q=none", "text/plain"),
    ],
)
def test_a_scraper_has_the_format_that_it_likes_best(accept: str, expected: str) -> None:
    assert choose_format(accept).content_type.startswith(expected)


def test_bounds_are_written_as_they_are_said() -> None:
    text = plain_text(some(), {}).decode()

    for bound in SECONDS.explicit:
        assert f'le="{float(bound)}"' in text
