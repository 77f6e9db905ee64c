from __future__ import annotations

import numpy as np
import pytest

from model_builder.recsys.sequences import Sequences

ARRAYS = [[1, 2, 3], [], [4, 5], [2]]


@pytest.fixture
def runs() -> Sequences:
    return Sequences.of([np.array(items) for items in ARRAYS])


def lists(runs: Sequences) -> list[list[int]]:
    return [items.tolist() for items in runs]


def test_runs_read_like_the_arrays_they_were_made_of(runs):
    assert lists(runs) == ARRAYS
    assert [runs[place].tolist() for place in range(len(runs))] == ARRAYS
    assert runs[-1].tolist() == [2]
    assert lists(runs[1:3]) == ARRAYS[1:3]
    assert runs.items.dtype == np.int32
    assert (runs.lengths.tolist(), runs.total) == ([3, 0, 2, 1], 6)
    assert Sequences.of(runs) is runs


def test_nothing_is_copied_when_a_run_is_read_or_cut(runs):
    assert np.shares_memory(runs[0], runs.items)
    assert np.shares_memory(runs.until(runs.ends - 0)[2], runs.items)


def test_runs_are_cut_at_other_ends_and_to_the_newest(runs):
    assert lists(runs.until(runs.ends - np.array([1, 0, 1, 0]))) == [[1, 2], [], [4], [2]]
    assert lists(runs.until(runs.ends, longest=2)) == [[2, 3], [], [4, 5], [2]]


@pytest.mark.parametrize(
    "chosen",
    [np.array([0, 1, 2, 3]), np.array([0, 3]), np.array([3, 0]), np.array([1]),
     np.array([True, False, False, True]), np.array([], np.int64)],
)  # fmt: skip
def test_what_is_joined_is_one_run_after_the_other(runs, chosen):
    some = runs.chosen(chosen)
    assert some.joined().tolist() == [item for items in some for item in items]


def test_what_was_cut_off_is_neither_joined_nor_counted(runs):
    cut = runs.until(runs.ends - np.array([1, 0, 0, 0]))
    assert cut.joined().tolist() == [1, 2, 4, 5, 2]
    assert cut.counts(6).tolist() == [0, 1, 2, 0, 1, 1, 0]


def test_runs_that_overlap_are_joined_too(runs):
    both = Sequences(runs.items, np.array([0, 1]), np.array([2, 3]))
    assert both.joined().tolist() == [1, 2, 2, 3]


def test_no_runs_at_all_have_nothing():
    assert len(Sequences.of([])) == 0
    assert Sequences.of([]).joined().tolist() == []


def test_places_are_where_the_items_stand():
    runs = Sequences(np.arange(10, 20, dtype=np.int32), np.array([1, 5, 7]), np.array([3, 5, 10]))
    assert runs.places().tolist() == [1, 2, 7, 8, 9]
    assert runs.items[runs.places()].tolist() == runs.joined().tolist()
