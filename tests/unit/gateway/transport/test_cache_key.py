from __future__ import annotations

import pytest
from google.protobuf.message import Message

from gateway.domains import diagnose, recommend, risk
from gateway.transport.cache_key import UNSEEN_FIELDS, cache_key
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.diagnose.v1.diagnose_service_pb2 import DiagnoseRequest, Measurements
from trident.recommend.v1.recommend_service_pb2 import RecommendRequest
from trident.risk.v1.risk_service_pb2 import ScoreRiskRequest

MODEL = "score-risk__r1__fused"


def credit(**values: float) -> ScoreRiskRequest:
    features = {name: FeatureValue(number=value) for name, value in values.items()}
    return ScoreRiskRequest(features=features)


def test_the_order_of_a_map_makes_no_difference() -> None:
    assert cache_key(MODEL, credit(age=1, amount=2)) == cache_key(MODEL, credit(amount=2, age=1))


def test_who_asks_makes_no_difference_and_the_request_stays_as_it_is() -> None:
    one = RecommendRequest(request_id="a", user_id="b", history_item_ids=["1"])
    assert cache_key(MODEL, one) == cache_key(MODEL, RecommendRequest(history_item_ids=["1"]))
    assert (one.request_id, one.user_id) == ("a", "b")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (credit(age=1), credit(age=2)),
        (credit(age=1), credit(amount=1)),
        (credit(), ScoreRiskRequest(reason_count=0)),
        (
            DiagnoseRequest(measurements=Measurements(values={"a": 1})),
            DiagnoseRequest(measurements=Measurements(values={"a": 1}), explain=True),
        ),
        (RecommendRequest(history_item_ids=["1"]), RecommendRequest(excluded_item_ids=["1"])),
    ],
)
def test_what_a_model_sees_makes_a_difference(one: Message, other: Message) -> None:
    assert cache_key(MODEL, one) != cache_key(MODEL, other)


def test_the_model_makes_a_difference() -> None:
    assert cache_key(MODEL, credit(age=1)) != cache_key("score-risk__r2__fused", credit(age=1))


@pytest.mark.parametrize("domain", [recommend, diagnose, risk])
def test_what_is_left_out_is_in_no_answer(domain: object) -> None:
    fields = domain.RESPONSE.DESCRIPTOR.fields_by_name  # type: ignore[attr-defined]
    assert UNSEEN_FIELDS.isdisjoint(fields)
