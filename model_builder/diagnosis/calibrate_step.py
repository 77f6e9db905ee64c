"""The step ``calibrate`` of a release whose network tells what it sees."""

from __future__ import annotations

import torch
from torch import nn

from model_builder.diagnosis.unusual import Unusualness, Usual
from model_builder.evaluation.scaling import Scaling


class Calibrate(nn.Module):
    """Turns logits into probabilities, and features into how unusual they are."""

    constants: torch.Tensor

    def __init__(self, scaling: Scaling, usual: Usual) -> None:
        super().__init__()
        self.temperature = scaling.temperature
        self.register_buffer("constants", torch.tensor(scaling.constants))
        self.unusualness = Unusualness(usual)

    def forward(
        self, logits: torch.Tensor, features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``probabilities (B, K)`` and ``unusualness (B, 1)``.

        Args:
            logits: ``(B, K)``.
            features: ``(B, D)``.
        """
        scaled = logits / self.temperature + self.constants
        return scaled.softmax(1), self.unusualness(features)
