from __future__ import annotations

import functools

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model_builder.diagnosis.measurements.calibrate_graph import calibrate_graph
from model_builder.diagnosis.probability import contributions, log_odds, probabilities

LOGITS = hnp.arrays(np.float32, (3, 4), elements=st.floats(-40, 40, width=32))


def run(logits, reset, temperature):
    _, features, classes = reset.shape
    feeds = {"logits": logits, "reset_logits": reset}
    names = ["probabilities", "contributions"]
    return session(temperature, features, classes).run(names, feeds)


@functools.cache
def session(temperature: float, features: int, classes: int) -> ort.InferenceSession:
    graph = calibrate_graph(temperature, features, classes)
    return ort.InferenceSession(graph.SerializeToString())


def test_log_odds_are_those_of_the_probabilities():
    logits = np.random.default_rng(0).normal(0, 2, (20, 3))
    p = probabilities(logits, 1.7)
    np.testing.assert_allclose(log_odds(logits, 1.7), np.log(p) - np.log1p(-p))
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_log_odds_keep_their_digits_where_a_probability_is_1():
    assert log_odds(np.array([[60.0, 0.0]]), 1.0).tolist() == [[60.0, -60.0]]


@given(LOGITS, hnp.arrays(np.float32, (3, 2, 4), elements=st.floats(-40, 40, width=32)))
def test_the_graph_answers_like_numpy(logits, reset):
    p, fall = run(logits, reset, 1.6)
    np.testing.assert_allclose(p, probabilities(logits, 1.6), atol=1e-6)
    np.testing.assert_allclose(fall, contributions(logits, reset, 1.6), atol=1e-4)


@given(LOGITS)
def test_a_reset_that_changes_nothing_contributes_exactly_nothing(logits):
    reset = np.stack([logits, logits + np.float32(1) * np.eye(4, dtype=np.float32)[0]], axis=1)
    _, fall = run(logits, reset, 0.7)
    assert not fall[:, 0].any()
    assert (fall[:, 1, 0] < 0).all()


@pytest.mark.parametrize("classes", [2, 3, 20])
def test_any_number_of_classes_adds_up_to_1(classes):
    logits = np.random.default_rng(1).normal(0, 5, (6, classes)).astype(np.float32)
    p, fall = run(logits, logits[:, None] * np.float32(0.5), 1.0)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert fall.shape == (6, 1, classes)


def test_of_two_classes_the_contributions_are_opposite():
    logits = np.array([[1.0, -2.0]], np.float32)
    _, fall = run(logits, np.array([[[0.5, 0.5]]], np.float32), 1.0)
    np.testing.assert_allclose(fall[0, 0], [3.0, -3.0], atol=1e-6)
