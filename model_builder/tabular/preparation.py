"""The preparation in numpy: what training sees, and the yardstick of the exported graph.

The rules of :mod:`triton_models.signatures`, feature by feature, first match wins:

- missing (NaN or ''): the typical value, ``RULE_IMPUTED``;
- a code or category that is not in the schema: as missing, ``RULE_UNKNOWN_AS_MISSING``;
- a special code of a quantity: itself, ``RULE_NONE``, wherever its range is;
- a quantity outside ``[minimum, maximum]``: the nearer end if the feature's ``unknown_rule``
  is ``clip``, ``RULE_CLIPPED_TO_…``; else as missing, ``RULE_OUT_OF_RANGE_AS_MISSING``;
- anything else: itself, ``RULE_NONE``.

Ends and codes are compared as float32, as they come in the tensor. The exported graph is
written apart from this module on purpose, so that comparing the two finds mistakes in either.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model_builder.tabular.encoding import Encoding
from triton_models.release import FeatureSpec
from triton_models.signatures import (
    RULE_CLIPPED_TO_MAXIMUM,
    RULE_CLIPPED_TO_MINIMUM,
    RULE_IMPUTED,
    RULE_NONE,
    RULE_OUT_OF_RANGE_AS_MISSING,
    RULE_UNKNOWN_AS_MISSING,
)

_AS_MISSING = (RULE_IMPUTED, RULE_OUT_OF_RANGE_AS_MISSING, RULE_UNKNOWN_AS_MISSING)


def prepare(
    encoding: Encoding,
    numbers: npt.NDArray[np.float32],
    categories: npt.NDArray[np.object_],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Return the network's input and the rules that fired.

    Args:
        encoding: F features, D columns.
        numbers: ``(B, N)`` float32, raw units, NaN is missing.
        categories: ``(B, S)`` of ``str``, '' is missing.

    Returns:
        ``inputs``: ``(B, D)`` float32, scaled or 0/1. ``input_rules``: ``(B, F)`` int32,
        a ``RULE_*``.
    """
    rows = max(len(numbers), len(categories))
    clean, rules = clean_values(encoding, numbers, categories)
    inputs = np.zeros((rows, len(encoding.slots)), np.float32)
    for d, slot in enumerate(encoding.slots):
        values = clean[slot.feature]
        if slot.kind in ("scaled", "piece"):
            feature = encoding.features[slot.feature]
            special = np.isin(values, np.array(feature.specials, np.float32))
            inputs[:, d] = slot.of_quantity(np.where(special, np.float32(feature.minimum), values))
        elif slot.kind == "missing":
            inputs[:, d] = np.isin(rules[:, slot.feature], _AS_MISSING)
        elif slot.kind == "code":
            inputs[:, d] = values == np.float32(slot.value)
        else:
            inputs[:, d] = values == slot.value
    return inputs, rules


def clean_values(
    encoding: Encoding,
    numbers: npt.NDArray[np.float32],
    categories: npt.NDArray[np.object_],
) -> tuple[list[npt.NDArray[np.generic]], npt.NDArray[np.int32]]:
    """Return what the rules leave of each feature, and the rules that fired.

    Args:
        encoding: F features.
        numbers: ``(B, N)`` float32, raw units, NaN is missing.
        categories: ``(B, S)`` of ``str``, '' is missing.

    Returns:
        F arrays ``(B,)``, float32 in raw units or ``str``, none missing; ``(B, F)`` int32.
    """
    rows = max(len(numbers), len(categories))
    rules = np.zeros((rows, len(encoding.features)), np.int32)
    clean: list[npt.NDArray[np.generic]] = []
    n = s = 0
    for f, feature in enumerate(encoding.features):
        if feature.kind == "category":
            values, rules[:, f] = _clean_words(feature, categories[:, s])
            s += 1
        else:
            values, rules[:, f] = _clean_numbers(feature, numbers[:, n])
            n += 1
        clean.append(values)
    return clean, rules


def _clean_words(
    feature: FeatureSpec, words: npt.NDArray[np.object_]
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.int32]]:
    known = set(feature.categories)
    rules = [
        RULE_IMPUTED if word == "" else RULE_NONE if word in known else RULE_UNKNOWN_AS_MISSING
        for word in words
    ]
    clean = [word if word in known else feature.typical for word in words]
    return np.array(clean, np.object_), np.array(rules, np.int32)


def _clean_numbers(
    feature: FeatureSpec, numbers: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    assert isinstance(feature.typical, float)
    assert feature.minimum is not None
    assert feature.maximum is not None
    typical = np.float32(feature.typical)
    clean = numbers.astype(np.float32)
    rules = np.full(len(numbers), RULE_NONE, np.int32)
    missing = np.isnan(clean)
    clean[missing], rules[missing] = typical, RULE_IMPUTED
    if feature.codes:
        unknown = ~missing & ~np.isin(clean, np.array(feature.codes, np.float32))
        clean[unknown], rules[unknown] = typical, RULE_UNKNOWN_AS_MISSING
        return clean, rules
    low, high = np.float32(feature.minimum), np.float32(feature.maximum)
    plain = ~missing & ~np.isin(clean, np.array(feature.specials, np.float32))
    for outside, end, rule in (
        (plain & (clean < low), low, RULE_CLIPPED_TO_MINIMUM),
        (plain & (clean > high), high, RULE_CLIPPED_TO_MAXIMUM),
    ):
        clips = feature.unknown_rule == "clip"
        clean[outside] = end if clips else typical
        rules[outside] = rule if clips else RULE_OUT_OF_RANGE_AS_MISSING
    return clean, rules
