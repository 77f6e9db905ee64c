"""The network: several small residual MLPs side by side, and the occlusion that explains them.

``B`` row, ``M`` member, ``D`` column of the prepared input, ``H`` hidden, ``K`` logit,
``F`` feature.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn


class MemberLinear(nn.Module):
    """A linear layer with weights of its own for each member, in one multiplication."""

    def __init__(self, members: int, width_in: int, width_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width_in)
        self.weight = nn.Parameter(
            torch.empty(members, width_in, width_out).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.zeros(members, 1, width_out))

    def matrices(self) -> Iterator[torch.Tensor]:
        """Give each member's weights, ``(out, in)``."""
        return (member.T for member in self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(M, B, in)`` to ``(M, B, out)``."""
        return torch.baddbmm(self.bias, x, self.weight)


class MemberNorm(nn.Module):
    """Layer normalisation with a gain and a shift for each member."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        # Two axes would be decayed like a matrix; a gain is a scale and must not be.
        self.gain = nn.Parameter(torch.ones(members * width))
        self.shift = nn.Parameter(torch.zeros(members * width))
        self._shape = (members, 1, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last axis of ``(M, B, H)``."""
        centred = x - x.mean(dim=-1, keepdim=True)
        variance = (centred * centred).mean(dim=-1, keepdim=True)
        normal = centred * torch.rsqrt(variance + 1e-5)
        return normal * self.gain.view(self._shape) + self.shift.view(self._shape)


class Block(nn.Module):
    """A residual block: norm, widen, ReLU, dropout, narrow."""

    def __init__(self, members: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = MemberNorm(members, width)
        self.widen = MemberLinear(members, width, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.narrow = MemberLinear(members, 2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add to ``(M, B, H)``."""
        hidden = self.dropout(torch.relu(self.widen(self.norm(x))))  # (M, B, 2H)
        return x + self.narrow(hidden)


class TabularNetwork(nn.Module):
    """M members that share nothing but the batch, each a linear model plus a residual MLP.

    The linear path makes each member at least a logistic regression, which is hard to beat
    on small tables; the MLP adds what is not linear. Source: Wide & Deep (Cheng et al. 2016),
    blocks of RTDL's ResNet (Gorishniy et al. 2021), ensemble as in deep ensembles
    (Lakshminarayanan et al. 2017).
    """

    def __init__(
        self, *, members: int, columns: int, logits: int, width: int, depth: int, dropout: float
    ) -> None:
        super().__init__()
        self.members = members
        self.linear = MemberLinear(members, columns, logits)
        self.enter = MemberLinear(members, columns, width)
        self.blocks = nn.Sequential(*(Block(members, width, dropout) for _ in range(depth)))
        self.norm = MemberNorm(members, width)
        self.leave = MemberLinear(members, width, logits)
        # Training starts from 0.5 for every row: what is small data would not unlearn noise.
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.leave.weight)

    @torch.no_grad()
    def begin_linear(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Let the linear path begin as ``(M, D, K)`` and ``(M, 1, K)``, and be all there is."""
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)

    @torch.no_grad()
    def keep_deep(self, share: float) -> None:
        """Let what the residual MLPs add count so much of what it did."""
        self.leave.weight.mul_(share)
        self.leave.bias.mul_(share)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map ``inputs`` ``(B, D)`` to the members' logits ``(M, B, K)``."""
        x = inputs.unsqueeze(0).expand(self.members, -1, -1)  # (M, B, D)
        hidden = self.norm(self.blocks(self.enter(x)))  # (M, B, H)
        return self.linear(x) + self.leave(torch.relu(hidden))


class OccludedNetwork(nn.Module):
    """What is exported: the logits of a row, and again with each feature reset.

    One pass answers for the rows and another for their F resets, ``B * F`` rows, so that who
    wants the logits alone can leave out the greater part. A feature that is typical already
    leaves the row as it was; its logits are then taken from the row itself, so that the
    difference is exactly 0 whatever the order of the sums.
    """

    owners: torch.Tensor
    typical: torch.Tensor

    def __init__(
        self, network: TabularNetwork, owners: torch.Tensor, typical: torch.Tensor
    ) -> None:
        """Wrap ``network``.

        Args:
            network: The members.
            owners: ``(F, D)`` bool, which columns belong to a feature.
            typical: ``(D,)`` float32, the columns of a row that is typical throughout.
        """
        super().__init__()
        self.network = network
        self.register_buffer("owners", owners)
        self.register_buffer("typical", typical)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map ``inputs`` ``(B, D)`` to logits.

        Returns:
            ``logits``: ``(B, K)``, mean of the members. ``reset_logits``: ``(B, F, K)``, the
            same with feature F at its typical value.
        """
        features, columns = self.owners.shape
        row = inputs.unsqueeze(1)  # (B, 1, D)
        reset = torch.where(self.owners, self.typical, row)  # (B, F, D)
        logits = self.network(inputs).mean(dim=0)  # (B, K)
        answers = self.network(reset.reshape(-1, columns)).mean(dim=0)  # (B * F, K)
        answers = answers.reshape(-1, features, answers.shape[-1])  # (B, F, K)
        moved = (reset != row).any(dim=2, keepdim=True)  # (B, F, 1)
        return logits, torch.where(moved, answers, logits.unsqueeze(1))
