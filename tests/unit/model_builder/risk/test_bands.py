from __future__ import annotations

import numpy as np
import pytest

from model_builder.risk.bands import limit_of_bad_rate, make_bands, make_cutoff

SCORES = np.linspace(400, 700, 1001)
NOBODY = np.zeros(1001, np.int64)
FIFTHS = (0.2, 0.4, 0.6, 0.8)


def test_each_band_holds_a_fifth_and_the_last_begins_at_the_bottom():
    bands = make_bands(SCORES, NOBODY, approved=FIFTHS)
    limits = [("A", 640), ("B", 580), ("C", 520), ("D", 460), ("E", 300)]
    assert [(band.name, band.minimum_score) for band in bands] == limits
    assert sum(band.share for band in bands) == pytest.approx(1)
    assert {band.bad_rate for band in bands} == {0}


@pytest.mark.parametrize(
    ("scores", "limits"),
    [(np.full(100, 512.5), [("A", 512), ("B", 300)]), (np.full(9, 300.0), [("A", 300)])],
    ids=["all equal", "all at the bottom"],
)
def test_bands_that_fall_together_are_left_out(scores, limits):
    bands = make_bands(scores, np.zeros(len(scores), np.int64), approved=FIFTHS)
    assert [(band.name, band.minimum_score) for band in bands] == limits


def test_a_stated_bad_rate_is_kept_by_all_who_reach_the_limit():
    draws = np.random.default_rng(0)
    target = (draws.random(1001) < np.linspace(0.4, 0.0, 1001)).astype(np.int64)
    bands = make_bands(SCORES, target, bad=(0.05, 0.1))
    for band, rate in zip(bands, (0.05, 0.1), strict=False):
        assert target[band.minimum_score <= SCORES].mean() <= rate
        lower = band.minimum_score - 5
        assert target[lower <= SCORES].mean() > rate - 0.01
    assert bands[-1].minimum_score == 300


def test_a_cutoff_says_what_it_was_chosen_for_and_what_it_gives():
    target = (SCORES < 450).astype(np.int64)
    share = make_cutoff(SCORES, target, approval_rate=0.5)
    assert (share.minimum_score, share.chosen_for) == (550, "approval rate 0.5")
    assert share.approval_rate == pytest.approx(0.5, abs=0.01)
    bad = make_cutoff(SCORES, target, bad_rate=0.01)
    assert bad.minimum_score < 450
    assert 0 < bad.bad_rate <= 0.01
    as_many_as_paid = make_cutoff(SCORES, target)
    assert as_many_as_paid.approval_rate == pytest.approx(1 - target.mean(), abs=0.01)


def test_a_bad_rate_that_nobody_keeps_approves_nobody():
    target = np.ones(10, np.int64)
    cutoff = make_cutoff(np.full(10, 500.0), target, bad_rate=0.1)
    assert cutoff.minimum_score == 501
    assert (cutoff.approval_rate, cutoff.bad_rate) == (0, None)


def test_rows_of_one_score_are_never_parted():
    scores = np.array([600.0, 500.9, 500.2, 400.0])
    target = np.array([0, 0, 1, 0])
    assert limit_of_bad_rate(scores, target, 0.3) == 400
    assert limit_of_bad_rate(scores, target, 0.2) == 600
