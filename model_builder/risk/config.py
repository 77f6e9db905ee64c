"""Hyperparameters of a risk release."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from model_builder.progress import Progress
from model_builder.risk.teaching import teach
from model_builder.tabular.network import TabularNetwork
from model_builder.tabular.packed import PackedNetwork, Signs
from model_builder.tabular.splits import Splits
from model_builder.tabular.table import Table
from model_builder.tabular.training import LARGE_TABLE_ROWS, TabularConfig

Rate = Annotated[float, Field(gt=0, lt=1)]

AFTER_TRAINING = (
    "calibration",
    "base_score",
    "base_odds",
    "points_to_double",
    "approval_rate",
    "bad_rate",
    "band_approval_rates",
    "band_bad_rates",
)
"""The settings that train nothing: they calibrate, scale and decide when a network is there."""

TEACHING = ("taught", "teachers")
"""The settings of what is learnt beside the labels, which is made before anything is trained."""


class RiskConfig(TabularConfig):
    """Hyperparameters of a risk release. ``None`` is chosen by the number of rows."""

    network: Literal["packed", "residual"] = "packed"
    """An ensemble in one network, whose reasons cost least; or separate residual ones."""
    packed: int = Field(4, ge=1)
    """Members of a group, which share their matrices."""
    pieces: int | None = Field(None, ge=0)
    """That each quantity is cut into at most, before the network sees it."""
    taught: float | None = Field(None, ge=0, le=1)
    """The weight of boosted trees in what the network learns; the rest is the labels'."""
    teachers: int = Field(1, ge=1)
    """Models of boosted trees whose answers are averaged for each row."""
    members: int = Field(1, ge=1)
    """Groups of members for a table that is not cross-validated."""
    depth: int = Field(2, ge=1)
    dropout: float = Field(0.4, ge=0, lt=1)
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.3, ge=0)
    repeats: int = Field(1, ge=1)
    cross_validate_below: int = Field(50_000, ge=0)
    """Tables with fewer rows are cross-validated, and have a group of members for each fold."""
    calibration: Literal["auto", "beta", "isotonic"] = "auto"
    """``auto``: the one with the smaller log-loss on held-out rows."""
    base_score: float = Field(600, ge=300, le=850)
    """The score at ``base_odds``."""
    base_odds: float = Field(30, gt=0)
    """Paid to defaulted."""
    points_to_double: float = Field(20, gt=0)
    approval_rate: float | None = Field(None, gt=0, lt=1)
    """The share to approve, which sets the cut-off; by default as many as were paid back."""
    bad_rate: float | None = Field(None, gt=0, lt=1)
    """Or, the greatest share of defaults among those approved."""
    band_approval_rates: tuple[Rate, ...] = Field((0.2, 0.4, 0.6, 0.8), max_length=9)
    """Shares of the rows that reach each band's limit, from the safest."""
    band_bad_rates: tuple[Rate, ...] = Field((), max_length=9)
    """Or, the greatest shares of defaults among all that reach each limit."""

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Self:
        if self.approval_rate is not None and self.bad_rate is not None:
            raise ValueError("approval_rate and bad_rate: state one")
        for rates in (self.band_approval_rates, self.band_bad_rates):
            if list(rates) != sorted(set(rates)):
                raise ValueError("the rates of the bands must rise, from the safest band")
        return self

    def width_for(self, rows: int) -> int:
        """Return the hidden width."""
        return self.width or (96 if rows >= LARGE_TABLE_ROWS else 32)

    def pieces_for(self, rows: int) -> int:
        """Return how many pieces each quantity is cut into; 0 leaves it whole."""
        if self.pieces is not None:
            return self.pieces
        return 32 if rows >= LARGE_TABLE_ROWS else 6

    def taught_for(self, rows: int) -> float:
        """Return the weight of what boosted trees teach."""
        if self.taught is not None:
            return self.taught
        return 0.5 if rows >= LARGE_TABLE_ROWS else 0.0

    def lessons_for(
        self, table: Table, splits: Splits, progress: Progress
    ) -> npt.NDArray[np.float32] | None:
        """Return the labels mixed with what boosted trees answer, if they teach at all."""
        weight = self.taught_for(len(splits.training))
        if not weight:
            return None
        answers = teach(
            table,
            splits,
            how=self.split,
            teachers=self.teachers,
            seed=self.seed,
            progress=progress,
        )
        labels = table.target[splits.development, None].astype(np.float32)
        return weight * answers + (1 - weight) * labels

    def taught_by(self, rows: int) -> tuple[str, ...]:
        """Say in a sentence what is learnt in place of the labels, if anything."""
        weight = self.taught_for(rows)
        if not weight:
            return ()
        return (
            f"The members learnt, in place of each label, a mixture: {1 - weight:.0%} the label, "
            f"{weight:.0%} what boosted trees answer that had seen neither the row nor one that is "
            "held out from the member. The trees are no part of the release.",
        )

    def epochs_for(self, rows: int) -> int:
        """Return the most passes over the training data."""
        return self.epochs or (12 if rows >= LARGE_TABLE_ROWS else 60)

    def batch_size_for(self, rows: int) -> int:
        """Return the rows of a batch."""
        return self.batch_size or (512 if rows >= LARGE_TABLE_ROWS else 64)

    def network_for(
        self, rows: int, groups: int, columns: int, logits: int, signs: Signs
    ) -> TabularNetwork | PackedNetwork:
        """Return a network that is not trained.

        Raises:
            ConfigInvalid: If a column has a sign and the network cannot keep it.
        """
        if self.network == "residual":
            return super().network_for(rows, groups, columns, logits, signs)
        return PackedNetwork(
            groups=groups,
            packed=self.packed,
            columns=columns,
            width=self.width_for(rows),
            depth=self.depth,
            dropout=self.dropout,
            signs=signs,
        )
