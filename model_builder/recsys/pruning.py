"""Removes a share of the width of a network that has learnt: the network itself gets smaller.

What a width is made of goes together: columns of the items' vectors and of everything that reads
or writes them; of each head, places of queries and keys in pairs, as they are turned; of the inner
networks, as many neurons as four times the width. What stays is what has the largest weights. The
queries' pairs are taken at even distances instead, so that they are still turned as they were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from model_builder.errors import CannotGoOn
from model_builder.progress import Progress
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import Splits
from model_builder.recsys.fitting import Fitted, fit_network, network_of
from model_builder.recsys.precision import as_computed
from model_builder.recsys.sizing import Shape, Sizes, sizes_for
from model_builder.recsys.transformer import Block, NextItemNetwork
from model_builder.recsys.weights import Weights

MULTIPLE = 8
"""Of a width: what a processor takes at once."""
_RECOVERY = 0.6
"""Share of the epochs of the training."""


def as_learnt(
    splits: Splits, item_ids: Sequence[str], config: RecsysConfig, weights: Weights
) -> Fitted:
    """Return a network that has learnt already.

    Raises:
        CannotGoOn: If it learnt from another log, or is of another kind.
    """
    sizes = replace(sizes_for(config, Shape.of(splits, len(item_ids))), **weights.sizes)
    training = as_computed(config.training)
    network = network_of(splits, len(item_ids), sizes, training.label_smoothing)
    if tuple(item_ids) != weights.item_ids:
        raise CannotGoOn("the release", "its catalogue is not that of the log")
    try:
        network.load_state_dict(dict(weights.tensors))
    except RuntimeError as error:
        raise CannotGoOn("the release", "its network is of another kind") from error
    return Fitted(network, sizes, training, ())


def pruned(
    fitted: Fitted, splits: Splits, item_count: int, config: RecsysConfig, progress: Progress
) -> Fitted:
    """Prune a network by ``config.prune``, and train it until it has recovered.

    Args:
        fitted: Has learnt.
        splits: What from.
        item_count: ``V``.
        config: Has the share.
        progress: Shows the training.
    """
    sizes = fitted.sizes
    width = pruned_width(sizes, config.prune)
    kept = narrowed(fitted.network, width)
    epochs = max(1, round(sizes.epochs * _RECOVERY))
    given = {name: getattr(sizes, name) for name in Sizes.__dataclass_fields__}
    again = config.model_copy(
        update={**given, "width": width, "epochs": epochs, "neighbours": 0, "prune": 0.0}
    )

    def start(network: NextItemNetwork) -> None:
        network.load_state_dict({**network.state_dict(), **kept})

    found = fit_network(splits, item_count, again, progress, start=start)
    return replace(found, sizes=replace(found.sizes, epochs=sizes.epochs))


def pruned_width(sizes: Sizes, share: float) -> int:
    """Return the width that is left: a multiple of 8, and of twice the heads."""
    unit = math.lcm(MULTIPLE, 2 * sizes.heads)
    return min(sizes.width, max(unit, unit * round(sizes.width * (1 - share) / unit)))


def narrowed(network: NextItemNetwork, width: int) -> dict[str, torch.Tensor]:
    """Return the tensors of a network of this width that is left of ``network``, by name."""
    with torch.no_grad():
        dims = _largest(_of_dims(network), width)
        kept: dict[str, torch.Tensor] = {
            "items.weight": network.items.weight[:, dims],
            "bias": network.bias,
            "popularity": network.popularity,
            "norm.weight": network.norm.weight[dims],
            "norm.bias": network.norm.bias[dims],
        }
        if network.gaps is not None:
            kept["gaps.weight"] = network.gaps.weight[:, dims]
        for place, block in enumerate(network.blocks):
            assert isinstance(block, Block)
            for name, tensor in _block(block, dims, width).items():
                kept[f"blocks.{place}.{name}"] = tensor
        return {name: tensor.detach().clone() for name, tensor in kept.items()}


def _of_dims(network: NextItemNetwork) -> torch.Tensor:
    """Return ``(D,)``: how much each column of the states matters, by the weights at it."""
    found = network.items.weight.square().mean(0)
    for block in network.blocks:
        for layer in (block.query_key_value, block.inner_in):
            found = found + layer.weight.square().mean(0)
        for layer in (block.attention_out, block.inner_out):
            found = found + layer.weight.square().mean(1)
    return found


def _block(block: Block, dims: torch.Tensor, width: int) -> Mapping[str, torch.Tensor]:
    queries, values = _places_of_heads(block, width)
    rows = torch.cat([queries, queries + len(block.attention_norm.weight),
                      values + 2 * len(block.attention_norm.weight)])  # fmt: skip
    neurons = _largest(
        block.inner_in.weight.square().sum(1) * block.inner_out.weight.square().sum(0), 4 * width
    )
    return {
        "attention_norm.weight": block.attention_norm.weight[dims],
        "attention_norm.bias": block.attention_norm.bias[dims],
        "query_key_value.weight": block.query_key_value.weight[rows][:, dims],
        "query_key_value.bias": block.query_key_value.bias[rows],
        "attention_out.weight": block.attention_out.weight[dims][:, values],
        "attention_out.bias": block.attention_out.bias[dims],
        "inner_norm.weight": block.inner_norm.weight[dims],
        "inner_norm.bias": block.inner_norm.bias[dims],
        "inner_in.weight": block.inner_in.weight[neurons][:, dims],
        "inner_in.bias": block.inner_in.bias[neurons],
        "inner_out.weight": block.inner_out.weight[dims][:, neurons],
        "inner_out.bias": block.inner_out.bias[dims],
    }


def _places_of_heads(block: Block, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows of queries (and keys) and of values that stay, ``(width,)`` each."""
    before = len(block.attention_norm.weight)
    old, new = before // block.heads, width // block.heads
    pairs = torch.round(torch.arange(new // 2) * (old / new)).long()
    of_head = torch.cat([pairs, pairs + old // 2])
    given = block.query_key_value.weight[2 * before :].square().sum(1)
    matters = given * block.attention_out.weight.square().sum(0)
    queries, values = [], []
    for head in range(block.heads):
        begin = head * old
        queries.append(of_head + begin)
        values.append(_largest(matters[begin : begin + old], new) + begin)
    return torch.cat(queries), torch.cat(values)


def _largest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Return the places of the largest, in their order."""
    return values.topk(count).indices.sort().values
