"""The domain ``risk``: the probability that a credit is not paid back, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gateway.domains.domain import Answer, Tensors, check_answer
from gateway.domains.features import (
    FeatureMap,
    Value,
    check_features,
    check_values,
    features_to_tensors,
    input_notes,
    plain,
)
from gateway.domains.validation import (
    MAX_REQUEST_ID_LENGTH,
    Violations,
    check_range,
    check_text,
)
from trident.common.v1.served_by_pb2 import ServedBy
from trident.risk.v1.risk_service_pb2 import Reason, ScoreRiskRequest, ScoreRiskResponse
from triton_models.release import FeatureSpec, Manifest
from triton_models.signatures import SCORE_RISK

FEATURES = FeatureMap("features", 1, 1000)
MAX_REASONS = 20
DEFAULT_REASONS = 4


def check(request: ScoreRiskRequest, violations: Violations) -> str:
    """Check the fields whose limits are in the proto."""
    check_text(violations, "request_id", request.request_id, 0, MAX_REQUEST_ID_LENGTH)
    if request.HasField("reason_count"):
        check_range(violations, "reason_count", request.reason_count, 0, MAX_REASONS)
    check_values(violations, FEATURES, plain(request.features))
    return SCORE_RISK.line


def sticky_key(request: ScoreRiskRequest) -> str:
    """Return the request's name."""
    return request.request_id


def check_schema(request: ScoreRiskRequest, manifest: Manifest, violations: Violations) -> None:
    """Check the features against what the release knows."""
    check_features(violations, FEATURES, plain(request.features), manifest)


def requests_to_tensors(requests: Sequence[ScoreRiskRequest], manifest: Manifest) -> Tensors:
    """Return the features of the requests.

    Returns:
        ``numbers``: ``(B, N)`` float32, raw units, NaN is missing. ``categories``: ``(B, S)``
        object of bytes, ``b""`` is missing. Each only if the schema has such features.
    """
    return features_to_tensors([plain(request.features) for request in requests], manifest)


def wanted_outputs(requests: Sequence[ScoreRiskRequest]) -> tuple[str, ...]:
    """Return the outputs that are needed; contributions only if somebody wants reasons."""
    if any(_reason_count(request) for request in requests):
        return ("default_probability", "score", "contributions", "input_rules")
    return ("default_probability", "score", "input_rules")


def tensors_to_responses(
    answer: Answer, requests: Sequence[ScoreRiskRequest], manifest: Manifest, served_by: ServedBy
) -> list[ScoreRiskResponse]:
    """Return probability, score, band and the reasons that raised the risk."""
    sizes = {"B": len(requests), "F": len(manifest.features)}
    check_answer(answer, wanted_outputs(requests), manifest, sizes)
    responses = []
    for row, request in enumerate(requests):
        count = _reason_count(request)
        score = float(answer["score"][row, 0])
        reasons = _reasons(answer["contributions"][row], request, manifest) if count else []
        responses.append(
            ScoreRiskResponse(
                default_probability=float(answer["default_probability"][row, 0]),
                score=score,
                band=_band(score, manifest),
                reasons=reasons[:count],
                input_notes=input_notes(answer["input_rules"][row], manifest),
                model=served_by,
            )
        )
    return responses


def _reason_count(request: ScoreRiskRequest) -> int:
    return request.reason_count if request.HasField("reason_count") else DEFAULT_REASONS


def _band(score: float, manifest: Manifest) -> str:
    for band in manifest.bands:
        if score >= band.minimum_score:
            return band.name
    return manifest.bands[-1].name if manifest.bands else ""


def _reasons(
    contributions: npt.NDArray[np.float32], request: ScoreRiskRequest, manifest: Manifest
) -> list[Reason]:
    """Return the features that raised the risk, worst first.

    Args:
        contributions: ``(F,)`` float32, in log-odds of default, in the order of the schema.
        request: Has the values.
        manifest: Has the schema with its plain words.
    """
    values = plain(request.features)
    worst = np.argsort(-contributions, kind="stable")
    return [
        Reason(
            feature=manifest.features[f].name,
            contribution=float(contributions[f]),
            text=_reason_text(manifest.features[f], values),
        )
        for f in worst
        if contributions[f] > 0
    ]


def _reason_text(spec: FeatureSpec, values: Mapping[str, Value]) -> str:
    value = values.get(spec.name)
    name = spec.description or spec.name
    if value is None:
        return f"{name} is not known"
    above = (
        isinstance(value, float | int)
        and isinstance(spec.typical, float | int)
        and value > spec.typical
    )
    template = spec.high_text if above else spec.low_text
    text = f"{value:.10g}" if isinstance(value, float | int) else value
    # Not str.format: the value comes from outside, and a template may hold other braces.
    return template.replace("{value}", text) if template else f"{name} is {text}"
