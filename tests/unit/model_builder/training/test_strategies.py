from __future__ import annotations

import copy
from typing import Any

import pytest
import small_training
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, BertModel

from model_builder.errors import StrategyDoesNotApply
from model_builder.training.config import TrainingConfig
from model_builder.training.layers import find_blocks, find_layers
from model_builder.training.seeding import seed_everything
from model_builder.training.session import Session
from model_builder.training.strategies import adapt

pytestmark = pytest.mark.usefixtures("quick_torch")

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 40,
    "max_position_embeddings": 12,
    "num_labels": 2,
}


@pytest.fixture
def bert() -> BertForSequenceClassification:
    seed_everything(0)
    return BertForSequenceClassification(BertConfig(**SMALL))


def tokens() -> torch.Tensor:
    return torch.randint(1, 40, (32, 8), generator=torch.Generator().manual_seed(0))


def loss(model: nn.Module, batch: small_training.Rows) -> torch.Tensor:
    """What the first token says, whatever the batch of rows."""
    found = model(input_ids=tokens()).logits
    return nn.functional.cross_entropy(found, (tokens()[:, 0] > 20).long())


def moved(model: nn.Module, **training: Any) -> set[str]:
    """Return the names of the weights that training moves."""
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    small_training.train(model, loss=loss, validate=lambda _: 0.0, **training)
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    assert all(weight.requires_grad for weight in after.values())
    return {name for name, weight in after.items() if not torch.equal(weight, before[name])}


def layer(names: set[str], number: int) -> set[str]:
    return {name for name in names if f"encoder.layer.{number}." in name}


def test_full_moves_every_layer(bert: nn.Module) -> None:
    names = moved(bert, epochs=1)
    assert all(layer(names, number) for number in range(3))
    assert {"classifier.weight", "bert.embeddings.word_embeddings.weight"} <= names


@pytest.mark.parametrize("strategy", ["lora", "dora"])
def test_low_rank_moves_the_linear_layers_and_the_head(bert: nn.Module, strategy: str) -> None:
    linear = {
        f"{name}.weight"
        for name, module in bert.named_modules()
        if isinstance(module, nn.Linear) and name != "classifier"
    }
    names = moved(bert, epochs=1, strategy=strategy, lora_rank=2)
    assert names == linear | {"classifier.weight", "classifier.bias"}


def test_low_rank_changes_a_matrix_by_its_rank(bert: nn.Module) -> None:
    matrix = bert.bert.encoder.layer[0].intermediate.dense.weight
    before = matrix.detach().clone()
    moved(bert, epochs=2, strategy="lora", lora_rank=2)
    after = bert.bert.encoder.layer[0].intermediate.dense.weight
    assert torch.linalg.matrix_rank(after.detach() - before, rtol=1e-3) == 2


def test_what_was_merged_answers_like_what_was_trained(bert: nn.Module) -> None:
    answers: list[torch.Tensor] = []
    kept = copy.deepcopy(bert)

    def validate(model: nn.Module) -> float:
        answers.append(model(input_ids=tokens()).logits)
        return float(len(answers))  # the last is the best

    small_training.train(bert, loss=loss, validate=validate, strategy="dora")
    with torch.no_grad():
        torch.testing.assert_close(bert(input_ids=tokens()).logits, answers[-1])
    assert [name for name, _ in bert.named_modules()] == [n for n, _ in kept.named_modules()]


def test_head_moves_the_head_alone(bert: nn.Module) -> None:
    assert moved(bert, epochs=1, strategy="head") == {"classifier.weight", "classifier.bias"}


def test_gradual_moves_a_layer_more_with_each_epoch(bert: nn.Module) -> None:
    names = [name for name, _ in bert.named_parameters()]
    seen: list[set[int]] = []
    last = {name: weight.detach().clone() for name, weight in bert.named_parameters()}

    def observe(stage: str, epoch: object) -> None:
        now = dict(bert.named_parameters())
        changed = {name for name in names if not torch.equal(now[name], last[name])}
        last.update({name: weight.detach().clone() for name, weight in now.items()})
        assert "classifier.weight" in changed
        layers = {number for number in range(3) if layer(changed, number)}
        embeddings = any("embeddings" in name for name in changed)
        seen.append(layers | ({-1} if embeddings else set()))

    with Session(observe=observe):
        moved(bert, epochs=6, strategy="gradual", schedule="constant")
    assert seen == [set(), {2}, {1, 2}, {0, 1, 2}, {-1, 0, 1, 2}, {-1, 0, 1, 2}]


def test_gradual_waits_as_long_as_it_is_told(bert: nn.Module) -> None:
    adaptation = adapt(bert, TrainingConfig(strategy="gradual", unfreeze_every=3))
    adaptation.start_epoch(2)
    learning = [n for n, w in bert.named_parameters() if w.requires_grad]
    assert learning == ["classifier.weight", "classifier.bias"]
    adaptation.start_epoch(3)
    assert "bert.pooler.dense.weight" in [n for n, w in bert.named_parameters() if w.requires_grad]


def test_lower_layers_learn_more_slowly(bert: nn.Module) -> None:
    """AdamW moves every weight by its learning rate at the first step."""
    before = copy.deepcopy(dict(bert.named_parameters()))
    fast = {"schedule": "constant", "warmup_share": 0.0, "layer_decay": 0.5, "clip_norm": 0.0}
    bert.eval()  # dropout would hide a gradient
    small_training.train(
        bert, epochs=1, learning_rate=1e-4, loss=loss, validate=lambda _: 0.0, **fast
    )
    moves = {
        name: float((weight.detach() - before[name].detach()).abs().max())
        for name, weight in bert.named_parameters()
    }
    biases = [f"bert.encoder.layer.{number}.output.dense.bias" for number in range(3)]
    biases.append("classifier.bias")
    rates = [moves[name] for name in biases]
    assert rates[3] / rates[2] == pytest.approx(2, rel=0.35)
    assert rates[3] / rates[0] == pytest.approx(8, rel=0.35)
    assert rates == sorted(rates)


def test_the_layers_of_a_transformer(bert: nn.Module) -> None:
    layers = find_layers(bert)
    assert list(layers.head) == ["classifier.weight", "classifier.bias"]
    assert [len(part) for part in layers.body] == [5, 16, 16, 18]  # the pooler is in the last
    assert sum(len(part) for part in layers.body) + 2 == len(list(bert.parameters()))


def test_a_network_of_our_own_around_a_transformer_is_its_head() -> None:
    class Tagged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.reads = BertModel(BertConfig(**SMALL), add_pooling_layer=False)
            self.decides = nn.Linear(16, 2)

    layers = find_layers(Tagged())
    assert list(layers.head) == ["decides.weight", "decides.bias"]
    assert len(layers.body) == 4


def test_a_head_can_be_named() -> None:
    layers = find_layers(small_training.network(), ["2"])
    assert list(layers.head) == ["2.weight", "2.bias"]
    assert [next(iter(part)) for part in layers.body] == [
        "0.weight",
        "1.0.norm.weight",
        "1.1.norm.weight",
    ]


def test_only_lists_of_like_modules_with_parts_are_blocks() -> None:
    assert find_blocks(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == ("", [])
    assert find_blocks(small_training.network(blocks=3))[0] == "1"


@pytest.mark.parametrize(
    ("training", "cause"),
    [
        ({"strategy": "head"}, "'head' does not apply here: the network has no head"),
        ({"strategy": "gradual"}, "'gradual' does not apply here: the network has no head"),
        ({"strategy": "head", "head": ["3"]}, "no module '3' to be its head; it has 0, 1, 2"),
    ],
    ids=["head", "gradual", "unknown-head"],
)
def test_a_network_without_a_head_is_refused(training: dict[str, Any], cause: str) -> None:
    with pytest.raises(StrategyDoesNotApply, match=cause):
        small_training.train(small_training.network(), **training)


def test_a_network_without_linear_layers_takes_no_lora() -> None:
    with pytest.raises(StrategyDoesNotApply, match=r"'lora' does not apply here.*no linear layer"):
        adapt(nn.Embedding(3, 2), TrainingConfig(strategy="lora"))


def test_a_network_without_blocks_is_not_unfrozen_by_layers() -> None:
    plain = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(StrategyDoesNotApply, match="no list of blocks to unfreeze"):
        small_training.train(plain, strategy="gradual", head=["2"])
    with pytest.raises(StrategyDoesNotApply, match=r"'layer_decay'.*no list of blocks"):
        small_training.train(plain, layer_decay=0.9)


def test_gradual_needs_a_process_alone(bert: nn.Module) -> None:
    with pytest.raises(StrategyDoesNotApply, match="2 processes train together"):
        adapt(bert, TrainingConfig(strategy="gradual"), processes=2)
