"""``trident.model.v1.ModelService``: what is served, and how to ask for it."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from gateway.domains.validation import Violations, check_text, shown
from gateway.errors import ModelNotFound
from gateway.inference.runner import ModelRunner, RouteState
from gateway.transport.call import Call
from gateway.transport.entrance import Entrance
from trident.model.v1 import model_service_pb2 as pb
from triton_models.release import FeatureSpec, Manifest
from triton_models.signatures import DOMAIN_LINES

DOMAIN = "model"
"""In metrics; only the limits of clients count here."""

MAX_RELEASE_NAME_LENGTH = 64

_RULES = {
    "refuse": pb.FEATURE_RULE_REFUSE,
    "impute": pb.FEATURE_RULE_IMPUTE,
    "clip": pb.FEATURE_RULE_CLIP,
}
_KINDS = {"number": pb.FEATURE_KIND_NUMBER, "category": pb.FEATURE_KIND_CATEGORY}
_DOMAIN_OF = {line: domain for domain, lines in DOMAIN_LINES.items() for line in lines}


class ModelServicer:
    """Describes the routed releases.

    Args:
        runner: Knows them.
        entrance: Lets calls in.
    """

    def __init__(self, runner: ModelRunner, entrance: Entrance | None = None) -> None:
        self._runner = runner
        self._entrance = entrance or Entrance()

    async def ListModels(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        """List the routed releases, without their features."""
        violations = Violations()
        if request.domain:
            _check_domain(request.domain, violations)
        violations.raise_if_any()
        with self._entrance.letting_in(DOMAIN, call):
            states = self._states(request.domain or None)
            models = [_model(state, features=False) for state in states]
        return pb.ListModelsResponse(models=models)

    async def GetModel(self, request: pb.GetModelRequest, call: Call) -> pb.GetModelResponse:
        """Describe one release."""
        _check(request)
        with self._entrance.letting_in(DOMAIN, call):
            for state in self._states(request.domain):
                if request.line in ("", state.line) and request.release in ("", state.release):
                    return pb.GetModelResponse(model=_model(state, features=True))
        raise ModelNotFound(request.line or request.domain, request.release)

    def _states(self, domain: str | None) -> list[RouteState]:
        """Return the routes of a domain, or all; by domain, line and falling weight."""
        states = [s for s in self._runner.routes() if domain in (None, _DOMAIN_OF.get(s.line))]
        return sorted(states, key=lambda s: (_DOMAIN_OF.get(s.line, ""), s.line, -s.weight))


def _check(request: pb.GetModelRequest) -> None:
    violations = Violations()
    _check_domain(request.domain, violations)
    check_text(violations, "release", request.release, 0, MAX_RELEASE_NAME_LENGTH)
    lines = DOMAIN_LINES.get(request.domain, tuple(_DOMAIN_OF))
    if request.line and request.line not in lines:
        violations.add("line", f"must be one of {', '.join(lines)}, got {shown(request.line)}")
    violations.raise_if_any()


def _check_domain(domain: str, violations: Violations) -> None:
    if domain not in DOMAIN_LINES:
        accepted = ", ".join(DOMAIN_LINES)
        violations.add("domain", f"must be one of {accepted}, got {shown(domain)}")


def _model(state: RouteState, *, features: bool) -> pb.Model:
    model = pb.Model(
        domain=_DOMAIN_OF.get(state.line, ""),
        line=state.line,
        release=state.release,
        weight=state.weight,
        serving=state.serving,
        serving_detail=state.detail or state.partly,
    )
    if state.served is not None:
        model.variant = state.served.variant
        _describe(model, state.served.manifest)
        if features:
            model.features.extend(map(_feature, state.served.manifest.features))
    return model


def _describe(model: pb.Model, manifest: Manifest) -> None:
    created = Timestamp()
    created.FromDatetime(manifest.create_time)
    model.create_time.CopyFrom(created)
    model.data_set = manifest.data.name
    model.labels.extend(manifest.labels)
    model.item_count = manifest.item_count
    model.reads_times = "history_times" in manifest.input_names
    model.bands.extend(
        pb.Band(name=band.name, minimum_score=band.minimum_score) for band in manifest.bands
    )
    model.metrics.extend(
        pb.Metric(split=split, name=name, value=metric.value, low=metric.low, high=metric.high)
        for split, metrics in manifest.metrics.items()
        for name, metric in metrics.items()
    )


def _feature(spec: FeatureSpec) -> pb.Feature:
    return pb.Feature(
        name=spec.name,
        kind=_KINDS[spec.kind],
        description=spec.description,
        unit=spec.unit,
        minimum=spec.minimum,
        maximum=spec.maximum,
        categories=spec.categories,
        codes=spec.codes,
        missing_rule=_RULES[spec.missing_rule],
        unknown_rule=_RULES[spec.unknown_rule],
        special_codes=[
            pb.SpecialCode(code=code, meaning=words) for code, words in spec.special_codes.items()
        ],
        protected=spec.protected,
    )
