"""Named features against the schema of a release: checks, and the way into tensors and back."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.common.v1.input_note_pb2 import InputNote

from gateway.domains.validation import (
    MAX_ID_LENGTH,
    Violations,
    check_length,
    entry,
    shown,
)
from triton_models.release import FeatureSpec, Manifest

_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_MAX_LISTED = 12

Value = float | str | None
"""A number, a category, or nothing: the feature is missing."""


def plain(value: FeatureValue) -> Value:
    """Return what a ``FeatureValue`` holds."""
    kind = value.WhichOneof("kind")
    if kind is None:
        return None
    return value.number if kind == "number" else value.category


def check_features(
    violations: Violations, path: str, values: Mapping[str, Value], manifest: Manifest
) -> None:
    """Check named values against the schema of a release.

    Args:
        violations: Takes what is wrong.
        path: The path of the map, such as ``features``.
        values: By name.
        manifest: Has the schema.
    """
    specs = manifest.features_by_name
    for name, value in values.items():
        spec = specs.get(name)
        if spec is None:
            violations.add(entry(path, name), _unknown_name(name, manifest))
        elif value is not None:
            _check_value(violations, entry(path, name), value, spec)
    for spec in manifest.features:
        if spec.missing_rule == "refuse" and values.get(spec.name) is None:
            violations.add(entry(path, spec.name), "is required, got nothing")


def features_to_tensors(
    rows: Sequence[Mapping[str, Value]], manifest: Manifest
) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of checked features, one row each.

    Args:
        rows: Checked values by name; what is missing may be left out.
        manifest: Has the schema.

    Returns:
        ``numbers``: ``(B, N)`` float32, raw units, NaN is missing; only if the schema has numbers.
        ``categories``: ``(B, S)`` object of bytes, ``b""`` is missing; only if it has categories.
    """
    number_places, category_places = manifest.number_places, manifest.category_places
    numbers = np.full((len(rows), len(number_places)), np.nan, np.float32)
    categories = np.full((len(rows), len(category_places)), b"", np.object_)
    for number, row in enumerate(rows):
        for name, value in row.items():
            if isinstance(value, str):
                categories[number, category_places[name]] = value.encode()
            elif value is not None:
                numbers[number, number_places[name]] = value
    tensors: dict[str, npt.NDArray[Any]] = {}
    if number_places:
        tensors["numbers"] = numbers
    if category_places:
        tensors["categories"] = categories
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


def _unknown_name(name: str, manifest: Manifest) -> str:
    known = list(manifest.features_by_name)
    which = f"release '{manifest.release}' of '{manifest.line}'"
    if not known:
        return f"{which} takes no features"
    close = difflib.get_close_matches(name[:MAX_ID_LENGTH], known, n=1)
    hint = f"; did you mean {shown(close[0])}?" if close else "; GetModel lists them"
    return f"is not a feature of {which}{hint}"


def _check_value(violations: Violations, path: str, value: float | str, spec: FeatureSpec) -> None:
    if isinstance(value, str):
        if spec.kind == "number":
            violations.add(path, f"must be a number, got the category {shown(value)}")
        elif not 1 <= len(value) <= MAX_ID_LENGTH:
            check_length(violations, path, value, 1, MAX_ID_LENGTH)
        elif spec.unknown_rule == "refuse" and value not in spec.categories:
            violations.add(path, f"must be one of {_listed(spec.categories)}, got {shown(value)}")
    elif spec.kind == "category":
        violations.add(path, f"must be a category, got the number {value}")
    elif not math.isfinite(value):
        violations.add(path, f"must be finite, got {value}")
    elif abs(value) > _MAX_FLOAT32:
        violations.add(path, f"must be at most {_MAX_FLOAT32:.3g} in size, got {value}")
    elif spec.unknown_rule == "refuse":
        _check_known_number(violations, path, value, spec)


def _check_known_number(violations: Violations, path: str, value: float, spec: FeatureSpec) -> None:
    if spec.codes and value not in spec.codes:
        violations.add(path, f"must be one of {_listed(spec.codes)}, got {value}")
    low = -math.inf if spec.minimum is None else spec.minimum
    high = math.inf if spec.maximum is None else spec.maximum
    if not low <= value <= high:
        violations.add(path, f"must be in [{low}, {high}], got {value}")


def _listed(values: Sequence[object]) -> str:
    names = [shown(value) for value in values[:_MAX_LISTED]]
    more = f" and {len(values) - _MAX_LISTED} more" if len(values) > _MAX_LISTED else ""
    return ", ".join(names) + more
