"""What is noted of calls that travel together, by those who send them: real notes, no Triton."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest
from fake_runner import FakeCall, FakeRunner, Outputs
from google.rpc import code_pb2
from kept_spans import KeptSpans

from gateway.domains import risk
from gateway.telemetry.span import Span
from gateway.telemetry.tracing import Tracing
from gateway.transport.answering import Answering
from gateway.transport.companies import Batching
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.risk.v1.risk_service_pb2 import ScoreRiskRequest

REQUEST = ScoreRiskRequest(features={"age": FeatureValue(number=40)})
METHOD = FakeCall.method


class Callers:
    """Calls of a gateway whose traces are all kept."""

    def __init__(self, runner: FakeRunner) -> None:
        self.kept = KeptSpans()
        self._tracing = Tracing([self.kept])  # type: ignore[list-item]
        self._answering = Answering(runner, batching=Batching(max_rows=8))

    def start(self, count: int) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self._call()) for _ in range(count)]

    async def _call(self) -> None:
        call = FakeCall()
        trace = self._tracing.start_call(call)
        call.trace = trace  # type: ignore[assignment]
        try:
            await self._answering.one(risk, REQUEST, call)  # type: ignore[arg-type]
        except asyncio.CancelledError:
            trace.finish(code_pb2.CANCELLED)
            raise
        trace.finish(code_pb2.OK)

    def traces(self) -> list[list[Span]]:
        """The spans of each call, in the order of their starts."""
        spans = sorted(self.kept.spans(), key=lambda one: one.start_ns)
        return [
            [one for one in spans if one.trace_id == trace_id]
            for trace_id in dict.fromkeys(one.trace_id for one in spans)
        ]


def names(spans: Sequence[Span]) -> list[str]:
    return [one.name for one in spans if one.name not in (METHOD, "admission")]


async def first_alone_then_a_batch(
    runner: FakeRunner, callers: Callers
) -> list[asyncio.Task[None]]:
    """Four calls, of which three are at Triton together, and held there."""
    runner.hold()
    tasks = callers.start(4)
    await runner.wait(lambda: runner.running == 1)
    runner.release()
    runner.hold()
    await runner.wait(lambda: len(runner.asked) == 2 and runner.running == 1)
    assert [one.rows for one in runner.asked] == [1, 3]
    return tasks


async def test_stages_of_calls_that_travel_together_follow_one_another(runner: FakeRunner) -> None:
    callers = Callers(runner)
    tasks = await first_alone_then_a_batch(runner, callers)
    runner.release()
    await asyncio.gather(*tasks)
    traces = callers.traces()
    assert len(traces) == 4
    for spans in traces:
        inside = {one.name: one for one in spans if one.name in ("decode", "queue", "encode")}
        decode, queue, encode = inside["decode"], inside["queue"], inside["encode"]
        assert decode.end_ns == queue.start_ns <= queue.end_ns <= encode.start_ns <= encode.end_ns


async def test_who_left_a_batch_is_not_asked_for_again_when_the_others_are_one_by_one(
    runner: FakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    callers = Callers(runner)

    def broken(outputs: Outputs) -> Outputs:
        """Of several rows, one is missing."""
        rows = len(outputs["score"])
        return outputs if rows == 1 else {name: one[1:] for name, one in outputs.items()}

    runner.change = broken
    tasks = await first_alone_then_a_batch(runner, callers)
    tasks[1].cancel()
    await asyncio.wait(tasks[1:2])
    with caplog.at_level(logging.ERROR):
        runner.release()
        await asyncio.gather(tasks[0], *tasks[2:])
        await asyncio.sleep(0)
    assert caplog.records == []
    assert [one.rows for one in runner.asked] == [1, 3, 1, 1]
    found = sorted(names(spans).count("queue") for spans in callers.traces())
    assert found == [1, 1, 2, 2]  # alone; left; asked again by themselves
