"""How surprising the items that really came next are, without ever holding all logits.

The logits of a batch are places times items: 25,000 places of a catalogue of 3,416 items are
340 MB, which a processor reads and writes many times over. Here a block of rows is taken at a time,
small enough for the cache, and its gradient is made at once from the probabilities that are there
anyway (as in Wijmans et al. 2024, *Cut Your Losses in Large-Vocabulary Language Models*,
arXiv:2411.09009): the backward pass computes nothing again. For a large catalogue the other items
are drawn, and each stands for many (sampled softmax with its correction, Jean et al. 2015,
arXiv:1412.2007).

Letters: ``N`` places that are asked for, ``D`` width, ``V`` items, ``S`` items drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

_CACHED = 450_000
"""Logits of a block on a processor, for each thread: some 2 MB, its share of the caches."""
_ON_A_DEVICE = 64_000_000
"""Logits of a block on a GPU: 256 MB."""
_SMALLEST = 1e-37
"""A probability that has a logarithm."""
_ROWS_OF_A_DRAW = 512
"""Rows that are held against the same items where items are drawn: those that came next in one
of them, and those drawn."""


def surprise_among_all(
    states: torch.Tensor,
    vectors: torch.Tensor,
    bias: torch.Tensor,
    labels: torch.Tensor,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean cross-entropy over the whole catalogue, ``()``.

    Args:
        states: ``(N, D)``.
        vectors: ``(V, D)``, of the items.
        bias: ``(V,)``.
        labels: ``(N,)`` int64 in [0, V), what came next.
        smoothing: Share of certainty that is given to all items alike.
    """
    return _Blockwise.apply(states, vectors, bias, labels, None, None, smoothing)


def surprise_among_drawn(
    states: torch.Tensor,
    vectors: torch.Tensor,
    bias: torch.Tensor,
    labels: torch.Tensor,
    count: int,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Return an estimate of :func:`surprise_among_all`, ``()``.

    The sum over the catalogue is made of two parts. What came next in a block of rows is summed as
    it is; of all others ``count`` are drawn, each alike, and each counts for as many as were not.
    That is the correction by the logarithm of how likely an item was to be taken ("log-Q").

    Args:
        states: ``(N, D)``.
        vectors: ``(V, D)``, of the items.
        bias: ``(V,)``.
        labels: ``(N,)`` int64 in [0, V), what came next.
        count: ``S``, items drawn, the same for all rows.
        smoothing: Share of certainty that is given to all items taken.
    """
    drawn = torch.randint(0, len(vectors), (count,), device=labels.device)
    # One look-up of all items taken, so that its gradient is laid out once.
    chosen, places = torch.cat([labels, drawn]).unique(return_inverse=True)
    taken = torch.nn.functional.embedding(chosen, vectors)
    own, others = places[: len(labels)], places[len(labels) :].unique()
    return _Blockwise.apply(states, taken, bias[chosen], own, others, len(vectors), smoothing)


class _Blockwise(torch.autograd.Function):
    """The mean cross-entropy and its gradient, made together block by block."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        vectors: torch.Tensor,
        bias: torch.Tensor,
        labels: torch.Tensor,
        drawn: torch.Tensor | None,
        catalogue: int | None,
        smoothing: float,
    ) -> torch.Tensor:
        """Sum over the blocks; ``drawn`` ``(S,)`` are places in ``vectors``, ``None`` for all."""
        device = states.device.type
        lower = torch.is_autocast_enabled(device)
        kind = torch.get_autocast_dtype(device) if lower else torch.float32
        total = states.new_zeros(())
        of_states = torch.zeros_like(states)
        of_vectors, of_bias = torch.zeros_like(vectors), torch.zeros_like(bias)
        wants_gradient = any(ctx.needs_input_grad)
        with torch.autocast(device, enabled=False):
            for rows in _blocks(len(labels), len(vectors), drawn is not None, states.device):
                columns, own, offset = _taken(labels[rows], drawn, catalogue, bias)
                items = (vectors if columns is None else vectors[columns]).to(kind)
                read = states[rows].to(kind)
                logits = (read @ items.T).float() + offset
                surprise, probabilities = _surprise(logits, own, smoothing)
                total += surprise
                if not wants_gradient:
                    continue
                part = probabilities.to(kind)
                of_states[rows] = (part @ items).to(states.dtype)
                if columns is None:
                    of_bias += probabilities.sum(0)
                    of_vectors += part.T @ read
                else:
                    of_bias.index_add_(0, columns, probabilities.sum(0))
                    of_vectors.index_add_(0, columns, (part.T @ read).to(vectors.dtype))
        count = max(len(labels), 1)
        if wants_gradient:
            ctx.save_for_backward(of_states / count, of_vectors / count, of_bias / count)
        return total / count

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Scale what the forward pass made."""
        of_states, of_vectors, of_bias = ctx.saved_tensors
        (scale,) = gradients
        return of_states * scale, of_vectors * scale, of_bias * scale, None, None, None, None


def _blocks(rows: int, columns: int, draws: bool, device: torch.device) -> Iterator[slice]:
    if draws:
        size = _ROWS_OF_A_DRAW
    elif device.type == "cpu":
        size = max(16, _CACHED * torch.get_num_threads() // columns)
    else:
        size = max(16, _ON_A_DEVICE // columns)
    for start in range(0, rows, size):
        yield slice(start, start + size)


def _taken(
    labels: torch.Tensor, drawn: torch.Tensor | None, catalogue: int | None, bias: torch.Tensor
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """Say which items a block is held against.

    Returns:
        Their places, ``None`` for all; where among them each label stands; and what is added to
        the logit of each, the bias and how many it counts for.
    """
    if drawn is None or catalogue is None:
        return None, labels, bias
    columns, places = torch.cat([labels, drawn]).unique(return_inverse=True)
    own = places[: len(labels)]
    is_label = torch.zeros(len(columns), dtype=torch.bool, device=labels.device)
    is_label[own] = True
    others, not_labels = (~is_label).sum(), catalogue - is_label.sum()
    counts_for = torch.where(is_label, 1.0, not_labels / others.clamp(min=1))
    return columns, own, bias[columns] + counts_for.log()


def _surprise(
    logits: torch.Tensor, labels: torch.Tensor, smoothing: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the summed cross-entropy of a block, ``()``, and its gradient by ``logits``."""
    rows = labels[:, None]
    gradient = logits.softmax(1)
    # Through the probability: a logarithm of each row, not of each cell.
    certainty = gradient.gather(1, rows).clamp(min=_SMALLEST).log()
    total = -certainty.sum()
    if smoothing:
        # What all items have on average, and the label has not: their logits' difference.
        missing = logits.gather(1, rows) - logits.mean(1, keepdim=True)
        total = total + smoothing * missing.sum()
        gradient -= smoothing / gradient.shape[1]
    gradient.scatter_add_(1, rows, torch.full_like(certainty, smoothing - 1))
    return total, gradient
