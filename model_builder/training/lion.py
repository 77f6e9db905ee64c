"""The optimiser Lion: moves each weight by the sign of a momentum.

Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms" (arXiv:2302.06675), algorithm 2.
torch has none. One state a weight instead of AdamW's two; the paper advises a learning rate 3 to
10 times lower than AdamW's, and a weight decay as much higher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class Lion(torch.optim.Optimizer):
    """Lion with decoupled weight decay."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the weights once."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            ahead, behind = group["betas"]
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["momentum"] = torch.zeros_like(weight)
            momenta = [self.state[weight]["momentum"] for weight in weights]
            gradients = [weight.grad for weight in weights]
            # Each for all weights at once: on small networks, single calls would take the time.
            directions = torch._foreach_lerp(momenta, gradients, 1 - ahead)
            torch._foreach_sign_(directions)
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, directions, alpha=-group["lr"])
            torch._foreach_lerp_(momenta, gradients, 1 - behind)
        return loss
