"""Whether a candidate is good enough to be released: the rules of ``gate.yaml``.

What a rule bounds must be measured. Fairness alone need not be: where a release has no groups,
there is nothing to compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_builder.errors import ConfigInvalid
from triton_models.release import FUSED, Check, Manifest, Metric

DEFAULT_FILE = Path(__file__).with_name("gate.yaml")

LOWER_IS_BETTER = frozenset(
    {"brier", "ece", "equal_opportunity_difference", "log_loss", "mae", "rmse"}
)
"""Metrics of which less is better; of all others more is."""

Bounds = dict[str, dict[str, float]]
"""By split, then metric."""


class _Rules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NotWorse(_Rules):
    """Compared with the release that answers most calls now; a child, with its parent too."""

    split: str = "test"
    metrics: tuple[str, ...]


class LineRules(_Rules):
    """What a release of a line must hold."""

    floors: Bounds = Field(default_factory=dict)
    """At least this."""
    ceilings: Bounds = Field(default_factory=dict)
    """At most this."""
    calibration: Bounds = Field(default_factory=dict)
    """At most this, of measures of calibration."""
    fairness: Bounds = Field(default_factory=dict)
    """At most this, where it is measured: a release without groups has no such metric. One that
    has it in none of the splits that are named here is refused: the rule looks past it."""
    not_worse_than_promoted: NotWorse | None = None
    """Within the 95 % interval of the release that answers most calls now, or better."""
    size_bytes: int | None = Field(default=None, gt=0)
    """Of all files together."""
    latency_ms: float | None = Field(default=None, gt=0)
    """Median of one row on Triton, on the machine of the build; the fused variant."""


class Gate(_Rules):
    """All of a ``gate.yaml``."""

    lines: dict[str, LineRules] = Field(default_factory=dict)

    def checks(
        self,
        manifest: Manifest,
        promoted: Manifest | None,
        size_bytes: int,
        *,
        parent: Manifest | None = None,
    ) -> tuple[Check, ...]:
        """Return what was looked at, passed or not.

        Args:
            manifest: The candidate's.
            promoted: Of the release that answers most of the line's calls, if any does.
            size_bytes: Of all its files.
            parent: Of the release that it is a child of, if it is one.
        """
        rules = self.lines.get(manifest.line)
        if rules is None:
            return ()
        others = {one.release: one for one in (promoted, parent) if one is not None}
        return tuple(_checks(rules, manifest, tuple(others.values()), size_bytes))


def read_gate(file: Path | None = None) -> Gate:
    """Return the rules in a file; by default those that come along.

    Raises:
        ConfigInvalid: Names everything that is wrong with it.
    """
    path = file or DEFAULT_FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Gate.model_validate({} if content is None else content)
    except yaml.YAMLError as error:
        raise ConfigInvalid([f"{path}: no YAML: {' '.join(str(error).split())}"]) from error
    except ValidationError as error:
        faults = [
            f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        ]
        raise ConfigInvalid(faults) from error


def _checks(
    rules: LineRules, manifest: Manifest, others: Sequence[Manifest], size_bytes: int
) -> Iterator[Check]:
    metrics = manifest.metrics
    yield from _bounds("floor", rules.floors, metrics, least=True)
    yield from _bounds("ceiling", rules.ceilings, metrics)
    yield from _bounds("calibration", rules.calibration, metrics)
    yield from _bounds("fairness", _measured(rules.fairness, metrics), metrics)
    if rules.not_worse_than_promoted is not None:
        for other in others:
            yield from _not_worse(rules.not_worse_than_promoted, manifest, other)
    if rules.size_bytes is not None:
        yield _at_most("size", size_bytes, rules.size_bytes, "bytes")
    if rules.latency_ms is not None and manifest.latency:
        latency = manifest.latency.get(FUSED) or next(iter(manifest.latency.values()))
        yield _at_most("latency, median of one row", latency.median_ms, rules.latency_ms, "ms")


def _measured(bounds: Bounds, metrics: Mapping[str, Mapping[str, Metric]]) -> Bounds:
    """Return the bounds that have a metric, and those of metrics that all of them look past."""
    looked_at = {name for split in bounds for name in metrics.get(split, {})}
    missed = {name for found in metrics.values() for name in found} - looked_at
    return {
        split: {
            name: bound
            for name, bound in wanted.items()
            if name in metrics.get(split, {}) or name in missed
        }
        for split, wanted in bounds.items()
    }


def _bounds(
    kind: str,
    bounds: Bounds,
    metrics: Mapping[str, Mapping[str, Metric]],
    *,
    least: bool = False,
) -> Iterator[Check]:
    for split, wanted in bounds.items():
        for name, bound in wanted.items():
            metric = metrics.get(split, {}).get(name)
            passed = metric is not None and (
                metric.value >= bound if least else metric.value <= bound
            )
            yield Check(
                name=f"{kind}: {split} {name}",
                wanted=f"at {'least' if least else 'most'} {bound:g}",
                found="not measured" if metric is None else f"{metric.value:.4f}",
                passed=passed,
            )


def _not_worse(rule: NotWorse, manifest: Manifest, promoted: Manifest) -> Iterator[Check]:
    ours, theirs = manifest.metrics.get(rule.split, {}), promoted.metrics.get(rule.split, {})
    other_data = manifest.data.split_sha256 != promoted.data.split_sha256
    for name in rule.metrics:
        known, metric = theirs.get(name), ours.get(name)
        if known is None:
            continue
        lower = name in LOWER_IS_BETTER
        bound = known.high if lower else known.low
        passed = metric is not None and (metric.value <= bound if lower else metric.value >= bound)
        yield Check(
            name=f"not worse than {promoted.release}: {rule.split} {name}",
            wanted=f"at {'most' if lower else 'least'} {bound:.4f} (it has {known.value:.4f})",
            found=("not measured" if metric is None else f"{metric.value:.4f}")
            + (", on other rows" if other_data else ""),
            passed=passed,
        )


def _at_most(name: str, value: float, bound: float, unit: str) -> Check:
    return Check(
        name=name,
        wanted=f"at most {bound:g} {unit}",
        found=f"{value:g} {unit}",
        passed=value <= bound,
    )
