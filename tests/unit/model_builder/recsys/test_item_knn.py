from __future__ import annotations

import numpy as np
import pytest

from model_builder.recsys.data import leave_one_out
from model_builder.recsys.item_knn import ItemNeighbours, item_knn_ranks


def arrays(*sequences: list[int]) -> list[np.ndarray]:
    return [np.array(items) for items in sequences]


def test_similarity_is_the_cosine_of_the_sets_of_users():
    # 1: users a, b; 2: users a, b, c; 3: user c; 4: nobody.
    neighbours = ItemNeighbours(arrays([1, 2], [2, 1, 2], [2, 3]), 4)
    (scores,) = neighbours.scores(arrays([1]), newest=10)
    assert scores[2] == pytest.approx(2 / np.sqrt(2 * 3))
    assert scores[[0, 3, 4]].tolist() == [0, 0, 0]


def test_scores_add_up_over_the_newest_items_only():
    neighbours = ItemNeighbours(arrays([1, 2], [3, 4], [5, 6]), 6)
    assert neighbours.scores(arrays([1, 3, 5]), newest=1)[0].nonzero()[0].tolist() == [5, 6]
    assert neighbours.scores(arrays([1, 3, 5]), newest=2)[0].nonzero()[0].tolist() == [3, 4, 5, 6]


def test_an_empty_history_scores_nothing():
    neighbours = ItemNeighbours(arrays([1, 2]), 2)
    assert not neighbours.scores([np.empty(0, np.int64)], newest=3).any()


def test_ranks_follow_who_had_what_together():
    one, other = [[1, 2, 3, 4, 5, 6]] * 5, [[7, 8, 9, 10, 11, 12]] * 5
    splits = leave_one_out(arrays(*one, *other, [3, 1, 2, 4], [7, 9, 8, 10]), "log.csv")
    ranks = item_knn_ranks(splits, 12)
    assert ranks.keys() == {"validation", "test"}
    # After 3 and 1 come 2 and 4, alike; after 3, 1 and 2 only 4 is left.
    assert ranks["validation"][-2:].tolist() == [2, 2]
    assert ranks["test"][-2:].tolist() == [1, 1]


def test_what_is_asked_for_is_not_learnt_from():
    splits = leave_one_out(arrays([1, 2, 3, 4], [1, 2, 3, 4]), "log.csv")
    ranks = item_knn_ranks(splits, 8)
    # Nobody had 3 or 4 in what is learnt from: they tie with all the other unknown items.
    assert ranks["validation"].tolist() == [4, 4]
    assert ranks["test"].tolist() == [3, 3]
