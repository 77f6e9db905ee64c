"""How ``diagnosis`` is tuned: by the AUC of the held-out answers. From measurements only."""

from __future__ import annotations

from model_builder.diagnosis.measurements.building import AFTER_TRAINING, judged_probabilities
from model_builder.evaluation import metrics
from model_builder.tabular.fitting import Fitted
from model_builder.tabular.targets import finding_target
from model_builder.tabular.tuning import TabularTuning


def _auc(fitted: Fitted) -> float:
    return metrics.macro_auc(fitted.judged_target, judged_probabilities(fitted))


TUNING = TabularTuning(
    finding_target,
    lambda table: len(table.labels),
    _auc,
    measured=frozenset(AFTER_TRAINING),
)
