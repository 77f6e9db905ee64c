"""Trains the network of a note release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch.nn import functional

from model_builder.diagnosis.calibrating import calibrated_loss
from model_builder.diagnosis.class_weights import class_weights, taken_out
from model_builder.diagnosis.judging import Answered
from model_builder.diagnosis.note.config import NoteConfig
from model_builder.diagnosis.note.dataset import NoteData
from model_builder.diagnosis.note.network import NoteNetwork
from model_builder.progress import Progress
from model_builder.training.loop import FitResult, FitSettings, fit
from model_builder.training.seeding import seed_everything
from triton_models.notes import NoteTokenizer

_TOKENS_AT_ONCE = 8192
"""Of notes that are answered together, padding included."""

_BATCHES_DRAWN = 8
"""That share their rows out by length."""

_PROBE_STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 1.0)

Rows = Sequence[Sequence[int]]
"""The tokens of each row."""
Known = tuple[Rows, npt.NDArray[np.int64]]
"""Rows and their classes, ``(rows,)``."""


class Batch(NamedTuple):
    """Some rows of the training data."""

    token_ids: torch.Tensor
    """``(B, T)`` int64."""
    attention_mask: torch.Tensor
    """``(B, T)`` int64."""
    target: torch.Tensor
    """``(B,)`` int64."""


@dataclass(frozen=True)
class Fitted:
    """A trained network, and what it reads."""

    data: NoteData
    tokenizer: NoteTokenizer
    content: bytes
    """Of the tokenizer's file."""
    network: NoteNetwork
    rows: dict[str, list[list[int]]]
    """The tokens of each note, by split."""
    result: FitResult
    config: NoteConfig


def padded(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens and mask, ``(B, T)`` int64, as long as the longest row."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return ids, mask


def answers(network: NoteNetwork, rows: Rows) -> Answered:
    """Return what a network in eval mode says, asked about notes of like length together."""
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    classes, width = network.head.weight.shape
    found = Answered(
        np.zeros((len(rows), classes), np.float32), np.zeros((len(rows), width), np.float32)
    )
    begin = 0
    with torch.no_grad():
        while begin < len(order):
            count = 1
            while (
                begin + count < len(order)
                and (count + 1) * len(rows[order[begin + count]]) <= _TOKENS_AT_ONCE
            ):
                count += 1
            some = order[begin : begin + count]
            seen = network(*padded([rows[place] for place in some]))
            found.logits[some], found.features[some] = seen.logits.numpy(), seen.features.numpy()
            begin += count
    return found


def train(
    network: NoteNetwork,
    rows: dict[str, list[list[int]]],
    data: NoteData,
    config: NoteConfig,
    progress: Progress,
) -> FitResult:
    """Train a network in place.

    Args:
        network: Not trained, or pretrained below its head.
        rows: The tokens of each note, by split.
        data: The rows' classes.
        config: Hyperparameters.
        progress: Shows the training.

    Raises:
        TrainingDiverged: If a loss is not finite.
        StrategyDoesNotApply: If the network is not made for a setting.
    """
    if config.base is not None and config.probe:
        with progress.stage("probe"):
            begin_with_probe(
                network,
                (rows["train"], data.train.target),
                (rows["validation"], data.validation.target),
            )
    seed_everything(config.seed)
    truth = data.validation.target
    expected = taken_out(data.train.target, len(data.labels), config)

    def validate(judged: NoteNetwork) -> float:
        return -calibrated_loss(answers(judged, rows["validation"]).logits, truth, expected)

    batches = partial(batches_of, rows["train"], data.train.target, config.batch_size, config.seed)
    return fit(
        network,
        batches=batches,
        steps=config.epochs_taken * -(-len(data.train) // config.batch_size),
        loss=partial(
            weighted_loss,
            weights=class_weights(data.train.target, len(data.labels), config),
            smoothing=config.training.label_smoothing,
        ),
        validate=validate,
        settings=FitSettings(
            epochs=config.epochs_taken,
            batch_size=config.batch_size,
            learning_rate=config.highest_rate,
            weight_decay=config.weight_decay,
            patience=config.patience_had,
            training=config.training,
        ),
        progress=progress,
    )


def begin_with_probe(network: NoteNetwork, train: Known, validation: Known) -> None:
    """Give a network the head that a logistic regression finds for its features as they are.

    Validation rows choose how strongly it is held back: a head that is sure of all training rows
    would leave the layers below nothing to learn.
    """
    network.eval()
    features, judged = (
        answers(network, rows).features.astype(np.float64) for rows, _ in (train, validation)
    )
    spread = float(features.std())
    probes = [
        LogisticRegression(C=strength, max_iter=1000).fit(features / spread, train[1])
        for strength in _PROBE_STRENGTHS
    ]
    probe = min(
        probes,
        key=lambda one: log_loss(
            validation[1], one.predict_proba(judged / spread), labels=one.classes_
        ),
    )
    weights, constants = probe.coef_ / spread, probe.intercept_
    if len(weights) == 1:  # two classes: scikit-learn keeps the difference
        weights = np.concatenate([-weights, weights]) / 2
        constants = np.concatenate([-constants, constants]) / 2
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(weights))
        network.head.bias.copy_(torch.from_numpy(constants))
    network.train()


def batches_of(
    rows: Rows, target: npt.NDArray[np.int64], size: int, seed: int, epoch: int
) -> list[Batch]:
    """Return the batches of an epoch, in an order that only the seed and the epoch decide.

    Notes of about the same length learn together, which leaves little padding to compute: the rows
    of several batches are drawn, and put into them by their length.
    """
    draws = np.random.default_rng((seed, epoch))
    lengths = np.array([len(row) for row in rows])
    order = draws.permutation(len(rows))
    drawn = size * _BATCHES_DRAWN
    places: list[npt.NDArray[np.int64]] = []
    for some in np.split(order, range(drawn, len(order), drawn)):
        by_length = some[np.argsort(lengths[some], kind="stable")]
        places += np.split(by_length, range(size, len(some), size))
    return [
        Batch(*padded([rows[i] for i in places[k]]), torch.from_numpy(target[places[k]]))
        for k in draws.permutation(len(places))
    ]


def weighted_loss(
    model: torch.nn.Module, batch: Batch, weights: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Return the mean loss of a batch, ``()``."""
    logits = model(batch.token_ids, batch.attention_mask)[0].float()
    losses = functional.cross_entropy(
        logits, batch.target, reduction="none", label_smoothing=smoothing
    )
    return (losses * weights.to(losses.device)[batch.target]).mean()
