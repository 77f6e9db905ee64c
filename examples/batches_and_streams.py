"""Calls the batch and the stream form of each RPC with the generated stubs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.diagnose.v1.diagnose_service_pb2_grpc import DiagnoseServiceStub
from trident.recommend.v1 import recommend_service_pb2 as recommend
from trident.recommend.v1.recommend_service_pb2_grpc import RecommendServiceStub
from trident.risk.v1 import risk_service_pb2 as risk
from trident.risk.v1.risk_service_pb2_grpc import RiskServiceStub

Row = Mapping[str, Any]


def feature_value(value: float | str) -> FeatureValue:
    """Return a number or a category as the API takes it."""
    if isinstance(value, str):
        return FeatureValue(category=value)
    return FeatureValue(number=value)


def recommend_request(number: int, row: Row) -> recommend.RecommendRequest:
    """Return the request for one row of the test split."""
    return recommend.RecommendRequest(
        request_id=str(number), history_item_ids=row["history_item_ids"], item_count=10
    )


def diagnose_request(number: int, row: Row) -> diagnose.DiagnoseRequest:
    """Return the request for one row of the test split."""
    values = json.loads(row["measurements"])
    return diagnose.DiagnoseRequest(
        request_id=str(number), measurements=diagnose.Measurements(values=values)
    )


def risk_request(number: int, row: Row) -> risk.ScoreRiskRequest:
    """Return the request for one row of the test split."""
    values = json.loads(row["features"])
    return risk.ScoreRiskRequest(
        request_id=str(number),
        features={name: feature_value(value) for name, value in values.items()},
    )


def report(
    name: str,
    requests: Sequence[Message],
    batch: Callable[[Sequence[Message]], int],
    stream: Callable[[Iterable[Message]], set[str]],
) -> None:
    """Send the same requests in one batch and through one stream; print what came back."""
    began = time.perf_counter()
    answered = batch(requests)
    batch_ms = (time.perf_counter() - began) * 1000
    began = time.perf_counter()
    ids = stream(requests)
    stream_ms = (time.perf_counter() - began) * 1000
    print(
        f"  Batch{name}: {answered} answers in one call, {batch_ms:.0f} ms   "
        f"Stream{name}: {len(ids)} answers, each with its request_id, {stream_ms:.0f} ms"
    )


def call_batches_and_streams(target: str, rows: Mapping[str, Sequence[Row]]) -> None:
    """Send up to 100 rows of each test split both ways."""
    with grpc.insecure_channel(target) as channel:
        recommender = RecommendServiceStub(channel)
        report(
            "Recommend",
            [recommend_request(i, row) for i, row in enumerate(rows["recommend"][:100])],
            lambda requests: len(
                recommender.BatchRecommend(
                    recommend.BatchRecommendRequest(requests=requests)
                ).responses
            ),
            lambda requests: {
                answer.request_id
                for answer in recommender.StreamRecommend(
                    recommend.StreamRecommendRequest(request=request) for request in requests
                )
                if answer.HasField("response")
            },
        )
        diagnoser = DiagnoseServiceStub(channel)
        report(
            "Diagnose",
            [diagnose_request(i, r) for i, r in enumerate(rows["diagnose-measurements"][:100])],
            lambda requests: len(
                diagnoser.BatchDiagnose(diagnose.BatchDiagnoseRequest(requests=requests)).responses
            ),
            lambda requests: {
                answer.request_id
                for answer in diagnoser.StreamDiagnose(
                    diagnose.StreamDiagnoseRequest(request=request) for request in requests
                )
                if answer.HasField("response")
            },
        )
        scorer = RiskServiceStub(channel)
        report(
            "ScoreRisk",
            [risk_request(i, row) for i, row in enumerate(rows["score-risk"][:100])],
            lambda requests: len(
                scorer.BatchScoreRisk(risk.BatchScoreRiskRequest(requests=requests)).responses
            ),
            lambda requests: {
                answer.request_id
                for answer in scorer.StreamScoreRisk(
                    risk.StreamScoreRiskRequest(request=request) for request in requests
                )
                if answer.HasField("response")
            },
        )
