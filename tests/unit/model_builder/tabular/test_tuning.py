from __future__ import annotations

import numpy as np
import pytest

from model_builder.evaluation import metrics
from model_builder.progress import SilentProgress
from model_builder.risk.config import RiskConfig
from model_builder.risk.judging import judged_probabilities
from model_builder.risk.tuning import TUNING
from model_builder.tabular.fitting import fit_splits, fit_table, split_table
from model_builder.tabular.loading import load_table
from model_builder.tabular.targets import outcome_target
from model_builder.tabular.training import TabularConfig
from model_builder.tabular.tuning import without_test

CONFIG = TabularConfig(epochs=3, width=4, folds=3, repeats=1)
TAUGHT = RiskConfig(epochs=3, width=4, folds=3, taught=0.9)


@pytest.mark.parametrize("config", [CONFIG, TAUGHT], ids=["by labels", "by trees"])
def test_a_trial_is_measured_as_a_build_measures_its_held_out_answers(loans, config):
    objective = TUNING.prepare(loans, config, SilentProgress())
    watched = []
    value = objective(config, lambda epoch, validation: watched.append((epoch, validation)))

    table = load_table(loans, outcome_target, SilentProgress())
    fitted = fit_table(table, config, logits=1, progress=SilentProgress())
    assert value == metrics.auc(fitted.judged_target, judged_probabilities(fitted))
    history = [(epoch.number, epoch.validation) for epoch in fitted.trained.fit.history]
    assert watched == history


def test_the_test_rows_are_out_of_reach(table):
    whole = split_table(table, CONFIG)
    kept, splits = without_test(table, whole)
    assert len(kept) == len(whole.development) < len(table)
    assert len(splits.test) == 0
    for name, values in kept.values.items():
        np.testing.assert_array_equal(values, table.values[name][whole.development])

    one = fit_splits(kept, splits, CONFIG, 1, SilentProgress())
    other = fit_table(table, CONFIG, logits=1, progress=SilentProgress())
    np.testing.assert_array_equal(one.judged_logits, other.judged_logits)
    assert one.encoding == other.encoding


def test_the_keys_of_a_split_go_with_their_rows(table):
    keyed = table.__class__(table.columns, table.values, table.target, table.labels,
                            np.arange(240.0) % 40)  # fmt: skip
    config = TabularConfig(split="grouped", split_column="who", folds=3, repeats=1)
    splits = split_table(keyed, config)
    kept, _ = without_test(keyed, splits)
    np.testing.assert_array_equal(kept.split_keys, keyed.split_keys[splits.development])


def test_what_a_watcher_raises_ends_the_trial(loans):
    class Enough(Exception):
        pass

    def watch(epoch, validation):
        if epoch == 1:
            raise Enough

    with pytest.raises(Enough):
        TUNING.prepare(loans, CONFIG, SilentProgress())(CONFIG, watch)
