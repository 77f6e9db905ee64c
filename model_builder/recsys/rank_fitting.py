"""From a trained first stage to a ranker, kept only if it orders the validation split better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from model_builder.evaluation.metrics import ndcg_at
from model_builder.progress import Progress
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import MAX_HISTORY, Questions, Sequences
from model_builder.recsys.ranking import Ranker
from model_builder.recsys.shortlists import GIVEN, FirstStage, Shortlists, pipeline_ranks
from model_builder.training.loop import FitSettings, fit

Batch = dict[str, torch.Tensor]

_NEWEST = 8
"""Items of each user that the ranker is asked for: those before them are long histories."""
_MOST_ROWS = 20_000
_PATIENCE = 3
_BATCH = 256


@dataclass(frozen=True)
class FittedRanker:
    """A ranker, and what it was worth on the validation split."""

    ranker: Ranker
    kept: bool
    """Whether it changes anything."""
    first_ndcg: float
    """NDCG@10 of the first stage alone."""
    ndcg: float
    """NDCG@10 with what was learned, kept or not."""


def fit_ranker(
    first: FirstStage,
    training: Shortlists,
    validation: Shortlists,
    config: RecsysConfig,
    progress: Progress,
) -> FittedRanker:
    """Train on shortlists in which the first stage found the target.

    Args:
        first: Trained.
        training: What the first stage finds for :func:`training_questions`.
        validation: What it finds for the validation split.
        config: Hyperparameters.
        progress: Shows the training.
    """
    context = 0 if validation.inputs is None else validation.inputs.shape[1]
    ranker = Ranker(first.table, first.history_length, first.count, context)
    before = ndcg_at(pipeline_ranks(ranker.logits, validation), 10)
    usable = training.only(torch.nonzero(training.place >= 0)[:, 0])
    after = before
    if config.rank_epochs and len(usable):
        batches = -(-len(usable) // _BATCH)

        def validate(model: torch.nn.Module) -> float:
            return ndcg_at(pipeline_ranks(model, validation), 10)

        after = fit(
            _Ordering(ranker),
            batches=lambda epoch: _batches(usable, config.seed + epoch),
            steps=batches * config.rank_epochs,
            loss=surprise,
            validate=validate,
            settings=FitSettings(
                epochs=config.rank_epochs,
                batch_size=_BATCH,
                learning_rate=config.rank_learning_rate,
                weight_decay=config.weight_decay,
                patience=_PATIENCE,
            ),
            progress=progress,
            stage="rank",
        ).best
    kept = after > before
    if not kept:
        ranker.reset()
    return FittedRanker(ranker.eval(), kept, before, after)


def training_questions(sequences: Sequences, seed: int) -> Questions:
    """Return what users had next, for some of each one's newest items that may be learnt from.

    An item that the user had before is not asked for: it would not be recommended.
    """
    first = np.maximum(sequences.begins + 1, sequences.ends - _NEWEST)
    users = np.repeat(np.arange(len(sequences)), np.maximum(sequences.ends - first, 0))
    order = np.arange(len(users)) - np.searchsorted(users, users)
    places = first[users] + order
    if len(places) > _MOST_ROWS:
        chosen = np.random.default_rng(seed).choice(len(places), _MOST_ROWS, replace=False)
        chosen.sort()
        users, places = users[chosen], places[chosen]
    begins = sequences.begins[users]
    new = np.fromiter(
        (
            sequences.items[place] not in sequences.items[begin:place]
            for begin, place in zip(begins.tolist(), places.tolist(), strict=True)
        ),
        np.bool_,
        len(places),
    )
    begins, places = np.maximum(begins, places - MAX_HISTORY)[new], places[new]
    histories = Sequences(sequences.items, begins, places, sequences.gaps)
    return Questions(histories, sequences.items[places], places)


class _Ordering(torch.nn.Module):
    """The ranker as it is trained: called for its logits, for devices are wrapped around calls."""

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        """Return ``(B, N)``, the logits of the shortlists."""
        return self.ranker.logits(*given)


def surprise(order: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the mean cross-entropy of the targets among their shortlists, ``()``."""
    given = [batch[name] for name in GIVEN if name in batch]
    return functional.cross_entropy(order(*given), batch["place"])


def _batches(lists: Shortlists, seed: int) -> list[Batch]:
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(lists)))
    return [lists.only(rows).tensors for rows in order.split(_BATCH)]
