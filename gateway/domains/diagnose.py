"""The domain ``diagnose``: findings from an image, a note or measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gateway.domains.domain import Answer, check_answer
from gateway.domains.features import (
    FeatureMap,
    check_features,
    check_values,
    checked_row,
    input_notes,
)
from gateway.domains.features import rows_to_tensors as rows_to_tensors
from gateway.domains.plans import FEATURE_PLANS, Row
from gateway.domains.validation import (
    MAX_REQUEST_ID_LENGTH,
    Violations,
    check_text,
    plain_name,
    shown,
)
from trident.common.v1 import input_note_pb2
from trident.common.v1.input_note_pb2 import InputNote
from trident.common.v1.served_by_pb2 import ServedBy
from trident.diagnose.v1 import diagnose_service_pb2
from trident.diagnose.v1.diagnose_service_pb2 import (
    Contribution,
    Contributions,
    DiagnoseRequest,
    DiagnoseResponse,
    Explanation,
    Finding,
    Image,
)
from triton_models.release import Manifest
from triton_models.signatures import DIAGNOSE_MEASUREMENTS

PLAIN_OUTPUTS: tuple[str, ...] = ("probabilities", "input_rules")
"""What is asked for where nobody wants an explanation."""

MAX_NOTE_LENGTH = 20_000
MAX_IMAGE_BYTES = 10 * 1024 * 1024
MEASUREMENTS = FeatureMap("measurements.values", 1, 1000, number="")
MEDIA_TYPES = ("image/png", "image/jpeg", "application/dicom")

EVIDENCE_LINES = {
    "image": "diagnose-image",
    "note": "diagnose-note",
    "measurements": DIAGNOSE_MEASUREMENTS.line,
}

_MOSTLY_IMPUTED = 0.5
"""With more of the measurements missing, the answer says little about the patient."""


NAME = "diagnose"
RESPONSE = DiagnoseResponse


def line(request: DiagnoseRequest) -> str | None:
    """Return the line of the evidence."""
    return EVIDENCE_LINES.get(request.WhichOneof("evidence") or "")


def check(request: DiagnoseRequest, violations: Violations) -> str | None:
    """Check the fields whose limits are in the proto; the evidence decides the line."""
    check_text(violations, "request_id", request.request_id, 0, MAX_REQUEST_ID_LENGTH)
    kind = request.WhichOneof("evidence")
    if kind is None:
        violations.add("evidence", f"must be one of {', '.join(EVIDENCE_LINES)}, got none")
        return None
    if kind == "image":
        _check_image(request.image, violations.below("image."))
    elif kind == "note":
        check_text(violations, "note", request.note, 1, MAX_NOTE_LENGTH)
    else:
        check_values(violations, MEASUREMENTS, request.measurements.values)
    return EVIDENCE_LINES[kind]


def sticky_key(request: DiagnoseRequest) -> str:
    """Return the request's name."""
    return request.request_id


def check_schema(request: DiagnoseRequest, manifest: Manifest, violations: Violations) -> None:
    """Check the measurements against what the release knows."""
    check_features(violations, MEASUREMENTS, dict(request.measurements.values), manifest)


def read(request: DiagnoseRequest, manifest: Manifest) -> Row | None:
    """Return the row of measurements that are plainly valid."""
    if not plain_name(request.request_id, MAX_REQUEST_ID_LENGTH):
        return None
    return FEATURE_PLANS.of(manifest).read_numbers(request.measurements.values)


def row(request: DiagnoseRequest, manifest: Manifest) -> Row:
    """Return the row of checked measurements."""
    return checked_row(request.measurements.values, manifest)


def width(row: Row) -> int:
    """Return 0: all rows are as wide."""
    return 0


def wanted_outputs(requests: Sequence[DiagnoseRequest]) -> tuple[str, ...]:
    """Return the outputs that are needed; contributions only if somebody wants to know why."""
    if any(request.explain for request in requests):
        return ("probabilities", "contributions", "input_rules")
    return PLAIN_OUTPUTS


def tensors_to_responses(
    answer: Answer, requests: Sequence[DiagnoseRequest], manifest: Manifest, served_by: ServedBy
) -> list[DiagnoseResponse]:
    """Return the findings, most probable first, and whether a person must look."""
    check_answer(answer, wanted_outputs(requests), manifest, sizes(len(requests), manifest))
    probabilities = answer["probabilities"]
    orders = np.argsort(-probabilities, axis=1, kind="stable").tolist()
    noted = answer["input_rules"].any(axis=1).tolist()
    labels = manifest.labels
    responses = []
    for place, (request, order, values) in enumerate(
        zip(requests, orders, probabilities.tolist(), strict=True)
    ):
        notes = input_notes(answer["input_rules"][place], manifest) if noted[place] else []
        reasons = _review_reasons(values[order[0]], notes, manifest)
        response = DiagnoseResponse(
            findings=[Finding(label=labels[k], probability=values[k]) for k in order],
            needs_review=bool(reasons),
            review_reasons=reasons,
            input_notes=notes,
            model=served_by,
        )
        if request.explain:
            top = order[0]
            explanation = _explanation(answer["contributions"][place, :, top], top, manifest)
            response.explanation.CopyFrom(explanation)
        responses.append(response)
    return responses


def sizes(rows: int, manifest: Manifest) -> dict[str, int]:
    """Return how long the axes of an answer must be."""
    return {"B": rows, "F": len(manifest.features), "K": len(manifest.labels)}


def _check_image(image: Image, violations: Violations) -> None:
    if not 1 <= len(image.content) <= MAX_IMAGE_BYTES:
        accepted = f"must have 1 to {MAX_IMAGE_BYTES} bytes"
        violations.add("content", f"{accepted}, got {len(image.content)}")
    if image.media_type not in MEDIA_TYPES:
        accepted = f"must be one of {', '.join(MEDIA_TYPES)}"
        violations.add("media_type", f"{accepted}, got {shown(image.media_type)}")


def _review_reasons(
    probability: float, notes: Sequence[InputNote], manifest: Manifest
) -> list[diagnose_service_pb2.ReviewReason]:
    reasons = []
    if manifest.review_threshold is not None and probability < manifest.review_threshold:
        reasons.append(diagnose_service_pb2.REVIEW_REASON_LOW_CONFIDENCE)
    imputed = sum(note.rule == input_note_pb2.INPUT_RULE_IMPUTED for note in notes)
    unusual = imputed < len(notes)  # clipped, or a code nobody has seen
    if unusual or imputed > _MOSTLY_IMPUTED * len(manifest.features):
        reasons.append(diagnose_service_pb2.REVIEW_REASON_UNUSUAL_EVIDENCE)
    return reasons


def _explanation(
    contributions: npt.NDArray[np.float32], label: int, manifest: Manifest
) -> Explanation:
    """Return contributions ``(F,)``, in log-odds of the label, the strongest first."""
    order = np.argsort(-np.abs(contributions), kind="stable")
    measurements = [
        Contribution(name=manifest.features[f].name, contribution=float(contributions[f]))
        for f in order
    ]
    return Explanation(
        label=manifest.labels[label], contributions=Contributions(measurements=measurements)
    )
