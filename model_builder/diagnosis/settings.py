"""The settings that all three kinds of evidence share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from model_builder.task import TaskConfig


class DiagnosisSettings(TaskConfig):
    """How a diagnosis is judged, whatever it is made from."""

    review_accuracy: float = Field(0.99, gt=0, le=1)
    """Wanted of the answers that no person looks at."""
    least_answered: float = Field(0.5, gt=0, le=1)
    """Share of rows that are answered without review even if they are less accurate."""
    review_coverage: float | None = Field(None, gt=0, le=1)
    """Share of rows that are answered without review, whatever their accuracy: takes the place
    of the two above."""
    wanted_sensitivity: float = Field(0.95, gt=0, lt=1)
    """Of an operating point that is reported."""
    wanted_specificity: float = Field(0.95, gt=0, lt=1)
    """Of another."""
    subgroup: str | None = None
    """The array, column or feature by whose values the measures are also given."""
    resamples: int = Field(1000, ge=1)
    """Of the rows, behind each measure's interval."""


class LookedAtSettings(DiagnosisSettings):
    """What images and notes have besides: they may be unlike all others, or stand there twice."""

    class_weights: Literal["none", "balanced"] = "none"
    """``balanced``: each class counts as much as any other, however rare it is."""
    usual_share: float = Field(0.99, gt=0.5, lt=1)
    """Share of the validation rows that count as like the training data."""
    drop_duplicates: bool = False
    """Leave out of the training and validation rows what also stands in a later split."""
