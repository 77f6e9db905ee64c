"""The step that runs an imported network: once for the row, and once for each feature reset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import spox.opset.ai.onnx.v18 as op
from spox import Tensor, Var, argument, build, inline

from model_builder.export.constants import int64s
from model_builder.importing.mapping import Mapped, data_type
from triton_models.signatures import NUMPY_TYPES

Gives = Literal["logits", "probabilities"]

SMALLEST = 1e-5
"""Probabilities are kept this far from 0 and 1: beyond it a float32 has no digits left."""


@dataclass(frozen=True)
class Taken:
    """One tensor that the network reads, of ``C`` columns."""

    name: str
    """As the step before calls it."""
    place: str
    """As the mapping calls it."""
    values: npt.NDArray[Any]
    """``(rows, C)``, of the whole table."""
    owners: npt.NDArray[np.bool_]
    """``(F, C)``: whether a column belongs to a feature."""
    typical: npt.NDArray[Any]
    """``(C,)``, of a row that is typical throughout."""

    def variants(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return ``(rows * (F + 1), C)``: each row, then with each feature reset."""
        row = self.values[rows][:, None]  # (rows, 1, C)
        reset = np.where(self.owners, self.typical, row)  # (rows, F, C)
        return np.concatenate([row, reset], axis=1).reshape(-1, row.shape[2])

    def moved(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return ``(rows, F)``: whether a reset changes the row."""
        row = self.values[rows][:, None]
        return np.asarray((np.where(self.owners, self.typical, row) != row).any(axis=2))


def core_graph(
    model: onnx.ModelProto,
    mapped: Mapped,
    taken: Sequence[Taken],
    *,
    gives: Gives,
    width: int,
    classes: int,
) -> onnx.ModelProto:
    """Return the graph from the tensors of ``taken`` to ``logits`` and ``reset_logits``.

    Args:
        model: The imported network.
        mapped: Its names for the places.
        taken: What it reads; each ``(B, C)``.
        gives: What its one output is.
        width: Columns of that: K, or 1 for two classes.
        classes: K; 1 for the log-odds of class 1.

    Returns:
        ``logits``: ``(B, K)`` float32. ``reset_logits``: ``(B, F, K)`` float32, with feature F at
        its typical value, and exactly the row's own where that changes nothing.
    """
    arguments: dict[str, Var] = {}
    feeds: dict[str, Var] = {}
    moved: Var | None = None
    for each in taken:
        columns = each.values.shape[1]
        given = argument(Tensor(each.values.dtype.type, ("B", columns)))
        arguments[each.name] = given
        row = op.unsqueeze(given, int64s(1))  # (B, 1, C)
        reset = op.where(op.const(each.owners), op.const(each.typical), row)  # (B, F, C)
        variants = op.reshape(op.concat([row, reset], axis=1), int64s(-1, columns))
        wanted = NUMPY_TYPES[data_type(model, mapped.inputs[each.place])]
        if wanted != each.values.dtype.type:
            variants = op.cast(variants, to=wanted)
        feeds[mapped.inputs[each.place]] = variants
        differs = op.cast(op.not_(op.equal(reset, row)), to=np.float32)
        differs = op.reduce_max(differs, int64s(2), keepdims=1)  # (B, F, 1)
        moved = differs if moved is None else op.max([moved, differs])
    assert moved is not None
    features = taken[0].owners.shape[0]
    answer = inline(model)(**feeds)[mapped.outputs[gives]]  # (B * (F + 1), width)
    answers = op.reshape(_logits(answer, gives, width, classes), int64s(-1, features + 1, classes))
    first = op.slice(answers, int64s(0), int64s(1), int64s(1))  # (B, 1, K)
    others = op.slice(answers, int64s(1), int64s(features + 1), int64s(1))  # (B, F, K)
    return build(
        arguments,
        {
            "logits": op.squeeze(first, int64s(1)),
            "reset_logits": op.where(op.greater(moved, op.const(np.float32(0))), others, first),
        },
    )


def logits_of(answer: npt.NDArray[Any], gives: Gives, classes: int) -> npt.NDArray[np.float32]:
    """Return ``(rows, K)`` logits of what a network gave; the yardstick of the graph.

    Args:
        answer: ``(rows, width)``: K columns, or 1 for two classes.
        gives: What it is.
        classes: K; 1 for the log-odds of class 1.
    """
    values = answer.astype(np.float64)
    if gives == "probabilities":
        values = np.clip(values, SMALLEST, 1 - SMALLEST)
        values = np.log(values) - (np.log1p(-values) if values.shape[1] == 1 else 0)
    if values.shape[1] < classes:
        values = np.concatenate([np.zeros_like(values), values], axis=1)
    return values.astype(np.float32)


def _logits(answer: Var, gives: Gives, width: int, classes: int) -> Var:
    values = answer
    if gives == "probabilities":
        one = op.const(np.float32(1))
        values = op.clip(values, op.const(np.float32(SMALLEST)), op.const(np.float32(1 - SMALLEST)))
        logarithm = op.log(values)
        values = op.sub(logarithm, op.log(op.sub(one, values))) if width == 1 else logarithm
    if width < classes:  # of two classes, the first has the logit 0
        values = op.concat([op.mul(values, op.const(np.float32(0))), values], axis=1)
    return values
