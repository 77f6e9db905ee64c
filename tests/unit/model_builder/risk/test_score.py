from __future__ import annotations

import functools

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_builder.risk.calibrate_graph import calibrate_graph
from model_builder.risk.score import Scorecard, make_bands

CARD = Scorecard(slope=1.3, offset=-0.4, base_score=600, base_odds=30, points_to_double=20)
PLAIN = Scorecard(slope=1, offset=0, base_score=600, base_odds=30, points_to_double=20)


def logit_at(odds_of_being_paid: float) -> np.ndarray:
    return np.array([-np.log(odds_of_being_paid)])


def test_the_base_odds_give_the_base_score():
    assert PLAIN.scores(logit_at(30))[0] == pytest.approx(600)


@given(st.floats(0.1, 1000))
def test_doubling_the_odds_adds_the_points_to_double(odds):
    gain = PLAIN.scores(logit_at(2 * odds)) - PLAIN.scores(logit_at(odds))
    assert gain[0] == pytest.approx(20)


@pytest.mark.parametrize(("logit", "score"), [(100.0, 300), (-100.0, 850)])
def test_scores_stay_in_range(logit, score):
    assert CARD.scores(np.array([logit]))[0] == score


def test_probability_and_score_tell_the_same_story():
    logits = np.linspace(-4, 4, 50)
    p = CARD.probabilities(logits)
    odds = (1 - p) / p
    np.testing.assert_allclose(CARD.scores(logits), 600 + 20 * np.log2(odds / 30))


def test_a_contribution_is_the_fall_of_the_calibrated_log_odds():
    logits, reset = np.array([[2.0]]), np.array([[[0.5], [2.0], [3.0]]])
    found = CARD.contributions(logits, reset)
    expected = CARD.log_odds(logits) - CARD.log_odds(reset[:, :, 0])
    np.testing.assert_allclose(found, expected)
    assert found[0, 1] == 0


@given(st.floats(-30, 30), st.lists(st.floats(-30, 30), min_size=3, max_size=3))
def test_the_graph_answers_like_numpy(logit, resets):
    session = _session()
    logits = np.array([[logit]], np.float32)
    reset = np.array(resets, np.float32).reshape(1, 3, 1)
    made = dict(
        zip(
            ("default_probability", "score", "contributions"),
            session.run(
                ["default_probability", "score", "contributions"],
                {"logits": logits, "reset_logits": reset},
            ),
            strict=True,
        )
    )
    np.testing.assert_allclose(made["default_probability"], CARD.probabilities(logits), atol=1e-6)
    np.testing.assert_allclose(made["score"], CARD.scores(logits), atol=1e-3)
    np.testing.assert_allclose(made["contributions"], CARD.contributions(logits, reset), atol=1e-4)


@functools.cache
def _session() -> ort.InferenceSession:
    return ort.InferenceSession(calibrate_graph(CARD, features=3).SerializeToString())


def test_each_band_holds_a_fifth_and_the_last_begins_at_the_bottom():
    bands = make_bands(np.linspace(400, 700, 1001))
    assert [(band.name, band.minimum_score) for band in bands] == [
        ("A", 640),
        ("B", 580),
        ("C", 520),
        ("D", 460),
        ("E", 300),
    ]


def test_bands_that_fall_together_are_left_out():
    bands = make_bands(np.full(100, 512.5))
    assert [(band.name, band.minimum_score) for band in bands] == [("A", 512), ("B", 300)]


def test_scores_at_the_bottom_make_one_band():
    assert [band.minimum_score for band in make_bands(np.full(9, 300.0))] == [300]
