"""How ``recsys`` is tuned: by NDCG@10 of the validation split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model_builder.evaluation.metrics import ndcg_at
from model_builder.progress import Progress, SilentProgress
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import Questions, load_interactions, split_interactions
from model_builder.recsys.evaluation import network_ranks
from model_builder.recsys.fitting import fit_network
from model_builder.recsys.moments import with_gaps
from model_builder.task import ResolvedData
from model_builder.tuning.tunable import Objective, Watch


class RecsysTuning:
    """Measures the item that each user had before the last."""

    metric = "ndcg@10"
    measured = frozenset({"seed"})

    def prepare(self, data: ResolvedData, config: RecsysConfig, progress: Progress) -> Objective:
        """Read the log once, and leave the test behind.

        Raises:
            DataFault: If the data cannot be used.
        """
        with progress.stage("read"):
            interactions = load_interactions(data.path, config)
            if config.time_gaps:
                interactions = with_gaps(interactions, data.path.name)
            splits = split_interactions(interactions, config, data.path.name)
        splits = replace(splits, test=Questions((), np.empty(0, np.int64)))
        items = len(interactions.item_ids)

        def objective(config: RecsysConfig, watch: Watch) -> float:
            fitted = fit_network(splits, items, config, SilentProgress(), watch)
            return ndcg_at(network_ranks(fitted.network, splits.validation), 10)

        return objective


TUNING = RecsysTuning()
