"""The domain ``diagnose``: findings from an image, a note or measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.domains.diagnose_images import (
    ImageRow,
    check_image,
    image_row,
    images_to_tensors,
    plain_image,
    saliency_of,
)
from gateway.domains.diagnose_notes import (
    QUICK_CHARACTERS,
    NoteRow,
    is_note,
    note_notes,
    note_width,
    notes_to_tensors,
    plain_note,
    token_weights_of,
)
from gateway.domains.domain import Answer, Tensors, check_answer
from gateway.domains.features import (
    FeatureMap,
    check_features,
    check_values,
    checked_row,
    input_notes,
)
from gateway.domains.features import rows_to_tensors as feature_rows_to_tensors
from gateway.domains.plans import FEATURE_PLANS, Row
from gateway.domains.validation import (
    MAX_REQUEST_ID_LENGTH,
    Violations,
    check_text,
    plain_name,
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
)
from triton_models.note_limits import MAX_NOTE_LENGTH
from triton_models.release import Manifest
from triton_models.signatures import DIAGNOSE_IMAGE, DIAGNOSE_MEASUREMENTS, DIAGNOSE_NOTE

PLAIN_OUTPUTS: tuple[str, ...] = ("probabilities", "input_rules")
"""What is asked for of measurements where nobody wants an explanation."""

_OUTPUTS: dict[str, tuple[tuple[str, ...], str]] = {
    "image": (("probabilities", "unusualness"), "saliency"),
    "note": (("probabilities", "unusualness"), "token_weights"),
    "measurements": (PLAIN_OUTPUTS, "contributions"),
}
"""By evidence: what every answer needs, and what explains it."""

MEASUREMENTS = FeatureMap("measurements.values", 1, 1000, number="")

EVIDENCE_LINES = {
    "image": DIAGNOSE_IMAGE.line,
    "note": DIAGNOSE_NOTE.line,
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
        check_image(request.image, violations.below("image."))
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
    if manifest.image is None and manifest.note is None:
        check_features(violations, MEASUREMENTS, dict(request.measurements.values), manifest)


def read(request: DiagnoseRequest, manifest: Manifest) -> Row | ImageRow | NoteRow | None:
    """Return the row of evidence that is plainly valid."""
    if not plain_name(request.request_id, MAX_REQUEST_ID_LENGTH):
        return None
    if manifest.image is not None:
        return plain_image(request.image, manifest)
    if manifest.note is not None:
        return plain_note(request.note, manifest)
    return FEATURE_PLANS.of(manifest).read_numbers(request.measurements.values)


def row(request: DiagnoseRequest, manifest: Manifest) -> Row | ImageRow | NoteRow:
    """Return the row of checked evidence."""
    if manifest.image is not None:
        return image_row(request.image, manifest)
    if manifest.note is not None:
        return NoteRow(request.note, manifest)
    return checked_row(request.measurements.values, manifest)


def width(row: Any) -> int:
    """Return how long a note is; all other rows are as wide."""
    return note_width(row) if is_note(row) else 0


def rows_to_tensors(rows: Sequence[Any], manifest: Manifest) -> Tensors:
    """Return the inputs of the release, one row each."""
    if manifest.image is not None:
        return images_to_tensors(rows, manifest)
    if manifest.note is not None:
        return notes_to_tensors(rows)
    return feature_rows_to_tensors(rows, manifest)


def wanted_outputs(requests: Sequence[DiagnoseRequest]) -> tuple[str, ...]:
    """Return the outputs that are needed; an explanation only if somebody wants to know why.

    Args:
        requests: All with the same kind of evidence.
    """
    plain, explanation = _OUTPUTS.get(requests[0].WhichOneof("evidence") or "", (PLAIN_OUTPUTS, ""))
    if any(request.explain for request in requests):
        return (*plain, explanation or "contributions")
    return plain


def slow_to_write(answer: Answer, requests: Sequence[DiagnoseRequest]) -> bool:
    """Say whether there are pictures to make, or much text to read again."""
    return "saliency" in answer or sum(len(one.note) for one in requests) > QUICK_CHARACTERS


def tensors_to_responses(
    answer: Answer, requests: Sequence[DiagnoseRequest], manifest: Manifest, served_by: ServedBy
) -> list[DiagnoseResponse]:
    """Return the findings, most probable first, and whether a person must look."""
    check_answer(answer, wanted_outputs(requests), manifest, sizes(len(requests), manifest))
    probabilities = answer["probabilities"]
    rows = len(requests)
    orders = np.argsort(-probabilities, axis=1, kind="stable").tolist()
    rules = answer.get("input_rules")
    noted = [False] * rows if rules is None else rules.any(axis=1).tolist()
    distances = answer.get("unusualness")
    unusual = [False] * rows if distances is None else (distances[:, 0] > 1).tolist()
    labels = manifest.labels
    responses = []
    for place, (request, order, values) in enumerate(
        zip(requests, orders, probabilities.tolist(), strict=True)
    ):
        notes = input_notes(rules[place], manifest) if rules is not None and noted[place] else []
        cut = note_notes(request.note, manifest) if manifest.note is not None else []
        reasons = _review_reasons(values[order[0]], notes, manifest, unusual[place])
        response = DiagnoseResponse(
            findings=[Finding(label=labels[k], probability=values[k]) for k in order],
            needs_review=bool(reasons),
            review_reasons=reasons,
            input_notes=notes + cut,
            model=served_by,
        )
        if request.explain:
            _explain(response.explanation, answer, place, order[0], request, manifest)
        responses.append(response)
    return responses


def sizes(rows: int, manifest: Manifest) -> dict[str, int]:
    """Return how long the axes of an answer must be."""
    return {"B": rows, "F": len(manifest.features), "K": len(manifest.labels)}


def _review_reasons(
    probability: float, notes: Sequence[InputNote], manifest: Manifest, unlike: bool
) -> list[diagnose_service_pb2.ReviewReason]:
    reasons = []
    if manifest.review_threshold is not None and probability < manifest.review_threshold:
        reasons.append(diagnose_service_pb2.REVIEW_REASON_LOW_CONFIDENCE)
    imputed = sum(note.rule == input_note_pb2.INPUT_RULE_IMPUTED for note in notes)
    unusual = unlike or imputed < len(notes)  # clipped, or a code nobody has seen
    if unusual or imputed > _MOSTLY_IMPUTED * len(manifest.features):
        reasons.append(diagnose_service_pb2.REVIEW_REASON_UNUSUAL_EVIDENCE)
    return reasons


def _explain(
    explanation: Explanation,
    answer: Answer,
    place: int,
    label: int,
    request: DiagnoseRequest,
    manifest: Manifest,
) -> None:
    """Fill in what speaks for a label in the row at a place."""
    explanation.label = manifest.labels[label]
    if manifest.image is not None:
        saliency = answer["saliency"][place]
        explanation.saliency.CopyFrom(saliency_of(request, saliency, manifest))
        return
    if manifest.note is not None:
        weights = token_weights_of(request.note, answer["token_weights"][place], manifest)
        explanation.token_weights.CopyFrom(weights)
        return
    contributions = answer["contributions"][place, :, label]
    explanation.contributions.CopyFrom(_contributions(contributions, manifest))


def _contributions(values: npt.NDArray[np.float32], manifest: Manifest) -> Contributions:
    """Return contributions ``(F,)``, in log-odds of the label, the strongest first."""
    order = np.argsort(-np.abs(values), kind="stable")
    return Contributions(
        measurements=[
            Contribution(name=manifest.features[f].name, contribution=float(values[f]))
            for f in order
        ]
    )
