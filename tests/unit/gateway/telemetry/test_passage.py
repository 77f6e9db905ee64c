"""The ways of requests: what is made of the notes, whoever is sampled, leaves or waits again."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
from fake_runner import FakeCall
from google.rpc import code_pb2
from kept_spans import KeptSpans

from gateway.telemetry.passage import Inference, Passage
from gateway.telemetry.record import Stage
from gateway.telemetry.recording import MAX_STAGES, RecordedCall
from gateway.telemetry.tracing import CallTrace, Tracing, shared_inference

METHOD = "trident.risk.v1.RiskService/ScoreRisk"
TRITON = "inference.GRPCInferenceService/ModelInfer"
Build = Callable[..., Tracing]


def start(tracing: Tracing) -> CallTrace:
    return tracing.start_call(FakeCall(METHOD))


def leave(*company: Passage, at_ns: int) -> None:
    for one in company:
        one.left_ns = at_ns


def brought_back(*company: Passage, asks: bool = True, error: Exception | None = None) -> Inference:
    inference = shared_inference(company)
    assert isinstance(inference, Inference)
    if asks:
        inference.admitted()
        inference.ask("model")
    inference.end(error)
    return inference


def stages(passage: Passage, until_ns: int = 1 << 63) -> list[Stage]:
    found: list[Stage] = []
    passage.add_stages(found, until_ns)
    return found


def test_a_way_is_decoded_queue_the_inference_and_encode_without_a_gap(tracing: Tracing) -> None:
    one = Passage(start(tracing), 10, 20)
    leave(one, at_ns=30)
    inference = brought_back(one)
    one.end_ns = inference.end_ns + 7
    decode, queue, admission, triton, encode = stages(one)
    assert (decode, queue) == (("decode", 10, 20, ""), ("queue", 20, 30, ""))
    assert (admission[0], admission[2]) == ("admission", inference.admitted_ns)
    assert triton == ("triton", inference.start_ns, inference.end_ns, "")
    assert encode == ("encode", inference.end_ns, inference.end_ns + 7, "")


def test_who_is_refused_has_waited_in_vain_and_encodes_nothing(tracing: Tracing) -> None:
    one = Passage(start(tracing), 10, 20)
    one.error, one.end_ns = "Overloaded", 50
    assert stages(one) == [("decode", 10, 20, ""), ("queue", 20, 50, "Overloaded")]


def test_an_answer_that_cannot_be_encoded_is_no_stage(tracing: Tracing) -> None:
    one = Passage(start(tracing), 10, 20)
    leave(one, at_ns=30)
    one.end_ns, one.error = brought_back(one).end_ns + 7, "ModelContractBroken"
    assert [name for name, *_ in stages(one)] == ["decode", "queue", "admission", "triton"]


def test_what_is_not_let_in_has_its_error_at_the_admission(tracing: Tracing) -> None:
    one = Passage(start(tracing))
    inference = brought_back(one, asks=False, error=TimeoutError())
    ((name, _, end_ns, error),) = stages(one)
    assert (name, end_ns, error) == ("admission", inference.end_ns, "TimeoutError")


def test_of_an_inference_counts_what_was_before_its_call_left(tracing: Tracing) -> None:
    one = Passage(start(tracing))
    inference = brought_back(one)
    assert stages(one, until_ns=inference.start_ns + 1)[-1][2] <= inference.start_ns + 1
    assert stages(one)[-1][2] == inference.end_ns  # others are not harmed


def test_who_is_asked_again_by_itself_has_waited_since_the_batch_came_back(
    tracing: Tracing, kept: KeptSpans
) -> None:
    calls = [start(tracing) for _ in range(2)]
    again, other = (Passage(call, 10, 20) for call in calls)
    leave(again, other, at_ns=30)
    first = brought_back(again, other)
    again.turn_back()
    leave(again, at_ns=first.end_ns + 5)
    second = brought_back(again)
    again.end_ns = second.end_ns + 7
    calls[0].went(again)
    calls[0].finish(code_pb2.OK)
    found = kept.spans()
    assert sorted(one.name for one in found) == sorted(
        ["decode", "queue", "batch", TRITON, "queue", TRITON, "encode", METHOD]
    )
    waits = [(one.start_ns, one.end_ns) for one in kept.named("queue")]
    assert waits == [(20, 30), (first.end_ns, first.end_ns + 5)]
    assert len({one.span_id for one in found}) == len(found)


@pytest.mark.parametrize("asks", [True, False])
def test_a_call_that_left_before_triton_was_asked_knows_nothing_of_it(
    asks: bool, tracing: Tracing, kept: KeptSpans
) -> None:
    left, stayed = (Passage(start(tracing)) for _ in range(2))
    for one in (left, stayed):
        one.call.went(one)
    inference = shared_inference([left, stayed])
    left.call.finish(code_pb2.CANCELLED)
    assert len(kept.items) == 1  # at once: there is nothing to wait for
    if asks:
        inference.admitted()
        inference.ask("model")
    inference.end()
    assert left.trip is None
    assert stayed.trip is inference


def test_a_stream_that_ended_owns_nothing_that_triton_is_asked_for_an_element_of_it(
    tracing: Tracing, kept: KeptSpans
) -> None:
    ended, stayed = (Passage(start(tracing)) for _ in range(2))
    inference = shared_inference([ended, stayed])
    ended.call.finish(code_pb2.CANCELLED)  # before its element was told
    inference.admitted()
    inference.ask("model")
    inference.end()
    ended.call.went(ended)
    call = stayed.call
    call.went(stayed)
    call.finish(code_pb2.OK)
    assert [one.trace_id for one in kept.named(TRITON)] == [call.trace_id]
    assert ended.call.passages() == []


def test_the_numbers_of_spans_that_triton_was_not_told_of_meet_nowhere(
    build: Build, kept: KeptSpans
) -> None:
    call = start(build(sample_ratio=0))
    for _ in range(3):
        passages = [Passage(call, 1, 2), Passage(call, 1, 2)]
        brought_back(*passages)
        for one in passages:
            call.went(one)
    call.finish(code_pb2.INTERNAL)
    found = kept.spans()
    assert len(kept.named(TRITON)) == len(kept.named("batch")) == 6
    assert len({one.span_id for one in found}) == len(found)


def test_every_exporter_is_given_the_same_numbers(build: Build, kept: KeptSpans) -> None:
    call = start(build(sample_ratio=0))
    brought_back(one := Passage(call, 1, 2))
    call.went(one)
    call.finish(code_pb2.INTERNAL)
    first, second = kept.spans(), kept.spans()
    assert [one.span_id for one in first] == [one.span_id for one in second]


def test_ways_that_are_under_way_stay_with_the_rest_of_a_stream(
    tracing: Tracing, kept: KeptSpans
) -> None:
    call = start(tracing)
    slow = Passage(call, 1, 2)
    call.went(slow)
    inference = shared_inference([slow])
    inference.admitted()
    inference.ask("model")
    while not kept.items:
        one = Passage(call, 3, 4)
        brought_back(one)
        call.went(one)
    part = kept.items[0]
    assert isinstance(part, RecordedCall)
    assert MAX_STAGES - 5 <= part.size <= MAX_STAGES + 5
    assert slow not in part.passages()
    inference.end()
    call.finish(code_pb2.OK)
    found = kept.spans()
    assert [one.start_ns for one in kept.named("decode")].count(1) == 1
    assert len({one.span_id for one in found}) == len(found)


class Watched(Passage):
    """Can be seen to go."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_nothing_of_what_ended_waits_for_the_garbage_collector(
    ratio: float, build: Build, kept: KeptSpans
) -> None:
    tracing = build(sample_ratio=ratio)
    gc.disable()
    try:
        company = [Watched(start(tracing), 1, 2) for _ in range(3)]
        watched = [weakref.ref(one) for one in company]
        brought_back(*company)
        while company:
            call = company[-1].call
            call.went(company.pop())
            call.finish(code_pb2.OK)
        del call
        kept.items.clear()
        assert [one() for one in watched] == 3 * [None]
    finally:
        gc.enable()
