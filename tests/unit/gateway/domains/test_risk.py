from __future__ import annotations

import math

import numpy as np
import pytest
from fake_runner import Outputs
from manifests import manifest

from gateway.domains import risk
from gateway.domains.domain import requests_to_tensors
from gateway.domains.validation import Violations
from gateway.errors import ModelContractBroken
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.common.v1.served_by_pb2 import ServedBy
from trident.risk.v1.risk_service_pb2 import ScoreRiskRequest, ScoreRiskResponse
from triton_models.release import Manifest

RELEASE = manifest("score-risk")
SERVED_BY = ServedBy(line="score-risk", release="r1", variant="ensemble")


def asked(reason_count: int | None = None, **features: float | str) -> ScoreRiskRequest:
    return ScoreRiskRequest(
        reason_count=reason_count,
        features={
            name: FeatureValue(category=value)
            if isinstance(value, str)
            else FeatureValue(number=value)
            for name, value in features.items()
        },
    )


def complaints(request: ScoreRiskRequest) -> list[str]:
    violations = Violations()
    assert risk.check(request, violations) == "score-risk"
    risk.check_schema(request, RELEASE, violations)
    return list(violations.found)


def outputs(score: float = 600, contributions: tuple[float, ...] = (0, 0, 0, 0, 0)) -> Outputs:
    return {
        "default_probability": np.array([[0.25]], np.float32),
        "score": np.array([[score]], np.float32),
        "contributions": np.array([contributions], np.float32),
        "input_rules": np.array([[2, 0, 0, 0, 1]], np.int32),
    }


def answered(
    answer: Outputs, request: ScoreRiskRequest | None = None, release: Manifest = RELEASE
) -> ScoreRiskResponse:
    requests = [request or asked()]
    (response,) = risk.tensors_to_responses(answer, requests, release, SERVED_BY)
    return response


@pytest.mark.parametrize(
    ("request_", "paths"),
    [
        (asked(age=40), []),
        (asked(age=40, reason_count=0), []),
        (asked(age=40, reason_count=20), []),
        (asked(age=40, reason_count=21), ["reason_count"]),
        (asked(age=40, reason_count=-1), ["reason_count"]),
        (asked(age=math.inf), ['features["age"].number']),
        (asked(age="old", housing=3), ['features["age"].category', 'features["housing"].number']),
        (asked(age=40, hosing="own"), ['features["hosing"]']),
        (asked(housing="own"), ['features["age"]']),
        (asked(), ["features", 'features["age"]']),
        (ScoreRiskRequest(features={"age": FeatureValue()}), ['features["age"]']),
    ],
)
def test_faults_are_named_by_their_path(request_: ScoreRiskRequest, paths: list[str]) -> None:
    assert sorted(complaints(request_)) == sorted(paths)


def test_more_than_a_thousand_features_are_refused_as_one() -> None:
    assert complaints(asked(**{f"x{place}": 1.0 for place in range(1001)})) == ["features"]


def test_a_request_id_is_limited() -> None:
    request = asked(age=40)
    request.request_id = "r" * 129
    assert complaints(request) == ["request_id"]
    request.request_id = "r" * 128
    assert complaints(request) == []
    assert risk.sticky_key(request) == request.request_id


def test_features_become_one_row_for_each_request() -> None:
    tensors = requests_to_tensors(risk, [asked(age=40, housing="own"), asked(age=20)], RELEASE)
    assert tensors["numbers"].shape == (2, 3)
    assert tensors["numbers"][:, 0].tolist() == [40, 20]
    assert tensors["categories"].tolist() == [[b"own", b""], [b"", b""]]


def test_contributions_are_asked_for_only_if_someone_wants_reasons() -> None:
    assert "contributions" not in risk.wanted_outputs([asked(reason_count=0)])
    assert "contributions" in risk.wanted_outputs([asked(reason_count=0), asked()])


def test_the_answer_says_probability_score_notes_and_who_gave_it() -> None:
    response = answered(outputs(score=612.5))
    assert response.default_probability == 0.25
    assert response.score == 612.5
    assert [note.feature for note in response.input_notes] == ["age", "purpose"]
    assert response.model == SERVED_BY


@pytest.mark.parametrize(
    ("score", "band"), [(850, "A"), (700, "A"), (699.9, "B"), (500, "B"), (300, "C"), (299, "C")]
)
def test_the_band_is_the_safest_that_the_score_reaches(score: float, band: str) -> None:
    assert answered(outputs(score)).band == band


def test_a_release_without_bands_names_none() -> None:
    assert answered(outputs(), release=manifest("score-risk", bands=())).band == ""


def test_reasons_are_what_raised_the_risk_worst_first() -> None:
    response = answered(outputs(contributions=(0.5, 2.0, -3.0, 0.0, 1.0)), asked(age=40))
    assert [(reason.feature, reason.contribution) for reason in response.reasons] == [
        ("housing", 2.0), ("purpose", 1.0), ("age", 0.5),
    ]  # fmt: skip


def test_no_more_reasons_come_than_were_asked_for() -> None:
    answer = outputs(contributions=(5, 4, 3, 2, 1))
    assert len(answered(answer, asked(age=40)).reasons) == 4
    assert len(answered(answer, asked(age=40, reason_count=20)).reasons) == 5
    assert len(answered(answer, asked(age=40, reason_count=1)).reasons) == 1
    del answer["contributions"]
    assert len(answered(answer, asked(age=40, reason_count=0)).reasons) == 0


@pytest.mark.parametrize(
    ("place", "features", "text"),
    [
        (0, {"age": 60.0}, "An age of 60 years is high"),
        (0, {"age": 20.5}, "Only 20.5 years old"),
        (0, {"age": 35.0}, "Only 35 years old"),
        (1, {"housing": "rent"}, "Housing is rent"),
        (2, {"amount": 1234567.0}, "amount is 1234567"),
        (2, {}, "amount is not known"),
    ],
)
def test_a_reason_is_said_in_plain_words(
    place: int, features: dict[str, float | str], text: str
) -> None:
    contributions = tuple(1.0 if other == place else 0.0 for other in range(5))
    (reason,) = answered(outputs(contributions=contributions), asked(**features)).reasons
    assert reason.text == text


def test_a_protected_attribute_is_never_a_reason_and_takes_no_place() -> None:
    age, *others = RELEASE.features
    release = manifest("score-risk", features=(age.model_copy(update={"protected": True}), *others))
    answer = outputs(contributions=(9.0, 2.0, 1.0, 0.0, 0.0))
    reasons = answered(answer, asked(2, age=20), release).reasons
    assert [reason.feature for reason in reasons] == ["housing", "amount"]


def test_a_special_code_is_said_by_its_meaning_and_never_refused() -> None:
    age, _, amount, *_ = RELEASE.features
    coded = {"special_codes": {-9.0: "no record"}, "unknown_rule": "refuse"}
    specs = (age.model_copy(update=coded), amount)
    release = manifest("score-risk", features=specs)
    request = asked(age=-9)
    violations = Violations()
    risk.check_schema(request, release, violations)
    assert violations.found == {}
    answer = outputs(contributions=(1, 0)) | {"input_rules": np.zeros((1, 2), np.int32)}
    (reason,) = answered(answer, request, release).reasons
    assert reason.text == f"{age.description or 'age'}: no record"


def test_a_hostile_category_cannot_play_with_the_template() -> None:
    (_, housing, *_) = RELEASE.features
    spec = housing.model_copy(update={"low_text": "Lives in '{value}' {0}"})
    release = manifest("score-risk", features=(spec,))
    answer = outputs(contributions=(1,)) | {"input_rules": np.zeros((1, 1), np.int32)}
    (reason,) = answered(answer, asked(housing="{value.__class__}"), release).reasons
    assert reason.text == "Lives in '{value.__class__}' {0}"


@pytest.mark.parametrize("name", ["score", "contributions", "input_rules"])
def test_an_answer_of_another_width_breaks_the_contract(name: str) -> None:
    answer = outputs()
    answer[name] = np.repeat(answer[name], 2, axis=1)
    with pytest.raises(ModelContractBroken):
        answered(answer)
