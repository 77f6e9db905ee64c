"""Starts a network from an earlier one, whose catalogue was another.

Items of both keep their vectors. A new item gets that which its company has in the earlier
network: the layout by company (``company``) of the newer log is turned onto the earlier vectors by
the linear map that fits the items of both best, and the new item goes through the same map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from model_builder.errors import CannotGoOn, ConfigInvalid
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.recsys.weights import Weights

_OF_ITEMS = ("items.weight", "bias", "popularity")
"""Tensors with a row for each item, and one for padding before them."""


@dataclass(frozen=True)
class SharedItems:
    """The items of two catalogues, by their numbers in each."""

    now: npt.NDArray[np.int64]
    """``(n,)``, in the newer catalogue."""
    before: npt.NDArray[np.int64]
    """``(n,)``, the same items in the earlier one."""

    @staticmethod
    def of(now: Sequence[str], before: Sequence[str]) -> SharedItems:
        """Find the items that are in both."""
        earlier = {item: number for number, item in enumerate(before, 1)}
        pairs = [(number, earlier[item]) for number, item in enumerate(now, 1) if item in earlier]
        both = np.array(pairs, np.int64).reshape(-1, 2)
        return SharedItems(both[:, 0], both[:, 1])


def sized_like(config: RecsysConfig, weights: Weights, release: str) -> RecsysConfig:
    """Return ``config`` with the sizes of the earlier network where it says nothing else.

    Raises:
        ConfigInvalid: If it asks for other sizes; names each.
    """
    asked = {name: getattr(config, name) for name in config.model_fields_set}
    faults = [
        f"{name}: {release} has {size}, so that {asked[name]} cannot go on from it"
        for name, size in weights.sizes.items()
        if asked.get(name, "auto") not in ("auto", size)
    ]
    if faults:
        raise ConfigInvalid(faults)
    return config.model_copy(update=dict(weights.sizes))


@torch.no_grad()
def start_from(
    network: NextItemNetwork, item_ids: Sequence[str], weights: Weights, release: str
) -> None:
    """Give ``network`` what the earlier one had learnt.

    Args:
        network: Of the newer log, with its items laid out by company, and their popularity in it.
        item_ids: Its catalogue.
        weights: Of the earlier network.
        release: The earlier release's name.

    Raises:
        CannotGoOn: If the earlier network is of another kind.
    """
    own = network.state_dict()
    rest = {name: tensor for name, tensor in weights.tensors.items() if name not in _OF_ITEMS}
    odd = sorted(
        name
        for name in own.keys() | weights.tensors.keys()
        if name not in _OF_ITEMS
        and (name not in own or name not in rest or own[name].shape != rest[name].shape)
    )
    if odd or not weights.tensors.keys() >= set(_OF_ITEMS):
        listed = ", ".join(odd[:5]) or "its items"
        raise CannotGoOn(release, f"its network is of another kind ({listed})")
    for name, tensor in rest.items():
        own[name].copy_(tensor)
    shared = SharedItems.of(item_ids, weights.item_ids)
    now, before = torch.from_numpy(shared.now), torch.from_numpy(shared.before)
    vectors = weights.tensors["items.weight"]
    placed = _placed(network.items.weight[1:], vectors, now, before)
    network.items.weight[1:] = placed
    network.items.weight[0] = vectors[0]
    network.items.weight[now] = vectors[before]
    # A bias is the logarithm of the popularity, which the newer log says anew, and what was learnt.
    learnt = weights.tensors["bias"] - weights.tensors["popularity"]
    network.bias.copy_(network.popularity + learnt[1:].mean())
    network.bias[now] = network.popularity[now] + learnt[before]


def _placed(
    company: torch.Tensor, vectors: torch.Tensor, now: torch.Tensor, before: torch.Tensor
) -> torch.Tensor:
    """Return ``(V, D)``, where the company of each item of the newer log lies among ``vectors``.

    Args:
        company: ``(V, D)``, the layout by company; zeros for an item without.
        vectors: ``(W + 1, D)``, of the earlier network's items.
        now: ``(n,)``, items of both, from 1.
        before: ``(n,)``, their numbers in the earlier catalogue.
    """
    usual = vectors[1:].mean(0)
    known = company[now - 1]
    near = known.square().sum(1) > 0
    if int(near.sum()) <= company.shape[1]:
        return usual.expand_as(company).clone()  # too few to find a map by
    turn = torch.linalg.lstsq(
        known[near].double(), (vectors[before[near]] - usual).double(), driver="gelsd"
    ).solution.float()
    return usual + company @ turn
