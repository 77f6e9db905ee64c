from __future__ import annotations

import pytest
import torch

from model_builder.recsys.pruning import narrowed, pruned_width
from model_builder.recsys.sizing import Sizes
from model_builder.recsys.transformer import NextItemNetwork


def small_network(*, width: int, heads: int = 2) -> NextItemNetwork:
    torch.manual_seed(1)
    network = NextItemNetwork(
        torch.arange(1, 14), width=width, layers=2, heads=heads, history_length=6, dropout=0.0
    )
    torch.nn.init.normal_(network.items.weight)
    return network.eval()


def sizes(width: int, heads: int) -> Sizes:
    return Sizes(
        history_length=6, width=width, layers=2, heads=heads, dropout=0.0, epochs=1, patience=1,
        batch_size=4, negatives=0,
    )  # fmt: skip


HISTORY = torch.tensor([[0, 0, 3, 1, 4, 2], [0, 0, 0, 0, 0, 0]])


def test_nothing_removed_changes_nothing():
    network = small_network(width=16)
    same = small_network(width=16)
    for weight in same.parameters():
        torch.nn.init.zeros_(weight)
    same.load_state_dict({**same.state_dict(), **narrowed(network, 16)})
    torch.testing.assert_close(same(HISTORY), network(HISTORY))


def test_a_narrowed_network_is_one_of_that_width():
    network, small = small_network(width=32), small_network(width=16)
    own = small.state_dict()
    kept = narrowed(network, 16)
    assert kept.keys() <= own.keys()
    assert {name: one.shape for name, one in kept.items()} == {
        name: own[name].shape for name in kept
    }
    small.load_state_dict({**own, **kept})
    assert torch.isfinite(small(HISTORY)).all()


def test_columns_that_are_nothing_go_first():
    """A network whose second half is zeros loses nothing but that half."""
    network = small_network(width=32, heads=1)
    with torch.no_grad():
        network.items.weight[:, 16:] = 0
        for block in network.blocks:
            for layer in (block.query_key_value, block.inner_in):
                layer.weight[:, 16:] = 0
            for layer in (block.attention_out, block.inner_out):
                layer.weight[16:] = 0
    kept = narrowed(network, 16)
    torch.testing.assert_close(kept["items.weight"], network.items.weight[:, :16].detach())


def test_neurons_that_say_nothing_go_first():
    network = small_network(width=16, heads=1)
    with torch.no_grad():
        network.blocks[0].inner_out.weight[:, ::2] = 0
    kept = narrowed(network, 8)["blocks.0.inner_in.weight"]
    assert len(kept) == 32
    whole = network.blocks[0].inner_in.weight
    rows = {tuple(row.tolist()) for row in whole[1::2]}
    dims = [tuple(row.tolist()) for row in kept]
    assert all(any(set(row) <= set(other) for other in rows) for row in dims)


@pytest.mark.parametrize(
    ("width", "heads", "share", "left"),
    [(64, 1, 0.5, 32), (64, 1, 0.3, 48), (64, 2, 0.9, 8), (8, 1, 0.5, 8), (128, 4, 0.3, 88)],
)
def test_widths_are_multiples_of_eight_and_of_the_heads_pairs(width, heads, share, left):
    assert pruned_width(sizes(width, heads), share) == left
