from __future__ import annotations

import json

import numpy as np
import pytest

from model_builder.progress import SilentProgress
from model_builder.tabular.fitting import Fitted, fit_table
from model_builder.tabular.model import feature_rows
from model_builder.tabular.training import TabularConfig

CONFIG = TabularConfig(epochs=5, learning_rate=0.02, width=8, folds=3, repeats=1)


@pytest.fixture
def fitted(table) -> Fitted:
    return fit_table(table, CONFIG, logits=1, progress=SilentProgress())


def test_baselines_answer_for_the_same_rows(fitted):
    baselines = fitted.baselines(CONFIG)
    assert set(baselines) == {"logistic_regression", "base_rate"}
    for splits in baselines.values():
        assert splits["cv"].shape == (len(fitted.judged_target), 2)
        assert splits["test"].shape == (len(fitted.splits.test), 2)
        for answers in splits.values():
            np.testing.assert_allclose(answers.sum(axis=1), 1)
    assert len(np.unique(baselines["base_rate"]["test"])) == 2


def test_requests_leave_out_what_is_missing(fitted):
    rows = feature_rows(fitted)
    everything = [fitted.table.values["cause"][i] for i in fitted.splits.test]
    assert [("cause" in row) for row in rows] == [not np.isnan(value) for value in everything]
    assert json.loads(json.dumps(rows)) == rows
    assert len(rows) == len(fitted.splits.test)
