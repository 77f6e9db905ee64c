from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_builder.evaluation.risk_calibration import BetaCalibration, IsotonicCalibration
from model_builder.risk.calibrate_graph import calibrate_graph
from model_builder.risk.score import Scorecard, shares_of_falls

BETA = BetaCalibration(rise=1.4, fall=0.7, offset=-0.3)
STEPS = IsotonicCalibration((-2.0, -0.5, 1.0), (-3.0, -1.0, 0.5), 0.8)
UNCHANGED = BetaCalibration(rise=1, fall=1, offset=0)


def card(calibration=UNCHANGED, reference=0.25) -> Scorecard:
    return Scorecard(calibration, 600, 30, 20, reference)


PLAIN = card()


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
    assert PLAIN.scores(np.array([logit]))[0] == score


@pytest.mark.parametrize("calibration", [BETA, STEPS], ids=["beta", "isotonic"])
def test_probability_and_score_tell_the_same_story(calibration):
    logits = np.linspace(-4, 4, 50)
    p = card(calibration).probabilities(logits)
    odds = (1 - p) / p
    np.testing.assert_allclose(card(calibration).scores(logits), 600 + 20 * np.log2(odds / 30))


@pytest.mark.parametrize("calibration", [BETA, STEPS], ids=["beta", "isotonic"])
@given(st.floats(-8, 8))
def test_contributions_add_up_to_the_distance_from_the_typical_row(calibration, logit):
    made = card(calibration)
    logits = np.array([[logit]], np.float32)
    distance = float(logits[0, 0]) - made.reference_logit
    shares = np.array([[0.7, -0.2, 0.5]]) * distance  # as a network gives them
    found = made.contributions(logits, shares)
    expected = made.log_odds(logits)[0, 0] - made.reference_log_odds
    assert found.sum() == pytest.approx(expected, abs=1e-9)
    assert np.array_equal(np.sign(found), np.sign(shares)) or abs(distance) < 1e-9


@given(st.floats(-5, 5), st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_falls_are_spread_so_that_they_add_up(logit, resets):
    logits, reset = np.array([[logit]]), np.array(resets).reshape(1, 3, 1)
    found = shares_of_falls(logits, reset, reference=0.25)
    falls = logit - np.array(resets)
    if np.abs(falls).sum() > 1e-6:
        assert found.sum() == pytest.approx(logit - 0.25, abs=1e-6)
    assert (found[0][falls == 0] == 0).all()


@pytest.mark.parametrize("calibration", [BETA, STEPS], ids=["beta", "isotonic"])
@pytest.mark.parametrize("explanation", ["attributions", "reset_logits"])
def test_the_graph_answers_like_numpy(calibration, explanation):
    made = card(calibration)
    draws = np.random.default_rng(1)
    logits = np.concatenate([draws.normal(0, 3, 200), [0.25, 0.25 + 1e-6, -80, 80]])
    logits = logits.astype(np.float32)[:, None]
    explained = draws.normal(0, 1, (len(logits), 3)).astype(np.float32)
    given = explained[:, :, None] if explanation == "reset_logits" else explained
    shares = shares_of_falls(logits, given, 0.25) if explanation == "reset_logits" else explained
    expected = {
        "default_probability": made.probabilities(logits),
        "score": made.scores(logits),
        "contributions": made.contributions(logits, shares),
    }
    graph = calibrate_graph(made, 3, explanation).SerializeToString()
    feeds = {"logits": logits, explanation: given}
    answers = ort.InferenceSession(graph).run(list(expected), feeds)
    for (name, value), answer in zip(expected.items(), answers, strict=True):
        np.testing.assert_allclose(answer, value, rtol=1e-6, atol=1e-6, err_msg=name)
