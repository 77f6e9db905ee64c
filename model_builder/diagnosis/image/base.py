"""A pretrained transformers image model with a head of our own.

The head is linear in the mean over the places that the model tells apart (the patches of a
transformer, the last grid of a convolutional network), so that its class activation maps add up to
the logits, whatever the model.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model_builder.diagnosis.image.network import Seen, activation_maps
from model_builder.diagnosis.pretrained import first_line, load_pretrained
from model_builder.errors import BaseUnusable
from triton_models.release import ImageSpec

_USUAL_MEAN, _USUAL_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, where a model does not say."""
_USUAL_SIDE = 224
HEAD = "head"
"""The module that is the head, for the ways to train that need to know."""


@dataclass(frozen=True)
class Base:
    """A pretrained model on this machine."""

    name: str
    """As it was asked for."""
    side: int
    channels: int
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    def check(self, spec: ImageSpec) -> None:
        """Check that the model takes the images of a data set.

        Raises:
            BaseUnusable: If it wants other channels; another size is for :meth:`network` to try.
        """
        if spec.channels not in (1, self.channels):
            raise BaseUnusable(
                self.name, f"it takes images of {self.channels} channel, these have {spec.channels}"
            )

    def network(self, classes: int, dropout: float, side: int | None = None) -> BaseNetwork:
        """Return the model with a head that is not trained.

        Args:
            classes: K.
            dropout: Before the head.
            side: Of the images that it is to take; by default its own.

        Raises:
            BaseUnusable: If it is no image model that tells places apart.
        """
        base = load_pretrained(self.name)
        try:
            network = BaseNetwork(base, self.channels, side or self.side, classes, dropout)
        except (TypeError, ValueError, RuntimeError) as error:  # no images, or none of this size
            raise BaseUnusable(self.name, first_line(error)) from error
        return network.train()


class BaseNetwork(nn.Module):
    """The model and its head."""

    def __init__(
        self, base: nn.Module, channels: int, side: int, classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.base = base
        with torch.no_grad():
            found = _places(base.eval()(torch.zeros(1, channels, side, side)), base)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(found.shape[1], classes)

    def forward(self, images: torch.Tensor) -> Seen:
        """Return what is seen in ``(B, C, Y, X)`` prepared images."""
        places = _places(self.base(images), self.base)  # (B, D, y, x)
        features = places.mean((2, 3))
        return Seen(self.head(self.dropout(features)), activation_maps(places, self.head), features)


def find_base(name: str) -> Base:
    """Return what is known of a model, a folder or a name of the hub.

    Raises:
        BaseUnusable: If it cannot be had, or is no image model.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise BaseUnusable(name, first_line(error)) from error
    settings = _preprocessing(name)
    side = settings.get("crop_size") or settings.get("size") or getattr(config, "image_size", None)
    channels = int(getattr(config, "num_channels", 3))
    return Base(
        name,
        _side(side),
        channels,
        _per_channel(settings.get("image_mean"), _USUAL_MEAN, channels),
        _per_channel(settings.get("image_std"), _USUAL_SPREAD, channels),
    )


def _preprocessing(name: str) -> dict[str, Any]:
    """Return what the model's own preprocessing says; empty if it has none."""
    from transformers.utils import cached_file

    try:
        found = cached_file(name, "preprocessor_config.json")
    except OSError:
        return {}
    return dict(json.loads(Path(found).read_text(encoding="utf-8"))) if found else {}


def _places(output: Any, base: nn.Module) -> torch.Tensor:
    """Return ``(B, D, y, x)``, what a model sees at each place."""
    states = getattr(output, "last_hidden_state", None)
    if states is None or states.ndim not in (3, 4):
        raise BaseUnusable(type(base).__name__, "it does not tell places of an image apart")
    if states.ndim == 4:
        return states
    side = math.isqrt(states.shape[1])
    places = states[:, states.shape[1] - side * side :]  # the tokens before stand for the whole
    return places.transpose(1, 2).unflatten(2, (side, side))


def _side(size: Any) -> int:
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    if isinstance(size, list | tuple):
        size = size[0]
    return int(size or _USUAL_SIDE)


def _per_channel(values: Any, usual: tuple[float, ...], channels: int) -> tuple[float, ...]:
    found = tuple(float(value) for value in values or usual)
    return found if len(found) == channels else (sum(found) / len(found),) * channels
