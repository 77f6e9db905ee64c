"""A pretrained transformers text model, with a head of our own on the mean over its tokens.

The mean is what models of sentence-transformers were trained for; others learn it. Where such a
model's folder (``modules.json``) asks for anything else, that is said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from model_builder.diagnosis.note.network import NoteNetwork
from model_builder.diagnosis.pretrained import first_line, load_pretrained
from model_builder.errors import BaseUnusable

_MODULES = "modules.json"
_PLACES_BEFORE = {"roberta": 2, "xlm-roberta": 2, "camembert": 2, "mpnet": 2}
"""Models that count places from behind that of the padding."""


@dataclass(frozen=True)
class Base:
    """A pretrained model on this machine."""

    name: str
    """As it was asked for."""
    tokenizer: bytes
    """Its ``tokenizer.json``."""
    width: int
    most_tokens: int | None
    """That it can read; ``None`` if it has no limit."""
    pooling: str
    """How its tokens were put together where it was trained, in words; empty if it does not say."""

    def network(self, classes: int, dropout: float) -> NoteNetwork:
        """Return the model with a head that is not trained.

        Raises:
            BaseUnusable: If it is no text model that tells tokens apart.
        """
        network = NoteNetwork(_Encoder(load_pretrained(self.name)), self.width, classes, dropout)
        ids = torch.ones(1, 2, dtype=torch.int64)
        try:
            with torch.no_grad():
                network.eval()(ids, ids)
        except Exception as error:  # whatever a model raises that wants something else
            raise BaseUnusable(
                self.name, f"it does not read tokens: {first_line(error)}"
            ) from error
        return network.train()


class _Encoder(nn.Module):
    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        if getattr(base, "pooler", None) is not None:
            base.pooler = None  # type: ignore[assignment]  # nothing reads what it gives
        self.base = base

    def forward(self, token_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return ``(B, T, D)`` of ``(B, T)`` each."""
        states: torch.Tensor = self.base(
            input_ids=token_ids, attention_mask=attention_mask
        ).last_hidden_state
        return states


def find_base(name: str) -> Base:
    """Return what is known of a model, a folder or a name of the hub.

    Raises:
        BaseUnusable: If it cannot be had, or is no encoder of text with a fast tokenizer.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise BaseUnusable(name, first_line(error)) from error
    if getattr(config, "is_encoder_decoder", False):
        raise BaseUnusable(name, "it is an encoder with a decoder; an encoder alone is wanted")
    width = getattr(config, "hidden_size", None)
    if not isinstance(width, int):
        raise BaseUnusable(name, "it is no text model: it does not say how wide its tokens are")
    if not getattr(tokenizer, "is_fast", False):
        raise BaseUnusable(name, "its tokenizer has no fast form (tokenizer.json)")
    # Where there are no files, the library makes a tokenizer of nothing.
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise BaseUnusable(name, "it comes without a tokenizer")
    places = getattr(config, "max_position_embeddings", None)
    return Base(
        name,
        tokenizer.backend_tokenizer.to_str().encode(),
        width,
        places - _PLACES_BEFORE.get(config.model_type, 0) if places else None,
        _pooling(name),
    )


def _pooling(name: str) -> str:
    """Return how a model of sentence-transformers puts tokens together, such as ``mean tokens``."""
    from transformers.utils import cached_file

    try:
        modules = json.loads(_read(cached_file(name, _MODULES)))
        folder = next((one["path"] for one in modules if "Pooling" in one["type"]), None)
        if folder is None:
            return ""
        said = json.loads(_read(cached_file(name, f"{folder}/config.json")))
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    modes = [key for key, on in said.items() if key.startswith("pooling_mode_") and on is True]
    return " and ".join(mode.removeprefix("pooling_mode_").replace("_", " ") for mode in modes)


def _read(path: str | None) -> str:
    if path is None:
        raise OSError("there is no such file")
    return Path(path).read_text(encoding="utf-8")
