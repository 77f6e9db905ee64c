"""Served answers equal torch's, for every row of every test split, asked through the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pytest

from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.diagnose.v1.diagnose_service_pb2_grpc import DiagnoseServiceStub
from trident.recommend.v1 import recommend_service_pb2 as recommend
from trident.recommend.v1.recommend_service_pb2_grpc import RecommendServiceStub
from trident.risk.v1 import risk_service_pb2 as risk
from trident.risk.v1.risk_service_pb2_grpc import RiskServiceStub

pytestmark = pytest.mark.e2e

Row = dict[str, Any]


def chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), 200):
        yield rows[start : start + 200]


def value(given: float | str) -> FeatureValue:
    if isinstance(given, str):
        return FeatureValue(category=given)
    return FeatureValue(number=given)


def test_risk_equals_torch_on_every_test_row(built: Any, channel: grpc.Channel) -> None:
    rows = built.test_rows("score-risk")
    manifest = built.manifest("score-risk")
    stub = RiskServiceStub(channel)
    answers = []
    for part in chunks(rows):
        requests = [
            risk.ScoreRiskRequest(
                features={n: value(v) for n, v in json.loads(row["features"]).items()},
                reason_count=20,
            )
            for row in part
        ]
        answers += stub.BatchScoreRisk(risk.BatchScoreRiskRequest(requests=requests)).responses
    assert len(answers) == len(rows) == manifest.data.split["test"] > 0
    names = [feature.name for feature in manifest.features]
    for row, answer in zip(rows, answers, strict=True):
        for output in ("default_probability", "score"):
            tolerance = manifest.parity[output].tolerance
            assert getattr(answer, output) == pytest.approx(row[output], rel=0, abs=tolerance)
        torch_contributions = dict(zip(names, row["contributions"], strict=True))
        tolerance = manifest.parity["contributions"].tolerance
        for reason in answer.reasons:
            expected = torch_contributions[reason.feature]
            assert reason.contribution == pytest.approx(expected, rel=0, abs=tolerance)
        raised = {
            feature.name
            for feature in manifest.features
            if torch_contributions[feature.name] > tolerance and not feature.protected
        }
        assert raised <= {reason.feature for reason in answer.reasons}
        distance = manifest.points_per_log_odds * sum(row["contributions"])
        assert answer.score == pytest.approx(manifest.reference_score - distance, abs=0.05)


def test_diagnosis_equals_torch_on_every_test_row(built: Any, channel: grpc.Channel) -> None:
    line = "diagnose-measurements"
    rows, manifest = built.test_rows(line), built.manifest(line)
    stub = DiagnoseServiceStub(channel)
    answers = []
    for part in chunks(rows):
        requests = [
            diagnose.DiagnoseRequest(
                measurements=diagnose.Measurements(values=json.loads(row["measurements"]))
            )
            for row in part
        ]
        answers += stub.BatchDiagnose(diagnose.BatchDiagnoseRequest(requests=requests)).responses
    assert len(answers) == len(rows) == manifest.data.split["test"] > 0
    tolerance = manifest.parity["probabilities"].tolerance
    for row, answer in zip(rows, answers, strict=True):
        served = {finding.label: finding.probability for finding in answer.findings}
        torch_probabilities = dict(zip(manifest.labels, row["probabilities"], strict=True))
        assert served == pytest.approx(torch_probabilities, rel=0, abs=tolerance)


def test_recommendations_equal_torch_on_every_test_row(built: Any, channel: grpc.Channel) -> None:
    rows, manifest = built.test_rows("recommend"), built.manifest("recommend")
    stub = RecommendServiceStub(channel)
    answers = []
    for part in chunks(rows):
        requests = [
            recommend.RecommendRequest(history_item_ids=row["history_item_ids"], item_count=10)
            for row in part
        ]
        batch = recommend.BatchRecommendRequest(requests=requests)
        answers += stub.BatchRecommend(batch).responses
    assert len(answers) == len(rows) == manifest.data.split["test"] > 0
    tolerance = manifest.parity["scores"].tolerance
    for row, answer in zip(rows, answers, strict=True):
        served = [item.score for item in answer.items]
        assert served == pytest.approx(row["scores"], rel=0, abs=tolerance)
        torch_scores = dict(zip(row["item_ids"], row["scores"], strict=True))
        for rank, item in enumerate(answer.items):
            # Two items within the tolerance of each other may change places.
            swapped_from = torch_scores.get(item.item_id, row["scores"][-1])
            assert swapped_from == pytest.approx(row["scores"][rank], rel=0, abs=2 * tolerance)


@pytest.mark.parametrize("line", ["recommend", "diagnose-measurements", "score-risk"])
def test_unary_and_batch_give_the_same_answer(line: str, built: Any, channel: grpc.Channel) -> None:
    row = built.test_rows(line)[0]
    if line == "recommend":
        request = recommend.RecommendRequest(history_item_ids=row["history_item_ids"])
        stub = RecommendServiceStub(channel)
        one = stub.Recommend(request)
        many = stub.BatchRecommend(recommend.BatchRecommendRequest(requests=[request] * 3))
        assert [i.item_id for i in many.responses[2].items] == [i.item_id for i in one.items]
    elif line == "score-risk":
        features = {n: value(v) for n, v in json.loads(row["features"]).items()}
        scored = risk.ScoreRiskRequest(features=features)
        stub = RiskServiceStub(channel)
        one = stub.ScoreRisk(scored)
        many = stub.BatchScoreRisk(risk.BatchScoreRiskRequest(requests=[scored] * 3))
        assert many.responses[2].score == pytest.approx(one.score, abs=1e-3)
        assert many.responses[2].reasons[0].text == one.reasons[0].text
    else:
        values = json.loads(row["measurements"])
        asked = diagnose.DiagnoseRequest(measurements=diagnose.Measurements(values=values))
        stub = DiagnoseServiceStub(channel)
        one = stub.Diagnose(asked)
        many = stub.BatchDiagnose(diagnose.BatchDiagnoseRequest(requests=[asked] * 3))
        assert many.responses[2].findings[0].label == one.findings[0].label
    assert one.model.release == built.summaries[line]["release"]
    assert one.model.variant == "fused"
