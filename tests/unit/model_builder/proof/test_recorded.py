from __future__ import annotations

import numpy as np
import pytest

from model_builder.proof.proving import full_batches
from model_builder.proof.recorded import GOLDEN_ROWS, Recorded, from_parquet, to_parquet

RECORDED = Recorded(
    inputs={
        "numbers": np.array([[1, np.nan], [3, 4], [5, 6]], np.float32),
        "categories": np.array([["a"], [""], ["ü"]], object),
        "item_count": np.array([[1], [2], [3]], np.int32),
        "allowed": np.array([[True], [False], [True]]),
        "history": [["x", "y"], [], ["z"]],
        "times": [[7, 2**40], [], [9]],
    },
    outputs={
        "contributions": np.arange(12, dtype=np.float32).reshape(3, 2, 2),
        "known": [[True, False], [], [True]],
    },
)


@pytest.mark.parametrize("recorded", [RECORDED, from_parquet(to_parquet(RECORDED))],
                         ids=["as made", "as read"])  # fmt: skip
def test_a_batch_has_the_rows_asked_for_in_their_types(recorded: Recorded) -> None:
    inputs, outputs = recorded.batch(np.array([2, 0]))
    expected = {
        "numbers": np.array([[5, 6], [1, np.nan]], np.float32),
        "categories": np.array([["ü"], ["a"]], object),
        "item_count": np.array([[3], [1]], np.int32),
        "allowed": np.array([[True], [True]]),
        "history": np.array([["z", ""], ["x", "y"]], object),
        "times": np.array([[9, 0], [7, 2**40]], np.int64),
        "contributions": np.array([[[8, 9], [10, 11]], [[0, 1], [2, 3]]], np.float32),
        "known": np.array([[True, True], [True, False]]),
    }
    for name, array in (inputs | outputs).items():
        assert array.dtype == expected[name].dtype, name
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_an_empty_list_is_padded_like_the_others_of_its_column() -> None:
    inputs, outputs = RECORDED.batch(np.array([1]))
    assert inputs["history"].tolist() == [[""]]
    assert outputs["known"].tolist() == [[True]]


def test_golden_rows_are_spread_evenly_and_are_all_of_a_small_split() -> None:
    assert RECORDED.golden().tolist() == [0, 1, 2]
    large = Recorded({"numbers": np.zeros((5000, 1), np.float32)}, {})
    places = large.golden()
    assert len(places) == GOLDEN_ROWS
    assert (places[0], places[-1]) == (0, 4999)


@pytest.mark.parametrize("rows", [1, 999, 1000, 1001, 2500])
def test_every_row_is_asked_in_batches_of_the_largest_size(rows: int) -> None:
    batches = full_batches(rows)
    assert {len(batch) for batch in batches} == {1000}
    assert set(np.concatenate(batches).tolist()) == set(range(rows))
