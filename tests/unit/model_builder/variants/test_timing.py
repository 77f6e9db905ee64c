"""Which rows are asked when releases are timed."""

from __future__ import annotations

import numpy as np

from model_builder.variants.timing import drawn


def test_every_row_has_its_turn_before_one_is_repeated() -> None:
    places = drawn(12, 4, 5)
    assert places.shape == (5, 4)
    assert sorted(places[:3].ravel()) == list(range(12))
    np.testing.assert_array_equal(places[3:].ravel(), places[:2].ravel())
    assert places[0].tolist() != [0, 1, 2, 3], "neighbours in a log may be alike"


def test_few_rows_fill_a_large_batch() -> None:
    assert set(drawn(3, 32, 2).ravel()) == {0, 1, 2}


def test_two_runs_ask_the_same_rows() -> None:
    np.testing.assert_array_equal(drawn(100, 8, 3), drawn(100, 8, 3))
