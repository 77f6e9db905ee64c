"""What moves the weights: AdamW, SGD, Lion or Muon, with the weights in groups.

AdamW: Loshchilov & Hutter 2019 (arXiv:1711.05101). Muon: Jordan et al. 2024, in torch, with
Moonshot's scale (Liu et al. 2025, arXiv:2502.16982), so that AdamW's learning rates fit it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from model_builder.errors import StrategyDoesNotApply
from model_builder.training.config import TrainingConfig
from model_builder.training.joined import JoinedOptimizer
from model_builder.training.lion import Lion
from model_builder.training.strategies import layers_of

Groups = list[dict[str, Any]]


def make_optimizer(
    model: nn.Module, config: TrainingConfig, *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return the optimiser of every weight of ``model`` that may learn at some time.

    Raises:
        StrategyDoesNotApply: If the network has not what the setting needs.
    """
    groups = parameter_groups(model, config, learning_rate, weight_decay)
    # Fused: one call for all weights, which torch takes by itself on no device.
    match config.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=learning_rate, fused=True)
        case "sgd":
            momentum = config.momentum
            return torch.optim.SGD(
                groups, lr=learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True
            )
        case "lion":
            return Lion(groups, lr=learning_rate)
        case "muon":
            return _muon(groups, learning_rate)


def parameter_groups(
    model: nn.Module, config: TrainingConfig, learning_rate: float, weight_decay: float
) -> Groups:
    """Group the weights by whether they decay and, with ``layer_decay``, by layer.

    Matrices decay only: norms and biases are scales, embeddings of rare IDs would vanish.
    """
    embeddings = {
        id(weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        for weight in module.parameters(recurse=False)
    }
    if config.strategy in ("lora", "dora"):
        learning_rate *= config.lora_rate
    groups: Groups = []
    for weights, factor in _with_factors(model, config):
        decayed = [w for w in weights if w.ndim >= 2 and id(w) not in embeddings]
        chosen = {id(weight) for weight in decayed}
        kept = [w for w in weights if id(w) not in chosen]
        rate = learning_rate * factor
        # Told by a key of its own: a decay of 0 makes an embedding of no matrix.
        of_both = {"lr": rate}
        groups.append({"params": decayed, "weight_decay": weight_decay, "decays": True, **of_both})
        groups.append({"params": kept, "weight_decay": 0.0, "decays": False, **of_both})
    return [group for group in groups if group["params"]]


def _with_factors(
    model: nn.Module, config: TrainingConfig
) -> Iterable[tuple[list[nn.Parameter], float]]:
    """Give the weights that learn, with the factor on their learning rate."""
    if config.layer_decay == 1:
        return [(_learning(model.parameters()), 1.0)]
    layers = layers_of(model, config)
    if not layers.body:
        raise StrategyDoesNotApply("layer_decay", "the network has no list of blocks")
    given = [*layers.body, layers.head]
    factors = [config.layer_decay ** (len(given) - 1 - place) for place in range(len(given))]
    return [
        (_learning(layer.values()), factor) for layer, factor in zip(given, factors, strict=True)
    ]


def _learning(weights: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [weight for weight in weights if weight.requires_grad]


def _muon(groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
    """Give the matrices to Muon, which knows nothing else, and the rest to AdamW."""
    matrices = [
        {**group, "params": [w for w in group["params"] if w.ndim == 2]}
        for group in groups
        if group["decays"]
    ]
    chosen = {id(weight) for group in matrices for weight in group["params"]}
    if not chosen:
        raise StrategyDoesNotApply("muon", "the network has no weight matrix of two axes")
    others = [
        {**group, "params": [w for w in group["params"] if id(w) not in chosen]} for group in groups
    ]
    parts: list[torch.optim.Optimizer] = [
        torch.optim.Muon(
            [group for group in matrices if group["params"]],
            lr=learning_rate,
            adjust_lr_fn="match_rms_adamw",
        )
    ]
    if any(group["params"] for group in others):
        parts.append(
            torch.optim.AdamW(
                [group for group in others if group["params"]], lr=learning_rate, fused=True
            )
        )
    return JoinedOptimizer(parts)
