from __future__ import annotations

import numpy as np
import pytest

from model_builder.recsys import reference
from model_builder.recsys.ranking import Ranker
from model_builder.recsys.reference import Reference, best_places
from model_builder.recsys.request_tensors import Request
from model_builder.recsys.shortlists import FirstStage


@pytest.mark.parametrize("count", [1, 3, 199, 200, 500])
@pytest.mark.parametrize("different", [1, 4, 10**6], ids=["all alike", "many ties", "few ties"])
def test_the_best_are_those_of_a_whole_sort_and_of_equals_the_first(count, different):
    values = np.random.default_rng(0).integers(0, different, 200).astype(np.float32)
    expected = np.argsort(-values, kind="stable")[:count]
    assert best_places(values, count).tolist() == expected.tolist()


def test_what_may_not_be_recommended_comes_last():
    values = np.array([-np.inf, 1.0, -np.inf, 3.0, 2.0])
    assert best_places(values, 4).tolist() == [3, 4, 1, 0]


def test_no_catalogue_is_sorted_as_a_whole(make_network, monkeypatch):
    network = make_network(items=500)
    first = FirstStage(network, 100)
    ids = [f"i{number}" for number in range(1, 501)]
    asked = Reference(network, Ranker(first.table, first.history_length), ids, 100)
    sorted_: list[int] = []
    whole = np.argsort

    def noted(values: np.ndarray, **options: str) -> np.ndarray:
        sorted_.append(values.shape[-1])
        return whole(values, **options)

    monkeypatch.setattr(reference.np, "argsort", noted)
    asked.answer([Request(["i1", "i2"], item_count=5)])
    assert max(sorted_) == 100
