from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from model_builder.errors import StrategyDoesNotApply
from model_builder.tabular.network import TabularNetwork
from model_builder.training.config import TrainingConfig
from model_builder.training.initialisation import initialise
from model_builder.training.seeding import seed_everything


def laid_out(scheme: str, width_in: int = 64, width_out: int = 64) -> torch.Tensor:
    seed_everything(0)
    layer = nn.Sequential(nn.Linear(width_in, width_out))
    initialise(layer, TrainingConfig(initialisation=scheme))
    return layer[0].weight.detach()


def test_xavier_spreads_by_both_sides() -> None:
    matrix = laid_out("xavier", 96, 32)
    assert matrix.abs().max() <= (6 / 128) ** 0.5
    assert matrix.std() == pytest.approx((2 / 128) ** 0.5, rel=0.05)


def test_kaiming_spreads_by_what_comes_in() -> None:
    assert laid_out("kaiming", 96, 32).std() == pytest.approx((2 / 96) ** 0.5, rel=0.05)


def test_orthogonal_is_a_rotation() -> None:
    matrix = laid_out("orthogonal")
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(64), atol=1e-5, rtol=0)


def test_default_changes_nothing() -> None:
    seed_everything(0)
    layer = nn.Linear(4, 4)
    before = layer.weight.detach().clone()
    initialise(layer, TrainingConfig())
    assert torch.equal(layer.weight, before)


def test_members_are_laid_out_one_by_one_and_zeros_stay() -> None:
    network = TabularNetwork(members=3, columns=8, logits=1, width=8, depth=1, dropout=0.0)
    bias = network.enter.bias.detach().clone()
    initialise(network, TrainingConfig(initialisation="orthogonal"))
    for member in network.enter.weight.detach():
        torch.testing.assert_close(member @ member.T, torch.eye(8), atol=1e-5, rtol=0)
    assert not network.leave.weight.any()
    assert torch.equal(network.enter.bias, bias)


def test_of_a_pretrained_network_only_the_head_is_laid_out() -> None:
    config = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9
    )
    bert = BertForSequenceClassification(config)
    before = {name: weight.detach().clone() for name, weight in bert.named_parameters()}
    initialise(bert, TrainingConfig(initialisation="xavier"))
    changed = [n for n, weight in bert.named_parameters() if not torch.equal(weight, before[n])]
    assert changed == ["classifier.weight"]


def test_nothing_to_lay_out_is_an_error() -> None:
    with pytest.raises(StrategyDoesNotApply, match="'kaiming' does not apply here"):
        initialise(nn.LayerNorm(4), TrainingConfig(initialisation="kaiming"))
