"""What is asked of a gateway, and which of its answers are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import ParseDict
from manifests import manifest

from model_builder.errors import ProofFailed
from model_builder.proof.proving import ask_gateway
from model_builder.proof.questions import QUESTIONS, Row
from trident.recommend.v1.recommend_service_pb2 import RecommendRequest
from triton_models.release import Parity
from triton_models.signatures import MAX_BATCH_ROWS

LINE = "score-risk"
RELEASE = manifest(
    LINE,
    "r1",
    parity={
        name: Parity(compared="torch-onnx", rows=9, tolerance=1e-3, max_difference=0)
        for name in ("default_probability", "score")
    },
)
ROWS = [
    {"features": f'{{"income": {row}}}', "default_probability": row / 2000, "score": 850.0 - row}
    for row in range(MAX_BATCH_ROWS + 5)
]
GOLDEN = np.array([0, 500, 1004])

Answer = dict[str, Any]


def test_a_recommendation_is_asked_with_the_times_that_were_recorded() -> None:
    row = {"history_item_ids": ["a", "b"], "history_times": [1795662000, 0],
           "request_time": 253402300799}  # fmt: skip
    asked = ParseDict(QUESTIONS["recommend"].request(row), RecommendRequest())
    assert [time.seconds for time in asked.history_times] == [1795662000, 0]
    assert asked.request_time.seconds == 253402300799
    row = {"history_item_ids": ["a"], "history_times": None, "request_time": None}
    asked = ParseDict(QUESTIONS["recommend"].request(row), RecommendRequest())
    assert not asked.history_times
    assert not asked.HasField("request_time")


@dataclass
class FakeGateway:
    """Answers as was recorded, but for what ``spoil`` does to the answers of a call."""

    spoil: Callable[[str, list[Answer]], list[Answer]] = lambda method, answers: answers
    asked: list[tuple[str, int]] = field(default_factory=list)
    """The RPC and the number of rows of every call."""

    def call(self, service: str, method: str, request: Mapping[str, Any]) -> Answer:
        assert service == "trident.risk.v1.RiskService"
        batch = method == "BatchScoreRisk"
        requests: Sequence[Row] = request["requests"] if batch else [request]
        self.asked.append((method, len(requests)))
        answers = self.spoil(method, [self._answer(one) for one in requests])
        return {"responses": answers} if batch else answers[0]

    def _answer(self, request: Row) -> Answer:
        row = ROWS[int(request["features"]["income"]["number"])]
        numbers = {name: row[name] for name in ("default_probability", "score")}
        return {**numbers, "model": {"release": "r1"}}


def ask(gateway: FakeGateway) -> dict[str, Parity]:
    return ask_gateway(gateway, QUESTIONS[LINE], RELEASE, ROWS, GOLDEN)


def test_golden_rows_are_asked_alone_and_all_rows_in_full_batches() -> None:
    gateway = FakeGateway()
    found = ask(gateway)
    assert gateway.asked == [("ScoreRisk", 1)] * 3 + [("BatchScoreRisk", MAX_BATCH_ROWS)] * 2
    assert found.keys() == {"default_probability", "score"}
    assert {(one.rows, one.max_difference) for one in found.values()} == {(len(ROWS), 0)}


@pytest.mark.parametrize("spoiled", ["ScoreRisk", "BatchScoreRisk"])
def test_a_value_that_is_off_is_refused_asked_alone_and_in_a_batch(spoiled: str) -> None:
    def off(method: str, answers: list[Answer]) -> list[Answer]:
        *others, last = answers
        return [*others, last | {"score": last["score"] * 1.01}] if method == spoiled else answers

    with pytest.raises(ProofFailed, match="the gateway: output 'score' differs from torch by"):
        ask(FakeGateway(off))


def test_an_answer_of_another_release_is_refused() -> None:
    def other(method: str, answers: list[Answer]) -> list[Answer]:
        return [answers[0] | {"model": {"release": "r2"}}, *answers[1:]]

    with pytest.raises(ProofFailed, match=r"the gateway answers with \{'release': 'r2'\}"):
        ask(FakeGateway(other))


@pytest.mark.parametrize("count", [MAX_BATCH_ROWS - 1, MAX_BATCH_ROWS + 1])
def test_another_number_of_answers_is_refused(count: int) -> None:
    def resized(method: str, answers: list[Answer]) -> list[Answer]:
        return answers if method == "ScoreRisk" else [*answers, *answers][:count]

    with pytest.raises(
        ProofFailed, match=f"the gateway gives {count} answers to {MAX_BATCH_ROWS} requests"
    ):
        ask(FakeGateway(resized))
