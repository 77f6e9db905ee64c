"""How the weight matrices of a network that starts at random are laid out.

Glorot & Bengio 2010 (xavier), He et al. 2015 (kaiming), Saxe et al. 2014 (orthogonal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from model_builder.errors import StrategyDoesNotApply
from model_builder.training.config import TrainingConfig
from model_builder.training.layers import is_pretrained
from model_builder.training.strategies import layers_of

_SCHEMES: dict[str, Callable[[torch.Tensor], Any]] = {
    "xavier": nn.init.xavier_uniform_,
    "kaiming": lambda matrix: nn.init.kaiming_uniform_(matrix, nonlinearity="relu"),
    "orthogonal": nn.init.orthogonal_,
}


@runtime_checkable
class HasMatrices(Protocol):
    """A layer of our own, which says itself what its matrices are."""

    def matrices(self) -> Iterator[torch.Tensor]:
        """Give views, each ``(out, in)``."""
        ...


@torch.no_grad()
def initialise(model: nn.Module, config: TrainingConfig) -> None:
    """Lay out the matrices anew; what is pretrained and what is all zeros by intent stays.

    Raises:
        StrategyDoesNotApply: If nothing of the network starts at random.
    """
    if config.initialisation == "default":
        return
    fresh = _fresh(model, config)
    found = 0
    for module in model.modules():
        for matrix in _matrices(module):
            if id(matrix) in fresh or (matrix._base is not None and id(matrix._base) in fresh):
                _SCHEMES[config.initialisation](matrix)
                found += 1
    if not found:
        raise StrategyDoesNotApply(
            config.initialisation, "no weight matrix of the network starts at random"
        )


def _fresh(model: nn.Module, config: TrainingConfig) -> set[int]:
    if any(is_pretrained(module) for module in model.modules()):
        weights = list(layers_of(model, config).head.values())
    else:
        weights = list(model.parameters())
    return {id(weight) for weight in weights if weight.any()}


def _matrices(module: nn.Module) -> Iterator[torch.Tensor]:
    if isinstance(module, HasMatrices):
        yield from module.matrices()
    elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        yield module.weight
