from __future__ import annotations

import math

import pytest
import torch

from model_builder.recsys.transformer import NextItemNetwork
from model_builder.tabular.network import TabularNetwork
from model_builder.tabular.training import Batch, learns_in, member_loss
from model_builder.training.losses import binary_cross_entropy, cross_entropy


def test_smoothing_gives_some_certainty_to_both_classes() -> None:
    smooth = binary_cross_entropy(torch.tensor([2.0]), torch.tensor([1.0]), 0.2)
    yes, no = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert smooth.item() == pytest.approx(0.9 * yes + 0.1 * no)


def test_smoothing_gives_some_certainty_to_all_classes() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    surprise = -logits.log_softmax(1)[0]
    smooth = cross_entropy(logits, torch.tensor([0]), 0.3)
    assert smooth.item() == pytest.approx((0.7 * surprise[0] + 0.3 * surprise.mean()).item())


@pytest.mark.parametrize("logits", [1, 3])
def test_the_tables_networks_learn_smooth_targets(logits: int) -> None:
    network = TabularNetwork(members=2, columns=3, logits=logits, width=4, depth=1, dropout=0.0)
    batch = Batch(torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1]), torch.ones(5, 2))
    with torch.no_grad():
        network.linear.bias += 1.5 * torch.arange(logits, dtype=torch.float) + 1
        assert member_loss(network, batch, 0.2) != member_loss(network, batch)
    assert learns_in(batch) == 10


def test_the_recommender_learns_smooth_targets() -> None:
    def surprise(smoothing: float) -> float:
        torch.manual_seed(0)
        network = NextItemNetwork(
            torch.ones(9), width=8, layers=1, heads=1, history_length=4, dropout=0.0,
            label_smoothing=smoothing,
        )  # fmt: skip
        history = torch.tensor([[0, 1, 2, 3]])
        with torch.no_grad():
            return network(history, torch.tensor([[0, 2, 3, 4]])).item()

    assert surprise(0.0) != surprise(0.3)
