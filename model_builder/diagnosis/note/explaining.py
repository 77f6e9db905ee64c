"""The step ``explain`` of a note release.

The network is linear in the mean of what it sees at each token, so each token's share of a logit
is known without a gradient and without asking again: the explanation costs one product of
matrices. What a token shows has heard of its neighbours, as far as the layers below reach.
"""

from __future__ import annotations

import torch
from torch import nn

from model_builder.evaluation.scaling import Scaling


class Explain(nn.Module):
    """Says which tokens speak for the likeliest class.

    Args:
        scaling: Of the calibration, which says what is likeliest: of two classes, the weights are
            log-odds as answered, but for a constant.
    """

    constants: torch.Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.temperature = scaling.temperature
        self.register_buffer("constants", torch.tensor(scaling.constants))

    def forward(self, logits: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Return ``(B, T)``: by how much a token lifts the class above the mean of the others.

        Args:
            logits: ``(B, K)``.
            shares: ``(B, T, K)``, what each token adds to each logit.
        """
        classes = shares.shape[2]
        likeliest = (logits / self.temperature + self.constants).argmax(1)
        chosen = nn.functional.one_hot(likeliest, classes).to(shares.dtype)[:, None]
        for_it = (shares * chosen).sum(2)
        for_others = (shares * (1 - chosen)).sum(2) / (classes - 1)
        return (for_it - for_others) / self.temperature
