"""The part of a build that risk and diagnosis share: from a table to a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
import torch

from model_builder.export.onnx import export_core
from model_builder.progress import Progress
from model_builder.tabular.attribution import AttributedNetwork
from model_builder.tabular.encoding import Encoding, fit_encoding
from model_builder.tabular.model import Answers, Explanation, TableModel
from model_builder.tabular.network import OccludedNetwork
from model_builder.tabular.packed import PackedNetwork
from model_builder.tabular.preparation import prepare
from model_builder.tabular.prepare_graph import prepare_graph
from model_builder.tabular.schema import infer_features
from model_builder.tabular.splits import Splits, make_splits
from model_builder.tabular.table import Table
from model_builder.tabular.training import TabularConfig, TrainedMembers, Watch, train_members
from model_builder.task import ResolvedData
from triton_models.release import DataSource
from triton_models.signatures import MAX_BATCH_ROWS


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

    def data_source(self, data: ResolvedData, config: TabularConfig) -> DataSource:
        """Say what was trained on, and what was learnt in place of the labels."""
        source = super().data_source(data, config)
        said = " ".join((source.protocol, *config.taught_by(len(self.splits.training))))
        return source.model_copy(update={"protocol": said})


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


def prepared(
    table: Table, splits: Splits, pieces: int = 0
) -> tuple[Encoding, npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Infer the schema and the encoding from the training rows, and prepare all rows.

    Args:
        table: Checked.
        splits: Of the table.
        pieces: That each quantity is cut into at most; 0 leaves it whole.

    Returns:
        The encoding; ``(rows, D)`` float32 of inputs; ``(rows, F)`` int32 of ``RULE_*``.
    """
    learned = splits.training
    features = infer_features(table, learned)
    encoding = fit_encoding(features, table.numbers[learned], table.categories[learned], pieces)
    return encoding, *prepare(encoding, table.numbers, table.categories)


def fit_table(table: Table, config: TabularConfig, logits: int, progress: Progress) -> Fitted:
    """Split, infer the schema, prepare and train.

    Args:
        table: Checked.
        config: Hyperparameters.
        logits: 1 for the log-odds of class 1, else the number of classes.
        progress: Shows the training.
    """
    splits = split_table(table, config)
    lessons = config.lessons_for(table, splits, progress)
    return fit_splits(table, splits, config, logits, progress, lessons=lessons)


def fit_splits(
    table: Table,
    splits: Splits,
    config: TabularConfig,
    logits: int,
    progress: Progress,
    watch: Watch | None = None,
    *,
    lessons: npt.NDArray[np.float32] | None = None,
) -> Fitted:
    """Do what :func:`fit_table` does, on splits that are made.

    Args:
        table: Checked.
        splits: Of the table.
        config: Hyperparameters.
        logits: 1 for the log-odds of class 1, else the number of classes.
        progress: Shows the training.
        watch: Is told the validation of each epoch.
        lessons: Of ``config`` for the table and its splits; they may cost as much as all else.
    """
    encoding, inputs, rules = prepared(table, splits, config.pieces_for(len(splits.training)))
    trained = train_members(
        inputs[splits.development],
        table.target[splits.development],
        splits.held_out,
        logits=logits,
        config=config,
        progress=progress,
        watch=watch,
        signs=encoding.signs,
        lessons=lessons,
    )
    return Fitted(table, splits, encoding, inputs, rules, trained)
