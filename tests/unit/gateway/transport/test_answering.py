from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest
from fake_runner import FakeCall, FakeRunner, route
from google.rpc import code_pb2
from manifests import manifest
from wire import refusal

from gateway.domains import diagnose, recommend, risk
from gateway.errors import (
    InvalidRequest,
    ModelContractBroken,
    ModelUnavailable,
    Overloaded,
    QuotaExceeded,
)
from gateway.inference.caching import AnswerCache
from gateway.inference.priority import RANKS, Turn
from gateway.settings_limits import ClientLimit
from gateway.transport.answering import Answering
from gateway.transport.companies import Batching
from gateway.transport.entrance import Entrance
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.diagnose.v1.diagnose_service_pb2 import DiagnoseRequest, Image, Measurements
from trident.recommend.v1.recommend_service_pb2 import RecommendRequest
from trident.risk.v1.risk_service_pb2 import (
    ScoreRiskRequest,
    StreamScoreRiskRequest,
    StreamScoreRiskResponse,
)
from triton_models.release import Manifest

PICTURE = DiagnoseRequest(image=Image(content=b"x", media_type="image/png"))
MEASURED = DiagnoseRequest(measurements=Measurements(values={"mean radius": 14}))


def credit(name: str = "", age: float = 40) -> ScoreRiskRequest:
    return ScoreRiskRequest(request_id=name, features={"age": FeatureValue(number=age)})


@pytest.fixture
def answering(runner: FakeRunner) -> Answering:
    """Answers with at most four elements of a stream at a time, each by itself."""
    return Answering(runner, max_outstanding=4, batching=Batching(max_rows=1))


async def test_one_request_is_one_inference_of_what_is_needed(
    runner: FakeRunner, answering: Answering
) -> None:
    call = FakeCall(timeout_s=2.5)
    response = await answering.one(risk, credit(), call)
    assert response.default_probability == pytest.approx(0.5)
    assert (response.model.line, response.model.release) == ("score-risk", "r1")
    assert response.model.variant == "ensemble"
    (asked,) = runner.asked
    assert asked.timeout_s == pytest.approx(2.5, abs=0.5)
    assert asked.outputs == ("default_probability", "score", "contributions", "input_rules")


async def test_the_trace_has_decode_from_when_the_message_came_and_encode(
    answering: Answering,
) -> None:
    call = FakeCall(received_ns=17)
    await answering.one(risk, credit(), call)
    assert call.trace.stages == ["decode", "queue", "encode"]
    assert call.trace.stage_starts["decode"] == 17
    assert call.trace.releases == [("score-risk", "r1", "ensemble")]


async def test_a_batch_is_one_inference_answered_in_order(
    runner: FakeRunner, answering: Answering
) -> None:
    call = FakeCall()
    ages = [30.0, 80.0, 20.0, 50.0]
    responses = await answering.batch(risk, [credit(age=age) for age in ages], call)
    expected = [(90 - age) / 100 for age in ages]
    assert [response.default_probability for response in responses] == pytest.approx(expected)
    assert [asked.rows for asked in runner.asked] == [4]
    assert call.trace.attributes == {"trident.batch.size": 4}


async def test_a_batch_waits_for_the_turn_of_its_client_and_priority(
    runner: FakeRunner, answering: Answering
) -> None:
    urgent = FakeCall(metadata={"x-trident-priority": "high"}, address="billing")
    await answering.batch(risk, [credit()], urgent)
    await answering.one(risk, credit(), urgent)
    batch, single = (asked.turn for asked in runner.asked)
    assert batch == Turn(RANKS["high"], "billing")
    assert single == Turn(RANKS["high"]), "who travels with others waits with them"


class Columns:
    """A domain that reads columns, three rows whatever came."""

    NAME, BATCH_LINE, PLAIN_OUTPUTS = "diagnose", "diagnose-measurements", ("probabilities",)

    def __init__(self) -> None:
        self.read = 0

    def read_batch(self, data: bytes, of: Manifest) -> dict[str, Any]:
        self.read += 1
        size = len(of.features)
        return {"numbers": np.zeros((3, size), np.float32)}

    def write_batch(self, *_: Any) -> bytes:
        return b"answer"


async def test_what_a_client_may_not_have_is_not_even_decoded(runner: FakeRunner) -> None:
    entrance = Entrance(ClientLimit(rate=1, burst=7))
    answering, columns = Answering(runner, entrance=entrance), Columns()

    async def ask() -> bytes | None:
        return await answering.columns(columns, b"", FakeCall())  # type: ignore[arg-type]

    for _ in range(3):  # the last one makes debts
        assert await ask() == b"answer"
    with pytest.raises(QuotaExceeded):
        await ask()
    assert columns.read == 3


async def test_a_batch_is_split_by_release_and_stays_in_order(
    runner: FakeRunner, answering: Answering
) -> None:
    runner.states.append(route(manifest("score-risk", "r2")))
    requests = [credit("1a", 30), credit("2b", 40), credit("3a", 50), credit("4b", 60)]
    responses = await answering.batch(risk, requests, FakeCall())
    assert [response.model.release for response in responses] == ["r1", "r2", "r1", "r2"]
    expected = [0.6, 0.5, 0.4, 0.3]
    assert [response.default_probability for response in responses] == pytest.approx(expected)
    assert [asked.rows for asked in runner.asked] == [2, 2]


async def test_the_parts_of_a_batch_run_at_the_same_time(
    runner: FakeRunner, answering: Answering
) -> None:
    runner.states.append(route(manifest("score-risk", "r2")))
    runner.hold()
    batch = asyncio.create_task(
        answering.batch(risk, [credit("1a"), credit("2b")], FakeCall())
    )  # fmt: skip
    await runner.wait(lambda: runner.running == 2)
    runner.release()
    assert len(await batch) == 2


async def test_if_one_part_of_a_batch_fails_the_others_are_cancelled(
    runner: FakeRunner, answering: Answering
) -> None:
    runner.states.append(route(manifest("score-risk", "r2")))
    runner.hold()
    run = runner.run

    async def fail_second(release: Any, *arguments: Any, **options: Any) -> Any:
        if release.release == "r2":
            await runner.wait(lambda: runner.running == 1)
            raise Overloaded("score-risk")
        return await run(release, *arguments, **options)

    runner.run = fail_second  # type: ignore[method-assign]
    with pytest.raises(Overloaded):
        await answering.batch(risk, [credit("1a"), credit("2b")], FakeCall())
    assert (runner.running, runner.cancelled) == (0, 1)


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_batch_has_between_one_and_a_thousand_requests(
    runner: FakeRunner, answering: Answering, count: int
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await answering.batch(risk, [credit()] * count, FakeCall())
    text = f"must have 1 to 1000 entries, got {count}"
    assert raised.value.violations == {"requests": text}
    assert not runner.asked


async def test_one_bad_request_refuses_the_batch_with_every_violation(
    runner: FakeRunner, answering: Answering
) -> None:
    requests = [RecommendRequest() for _ in range(9)]
    requests[2].history_item_ids.extend(["a", ""])
    requests[7].item_count = 101
    with pytest.raises(InvalidRequest) as raised:
        await answering.batch(recommend, requests, FakeCall())
    assert list(raised.value.violations) == [
        "requests[2].history_item_ids[1]",
        "requests[7].item_count",
    ]
    assert not runner.asked


async def test_evidence_that_is_not_served_names_what_is(answering: Answering) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await answering.batch(diagnose, [MEASURED, PICTURE], FakeCall())
    (path,) = raised.value.violations
    assert path == "requests[1].image"
    assert raised.value.violations[path].endswith("served: measurements")


async def test_evidence_of_a_line_that_is_routed_but_away_is_unavailable() -> None:
    runner = FakeRunner(manifest("diagnose-measurements"))
    runner.states = [route(manifest("diagnose-measurements"), serving=False)]
    with pytest.raises(ModelUnavailable):
        await Answering(runner).one(diagnose, MEASURED, FakeCall())


async def test_a_domain_without_any_route_is_unavailable_not_invalid() -> None:
    with pytest.raises(ModelUnavailable):
        await Answering(FakeRunner(manifest("recommend"))).one(diagnose, PICTURE, FakeCall())


async def test_what_is_wrong_is_said_even_if_the_model_is_away() -> None:
    answering = Answering(FakeRunner(manifest("recommend")))
    with pytest.raises(InvalidRequest) as raised:
        await answering.one(risk, ScoreRiskRequest(reason_count=21), FakeCall())
    assert list(raised.value.violations) == ["reason_count", "features"]


async def test_an_answer_of_another_shape_breaks_the_contract(
    runner: FakeRunner, answering: Answering
) -> None:
    runner.change = lambda outputs: {name: array[:0] for name, array in outputs.items()}
    for domain, request in (
        (risk, credit()),
        (diagnose, MEASURED),
        (recommend, RecommendRequest()),
    ):
        with pytest.raises(ModelContractBroken):
            await answering.one(domain, request, FakeCall())


async def test_with_a_cache_identical_requests_are_one_inference(runner: FakeRunner) -> None:
    cache: AnswerCache[bytes] = AnswerCache(1_000_000, 100, len)
    answering = Answering(runner, cache=cache)
    first = await answering.one(risk, credit("a"), FakeCall())
    call = FakeCall()
    assert await answering.one(risk, credit("b"), call) == first
    assert call.trace.attributes["trident.cache.hit"] is True
    await answering.one(risk, credit("a", age=41), FakeCall())
    assert [asked.rows for asked in runner.asked] == [1, 1]
    assert (cache.hits, cache.misses) == (1, 2)


async def test_requests_at_the_same_time_are_asked_together_and_each_gets_its_own_answer(
    runner: FakeRunner,
) -> None:
    answering = Answering(runner)
    ages = [20.0 + place for place in range(40)]
    responses = await asyncio.gather(
        *(answering.one(risk, credit(age=age), FakeCall()) for age in ages)
    )
    expected = [(90 - age) / 100 for age in ages]
    assert [response.default_probability for response in responses] == pytest.approx(expected)
    assert sum(asked.rows for asked in runner.asked) == 40
    assert len(runner.asked) < 10


async def test_requests_that_want_other_outputs_travel_apart(runner: FakeRunner) -> None:
    answering = Answering(runner)
    plain = ScoreRiskRequest(features=credit().features, reason_count=0)
    runner.hold()
    tasks = [
        asyncio.create_task(answering.one(risk, one, FakeCall())) for one in (credit(), plain) * 5
    ]
    await runner.wait(lambda: runner.running >= 2)
    runner.release()
    for task, wants in zip(tasks, (True, False) * 5, strict=True):
        assert bool((await task).reasons) == wants
    assert len({asked.outputs for asked in runner.asked}) == 2


async def elements(requests: Iterable[Any]) -> AsyncIterator[Any]:
    for request in requests:
        if isinstance(request, ScoreRiskRequest):
            yield StreamScoreRiskRequest(request=request)
        else:
            yield request


def streamed(
    answering: Answering, requests: AsyncIterator[Any]
) -> AsyncIterator[StreamScoreRiskResponse]:
    return answering.stream(risk, requests, StreamScoreRiskResponse, FakeCall())


async def test_two_hundred_elements_keep_their_ids(
    runner: FakeRunner, answering: Answering
) -> None:
    ages = {f"q{place}": 20 + place / 4 for place in range(200)}
    requests = elements(credit(name, age) for name, age in ages.items())
    responses = [response async for response in streamed(answering, requests)]
    assert len(responses) == 200
    for response in responses:
        expected = (90 - ages[response.request_id]) / 100
        assert response.response.default_probability == pytest.approx(expected, abs=1e-6)
    assert {response.request_id for response in responses} == set(ages)
    assert 1 < runner.most_running <= 4


async def test_a_bad_element_is_answered_with_its_error_and_the_stream_goes_on(
    answering: Answering,
) -> None:
    broken = InvalidRequest({"": "must be a message"})
    requests = [credit("a"), credit("b", age=float("nan")), credit(""), broken, credit("c")]
    responses = [response async for response in streamed(answering, elements(requests))]
    by_id = {response.request_id: response for response in responses if response.request_id}
    assert by_id["a"].HasField("response")
    assert by_id["c"].HasField("response")
    assert list(refusal(by_id["b"].error).violations) == ['features["age"].number']
    nameless = [refusal(response.error) for response in responses if not response.request_id]
    assert sorted(list(error.violations) for error in nameless) == [[""], ["request_id"]]


async def test_an_element_without_a_request_says_all_that_is_missing(answering: Answering) -> None:
    (response,) = [r async for r in streamed(answering, elements([StreamScoreRiskRequest()]))]
    found = refusal(response.error).violations
    assert list(found) == ["request_id", "features", 'features["age"]']


async def test_an_unexpected_error_of_one_element_does_not_end_the_stream(
    runner: FakeRunner, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    runner.error = RuntimeError("secret")
    responses = [r async for r in streamed(answering, elements([credit("a"), credit("b")]))]
    assert {response.request_id for response in responses} == {"a", "b"}
    for response in responses:
        assert response.error.code == code_pb2.INTERNAL
        assert response.error.message == "Internal error."
    assert len(caplog.records) == 2


async def test_no_more_is_read_than_may_be_outstanding(
    runner: FakeRunner, answering: Answering
) -> None:
    read = 0

    async def endless() -> AsyncIterator[StreamScoreRiskRequest]:
        nonlocal read
        while True:
            read += 1
            yield StreamScoreRiskRequest(request=credit(f"q{read}"))

    runner.hold()
    async with aclosing(streamed(answering, endless())) as responses:
        first = asyncio.ensure_future(anext(responses))
        await runner.wait(lambda: runner.running == 4)
        for _ in range(50):  # a reader without a limit would go on in each of these turns
            await asyncio.sleep(0)
        assert read == 4
        runner.release()
        await first
        for _ in range(50):  # answers that nobody takes count, too
            await asyncio.sleep(0)
        assert read == 4
        await anext(responses)
        await runner.wait(lambda: read == 5)
    assert runner.running == 0


async def test_a_client_that_leaves_cancels_what_is_outstanding(
    runner: FakeRunner, answering: Answering
) -> None:
    runner.hold()
    requests = elements(credit(f"q{place}") for place in range(10))

    async def take() -> None:
        async for _ in streamed(answering, requests):
            pytest.fail("nothing can have been answered")

    client = asyncio.create_task(take())
    await runner.wait(lambda: runner.running == 4)
    client.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client
    await runner.wait(lambda: runner.running == 0)
    assert runner.cancelled == 4


async def test_the_error_of_the_input_ends_the_stream(answering: Answering) -> None:
    async def broken() -> AsyncIterator[StreamScoreRiskRequest]:
        yield StreamScoreRiskRequest(request=credit("a"))
        raise ConnectionError("the client is gone")

    with pytest.raises(ConnectionError):
        [response async for response in streamed(answering, broken())]
