from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest
from fake_runner import RecordingInference
from fake_triton import FakeTriton, rpc_error
from manifests import manifest
from tritonclient.grpc import service_pb2

from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    ModelContractBroken,
    ModelUnavailable,
    Overloaded,
)
from gateway.inference.admission import Admission
from gateway.inference.runner import ServedRelease
from gateway.inference.triton_runner import TritonRunner
from gateway.telemetry.failed_requests import FailedRequest
from gateway.triton.states import ReleaseState
from gateway.triton.verdicts import Suspicion

LINE = "diagnose-measurements"
RELEASE = manifest(LINE)
SERVED = ServedRelease(RELEASE)
TENSORS = {"numbers": np.array([[1, 2, 3], [4, 5, 6]], np.float32)}


def state(
    *clients: FakeTriton, line: str = LINE, release: str = "r1", detail: str = ""
) -> ReleaseState:
    return ReleaseState(
        line, release, 1.0, "ensemble", manifest(line, release), clients, detail  # type: ignore[arg-type]
    )  # fmt: skip


@dataclass
class States:
    """Stands for the lifecycle."""

    states: tuple[ReleaseState, ...]
    shadows: Mapping[str, ReleaseState] = field(default_factory=dict)
    left: tuple[FakeTriton, ...] = ()
    """Where a release can be asked that is routed no longer."""
    suspicions: list[Suspicion] = field(default_factory=list)

    def suspect(self, suspicion: Suspicion) -> None:
        self.suspicions.append(suspicion)

    def clients(self, line: str, release: str) -> tuple[FakeTriton, ...]:
        return self.left


def answer(model: str, **arrays: np.ndarray[Any, Any]) -> service_pb2.ModelInferResponse:
    response = service_pb2.ModelInferResponse(model_name=model)
    for name, array in arrays.items():
        response.outputs.add(name=name, datatype="FP32", shape=array.shape)
        response.raw_output_contents.append(array.astype(np.float32).tobytes())
    return response


def doubled(request: service_pb2.ModelInferRequest) -> service_pb2.ModelInferResponse:
    numbers = np.frombuffer(request.raw_input_contents[0], np.float32)
    rows = request.inputs[0].shape[0]
    return answer(request.model_name, probabilities=2 * numbers.reshape(rows, -1))


@pytest.fixture
def triton() -> FakeTriton:
    """Has the release loaded and answers twice the numbers."""
    return build_triton()


def build_triton(target: str = "triton:8001") -> FakeTriton:
    triton = FakeTriton(RELEASE, target=target)
    triton.loaded.add(RELEASE.ensemble)
    triton.answer = doubled
    return triton


def build_runner(
    *states: ReleaseState, in_flight: int = 8, waiting: int = 8, **options: Any
) -> TritonRunner:
    def admission(line: str) -> Admission:
        return Admission(line, in_flight, waiting)

    return TritonRunner(States(states), admission, **options)


async def ask(
    runner: TritonRunner,
    release: ServedRelease = SERVED,
    *,
    outputs: Sequence[str] | None = None,
    timeout_s: float | None = None,
    trace: RecordingInference | None = None,
) -> dict[str, Any]:
    return await runner.run(
        release, TENSORS, outputs=outputs, timeout_s=timeout_s, trace=trace or RecordingInference()
    )


async def test_the_answer_is_what_triton_gave(triton: FakeTriton) -> None:
    outputs = await ask(build_runner(state(triton)))
    np.testing.assert_array_equal(outputs["probabilities"], 2 * TENSORS["numbers"])


async def test_triton_is_asked_for_the_model_and_the_outputs_wanted(triton: FakeTriton) -> None:
    await ask(build_runner(state(triton)), outputs=["probabilities"])
    ((request, _, _),) = triton.asked
    assert request.model_name == RELEASE.ensemble
    assert [output.name for output in request.outputs] == ["probabilities"]


async def test_an_inference_is_traced_and_triton_gets_the_trace(triton: FakeTriton) -> None:
    trace = RecordingInference(headers={"traceparent": "00-a-b-01"})
    await ask(build_runner(state(triton)), trace=trace)
    assert trace.told == ["admitted", "asked", "ended"]
    assert (trace.models, trace.errors) == ([RELEASE.ensemble], [None])
    ((request, _, headers),) = triton.asked
    assert headers == {"traceparent": "00-a-b-01"}
    assert request.id == "00-a-b-01"


async def test_a_call_that_is_not_sampled_leaves_no_mark_on_the_request(
    triton: FakeTriton,
) -> None:
    await ask(build_runner(state(triton)))
    ((request, _, headers),) = triton.asked
    assert (request.id, headers) == ("", {})


async def test_the_trace_has_what_triton_said_before_it_was_translated(
    triton: FakeTriton,
) -> None:
    trace = RecordingInference()
    said = rpc_error(grpc.StatusCode.UNAVAILABLE, "gone")
    triton.answer = fail(said)
    with pytest.raises(ModelUnavailable):
        await ask(build_runner(state(triton)), trace=trace)
    assert trace.told[:3] == ["admitted", "asked", "ended"]
    assert trace.errors[0] is said


async def test_an_inference_that_was_not_admitted_ends_with_the_reason() -> None:
    triton = build_triton()
    trace = RecordingInference()
    with pytest.raises(DeadlineExceeded) as refused:
        await ask(build_runner(state(triton)), timeout_s=-1, trace=trace)
    assert trace.told[-1] == "ended"
    assert "asked" not in trace.told
    assert trace.errors == [refused.value]


@pytest.mark.parametrize(("timeout_s", "most"), [(5.0, 5.0), (None, 30.0)], ids=["own", "none"])
async def test_triton_gets_what_is_left_of_the_deadline(
    timeout_s: float | None, most: float, triton: FakeTriton
) -> None:
    await ask(build_runner(state(triton), call_timeout_s=30), timeout_s=timeout_s)
    ((_, passed_on, _),) = triton.asked
    assert passed_on is not None
    assert most - 4 < passed_on <= most


async def test_a_deadline_that_has_passed_does_not_reach_triton(triton: FakeTriton) -> None:
    with pytest.raises(DeadlineExceeded):
        await ask(build_runner(state(triton)), timeout_s=0)
    assert triton.asked == []


async def test_a_call_waits_for_its_place_no_longer_than_its_deadline(triton: FakeTriton) -> None:
    runner = build_runner(state(triton), in_flight=1)
    triton.may_answer.clear()
    first = asyncio.create_task(ask(runner))
    await triton.was_asked.acquire()
    with pytest.raises(DeadlineExceeded):
        await ask(runner, timeout_s=0.01)
    triton.may_answer.set()
    await first
    assert len(triton.asked) == 1


async def test_one_call_too_many_is_refused_and_another_line_is_not(triton: FakeTriton) -> None:
    runner = build_runner(state(triton), state(triton, line="score-risk"), in_flight=1, waiting=0)
    triton.may_answer.clear()
    first = asyncio.create_task(ask(runner))
    await triton.was_asked.acquire()
    with pytest.raises(Overloaded):
        await ask(runner)
    other = asyncio.create_task(ask(runner, ServedRelease(manifest("score-risk"))))
    await triton.was_asked.acquire()
    triton.may_answer.set()
    await first
    other.cancel()


async def test_it_says_what_is_routed_and_how_busy_the_way_to_triton_is(
    triton: FakeTriton,
) -> None:
    runner = build_runner(state(triton), in_flight=1, waiting=1)
    triton.may_answer.clear()
    asked = [asyncio.create_task(ask(runner)) for _ in range(3)]
    await triton.was_asked.acquire()
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    readings = {(one.instrument.name, one.labels): one.value for one in runner.readings()}
    triton.may_answer.set()
    await asyncio.gather(*asked, return_exceptions=True)
    (line,) = {one.line for one in runner.routes()}
    release = (line, "r1", "ensemble")
    assert readings == {
        ("trident.release.serving", release): 1,
        ("trident.release.weight", release): 1,
        ("trident.admission.active", (line,)): 1,
        ("trident.admission.limit", (line,)): 1,
        ("trident.calls.waiting", ("admission", line)): 1,
        ("trident.calls.waiting.limit", ("admission", line)): 1,
        ("trident.calls.refused", ("admission", line, "full")): 1,
        ("trident.triton.active", ("triton:8001",)): 1,
        ("trident.triton.hedges", ()): 0,
        ("trident.triton.retries", ("made",)): 0,
        ("trident.triton.retries", ("over_budget",)): 0,
    }


def fail(error: Exception) -> Callable[[service_pb2.ModelInferRequest], Any]:
    def answer(request: service_pb2.ModelInferRequest) -> Any:
        raise error

    return answer


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, ModelUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.INVALID_ARGUMENT, ModelContractBroken),
    ],
)
async def test_an_error_of_triton_is_one_of_ours_and_gives_the_place_back(
    code: grpc.StatusCode, error: type[GatewayError], triton: FakeTriton
) -> None:
    runner = build_runner(state(triton), in_flight=1, waiting=0)
    for _ in range(3):
        triton.answer = fail(rpc_error(code))
        with pytest.raises(error):
            await ask(runner)
    triton.answer = doubled
    await ask(runner)


TRACED = {"traceparent": "00-a-b-01"}


async def told_of(
    triton: FakeTriton, headers: Mapping[str, str], timeout_s: float | None = None
) -> list[FailedRequest]:
    """Which requests are told to have failed, of one that is not answered."""
    told: list[FailedRequest] = []
    runner = build_runner(state(triton), tell_failed=told.append)
    with pytest.raises(GatewayError):
        await ask(runner, trace=RecordingInference(headers=dict(headers)), timeout_s=timeout_s)
    return told


async def test_who_takes_tritons_spans_is_told_what_triton_has_failed(triton: FakeTriton) -> None:
    said = f"in ensemble '{RELEASE.ensemble}', model '{RELEASE.ensemble}__score': no"
    triton.answer = fail(rpc_error(grpc.StatusCode.INTERNAL, said))
    (request,) = await told_of(triton, TRACED)
    assert request == FailedRequest("00-a-b-01", "INTERNAL", said, "score")


async def test_nobody_is_told_of_a_request_that_triton_does_not_trace(triton: FakeTriton) -> None:
    triton.answer = fail(rpc_error(grpc.StatusCode.INTERNAL))
    assert await told_of(triton, {}) == []


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED], ids=str
)
async def test_nobody_is_told_where_triton_may_yet_have_answered(
    code: grpc.StatusCode, triton: FakeTriton
) -> None:
    triton.answer = fail(rpc_error(code))
    assert await told_of(triton, TRACED) == []


async def test_nobody_is_told_of_an_answer_that_only_makes_no_sense(triton: FakeTriton) -> None:
    triton.answer = lambda request: answer("another", probabilities=np.zeros((2, 3)))
    assert await told_of(triton, TRACED) == []


async def test_a_call_that_is_cancelled_gives_its_place_back(triton: FakeTriton) -> None:
    runner = build_runner(state(triton), in_flight=1, waiting=0)
    triton.may_answer.clear()
    call = asyncio.create_task(ask(runner))
    await triton.was_asked.acquire()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    triton.may_answer.set()
    await ask(runner)


@pytest.mark.parametrize(
    "broken",
    [
        lambda request: answer("another", probabilities=np.zeros((2, 3))),
        lambda request: answer(request.model_name, contributions=np.zeros((2, 3))),
        lambda request: answer(request.model_name, probabilities=np.zeros((1, 3))),
    ],
    ids=["of another model", "without an output", "with another number of rows"],
)
async def test_an_answer_that_makes_no_sense_breaks_the_contract(
    broken: Callable[[Any], Any], triton: FakeTriton
) -> None:
    triton.answer = broken
    with pytest.raises(ModelContractBroken) as caught:
        await ask(build_runner(state(triton)), outputs=["probabilities"])
    assert caught.value.metadata == {"line": LINE, "release": "r1"}


async def test_of_two_tritons_the_one_with_less_to_do_is_asked() -> None:
    tritons = [build_triton("a:1"), build_triton("b:1")]
    runner = build_runner(state(*tritons), in_flight=100)
    for triton in tritons:
        triton.may_answer.clear()
    calls = [asyncio.create_task(ask(runner)) for _ in range(10)]
    for triton in tritons:
        for _ in range(5):
            await asyncio.wait_for(triton.was_asked.acquire(), 5)
    tritons[1].may_answer.set()
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    while sum(call.done() for call in calls) < 5:
        await asyncio.wait(
            [call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED
        )
    for _ in range(3):
        await asyncio.wait_for(ask(runner), 5)
    assert [len(triton.asked) for triton in tritons] == [5, 8]
    tritons[0].may_answer.set()
    await asyncio.gather(*calls)


async def test_a_release_that_went_away_while_the_call_waited_is_unavailable(
    triton: FakeTriton,
) -> None:
    lifecycle = States((state(triton),))
    runner = TritonRunner(lifecycle, lambda line: Admission(line, 1, 1))
    triton.may_answer.clear()
    first = asyncio.create_task(ask(runner))
    await triton.was_asked.acquire()
    second = asyncio.create_task(ask(runner))
    await asyncio.sleep(0)
    lifecycle.states = (state(detail="Triton is gone"),)
    triton.may_answer.set()
    await first
    with pytest.raises(ModelUnavailable, match="'r1' is not loaded"):
        await second
    assert len(triton.asked) == 1


async def test_the_trace_is_told_of_each_attempt_and_which_one_answered() -> None:
    tritons = [build_triton("a:1"), build_triton("b:1")]
    tritons[0].answer = fail(rpc_error(grpc.StatusCode.UNAVAILABLE))
    traces = [RecordingInference() for _ in range(2)]
    runner = build_runner(state(*tritons))
    for trace in traces:
        await ask(runner, trace=trace)
    told = [(trace.targets, trace.answered) for trace in traces]
    assert (["a:1", "b:1"], [1]) in told
    assert all(targets[-1] == "b:1" for targets, _ in told)
    assert {trace.told.count("asked") for trace in traces} == {1}


def test_routes_are_the_states_and_made_anew_only_when_those_change(triton: FakeTriton) -> None:
    lifecycle = States((state(triton), state(line="recommend", detail="it is being loaded")))
    runner = TritonRunner(lifecycle, lambda line: Admission(line, 1, 1))
    routes = runner.routes()
    assert [(one.line, one.serving, one.detail) for one in routes] == [
        (LINE, True, ""),
        ("recommend", False, "it is being loaded"),
    ]
    assert routes[0].served == SERVED
    assert runner.routes() is routes
    lifecycle.states = (state(triton),)
    assert len(runner.routes()) == 1


def test_a_release_without_a_manifest_is_routed_and_cannot_be_asked() -> None:
    lost = ReleaseState(LINE, "r9", 1.0, "ensemble", None, (), "the store has no release")
    runner = build_runner(lost)
    (route,) = runner.routes()
    assert route.served is None
    with pytest.raises(ModelUnavailable, match="the store has no release"):
        runner.choose(LINE, "key")


def test_the_variant_of_the_state_decides_which_model_is_asked(triton: FakeTriton) -> None:
    fused = ReleaseState(LINE, "r1", 1.0, "fused", RELEASE, (triton,), "")  # type: ignore[arg-type]
    assert build_runner(fused).choose(LINE, "").model_name == f"{LINE}__r1__fused"


async def test_a_call_that_chose_a_release_is_answered_when_it_is_routed_no_longer(
    triton: FakeTriton,
) -> None:
    states = States((), left=(triton,))
    runner = TritonRunner(states, lambda line: Admission(line, 8, 8))
    outputs = await ask(runner)
    np.testing.assert_array_equal(outputs["probabilities"], 2 * TENSORS["numbers"])
    states.left = ()
    with pytest.raises(ModelUnavailable, match="'r1' is not loaded"):
        await ask(runner)


async def test_a_release_is_busy_from_its_turn_to_its_answer(triton: FakeTriton) -> None:
    runner = build_runner(state(triton))
    triton.may_answer.clear()
    call = asyncio.create_task(ask(runner))
    await triton.was_asked.acquire()
    assert runner.busy((LINE, "r1"))
    assert not runner.busy((LINE, "r2"))
    triton.may_answer.set()
    await call
    assert not runner.busy((LINE, "r1"))


async def test_a_shadow_is_asked_the_same_after_the_answer_and_compared(
    triton: FakeTriton,
) -> None:
    shadow = build_triton("shadow:8001")
    states = States((state(triton),), shadows={LINE: state(shadow, release="r2")})
    runner = TritonRunner(states, lambda line: Admission(line, 8, 8))
    shadow.may_answer.clear()
    outputs = await ask(runner, outputs=["probabilities"])
    np.testing.assert_array_equal(outputs["probabilities"], 2 * TENSORS["numbers"])
    assert shadow.asked == [], "it waited for the shadow"
    await shadow.was_asked.acquire()
    ((request, _, headers),) = shadow.asked
    assert request.model_name == f"{LINE}__r2"
    assert [one.name for one in request.outputs] == ["probabilities"]
    assert headers == {}, "a shadow is in nobody's trace"
    shadow.may_answer.set()
    while not runner.shadowing.tallies[0].outputs:
        await asyncio.sleep(0)
    assert runner.shadowing.tallies[0].outputs["probabilities"].differ == 0
    await runner.shadowing.close()


async def test_a_shadow_that_serves_nowhere_is_not_asked(triton: FakeTriton) -> None:
    states = States((state(triton),), shadows={LINE: state(release="r2", detail="torn")})
    runner = TritonRunner(states, lambda line: Admission(line, 8, 8))
    await ask(runner)
    assert runner.shadowing.tallies == ()
