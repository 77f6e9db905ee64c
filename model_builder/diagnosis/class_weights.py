"""How much the rows of each class count, and what the logits then lack."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from model_builder.diagnosis.settings import LookedAtSettings
from model_builder.evaluation.scaling import log_shares


def class_weights(
    target: npt.NDArray[np.int64], classes: int, settings: LookedAtSettings
) -> torch.Tensor:
    """Return ``(K,)``: 1, or in proportion to how rare a class is, 1 in the mean over the rows."""
    if settings.class_weights == "none":
        return torch.ones(classes)
    counts = np.bincount(target, minlength=classes)
    return torch.from_numpy(len(target) / (classes * np.maximum(counts, 1))).float()


def taken_out(
    target: npt.NDArray[np.int64], classes: int, settings: LookedAtSettings
) -> npt.NDArray[np.float64] | None:
    """Return what the weights took out of the logits, ``(K,)``: how frequent each class is."""
    return None if settings.class_weights == "none" else log_shares(target, classes)
