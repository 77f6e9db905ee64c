from __future__ import annotations

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession

from model_builder.diagnosis.calibrate_step import Calibrate
from model_builder.diagnosis.calibrating import calibrated_loss, cross_tempered
from model_builder.diagnosis.probability import probabilities
from model_builder.diagnosis.unusual import Usual
from model_builder.evaluation.calibration import fit_temperature
from model_builder.evaluation.metrics import ece
from model_builder.evaluation.scaling import Scaling, fit_scaling
from model_builder.export.onnx import export_core

DRAWS = np.random.default_rng(0)
TARGET = DRAWS.integers(0, 3, 900)
LOGITS = 4 * (DRAWS.normal(size=(900, 3)) + 1.5 * np.eye(3)[TARGET])


def test_no_row_has_a_part_in_its_own_calibration() -> None:
    """The part of a row is known: with the other rows of its class, every fifth from the first."""
    answers = cross_tempered(LOGITS, TARGET)
    parts = np.zeros(900, int)
    for k in range(3):
        rows = np.flatnonzero(k == TARGET)
        parts[rows] = np.arange(len(rows)) % 5
    mine = parts == parts[7]
    temperature = fit_temperature(LOGITS[~mine], TARGET[~mine])
    np.testing.assert_allclose(answers[7], probabilities(LOGITS[7:8], temperature)[0])
    assert not np.allclose(
        answers, probabilities(LOGITS, fit_temperature(LOGITS, TARGET)), atol=1e-9
    )


def test_what_was_too_sure_is_calibrated() -> None:
    assert ece(TARGET, probabilities(LOGITS, 1.0)) > 0.1
    assert ece(TARGET, cross_tempered(LOGITS, TARGET)) < 0.05


def test_every_part_has_constants_of_its_own() -> None:
    expected = np.array([1.0, 0.0, -1.0])
    answers = cross_tempered(LOGITS, TARGET, expected)
    whole = fit_scaling(LOGITS, TARGET, expected).probabilities(LOGITS)
    np.testing.assert_allclose(answers, whole, atol=0.1)
    assert not np.allclose(answers, whole, atol=1e-9)


def test_the_exported_step_calibrates_as_it_was_fitted() -> None:
    scaling = Scaling(2.5, (1.5, -0.25, -1.25))
    usual = Usual(np.eye(2, dtype=np.float32), np.zeros((3, 2), np.float32), 1.0)
    logits = torch.from_numpy(LOGITS[:50].astype(np.float32))
    tensors = {"logits": logits, "features": torch.zeros(50, 2)}
    step = Calibrate(scaling, usual)
    model = export_core(step, tensors, ["probabilities", "unusualness"])
    session = InferenceSession(model.SerializeToString())
    (exported,) = session.run(["probabilities"], {k: v.numpy() for k, v in tensors.items()})
    np.testing.assert_allclose(exported, scaling.probabilities(LOGITS[:50]), atol=1e-5)
    np.testing.assert_allclose(step(*tensors.values())[0].numpy(), exported, atol=1e-6)


def test_a_network_that_has_only_become_too_sure_is_no_worse() -> None:
    loss = calibrated_loss(LOGITS, TARGET)
    assert calibrated_loss(5 * LOGITS, TARGET) == pytest.approx(loss, rel=1e-3)
    assert calibrated_loss(LOGITS + DRAWS.normal(0, 4, LOGITS.shape), TARGET) > loss + 0.1


def test_the_loss_is_that_of_calibrated_probabilities() -> None:
    expected = np.array([1.0, 0.0, -1.0])
    calibrated = fit_scaling(LOGITS, TARGET, expected).probabilities(LOGITS)
    loss = -np.log(calibrated[np.arange(900), TARGET]).mean()
    assert calibrated_loss(LOGITS, TARGET, expected) == pytest.approx(loss)


def test_a_few_rows_are_enough() -> None:
    answers = cross_tempered(LOGITS[:2], np.array([0, 1]))
    np.testing.assert_allclose(answers.sum(axis=1), 1)
