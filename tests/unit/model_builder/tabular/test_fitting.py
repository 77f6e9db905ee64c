from __future__ import annotations

import json

import numpy as np
import pytest

from model_builder.export.ensemble import StepChain
from model_builder.progress import SilentProgress
from model_builder.tabular.fitting import (
    Fitted,
    cross_fitted,
    feature_rows,
    fit_table,
    run_in_parts,
)
from model_builder.tabular.prepare_graph import prepare_graph
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


def test_more_rows_than_a_call_may_carry_are_run_in_parts(fitted):
    chain = StepChain([StepModel("prepare", "pre", prepare_graph(fitted.encoding))])
    many = {name: np.concatenate([tensor] * 50) for name, tensor in fitted.test_tensors().items()}
    once = chain.run(fitted.test_tensors())["inputs"]
    np.testing.assert_array_equal(run_in_parts(chain, many)["inputs"], np.concatenate([once] * 50))


def test_no_row_takes_part_in_its_own_calibration(fitted):
    sizes = []

    def calibrate(known, target, asked):
        sizes.append((len(known), len(asked)))
        assert not set(known.ravel()) & set(asked.ravel())
        return asked[:, 0]

    answers = cross_fitted(fitted, calibrate)

    np.testing.assert_array_equal(answers, fitted.judged_logits[:, 0])
    assert len(sizes) == 3
    assert all(sum(size) == len(answers) for size in sizes)


def test_a_single_validation_split_is_calibrated_by_its_other_parts(table):
    config = CONFIG.model_copy(update={"cross_validate_below": 0})
    fitted = fit_table(table, config, logits=1, progress=SilentProgress())
    answers = cross_fitted(fitted, lambda known, target, asked: asked[:, 0] + len(known))
    assert len(answers) == fitted.splits.counts["validation"]
    assert (answers > fitted.judged_logits[:, 0]).all()


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
