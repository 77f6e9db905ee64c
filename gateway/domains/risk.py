"""The domain ``risk``: the probability that a credit is not paid back, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gateway.domains.domain import Answer, check_answer
from gateway.domains.features import (
    FeatureMap,
    Value,
    check_features,
    check_values,
    checked_row,
    input_notes,
    plain,
    plain_value,
)
from gateway.domains.features import rows_to_tensors as rows_to_tensors
from gateway.domains.plans import FEATURE_PLANS, Plans, Row
from gateway.domains.validation import (
    MAX_REQUEST_ID_LENGTH,
    Violations,
    check_range,
    check_text,
    plain_name,
)
from trident.common.v1.served_by_pb2 import ServedBy
from trident.risk.v1.risk_service_pb2 import Reason, ScoreRiskRequest, ScoreRiskResponse
from triton_models.release import FeatureSpec, Manifest
from triton_models.signatures import SCORE_RISK

FEATURES = FeatureMap("features", 1, 1000)
MAX_REASONS = 20
DEFAULT_REASONS = 4


NAME = "risk"
RESPONSE = ScoreRiskResponse


def line(request: ScoreRiskRequest) -> str:
    """Return the one line of this domain."""
    return SCORE_RISK.line


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


def read(request: ScoreRiskRequest, manifest: Manifest) -> Row | None:
    """Return the row of features that are plainly valid."""
    if (
        not plain_name(request.request_id, MAX_REQUEST_ID_LENGTH)
        or not 0 <= request.reason_count <= MAX_REASONS
        or len(request.features) > FEATURES.high
    ):
        return None
    return FEATURE_PLANS.of(manifest).read_values(request.features)


def row(request: ScoreRiskRequest, manifest: Manifest) -> Row:
    """Return the row of checked features."""
    return checked_row(plain(request.features), manifest)


def width(row: Row) -> int:
    """Return 0: all rows are as wide."""
    return 0


def wanted_outputs(requests: Sequence[ScoreRiskRequest]) -> tuple[str, ...]:
    """Return the outputs that are needed; contributions only if somebody wants reasons."""
    if any(_reason_count(request) for request in requests):
        return ("default_probability", "score", "contributions", "input_rules")
    return ("default_probability", "score", "input_rules")


def slow_to_write(answer: Answer, requests: Sequence[ScoreRiskRequest]) -> bool:
    """Return false: an answer is only numbers and names."""
    return False


def tensors_to_responses(
    answer: Answer, requests: Sequence[ScoreRiskRequest], manifest: Manifest, served_by: ServedBy
) -> list[ScoreRiskResponse]:
    """Return probability, score, band and the reasons that raised the risk."""
    sizes = {"B": len(requests), "F": len(manifest.features)}
    check_answer(answer, wanted_outputs(requests), manifest, sizes)
    noted = answer["input_rules"].any(axis=1).tolist()
    ranked = RANKINGS.of(manifest).worst(answer.get("contributions"), len(requests))
    responses = []
    for place, (request, probability, score) in enumerate(
        zip(
            requests,
            answer["default_probability"][:, 0].tolist(),
            answer["score"][:, 0].tolist(),
            strict=True,
        )
    ):
        count = _reason_count(request)
        notes = input_notes(answer["input_rules"][place], manifest) if noted[place] else ()
        responses.append(
            ScoreRiskResponse(
                default_probability=probability,
                score=score,
                band=_band(score, manifest),
                reasons=_reasons(ranked[place][:count], request, manifest) if count else (),
                input_notes=notes,
                model=served_by,
            )
        )
    return responses


Ranked = Sequence[tuple[int, float]]
"""Places of features in the schema with their contributions, worst first; all raised the risk."""


class Ranking:
    """Knows which features may be named as reasons."""

    def __init__(self, manifest: Manifest) -> None:
        named = [f for f, spec in enumerate(manifest.features) if not spec.protected]
        self._named = np.array(named, np.int64)

    def worst(self, contributions: npt.NDArray[np.float32] | None, rows: int) -> Sequence[Ranked]:
        """Return up to 20 reasons for each row.

        Args:
            contributions: ``(B, F)`` float32, log-odds of default, in the order of the schema;
                ``None`` if nobody wants any.
            rows: B.
        """
        if contributions is None or not len(self._named):
            return [()] * rows
        shares = contributions[:, self._named]
        # One sort for all rows: one for each would take longer than the network.
        order = np.argsort(-shares, axis=1, kind="stable")[:, :MAX_REASONS]
        sizes = np.take_along_axis(shares, order, axis=1)
        raised = (sizes > 0).sum(axis=1).tolist()
        places = self._named[order].tolist()
        return [
            list(zip(where[:count], size[:count], strict=True))
            for where, size, count in zip(places, sizes.tolist(), raised, strict=True)
        ]


RANKINGS = Plans(Ranking)


def _reason_count(request: ScoreRiskRequest) -> int:
    return request.reason_count if request.HasField("reason_count") else DEFAULT_REASONS


def _band(score: float, manifest: Manifest) -> str:
    for band in manifest.bands:
        if score >= band.minimum_score:
            return band.name
    return manifest.bands[-1].name if manifest.bands else ""


def _reasons(ranked: Ranked, request: ScoreRiskRequest, manifest: Manifest) -> list[Reason]:
    """Put reasons into words.

    Args:
        ranked: The reasons, worst first.
        request: Has the values.
        manifest: Has the schema with its plain words.
    """
    reasons = []
    for place, share in ranked:
        spec = manifest.features[place]
        # Only what a reason names: to make all values plain would cost five times as much.
        given = request.features
        value = plain_value(given[spec.name]) if spec.name in given else None
        text = _reason_text(spec, value)
        reasons.append(Reason(feature=spec.name, contribution=share, text=text))
    return reasons


def _reason_text(spec: FeatureSpec, value: Value) -> str:
    name = spec.description or spec.name
    if value is None:
        return f"{name} is not known"
    if isinstance(value, float | int) and value in spec.special_codes:
        return f"{name}: {spec.special_codes[value] or f'{value:.10g}'}"
    above = (
        isinstance(value, float | int)
        and isinstance(spec.typical, float | int)
        and value > spec.typical
    )
    template = spec.high_text if above else spec.low_text
    text = f"{value:.10g}" if isinstance(value, float | int) else value
    # Not str.format: the value comes from outside, and a template may hold other braces.
    return template.replace("{value}", text) if template else f"{name} is {text}"
