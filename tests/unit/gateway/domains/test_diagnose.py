from __future__ import annotations

import math

import numpy as np
import pytest
from fake_runner import Outputs, diagnosed
from manifests import LABELS, manifest

from gateway.domains import diagnose
from gateway.domains.domain import requests_to_tensors
from gateway.domains.validation import Violations
from gateway.errors import ModelContractBroken
from trident.common.v1.served_by_pb2 import ServedBy
from trident.diagnose.v1.diagnose_service_pb2 import (
    REVIEW_REASON_LOW_CONFIDENCE,
    REVIEW_REASON_UNUSUAL_EVIDENCE,
    DiagnoseRequest,
    DiagnoseResponse,
    Image,
    Measurements,
)
from triton_models.release import Manifest

RELEASE = manifest("diagnose-measurements")
SERVED_BY = ServedBy(line="diagnose-measurements", release="r1", variant="ensemble")


def measured(explain: bool = False, **values: float) -> DiagnoseRequest:
    named = {name.replace("_", " "): value for name, value in values.items()}
    return DiagnoseRequest(measurements=Measurements(values=named), explain=explain)


def complaints(request: DiagnoseRequest) -> dict[str, str]:
    violations = Violations()
    line = diagnose.check(request, violations)
    if line == RELEASE.line:
        diagnose.check_schema(request, RELEASE, violations)
    return violations.found


def outputs(*probabilities: float, rules: tuple[int, ...] = (0, 0, 0)) -> Outputs:
    return {
        "probabilities": np.array([probabilities], np.float32),
        "contributions": np.arange(9, dtype=np.float32).reshape(1, 3, 3) - 4,
        "input_rules": np.array([rules], np.int32),
    }


def answered(
    answer: Outputs, request: DiagnoseRequest | None = None, release: Manifest = RELEASE
) -> DiagnoseResponse:
    requests = [request or DiagnoseRequest()]
    (response,) = diagnose.tensors_to_responses(answer, requests, release, SERVED_BY)
    return response


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (DiagnoseRequest(image=Image(content=b"x", media_type="image/png")), "diagnose-image"),
        (DiagnoseRequest(note="cough"), "diagnose-note"),
        (measured(mean_radius=14), "diagnose-measurements"),
    ],
    ids=["image", "note", "measurements"],
)
def test_the_kind_of_evidence_decides_the_line(request_: DiagnoseRequest, line: str) -> None:
    violations = Violations()
    assert diagnose.check(request_, violations) == line
    assert violations.found == {}


def test_a_request_without_evidence_has_no_line() -> None:
    violations = Violations()
    assert diagnose.check(DiagnoseRequest(), violations) is None
    text = "must be one of image, note, measurements, got none"
    assert violations.found == {"evidence": text}


@pytest.mark.parametrize(
    ("request_", "paths"),
    [
        (DiagnoseRequest(request_id="r" * 129, note="x"), ["request_id"]),
        (DiagnoseRequest(note=""), ["note"]),
        (DiagnoseRequest(note="x" * 20_001), ["note"]),
        (DiagnoseRequest(image=Image()), ["image.content", "image.media_type"]),
        (
            DiagnoseRequest(image=Image(content=bytes(10485761), media_type="image/gif")),
            ["image.content", "image.media_type"],
        ),
        (measured(), ["measurements.values", 'measurements.values["mean radius"]']),
        (measured(mean_radius=math.nan), ['measurements.values["mean radius"]']),
        (measured(mean_radius=1e39), ['measurements.values["mean radius"]']),
        (measured(mean_radius=14, radius=1), ['measurements.values["radius"]']),
        (measured(mean_radius=14, smoothness=2), ['measurements.values["smoothness"]']),
        (measured(mean_texture=14), ['measurements.values["mean radius"]']),
    ],
)
def test_faults_are_named_by_their_path(request_: DiagnoseRequest, paths: list[str]) -> None:
    assert list(complaints(request_)) == paths


def test_the_longest_note_and_the_largest_image_are_accepted() -> None:
    assert complaints(DiagnoseRequest(note="ü" * 20_000)) == {}
    image = Image(content=bytes(10485760), media_type="application/dicom")
    assert complaints(DiagnoseRequest(image=image)) == {}


def test_more_than_a_thousand_measurements_are_refused_as_one() -> None:
    many = Measurements(values={f"x{place}": 1.0 for place in range(1001)})
    assert list(complaints(DiagnoseRequest(measurements=many))) == ["measurements.values"]


def test_measurements_become_rows_and_missing_ones_nan() -> None:
    requests = [measured(smoothness=0.5, mean_radius=14), measured(mean_radius=20)]
    tensors = requests_to_tensors(diagnose, requests, RELEASE)
    assert set(tensors) == {"numbers"}
    expected = np.array([[14, np.nan, 0.5], [20, np.nan, np.nan]], np.float32)
    np.testing.assert_array_equal(tensors["numbers"], expected)


def test_contributions_are_asked_for_only_if_someone_wants_to_know_why() -> None:
    assert "contributions" not in diagnose.wanted_outputs([measured()])
    assert "contributions" in diagnose.wanted_outputs([measured(), measured(explain=True)])


def test_findings_come_most_probable_first() -> None:
    response = answered(outputs(0.2, 0.7, 0.1))
    assert [finding.label for finding in response.findings] == ["malignant", "benign", "unclear"]
    assert [finding.probability for finding in response.findings] == pytest.approx([0.7, 0.2, 0.1])
    assert response.model == SERVED_BY
    assert not response.HasField("explanation")


def test_a_low_first_finding_needs_review_by_the_threshold_of_the_release() -> None:
    low = outputs(0.5, 0.4, 0.1)
    response = answered(low)
    assert response.needs_review
    assert list(response.review_reasons) == [REVIEW_REASON_LOW_CONFIDENCE]
    assert not answered(outputs(0.7, 0.2, 0.1)).needs_review
    never = manifest("diagnose-measurements", review_threshold=None)
    assert not answered(low, release=never).needs_review


@pytest.mark.parametrize(
    ("rules", "unusual"),
    [
        ((0, 0, 0), False),
        ((1, 0, 0), False),
        ((1, 1, 0), True),
        ((2, 0, 0), True),
        ((0, 3, 0), True),
        ((0, 0, 4), True),
        ((0, 0, 5), True),
    ],
)
def test_unusual_evidence_needs_review(rules: tuple[int, ...], unusual: bool) -> None:
    response = answered(outputs(0.9, 0.1, 0.0, rules=rules))
    assert (REVIEW_REASON_UNUSUAL_EVIDENCE in response.review_reasons) is unusual
    assert response.needs_review is unusual
    assert [note.rule for note in response.input_notes] == [rule for rule in rules if rule]


def test_the_explanation_is_of_the_first_finding_strongest_first() -> None:
    response = answered(outputs(0.9, 0.1, 0.0), measured(explain=True))
    assert response.explanation.label == LABELS[0]
    entries = response.explanation.contributions.measurements
    assert [(entry.name, entry.contribution) for entry in entries] == [
        ("mean radius", -4.0), ("smoothness", 2.0), ("mean texture", -1.0),
    ]  # fmt: skip


def test_each_row_answers_its_own_request() -> None:
    requests = [measured(mean_radius=6), measured(explain=True, mean_radius=25)]
    answer = diagnosed(requests_to_tensors(diagnose, requests, RELEASE), RELEASE)
    first, second = diagnose.tensors_to_responses(answer, requests, RELEASE, SERVED_BY)
    assert (first.findings[0].label, second.findings[0].label) == ("benign", "malignant")
    assert not first.HasField("explanation")
    assert second.explanation.label == "malignant"


def test_another_number_of_labels_breaks_the_contract() -> None:
    with pytest.raises(ModelContractBroken):
        answered(outputs(0.5, 0.5))
