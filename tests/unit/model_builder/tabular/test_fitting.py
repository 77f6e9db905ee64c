from __future__ import annotations

import numpy as np
import pytest

from model_builder.export.chain import StepChain
from model_builder.export.running import run_in_parts
from model_builder.progress import SilentProgress
from model_builder.tabular.fitting import Fitted, fit_table
from model_builder.tabular.training import TabularConfig
from model_builder.task import StepModel

CONFIG = TabularConfig(epochs=5, learning_rate=0.02, width=8, folds=3, repeats=1)


@pytest.fixture
def fitted(table) -> Fitted:
    return fit_table(table, CONFIG, logits=1, progress=SilentProgress())


def test_the_test_rows_decide_nothing(table):
    changed = table.values["noise"].copy()
    one = fit_table(table, CONFIG, logits=1, progress=SilentProgress())
    changed[one.splits.test] += 1e6
    table.values["noise"][:] = changed
    other = fit_table(table, CONFIG, logits=1, progress=SilentProgress())

    assert one.encoding == other.encoding
    np.testing.assert_array_equal(one.judged_logits, other.judged_logits)


def test_a_planted_cause_contributes_most_and_a_typical_value_nothing(fitted):
    answers = fitted.test_answers()
    fall = np.abs(answers["logits"] - answers["reset_logits"][:, :, 0])  # (rows, F)
    names = [feature.name for feature in fitted.encoding.features]

    assert names[fall.mean(axis=0).argmax()] == "cause"
    colour = fitted.test_tensors()["categories"][:, 0]
    typical = fitted.encoding.features[names.index("colour")].typical
    at_typical = fall[:, names.index("colour")][colour == typical]
    assert len(at_typical) > 5
    assert (at_typical == 0).all()
    assert (fall[:, names.index("colour")][colour != typical] > 0).all()


def test_the_exported_steps_answer_like_torch(fitted):
    prepare, core = fitted.export()
    chain = StepChain([StepModel("prepare", "pre", prepare), StepModel("score", "core", core)])
    made = run_in_parts(chain, fitted.test_tensors())

    for name, expected in fitted.test_answers().items():
        np.testing.assert_allclose(made[name], expected, atol=1e-5)
    np.testing.assert_array_equal(made["input_rules"], fitted.rules[fitted.splits.test])
