"""How the tasks on tables are tuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from model_builder.progress import Progress, SilentProgress
from model_builder.tabular.fitting import Fitted, fit_splits, split_table
from model_builder.tabular.loading import TargetRule, load_table
from model_builder.tabular.splits import Splits
from model_builder.tabular.table import Table
from model_builder.tabular.training import TabularConfig
from model_builder.task import ResolvedData
from model_builder.tuning.tunable import Objective, Watch

SPLIT_KEYS = frozenset(
    (
        "seed",
        "schema_file",
        "test_share",
        "split",
        "split_column",
        "folds",
        "repeats",
        "cross_validate_below",
        "members",
    )
)
"""The table is read, split and taught once, before the first trial."""


class TabularTuning:
    """Measures by the held-out answers: of the cross-validation, or of the validation split."""

    metric = "auc"
    measured = SPLIT_KEYS | {"resamples"}

    def __init__(
        self,
        rule: TargetRule,
        logits: Callable[[Table], int],
        judge: Callable[[Fitted], float],
        measured: frozenset[str],
    ) -> None:
        """Describe a task.

        Args:
            rule: Makes the target of a table that is not known.
            logits: How many the network has.
            judge: Returns the metric of the held-out answers.
            measured: The task's own keys that train nothing.
        """
        self._rule = rule
        self._logits = logits
        self._judge = judge
        self.measured = self.measured | measured

    def prepare(self, data: ResolvedData, config: TabularConfig, progress: Progress) -> Objective:
        """Read the table once, and leave its test rows behind.

        Raises:
            DataFault: If the data cannot be used.
        """
        with progress.stage("read"):
            table = load_table(data, self._rule, progress, config.split_by, config.schema_file)
        table, splits = without_test(table, split_table(table, config))
        logits = self._logits(table)
        lessons = config.lessons_for(table, splits, progress)  # once: they are the same for all

        def objective(config: TabularConfig, watch: Watch) -> float:
            return self._judge(
                fit_splits(table, splits, config, logits, SilentProgress(), watch, lessons=lessons)
            )

        return objective


def without_test(table: Table, splits: Splits) -> tuple[Table, Splits]:
    """Return the table without its test rows, and the splits of what is left."""
    rows = splits.development
    keys = table.split_keys
    kept = replace(
        table,
        values={name: values[rows] for name, values in table.values.items()},
        target=table.target[rows],
        split_keys=None if keys is None else keys[rows],
    )
    nothing = np.empty(0, np.int64)
    return kept, replace(splits, development=np.arange(len(rows)), test=nothing)
