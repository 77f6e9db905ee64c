"""The weights of a network beside its release, for a later build to start from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from model_builder.errors import CannotGoOn
from model_builder.recsys.transformer import NextItemNetwork

_HEADER_BYTES = 8
"""safetensors: the length of the header that follows, little endian."""


@dataclass(frozen=True)
class Weights:
    """A network that has learnt, apart from its code."""

    tensors: Mapping[str, torch.Tensor]
    """By their names in ``state_dict``."""
    item_ids: tuple[str, ...]
    """The catalogue: row ``i`` of what belongs to items is ``item_ids[i - 1]``."""
    sizes: Mapping[str, int]
    """``history_length``, ``width``, ``layers``, ``heads`` and ``time_gaps``, as in
    ``RecsysConfig``."""


def weights_file(network: NextItemNetwork, item_ids: Sequence[str]) -> bytes:
    """Return the content of a safetensors file: no code, only numbers and names."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    told = {"item_ids": list(item_ids), "sizes": network.sizes}
    return save(tensors, {name: json.dumps(value) for name, value in told.items()})


def read_weights(release: str, content: bytes) -> Weights:
    """Return what :func:`weights_file` wrote.

    Raises:
        CannotGoOn: If it is something else.
    """
    try:
        tensors = load(content)
        size = int.from_bytes(content[:_HEADER_BYTES], "little")
        header = json.loads(content[_HEADER_BYTES : _HEADER_BYTES + size])["__metadata__"]
        sizes = {"time_gaps": False, **json.loads(header["sizes"])}  # once there were none
        return Weights(tensors, tuple(json.loads(header["item_ids"])), sizes)
    except (SafetensorError, KeyError, ValueError) as error:
        raise CannotGoOn(release, f"its weights cannot be read ({error})") from error
