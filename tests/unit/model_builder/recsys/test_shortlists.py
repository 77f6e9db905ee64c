from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from model_builder.progress import SilentProgress
from model_builder.recsys import evaluation
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import Questions, Sequences, leave_one_out
from model_builder.recsys.reference import padded_items
from model_builder.recsys.second_stage import fit_second_stage
from model_builder.recsys.shortlists import FirstStage, queries, shortlists


@pytest.mark.parametrize("places", [1, 9, 10**6], ids=["one by one", "some", "all at once"])
def test_histories_of_any_length_are_read_as_each_is_served(network, monkeypatch, places):
    monkeypatch.setattr(evaluation, "_PLACES", places)
    first = FirstStage(network, 8)
    draws = np.random.default_rng(0)
    histories = [draws.integers(1, 13, count) for count in (3, 0, 6, 1, 9, 3, 0)]
    history = torch.from_numpy(padded_items(histories, network.history_length).astype(np.int32))
    with torch.no_grad():
        torch.testing.assert_close(queries(first, histories), first.query(history))


def test_of_no_question_there_is_no_shortlist(network):
    first = FirstStage(network, 8)
    nothing = Questions(Sequences.of([]), np.empty(0, np.int64), np.empty(0, np.int64))
    found = shortlists(first, nothing)
    assert len(found) == 0
    assert found.items.shape == found.scores.shape == (0, 8)
    assert found.query.shape == (0, first.table.width + 2)


@pytest.mark.parametrize("columns", [{}, {"hour": pl.Series("hour", [1.0, 2, 3, 4] * 9)}])
def test_where_everyone_only_repeats_there_is_no_ranker_to_learn(network, columns):
    """What was learnt from is ``a a``: nothing new is asked, so the first stage's order stays."""
    log = Sequences.of([np.array([item, item, 10, 11]) for item in range(1, 10)])
    splits = leave_one_out(log, "log.csv")
    stages = fit_second_stage(network, splits, RecsysConfig(), SilentProgress(), columns)
    assert not stages.fitted.kept
    assert len(stages.shown("test").ranks) == 9
    assert (stages.context is not None) == bool(columns)
