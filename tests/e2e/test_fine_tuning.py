"""A real pretrained network, MiniLM, fine-tuned by the loop that every task uses."""

from __future__ import annotations

from typing import Any

import minilm
import pytest
import torch
from intents import LABELS, intents
from torch import nn

from model_builder.training.config import TrainingConfig
from model_builder.training.strategies import adapt

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module", autouse=True)
def offline() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def fine_tuned(rows: int = 240, epochs: int = 4, **options: Any) -> tuple[nn.Module, float]:
    """Return the network, and its accuracy on texts that were not trained on."""
    network, tokenizer = minilm.load(len(LABELS))
    train, validation, test = (
        minilm.encode(tokenizer, *intents(rows, seed))
        for rows, seed in ((rows, 1), (60, 2), (200, 3))
    )
    minilm.fine_tune(
        network, train, validation, epochs=epochs, learning_rate=3e-4, warmup_share=0.1, **options
    )
    with torch.no_grad():
        return network, minilm.accuracy(network, test)


def test_lora_trains_few_weights_and_comes_close_to_all_of_them() -> None:
    probe, _ = minilm.load(len(LABELS))
    whole = sum(weight.numel() for weight in probe.parameters())
    adapt(probe, TrainingConfig(strategy="lora")).start_epoch(0)
    learning = sum(weight.numel() for weight in probe.parameters() if weight.requires_grad)
    assert learning <= 0.05 * whole

    _, full = fine_tuned()
    _, lora = fine_tuned(strategy="lora")
    assert full > 0.9  # 20 intents: chance is 0.05
    assert lora > full - 0.02


def test_dora_learns_and_is_merged() -> None:
    network, right = fine_tuned(strategy="dora", epochs=2)
    assert right > 0.25  # it has only begun; chance is 0.05
    assert all("lora" not in name for name, _ in network.named_modules())


def test_gradual_unfreezing_reaches_only_the_layers_whose_turn_came() -> None:
    before, _ = minilm.load(len(LABELS))
    network, right = fine_tuned(strategy="gradual", epochs=3)
    assert right > 0.5
    old = dict(before.named_parameters())
    moved = {n for n, weight in network.named_parameters() if not torch.equal(weight, old[n])}
    layers = {number for number in range(6) if any(f"layer.{number}." in n for n in moved)}
    assert layers <= {4, 5}  # the head, then the last layer, then the one before
    assert "classifier.weight" in moved
    assert not any("embeddings" in name for name in moved)
