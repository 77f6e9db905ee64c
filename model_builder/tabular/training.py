"""Trains all members at once, each on the rows that it may learn from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from torch import nn

from model_builder.errors import ConfigInvalid
from model_builder.progress import Progress
from model_builder.tabular.drawing import How
from model_builder.tabular.linear_start import best_share, linear_start
from model_builder.tabular.network import TabularNetwork
from model_builder.tabular.packed import PackedNetwork, Signs
from model_builder.tabular.split_keys import SplitBy
from model_builder.tabular.splits import HeldOut, Splits
from model_builder.tabular.table import Table
from model_builder.task import TaskConfig
from model_builder.training.loop import FitResult, FitSettings, fit
from model_builder.training.losses import binary_cross_entropy, cross_entropy
from model_builder.training.seeding import seed_everything

LARGE_TABLE_ROWS = 5000
_ROWS_AT_ONCE = 4096
"""Judged together: the members' inner values of a whole table would fill the memory."""

Watch = Callable[[int, float], None]
"""Takes the number of an epoch, from 0, and its validation; what it raises ends the training."""


class TabularConfig(TaskConfig):
    """Hyperparameters of a network on a table. ``None`` is chosen by the number of rows."""

    test_share: float = Field(0.2, gt=0, lt=0.5)
    split: How = "stratified"
    """By class; ``grouped``: a group lies in one part only; ``time``: the newest rows test."""
    split_column: str | None = None
    """What a ``grouped`` or ``time`` split goes by; it is no feature."""
    schema_file: str | None = None
    """What the columns hold; by default the file beside the data, if any."""
    folds: int = Field(5, ge=2)
    repeats: int = Field(2, ge=1)
    """Cross-validations; a small table gets ``folds * repeats`` members."""
    cross_validate_below: int = Field(LARGE_TABLE_ROWS, ge=0)
    """Tables with fewer rows are cross-validated; larger ones get one validation split."""
    members: int = Field(4, ge=1)
    """Networks in the ensemble for a large table."""
    width: int | None = Field(None, ge=1)
    depth: int = Field(1, ge=1)
    linear_start: bool = True
    """Begin a small table's residual networks with the regression that is best for it."""
    dropout: float = Field(0.5, ge=0, lt=1)
    epochs: int | None = Field(None, ge=1)
    """The learning rate falls over these; training mostly stops before the last."""
    batch_size: int | None = Field(None, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    patience: int = Field(10, ge=1)
    resamples: int = Field(1000, ge=1)
    """Of the rows, behind each measure's interval."""

    @model_validator(mode="after")
    def _a_column_for_a_split_by_one(self) -> Self:
        if (self.split == "stratified") != (self.split_column is None):
            needs = "takes no" if self.split == "stratified" else "needs a"
            raise ValueError(f"split '{self.split}' {needs} split_column")
        return self

    @property
    def split_by(self) -> SplitBy:
        """What the table is split by."""
        return SplitBy(self.split, self.split_column)

    def width_for(self, rows: int) -> int:
        """Return the hidden width."""
        return self.width or (128 if rows >= LARGE_TABLE_ROWS else 32)

    def pieces_for(self, rows: int) -> int:
        """Return how many pieces each quantity is cut into; 0 leaves it whole."""
        return 0

    def network_for(
        self, rows: int, groups: int, columns: int, logits: int, signs: Signs
    ) -> TabularNetwork | PackedNetwork:
        """Return a network that is not trained, with as many members a group as it likes.

        Args:
            rows: That it can learn from.
            groups: G; what one learns, no other has seen.
            columns: D of the prepared input.
            logits: K.
            signs: Of the columns.

        Raises:
            ConfigInvalid: If a column has a sign, which this network cannot keep.
        """
        if signs.any():
            raise ConfigInvalid(
                ["schema: residual networks keep no monotonic feature; `build risk` with "
                 "network=packed does"]
            )  # fmt: skip
        return TabularNetwork(
            members=groups,
            columns=columns,
            logits=logits,
            width=self.width_for(rows),
            depth=self.depth,
            dropout=self.dropout,
        )

    def lessons_for(
        self, table: Table, splits: Splits, progress: Progress
    ) -> npt.NDArray[np.float32] | None:
        """Return what groups learn in place of the class, ``(development rows, G)``, if anything.

        Args:
            table: Checked.
            splits: Of the table.
            progress: Shows what is learnt for it.
        """
        return None

    def taught_by(self, rows: int) -> tuple[str, ...]:
        """Say in a sentence what is learnt in place of the labels, if anything."""
        return ()

    def starts_linear(self, rows: int) -> bool:
        """Say whether a residual network begins as a regression.

        Not where all matrices are to be laid out anew, which would undo it.
        """
        default = self.training.initialisation == "default"
        return self.linear_start and rows < LARGE_TABLE_ROWS and default

    def epochs_for(self, rows: int) -> int:
        """Return the most passes over the training data."""
        return self.epochs or (16 if rows >= LARGE_TABLE_ROWS else 60)

    def batch_size_for(self, rows: int) -> int:
        """Return the rows of a batch."""
        return self.batch_size or (1024 if rows >= LARGE_TABLE_ROWS else 64)


class Batch(NamedTuple):
    """Some rows of the training data."""

    inputs: torch.Tensor
    """``(B, D)`` float32."""
    target: torch.Tensor
    """``(B,)`` int64; or ``(B, M)`` float32, the share of class 1 that each member learns."""
    learns: torch.Tensor
    """``(B, M)`` float32: 1 where a member may learn from a row, else 0."""


@dataclass(frozen=True)
class TrainedMembers:
    """A trained network and what its members answer for rows that they have never seen."""

    network: TabularNetwork | PackedNetwork
    held_out_logits: npt.NDArray[np.float32]
    """``(development rows, K)``: mean over the members that a row was held out from; NaN for
    a row that none was held out from."""
    fit: FitResult


def train_members(
    inputs: npt.NDArray[np.float32],
    target: npt.NDArray[np.int64],
    held_out: HeldOut,
    *,
    logits: int,
    config: TabularConfig,
    progress: Progress,
    watch: Watch | None = None,
    signs: Signs | None = None,
    lessons: npt.NDArray[np.float32] | None = None,
) -> TrainedMembers:
    """Train and stop when the answers for held-out rows get no better.

    Args:
        inputs: ``(rows, D)`` float32, prepared; the development rows.
        target: ``(rows,)`` int64, the class.
        held_out: ``(rows, G)``, what each group of members must not learn from.
        logits: K; 1 gives the log-odds of class 1, more the unnormalised log of each class.
        config: Hyperparameters.
        progress: Shows the training.
        watch: Is told the validation of each epoch.
        signs: ``(D,)``, whether a column may only raise or only lower the logit.
        lessons: ``(rows, G)``, the shares of class 1 that groups learn in place of the class, for
            K = 1; NaN where a group must not learn. Judged by is the class alone.
    """
    seed_everything(config.seed)
    rows, groups = held_out.shape
    columns = inputs.shape[1]
    free = np.zeros(columns, np.int8)
    network = config.network_for(rows, groups, columns, logits, free if signs is None else signs)
    packed = network.members // groups
    held_out = np.repeat(held_out, packed, axis=1)  # (rows, M)
    starts_linear = isinstance(network, TabularNetwork) and config.starts_linear(rows)
    if starts_linear:
        with progress.stage("regression"):
            start = linear_start(inputs, target, held_out, logits)
        network.begin_linear(*map(torch.from_numpy, start))
    data = Batch(
        torch.from_numpy(inputs),
        torch.from_numpy(target),
        torch.from_numpy(~held_out).float(),
    )
    learnt = data
    if lessons is not None:
        shares = np.repeat(np.nan_to_num(lessons), packed, axis=1)  # (rows, M)
        learnt = data._replace(target=torch.from_numpy(shares))
    learnable = np.flatnonzero(~held_out.all(axis=1))
    batch_size = config.batch_size_for(rows)
    # A last batch of a row or two would be a step of noise: it joins the one before.
    steps = max(1, len(learnable) // batch_size)

    def batches(epoch: int) -> EpochBatches:
        order = np.random.default_rng((config.seed, epoch)).permutation(learnable)
        return EpochBatches(learnt, np.array_split(order, steps))

    judging = held_out.any(axis=1)
    epochs = itertools.count()

    def validate(model: nn.Module) -> float:
        answers = _held_out_logits(model, data.inputs, held_out)[judging]
        chosen = torch.from_numpy(answers).unsqueeze(0)
        validation = -float(_losses(chosen, data.target[torch.from_numpy(judging)]).mean())
        if watch is not None:
            watch(next(epochs), validation)
        return validation

    result = fit(
        network,
        batches=batches,
        steps=steps * config.epochs_for(rows),
        loss=partial(member_loss, label_smoothing=config.training.label_smoothing),
        validate=validate,
        settings=FitSettings(
            epochs=config.epochs_for(rows),
            batch_size=batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            patience=config.patience,
            training=config.training,
        ),
        weigh=learns_in,
        progress=progress,
    )
    answers = _held_out_logits(network, data.inputs, held_out)
    if starts_linear:
        answers = _held_back(network, answers, data, held_out)
    return TrainedMembers(network, answers, result)


def _held_back(
    network: TabularNetwork, whole: npt.NDArray[np.float32], data: Batch, held_out: HeldOut
) -> npt.NDArray[np.float32]:
    """Take from what the network adds to its linear path what the held-out rows do not confirm.

    Returns:
        The held-out logits of what is left, like ``whole``.
    """
    judging = held_out.any(axis=1)
    trained = network.leave.state_dict(prefix="leave.")
    trained = {name: values.clone() for name, values in trained.items()}
    network.keep_deep(0.0)
    straight = _held_out_logits(network, data.inputs, held_out)
    network.load_state_dict(trained, strict=False)
    share = best_share(straight[judging], whole[judging], data.target.numpy()[judging])
    network.keep_deep(share)
    return straight + np.float32(share) * (whole - straight)


class EpochBatches(Sequence[Batch]):
    """The batches of one epoch, each picked when it is asked for."""

    def __init__(self, data: Batch, chosen: Sequence[npt.NDArray[np.int64]]) -> None:
        self._data = data
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, place: int) -> Batch:  # type: ignore[override]
        some = torch.from_numpy(self._chosen[place])
        return Batch(*(values[some] for values in self._data))


def learns_in(batch: Batch) -> float:
    """Return how many times a member learns from a row of a batch."""
    return float(batch.learns.sum())


def member_loss(model: nn.Module, batch: Batch, label_smoothing: float = 0.0) -> torch.Tensor:
    """Return the mean loss of the members, each over the rows that it may learn from."""
    losses = _losses(model(batch.inputs), batch.target, label_smoothing)  # (M, B)
    learns = batch.learns.T.contiguous()  # (M, B), summed in the order of its places
    # Summed, not averaged, over the members: mostly they share no weight, and each shall learn
    # as fast as if it were alone.
    return (losses * learns).sum() / learns.sum() * losses.shape[0]


def _losses(
    logits: torch.Tensor, target: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Return the cross-entropy ``(M, B)`` of ``(M, B, K)`` logits; ``target`` as in a batch."""
    if logits.shape[-1] == 1:
        truth = (target.T if target.ndim == 2 else target).to(logits.dtype)
        truth = truth.expand(logits.shape[:2])
        return binary_cross_entropy(logits[..., 0], truth, label_smoothing)
    classes = target.expand(logits.shape[:2])
    return cross_entropy(logits.permute(0, 2, 1), classes, label_smoothing)


@torch.no_grad()
def _held_out_logits(
    model: nn.Module, inputs: torch.Tensor, held_out: HeldOut
) -> npt.NDArray[np.float32]:
    """Return ``(rows, K)``, NaN for the rows that no member is held out from."""
    judging = np.flatnonzero(held_out.any(axis=1))
    device = next(model.parameters()).device
    parts = []
    for some in np.array_split(judging, max(1, len(judging) // _ROWS_AT_ONCE)):
        answers = model(inputs[torch.from_numpy(some)].to(device)).cpu().numpy()  # (M, some, K)
        share = held_out[some].T[:, :, None].astype(np.float32)
        parts.append((answers * share).sum(axis=0) / share.sum(axis=0))
    judged = np.concatenate(parts)
    answers = np.full((len(inputs), judged.shape[1]), np.nan, np.float32)
    answers[judging] = judged
    return answers
