"""The preparation as an ONNX graph: the step ``prepare`` of a release."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
import spox.opset.ai.onnx.ml.v3 as ml
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, Var, argument, build

from model_builder.tabular.encoding import SOFT_LIMIT, Encoding, Slot
from triton_models.release import FeatureSpec
from triton_models.signatures import (
    RULE_CLIPPED_TO_MAXIMUM,
    RULE_CLIPPED_TO_MINIMUM,
    RULE_IMPUTED,
    RULE_NONE,
    RULE_OUT_OF_RANGE_AS_MISSING,
    RULE_UNKNOWN_AS_MISSING,
)

_NO_LIMIT = float(np.finfo(np.float32).max)
_EMPTY, _UNKNOWN = -2, -1


def prepare_graph(encoding: Encoding) -> onnx.ModelProto:
    """Return the graph from ``numbers`` and ``categories`` to ``inputs`` and ``input_rules``.

    ``numbers``: ``(B, N)`` float32, raw units, NaN is missing; only if there are any.
    ``categories``: ``(B, S)`` strings, '' is missing; only if there are any.
    ``inputs``: ``(B, D)`` float32, the columns of :mod:`model_builder.tabular.encoding`.
    ``input_rules``: ``(B, F)`` int32, a ``RULE_*`` for each feature.
    """
    features = encoding.features
    number_places = [f for f, feature in enumerate(features) if feature.kind == "number"]
    word_places = [f for f, feature in enumerate(features) if feature.kind == "category"]
    arguments: dict[str, Var] = {}
    columns: list[Var] = []
    rules: list[Var] = []
    if number_places:
        numbers = argument(Tensor(np.float32, ("B", len(number_places))))
        arguments["numbers"] = numbers
        clean, fired = _clean_numbers(numbers, [features[f] for f in number_places])
        columns += _number_columns(encoding, clean, number_places)
        rules.append(fired)
    if word_places:
        categories = argument(Tensor(np.str_, ("B", len(word_places))))
        arguments["categories"] = categories
        places, fired = _clean_words(categories, [features[f] for f in word_places])
        columns.append(_word_columns(encoding, places, word_places))
        rules.append(fired)

    input_rules = _in_schema_order(op.concat(rules, axis=1), [*number_places, *word_places])
    columns += _missing_columns(encoding, input_rules)
    outputs = {"inputs": op.concat(columns, axis=1), "input_rules": input_rules}
    return build(arguments, outputs)


def clean_graph(encoding: Encoding) -> onnx.ModelProto:
    """Return the graph from ``numbers`` and ``categories`` to what the rules leave of them.

    ``clean_numbers``: ``(B, N)`` float32, raw units, none missing; only if there are any.
    ``category_places``: ``(B, S)`` int64, the place of each category in the list of its
    feature; only if there are any. ``input_rules``: ``(B, F)`` int32, a ``RULE_*``.
    """
    features = encoding.features
    number_places = [f for f, feature in enumerate(features) if feature.kind == "number"]
    word_places = [f for f, feature in enumerate(features) if feature.kind == "category"]
    arguments: dict[str, Var] = {}
    outputs: dict[str, Var] = {}
    rules: list[Var] = []
    if number_places:
        arguments["numbers"] = argument(Tensor(np.float32, ("B", len(number_places))))
        outputs["clean_numbers"], fired = _clean_numbers(
            arguments["numbers"], [features[f] for f in number_places]
        )
        rules.append(fired)
    if word_places:
        arguments["categories"] = argument(Tensor(np.str_, ("B", len(word_places))))
        outputs["category_places"], fired = _clean_words(
            arguments["categories"], [features[f] for f in word_places]
        )
        rules.append(fired)
    outputs["input_rules"] = _in_schema_order(
        op.concat(rules, axis=1), [*number_places, *word_places]
    )
    return build(arguments, outputs)


def _clean_numbers(numbers: Var, features: Sequence[FeatureSpec]) -> tuple[Var, Var]:
    """Return the values that the rules leave, ``(B, N)``, and the rules, ``(B, N)`` int32."""
    typical = _row([feature.typical for feature in features])
    low = _row([-_NO_LIMIT if feature.codes else feature.minimum for feature in features])
    high = _row([_NO_LIMIT if feature.codes else feature.maximum for feature in features])
    clips = op.const(np.array([[feature.unknown_rule == "clip" for feature in features]]))
    missing = op.isnan(numbers)
    present = op.where(missing, typical, numbers)
    below, above = op.less(present, low), op.greater(present, high)
    if any(feature.specials for feature in features):
        plain = op.not_(_is_one_of(present, [feature.specials for feature in features]))
        below, above = op.and_(below, plain), op.and_(above, plain)
    known = _known_codes(present, features)

    nearest = op.where(below, low, op.where(above, high, present))
    outside = op.or_(below, above)
    clean = op.where(op.and_(outside, op.not_(clips)), typical, nearest)
    clean = op.where(known, clean, typical)

    refused = op.where(clips, _rule(RULE_CLIPPED_TO_MINIMUM), _rule(RULE_OUT_OF_RANGE_AS_MISSING))
    exceeded = op.where(clips, _rule(RULE_CLIPPED_TO_MAXIMUM), _rule(RULE_OUT_OF_RANGE_AS_MISSING))
    fired = op.where(below, refused, op.where(above, exceeded, _rule(RULE_NONE)))
    fired = op.where(known, fired, _rule(RULE_UNKNOWN_AS_MISSING))
    return clean, op.where(missing, _rule(RULE_IMPUTED), fired)


def _known_codes(present: Var, features: Sequence[FeatureSpec]) -> Var:
    """Return ``(B, N)``: whether a number is no code, or one of its feature's codes."""
    quantity = op.const(np.array([[not feature.codes for feature in features]]))
    if not any(feature.codes for feature in features):
        return op.or_(op.equal(present, present), quantity)
    return op.or_(_is_one_of(present, [feature.codes for feature in features]), quantity)


def _is_one_of(present: Var, codes: Sequence[Sequence[float]]) -> Var:
    """Return ``(B, N)``: whether a number is one of the codes of its feature."""
    pairs = [(n, code) for n, some in enumerate(codes) for code in some]
    matches = _equals(present, [n for n, _ in pairs], [code for _, code in pairs])  # (B, codes)
    owner = np.zeros((len(pairs), len(codes)), np.float32)
    owner[np.arange(len(pairs)), [n for n, _ in pairs]] = 1
    return op.greater(op.matmul(matches, op.const(owner)), _row([0.0]))


def _number_columns(encoding: Encoding, clean: Var, places: Sequence[int]) -> list[Var]:
    columns = []
    features = [encoding.features[f] for f in places]
    on_scale = clean
    if any(feature.specials for feature in features):
        special = _is_one_of(clean, [feature.specials for feature in features])
        on_scale = op.where(special, _row([feature.minimum for feature in features]), clean)
    scaled = [slot for slot in encoding.slots if slot.kind == "scaled"]
    if scaled:
        share = op.div(_shares(on_scale, scaled, places), _row([SOFT_LIMIT]))
        bend = op.sqrt(op.add(_row([1.0]), op.mul(share, share)))
        columns.append(op.div(op.mul(share, _row([SOFT_LIMIT])), bend))
    pieces = [slot for slot in encoding.slots if slot.kind == "piece"]
    if pieces:
        nothing, whole = op.const(np.float32(0)), op.const(np.float32(1))
        columns.append(op.clip(_shares(on_scale, pieces, places), nothing, whole))
    codes = [slot for slot in encoding.slots if slot.kind == "code"]
    if codes:
        owners = [places.index(slot.feature) for slot in codes]
        columns.append(_equals(clean, owners, [slot.value for slot in codes]))
    return columns


def _shares(values: Var, slots: Sequence[Slot], places: Sequence[int]) -> Var:
    """Return ``(value - center) / scale`` for each slot, ``(B, len(slots))``."""
    of_slots = _take(values, [places.index(slot.feature) for slot in slots])
    moved = op.sub(of_slots, _row([slot.center for slot in slots]))
    return op.div(moved, _row([slot.scale for slot in slots]))


def _clean_words(categories: Var, features: Sequence[FeatureSpec]) -> tuple[Var, Var]:
    """Return each category's place in its feature, ``(B, S)`` int64, and the rules."""
    found = []
    for s, feature in enumerate(features):
        words = ["", *feature.categories]
        found.append(
            ml.label_encoder(
                _take(categories, [s]),
                keys_strings=words,
                values_int64s=[_EMPTY, *range(len(feature.categories))],
                default_int64=_UNKNOWN,
            )
        )
    places = op.concat(found, axis=1)  # (B, S)
    typical = [feature.categories.index(str(feature.typical)) for feature in features]
    empty = op.equal(places, op.const(np.array([[_EMPTY]])))
    unknown = op.equal(places, op.const(np.array([[_UNKNOWN]])))
    fired = op.where(unknown, _rule(RULE_UNKNOWN_AS_MISSING), _rule(RULE_NONE))
    fired = op.where(empty, _rule(RULE_IMPUTED), fired)
    absent = op.or_(empty, unknown)
    return op.where(absent, op.const(np.array([typical], np.int64)), places), fired


def _word_columns(encoding: Encoding, places: Var, word_places: Sequence[int]) -> Var:
    slots = [slot for slot in encoding.slots if slot.kind == "category"]
    owners = [word_places.index(slot.feature) for slot in slots]
    wanted = [encoding.features[slot.feature].categories.index(str(slot.value)) for slot in slots]
    hit = op.equal(_take(places, owners), op.const(np.array([wanted], np.int64)))
    return op.cast(hit, to=np.float32)


def _missing_columns(encoding: Encoding, rules: Var) -> list[Var]:
    watched = [slot.feature for slot in encoding.slots if slot.kind == "missing"]
    if not watched:
        return []
    fired = _take(rules, watched)
    absent = op.or_(
        op.equal(fired, _rule(RULE_IMPUTED)),
        op.greater_or_equal(fired, _rule(RULE_OUT_OF_RANGE_AS_MISSING)),
    )
    return [op.cast(absent, to=np.float32)]


def _in_schema_order(rules: Var, places: Sequence[int]) -> Var:
    return _take(rules, list(np.argsort(places)))


def _equals(values: Var, owners: Sequence[int], wanted: Sequence[float | str]) -> Var:
    """Return ``(B, len(owners))`` float32: 1 where the owner's value is the wanted one."""
    return op.cast(op.equal(_take(values, owners), _row(wanted)), to=np.float32)


def _take(values: Var, columns: Sequence[int]) -> Var:
    return op.gather(values, op.const(np.array(columns, np.int64)), axis=1)


def _row(values: Sequence[float | str | None]) -> Var:
    constants: npt.NDArray[np.float32] = np.array([values], np.float32)
    return op.const(constants)


def _rule(rule: int) -> Var:
    return op.const(np.array([[rule]], np.int32))
