"""How ``risk`` is tuned: by the AUC of the held-out answers."""

from __future__ import annotations

from model_builder.evaluation import metrics
from model_builder.risk.config import AFTER_TRAINING, TEACHING
from model_builder.risk.judging import judged_probabilities
from model_builder.tabular.fitting import Fitted
from model_builder.tabular.targets import outcome_target
from model_builder.tabular.tuning import TabularTuning


def _auc(fitted: Fitted) -> float:
    return metrics.auc(fitted.judged_target, judged_probabilities(fitted))


TUNING = TabularTuning(
    outcome_target,
    lambda table: 1,
    _auc,
    measured=frozenset((*AFTER_TRAINING, *TEACHING)),
)
