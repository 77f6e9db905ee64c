"""Every tensor of every line, declared once.

The exporter takes ONNX names and ``config.pbtxt`` from here, the gateway its
mapping and its check at load time. Axis letters are those of the whole project:
``B`` batch (never listed: every tensor has it first), ``T`` position in a
history or a note, ``C`` candidate, ``X`` excluded item, ``R`` rank, ``J`` because,
``F`` feature, ``N`` number feature, ``S`` category feature, ``K`` class,
``Y`` row and ``X`` column of an image (``X`` is an excluded item elsewhere), ``y`` and ``x``
those of a map over it, ``C`` its channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from triton_models.limits import MAX_BATCH_ROWS as MAX_BATCH_ROWS

DataType = Literal["BOOL", "UINT8", "INT32", "INT64", "FP32", "BYTES"]

ANY = -1
"""The size of an axis that a release, or a call, decides."""

NUMPY_TYPES: Mapping[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP32": np.float32,
    "BYTES": np.object_,
}
"""What an array of a tensor's type is of; ``object`` holds ``bytes`` or ``str``."""


@dataclass(frozen=True)
class Axis:
    """One axis after the batch axis."""

    letter: str
    size: int = ANY


@dataclass(frozen=True)
class TensorSpec:
    """One tensor that crosses the border of an ensemble."""

    name: str
    data_type: DataType
    axes: tuple[Axis, ...]
    meaning: str
    optional: bool = False
    """Whether a release may lack it."""

    @property
    def dims(self) -> tuple[int, ...]:
        """The sizes after the batch axis, as in ``config.pbtxt``; -1 varies."""
        return tuple(axis.size for axis in self.axes)

    @property
    def dtype(self) -> npt.DTypeLike:
        """The numpy type; ``object`` (holding ``bytes`` or ``str``) for ``BYTES``."""
        return np.dtype(NUMPY_TYPES[self.data_type])


@dataclass(frozen=True)
class Signature:
    """What goes into the ensemble of a line and what comes out."""

    line: str
    domain: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


# Codes of the tensor ``input_rules``; the same numbers as ``trident.common.v1.InputRule``.
RULE_NONE = 0
RULE_IMPUTED = 1
RULE_CLIPPED_TO_MINIMUM = 2
RULE_CLIPPED_TO_MAXIMUM = 3
RULE_OUT_OF_RANGE_AS_MISSING = 4
RULE_UNKNOWN_AS_MISSING = 5
RULE_TRUNCATED = 6  # of a note; no tensor has it

MAX_ITEMS = 100
"""The longest list of recommendations."""

BECAUSE_ITEMS = 2
"""History items named for each recommendation."""

_NUMBERS = TensorSpec(
    "numbers",
    "FP32",
    (Axis("N"),),
    "the NUMBER features in the order of the schema, raw units; NaN is missing",
    optional=True,
)
_CATEGORIES = TensorSpec(
    "categories",
    "BYTES",
    (Axis("S"),),
    "the CATEGORY features in the order of the schema; '' is missing",
    optional=True,
)
_INPUT_RULES = TensorSpec(
    "input_rules", "INT32", (Axis("F"),), "the RULE_* that fired, in the order of the schema"
)
_CONTEXT_RULES = replace(_INPUT_RULES, optional=True)

RECOMMEND = Signature(
    line="recommend",
    domain="recommend",
    inputs=(
        TensorSpec(
            "history_item_ids", "BYTES", (Axis("T"),), "IDs, oldest first; '' is padding, anywhere"
        ),
        TensorSpec(
            "candidate_item_ids", "BYTES", (Axis("C"),), "rank only these; a row of '' ranks all"
        ),
        TensorSpec("excluded_item_ids", "BYTES", (Axis("X"),), "never recommended; '' is padding"),
        TensorSpec("history_allowed", "BOOL", (Axis("1", 1),), "history items may come again"),
        TensorSpec(
            "item_count",
            "INT32",
            (Axis("1", 1),),
            "items wanted, in [1, 100]; R is the greatest of the batch",
        ),
        TensorSpec(
            "history_times",
            "INT64",
            (Axis("T"),),
            "when each item of the history was had, in seconds since 1970; 0 is not known",
            optional=True,
        ),
        TensorSpec(
            "request_time",
            "INT64",
            (Axis("1", 1),),
            "when the request is made, in seconds since 1970; 0 is not known",
            optional=True,
        ),
        _NUMBERS,
        _CATEGORIES,
    ),
    outputs=(
        TensorSpec("item_ids", "BYTES", (Axis("R"),), "best first; '' where there is no item"),
        TensorSpec(
            "scores", "FP32", (Axis("R"),), "softmax over the shortlist; 0 where there is no item"
        ),
        TensorSpec(
            "because_positions",
            "INT32",
            (Axis("R"), Axis("J", BECAUSE_ITEMS)),
            "0-based positions in history_item_ids as sent, most similar first; -1 is none",
        ),
        TensorSpec("history_known", "BOOL", (Axis("T"),), "in the catalogue; true for padding"),
        TensorSpec("candidate_known", "BOOL", (Axis("C"),), "in the catalogue; true for padding"),
        TensorSpec("excluded_known", "BOOL", (Axis("X"),), "in the catalogue; true for padding"),
        _CONTEXT_RULES,
    ),
)

_PROBABILITIES = TensorSpec(
    "probabilities", "FP32", (Axis("K"),), "calibrated, in the order of the labels"
)
_UNUSUALNESS = TensorSpec(
    "unusualness",
    "FP32",
    (Axis("1", 1),),
    "distance from the training data; above 1 it is unlike them",
)

DIAGNOSE_IMAGE = Signature(
    line="diagnose-image",
    domain="diagnose",
    inputs=(
        TensorSpec(
            "pixels",
            "UINT8",
            (Axis("Y"), Axis("X"), Axis("C")),
            "as ``ImageSpec`` says, 0 is black",
        ),
    ),
    outputs=(
        _PROBABILITIES,
        _UNUSUALNESS,
        TensorSpec(
            "saliency",
            "FP32",
            (Axis("y"), Axis("x")),
            "where the evidence for the likeliest class lies, in [0, 1]",
        ),
    ),
)

DIAGNOSE_NOTE = Signature(
    line="diagnose-note",
    domain="diagnose",
    inputs=(
        TensorSpec("token_ids", "INT32", (Axis("T"),), "of the release's tokenizer; padded right"),
        TensorSpec("attention_mask", "INT32", (Axis("T"),), "1 for a token, 0 for padding"),
    ),
    outputs=(
        _PROBABILITIES,
        _UNUSUALNESS,
        TensorSpec(
            "token_weights",
            "FP32",
            (Axis("T"),),
            "by how much a token lifts the likeliest class above the mean of the others, in units "
            "of the tempered logits; 0 at padding",
        ),
    ),
)

DIAGNOSE_MEASUREMENTS = Signature(
    line="diagnose-measurements",
    domain="diagnose",
    inputs=(_NUMBERS,),
    outputs=(
        _PROBABILITIES,
        TensorSpec(
            "contributions",
            "FP32",
            (Axis("F"), Axis("K")),
            "fall of the log-odds of class K when feature F is set to its typical value",
        ),
        _INPUT_RULES,
    ),
)

SCORE_RISK = Signature(
    line="score-risk",
    domain="risk",
    inputs=(_NUMBERS, _CATEGORIES),
    outputs=(
        TensorSpec("default_probability", "FP32", (Axis("1", 1),), "calibrated, in [0, 1]"),
        TensorSpec("score", "FP32", (Axis("1", 1),), "in [300, 850], higher is safer"),
        TensorSpec(
            "contributions",
            "FP32",
            (Axis("F"),),
            "shares of how far the log-odds of default lie from those of a typical row",
        ),
        _INPUT_RULES,
    ),
)

SIGNATURES: dict[str, Signature] = {
    signature.line: signature
    for signature in (
        RECOMMEND,
        DIAGNOSE_IMAGE,
        DIAGNOSE_NOTE,
        DIAGNOSE_MEASUREMENTS,
        SCORE_RISK,
    )
}

DOMAIN_LINES: dict[str, tuple[str, ...]] = {
    "recommend": ("recommend",),
    "diagnose": ("diagnose-image", "diagnose-note", "diagnose-measurements"),
    "risk": ("score-risk",),
}
"""Every line of every domain."""
