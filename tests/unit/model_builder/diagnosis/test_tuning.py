from __future__ import annotations

import pytest

from model_builder.datasets import Places, resolve
from model_builder.diagnosis.measurements.building import MeasurementsConfig
from model_builder.diagnosis.tuning import TUNING
from model_builder.progress import SilentProgress

pytestmark = pytest.mark.usefixtures("quick_torch")


def test_a_trial_is_the_auc_of_held_out_answers(tmp_path):
    data = resolve("breast-cancer", places=Places(tmp_path))
    config = MeasurementsConfig(epochs=2, width=4, folds=2, repeats=1)
    value = TUNING.prepare(data, config, SilentProgress())(config, lambda epoch, validation: None)
    assert 0.9 < value <= 1
