"""The steps ``retrieve`` and ``filter``, over blocks, against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_builder.errors import ExportBroken
from model_builder.export.chain import StepChain
from model_builder.recsys import exporting
from model_builder.recsys.filter_graph import filter_graph
from model_builder.recsys.item_table import FORBIDDEN, ItemTable
from model_builder.recsys.retrieve_graph import retrieve_graph
from model_builder.recsys.shortlists import FirstStage
from model_builder.task import StepModel

ITEMS, SHORTLIST = 23, 5
BLOCKS = [24, 8, 7]
"""All in one, blocks that come out even, and a last one that does not."""

items = st.integers(0, ITEMS)
rows = st.lists(
    st.tuples(
        st.lists(items, max_size=9), st.booleans(), st.lists(items, max_size=20), st.booleans()
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture(scope="module")
def network(make_network):
    return make_network(items=ITEMS)


@pytest.fixture(scope="module", params=BLOCKS, ids=["one block", "even", "uneven"])
def table(network, request) -> ItemTable:
    return ItemTable.of(network, request.param)


@pytest.fixture(scope="module")
def chain(table: ItemTable) -> StepChain:
    return StepChain(
        [
            StepModel("retrieve", "core", retrieve_graph(table, SHORTLIST)),
            StepModel("filter", "post", filter_graph(SHORTLIST)),
        ]
    )


def padded(lists: list[list[int]]) -> np.ndarray:
    width = max(1, *map(len, lists))
    return np.array([[*each, *[0] * (width - len(each))] for each in lists], np.int32)


def queries(table: ItemTable, known: list[bool]) -> np.ndarray:
    state = np.random.default_rng(3).normal(size=(len(known), table.width))
    there = np.array(known)[:, None]
    return np.concatenate([state * there, there, ~there], axis=1).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(asked=rows)
def test_the_best_that_may_be_recommended_are_found_in_every_block(asked, chain, table, network):
    candidates, only, excluded, known = (list(part) for part in zip(*asked, strict=True))
    query = queries(table, known)
    made = chain.run(
        {
            "query": query,
            "candidates": padded(candidates),
            "candidates_given": np.array(only, np.int32)[:, None],
            "excluded": padded(excluded),
        }
    )
    vectors = network.items.weight.detach().numpy()
    for row in range(len(asked)):
        scores = vectors @ query[row, :-2] + network.bias.detach().numpy()
        if not known[row]:
            scores = network.popularity.numpy()
        allowed = set(candidates[row]) if only[row] else set(range(1, ITEMS + 1))
        allowed -= {0, *excluded[row]}
        wanted = sorted(allowed, key=lambda item: (-scores[item], item))[:SHORTLIST]
        assert made["shortlist"][row].tolist() == wanted + [0] * (SHORTLIST - len(wanted))
        found = made["shortlist_scores"][row]
        np.testing.assert_allclose(found[: len(wanted)], scores[wanted], rtol=1e-4, atol=1e-4)
        assert (found[len(wanted) :] == np.float32(FORBIDDEN)).all()


def test_nothing_is_left_where_everything_is_excluded(chain, table):
    made = chain.run(
        {
            "query": queries(table, [True]),
            "candidates": np.zeros((1, 1), np.int32),
            "candidates_given": np.zeros((1, 1), np.int32),
            "excluded": np.arange(ITEMS + 1, dtype=np.int32)[None],
        }
    )
    assert not made["shortlist"].any()


def test_fewer_than_a_shortlist_may_be_retrieved():
    """As in the one row of nothing with which Triton warms a model."""
    chain = StepChain([StepModel("filter", "post", filter_graph(SHORTLIST))])
    made = chain.run(
        {
            "retrieved": np.array([[4]], np.int32),
            "retrieved_scores": np.array([[0.5]], np.float32),
            "excluded": np.array([[0]], np.int32),
        }
    )
    assert made["shortlist"].tolist() == [[4, 0, 0, 0, 0]]


def test_a_table_that_fits_no_file_is_refused_before_anything_is_exported(
    network, learned_ranker, monkeypatch
):
    first = FirstStage(network, SHORTLIST)
    monkeypatch.setattr(exporting, "LARGEST_TABLE", first.table.rows.numel() * 4 - 1)
    with pytest.raises(ExportBroken, match=r"vectors of 23 items are .*min_item_users"):
        exporting.export_steps(first, learned_ranker(first), ["i"] * ITEMS)


def test_the_table_scores_like_the_network(table, network):
    query = torch.from_numpy(queries(table, [True, False]))
    expected = query[0, :-2] @ network.items.weight.T + network.bias
    torch.testing.assert_close((query[:1] @ table.flat.T)[0, 1:], expected[1:])
    torch.testing.assert_close((query[1:] @ table.flat.T)[0, 1:], network.popularity[1:])
    assert (query @ table.flat.T)[:, 0].tolist() == pytest.approx([FORBIDDEN] * 2, rel=1e-3)


def test_items_are_found_by_number_in_every_block(table, network):
    numbers = torch.arange(ITEMS + 1).reshape(2, -1)
    torch.testing.assert_close(table(numbers)[..., :-2], network.items(numbers))
    assert table.flat.shape == (ITEMS + 1, table.width + 2)
