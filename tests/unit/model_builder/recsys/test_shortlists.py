from __future__ import annotations

import numpy as np
import pytest
import torch

from model_builder.recsys import evaluation
from model_builder.recsys.reference import padded_items
from model_builder.recsys.shortlists import FirstStage, queries


@pytest.mark.parametrize("places", [1, 9, 10**6], ids=["one by one", "some", "all at once"])
def test_histories_of_any_length_are_read_as_each_is_served(network, monkeypatch, places):
    monkeypatch.setattr(evaluation, "_PLACES", places)
    first = FirstStage(network, 8)
    draws = np.random.default_rng(0)
    histories = [draws.integers(1, 13, count) for count in (3, 0, 6, 1, 9, 3, 0)]
    history = torch.from_numpy(padded_items(histories, network.history_length).astype(np.int32))
    with torch.no_grad():
        torch.testing.assert_close(queries(first, history), first.query(history))
