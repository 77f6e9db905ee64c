from __future__ import annotations

import numpy as np
import pytest

from model_builder.errors import DataFault
from model_builder.recsys.sequences import Sequences
from model_builder.recsys.splits import Splits, drawn, leave_one_out, split_by_time


def by_time(share: float, *users: list[tuple[int, float]]) -> Splits:
    """Split users given as (item, time)."""
    sequences = Sequences.of([np.array([item for item, _ in user]) for user in users])
    times = np.array([time for user in users for _, time in user], np.float64)
    return split_by_time(sequences, times, share, "log.csv")


LONG = [(item, float(item)) for item in range(1, 11)]
"""Ten interactions at the times 1 to 10: at a share of 0.2, the periods begin at 7 and 9."""


def test_before_the_first_cut_is_learnt_and_the_first_of_each_period_is_asked():
    splits = by_time(0.2, LONG)
    assert [items.tolist() for items in splits.training] == [[1, 2, 3, 4, 5, 6]]
    assert splits.cuts == (7.0, 9.0)
    assert splits.validation.targets.tolist() == [7]
    assert splits.validation.histories[0].tolist() == [1, 2, 3, 4, 5, 6]
    assert splits.test.targets.tolist() == [9]
    assert splits.test.histories[0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert splits.counts == {"train": 6, "validation": 1, "test": 1, "unused": 2}


def test_who_came_within_a_period_is_first_asked_in_the_next():
    splits = by_time(0.2, LONG, [(20, 8.5), (21, 9.5)], [(30, 9.7)])
    assert splits.cuts == (8.5, 9.5)
    assert splits.validation.targets.tolist() == [9]
    assert splits.test.targets.tolist() == [10, 21]
    assert splits.test.histories[1].tolist() == [20]
    assert splits.unevaluated == 1


def test_nobodys_later_interactions_are_learnt_from():
    draws = np.random.default_rng(5)
    users = [sorted(float(t) for t in draws.random(draws.integers(1, 30)))
             for _ in range(40)]  # fmt: skip
    number = iter(range(1, 10_000))
    log = [[(next(number), time) for time in times] for times in users]
    time_of = {item: time for user in log for item, time in user}
    splits = by_time(0.1, *log)
    assert splits.cuts is not None
    first, second = splits.cuts
    assert max(time_of[int(item)] for item in splits.training.joined()) < first
    for name, begin, end in (("validation", first, second), ("test", second, np.inf)):
        asked = splits.asked[name]
        assert len(asked) > 10
        for history, target in zip(asked.histories, asked.targets, strict=True):
            assert begin <= time_of[int(target)] < end
            assert all(time_of[int(item)] < begin for item in history)
            assert asked.places is not None
    counts = splits.counts
    assert sum(counts.values()) == len(time_of)
    share = sum(time >= second for time in time_of.values()) / len(time_of)
    assert share == pytest.approx(0.1, abs=0.01)


def test_interactions_of_the_same_moment_lie_in_the_same_part():
    splits = by_time(0.2, [(n, float(n // 5)) for n in range(1, 21)])
    assert splits.cuts is not None
    assert len(splits.training.joined()) == 9
    assert splits.validation.targets.tolist() == [10]


@pytest.mark.parametrize(
    ("users", "what"),
    [
        ([[(n, 1.0) for n in range(10)]], "2 interactions before the validation"),
        ([LONG[:8], [(9, 9.0), (10, 10.0)]], "in the period of the test"),
        ([LONG[:6], [(7, 7.0), (8, 8.0), (9, 9.0), (10, 10.0)]], "in the period of the validation"),
    ],
)
def test_a_part_that_would_be_empty_is_refused(users, what):
    with pytest.raises(DataFault, match=what):
        by_time(0.2, *users)


def test_of_very_many_users_some_are_drawn_and_all_are_learnt_from():
    sequences = [np.array([user, user + 100, user + 200, user + 300]) for user in range(1, 51)]
    whole = leave_one_out(sequences, "log.csv")
    splits = drawn(whole, 20, seed=0)
    assert (len(splits.validation), len(splits.test)) == (20, 20)
    assert splits.not_drawn == {"validation": 30, "test": 30}
    assert [items.tolist() for items in splits.training] == [list(s[:2]) for s in sequences]
    for history, target in zip(splits.test.histories, splits.test.targets, strict=True):
        assert history.tolist() == [target - 300, target - 200, target - 100]
    assert len(set(splits.test.targets.tolist())) == 20
    assert drawn(whole, 20, seed=0).sha256 == splits.sha256 != drawn(whole, 20, seed=1).sha256


def test_where_few_can_be_asked_all_are():
    whole = leave_one_out([np.arange(1, 6)] * 3, "log.csv")
    assert drawn(whole, 3, seed=0) is whole
