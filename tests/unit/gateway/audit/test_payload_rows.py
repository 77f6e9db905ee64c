from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.audit.payload_rows import MessageTypes, PayloadRows, Row
from gateway.audit.record import AccessRecord, Payload
from gateway.transport.api import SERVICES
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.common.v1.input_note_pb2 import InputNote
from trident.common.v1.served_by_pb2 import ServedBy
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.recommend.v1 import recommend_service_pb2 as recommend
from trident.risk.v1 import risk_service_pb2 as risk

TYPES = {
    f"{service.full_name}/{method.name}": MessageTypes(
        GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    )
    for service in SERVICES
    for method in service.methods
}
MODEL = ServedBy(line="score-risk", release="a1", variant="fused")


def rows(method: str, request: Message, response: Message, *redact: str) -> list[Row]:
    (name,) = (one for one in TYPES if one.endswith(f"/{method}"))
    access = AccessRecord(
        17, 1, name, 0, "key:billing", "peer", "score-risk", "a1", "fused", 7, "", 1, 1, 1, 1
    )
    payload = Payload(access, request.SerializeToString(), response.SerializeToString())
    return list(PayloadRows(TYPES, redact).rows(payload))


def scored() -> tuple[Any, Any]:
    request = risk.ScoreRiskRequest(
        request_id="r1",
        features={
            "age": FeatureValue(number=41),
            "purpose": FeatureValue(category="car"),
            "savings": FeatureValue(),
        },
    )
    response = risk.ScoreRiskResponse(
        score=700,
        reasons=[
            risk.Reason(feature="age", contribution=0.25, text="Age 41 counts for it."),
            risk.Reason(feature="purpose", contribution=0.5),
        ],
        input_notes=[InputNote(feature="age")],
        model=MODEL,
    )
    return request, response


def test_a_row_has_a_column_for_each_feature_and_the_whole_beside() -> None:
    (row,) = rows("ScoreRisk", *scored())
    assert {name: row[name] for name in ("age", "purpose", "savings")} == {
        "age": 41.0, "purpose": "car", "savings": None,
    }  # fmt: skip
    assert (row["_time"][:10], row["_client"], row["_release"]) == (
        "1970-01-01",
        "key:billing",
        "a1",
    )
    assert row["_trace_id"].endswith("7")
    assert json.loads(row["_request"])["request_id"] == "r1"
    assert json.loads(row["_answer"])["score"] == 700


def test_a_redacted_feature_is_nowhere_also_not_in_what_the_answer_says_of_it() -> None:
    (row,) = rows("ScoreRisk", *scored(), "features.age")
    assert row["age"] is None
    assert "41" not in json.dumps({k: v for k, v in row.items() if k != "_time"})
    assert "0.25" not in row["_answer"]
    assert row["purpose"] == "car"
    assert "0.5" in row["_answer"]
    assert json.loads(row["_request"])["features"]["age"] == "(redacted)"


@pytest.mark.parametrize("pattern", ["features.*", "features", "*"])
def test_a_star_and_a_whole_field_redact_all_of_it(pattern: str) -> None:
    (row,) = rows("ScoreRisk", *scored(), pattern)
    said = json.dumps({k: v for k, v in row.items() if k != "_time"})
    assert "41" not in said
    assert "car" not in said
    assert "0.25" not in said


def test_fields_of_the_answer_are_redacted_by_their_paths() -> None:
    (row,) = rows("ScoreRisk", *scored(), "answer.score", "answer.reasons.text", "request_id")
    answer = json.loads(row["_answer"])
    assert answer["score"] == "(redacted)"
    assert answer["reasons"][0]["text"] == "(redacted)"
    assert "r1" not in row["_request"]


def test_a_batch_gives_a_row_for_each_request() -> None:
    request, response = scored()
    other = risk.ScoreRiskRequest(features={"age": FeatureValue(number=18)})
    found = rows(
        "BatchScoreRisk",
        risk.BatchScoreRiskRequest(requests=[request, other]),
        risk.BatchScoreRiskResponse(responses=[response, response]),
    )
    assert [row["age"] for row in found] == [41.0, 18.0]


@pytest.mark.parametrize("evidence", ["note", "image", "image.content"])
def test_what_explains_redacted_evidence_is_redacted_too(evidence: str) -> None:
    request = diagnose.DiagnoseRequest(explain=True)
    if evidence == "note":
        request.note = "hush hush"
    else:
        request.image.content = b"hush"
    response = diagnose.DiagnoseResponse(model=MODEL)
    response.explanation.token_weights.tokens.add(token="hush", weight=1)
    (row,) = rows("Diagnose", request, response, evidence)
    assert "hush" not in json.dumps(row)
    assert "aHVzaA" not in row["_request"]


def test_measurements_are_columns_and_can_be_redacted() -> None:
    request = diagnose.DiagnoseRequest()
    request.measurements.values.update({"radius": 1.5, "area": 2})
    response = diagnose.DiagnoseResponse(model=MODEL)
    response.explanation.contributions.measurements.add(name="area", contribution=0.125)
    (row,) = rows("Diagnose", request, response, "measurements.values.area")
    assert (row["radius"], row["area"]) == (1.5, None)
    assert "0.125" not in row["_answer"]


@pytest.mark.parametrize("field", ["history_item_ids", "candidate_item_ids", "excluded_item_ids"])
def test_redacted_ids_are_not_told_by_those_that_are_unknown(field: str) -> None:
    request = recommend.RecommendRequest(**{field: ["i-secret"]})
    response = recommend.RecommendResponse(unknown_item_ids=["i-secret"], model=MODEL)
    (row,) = rows("Recommend", request, response, field)
    assert "i-secret" not in json.dumps(row)


def test_a_redacted_history_is_not_told_by_the_items_it_led_to() -> None:
    request = recommend.RecommendRequest(history_item_ids=["i-secret"])
    response = recommend.RecommendResponse(unknown_item_ids=["i-secret"], model=MODEL)
    response.items.add(item_id="i-open", because_item_ids=["i-secret"])
    (row,) = rows("Recommend", request, response, "history_item_ids")
    assert "i-secret" not in json.dumps(row)
    assert "i-open" in row["_answer"]
