from __future__ import annotations

import numpy as np
import pytest

from model_builder.data_report.drift import compare_columns, stability_index


@pytest.fixture
def draws():
    return np.random.default_rng(5)


def compare(one, other, numbers=True, columns=20):
    return compare_columns("x", "train and test", one, other, numbers=numbers, columns=columns)


def test_the_index_is_what_its_formula_says():
    index, _ = stability_index(np.array([500, 500]), np.array([800, 200]))
    assert index == pytest.approx((0.3 * np.log(0.8 / 0.5)) + (-0.3 * np.log(0.2 / 0.5)), abs=0.01)


def test_random_halves_of_one_population_are_as_far_apart_as_chance_says(draws):
    chances = []
    for _ in range(200):
        counts = draws.multinomial(800, [0.1] * 10), draws.multinomial(200, [0.1] * 10)
        chances.append(stability_index(*counts)[1])
    assert np.mean(np.array(chances) < 0.05) < 0.12
    assert 0.3 < np.mean(chances) < 0.7


def test_a_small_split_without_drift_is_not_reported(draws):
    found = [compare(draws.normal(size=400), draws.normal(size=60)) for _ in range(40)]
    assert max(each.psi for each in found) > 0.1  # the usual threshold alone would report it
    assert not any(each.drifted for each in found)


def test_a_shift_is_reported(draws):
    found = compare(draws.normal(size=800), draws.normal(0.8, 1, 200))
    assert found.drifted
    assert found.psi > 0.25
    assert found.ks == pytest.approx(0.31, abs=0.1)
    assert found.ks_p_value < 1e-6


def test_more_missing_values_are_a_drift(draws):
    one, other = draws.normal(size=800), draws.normal(size=200)
    other[:60] = np.nan
    assert compare(one, other).drifted
    assert compare(one, other).ks < 0.2


def test_a_category_that_is_new_is_a_drift(draws):
    one = draws.choice(["a", "b"], 800).astype(object)
    other = np.where(draws.random(200) < 0.4, "c", draws.choice(["a", "b"], 200)).astype(object)
    found = compare(one, other, numbers=False)
    assert found.drifted
    assert found.ks is None
    assert not compare(one, one[:200], numbers=False).drifted


def test_a_constant_column_and_an_empty_one_do_not_differ():
    assert compare(np.ones(50), np.ones(20)).psi == 0
    assert compare(np.full(50, np.nan), np.full(20, np.nan)).ks is None
