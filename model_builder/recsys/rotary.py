"""Where an item stands, told to attention by turning its query and key.

Rotary positions (Su et al. 2021, arXiv:2104.09864): what two places say to each other depends on
how far apart they are and on nothing else, so a short history is read like the end of a long one,
and attention needs no term of its own that a fused kernel could not have.
"""

from __future__ import annotations

import torch

_BASE = 10_000.0


def turns(length: int, width: int) -> torch.Tensor:
    """Return the angles' cosines and sines, ``(2, L, width / 2)`` float32.

    Args:
        length: ``L``, places.
        width: Of a head; even.
    """
    speeds = _BASE ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * speeds
    return torch.stack([angles.cos(), angles.sin()])


def turned(values: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Turn ``values`` ``(…, L, width)``, place by place, by ``(2, L, width / 2)``."""
    cosine, sine = by[0], by[1]
    first, second = values.chunk(2, -1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1)
