from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.telemetry.metrics.instruments import (
    STEP_BATCH,
    STEP_DURATION,
    TRITON_FAILURES,
    TRITON_REQUESTS,
    TRITON_UP,
)
from gateway.telemetry.metrics.tally import Tally
from gateway.triton.named_statistics import NamedStatistics
from gateway.triton.statistics import TritonStatistics, labels_of_model

MS = 1_000_000
SCORE = ("t", "score-risk", "r1", "score")


def model(name: str, requests: int, batches: dict[int, int], failed: int = 0) -> Any:
    """What a Triton says: each request waits 1 ms, is computed for 5."""
    one = service_pb2.ModelStatistics(name=name, version="1")
    statistics = one.inference_stats
    statistics.success.count, statistics.success.ns = requests, requests * 7 * MS
    statistics.queue.count, statistics.queue.ns = requests, requests * MS
    statistics.compute_infer.count, statistics.compute_infer.ns = requests, requests * 5 * MS
    statistics.fail.count = failed
    for size, executions in batches.items():
        batch = one.batch_stats.add(batch_size=size)
        batch.compute_infer.count = executions
    return one


class Triton(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self) -> None:
        self.models: list[Any] = []

    def ModelStatistics(self, request: Any, context: Any) -> Any:  # noqa: N802
        assert request.name == ""
        return service_pb2.ModelStatisticsResponse(model_stats=self.models)


@pytest.fixture
def triton() -> Triton:
    return Triton()


@pytest.fixture
def target(triton: Triton) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def seen(tally: Tally, instrument: Any, labels: tuple[str, ...]) -> tuple[int, float]:
    one = tally.histograms[instrument][labels]
    return one.count, pytest.approx(one.sum)


def test_what_is_new_is_told_by_step(triton: Triton, target: str) -> None:
    statistics = TritonStatistics("t", target, fresh=True)
    triton.models = [model("score-risk__r1__score", 6, {1: 2, 4: 1}, failed=1)]

    tally, gauges = statistics.take()

    assert gauges == {(TRITON_UP, ("t",)): 1}
    assert seen(tally, STEP_DURATION, (*SCORE, "queue")) == (6, 0.006)
    assert seen(tally, STEP_DURATION, (*SCORE, "compute_infer")) == (6, 0.03)
    assert seen(tally, STEP_DURATION, (*SCORE, "compute_input")) == (0, 0)
    assert seen(tally, TRITON_REQUESTS, SCORE) == (6, 0.042)
    assert tally.counters[TRITON_FAILURES] == {SCORE: 1}
    batches = tally.histograms[STEP_BATCH][SCORE]
    assert (batches.count, batches.sum) == (3, 6)
    assert STEP_BATCH.grid.explicit_counts(batches.counts)[:3].tolist() == [2, 0, 1]

    triton.models = [model("score-risk__r1__score", 8, {1: 4, 4: 1}, failed=1)]
    tally, _ = statistics.take()

    assert seen(tally, STEP_DURATION, (*SCORE, "queue")) == (2, 0.002)
    assert seen(tally, STEP_BATCH, SCORE) == (2, 2)
    assert tally.counters[TRITON_FAILURES] == {SCORE: 0}
    statistics.close()


def test_one_that_was_started_again_counts_anew(triton: Triton, target: str) -> None:
    statistics = TritonStatistics("t", target, fresh=True)
    for requests in (6, 2):
        triton.models = [model("score-risk__r1__score", requests, {1: requests})]
        tally, _ = statistics.take()

    assert seen(tally, STEP_DURATION, (*SCORE, "queue")) == (2, 0.002)
    statistics.close()


def test_what_another_one_did_before_is_not_ours(triton: Triton, target: str) -> None:
    statistics = TritonStatistics("t", target, fresh=False)
    triton.models = [model("score-risk__r1__score", 1000, {1: 1000})]
    assert not statistics.take()[0].histograms
    triton.models = [model("score-risk__r1__score", 1003, {1: 1003}), model("a__r__new", 5, {})]

    tally, _ = statistics.take()

    assert seen(tally, STEP_DURATION, (*SCORE, "queue")) == (3, 0.003)
    assert seen(tally, TRITON_REQUESTS, ("t", "a", "r", "new")) == (5, 0.035)
    statistics.close()


def test_an_ensemble_computes_nothing_itself(triton: Triton, target: str) -> None:
    statistics = TritonStatistics("t", target, fresh=True)
    triton.models = [model("score-risk__r1", 2, {}), model("somebody_elses", 2, {})]

    tally, _ = statistics.take()

    assert list(tally.histograms) == [TRITON_REQUESTS]
    assert list(tally.histograms[TRITON_REQUESTS]) == [("t", "score-risk", "r1", "")]
    statistics.close()


def test_one_that_is_away_is_down() -> None:
    statistics = TritonStatistics("t", "127.0.0.1:1", fresh=True)

    tally, gauges = statistics.take()

    assert gauges == {(TRITON_UP, ("t",)): 0}
    assert not tally.histograms
    statistics.close()


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("score-risk__20261123t101502", ("score-risk", "20261123t101502", "")),
        ("score-risk__r.1__pre_2", ("score-risk", "r.1", "pre_2")),
        ("score-risk__r1__fused", ("score-risk", "r1", "fused")),
        ("resnet50", None),
        ("a__b__c__", ("a", "b", "c__")),
        ("A__b", None),
    ],
)
def test_names_of_models_say_what_they_are_of(
    name: str, labels: tuple[str, str, str] | None
) -> None:
    assert labels_of_model(name) == labels


def test_each_triton_behind_a_name_is_shown_by_its_address(triton: Triton, target: str) -> None:
    port = target.rpartition(":")[2]
    addresses = ["127.0.0.1", "127.0.0.2"]
    named = NamedStatistics(f"dns:///tritons:{port}", resolve=lambda host, _: addresses)
    triton.models = [model("score-risk__r1__score", 6, {1: 6})]
    _, gauges = named.take()
    assert gauges == {
        (TRITON_UP, (target,)): 1,
        (TRITON_UP, (f"127.0.0.2:{port}",)): 0,
    }
    triton.models = [model("score-risk__r1__score", 9, {1: 9})]
    addresses.remove("127.0.0.2")
    tally, gauges = named.take()
    assert seen(tally, TRITON_REQUESTS, (target, *SCORE[1:])) == (3, 0.021)
    assert gauges == {(TRITON_UP, (target,)): 1}
    named.close()


def test_a_name_that_cannot_be_looked_up_keeps_its_tritons(triton: Triton, target: str) -> None:
    port = target.rpartition(":")[2]
    answers = iter([["127.0.0.1"]])

    def resolve(host: str, port: int) -> Sequence[str]:
        for one in answers:
            return one
        raise OSError("no such name")

    named = NamedStatistics(f"dns:///tritons:{port}", resolve=resolve)
    for _ in range(2):
        assert named.take()[1] == {(TRITON_UP, (target,)): 1}
    named.close()
