"""The step ``prepare`` of an image release: from pixels to what a network sees."""

from __future__ import annotations

import torch
from torch import nn

_SMALLEST_SPREAD = 1e-3
"""An image of one colour has no spread to divide by."""


class Prepare(nn.Module):
    """Turns pixels into numbers around 0.

    Args:
        channels: That the network takes; grey is repeated where it takes three.
        mean: Of each of the network's channels, in [0, 1]; what a base was trained with.
        spread: The same of the standard deviation.
        equalise: Give every image the same mean and spread instead.
    """

    def __init__(
        self,
        channels: int,
        mean: tuple[float, ...] = (0.5,),
        spread: tuple[float, ...] = (0.25,),
        equalise: bool = True,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.equalise = equalise
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("spread", torch.tensor(spread).view(1, -1, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return ``(B, channels, Y, X)`` float32 of ``(B, Y, X, C)`` uint8."""
        return self.normalised(unit(pixels))

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(B, channels, Y, X)`` of ``(B, C, Y, X)`` float32, 0 black and 1 white."""
        if self.equalise:
            centred = images - images.mean((1, 2, 3), keepdim=True)
            spread = centred.square().mean((1, 2, 3), keepdim=True).sqrt()
            images = centred / (spread + _SMALLEST_SPREAD)
            return images.expand(-1, self.channels, -1, -1)
        return (images.expand(-1, self.channels, -1, -1) - self.mean) / self.spread


def unit(pixels: torch.Tensor) -> torch.Tensor:
    """Return ``(B, C, Y, X)`` float32 in [0, 1] of ``(B, Y, X, C)`` uint8."""
    return pixels.permute(0, 3, 1, 2).float() / 255
