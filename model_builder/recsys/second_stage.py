"""Both stages of a recommender together: what the second one is worth, and what it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl
import torch

from model_builder.progress import Progress
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.context import Context, Value, context_rows, fit_context
from model_builder.recsys.data import Splits
from model_builder.recsys.evaluation import Lists, measure
from model_builder.recsys.rank_fitting import FittedRanker, fit_ranker, training_questions
from model_builder.recsys.ranking import Ranker
from model_builder.recsys.shortlists import FirstStage, Shortlists, pipeline_lists, shortlists
from model_builder.recsys.transformer import NextItemNetwork
from triton_models.release import Stages

Columns = Mapping[str, pl.Series]
"""By name, ``(n,)``: what is known beside each interaction of the log."""


@dataclass(frozen=True)
class TwoStages:
    """A recommender as it is served."""

    first: FirstStage
    fitted: FittedRanker
    context: Context | None
    lists: Mapping[str, Shortlists]
    """By split, of those that are evaluated."""
    rows: Mapping[str, Sequence[Mapping[str, Value]]]
    """By split, the context of each question as a request carries it; empty without context."""

    @property
    def ranker(self) -> Ranker:
        """The second stage."""
        return self.fitted.ranker

    def shown(self, split: str) -> Lists:
        """Return what the users of a split are recommended, as it is served."""
        return pipeline_lists(self.ranker.logits, self.lists[split])

    def contexts(self, split: str) -> Sequence[Mapping[str, Value]]:
        """Return the context of each question of a split; empty where there is none."""
        return self.rows.get(split) or [{}] * len(self.lists[split])

    def described(self, seed: int) -> Stages:
        """Return what the manifest says of the stages."""
        return Stages(
            shortlist=self.first.shortlist,
            found={split: lists.found for split, lists in self.lists.items()},
            first_stage={
                split: measure(lists.first_rank, seed) for split, lists in self.lists.items()
            },
            ranker_kept=self.fitted.kept,
            ranker_gain=self.fitted.ndcg - self.fitted.first_ndcg,
        )


def fit_second_stage(
    network: NextItemNetwork,
    splits: Splits,
    config: RecsysConfig,
    progress: Progress,
    columns: Columns | None = None,
) -> TwoStages:
    """Look for shortlists with a trained network, and train the ranker on them.

    Args:
        network: The first stage.
        splits: What is learnt from, and what is asked.
        config: Hyperparameters.
        progress: Shows the training.
        columns: The context's, beside all items of the log; empty or ``None``: there is none.
    """
    first = FirstStage(network, config.shortlist)
    with progress.stage("shortlist"):
        learnt = training_questions(splits.training, config.seed)
        training = shortlists(first, learnt)
        lists = {split: shortlists(first, asked) for split, asked in splits.asked.items()}
    context, rows = None, {}
    if columns:
        # Where everyone only repeats, nothing is asked; what is learnt from has a context anyway.
        places = learnt.places if len(learnt) else splits.training.places()
        context = fit_context({name: values.gather(places) for name, values in columns.items()})
        training = _with_context(training, context, context_rows(columns, learnt.places))
        rows = {s: context_rows(columns, asked.places) for s, asked in splits.asked.items()}
        lists = {split: _with_context(lists[split], context, rows[split]) for split in lists}
    fitted = fit_ranker(first, training, lists["validation"], config, progress)
    return TwoStages(first, fitted, context, lists, rows)


def _with_context(
    lists: Shortlists, context: Context, rows: Sequence[Mapping[str, Value]]
) -> Shortlists:
    """Return the shortlists with what was known when each target was had."""
    inputs, _ = context.prepare(context.tensors(rows))
    return replace(lists, inputs=torch.from_numpy(inputs))
