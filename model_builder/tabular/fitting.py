"""The part of a build that risk and diagnosis share: from a table to a trained network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import torch

from model_builder.export.onnx import export_core
from model_builder.progress import Progress
from model_builder.tabular.attribution import AttributedNetwork
from model_builder.tabular.encoding import Encoding, fit_encoding
from model_builder.tabular.evaluation import (
    Floats,
    base_rate,
    cross_validated_regression,
    logistic_regression,
)
from model_builder.tabular.network import OccludedNetwork
from model_builder.tabular.packed import PackedNetwork
from model_builder.tabular.preparation import prepare
from model_builder.tabular.prepare_graph import prepare_graph
from model_builder.tabular.schema import infer_features
from model_builder.tabular.splits import Splits, make_splits, protocol
from model_builder.tabular.table import Table
from model_builder.tabular.training import TabularConfig, TrainedMembers, Watch, train_members
from model_builder.task import ResolvedData
from triton_models.release import Compared, DataSource
from triton_models.signatures import MAX_BATCH_ROWS

Answers = dict[str, npt.NDArray[np.float32]]
Tensors = dict[str, npt.NDArray[np.generic]]
Explanation = Literal["reset_logits", "attributions"]
"""``(rows, F, K)``: the logits with each feature reset; or ``(rows, F)``: each feature's share of
the logit's distance from that of a typical row."""

_CALIBRATION_PARTS = 5


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


@dataclass(frozen=True)
class Fitted(TableModel):
    """A network that was trained here."""

    trained: TrainedMembers

    @property
    def judged_logits(self) -> npt.NDArray[np.float32]:
        """``(judged rows, K)``: what the members answer for rows that they have not seen."""
        return self.trained.held_out_logits[self.splits.judging]

    @cached_property
    def explained(self) -> OccludedNetwork | AttributedNetwork:
        """The network as it is exported, with what explains its logits."""
        network = self.trained.network
        owners = torch.from_numpy(self.encoding.owners)
        typical = torch.from_numpy(self.encoding.typical)
        if isinstance(network, PackedNetwork):
            # Its scales and signs are worked into one matrix for each member.
            return AttributedNetwork(network, owners, typical).eval()
        return OccludedNetwork(network, owners, typical).eval()

    @property
    def explanation(self) -> Explanation:
        """What explains the logits."""
        packed = isinstance(self.explained, AttributedNetwork)
        return "attributions" if packed else "reset_logits"

    @property
    def reference_logit(self) -> float:
        """The first logit of a row that is typical throughout."""
        with torch.no_grad():
            answer, _ = self.explained(torch.from_numpy(self.encoding.typical)[None])
        return float(answer[0, 0])

    def test_answers(self) -> Answers:
        """Return torch's ``logits`` ``(rows, K)`` and the explanation, for the test rows."""
        inputs = torch.from_numpy(self.inputs[self.splits.test])
        with torch.no_grad():
            parts = [self.explained(part) for part in inputs.split(MAX_BATCH_ROWS)]
        logits, explanation = (torch.cat(some).numpy() for some in zip(*parts, strict=True))
        return {"logits": logits, self.explanation: explanation}

    def export(self) -> tuple[onnx.ModelProto, onnx.ModelProto]:
        """Return the steps that prepare and that run the network."""
        example = {"inputs": torch.from_numpy(self.inputs[:2])}
        core = export_core(self.explained, example, ["logits", self.explanation])
        return prepare_graph(self.encoding), core


def split_table(table: Table, config: TabularConfig) -> Splits:
    """Split as ``config`` says.

    Raises:
        ConfigInvalid: If the table cannot be split so.
    """
    return make_splits(
        table.target,
        test_share=config.test_share,
        folds=config.folds,
        repeats=config.repeats,
        cross_validate_below=config.cross_validate_below,
        members=config.members,
        seed=config.seed,
        how=config.split,
        keys=table.split_keys,
    )


def fit_table(table: Table, config: TabularConfig, logits: int, progress: Progress) -> Fitted:
    """Split, infer the schema, prepare and train.

    Args:
        table: Checked.
        config: Hyperparameters.
        logits: 1 for the log-odds of class 1, else the number of classes.
        progress: Shows the training.
    """
    return fit_splits(table, split_table(table, config), config, logits, progress)


def fit_splits(
    table: Table,
    splits: Splits,
    config: TabularConfig,
    logits: int,
    progress: Progress,
    watch: Watch | None = None,
) -> Fitted:
    """Do what :func:`fit_table` does, on splits that are made.

    Args:
        table: Checked.
        splits: Of the table.
        config: Hyperparameters.
        logits: 1 for the log-odds of class 1, else the number of classes.
        progress: Shows the training.
        watch: Is told the validation of each epoch.
    """
    numbers, categories = table.numbers, table.categories
    features = infer_features(table, splits.training)
    learned = splits.training
    pieces = config.pieces_for(len(learned))
    encoding = fit_encoding(features, numbers[learned], categories[learned], pieces)
    inputs, rules = prepare(encoding, numbers, categories)
    trained = train_members(
        inputs[splits.development],
        table.target[splits.development],
        splits.held_out,
        logits=logits,
        config=config,
        progress=progress,
        watch=watch,
        signs=encoding.signs,
    )
    return Fitted(table, splits, encoding, inputs, rules, trained)


def cross_fitted(
    fitted: TableModel,
    calibrate: Callable[
        [npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.float32]], Floats
    ],
) -> Floats:
    """Return probabilities for the judged rows that no row had a part in calibrating.

    Args:
        fitted: The trained network.
        calibrate: Takes known logits, their target and the logits that are asked.
    """
    logits, target = fitted.judged_logits, fitted.judged_target
    parts = _parts(fitted)
    answers: Floats | None = None
    for part in np.unique(parts):
        asked = parts == part
        some = calibrate(logits[~asked], target[~asked], logits[asked])
        if answers is None:
            answers = np.zeros((len(target), *some.shape[1:]))
        answers[asked] = some
    assert answers is not None
    return answers


def _parts(fitted: TableModel) -> npt.NDArray[np.int64]:
    """Return the folds, or five parts of the one validation split; groups stay whole."""
    if fitted.splits.cross_validated:
        return fitted.judged_folds
    keys = fitted.table.split_keys
    if keys is not None:
        judged = keys[fitted.splits.development][fitted.splits.judging]
        different, places = np.unique(judged, return_inverse=True)
        if len(different) >= _CALIBRATION_PARTS:
            return np.asarray(places % _CALIBRATION_PARTS)
    parts = np.zeros(len(fitted.judged_target), np.int64)
    for label in np.unique(fitted.judged_target):
        rows = np.flatnonzero(fitted.judged_target == label)
        parts[rows] = np.arange(len(rows)) % _CALIBRATION_PARTS
    return parts


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


class Runs(Protocol):
    """An exported model: the chained steps, or the fused one."""

    def run(self, inputs: Mapping[str, npt.NDArray[np.generic]]) -> Tensors:
        """Return tensors by name."""
        ...


def run_in_parts(model: Runs, tensors: Mapping[str, npt.NDArray[np.generic]]) -> Tensors:
    """Run a model over any number of rows, as many at once as a call may carry."""
    rows = len(next(iter(tensors.values())))
    parts = [
        model.run({name: tensor[i : i + MAX_BATCH_ROWS] for name, tensor in tensors.items()})
        for i in range(0, rows, MAX_BATCH_ROWS)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
