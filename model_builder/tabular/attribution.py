"""What is exported of a packed network: its logit, and each feature's share of it.

The shares are those of DeepLIFT's Rescale rule (Shrikumar et al. 2017, arXiv:1704.02685): every
unit passes on by its mean slope along the straight path from what it is at a typical row to what it
is at this one. So they add up, exactly, to the distance of the logit from that of the typical row;
a feature at its typical value has the share 0. They cost one pass back through the network, about
as much as the pass forward, whatever the number of features.
"""

from __future__ import annotations

import torch
from torch import nn

from model_builder.tabular.packed import Folded, PackedNetwork

_CLOSE = 1e-6
"""Two values nearer than this have the slope of the point between them."""


class AttributedNetwork(nn.Module):
    """Maps ``inputs`` ``(B, D)`` to ``logits`` ``(B, 1)`` and ``attributions`` ``(B, F)``."""

    owners: torch.Tensor
    typical: torch.Tensor
    linear: torch.Tensor

    def __init__(self, network: PackedNetwork, owners: torch.Tensor, typical: torch.Tensor) -> None:
        """Take the weights of ``network``.

        Args:
            network: Trained; its scales and signs are worked into the weights.
            owners: ``(F, D)`` bool, which columns belong to a feature.
            typical: ``(D,)`` float32, the columns of a row that is typical throughout.
        """
        super().__init__()
        hidden, leave, linear = network.folded()
        first, *rest = hidden
        members, columns, width = first.weight.shape
        self._members, self._width, self._depth = members, width, len(hidden)
        # All members in one multiplication: (D, M * H).
        self.register_buffer("enter", first.weight.permute(1, 0, 2).reshape(columns, -1))
        self.register_buffer("enter_bias", first.bias.reshape(1, -1))
        for number, layer in enumerate(rest):
            self.register_buffer(f"weight{number}", layer.weight)
            self.register_buffer(f"bias{number}", layer.bias)
        self.register_buffer("leave", leave.weight / members)
        self.register_buffer("leave_bias", leave.bias.mean().reshape(1, 1))
        self.register_buffer("linear", linear)
        self.register_buffer("owners", owners.T.float())
        self.register_buffer("typical", typical[None])
        with torch.no_grad():
            sums, _ = self._forward(self.typical)
        for number, at_typical in enumerate(sums):
            self.register_buffer(f"sum{number}", at_typical)

    def _layers(self) -> list[Folded]:
        return [
            Folded(getattr(self, f"weight{i}"), getattr(self, f"bias{i}"))
            for i in range(self._depth - 1)
        ]

    def _forward(self, inputs: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return what enters each ReLU, ``(M, B, H)``, and the logits ``(B, 1)``."""
        entered = inputs @ self.enter + self.enter_bias
        entered = entered.reshape(-1, self._members, self._width).transpose(0, 1)  # (M, B, H)
        sums = [entered]
        for layer in self._layers():
            sums.append(torch.baddbmm(layer.bias, torch.relu(sums[-1]), layer.weight))
        deep = torch.bmm(torch.relu(sums[-1]), self.leave).sum(dim=0)  # (B, 1)
        return sums, deep + self.leave_bias + inputs @ self.linear

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean logit of the members, and the features' shares of its distance."""
        sums, logits = self._forward(inputs)
        passed = self.leave.transpose(1, 2)  # (M, 1, H)
        for number in reversed(range(self._depth)):
            passed = passed * _slope(sums[number], getattr(self, f"sum{number}"))  # (M, B, H)
            if number:
                passed = torch.bmm(passed, getattr(self, f"weight{number - 1}").transpose(1, 2))
        back = passed.transpose(0, 1).reshape(-1, self._members * self._width)
        slopes = back @ self.enter.T + self.linear.T  # (B, D)
        return logits, (slopes * (inputs - self.typical)) @ self.owners


def _slope(here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Return the mean slope of ReLU between two values."""
    distance = here - there
    close = distance.abs() < _CLOSE
    rise = (torch.relu(here) - torch.relu(there)) / torch.where(close, 1.0, distance)
    return torch.where(close, (here + there > 0).to(here.dtype), rise)
