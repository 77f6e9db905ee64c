from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_runner import FakeCall
from span_makers import span

from gateway.telemetry.exporter import SendFailed
from gateway.telemetry.otlp_json import JsonSpans, json_to_spans
from gateway.telemetry.span import Source
from gateway.telemetry.span_queue import Limits, SpanQueue
from gateway.telemetry.trace_file import TraceFile
from gateway.telemetry.tracing import Tracing

SOURCE = Source({"service.name": "trident-gateway"}, "trident.gateway")
AT_ONCE = Limits(delay_s=0.001)


class Collector:
    """Takes spans, once it is let."""

    encoder = JsonSpans()
    at_once = 1

    def __init__(self) -> None:
        self.let = threading.Event()
        self.let.set()
        self.asked = threading.Event()
        self.error: Exception | None = None
        self.requests: list[bytes] = []
        self.closed = False

    def send(self, *requests: bytes) -> None:
        self.asked.set()
        self.let.wait(30)
        if self.error is not None:
            raise self.error
        self.requests += requests

    def close(self) -> None:
        self.closed = True

    @property
    def names(self) -> list[list[str]]:
        """What came, request by request."""
        return [[one.name for one in json_to_spans(json.loads(body))] for body in self.requests]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Is let in the end, so that no thread is left."""
    collector = Collector()
    yield collector
    collector.let.set()


@pytest.fixture
def build(collector: Collector) -> Callable[..., SpanQueue]:
    def build(limits: Limits = AT_ONCE) -> SpanQueue:
        return SpanQueue(collector, SOURCE, limits)

    return build


def one(name: str = "one") -> list[Any]:
    return [span(name, 7)]


def test_what_is_left_is_sent_when_it_is_closed(
    collector: Collector, build: Callable[..., SpanQueue]
) -> None:
    queue = build(Limits(delay_s=3600))
    queue.put(one("first"))
    queue.put(one("last"))
    assert queue.close(20)
    assert collector.names == [["first", "last"]]
    assert (queue.sent, queue.dropped, collector.closed) == (2, 0, True)


def test_spans_are_sent_while_it_is_open(
    collector: Collector, build: Callable[..., SpanQueue]
) -> None:
    queue = build()
    for _ in range(3):
        collector.asked.clear()
        queue.put(one())
        assert collector.asked.wait(20)
    queue.close(20)
    assert (queue.sent, queue.dropped) == (3, 0)


def test_a_call_becomes_its_spans(collector: Collector, build: Callable[..., SpanQueue]) -> None:
    queue = build()
    tracing = Tracing([queue])
    call = tracing.start_call(FakeCall("a.B/C"))
    call.add_stage("decode", 1, 2)
    call.finish(0)
    tracing.shutdown(20)
    assert collector.names == [["decode", "a.B/C"]]
    (part,) = json.loads(collector.requests[0])["resourceSpans"]
    assert part["resource"]["attributes"][0]["value"] == {"stringValue": "trident-gateway"}
    assert part["scopeSpans"][0]["scope"] == {"name": "trident.gateway"}
    assert tracing.sent_spans == 2


def test_spans_of_several_sources_are_told_apart(
    collector: Collector, build: Callable[..., SpanQueue]
) -> None:
    queue = build(Limits(delay_s=3600))
    queue.put([span("ours", 1), span("theirs", 2, service="triton"), span("ours", 3)])
    queue.close(20)
    parts = json.loads(collector.requests[0])["resourceSpans"]
    assert [len(part["scopeSpans"][0]["spans"]) for part in parts] == [2, 1]


def test_no_request_is_much_larger_than_a_batch(
    collector: Collector, build: Callable[..., SpanQueue]
) -> None:
    queue = build(Limits(batch_spans=10, delay_s=3600))
    for _ in range(12):
        queue.put([span("x", number) for number in (1, 2, 3)])
    queue.close(20)
    assert [len(names) for names in collector.names] == [12, 12, 12]


def test_a_full_batch_is_sent_at_once_and_what_is_left_waits_for_company(
    collector: Collector, build: Callable[..., SpanQueue]
) -> None:
    collector.let.clear()
    queue = build(Limits(batch_spans=4, delay_s=3600))
    for _ in range(6):
        queue.put(one())
    assert collector.asked.wait(20)
    collector.asked.clear()
    collector.let.set()
    assert not collector.asked.wait(0.1)  # two are left
    for _ in range(2):
        queue.put(one())
    assert collector.asked.wait(20)
    queue.close(20)
    assert [len(names) for names in collector.names] == [4, 4]


def test_a_queue_that_is_too_small_for_a_batch_is_emptied_before_it_is_full(
    collector: Collector, build: Callable[..., SpanQueue]
) -> None:
    queue = build(Limits(queue_spans=8, batch_spans=1024, delay_s=3600))
    for _ in range(2):
        queue.put(one())
    assert collector.asked.wait(20)
    assert queue.close(20)
    assert (queue.sent, queue.dropped) == (2, 0)


def test_what_does_not_fit_is_dropped_and_counted_and_said_once(
    collector: Collector, build: Callable[..., SpanQueue], caplog: pytest.LogCaptureFixture
) -> None:
    collector.let.clear()
    queue = build(Limits(queue_spans=10, delay_s=0.001))
    queue.put(one("taken away"))
    assert collector.asked.wait(20)  # the thread waits for the collector
    with caplog.at_level(logging.WARNING):
        for _ in range(25):
            queue.put(one("held"))  # returns, or the test would hang
    assert queue.dropped == 15
    assert len(caplog.records) == 1
    assert "the queue is full" in caplog.text
    collector.let.set()
    assert queue.close(20)
    assert (queue.sent, queue.dropped) == (11, 15)


def test_a_call_that_does_not_fit_counts_about_as_many_spans_as_it_would_have_had(
    collector: Collector, build: Callable[..., SpanQueue]
) -> None:
    queue = build(Limits(queue_spans=1))
    tracing = Tracing([queue])
    call = tracing.start_call(FakeCall("a.B/C"))
    call.add_stage("decode", 1, 2)
    call.finish(0)
    assert tracing.dropped_spans == 3


@pytest.mark.parametrize(
    ("error", "dropped"),
    [
        (SendFailed("away"), 5),
        (SendFailed("rejected some", 2), 2),
        (SendFailed("rejected more than there were", 9), 5),
        (RuntimeError("a bug"), 5),
    ],
    ids=["all", "some", "too many", "a bug"],
)
def test_what_cannot_be_sent_is_counted_and_the_next_is_tried(
    error: Exception, dropped: int, collector: Collector, build: Callable[..., SpanQueue]
) -> None:
    collector.error = error
    queue = build(Limits(batch_spans=5, delay_s=3600))
    queue.put([span("x", number) for number in range(1, 6)])
    queue.put([span("x", number) for number in range(1, 6)])
    queue.close(20)
    assert (queue.dropped, queue.sent) == (2 * dropped, 10 - 2 * dropped)


def test_what_cannot_be_encoded_costs_only_itself(
    collector: Collector, build: Callable[..., SpanQueue], caplog: pytest.LogCaptureFixture
) -> None:
    queue = build(Limits(delay_s=3600))
    bad = span("bad", 1)
    bad.attributes = None  # type: ignore[assignment]
    bad.events = [None]  # type: ignore[list-item]
    queue.put([bad])
    queue.put(one("good"))
    queue.close(20)
    assert collector.names == [["good"]]
    assert (queue.sent, queue.dropped) == (1, 1)
    assert "could not be encoded" in caplog.text


def test_a_collector_that_hangs_is_not_waited_for(
    collector: Collector, build: Callable[..., SpanQueue], caplog: pytest.LogCaptureFixture
) -> None:
    collector.let.clear()
    queue = build(Limits(batch_spans=1, delay_s=0.001))
    for _ in range(3):
        queue.put(one())
    assert collector.asked.wait(20)
    assert not queue.close(0.01)
    assert collector.closed
    assert "The last spans, some 2, could not be sent within 0.01 s" in caplog.text
    collector.let.set()
    assert queue._thread is not None
    queue._thread.join(20)  # it gives up what is left, and ends
    assert not queue._thread.is_alive()
    assert (queue.sent, queue.dropped) == (1, 2)


def test_one_that_hangs_does_not_keep_another_from_sending(collector: Collector) -> None:
    collector.let.clear()
    other = Collector()
    queues = [SpanQueue(one, SOURCE, Limits(delay_s=3600)) for one in (collector, other)]
    tracing = Tracing(queues)
    tracing.start_call(FakeCall("a.B/C")).finish(0)
    tracing.shutdown(0.3)
    queues[1]._thread.join(20)  # type: ignore[union-attr]
    assert other.names == [["a.B/C"]]


def test_after_its_end_nothing_is_taken(
    collector: Collector, build: Callable[..., SpanQueue]
) -> None:
    queue = build()
    assert queue.close(1)
    queue.put(one())
    assert queue.dropped == 1
    assert collector.requests == []


def test_where_no_thread_can_be_started_calls_go_on(
    build: Callable[..., SpanQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    queue = build()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    queue.put(one())
    assert queue.dropped == 1
    monkeypatch.undo()
    queue.put(one())
    queue.close(20)
    assert queue.sent == 1


def test_a_disk_that_takes_nothing_is_counted(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").mkdir()
    queue = SpanQueue(TraceFile(tmp_path / "t.jsonl"), SOURCE, AT_ONCE)
    queue.put(one())
    assert queue.close(20)
    assert (queue.sent, queue.dropped) == (0, 1)


def test_many_calls_from_one_thread_all_arrive(
    collector: Collector, build: Callable[..., SpanQueue]
) -> None:
    """While the other thread takes them away: nothing is lost between the two."""
    queue = build(Limits(batch_spans=7, delay_s=0.001))
    for number in range(1, 5_001):
        queue.put([span("x", number)])
    assert queue.close(60)
    sent = [one for body in collector.requests for one in json_to_spans(json.loads(body))]
    assert [one.span_id for one in sent] == list(range(1, 5_001))
    assert (queue.sent, queue.dropped) == (5_000, 0)


VARIABLES = (
    "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY"
)  # fmt: skip


def test_the_standard_variables_bound_it() -> None:
    said = dict(zip(VARIABLES, ("10", "5", "250"), strict=True))
    assert Limits.of(said) == Limits(10, 5, 0.25)
    assert Limits.of({}) == Limits()


@pytest.mark.parametrize("text", ["0", "-1", "many", "0.5", "inf", "nan"])
def test_what_is_no_number_counts_as_not_set(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert Limits.of(dict.fromkeys(VARIABLES, text)) == Limits()
    assert all(name in caplog.text for name in VARIABLES)
