"""Which rows train, and which only judge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold, train_test_split

from model_builder.errors import ConfigInvalid
from model_builder.tabular.table import Classes

Rows = npt.NDArray[np.int64]
HeldOut = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Splits:
    """Disjoint rows; together the whole table."""

    development: Rows
    """Everything but the test."""
    test: Rows
    held_out: HeldOut
    """``(development rows, M)``: true where member M must not learn from the row. It judges
    M's training instead, so that for every row that is held out at all there is an answer
    of a network that has never seen it."""
    cross_validated: bool
    """Whether every development row is held out from some members; else the validation
    rows are held out from all, and no others are."""

    @property
    def judged_split(self) -> str:
        """The name of the split that the held-out answers measure."""
        return "cv" if self.cross_validated else "validation"

    @property
    def judging(self) -> npt.NDArray[np.bool_]:
        """``(development rows,)``: true for the rows that are held out from some member."""
        return self.held_out.any(axis=1)

    @property
    def training(self) -> Rows:
        """The rows that some member learns from."""
        return self.development[~self.held_out.all(axis=1)]

    @property
    def counts(self) -> dict[str, int]:
        """Rows by split, for the manifest; they add up to the table."""
        counts = {"train": len(self.training), "test": len(self.test)}
        if not self.cross_validated:
            counts["validation"] = int(self.judging.sum())
        return counts


def make_splits(
    target: Classes,
    *,
    test_share: float,
    folds: int,
    repeats: int,
    cross_validate_below: int,
    members: int,
    seed: int,
) -> Splits:
    """Split stratified by class.

    Args:
        target: ``(rows,)`` int64, the class.
        test_share: Of all rows.
        folds: Parts of a cross-validation.
        repeats: Cross-validations, each with other parts; M is ``folds * repeats``.
        cross_validate_below: Tables with fewer rows are cross-validated: a single validation
            split of them would be too small to judge or to calibrate by.
        members: M for a larger table, which gets one validation split of size ``test_share``.
        seed: Of the draw.

    Raises:
        ConfigInvalid: If a part would hold no row of some class.
    """
    rows = np.arange(len(target))
    rarest = int(np.bincount(target).min())
    if rarest * test_share < 1:
        raise ConfigInvalid(
            [f"test_share: must give the test a row of each class, at least 1/{rarest} where the "
             f"rarest has {rarest} rows, got {test_share:g}"]
        )  # fmt: skip
    development, test = (
        np.sort(part)
        for part in train_test_split(rows, test_size=test_share, stratify=target, random_state=seed)
    )
    cross_validated = len(target) < cross_validate_below
    if cross_validated:
        rarest = int(np.bincount(target[development]).min())
        if folds > rarest:
            raise ConfigInvalid(
                [f"folds: at most {rarest}, the training rows of the rarest class, got {folds}"]
            )
        held_out = np.zeros((len(development), folds * repeats), np.bool_)
        for repeat in range(repeats):
            parts = StratifiedKFold(folds, shuffle=True, random_state=seed + repeat)
            for fold, (_, judged) in enumerate(parts.split(development, target[development])):
                held_out[judged, repeat * folds + fold] = True
    else:
        held_out = np.zeros((len(development), members), np.bool_)
        _, judged = train_test_split(
            np.arange(len(development)),
            test_size=test_share / (1 - test_share),
            stratify=target[development],
            random_state=seed,
        )
        held_out[judged] = True
    return Splits(development, test, held_out, cross_validated)


def protocol(splits: Splits, folds: int, repeats: int, seed: int) -> str:
    """Say how the splits were made and what they measure."""
    drawn = f"Splits drawn by class with seed {seed}; the test rows were used for nothing else."
    if not splits.cross_validated:
        return (
            f"{drawn} The validation rows chose the epoch and calibrated; every member trained "
            "on the train rows."
        )
    return (
        f"{drawn} cv: {folds}-fold cross-validation of the train rows, {repeats} times; each "
        "row is answered by the members that did not train on it, and calibrated by the other "
        "folds. The number of epochs was chosen by the same answers, and medians and ranges "
        "are of all train rows. The release is the mean of all members."
    )
