"""Changes training images as scanners, positions and exposures do; each row by its own draw."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from model_builder.diagnosis.image.config import Augmentation

_ELASTIC_GRID = 4
_ELASTIC_SIDE = 28
_CUTOUT_SIDES = (0.15, 0.4)
_SHARPER, _BLURRED = -0.5, 1.0


class Augmenter:
    """Draws by a generator of its own.

    Args:
        how: How far to go.
        generator: Decides every change.
    """

    def __init__(self, how: Augmentation, generator: torch.Generator) -> None:
        self._how = how
        self._generator = generator

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return changed images, ``(B, C, Y, X)`` float32; black is 0 and white is 1."""
        images = self._moved(images)
        if self._how.blur:
            images = self._blurred(images)
        images = self._exposed(images)
        return self._cut(images) if self._how.cutout else images

    def mixed(self, images: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images and truth, each row mixed with another one (mixup).

        Args:
            images: ``(B, C, Y, X)``.
            truth: ``(B, K)``, the share of each class.
        """
        alpha = self._how.mixup
        if not alpha:
            return images, truth
        share = self._beta(alpha)
        other = torch.randperm(len(images), generator=self._generator)
        return (
            share * images + (1 - share) * images[other],
            share * truth + (1 - share) * truth[other],
        )

    def _uniform(self, rows: int, low: float, high: float) -> torch.Tensor:
        return torch.rand(rows, generator=self._generator) * (high - low) + low

    def _either_way(self, rows: int, most: float) -> torch.Tensor:
        return self._uniform(rows, -most, most)

    def _beta(self, alpha: float) -> float:
        # torch's own distribution takes no generator.
        one, other = (
            torch._standard_gamma(torch.tensor([alpha]), generator=self._generator).item()
            for _ in range(2)
        )
        return one / (one + other) if one + other > 0 else 1.0

    def _moved(self, images: torch.Tensor) -> torch.Tensor:
        how, rows = self._how, len(images)
        angle = self._either_way(rows, math.radians(how.rotation))
        slant = self._either_way(rows, math.radians(how.shear))
        size = self._either_way(rows, how.scale).exp()
        proportion = self._either_way(rows, how.scale / 2).exp()
        across, down = self._either_way(rows, 2 * how.shift), self._either_way(rows, 2 * how.shift)
        cos, sin = angle.cos(), angle.sin()
        if how.flip:
            turned = torch.rand(rows, generator=self._generator) < 0.5
            across_sign = torch.where(turned, -1.0, 1.0)
        else:
            across_sign = torch.ones(rows)
        affine = torch.stack(
            [
                torch.stack([cos * size * proportion * across_sign, slant - sin * size, across], 1),
                torch.stack([sin * size * across_sign, cos * size / proportion, down], 1),
            ],
            1,
        )  # (B, 2, 3)
        grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
        if how.elastic:
            coarse = torch.randn(rows, 2, _ELASTIC_GRID, _ELASTIC_GRID, generator=self._generator)
            smooth = functional.interpolate(coarse, images.shape[2:], mode="bicubic")
            grid = grid + smooth.permute(0, 2, 3, 1) * (2 * how.elastic / _ELASTIC_SIDE)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def _blurred(self, images: torch.Tensor) -> torch.Tensor:
        rows, channels = images.shape[:2]
        line = torch.tensor([0.25, 0.5, 0.25])
        kernel = (line[:, None] * line).expand(channels, 1, 3, 3)
        around = functional.pad(images, (1, 1, 1, 1), mode="replicate")
        soft = functional.conv2d(around, kernel, groups=channels)
        amount = self._uniform(rows, _SHARPER, _BLURRED)
        chosen = torch.rand(rows, generator=self._generator) < self._how.blur
        return images + (amount * chosen).view(-1, 1, 1, 1) * (soft - images)

    def _exposed(self, images: torch.Tensor) -> torch.Tensor:
        how, rows = self._how, len(images)
        gamma = self._either_way(rows, how.gamma).exp().view(-1, 1, 1, 1)
        images = images.clamp(0, 1) ** gamma
        mean = images.mean((1, 2, 3), keepdim=True)
        contrast = self._either_way(rows, how.contrast).exp().view(-1, 1, 1, 1)
        brightness = self._either_way(rows, how.brightness).view(-1, 1, 1, 1)
        images = (images - mean) * contrast + mean + brightness
        if how.noise:
            deviation = self._uniform(rows, 0, how.noise).view(-1, 1, 1, 1)
            images = images + deviation * torch.randn(images.shape, generator=self._generator)
        return images

    def _cut(self, images: torch.Tensor) -> torch.Tensor:
        rows, _, height, width = images.shape
        half = self._uniform(rows, *_CUTOUT_SIDES).view(-1, 1, 1) / 2
        down, across = (self._uniform(rows, 0, 1).view(-1, 1, 1) for _ in range(2))
        y = ((torch.arange(height) + 0.5) / height).view(1, -1, 1)
        x = ((torch.arange(width) + 0.5) / width).view(1, 1, -1)
        chosen = (torch.rand(rows, generator=self._generator) < self._how.cutout).view(-1, 1, 1)
        hole = ((y - down).abs() < half) & ((x - across).abs() < half) & chosen
        return torch.where(hole[:, None], images.mean((1, 2, 3), keepdim=True), images)
