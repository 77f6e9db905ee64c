"""The step ``explain`` of an image release."""

from __future__ import annotations

import torch
from torch import nn

from model_builder.evaluation.scaling import Scaling

_SMALLEST = 1e-6


class Explain(nn.Module):
    """Says where the evidence for the likeliest class lies.

    Args:
        scaling: Of the calibration, which says what is likeliest.
    """

    constants: torch.Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.temperature = scaling.temperature
        self.register_buffer("constants", torch.tensor(scaling.constants))

    def forward(self, logits: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Return ``(B, y, x)`` float32 in [0, 1]; 0 where nothing speaks for the class.

        Args:
            logits: ``(B, K)``.
            maps: ``(B, K, y, x)``, what each place adds to each logit.
        """
        classes = maps.shape[1]
        likeliest = (logits / self.temperature + self.constants).argmax(1)
        chosen = nn.functional.one_hot(likeliest, classes).to(maps.dtype)[:, :, None, None]
        for_it = (maps * chosen).sum(1)
        for_others = (maps * (1 - chosen)).sum(1) / (classes - 1)
        evidence = (for_it - for_others).clamp(min=0)  # (B, y, x)
        greatest = evidence.amax((1, 2), keepdim=True)
        return evidence / greatest.clamp(min=_SMALLEST)
