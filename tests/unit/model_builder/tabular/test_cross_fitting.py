from __future__ import annotations

import numpy as np
import pytest

from model_builder.progress import SilentProgress
from model_builder.tabular.cross_fitting import cross_fitted
from model_builder.tabular.fitting import Fitted, fit_table
from model_builder.tabular.training import TabularConfig

CONFIG = TabularConfig(epochs=5, learning_rate=0.02, width=8, folds=3, repeats=1)


@pytest.fixture
def fitted(table) -> Fitted:
    return fit_table(table, CONFIG, logits=1, progress=SilentProgress())


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
