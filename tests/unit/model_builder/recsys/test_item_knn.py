from __future__ import annotations

import numpy as np
import pytest

from model_builder.recsys import item_knn
from model_builder.recsys.item_knn import ItemNeighbours


def arrays(*sequences: list[int]) -> list[np.ndarray]:
    return [np.array(items) for items in sequences]


@pytest.fixture(autouse=True, params=[0, 10**4], ids=["product by product", "all pairs"])
def _catalogue(request, monkeypatch):
    monkeypatch.setattr(item_knn, "TAKEN_WHOLE", request.param)


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
