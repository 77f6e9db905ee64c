"""Calls that end on an event loop are encoded there, a few at a time, once they are answered."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fake_runner import Answers, FakeCall
from google.rpc import code_pb2

from gateway.telemetry import span_queue
from gateway.telemetry.ended_calls import Encoded, EndedCalls
from gateway.telemetry.otlp_json import JsonSpans, json_to_spans
from gateway.telemetry.passage import Passage
from gateway.telemetry.plain_calls import PlainCalls
from gateway.telemetry.recording import RecordedCall
from gateway.telemetry.span import Source
from gateway.telemetry.span_queue import Limits, SpanQueue
from gateway.telemetry.tracing import Tracing, shared_inference

METHOD = "trident.diagnose.v1.DiagnoseService/Diagnose"
ANSWERS = Answers("diagnose", "one", "fused")
SPANS = 4
"""Of a call that travelled alone: its own, decode, queue, encode, and the call to Triton."""


class Kept:
    """Takes requests."""

    encoder = JsonSpans()

    def __init__(self, at_once: int = 1) -> None:
        self.at_once = at_once
        self.sent: list[list[int]] = []
        self.closed = False

    def send(self, *requests: bytes) -> None:
        self.sent.append([len(json_to_spans(json.loads(one))) for one in requests])

    def close(self) -> None:
        self.closed = True


class Passed:
    """Takes what is passed on, and notes where and when."""

    def __init__(self) -> None:
        self.items: list[Encoded | RecordedCall] = []
        self.threads: set[int] = set()

    def __call__(self, item: Encoded | RecordedCall) -> None:
        self.items.append(item)
        self.threads.add(threading.get_ident())

    @property
    def counts(self) -> list[int]:
        return [one.spans for one in self.items if isinstance(one, Encoded)]


def end_one(tracing: Tracing, *, plain: bool = True) -> None:
    """What the gateway tells of a call that was answered."""
    call = tracing.start_call(FakeCall(METHOD))
    way = Passage(call, 17, 1_000)
    way.left_ns = 2_000
    trip: Any = shared_inference([way])
    trip.admitted()
    trip.entered_ns = trip.admitted_ns  # however busy the machine is
    trip.ask("diagnose__one__fused", "10.0.0.8:8001")
    trip.end()
    way.end_ns = trip.end_ns + 3_000
    if not plain:
        call.add_stage("decode", 1, 2)
    call.set_release(ANSWERS)
    call.went(way)
    call.finish(code_pb2.OK)


def ended(passed: Passed, calls: int, most_spans: int = 1024) -> EndedCalls:
    """So many calls that have ended; run on an event loop."""
    found = EndedCalls(JsonSpans(), most_spans, lambda call: call.size + 2, passed)

    class Queue:
        dropped = sent = 0

        def put(self, call: RecordedCall) -> None:
            assert found.take(call)

    tracing = Tracing([Queue()])  # type: ignore[list-item]
    for _ in range(calls):
        end_one(tracing)
    return found


def on_a_loop(work: Callable[[], Any], rounds: int = 40) -> None:
    """Do it on an event loop, which then goes round a few times more."""

    async def go() -> None:
        work()
        for _ in range(rounds):
            await asyncio.sleep(0)

    asyncio.run(go())


def test_they_are_encoded_on_the_thread_of_the_loop() -> None:
    passed = Passed()
    on_a_loop(lambda: ended(passed, 3))
    assert passed.threads == {threading.get_ident()}
    (encoded,) = passed.items
    assert isinstance(encoded, Encoded)
    spans = json_to_spans(json.loads(JsonSpans().request([(Source({}), encoded.pieces)])))
    assert [one.name for one in spans].count(METHOD) == 3
    assert encoded.spans == len(spans) == 15
    assert encoded.size == 3 * 7  # as they were counted: a call, its five stages, one for more


def test_what_the_loop_has_at_hand_comes_first() -> None:
    """The answers: nobody waits for spans."""
    passed, seen = Passed(), []

    async def go() -> None:
        ended(passed, 3)
        asyncio.get_running_loop().call_soon(lambda: seen.append(len(passed.items)))
        seen.append(len(passed.items))
        await asyncio.sleep(0)
        seen.append(len(passed.items))

    asyncio.run(go())
    assert seen[0] == 0
    assert seen[-1] == 1


def test_a_few_are_encoded_at_a_time_and_others_have_their_turn_between() -> None:
    passed, seen = Passed(), []

    async def go() -> None:
        ended(passed, 100)
        while sum(passed.counts) < 500:
            await asyncio.sleep(0)
            seen.append(sum(passed.counts) // 5)

    asyncio.run(go())
    assert max(passed.counts) <= 32 * 5
    assert sorted(set(seen) - {0}) == [32, 64, 96, 100]


def test_no_more_than_a_batch_is_encoded_together() -> None:
    passed = Passed()
    on_a_loop(lambda: ended(passed, 7, most_spans=8))
    assert passed.counts == [10, 10, 10, 5]


def test_calls_that_are_not_plain_are_passed_on_as_they_are() -> None:
    kept = Kept()
    queue = SpanQueue(kept, Source({}), Limits(delay_s=3600))
    tracing = Tracing([queue])

    def work() -> None:
        end_one(tracing, plain=False)
        end_one(tracing)

    on_a_loop(work)
    tracing.shutdown(20)
    assert kept.sent == [[6 + 5]]
    assert (queue.sent, queue.dropped) == (11, 0)


def test_a_call_that_cannot_be_encoded_costs_only_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, broken = PlainCalls.encode, []

    def encode(self: PlainCalls, call: RecordedCall) -> Any:
        if not broken:
            broken.append(call)
        if call is broken[0]:
            raise RuntimeError("a bug")
        return real(self, call)

    monkeypatch.setattr(PlainCalls, "encode", encode)
    kept = Kept()
    queue = SpanQueue(kept, Source({}), Limits(delay_s=3600))
    tracing = Tracing([queue])
    on_a_loop(lambda: [end_one(tracing) for _ in range(3)])
    tracing.shutdown(20)
    assert kept.sent == [[10]]
    assert (queue.sent, queue.dropped) == (10, 7)
    assert "Spans could not be encoded" in caplog.text


def test_without_a_loop_the_thread_makes_the_spans() -> None:
    kept = Kept()
    tracing = Tracing([SpanQueue(kept, Source({}), Limits(delay_s=3600))])
    end_one(tracing)
    tracing.shutdown(20)
    assert kept.sent == [[5]]


def test_what_a_loop_that_has_ended_left_lying_is_sent() -> None:
    kept = Kept()
    queue = SpanQueue(kept, Source({}), Limits(delay_s=3600))
    tracing = Tracing([queue])

    async def go() -> None:
        for _ in range(100):
            end_one(tracing)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(go())
    loop.close()
    tracing.shutdown(20)
    assert sum(map(sum, kept.sent)) == 500
    assert (queue.sent, queue.dropped) == (500, 0)


def test_what_a_loop_does_not_come_to_is_sent_after_the_usual_delay() -> None:
    kept = Kept()
    queue = SpanQueue(kept, Source({}), Limits(delay_s=0.01))
    tracing = Tracing([queue])

    async def go() -> None:
        end_one(tracing)
        for _ in range(2_000):  # it does not go round
            if kept.sent:
                return
            threading.Event().wait(0.01)

    asyncio.run(go())
    assert kept.sent == [[5]]
    tracing.shutdown(20)


def test_what_the_loop_has_in_hands_at_the_end_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Closed from another thread while it encodes."""
    monkeypatch.setattr(span_queue, "_HAND_OVER_S", 20)
    kept = Kept()
    queue = SpanQueue(kept, Source({}), Limits(delay_s=3600))
    tracing = Tracing([queue])
    encoding, go_on = threading.Event(), threading.Event()
    encode = queue._ended._encode

    def slowly(call: RecordedCall) -> Any:
        encoding.set()
        go_on.wait(20)
        return encode(call)

    queue._ended._encode = slowly

    def close() -> None:
        encoding.wait(20)
        threading.Timer(0.02, go_on.set).start()
        tracing.shutdown(20)

    closing = threading.Thread(target=close)
    closing.start()
    on_a_loop(lambda: end_one(tracing))
    closing.join(20)
    assert kept.sent == [[5]]
    assert (queue.sent, queue.dropped) == (5, 0)


def test_what_never_comes_is_counted_as_lost() -> None:
    """And not waited for long."""
    queue = SpanQueue(Kept(), Source({}), Limits(delay_s=3600))
    tracing = Tracing([queue])

    def work() -> None:
        end_one(tracing)
        next(queue._ended.left_lying())  # somebody has it in hands for ever

    on_a_loop(work)
    assert queue.close(20)
    assert (queue.sent, queue.dropped) == (0, 7)


def test_requests_are_no_larger_than_a_batch_wherever_they_were_encoded() -> None:
    kept = Kept()
    queue = SpanQueue(kept, Source({}), Limits(batch_spans=20, delay_s=3600))
    tracing = Tracing([queue])
    on_a_loop(lambda: [end_one(tracing, plain=place > 0) for place in range(31)])
    tracing.shutdown(20)
    sizes = [size for sizes in kept.sent for size in sizes]
    assert sum(sizes) == 156
    assert max(sizes) <= 20 + 5


def test_an_exporter_gets_as_many_requests_at_once_as_it_likes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = Kept(at_once=3)
    queue = SpanQueue(kept, Source({}), Limits(batch_spans=5, delay_s=3600))
    tracing = Tracing([queue])
    with caplog.at_level(logging.WARNING):
        on_a_loop(lambda: [end_one(tracing) for _ in range(7)])
        tracing.shutdown(20)
    assert sum(map(sum, kept.sent)) == 35
    assert max(map(len, kept.sent)) == 3
    assert all(size == 5 for sizes in kept.sent for size in sizes)
    assert not caplog.records
