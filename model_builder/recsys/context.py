"""What else is known about the moment of a request: columns of the log, read like a table's.

The rules are those of tables: a missing value is the typical one, a number outside its range is
clipped, an unknown category counts as missing; what was done comes back with the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import polars as pl

from model_builder.tabular.columns import Column
from model_builder.tabular.encoding import Encoding, fit_encoding
from model_builder.tabular.preparation import prepare
from model_builder.tabular.prepare_graph import prepare_graph
from model_builder.tabular.schema import infer_features
from model_builder.tabular.table import Table
from triton_models.release import FeatureSpec

Value = float | str
_PIECES = 8
"""Of a number: the hour of a day is good early and late."""
MAX_CATEGORIES = 100
"""The most frequent ones are told apart, the others count as unknown."""


@dataclass(frozen=True)
class Context:
    """The schema of a context and how it is prepared for the ranker."""

    encoding: Encoding

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """What a client may send."""
        return self.encoding.features

    @property
    def width(self) -> int:
        """``Q``, columns of the ranker's input."""
        return len(self.encoding.slots)

    def graph(self) -> onnx.ModelProto:
        """Return the step that prepares: ``inputs`` ``(B, Q)`` and ``input_rules`` ``(B, F)``."""
        return prepare_graph(self.encoding)

    def tensors(self, rows: Sequence[Mapping[str, Value]]) -> dict[str, npt.NDArray[np.generic]]:
        """Return ``numbers`` ``(B, N)`` and ``categories`` ``(B, S)``, those that there are."""
        return context_tensors(self.features, rows)

    def prepare(
        self, tensors: Mapping[str, npt.NDArray[np.generic]]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Return ``inputs`` and ``input_rules`` as numpy has them, apart from the graph."""
        rows = len(next(iter(tensors.values())))
        numbers = tensors.get("numbers", np.empty((rows, 0), np.float32))
        categories = tensors.get("categories", np.empty((rows, 0), np.object_))
        return prepare(self.encoding, numbers.astype(np.float32), categories.astype(np.object_))


def context_tensors(
    features: Sequence[FeatureSpec], rows: Sequence[Mapping[str, Value]]
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the tensors of a release with these features; what a row has not is missing."""
    numbers = [spec.name for spec in features if spec.kind == "number"]
    categories = [spec.name for spec in features if spec.kind == "category"]
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    if numbers:
        cells = [[row.get(name, np.nan) for name in numbers] for row in rows]
        tensors["numbers"] = np.array(cells, np.float32).reshape(len(rows), len(numbers))
    if categories:
        words = [[row.get(name, "") for name in categories] for row in rows]
        tensors["categories"] = np.array(words, np.object_).reshape(len(rows), len(categories))
    return tensors


def fit_context(columns: Mapping[str, pl.Series]) -> Context:
    """Return the context that these columns of what is learnt from make.

    Args:
        columns: By name, ``(rows,)`` each: numbers, or texts; null where there is nothing.
    """
    described = tuple(
        Column(
            name,
            "quantity" if values.dtype.is_numeric() else "category",
            categories=() if values.dtype.is_numeric() else _frequent(values),
        )
        for name, values in columns.items()
    )
    cells = {name: _cells(values) for name, values in columns.items()}
    rows = len(next(iter(cells.values())))
    table = Table(described, cells, np.zeros(rows, np.int64), ())
    features = infer_features(table, np.arange(rows))
    return Context(fit_encoding(features, table.numbers, table.categories, _PIECES))


def context_rows(
    columns: Mapping[str, pl.Series], places: npt.NDArray[np.int64]
) -> list[dict[str, Value]]:
    """Return the context of some interactions as requests carry it; what is missing is left out."""
    chosen = {name: values.gather(places).to_list() for name, values in columns.items()}
    return [
        {name: value for name, value in zip(chosen, row, strict=True) if value is not None}
        for row in zip(*chosen.values(), strict=True)
    ]


def _cells(values: pl.Series) -> npt.NDArray[np.generic]:
    if values.dtype.is_numeric():
        return values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return np.array(values.cast(pl.String).fill_null("").to_list(), np.object_)


def _frequent(values: pl.Series) -> tuple[str, ...]:
    counted = values.cast(pl.String).drop_nulls().value_counts(sort=True)
    return tuple(sorted(counted[values.name].head(MAX_CATEGORIES).to_list()))
