from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from fake_runner import FakeRunner, RecordingTracing
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from manifests import manifest
from wire import refusal, refusal_of

from gateway.errors import ModelContractBroken, Overloaded
from gateway.transport.grpc_aio import AddressInUse, GrpcServer, build_server
from gateway.transport.grpc_aio_rpc import GrpcAioCall, RpcHandlers
from gateway.transport.rpcs import Rpcs
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.diagnose.v1 import diagnose_service_pb2
from trident.model.v1 import model_service_pb2
from trident.recommend.v1 import recommend_service_pb2
from trident.risk.v1 import risk_service_pb2
from trident.risk.v1.risk_service_pb2 import (
    BatchScoreRiskRequest,
    ScoreRiskRequest,
    StreamScoreRiskRequest,
)
from trident.risk.v1.risk_service_pb2_grpc import RiskServiceStub

SERVICES = [
    service
    for module in (
        recommend_service_pb2, diagnose_service_pb2, risk_service_pb2, model_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]  # fmt: skip
(RISK,) = risk_service_pb2.DESCRIPTOR.services_by_name.values()
METHODS = [method for service in SERVICES for method in service.methods]
GOOD = ScoreRiskRequest(features={"age": FeatureValue(number=40)})
GARBAGE = b"\xff\xff\xff\xff"


@pytest.fixture
async def risk(channel: grpc.aio.Channel) -> RiskServiceStub:
    """A typed client."""
    return RiskServiceStub(channel)


def raw(channel: grpc.aio.Channel, method: Any) -> Callable[..., Any]:
    """Calls a method with bytes."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    if method.client_streaming:
        return channel.stream_stream(path)
    return channel.unary_unary(path)


def element(name: str) -> StreamScoreRiskRequest:
    request = StreamScoreRiskRequest(request=GOOD)
    request.request.request_id = name
    return request


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_every_method_of_every_service_is_served(
    channel: grpc.aio.Channel, tracing: RecordingTracing, method: Any
) -> None:
    call = raw(channel, method)([b""] if method.client_streaming else b"")
    if method.client_streaming:
        await _all(call)
    assert await call.code() in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)
    (trace,) = tracing.calls
    assert trace.method == f"{method.containing_service.full_name}/{method.name}"


async def _all(call: AsyncIterator[Any]) -> list[Any]:
    return [answer async for answer in call]


@pytest.mark.parametrize(
    "method", [m for m in METHODS if not m.client_streaming], ids=lambda method: method.name
)
async def test_bytes_that_are_no_message_are_the_callers_fault(
    channel: grpc.aio.Channel, tracing: RecordingTracing, method: Any
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await raw(channel, method)(GARBAGE)
    seen = refusal_of(raised.value)
    assert (seen.code, seen.reason) == (code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST")
    text = f"must be a {method.input_type.full_name}, got bytes that are none"
    assert seen.violations == {"": text}
    assert tracing.calls[0].codes == [code_pb2.INVALID_ARGUMENT]


async def test_bytes_that_are_no_message_do_not_end_a_stream(channel: grpc.aio.Channel) -> None:
    method = risk_service_pb2.DESCRIPTOR.services_by_name["RiskService"].methods_by_name[
        "StreamScoreRisk"
    ]
    good = element("a").SerializeToString()
    answers = [
        risk_service_pb2.StreamScoreRiskResponse.FromString(answer)
        async for answer in raw(channel, method)([good, GARBAGE, good])
    ]
    refused = [refusal(answer.error) for answer in answers if answer.HasField("error")]
    assert [error.reason for error in refused] == ["INVALID_REQUEST"]
    assert [answer.request_id for answer in answers if answer.HasField("response")] == ["a", "a"]


async def test_an_answer_comes_with_a_finished_trace(
    risk: RiskServiceStub, tracing: RecordingTracing
) -> None:
    response = await risk.ScoreRisk(GOOD, metadata=(("TraceParent".lower(), "00-a-b-01"),))
    assert response.default_probability == pytest.approx(0.5)
    (trace,) = tracing.calls
    assert trace.codes == [code_pb2.OK]
    assert trace.metadata["traceparent"] == "00-a-b-01"
    assert trace.peer.startswith("ipv4:127.0.0.1:")
    assert trace.stages == ["decode", "queue", "encode"]


async def test_binary_metadata_is_not_shown_and_the_last_of_repeated_keys_is(
    risk: RiskServiceStub, tracing: RecordingTracing
) -> None:
    await risk.ScoreRisk(GOOD, metadata=(("a", "1"), ("b-bin", b"\0"), ("a", "2")))
    metadata = tracing.calls[0].metadata
    assert metadata["a"] == "2"
    assert "b-bin" not in metadata


@pytest.mark.parametrize("error", [Overloaded("score-risk", 3), ModelContractBroken("a", "b")])
async def test_an_error_of_ours_arrives_with_its_details(
    runner: FakeRunner, risk: RiskServiceStub, tracing: RecordingTracing, error: Any
) -> None:
    runner.error = error
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await risk.ScoreRisk(GOOD)
    seen = refusal_of(raised.value)
    assert (seen.code, seen.message) == (error.code, error.message)
    assert seen.metadata == error.metadata
    (trace,) = tracing.calls
    assert (trace.codes, trace.error) == ([error.code], error)


async def test_an_unexpected_error_tells_the_caller_nothing(
    runner: FakeRunner, risk: RiskServiceStub, caplog: pytest.LogCaptureFixture
) -> None:
    runner.error = RuntimeError("password=hunter2")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await risk.ScoreRisk(GOOD)
    seen = refusal_of(raised.value)
    assert (seen.code, seen.reason) == (code_pb2.INTERNAL, "INTERNAL")
    assert seen.message == "Internal error."
    assert "hunter2" not in raised.value.debug_error_string()
    assert [record.name for record in caplog.records] == ["gateway.transport.status"]


async def test_the_worst_request_is_refused_in_a_status_that_clients_accept(
    risk: RiskServiceStub,
) -> None:
    bad = ScoreRiskRequest(
        request_id="\0" * 200,
        features={"ü\x01" * 128 + str(place): FeatureValue() for place in range(900)}
        | {f"\x02{place}": FeatureValue(category="ß" * 300) for place in range(100)},
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await risk.BatchScoreRisk(BatchScoreRiskRequest(requests=[bad] * 10))
    seen = refusal_of(raised.value)
    assert seen.code == code_pb2.INVALID_ARGUMENT
    assert seen.metadata == {"violationCount": "1000"}
    assert "requests[0].request_id" in seen.violations


async def test_the_deadline_of_the_client_is_passed_on(
    runner: FakeRunner, risk: RiskServiceStub
) -> None:
    await risk.ScoreRisk(GOOD, timeout=50)  # grpc rounds longer ones up to whole seconds
    await risk.ScoreRisk(GOOD)
    with_deadline, without = (asked.timeout_s for asked in runner.asked)
    assert with_deadline is not None
    assert 0 < with_deadline <= 50.1
    assert without is None


async def test_a_deadline_that_passes_cancels_the_inference(
    runner: FakeRunner, risk: RiskServiceStub, tracing: RecordingTracing
) -> None:
    runner.hold()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await risk.ScoreRisk(GOOD, timeout=0.2)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await runner.wait(lambda: runner.cancelled == 1)
    (trace,) = tracing.calls
    await asyncio.wait_for(trace.finished.wait(), 20)
    assert trace.codes == [code_pb2.DEADLINE_EXCEEDED]


async def test_what_is_known_of_a_call_is_known_when_grpc_has_freed_it(
    tracing: RecordingTracing,
) -> None:
    calls: list[GrpcAioCall] = []
    start_call = tracing.start_single

    def start(call: Any) -> Any:
        calls.append(call)
        return start_call(call)

    tracing.start_single = start  # type: ignore[method-assign]
    rpcs = Rpcs(tracing)  # type: ignore[arg-type]
    rpcs.add_service(RISK, _Holding())
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((RpcHandlers(rpcs.table, 100),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as own:
        with pytest.raises(grpc.aio.AioRpcError):
            await RiskServiceStub(own).ScoreRisk(GOOD, timeout=0.1, metadata=(("a", "b"),))
    await server.stop(0)
    gc.collect()
    (call,) = calls
    # grpc, asked now, would end this process.
    assert call.peer().startswith("ipv4:127.0.0.1:")
    assert call.header("a") == "b"
    assert call.time_remaining() == 0


class _Holding:
    """Answers nobody."""

    async def answer(self, request: Any, call: Any) -> Any:
        await asyncio.Event().wait()

    ScoreRisk = BatchScoreRisk = StreamScoreRisk = answer


async def test_a_client_that_cancels_cancels_the_inference(
    runner: FakeRunner, risk: RiskServiceStub, tracing: RecordingTracing
) -> None:
    runner.hold()
    call = risk.ScoreRisk(GOOD, timeout=100)
    await runner.wait(lambda: runner.running == 1)
    call.cancel()
    await runner.wait(lambda: runner.cancelled == 1)
    (trace,) = tracing.calls
    await asyncio.wait_for(trace.finished.wait(), 20)
    assert trace.codes == [code_pb2.CANCELLED]


async def test_two_hundred_elements_of_a_stream_keep_their_ids(
    risk: RiskServiceStub, tracing: RecordingTracing
) -> None:
    call = risk.StreamScoreRisk(element(f"q{place}") for place in range(200))
    answers = [answer async for answer in call]
    assert {answer.request_id for answer in answers} == {f"q{place}" for place in range(200)}
    assert len(answers) == 200
    assert all(answer.HasField("response") for answer in answers)
    assert tracing.calls[0].codes == [code_pb2.OK]


async def test_an_answer_of_a_stream_comes_before_the_stream_ends(risk: RiskServiceStub) -> None:
    call = risk.StreamScoreRisk()
    for name in ("a", "b"):
        await call.write(element(name))
        assert (await call.read()).request_id == name
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_a_stream_that_the_client_cancels_cancels_its_inferences(
    runner: FakeRunner, risk: RiskServiceStub, tracing: RecordingTracing
) -> None:
    runner.hold()
    call = risk.StreamScoreRisk(element(f"q{place}") for place in range(200))
    await runner.wait(lambda: runner.running > 0)
    call.cancel()
    await runner.wait(lambda: runner.running == 0)
    assert runner.cancelled == len(runner.asked) > 0
    (trace,) = tracing.calls
    await asyncio.wait_for(trace.finished.wait(), 20)
    assert trace.codes == [code_pb2.CANCELLED]


async def test_a_stream_that_breaks_ends_with_one_error(
    runner: FakeRunner, risk: RiskServiceStub, tracing: RecordingTracing
) -> None:
    def fail() -> Any:
        raise RuntimeError("secret")

    runner.choose = lambda line, key: fail()  # type: ignore[method-assign]
    (answer,) = [answer async for answer in risk.StreamScoreRisk([element("a")])]
    assert answer.error.message == "Internal error."
    assert tracing.calls[0].codes == [code_pb2.OK]


@pytest.mark.parametrize("streaming", [False, True])
async def test_new_calls_are_refused_while_draining_and_the_old_ones_finish(
    server: GrpcServer, runner: FakeRunner, risk: RiskServiceStub, streaming: bool
) -> None:
    runner.hold()
    old = asyncio.ensure_future(risk.ScoreRisk(GOOD, timeout=100))
    await runner.wait(lambda: runner.running == 1)
    await server.drain()
    new = _all(risk.StreamScoreRisk([element("a")])) if streaming else risk.ScoreRisk(GOOD)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await new
    seen = refusal_of(raised.value)
    assert (seen.code, seen.reason) == (code_pb2.UNAVAILABLE, "SHUTTING_DOWN")
    assert seen.retry_after_s == pytest.approx(0.1)
    runner.release()
    assert (await old).default_probability == pytest.approx(0.5)


async def test_stopping_waits_for_what_is_in_flight(
    server: GrpcServer, runner: FakeRunner, risk: RiskServiceStub
) -> None:
    runner.hold()
    old = asyncio.ensure_future(risk.ScoreRisk(GOOD, timeout=100))
    await runner.wait(lambda: runner.running == 1)
    stopping = asyncio.create_task(server.stop(100))
    await asyncio.sleep(0)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await risk.ScoreRisk(GOOD)
    assert refusal_of(raised.value).reason == "SHUTTING_DOWN"  # still there to say so
    assert not stopping.done()
    runner.release()
    assert (await old).default_probability == pytest.approx(0.5)
    await asyncio.wait_for(stopping, 50)


async def test_stopping_cancels_what_outlasts_the_grace(
    server: GrpcServer, runner: FakeRunner, risk: RiskServiceStub, tracing: RecordingTracing
) -> None:
    runner.hold()
    old = asyncio.ensure_future(risk.ScoreRisk(GOOD, timeout=100))
    await runner.wait(lambda: runner.running == 1)
    await server.stop(0)
    with pytest.raises(grpc.aio.AioRpcError):
        await old
    assert runner.cancelled == 1
    await asyncio.wait_for(tracing.calls[0].finished.wait(), 20)
    assert tracing.calls[0].codes == [code_pb2.CANCELLED]


async def test_someone_who_watches_the_health_does_not_hold_up_the_stop(
    server: GrpcServer, channel: grpc.aio.Channel
) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    await asyncio.wait_for(server.stop(10_000), 50)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_message_over_the_limit_is_refused(
    runner: FakeRunner, tracing: RecordingTracing
) -> None:
    server = build_server(
        runner=runner, tracing=tracing, listen="127.0.0.1:0", max_message_bytes=1000
    )  # fmt: skip
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await RiskServiceStub(channel).ScoreRisk(ScoreRiskRequest(request_id="x" * 2000))
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        await RiskServiceStub(channel).ScoreRisk(GOOD)
    await server.stop(0)


async def test_a_batch_of_a_thousand_is_answered(risk: RiskServiceStub) -> None:
    response = await risk.BatchScoreRisk(BatchScoreRiskRequest(requests=[GOOD] * 1000))
    assert len(response.responses) == 1000


@pytest.mark.parametrize("listen", ["127.0.0.1:{port}", "192.0.2.1:1"], ids=["used", "not ours"])
async def test_an_address_that_cannot_be_had_is_said_so(
    runner: FakeRunner, tracing: RecordingTracing, listen: str
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = listen.format(port=other.getsockname()[1])
        with pytest.raises(AddressInUse, match=f"cannot listen at {address}"):
            build_server(runner=runner, tracing=tracing, listen=address)


async def test_a_release_that_is_gone_is_unavailable_with_a_reason(
    runner: FakeRunner, risk: RiskServiceStub
) -> None:
    runner.states = [s for s in runner.states if s.line != manifest("score-risk").line]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await risk.ScoreRisk(GOOD)
    seen = refusal_of(raised.value)
    assert (seen.reason, seen.metadata["line"]) == ("MODEL_UNAVAILABLE", "score-risk")
    assert seen.retry_after_s == 1


async def test_calls_with_far_too_much_metadata_are_known_to_leave_waste() -> None:
    told: list[int] = []
    handlers = RpcHandlers({}, max_metadata_count=2, on_waste=lambda: told.append(1))

    def call(entries: int) -> Any:
        metadata = (("a", "b"),) * entries
        return handlers.service(SimpleNamespace(method="/a/B", invocation_metadata=metadata))  # type: ignore[arg-type]

    call(2)
    assert told == []
    call(3)
    assert told == [1]
