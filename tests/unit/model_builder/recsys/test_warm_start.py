from __future__ import annotations

import pytest
import torch

from model_builder.errors import CannotGoOn, ConfigInvalid
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.recsys.warm_start import SharedItems, sized_like, start_from
from model_builder.recsys.weights import Weights, read_weights, weights_file

OLD = tuple(f"i{n:02}" for n in range(20))
NEW = tuple(sorted({*OLD, "a", "i05b", "z"} - {"i03"}))


@pytest.fixture
def old(make_network) -> NextItemNetwork:
    network = make_network(items=len(OLD))
    torch.nn.init.normal_(network.bias)
    return network


@pytest.fixture
def weights(old) -> Weights:
    return read_weights("recommend/old", weights_file(old, OLD))


@pytest.fixture
def new(make_network) -> NextItemNetwork:
    network = make_network(items=len(NEW))
    torch.nn.init.normal_(network.norm.weight)
    return network


def test_weights_are_read_as_they_were_written(old, weights):
    assert weights.item_ids == OLD
    sizes = {"history_length": 6, "width": 8, "layers": 2, "heads": 2, "time_gaps": False}
    assert weights.sizes == sizes
    assert weights.tensors.keys() == old.state_dict().keys()
    for name, tensor in old.state_dict().items():
        assert torch.equal(weights.tensors[name], tensor)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all"])
def test_what_are_no_weights_is_refused(content):
    with pytest.raises(CannotGoOn, match="cannot go on from recommend/old: its weights"):
        read_weights("recommend/old", content)


def test_items_of_both_catalogues_are_found_by_their_ids():
    shared = SharedItems.of(["a", "b", "d"], ["b", "c", "d"])
    assert (shared.now.tolist(), shared.before.tolist()) == ([2, 3], [1, 3])


def test_items_of_both_keep_their_vectors_and_the_rest_what_it_learnt(old, new, weights):
    start_from(new, NEW, weights, "recommend/old")
    for item in set(OLD) & set(NEW):
        vector = new.items.weight[NEW.index(item) + 1]
        assert torch.equal(vector, old.items.weight[OLD.index(item) + 1])
    for name, tensor in old.state_dict().items():
        if name not in ("items.weight", "bias", "popularity"):
            assert torch.equal(new.state_dict()[name], tensor)


def test_without_new_items_and_with_the_same_popularity_nothing_changes(old, weights):
    again = NextItemNetwork(
        (old.popularity.exp() - 1).round(), width=8, layers=2, heads=2, history_length=6,
        dropout=0.0,
    ).eval()  # fmt: skip
    start_from(again, OLD, weights, "recommend/old")
    history = torch.tensor([[0, 0, 1, 2, 3, 4]])
    torch.testing.assert_close(again(history)[:, 1:], old(history)[:, 1:], rtol=0, atol=1e-5)


def test_a_bias_follows_the_popularity_of_the_newer_log(old, new, weights):
    start_from(new, NEW, weights, "recommend/old")
    learnt = (old.bias - old.popularity).detach()
    kept = NEW.index("i07") + 1
    expected = new.popularity[kept] + learnt[OLD.index("i07") + 1]
    torch.testing.assert_close(new.bias[kept].detach(), expected)
    torch.testing.assert_close(
        new.bias[NEW.index("z") + 1].detach(),
        new.popularity[NEW.index("z") + 1] + learnt[1:].mean(),
    )


def test_a_new_item_lies_where_its_company_does(old, new, weights):
    """The layout is a turned copy of the earlier vectors, and 'z' lies in it where 'i11' does."""
    turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(2))).Q
    middle = old.items.weight[1:].mean(0)
    with torch.no_grad():
        for item in NEW:
            like = item if item in OLD else "i11"
            vector = old.items.weight[OLD.index(like) + 1]
            new.items.weight[NEW.index(item) + 1] = (vector - middle) @ turn
    start_from(new, NEW, weights, "recommend/old")
    torch.testing.assert_close(
        new.items.weight[NEW.index("z") + 1], old.items.weight[OLD.index("i11") + 1],
        rtol=0, atol=1e-4,
    )  # fmt: skip


def test_a_new_item_without_company_begins_in_the_middle(old, new, weights):
    with torch.no_grad():
        new.items.weight[NEW.index("z") + 1] = 0
    start_from(new, NEW, weights, "recommend/old")
    middle = old.items.weight[1:].mean(0)
    torch.testing.assert_close(new.items.weight[NEW.index("z") + 1], middle)


def test_with_too_few_items_of_both_all_new_ones_begin_in_the_middle(new, make_network):
    few = ("i01", "i02")
    old = make_network(items=2)
    weights = read_weights("recommend/old", weights_file(old, few))
    start_from(new, NEW, weights, "recommend/old")
    middle = old.items.weight[1:].mean(0)
    torch.testing.assert_close(new.items.weight[NEW.index("a") + 1], middle)


def test_a_network_of_another_kind_is_refused(new, make_network):
    for other in (make_network(width=4), make_network(layers=1)):
        weights = read_weights("recommend/old", weights_file(other, OLD[:12]))
        with pytest.raises(CannotGoOn, match="its network is of another kind"):
            start_from(new, NEW, weights, "recommend/old")


def test_the_sizes_are_the_earlier_networks_if_nothing_else_is_said(weights):
    config = sized_like(RecsysConfig(epochs=3, width=8), weights, "recommend/old")
    assert (config.width, config.layers, config.heads, config.history_length) == (8, 2, 2, 6)
    assert config.epochs == 3
    with pytest.raises(ConfigInvalid) as caught:
        sized_like(RecsysConfig(width=16, layers=2, heads=4), weights, "recommend/old")
    assert caught.value.faults == (
        "width: recommend/old has 8, so that 16 cannot go on from it",
        "heads: recommend/old has 2, so that 4 cannot go on from it",
    )
