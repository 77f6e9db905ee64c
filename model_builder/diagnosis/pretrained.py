"""Loads pretrained transformers models."""

from __future__ import annotations

import warnings
from typing import Any

from model_builder.errors import BaseUnusable


def load_pretrained(name: str) -> Any:
    """Return the model without a head that a folder holds, or the hub has under this name.

    Raises:
        BaseUnusable: If there is none.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Written out, attention is exported the same on every version of torch.
            return AutoModel.from_pretrained(name, attn_implementation="eager")
    except (OSError, ValueError) as error:
        raise BaseUnusable(name, first_line(error)) from error


def first_line(error: Exception) -> str:
    """Return what an error says first, or its type where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
