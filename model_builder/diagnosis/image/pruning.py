"""Removes what matters least of networks for images: they themselves get smaller.

Where several networks answer together, whole ones go first, as far as the share asks for them:
those that are worst on the validation rows. Channels of the others make up the rest.

Channels that are tied to each other, such as those that a residual block adds, go together:
DepGraph (Fang et al. 2023, arXiv:2301.12900), as the library torch-pruning has it. How much a
group matters is the size of all its weights. Counts are rounded to multiples of 8, which is what a
processor takes at once: fewer bring no speed.
"""

from __future__ import annotations

import math

import torch
import torch_pruning
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from model_builder.diagnosis.image.config import ImageConfig
from model_builder.diagnosis.image.network import CompactNetwork
from model_builder.errors import CannotGoOn, StrategyDoesNotApply
from model_builder.task import Learnt

MULTIPLE = 8
_RECOVERY = 0.35
"""Share of the steps of the training."""
_GENTLER = 0.5
"""Share of the learning rate of the training."""


class _Logits(nn.Module):
    """A network as far as its channels are tied: the maps read the head's weights once more."""

    def __init__(self, network: CompactNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        places = self.network.blocks(self.network.stem(images))
        logits: torch.Tensor = self.network.head(places.mean((2, 3)))
        return logits


def kept_members(count: int, share: float) -> int:
    """Return how many of ``count`` networks stay when a share of all of them is removed."""
    return max(1, math.ceil(count * (1 - share) - 1e-9))


def share_of_channels(count: int, share: float) -> float:
    """Return which share of the channels of those that stay is removed as well, 0 for none."""
    left = (1 - share) * count / kept_members(count, share)
    return round(max(0.0, 1 - left), 6)


def prune_channels(network: nn.Module, images: torch.Tensor, share: float) -> None:
    """Remove about this share of the channels of every layer, in place.

    Args:
        network: Trained.
        images: ``(B, C, Y, X)`` prepared, any.
        share: In [0, 1).

    Raises:
        StrategyDoesNotApply: If it is another kind of network.
    """
    if not isinstance(network, CompactNetwork):
        raise StrategyDoesNotApply("prune", "a pretrained base keeps its channels")
    pruner = torch_pruning.pruner.BasePruner(
        _Logits(network.eval()),
        images,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=share,
        ignored_layers=[network.head],  # a class is no channel
        round_to=MULTIPLE,
    )
    pruner.step()
    for weight in network.parameters():
        weight.grad = None


def recovering(config: ImageConfig) -> ImageConfig:
    """Return the settings of the training after the pruning: shorter, and gentler."""
    return config.model_copy(
        update={
            "steps": max(20, round(config.steps_taken * _RECOVERY)),
            "learning_rate": config.highest_rate * _GENTLER,
        }
    )


def weights_file(members: nn.Module) -> bytes:
    """Return the content of a safetensors file: no code, only numbers and names."""
    return save({name: one.contiguous() for name, one in members.state_dict().items()})


def start_from(network: nn.Module, prefix: str, learnt: Learnt) -> None:
    """Give a network what it had learnt.

    Args:
        network: Not trained.
        prefix: Of its tensors among all that were learnt.
        learnt: By a release.

    Raises:
        CannotGoOn: If that was another network.
    """
    try:
        tensors = load(learnt.weights)
        own = {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
        network.load_state_dict(own)
    except (SafetensorError, RuntimeError) as error:
        cause = str(error).splitlines()[0]
        raise CannotGoOn(learnt.release, f"its network is another one ({cause})") from error
