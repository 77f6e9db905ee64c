"""How good a network is, beside the baselines of the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model_builder.evaluation.bootstrap import mean_interval
from model_builder.evaluation.metrics import ndcg_gains
from model_builder.progress import Progress
from model_builder.recsys.baselines import baselines
from model_builder.recsys.beyond import measure_lists
from model_builder.recsys.data import Splits
from model_builder.recsys.evaluation import CUTS, Lists, Ranks, item_counts, measure
from model_builder.recsys.segments import Segment, segments
from model_builder.recsys.sets import sets_of
from model_builder.task import Metrics
from triton_models.release import Metric

THIS = "this release"
"""What the network is called among the models of a segment."""


@dataclass(frozen=True)
class Judged:
    """What is known of a network and of its baselines."""

    metrics: Mapping[str, Metrics]
    """By split."""
    baselines: Mapping[str, Mapping[str, Metrics]]
    """By name, then by split."""
    chosen: Mapping[str, str]
    """What the validation split chose for each baseline, in words."""
    segments: tuple[Segment, ...]
    """Of the test."""
    gains: Mapping[str, Metric]
    """By baseline: how far NDCG@10 of the test is above its, taken user by user."""


def judge(
    shown: Callable[[str], Lists], splits: Splits, item_count: int, seed: int, progress: Progress
) -> Judged:
    """Measure what is recommended, let the baselines learn, and measure them.

    Args:
        shown: Gives what the users of a split are recommended.
        splits: What is learnt from, and what is asked.
        item_count: ``V``.
        seed: Of the resampling and of baselines.
        progress: Shows the parts.
    """
    counts = item_counts(splits, item_count)
    havers = sets_of(splits.training, item_count).getnnz(0)
    users = len(splits.training)

    def both(validation: Ranks, test: Lists) -> dict[str, Metrics]:
        beyond = measure_lists(test, counts, havers, users, seed)
        return {
            "validation": measure(validation, seed),
            "test": measure(test.ranks, seed) | beyond,
        }

    with progress.stage("evaluate"):
        test = shown("test")
        metrics = both(shown("validation").ranks, test)
    found, chosen, ranks = {}, {}, {THIS: test.ranks}
    with progress.stage("baselines"):
        for baseline in baselines(splits, item_count, seed):
            found[baseline.name] = both(baseline.validation, baseline.test)
            chosen[baseline.name] = baseline.chosen
            ranks[baseline.name] = baseline.test.ranks
    parts = segments(splits.test, counts, ranks, seed)
    own = ndcg_gains(test.ranks, CUTS[0])
    gains = {
        name: mean_interval(own - ndcg_gains(each, CUTS[0]), seed=seed)
        for name, each in ranks.items()
        if name != THIS
    }
    return Judged(metrics, found, chosen, tuple(parts), gains)
