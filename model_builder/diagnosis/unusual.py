"""How far evidence lies from what a network has learnt from.

The distance is Mahalanobis' to the nearest class, of the features that the last layer sees (Lee
et al. 2018, arXiv:1807.03888), with one covariance for all classes, shrunk as Ledoit and Wolf
(2004) do. It is given as a share of a threshold that most held-out rows stay below: above 1, a
person must look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.covariance import LedoitWolf
from torch import nn

Floats = npt.NDArray[np.floating[Any]]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Usual:
    """What usual features are like."""

    whitening: npt.NDArray[np.float32]
    """``(D, D)``: makes a distance of Mahalanobis one of Euclid."""
    centres: npt.NDArray[np.float32]
    """``(K, D)``, whitened."""
    threshold: float
    """The distance that a stated share of the held-out rows stay below."""

    def unusualness(self, features: Floats) -> npt.NDArray[np.float32]:
        """Return ``(rows,)`` of ``(rows, D)`` features; above 1 a row is unlike the others."""
        given = torch.from_numpy(np.asarray(features, np.float32))
        with torch.no_grad():
            answers = Unusualness(self)(given)
        return np.asarray(answers[:, 0].numpy())


class Unusualness(nn.Module):
    """The same as a network, to be exported."""

    def __init__(self, usual: Usual) -> None:
        super().__init__()
        self.register_buffer("whitening", torch.from_numpy(usual.whitening))
        self.register_buffer("centres", torch.from_numpy(usual.centres))
        self.threshold = usual.threshold

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return ``(B, 1)`` float32 of ``(B, D)`` float32."""
        whitened = features @ self.whitening  # (B, D)
        away = whitened[:, None] - self.centres  # (B, K, D)
        return away.square().sum(2).amin(1, keepdim=True).sqrt() / self.threshold


def fit_usual(features: Floats, target: Classes, held_out: Floats, usual_share: float) -> Usual:
    """Learn what usual features are like.

    Args:
        features: ``(rows, D)`` of the training rows.
        target: ``(rows,)``, their class.
        held_out: ``(other rows, D)``, of rows that did not train the network.
        usual_share: Of the held-out rows that count as usual, below 1.
    """
    features = np.asarray(features, np.float64)
    present = np.unique(target)
    means = np.stack([features[target == k].mean(axis=0) for k in present])
    # A feature that hardly varies must not make everything unlike everything else.
    within = features - means[np.searchsorted(present, target)]
    covariance = LedoitWolf(assume_centered=True).fit(within).covariance_
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, values.max() * 1e-6)
    whitening = (vectors / np.sqrt(values)).astype(np.float32)
    centres = (means @ whitening).astype(np.float32)
    distances = Usual(whitening, centres, 1.0).unusualness(held_out)
    threshold = float(np.quantile(distances, usual_share, method="higher"))
    return Usual(whitening, centres, max(threshold, 1e-6))
