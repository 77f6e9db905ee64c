"""Cross-entropies with label smoothing (Szegedy et al. 2016, arXiv:1512.00567)."""

from __future__ import annotations

import torch
from torch.nn import functional


def binary_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, smoothing: float = 0.0
) -> torch.Tensor:
    """Return the losses of log-odds, unreduced.

    Args:
        logits: Any shape.
        target: The same shape, 0 or 1.
        smoothing: Share of certainty given to both classes alike.
    """
    if smoothing:
        target = target * (1 - smoothing) + smoothing / 2
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, smoothing: float = 0.0
) -> torch.Tensor:
    """Return the losses of ``(N, K, …)`` logits for int64 classes ``(N, …)``, unreduced."""
    return functional.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
