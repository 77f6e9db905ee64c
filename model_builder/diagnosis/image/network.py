"""A compact residual network for small images, and several of them as one.

Residual blocks: He et al. 2016 (arXiv:1512.03385). The last layer is linear in what it sees at
each place, so its class activation maps (Zhou et al. 2016, arXiv:1512.04150) add up to the logits
exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

_SMALL_SIDE = 40
"""Up to here the first layer looks at every pixel; above it, at a half, a quarter, …"""


class Seen(NamedTuple):
    """What a network makes of images."""

    logits: torch.Tensor
    """``(B, K)``."""
    maps: torch.Tensor
    """``(B, K, y, x)``: what each place adds to each logit, but for a constant."""
    features: torch.Tensor
    """``(B, D)``: what the last layer sees."""


class CompactNetwork(nn.Module):
    """Five residual blocks on three scales, about 0.17 million weights at a width of 16."""

    def __init__(self, channels: int, classes: int, side: int, width: int, dropout: float) -> None:
        """Make a network that is not trained.

        Args:
            channels: C of the images.
            classes: K.
            side: Of the images, in pixels.
            width: Channels of the first layer; the scales have one, two and four times as many.
            dropout: Before the last layer.
        """
        super().__init__()
        self.stem = nn.Sequential(*_stem(channels, width, side))
        self.blocks = nn.Sequential(
            _Block(width, width, 1),
            _Block(width, 2 * width, 2),
            _Block(2 * width, 2 * width, 1),
            _Block(2 * width, 4 * width, 2),
            _Block(4 * width, 4 * width, 1),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, images: torch.Tensor) -> Seen:
        """Return what is seen in ``(B, C, Y, X)`` prepared images."""
        places = self.blocks(self.stem(images))  # (B, D, y, x)
        features = places.mean((2, 3))
        return Seen(self.head(self.dropout(features)), activation_maps(places, self.head), features)


class Members(nn.Module):
    """Networks that answer together: logits and maps are means, features stand side by side."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ``logits``, ``maps`` and ``features`` of ``(B, C, Y, X)`` prepared images."""
        seen = [network(images) for network in self.networks]
        logits = torch.stack([one.logits for one in seen]).mean(0)
        maps = torch.stack([one.maps for one in seen]).mean(0)
        return logits, maps, torch.cat([one.features for one in seen], 1)


def activation_maps(places: torch.Tensor, head: nn.Linear) -> torch.Tensor:
    """Return ``(B, K, y, x)``, whose mean over the places is the logit less the bias.

    Args:
        places: ``(B, D, y, x)`` of which the head sees the mean.
        head: From D to K.
    """
    return functional.conv2d(places, head.weight[:, :, None, None])


def _stem(channels: int, width: int, side: int) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, 1, 1, bias=False)]
    if side > _SMALL_SIDE:
        layers = [nn.Conv2d(channels, width, 5, 2, 2, bias=False)]
    while side > 2 * _SMALL_SIDE:
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1, bias=False)]
        side //= 2
    return [*layers, nn.BatchNorm2d(width), nn.ReLU()]


class _Block(nn.Module):
    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(made)
        self.second = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(made)
        nn.init.zeros_(self.second_norm.weight)  # each block begins as doing nothing
        self.past: nn.Module = nn.Identity()
        if stride > 1 or given != made:
            self.past = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                nn.Conv2d(given, made, 1, bias=False),
                nn.BatchNorm2d(made),
            )

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        made = functional.relu(self.first_norm(self.first(given)))
        return functional.relu(self.past(given) + self.second_norm(self.second(made)))
