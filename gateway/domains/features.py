"""Named features against the schema of a release: checks, and the way into tensors and back."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.domains.plans import FEATURE_PLANS, Row
from gateway.domains.validation import (
    MAX_ID_LENGTH,
    Violations,
    check_count,
    check_text,
    entry,
    shown,
)
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.common.v1.input_note_pb2 import InputNote
from triton_models.release import FeatureSpec, Manifest

MAX_NAME_LENGTH = MAX_ID_LENGTH
_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_MAX_LISTED = 12
_MAX_HINTS = 10
"""Close matches are looked up for the first violations only: each takes milliseconds."""

Value = float | str | None
"""A number, a category, or nothing: the feature is missing."""


@dataclass(frozen=True)
class FeatureMap:
    """A map of features in a request: where it stands and how many entries it takes."""

    path: str
    low: int
    high: int
    number: str = ".number"
    """What follows the path of an entry to its number."""
    category: str = ".category"

    def of(self, name: str) -> str:
        """Return the path of an entry."""
        return entry(self.path, name)

    def value(self, name: str, value: float | str) -> str:
        """Return the path of the value of an entry."""
        return self.of(name) + (self.category if isinstance(value, str) else self.number)


def plain(values: Mapping[str, FeatureValue]) -> dict[str, Value]:
    """Return what a map of ``FeatureValue`` holds."""
    return {name: plain_value(value) for name, value in values.items()}


def plain_value(value: FeatureValue) -> Value:
    """Return what one ``FeatureValue`` holds."""
    kind = value.WhichOneof("kind")
    if kind == "number":
        return value.number
    return value.category if kind else None


def check_values(violations: Violations, where: FeatureMap, values: Mapping[str, Value]) -> None:
    """Check what no schema is needed for: how many, the length of names, finite numbers.

    Args:
        violations: Takes what is wrong.
        where: The map's place and limits.
        values: By name.
    """
    if not check_count(violations, where.path, values, where.low, where.high):
        return
    for name, value in values.items():
        if len(name) > MAX_NAME_LENGTH:  # too long to be quoted as a path, too
            text = f"must have names of at most {MAX_NAME_LENGTH} characters, got {len(name)}"
            violations.add(where.path, text)
        elif isinstance(value, str):
            if not 1 <= len(value) <= MAX_ID_LENGTH or "\0" in value:
                check_text(violations, where.value(name, value), value, 1, MAX_ID_LENGTH)
        elif value is not None and not -_MAX_FLOAT32 <= value <= _MAX_FLOAT32:
            largest = f"must be at most {_MAX_FLOAT32:.3g} in size"
            accepted = largest if math.isfinite(value) else "must be finite"
            violations.add(where.value(name, value), f"{accepted}, got {value}")


def check_features(
    violations: Violations, where: FeatureMap, values: Mapping[str, Value], manifest: Manifest
) -> None:
    """Check named values against the schema of a release, after :func:`check_values`.

    Args:
        violations: Takes what is wrong.
        where: The map's place and limits.
        values: By name.
        manifest: Has the schema.
    """
    if len(values) > where.high:
        return
    specs = manifest.features_by_name
    for name, value in values.items():
        spec = specs.get(name)
        if spec is None:
            if len(name) <= MAX_NAME_LENGTH:
                hint = len(violations.found) < _MAX_HINTS
                violations.add(where.of(name), _unknown_name(name, manifest, hint=hint))
        elif value is not None:
            _check_value(violations, where.value(name, value), value, spec)
    for spec in manifest.features:
        if spec.missing_rule == "refuse" and values.get(spec.name) is None:
            violations.add(where.of(spec.name), "is required, got nothing")


def checked_row(values: Mapping[str, Value], manifest: Manifest) -> Row:
    """Return the row of checked features by name; what is missing may be left out."""
    numbers = {name: value for name, value in values.items() if isinstance(value, float | int)}
    categories = [b""] * len(manifest.category_places)
    for name, value in values.items():
        if isinstance(value, str):
            categories[manifest.category_places[name]] = value.encode()
    return FEATURE_PLANS.of(manifest).pack(numbers), tuple(categories)


def rows_to_tensors(rows: Sequence[Row], manifest: Manifest) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of rows.

    Args:
        rows: One for each request.
        manifest: Has the schema.

    Returns:
        ``numbers``: ``(B, N)`` float32, raw units, NaN is missing; only if the schema has numbers.
        ``categories``: ``(B, S)`` object of bytes, ``b""`` is missing; only if it has categories.
    """
    tensors: dict[str, npt.NDArray[Any]] = {}
    if manifest.number_places:
        raw = b"".join([numbers for numbers, _ in rows])
        tensors["numbers"] = np.frombuffer(raw, "<f4").reshape(len(rows), -1)
    if manifest.category_places:
        tensors["categories"] = np.array([categories for _, categories in rows], np.object_)
    return tensors


def input_notes(rules: npt.NDArray[Any], manifest: Manifest) -> list[InputNote]:
    """Return a note for each feature that a rule was applied to.

    Args:
        rules: ``(F,)`` int32, the ``RULE_*`` that fired, in the order of the schema.
        manifest: Has the schema.
    """
    return [
        InputNote(feature=spec.name, rule=rule)
        for spec, rule in zip(manifest.features, rules.tolist(), strict=True)
        if rule
    ]


def _unknown_name(name: str, manifest: Manifest, *, hint: bool) -> str:
    known = list(manifest.features_by_name)
    which = f"release '{manifest.release}' of '{manifest.line}'"
    if not known:
        return f"must be left out: {which} takes no features"
    close = difflib.get_close_matches(name, known, n=1) if hint else ()
    advice = f"did you mean {shown(close[0])}?" if close else "GetModel lists them"
    return f"is not a feature of {which}; {advice}"


def _check_value(violations: Violations, path: str, value: float | str, spec: FeatureSpec) -> None:
    if isinstance(value, str):
        if spec.kind == "number":
            violations.add(path, f"must be a number, got the category {shown(value)}")
        elif spec.unknown_rule == "refuse" and value not in spec.categories:
            violations.add(path, f"must be one of {_listed(spec.categories)}, got {shown(value)}")
    elif spec.kind == "category":
        violations.add(path, f"must be a category, got the number {value}")
    elif spec.unknown_rule == "refuse":
        _check_known_number(violations, path, value, spec)


def _check_known_number(violations: Violations, path: str, value: float, spec: FeatureSpec) -> None:
    if spec.codes and value not in spec.codes:
        violations.add(path, f"must be one of {_listed(spec.codes)}, got {value}")
    if value in spec.special_codes:
        return
    low = -math.inf if spec.minimum is None else spec.minimum
    high = math.inf if spec.maximum is None else spec.maximum
    if not low <= value <= high:
        violations.add(path, f"must be in [{low}, {high}], got {value}")


def _listed(values: Sequence[object]) -> str:
    names = [shown(value) for value in values[:_MAX_LISTED]]
    more = f" and {len(values) - _MAX_LISTED} more" if len(values) > _MAX_LISTED else ""
    return ", ".join(names) + more
