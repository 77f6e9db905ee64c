"""What becomes of a trained network's answers, of images and of notes alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from model_builder.diagnosis.calibrate_step import Calibrate
from model_builder.diagnosis.calibrating import cross_tempered
from model_builder.diagnosis.class_weights import taken_out
from model_builder.diagnosis.dataset import Part, SplitData
from model_builder.diagnosis.evaluation import Held, Judged, finite, judge
from model_builder.diagnosis.review import review_rule
from model_builder.diagnosis.settings import LookedAtSettings
from model_builder.diagnosis.unusual import Usual, fit_usual
from model_builder.evaluation.scaling import Scaling, fit_scaling
from model_builder.export.onnx import export_core
from model_builder.tabular.evaluation import DIAGNOSIS_MEASURES, base_rate, measure
from model_builder.task import Metrics, StepModel

Floats = npt.NDArray[np.float32]


class Answered(NamedTuple):
    """What a network says of the validation rows."""

    logits: Floats
    """``(rows, K)``."""
    features: Floats
    """``(rows, D)``."""


def calibrated(
    data: SplitData[Part], learnt: Floats, validation: Answered, settings: LookedAtSettings
) -> tuple[Scaling, Usual]:
    """Fit, by the validation rows, how sure the network is and what is like the training rows.

    Args:
        data: The rows' classes.
        learnt: ``(rows, D)``, features of the training rows.
        validation: What the network says of the others.
        settings: How classes were weighed, and what share is usual.
    """
    expected = taken_out(data.train.target, len(data.labels), settings)
    scaling = fit_scaling(validation.logits, data.validation.target, expected)
    usual = fit_usual(learnt, data.train.target, validation.features, settings.usual_share)
    return scaling, usual


def judged(
    data: SplitData[Part],
    validation: Answered,
    answers: Mapping[str, npt.NDArray[Any]],
    usual: Usual,
    settings: LookedAtSettings,
) -> Judged:
    """Measure the validation rows, each calibrated by others, and what the release answers.

    Args:
        data: The rows' classes and subgroups.
        validation: What the network says.
        answers: ``probabilities (rows, K)`` and ``unusualness (rows, 1)`` of the test rows.
        usual: What is like the training rows.
        settings: What is measured.
    """
    known, asked = data.validation, data.test
    expected = taken_out(data.train.target, len(data.labels), settings)
    probabilities = cross_tempered(validation.logits, known.target, expected)
    unusualness = usual.unusualness(validation.features)
    held = {
        "validation": Held(known.target, probabilities, unusualness, known.groups),
        "test": Held(
            asked.target, answers["probabilities"], answers["unusualness"][:, 0], asked.groups
        ),
    }
    threshold = review_rule(probabilities, known.target, settings)
    return judge(held, data.labels, threshold, settings)


def measured_baselines(
    data: SplitData[Part],
    name: str,
    answers: Callable[[Part], npt.NDArray[Any]],
    settings: LookedAtSettings,
) -> dict[str, dict[str, Metrics]]:
    """Measure something simple that has learnt, and the shares of the classes.

    Args:
        data: What is asked.
        name: Of what has learnt.
        answers: What it says of a part, ``(rows, K)``.
        settings: How the intervals are drawn.
    """

    def measured(part: Part, probabilities: npt.NDArray[Any]) -> Metrics:
        return finite(
            measure(
                DIAGNOSIS_MEASURES,
                part.target,
                probabilities,
                seed=settings.seed,
                resamples=settings.resamples,
            )
        )

    asked = {"validation": data.validation, "test": data.test}
    classes = len(data.labels)
    return {
        name: {split: measured(part, answers(part)) for split, part in asked.items()},
        "base_rate": {
            split: measured(part, base_rate(data.train.target, len(part), classes))
            for split, part in asked.items()
        },
    }


def calibrate_step(
    scaling: Scaling, usual: Usual, logits: torch.Tensor, features: torch.Tensor
) -> StepModel:
    """Return the step ``calibrate``; ``logits (2, K)`` and ``features (2, D)`` are examples."""
    given = {"logits": logits, "features": features}
    made = ["probabilities", "unusualness"]
    return StepModel("calibrate", "post", export_core(Calibrate(scaling, usual), given, made))
