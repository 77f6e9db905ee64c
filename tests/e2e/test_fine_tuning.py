"""A real pretrained network, MiniLM, fine-tuned by the loop that every task uses."""

from __future__ import annotations

from typing import Any

import minilm
import pytest
import torch
from intents import LABELS, intents

from model_builder.training.config import TrainingConfig
from model_builder.training.strategies import adapt

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

LOW_RANK = {"strategy": "lora", "lora_rank": 16, "lora_alpha": 32}
HEAD = ("classifier", "bert.pooler")


@pytest.fixture(scope="module", autouse=True)
def offline() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def fine_tuned(**options: Any) -> float:
    """Return the accuracy on texts that were not trained on."""
    network, tokenizer = minilm.load(len(LABELS))
    train, validation, test = (
        minilm.encode(tokenizer, *intents(rows, seed))
        for rows, seed in ((240, 1), (60, 2), (200, 3))
    )
    minilm.fine_tune(network, train, validation, epochs=4, warmup_share=0.1, **options)
    with torch.no_grad():
        return minilm.accuracy(network, test)


def test_lora_trains_few_weights_and_comes_close_to_all_of_them() -> None:
    probe, _ = minilm.load(len(LABELS))
    whole = sum(weight.numel() for weight in probe.parameters())
    adapt(probe, TrainingConfig(**LOW_RANK, head=HEAD)).start_epoch(0)
    learning = sum(weight.numel() for weight in probe.parameters() if weight.requires_grad)
    assert learning <= 0.05 * whole

    full = fine_tuned(learning_rate=3e-4)
    lora = fine_tuned(learning_rate=3e-3, head=HEAD, **LOW_RANK)
    assert full > 0.9  # 20 intents: chance is 0.05
    assert lora > full - 0.02
