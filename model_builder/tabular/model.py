"""A table and a network that answers for it: what risk and diagnosis measure and export."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx

from model_builder.proof.recorded import Recorded, calibration_rows
from model_builder.tabular.encoding import Encoding
from model_builder.tabular.evaluation import (
    Floats,
    base_rate,
    cross_validated_regression,
    logistic_regression,
)
from model_builder.tabular.splits import Splits, protocol
from model_builder.tabular.table import Table
from model_builder.tabular.training import TabularConfig
from model_builder.task import ResolvedData
from triton_models.release import Compared, DataSource

Answers = dict[str, npt.NDArray[np.float32]]
Tensors = dict[str, npt.NDArray[np.generic]]
Explanation = Literal["reset_logits", "attributions"]
"""``(rows, F, K)``: the logits with each feature reset; or ``(rows, F)``: each feature's share of
the logit's distance from that of a typical row."""


@dataclass(frozen=True)
class TableModel(ABC):
    """A table, its splits and a network that answers for it, wherever it was trained."""

    table: Table
    splits: Splits
    encoding: Encoding
    inputs: npt.NDArray[np.float32]
    """``(rows, D)`` float32, prepared; all rows of the table."""
    rules: npt.NDArray[np.int32]
    """``(rows, F)`` int32, ``RULE_*``."""

    @property
    @abstractmethod
    def judged_logits(self) -> npt.NDArray[np.float32]:
        """``(judged rows, K)``: what is answered for rows that nothing has learnt from."""

    @property
    @abstractmethod
    def reference_logit(self) -> float:
        """The first logit of a row that is typical throughout."""

    @property
    def explanation(self) -> Explanation:
        """What explains the logits."""
        return "reset_logits"

    @abstractmethod
    def test_answers(self) -> Answers:
        """Return the ``logits`` ``(rows, K)`` and the explanation, for the test rows."""

    @abstractmethod
    def export(self) -> tuple[onnx.ModelProto, onnx.ModelProto]:
        """Return the steps that prepare and that run the network."""

    @property
    def parity_kind(self) -> Compared:
        """What the parity of a release is between."""
        return "torch-onnx"

    @property
    def own_tolerances(self) -> Mapping[str, float]:
        """Tolerances by output that stand in for a task's."""
        return {}

    @property
    def judged_target(self) -> npt.NDArray[np.int64]:
        """``(judged rows,)``, the class."""
        return self.table.target[self.splits.development][self.splits.judging]

    @property
    def judged_folds(self) -> npt.NDArray[np.int64]:
        """``(judged rows,)``: the fold of the first repeat; 0 for one validation split."""
        return self.splits.held_out[self.splits.judging].argmax(axis=1)

    def test_tensors(self) -> Tensors:
        """Return the ensemble's inputs for the test rows, as a client would send them."""
        return self.tensors(self.splits.test)

    def calibration(self, seed: int) -> Recorded:
        """Return some training rows, as a client would send them."""
        training = self.splits.training
        return Recorded(self.tensors(training[calibration_rows(len(training), seed)]), {})

    def tensors(self, rows: npt.NDArray[np.int64]) -> Tensors:
        """Return the ensemble's inputs for some rows, as a client would send them."""
        tensors = {
            "numbers": self.table.numbers[rows],
            "categories": self.table.categories[rows],
        }
        return {name: tensor for name, tensor in tensors.items() if tensor.shape[1]}

    def baselines(self, config: TabularConfig) -> dict[str, dict[str, Floats]]:
        """Return ``(rows, K)`` probabilities by baseline and split, for the same rows."""
        splits, target = self.splits, self.table.target
        learned, test, judged = splits.training, splits.test, splits.judged_split
        classes = len(self.table.labels)
        asked = self.inputs[splits.development][splits.judging]
        if splits.cross_validated:
            judged_regression = cross_validated_regression(
                self.inputs[learned], target[learned], self.judged_folds
            )
        else:
            judged_regression = logistic_regression(self.inputs[learned], target[learned], asked)
        regression = logistic_regression(self.inputs[learned], target[learned], self.inputs[test])
        return {
            "logistic_regression": {judged: judged_regression, "test": regression},
            "base_rate": {
                judged: base_rate(target[learned], len(asked), classes),
                "test": base_rate(target[learned], len(test), classes),
            },
        }

    def data_source(self, data: ResolvedData, config: TabularConfig) -> DataSource:
        """Say what was trained on, and how it was split."""
        return DataSource(
            name=data.name,
            sha256=data.sha256,
            rows=len(self.table),
            generated=data.generated,
            licence=data.licence,
            source=data.source,
            findings=self.table.findings,
            split=self.splits.counts,
            split_sha256=self.splits.sha256,
            protocol=protocol(
                self.splits,
                config.folds,
                config.repeats,
                config.seed,
                config.split,
                config.split_column,
            ),
        )


def feature_rows(fitted: TableModel) -> list[Mapping[str, float | str]]:
    """Return the test rows as requests would carry them; what is missing is left out."""
    columns = fitted.table.columns
    rows = []
    for i in fitted.splits.test:
        row: dict[str, float | str] = {}
        for column in columns:
            value = fitted.table.values[column.name][i]
            if column.kind == "category":
                if value != "":
                    row[column.name] = str(value)
            elif not np.isnan(value):
                row[column.name] = float(value)
        rows.append(row)
    return rows
