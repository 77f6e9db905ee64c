from __future__ import annotations

import numpy as np
import pytest

from model_builder.diagnosis.unusual import fit_usual

DRAWS = np.random.default_rng(0)
TARGET = np.arange(600) % 2
MIXED = DRAWS.normal(size=(6, 6))
CENTRES = np.array([[0.0] * 6, [8.0] * 6])


def usual_features(rows: int) -> np.ndarray:
    return CENTRES[np.arange(rows) % 2] + DRAWS.normal(size=(rows, 6)) @ MIXED


USUAL = fit_usual(usual_features(600), TARGET, usual_features(400), 0.95)


def test_a_stated_share_of_rows_like_the_training_data_is_usual() -> None:
    assert 0.9 <= np.mean(USUAL.unusualness(usual_features(4000)) <= 1) <= 0.98


def test_what_lies_far_away_or_between_the_classes_is_unusual() -> None:
    away = np.stack([CENTRES.mean(0) + 100, CENTRES[1] * 5])
    assert (USUAL.unusualness(away) > 2).all()


def test_a_step_where_the_data_never_vary_is_larger_than_one_where_they_do() -> None:
    features = usual_features(600)
    features[:, 0] = CENTRES[TARGET, 0] + DRAWS.normal(size=600) * 0.01
    usual = fit_usual(features, TARGET, features, 0.95)
    one, other = CENTRES[:1].copy(), CENTRES[:1].copy()
    one[0, 0] += 1
    other[0, 1] += 1
    assert usual.unusualness(one)[0] > 5 * usual.unusualness(other)[0]


def test_a_feature_that_is_always_the_same_divides_nothing_by_zero() -> None:
    features = usual_features(600)
    features[:, 2] = 0
    usual = fit_usual(features, TARGET, features, 0.95)
    assert np.isfinite(usual.unusualness(features)).all()


@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
def test_more_is_usual_the_more_is_meant_to_be(share: float) -> None:
    held_out = usual_features(500)
    usual = fit_usual(usual_features(600), TARGET, held_out, share)
    assert np.mean(usual.unusualness(held_out) <= 1) == pytest.approx(share, abs=0.01)
