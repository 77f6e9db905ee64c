"""What a network consists of: a head, and a body of layers from the first to the last."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

Weights = dict[str, nn.Parameter]


@dataclass(frozen=True)
class Layers:
    """The weights of a network, by name, in the order in which a value runs through them."""

    body: tuple[Weights, ...]
    """Embeddings first; empty if the network has no list of blocks."""
    head: Weights
    """Empty if nothing tells where it begins."""


def find_layers(model: nn.Module, head: Sequence[str] = ()) -> Layers:
    """Take ``model`` apart.

    Args:
        model: Any network. In a transformers network everything outside the base model is head.
        head: Names of the modules that are the head instead.

    Raises:
        KeyError: If there is no module of a name in ``head``.
    """
    weights = dict(model.named_parameters())
    if head:
        modules = dict(model.named_modules())
        inside = {id(weight) for name in head for weight in modules[name].parameters()}
        heads = {name: weight for name, weight in weights.items() if id(weight) in inside}
    else:
        heads = _outside_the_base(model, weights)
    rest = {name: weight for name, weight in weights.items() if name not in heads}
    return Layers(_blocks(model, rest), heads)


def _outside_the_base(model: nn.Module, weights: Weights) -> Weights:
    bases = [module.base_model for module in _outermost_pretrained(model)]
    inside = {id(weight) for base in bases for weight in base.parameters()}
    if not inside:
        return {}
    return {name: weight for name, weight in weights.items() if id(weight) not in inside}


def is_pretrained(model: nn.Module) -> bool:
    """Say whether ``model`` is a transformers network."""
    # What nobody has imported, nothing can be; importing it takes seconds.
    modeling = sys.modules.get("transformers.modeling_utils")
    return modeling is not None and isinstance(model, modeling.PreTrainedModel)


def _outermost_pretrained(model: nn.Module) -> list[nn.Module]:
    if is_pretrained(model):
        return [model]
    return [found for child in model.children() for found in _outermost_pretrained(child)]


def find_blocks(model: nn.Module) -> tuple[str, Sequence[nn.Module]]:
    """Return the name and the modules of the longest list of like blocks; empty if none."""
    lists = [
        (name, list(module))
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential)
        and len(module)
        and len({type(block) for block in module}) == 1
        and any(True for _ in module[0].children())
    ]
    return max(lists, key=lambda found: len(found[1]), default=("", []))


def _blocks(model: nn.Module, weights: Weights) -> tuple[Weights, ...]:
    """Return a layer for each block, and one for what comes before.

    What comes after the blocks, such as a pooler, is part of the last one's layer.
    """
    name, blocks = find_blocks(model)
    if not blocks:
        return ()
    prefixes = [f"{name}.{number}." if name else f"{number}." for number in range(len(blocks))]
    layers: list[Weights] = [{} for _ in range(len(blocks) + 1)]
    place = 0
    for key, weight in weights.items():
        inside = [number for number, prefix in enumerate(prefixes) if key.startswith(prefix)]
        place = inside[0] + 1 if inside else (len(blocks) if place else 0)
        layers[place][key] = weight
    return tuple(layer for layer in layers if layer)
