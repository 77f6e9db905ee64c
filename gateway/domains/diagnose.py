"""The domain ``diagnose``: findings from an image, a note or measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gateway.domains.domain import Answer, Tensors, check_answer
from gateway.domains.features import (
    FeatureMap,
    check_features,
    check_values,
    features_to_tensors,
    input_notes,
)
from gateway.domains.validation import (
    MAX_REQUEST_ID_LENGTH,
    Violations,
    check_text,
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


def requests_to_tensors(requests: Sequence[DiagnoseRequest], manifest: Manifest) -> Tensors:
    """Return ``numbers``: ``(B, N)`` float32, raw units, NaN is missing."""
    return features_to_tensors([request.measurements.values for request in requests], manifest)


def wanted_outputs(requests: Sequence[DiagnoseRequest]) -> tuple[str, ...]:
    """Return the outputs that are needed; contributions only if somebody wants to know why."""
    if any(request.explain for request in requests):
        return ("probabilities", "contributions", "input_rules")
    return ("probabilities", "input_rules")


def tensors_to_responses(
    answer: Answer, requests: Sequence[DiagnoseRequest], manifest: Manifest, served_by: ServedBy
) -> list[DiagnoseResponse]:
    """Return the findings, most probable first, and whether a person must look."""
    sizes = {"B": len(requests), "F": len(manifest.features), "K": len(manifest.labels)}
    check_answer(answer, wanted_outputs(requests), manifest, sizes)
    probabilities = answer["probabilities"]
    responses = []
    for row, request in enumerate(requests):
        order = np.argsort(-probabilities[row], kind="stable")
        notes = input_notes(answer["input_rules"][row], manifest)
        reasons = _review_reasons(float(probabilities[row, order[0]]), notes, manifest)
        response = DiagnoseResponse(
            findings=[
                Finding(label=manifest.labels[k], probability=float(probabilities[row, k]))
                for k in order
            ],
            needs_review=bool(reasons),
            review_reasons=reasons,
            input_notes=notes,
            model=served_by,
        )
        if request.explain:
            top = int(order[0])
            explanation = _explanation(answer["contributions"][row, :, top], top, manifest)
            response.explanation.CopyFrom(explanation)
        responses.append(response)
    return responses


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
