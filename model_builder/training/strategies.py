"""Which weights of a network learn, and what becomes of them before the network is exported.

LoRA: Hu et al. 2021 (arXiv:2106.09685). DoRA: Liu et al. 2024 (arXiv:2402.09353). Gradual
unfreezing and learning rates that fall from layer to layer: Howard & Ruder 2018
(arXiv:1801.06146).
"""

from __future__ import annotations

from typing import Protocol

from torch import nn

from model_builder.errors import StrategyDoesNotApply
from model_builder.training.config import TrainingConfig
from model_builder.training.layers import Layers, find_layers


class Adaptation(Protocol):
    """A strategy at work on one network."""

    def start_epoch(self, epoch: int) -> None:
        """Let learn what learns in this epoch, from 0."""
        ...

    def finish(self) -> None:
        """Leave the network as it was built, holding what was learnt."""
        ...


class _Full:
    def start_epoch(self, epoch: int) -> None:
        pass

    def finish(self) -> None:
        pass


class _Gradual:
    """The head first; with time one layer more, from the last to the first."""

    def __init__(self, layers: Layers, every: int) -> None:
        self._layers = layers
        self._every = every

    def start_epoch(self, epoch: int) -> None:
        learning = min(epoch // self._every, len(self._layers.body))
        frozen = len(self._layers.body) - learning
        for number, layer in enumerate(self._layers.body):
            for weight in layer.values():
                weight.requires_grad_(number >= frozen)
                if number < frozen:
                    weight.grad = None

    def finish(self) -> None:
        _let_learn(self._layers)


class _Frozen:
    """Only the head learns."""

    def __init__(self, layers: Layers, body: list[nn.Parameter]) -> None:
        self._layers = layers
        self._body = body

    def start_epoch(self, epoch: int) -> None:
        for weight in self._body:
            weight.requires_grad_(False)

    def finish(self) -> None:
        for weight in self._body:
            weight.requires_grad_(True)


def adapt(model: nn.Module, config: TrainingConfig, processes: int = 1) -> Adaptation:
    """Make ``model`` ready to learn by ``config.strategy``, in place.

    Args:
        model: The network.
        config: The strategy and its settings.
        processes: That train together.

    Raises:
        StrategyDoesNotApply: If the network is not made for the strategy.
    """
    if config.strategy == "full":
        return _Full()
    layers = layers_of(model, config)
    if config.strategy in ("lora", "dora"):
        from model_builder.training.lora import LowRank

        return LowRank(model, layers, config)
    if not layers.head:
        raise StrategyDoesNotApply(
            config.strategy,
            "the network has no head that tells itself apart; name its modules, "
            "such as --set 'training.head=[classifier]'",
        )
    if config.strategy == "head":
        named = dict(model.named_parameters())
        return _Frozen(layers, [w for name, w in named.items() if name not in layers.head])
    if not layers.body:
        raise StrategyDoesNotApply("gradual", "the network has no list of blocks to unfreeze")
    if processes > 1:
        raise StrategyDoesNotApply(
            "gradual", f"{processes} processes train together; it needs a process alone"
        )
    return _Gradual(layers, config.unfreeze_every)


def layers_of(model: nn.Module, config: TrainingConfig) -> Layers:
    """Return the layers of ``model``.

    Raises:
        StrategyDoesNotApply: If it has no module that ``config.head`` names.
    """
    try:
        return find_layers(model, config.head)
    except KeyError as error:
        names = ", ".join(name for name, _ in model.named_children())
        raise StrategyDoesNotApply(
            config.strategy, f"there is no module {error} to be its head; it has {names}"
        ) from error


def _let_learn(layers: Layers) -> None:
    for layer in (*layers.body, layers.head):
        for weight in layer.values():
            weight.requires_grad_(True)
