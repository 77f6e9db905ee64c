"""Calls that get a record once something tells that they are kept: real notes, no Triton."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from fake_runner import FakeCall, FakeRunner
from google.rpc import code_pb2
from kept_spans import KeptSpans

from gateway.errors import ModelContractBroken, Overloaded
from gateway.inference.priority import SHARED, Turn
from gateway.inference.runner import ServedRelease, Tensors
from gateway.security.client import ClientKind, known_client
from gateway.telemetry.record import CallRecord
from gateway.telemetry.span import Span
from gateway.telemetry.tracing import NO_TRACE, Tracing, recorded
from gateway.telemetry.undecided import Undecided
from gateway.transport.answering import Answering
from gateway.transport.rpc import RpcFailed
from gateway.transport.services import build_services
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.model.v1.model_service_pb2 import ListModelsRequest
from trident.risk.v1.risk_service_pb2 import BatchScoreRiskRequest, ScoreRiskRequest

REQUEST = ScoreRiskRequest(features={"age": FeatureValue(number=40)})
BAD = ScoreRiskRequest(features={"age": FeatureValue(category="old")})
METHOD = FakeCall.method
TRITON = "inference.GRPCInferenceService/ModelInfer"
WAY = ["decode", "queue", TRITON, "encode", METHOD]
UNSAMPLED = {"traceparent": f"00-{'c' * 32}-{'d' * 16}-00"}


class Telling(FakeRunner):
    """Tells the trace what a real one does, and remembers what Triton was told."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[Mapping[str, str]] = []

    async def run(
        self,
        release: ServedRelease,
        tensors: Tensors,
        *,
        outputs: Sequence[str] | None = None,
        timeout_s: float | None,
        trace: Any,
        turn: Turn = SHARED,
    ) -> Any:
        trace.admitted()
        self.headers.append(trace.ask(release.model_name, "10.0.0.8:8001"))
        try:
            answer = await super().run(
                release, tensors, outputs=outputs, timeout_s=timeout_s, trace=trace, turn=turn
            )
        except BaseException as error:
            trace.end(error)
            raise
        trace.end()
        return answer


class Gateway:
    """A gateway that samples so many, and keeps what is so slow."""

    def __init__(self, ratio: float = 0.0, slower_s: float | None = 60, **options: Any) -> None:
        self.kept = KeptSpans()
        self.runner = Telling()
        self.tracing = Tracing(
            [self.kept],  # type: ignore[list-item]
            sample_ratio=ratio,
            keep_slower_s=slower_s,
            **options,
        )
        self._table = build_services(self.runner, self.tracing, reflection_enabled=False).rpcs.table
        self.calls: list[FakeCall] = []

    async def ask(self, request: Any = REQUEST, method: str = METHOD, **call: Any) -> bytes:
        made = FakeCall(method, received_ns=time.time_ns(), trace=NO_TRACE, **call)  # type: ignore[arg-type]
        self.calls.append(made)
        answer: bytes = await self._table[f"/{method}"].answer(request.SerializeToString(), made)
        return answer

    async def ask_together(self, count: int, **call: Any) -> list[Any]:
        """One alone, then so many in a batch."""
        self.runner.hold()
        tasks = [asyncio.create_task(self.ask(**call)) for _ in range(count + 1)]
        await self.runner.wait(lambda: self.runner.running == 1)
        self.runner.release()
        return await asyncio.gather(*tasks, return_exceptions=True)

    def names(self) -> list[str]:
        return [one.name for one in self.kept.spans() if one.name != "admission"]

    def traces(self) -> list[list[Span]]:
        """The spans of each call."""
        spans = self.kept.spans()
        return [
            [one for one in spans if one.trace_id == trace_id]
            for trace_id in dict.fromkeys(one.trace_id for one in spans)
        ]


async def test_a_call_like_most_others_has_no_record_and_triton_is_told_of_none() -> None:
    gateway = Gateway()
    await gateway.ask()
    (call,) = gateway.calls
    assert isinstance(call.trace, Undecided)
    assert gateway.kept.items == []
    assert gateway.runner.headers == [{}]


async def test_one_that_was_slow_has_all_its_spans_but_tritons() -> None:
    gateway = Gateway(slower_s=0)
    await gateway.ask(address="ipv4:10.0.0.7:4711")
    assert sorted(gateway.names()) == sorted(WAY)
    assert gateway.runner.headers == [{}]
    server = gateway.kept.one(METHOD)
    assert server.attributes["client.address"] == "10.0.0.7"
    assert server.attributes["trident.line"] == "score-risk"
    assert gateway.kept.one(TRITON).attributes["server.address"] == "10.0.0.8"
    decode, queue, asked, encode = (gateway.kept.one(name) for name in WAY[:-1])
    assert server.start_ns == decode.start_ns <= decode.end_ns == queue.start_ns
    assert queue.end_ns <= asked.start_ns <= asked.end_ns == encode.start_ns
    assert encode.end_ns <= server.end_ns


async def test_one_that_is_kept_late_says_whose_it_was() -> None:
    gateway = Gateway(slower_s=0)
    await gateway.ask(client=known_client(ClientKind.KEY, "billing", frozenset()))
    assert gateway.kept.one(METHOD).attributes["enduser.id"] == "key:billing"


async def test_calls_of_a_slow_batch_each_have_their_own_trace() -> None:
    gateway = Gateway(slower_s=0)
    await gateway.ask_together(3)
    traces = gateway.traces()
    assert [one.rows for one in gateway.runner.asked] == [1, 3]
    assert sorted(len(spans) for spans in traces) == [5, 6, 6, 6]  # a span `batch` each
    assert all(one.links == [] for spans in traces for one in spans)  # Triton was told of none
    ids = [one.span_id for one in gateway.kept.spans()]
    assert len(set(ids)) == len(ids)


async def test_a_batch_that_chance_samples_is_one_request_to_triton_that_all_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = Gateway(ratio=0.5)
    monkeypatch.setattr("gateway.telemetry.tracing.random", lambda: 0.4)
    await gateway.ask_together(3)
    alone, batch = gateway.runner.headers
    (asked,) = [one for one in gateway.kept.named(TRITON) if len(one.links) == 2]
    assert batch["traceparent"] == f"00-{asked.trace_id:032x}-{asked.span_id:016x}-01"
    assert alone["traceparent"] != batch["traceparent"]
    assert len(gateway.traces()) == 4
    assert len(gateway.kept.named("batch")) == 3
    for name in ("decode", "queue", "encode", METHOD):
        assert len(gateway.kept.named(name)) == 4
    assert {one.attributes["trident.line"] for one in gateway.kept.named(METHOD)} == {"score-risk"}


async def test_a_batch_that_chance_does_not_sample_has_no_trace_but_its_sampled_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = Gateway(ratio=0.5)
    monkeypatch.setattr("gateway.telemetry.tracing.random", lambda: 0.6)
    await gateway.ask_together(3)
    assert gateway.kept.items == []
    assert gateway.runner.headers == [{}, {}]


async def test_whoever_s_client_decided_has_a_record_from_the_start() -> None:
    gateway = Gateway(slower_s=0)
    await gateway.ask(metadata=UNSAMPLED)
    (call,) = gateway.calls
    assert not isinstance(call.trace, Undecided)
    assert {one.trace_id for one in gateway.kept.spans()} == {int("c" * 32, 16)}


async def test_one_that_failed_at_triton_is_kept_with_the_step_that_did() -> None:
    gateway = Gateway()
    gateway.runner.error = ModelContractBroken("score-risk", "r1", "encode")
    with pytest.raises(RpcFailed):
        await gateway.ask()
    names = gateway.names()
    assert sorted(names) == sorted(set(WAY) - {"encode"})
    assert gateway.kept.one(METHOD).attributes["trident.step"] == "encode"
    assert gateway.kept.one(METHOD).attributes["trident.release"] == "r1"


async def test_one_that_failed_by_its_client_s_fault_is_as_likely_kept_as_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = Gateway(ratio=0.5)
    for drawn in (0.4, 0.6):
        monkeypatch.setattr("gateway.telemetry.tracing.random", lambda drawn=drawn: drawn)
        with pytest.raises(RpcFailed):
            await gateway.ask(BAD)
    assert gateway.names() == ["decode", METHOD]
    assert gateway.kept.one("decode").attributes == {"error.type": "InvalidRequest"}


async def test_one_that_chance_left_out_is_not_drawn_again_when_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = Gateway(ratio=0.5, keep_errors=False)
    drawn = iter([0.6, 0.4])
    monkeypatch.setattr("gateway.telemetry.tracing.random", lambda: next(drawn))
    gateway.runner.error = ModelContractBroken("score-risk", "r1")
    with pytest.raises(RpcFailed):
        await gateway.ask()
    assert gateway.kept.items == []
    assert next(drawn) == 0.4


async def test_one_that_is_refused_before_triton_is_asked_is_as_likely_kept_as_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = Gateway(ratio=0.5)

    async def refuse(*asked: Any, trace: Any, **options: Any) -> Any:
        error = Overloaded("score-risk", 3)
        trace.end(error)
        raise error

    monkeypatch.setattr(gateway.runner, "run", refuse)
    for drawn in (0.4, 0.6):
        monkeypatch.setattr("gateway.telemetry.tracing.random", lambda drawn=drawn: drawn)
        with pytest.raises(RpcFailed):
            await gateway.ask()
    assert [one.name for one in gateway.kept.spans()] == ["decode", "queue", "admission", METHOD]


async def test_one_that_fails_after_its_answer_says_its_whole_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway, one = Gateway(), Answering.one

    async def answer_and_fail(*args: Any) -> Any:
        await one(*args)
        raise ValueError("cannot be written")

    monkeypatch.setattr(Answering, "one", answer_and_fail)
    with pytest.raises(RpcFailed):
        await gateway.ask()
    assert sorted(gateway.names()) == sorted(WAY)
    assert gateway.kept.one(METHOD).attributes["trident.line"] == "score-risk"


async def test_one_that_leaves_its_batch_ends_when_that_is_back() -> None:
    gateway = Gateway(slower_s=0)
    gateway.runner.hold()
    task = asyncio.create_task(gateway.ask())
    await gateway.runner.wait(lambda: gateway.runner.running == 1)
    task.cancel()
    await asyncio.wait([task])
    gateway.runner.release()
    async with asyncio.timeout(20):
        while not gateway.kept.items:
            await asyncio.sleep(0)
    server = gateway.kept.one(METHOD)
    assert server.attributes["rpc.response.status_code"] == "CANCELLED"
    assert gateway.kept.one(TRITON).start_ns >= gateway.kept.one("queue").end_ns


@pytest.mark.parametrize("drawn", [0.4, 0.6])
async def test_those_who_are_asked_again_one_by_one_say_both_ways(
    drawn: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Gateway(ratio=0.5, slower_s=0)
    monkeypatch.setattr("gateway.telemetry.tracing.random", lambda: drawn)
    gateway.runner.change = lambda outputs: (
        outputs if len(outputs["score"]) == 1 else {name: one[1:] for name, one in outputs.items()}
    )
    answers = await gateway.ask_together(2)
    assert all(isinstance(one, bytes) for one in answers)
    assert [one.rows for one in gateway.runner.asked] == [1, 2, 1, 1]
    assert sorted(names.count("queue") for names in map(_names, gateway.traces())) == [1, 2, 2]
    assert {names.count("encode") for names in map(_names, gateway.traces())} == {1}


async def test_a_batch_of_many_rows_is_sampled_as_one_call() -> None:
    method = "trident.risk.v1.RiskService/BatchScoreRisk"
    gateway = Gateway(slower_s=0)
    await gateway.ask(BatchScoreRiskRequest(requests=[REQUEST, REQUEST]), method)
    assert gateway.kept.one(method).attributes["trident.batch.size"] == 2
    assert sorted(gateway.names()) == sorted(["decode", TRITON, "encode", method])


async def test_one_that_asks_no_triton_is_as_likely_kept_as_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = "trident.model.v1.ModelService/ListModels"
    gateway = Gateway(ratio=0.5)
    for drawn in (0.4, 0.6):
        monkeypatch.setattr("gateway.telemetry.tracing.random", lambda drawn=drawn: drawn)
        await gateway.ask(ListModelsRequest(), method)
    assert gateway.names() == [method]


async def test_metrics_are_told_of_every_call() -> None:
    records: list[CallRecord] = []
    gateway = Gateway(sink=records.append)
    await gateway.ask()
    assert [(one.method, one.line) for one in records] == [(METHOD, "score-risk")]
    assert [name for name, *_ in records[0].stages if name != "admission"] == [
        "decode", "queue", "triton", "encode",
    ]  # fmt: skip


async def test_a_call_that_has_no_record_is_freed_without_the_garbage_collector() -> None:
    gateway = Gateway()
    gc.disable()
    try:
        await gateway.ask()
        held = weakref.ref(gateway.calls.pop())
        for _ in range(10):  # until the task of its batch is over
            await asyncio.sleep(0)
        assert held() is None
    finally:
        gc.enable()


def test_a_record_that_begins_late_is_the_only_one() -> None:
    kept = KeptSpans()
    tracing = Tracing([kept], sample_ratio=0)  # type: ignore[list-item]
    call = FakeCall(METHOD, received_ns=time.time_ns())
    call.trace = tracing.start_single(call)  # type: ignore[assignment]
    first = recorded(call)  # type: ignore[arg-type]
    assert recorded(call) is first  # type: ignore[arg-type]
    first.set_attribute("x", 1)
    recorded(call).finish(code_pb2.INTERNAL)  # type: ignore[arg-type]
    assert kept.one(METHOD).attributes["x"] == 1


def _names(spans: Sequence[Span]) -> list[str]:
    return [one.name for one in spans]
