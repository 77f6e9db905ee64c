"""An ensemble in one network: members that share matrices and differ in cheap scales.

``B`` row, ``G`` group, ``P`` member of a group, ``M`` member (``G * P``), ``D`` column of the
prepared input, ``H`` hidden. Groups share nothing, so that what one has learnt from, another has
never seen; the members of a group share their matrices. Source: TabM (Gorishniy et al. 2025,
arXiv:2410.24210), which packs a deep ensemble by the scales of BatchEnsemble (Wen et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

Signs = npt.NDArray[np.int8]
"""``(D,)``: 1 where a column may only raise the logit, -1 where it may only lower it, else 0."""

_FIRST_SIZE = 1e-3
_MONOTONE_SHARE = 0.5
"""Of the hidden units, where any column has a sign."""


class Folded(NamedTuple):
    """The weights of one layer as the members use them, scales and signs worked in."""

    weight: torch.Tensor
    """``(M, in, out)``."""
    bias: torch.Tensor
    """``(M, 1, out)``."""


class Dropout(nn.Dropout):
    """Dropout whose draws cost a fifth on a CPU: four from each random number of 64 bits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop each value of ``x`` with probability ``p``, to the nearest of 65,536 parts."""
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return super().forward(x)
        drawn = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        parts = drawn.view(torch.int16)[: x.numel()].view(x.shape)
        dropped = round(self.p * 2**16)
        kept = (parts >= dropped - 2**15).to(x.dtype)
        return x * kept.mul_(2**16 / (2**16 - dropped) if dropped < 2**16 else 0.0)


class PackedLinear(nn.Module):
    """A linear layer whose matrix the members of a group share.

    ``mask``: ``(in, out)`` int8 decides which weights are free (0), held at or above 0 (1), held at
    or below 0 (-1), or no weight at all (2).
    """

    mask: torch.Tensor
    fixed_in: torch.Tensor
    fixed_out: torch.Tensor

    def __init__(
        self, groups: int, packed: int, width_in: int, width_out: int, mask: torch.Tensor | None
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width_in)
        self.weight = nn.Parameter(torch.empty(groups, width_in, width_out).uniform_(-bound, bound))
        # One axis each: scales and shifts must not be decayed like matrices.
        self.scale_in = nn.Parameter(torch.ones(groups * packed * width_in))
        self.scale_out = nn.Parameter(torch.ones(groups * packed * width_out))
        self.bias = nn.Parameter(torch.empty(groups * packed * width_out).uniform_(-bound, bound))
        self._shape = (groups, packed, width_in, width_out)
        self.constrained = mask is not None
        kept = mask if mask is not None else torch.zeros(width_in, width_out, dtype=torch.int8)
        self.register_buffer("mask", kept, persistent=False)
        # A scale that meets a weight with a sign must not turn it round.
        signed = (kept == 1) | (kept == -1)
        self.register_buffer("fixed_in", signed.any(1), persistent=False)
        self.register_buffer("fixed_out", signed.any(0), persistent=False)

    def matrices(self) -> Iterator[torch.Tensor]:
        """Give each group's weights, ``(out, in)``."""
        return (group.T for group in self.weight)

    def diversify(self) -> None:
        """Start each member from signs of its own, so that they do not learn the same."""
        with torch.no_grad():
            self.scale_in.copy_(torch.where(torch.rand_like(self.scale_in) < 0.5, -1.0, 1.0))

    def _parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        groups, packed, width_in, width_out = self._shape
        weight = self.weight
        scale_in = self.scale_in.view(groups, packed, 1, width_in)
        scale_out = self.scale_out.view(groups, packed, 1, width_out)
        if self.constrained:
            size = weight.abs()
            weight = torch.where(self.mask == 1, size, weight)
            weight = torch.where(self.mask == -1, -size, weight)
            weight = torch.where(self.mask == 2, 0.0, weight)
            scale_in = torch.where(self.fixed_in, scale_in.abs(), scale_in)
            scale_out = torch.where(self.fixed_out, scale_out.abs(), scale_out)
        return weight, scale_in, scale_out, self.bias.view(groups, packed, 1, width_out)

    def of_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in)``, which all members see, to ``(G, P, B, out)``."""
        groups, packed, width_in, width_out = self._shape
        whole, bias = self._whole()
        # The weights are scaled, not the rows: they are fewer, and no gradient goes back to rows.
        alike = rows.expand(groups * packed, -1, width_in)
        return torch.baddbmm(bias, alike, whole).view(groups, packed, -1, width_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(G, P, B, in)`` to ``(G, P, B, out)``."""
        groups, packed, width_in, width_out = self._shape
        weight, scale_in, scale_out, bias = self._parts()
        scaled = (x * scale_in).reshape(groups, -1, width_in)
        out = torch.bmm(scaled, weight).view(groups, packed, -1, width_out)
        return torch.addcmul(bias, out, scale_out)

    def folded(self) -> Folded:
        """Return the layer with one matrix for each member."""
        whole, bias = self._whole()
        # A copy: whoever folds a layer must not see it learn on.
        return Folded(whole.detach(), bias.detach().clone())

    def _whole(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one matrix ``(M, in, out)`` for each member, and the shifts ``(M, 1, out)``."""
        groups, packed, width_in, width_out = self._shape
        weight, scale_in, scale_out, bias = self._parts()
        whole = scale_in.transpose(2, 3) * weight.unsqueeze(1) * scale_out  # (G, P, in, out)
        members = groups * packed
        return whole.reshape(members, width_in, width_out), bias.reshape(members, 1, width_out)


class PackedNetwork(nn.Module):
    """Groups of packed multilayer perceptrons, each group beside a linear model.

    Where columns have signs, the hidden units are parted: free ones never see such a column, and
    what the others pass on only ever rises with it. So the logit is monotone in it by construction
    (partially monotone networks, Daniels & Velikova 2010).
    """

    def __init__(
        self,
        *,
        groups: int,
        packed: int,
        columns: int,
        width: int,
        depth: int,
        dropout: float,
        signs: Signs | None = None,
    ) -> None:
        super().__init__()
        self.members = groups * packed
        self._groups, self._packed = groups, packed
        masks = _masks(columns, width, depth, signs)
        sizes = [columns, *[width] * depth]
        self.hidden = nn.ModuleList(
            PackedLinear(groups, packed, sizes[i], sizes[i + 1], masks[i]) for i in range(depth)
        )
        self.dropout = Dropout(dropout)
        # The members' own readings of what they share.
        self.leave = PackedLinear(self.members, 1, width, 1, masks[depth])
        self.linear = PackedLinear(groups, 1, columns, 1, masks[depth + 1])
        first = self.hidden[0]
        assert isinstance(first, PackedLinear)
        if packed > 1:
            first.diversify()
        # Training starts from 0.5 for every row: what is small data would not unlearn noise.
        for layer in (self.leave, self.linear):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
            with torch.no_grad():  # at 0, a size has no slope to learn by
                layer.weight += _FIRST_SIZE * layer.fixed_in[:, None]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map ``inputs`` ``(B, D)`` to the members' logits ``(M, B, 1)``."""
        rows = inputs.shape[0]
        first, *rest = self.hidden
        x = self.dropout(functional.relu(first.of_rows(inputs)))
        for layer in rest:
            x = self.dropout(functional.relu(layer(x)))
        deep = self.leave(x.reshape(self.members, 1, rows, -1))  # (M, 1, B, 1)
        straight = self.linear.of_rows(inputs)  # (G, 1, B, 1)
        both = deep.view(self._groups, self._packed, rows, 1) + straight
        return both.reshape(self.members, rows, 1)

    @torch.no_grad()
    def folded(self) -> tuple[list[Folded], Folded, torch.Tensor]:
        """Return the hidden layers, the last one, and the mean linear model ``(D, 1)``."""
        hidden = [layer.folded() for layer in self.hidden if isinstance(layer, PackedLinear)]
        leave, linear = self.leave.folded(), self.linear.folded()
        share = linear.bias.repeat_interleave(self._packed, 0)  # (M, 1, 1)
        return hidden, Folded(leave.weight, leave.bias + share), linear.weight.mean(dim=0)


def _masks(columns: int, width: int, depth: int, signs: Signs | None) -> list[torch.Tensor | None]:
    """Return the masks of the hidden layers, the last layer and the linear model."""
    if signs is None or not signs.any():
        return [None] * (depth + 2)
    given = torch.from_numpy(signs.astype(np.int8))
    monotone = torch.arange(width) >= width - max(1, round(width * _MONOTONE_SHARE))  # (H,)
    absent = torch.tensor(2, dtype=torch.int8)
    signed = given[:, None].expand(columns, width)
    first = torch.where((signed != 0) & ~monotone, absent, signed)
    # From a monotone unit: to another with a weight of at least 0, to a free one none.
    free = torch.zeros((), dtype=torch.int8)
    rises = torch.ones((), dtype=torch.int8)
    between = torch.where(monotone[:, None], torch.where(monotone, rises, absent), free)
    last = monotone[:, None].to(torch.int8)
    masks: list[torch.Tensor | None] = [first.contiguous()]
    masks += [between] * (depth - 1)
    return [*masks, last, given[:, None].contiguous()]
